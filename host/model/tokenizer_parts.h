/* The parts of the tokenizer, each usable and tested by itself. */
#ifndef ST_TOKENIZER_PARTS_H
#define ST_TOKENIZER_PARTS_H

#include "host/model/tokenizer.h"

/* ---- what a file says (tokenizer_gguf.c), and the tokenizer made of it (tokenizer.c) ---- */

/* GGUF's token types. */
enum {
    ST_TOKEN_NORMAL = 1,
    ST_TOKEN_UNKNOWN,
    ST_TOKEN_CONTROL,
    ST_TOKEN_USER,
    ST_TOKEN_UNUSED,
    ST_TOKEN_BYTE
};
/* Tokens with a duty, and the metadata keys that name them (without "tokenizer.ggml."). */
enum {
    ST_DUTY_BOS,
    ST_DUTY_EOS,
    ST_DUTY_EOT,
    ST_DUTY_EOM,
    ST_DUTY_FIM_PAD,
    ST_DUTY_FIM_REP,
    ST_DUTY_FIM_SEP,
    ST_DUTY_COUNT
};
extern const char *const st_duty_keys[ST_DUTY_COUNT];

typedef enum st_tristate { ST_UNSTATED = -1, ST_NO, ST_YES } st_tristate;

/* Nothing in it is checked yet; it needs to live only during st_tokenizer_build. */
typedef struct st_vocab_source {
    st_gguf_string pre; /* data NULL: not stated */
    size_t n_token, n_type, n_merge;
    const st_gguf_string *token; /* [n_token] */
    const int32_t *type;         /* [n_type], NULL: all are normal */
    const st_gguf_string *merge; /* [n_merge] "left right", lowest rank first */
    int64_t duty[ST_DUTY_COUNT]; /* -1: not stated */
    st_tristate add_bos, add_eos;
} st_vocab_source;

sterna_status st_tokenizer_build(const st_vocab_source *source, const st_log *log, st_tokenizer **out,
                                 sterna_error *error);

/* ---- the byte alphabet (tokenizer_bytes.c): files spell each byte as one printable character ---- */

/* The byte a character stands for, -1 if none. */
int st_byte_of_char(uint32_t code_point);
/* Length of the valid UTF-8 character at `text` (size > 0) and its code point (may be NULL); 0 if there is
 * none: overlong, surrogate, above U+10FFFF, cut off. */
size_t st_utf8_char(const char *text, size_t size, uint32_t *code_point);
/* Spelled text -> bytes, at most `size` of them; false if some character stands for no byte. */
bool st_bytes_unspell(const char *text, size_t size, char *bytes, size_t *n_byte);

/* ---- hash table (tokenizer_table.c): open addressing, a fixed number of uint32 values ---- */

typedef struct st_table_slot {
    uint32_t hash, value; /* value ST_NO_VALUE: empty */
} st_table_slot;
typedef struct st_table {
    st_table_slot *slot; /* [mask + 1] */
    uint32_t mask;
} st_table;
#define ST_NO_VALUE UINT32_MAX

bool st_table_create(st_table *table,
                     size_t n_value); /* false: out of memory; room for n_value < 2^30 values */
void st_table_destroy(st_table *table);
uint32_t st_table_hash_text(const char *text, size_t size);
static inline uint32_t st_table_hash_pair(uint32_t a, uint32_t b)
{
    uint64_t x = ((uint64_t)a << 32 | b) * UINT64_C(0x9e3779b97f4a7c15); /* 2^64 / golden ratio */
    return (uint32_t)(x >> 32 ^ x >> 15);
}
/* Does not look for equals: that is the caller's, who knows what the values stand for. */
void st_table_insert(st_table *table, uint32_t hash, uint32_t value);
/* Steps through the values stored under `hash`: start with *at = hash; ST_NO_VALUE after the last. */
static inline uint32_t st_table_next(const st_table *table, uint32_t hash, uint32_t *at)
{
    for (;;) {
        const st_table_slot *slot = &table->slot[*at & table->mask];
        ++*at;
        if (slot->value == ST_NO_VALUE || slot->hash == hash)
            return slot->value;
    }
}

/* ---- vocabulary (tokenizer_vocab.c) ---- */

typedef struct st_merge {
    uint32_t left, right, result; /* token ids; the merge's index is its rank */
} st_merge;

