/* Byte-level BPE (GGUF's tokenizer model "gpt2"): text to tokens and back.
 *
 * Text is bytes. What is valid UTF-8 is split by the expressions of the file's pre-tokenizer; every byte that
 * is not part of a valid character is a piece of its own, and its neighbours are split as at an end of the
 * text. So any byte string, NUL included, comes back from its tokens unchanged.
 *
 * Control tokens' text is recognised on request; user-defined tokens always are, as in the tools the models
 * were trained with. Where several match at a place the longest wins, and the leftmost place goes first. */
#ifndef ST_TOKENIZER_H
#define ST_TOKENIZER_H

#include "host/base/base.h"
#include "host/model/gguf.h"

enum {
    ST_MAX_TOKEN = ST_MAX_ROWS,   /* vocabulary */
    ST_MAX_MERGE = 1 << 22,       /* merge rules */
    ST_MAX_TOKEN_BYTES = 1 << 14, /* text of one token in the file */
    ST_MAX_TEXT_BYTES = 1 << 30   /* text of one call */
};

typedef struct st_tokenizer st_tokenizer;

/* From a file's metadata. `pre_override` (may be NULL) replaces the file's `tokenizer.ggml.pre`. A file
 * without a vocabulary, and a build without STERNA_TEXT, give STERNA_OK and no tokenizer (*out = NULL). */
sterna_status st_tokenizer_create(const st_gguf *gguf, const char *pre_override, const st_log *log,
                                  st_tokenizer **out, sterna_error *error);
void st_tokenizer_destroy(st_tokenizer **tokenizer); /* NULL inside is fine; nulls the pointer */

/* Writes at most `max` ids, returns the number needed or a negative status. Safe to call from several threads
 * at once. `add_special`: BOS and EOS as the model wants them; `parse_special`: recognise control tokens. */
int64_t st_tokenizer_encode(const st_tokenizer *tokenizer, const char *text, size_t length,
                            sterna_token *tokens, size_t max, bool add_special, bool parse_special,
                            sterna_error *error);
/* A part of a text: bytes `from` to `to` - 1. */
typedef struct st_span {
    size_t from, to;
} st_span;
/* Parts of a text that are somebody's words, not instructions. */
typedef struct st_quotes {
    const st_span *span; /* [n_span] ascending, disjoint, none empty, within the text */
    size_t n_span;
    const sterna_token *guard; /* [n_guard] more tokens to keep out, e.g. the marks of a chat format */
    size_t n_guard;
} st_quotes;
/* The tokens of the whole text with its control tokens recognised, except that nothing which touches a quoted
 * byte becomes a control token, BOS, a token that ends a text or a turn, or a guarded one: its text is then
 * split and merged like any other, across the borders of spans too. User-defined tokens that are none of
 * these (indentation, tags like "<think>") are recognised everywhere, as in all encoding. No EOS is added. */
int64_t st_tokenizer_encode_quoted(const st_tokenizer *tokenizer, const char *text, size_t length,
                                   const st_quotes *quotes, bool bos, sterna_token *tokens, size_t max,
                                   sterna_error *error);
/* The control or user-defined token of exactly this text, -1 if there is none. */
sterna_token st_tokenizer_special(const st_tokenizer *tokenizer, const char *text, size_t length);
/* The bytes of a token: writes at most `max`, returns how many there are, STERNA_E_ARGUMENT for an unknown
 * id. Control, unknown and unused tokens have none unless `special`. */
int st_tokenizer_piece(const st_tokenizer *tokenizer, sterna_token token, char *text, size_t max,
                       bool special);

int32_t st_tokenizer_size(const st_tokenizer *tokenizer);     /* tokens */
const char *st_tokenizer_pre(const st_tokenizer *tokenizer);  /* name of the pre-tokenizer in use */
sterna_token st_tokenizer_bos(const st_tokenizer *tokenizer); /* -1 if there is none */
sterna_token st_tokenizer_eos(const st_tokenizer *tokenizer); /* -1 if there is none */
bool st_tokenizer_add_bos(const st_tokenizer *tokenizer);     /* add_special puts BOS in front */
bool st_tokenizer_add_eos(const st_tokenizer *tokenizer);     /* add_special puts EOS behind */
/* End of sequence, turn or message; false for ids that are not in the vocabulary. */
bool st_tokenizer_is_end(const st_tokenizer *tokenizer, sterna_token token);

#endif