typedef struct st_vocab {
    int32_t n_token, n_merge;
    char *bytes;             /* all tokens' bytes, one after the other */
    uint32_t *offset;        /* [n_token + 1] into bytes */
    uint8_t *type;           /* [n_token] ST_TOKEN_* */
    st_merge *merge;         /* [n_merge] */
    st_table merges;         /* pair of ids -> rank */
    st_table pieces;         /* bytes -> id, of the tokens that plain text can become */
    int32_t byte_token[256]; /* -1: the vocabulary has none; only bytes that UTF-8 never has */
} st_vocab;

sterna_status st_vocab_create(const st_vocab_source *source, st_vocab *vocab, sterna_error *error);
void st_vocab_destroy(st_vocab *vocab);
static inline st_gguf_string st_vocab_bytes(const st_vocab *vocab, int32_t token)
{
    uint32_t from = vocab->offset[token];
    return (st_gguf_string){vocab->bytes + from, vocab->offset[token + 1] - from};
}
int32_t st_vocab_find(const st_vocab *vocab, const char *bytes, size_t size); /* in `pieces`; -1 if absent */
/* Rank of the merge of two tokens, ST_NO_VALUE if there is none. */
static inline uint32_t st_vocab_rank(const st_vocab *vocab, uint32_t left, uint32_t right)
{
    uint32_t hash = st_table_hash_pair(left, right);
    for (uint32_t at = hash, rank; (rank = st_table_next(&vocab->merges, hash, &at)) != ST_NO_VALUE;)
        if (vocab->merge[rank].left == left && vocab->merge[rank].right == right)
            return rank;
    return ST_NO_VALUE;
}

/* ---- special tokens (tokenizer_special.c): a trie over the texts of control and user-defined tokens ---- */

typedef struct st_special {
    struct st_special_node *node; /* [n_node]; node 0 is the root */
    uint32_t n_node;
    uint32_t first[256]; /* children of the root by byte, 0: none */
} st_special;

sterna_status st_special_create(const st_vocab *vocab, st_special *special, sterna_error *error);
void st_special_destroy(st_special *special);
/* Seals control tokens, BOS and those with is_end[token]: they are never recognised in quoted text. */
void st_special_seal(st_special *special, const bool *is_end, sterna_token bos);
/* The leftmost, and there the longest, special token that begins at or behind byte `from`: returns its place
 * and sets *token and *length; returns `size` if there is none. Control tokens count only if `control`; what
 * touches a span of `quotes` (may be NULL) counts only if it is neither sealed nor guarded. */
size_t st_special_find(const st_special *special, const char *text, size_t from, size_t size, bool control,
                       const st_quotes *quotes, int32_t *token, size_t *length);

/* ---- pre-tokenizer (tokenizer_split.c): text -> pieces that merges never cross ---- */

typedef struct st_split st_split;
typedef sterna_status (*st_piece_fn)(void *context, const char *piece, size_t size);

/* `pre` as files name it. STERNA_E_UNSUPPORTED names what is known. */
sterna_status st_split_create(st_gguf_string pre, st_split **out, sterna_error *error);
void st_split_destroy(st_split *split); /* NULL is fine */
const char *st_split_name(const st_split *split);
bool st_split_add_bos(const st_split *split); /* what its models want where the file does not say */
bool st_split_whole_pieces(
    const st_split *split); /* a piece that is a token is not merged ("ignore_merges") */
/* Calls `fn` for each piece in order; together they are the text. Ends at the first failure of `fn`. */
sterna_status st_split_text(const st_split *split, const char *text, size_t size, st_piece_fn fn,
                            void *context, sterna_error *error);

/* ---- merging (tokenizer_bpe.c) ---- */

/* Memory that pieces of one call share; start with zeros. */
typedef struct st_bpe_scratch {
    struct st_bpe_node *node;
    uint64_t *heap;
    size_t capacity; /* bytes of a piece both are large enough for */
} st_bpe_scratch;
void st_bpe_scratch_free(st_bpe_scratch *scratch);

/* Where ids go: those past `max` are only counted. */
typedef struct st_token_sink {
    sterna_token *tokens;
    size_t max, count;
} st_token_sink;
static inline void st_token_put(st_token_sink *sink, sterna_token token)
{
    if (sink->count < sink->max)
        sink->tokens[sink->count] = token;
    sink->count++;
}

/* Merges the bytes of one piece (1 ... ST_MAX_TEXT_BYTES): the lowest rank first, of equal ones the
 * leftmost. O(n log n). */
sterna_status st_bpe_encode(const st_vocab *vocab, const char *piece, size_t size, st_bpe_scratch *scratch,
                            st_token_sink *sink, sterna_error *error);

#endif
