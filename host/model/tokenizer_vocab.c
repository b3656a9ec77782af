#include "host/model/tokenizer_parts.h"

#include <string.h>

enum { SHOWN = 60 }; /* bytes of a text in a message */

static int shown(size_t length)
{
    return length < SHOWN ? (int)length : SHOWN;
}

/* Looks up a token by its text in the file. */
static int32_t find_name(const st_table *names, const st_gguf_string *token, const char *text, size_t length)
{
    uint32_t hash = st_table_hash_text(text, length);
    for (uint32_t at = hash, id; (id = st_table_next(names, hash, &at)) != ST_NO_VALUE;)
        if (token[id].length == length && memcmp(token[id].data, text, length) == 0)
            return (int32_t)id;
    return -1;
}

static sterna_status check_source(const st_vocab_source *source, size_t *n_byte, sterna_error *error)
{
    if (source->n_token < 1 || source->n_token > ST_MAX_TOKEN)
        return st_fail(error, STERNA_E_LIMIT, "tokenizer.ggml.tokens has %zu tokens, 1 to %d are possible",
                       source->n_token, ST_MAX_TOKEN);
    if (source->n_merge > ST_MAX_MERGE)
        return st_fail(error, STERNA_E_LIMIT, "tokenizer.ggml.merges has %zu merges, at most %d are possible",
                       source->n_merge, ST_MAX_MERGE);
    if (source->type && source->n_type != source->n_token)
        return st_fail(error, STERNA_E_FORMAT, "tokenizer.ggml.token_type has %zu elements for %zu tokens",
                       source->n_type, source->n_token);
    *n_byte = 0;
    for (size_t i = 0; i < source->n_token; i++) {
        if (source->token[i].length > ST_MAX_TOKEN_BYTES)
            return st_fail(error, STERNA_E_LIMIT, "token %zu has %zu bytes, at most %d are possible", i,
                           source->token[i].length, ST_MAX_TOKEN_BYTES);
        if (source->type && (source->type[i] < ST_TOKEN_NORMAL || source->type[i] > ST_TOKEN_BYTE))
            return st_fail(error, STERNA_E_FORMAT, "token %zu has type %d; types are 1 to 6", i,
                           source->type[i]);
        *n_byte += source->token[i].length;
    }
    if (*n_byte > UINT32_MAX)
        return st_fail(error, STERNA_E_LIMIT, "the tokens have %zu bytes, at most %u are possible", *n_byte,
                       UINT32_MAX);
    return STERNA_OK;
}

/* Stores the bytes of a token at `to` and returns their number. Text of normal tokens is spelled; where a
 * character stands for no byte the token is one that was added as plain text. */
static size_t store_bytes(st_vocab *vocab, int32_t id, st_gguf_string text, char *to)
{
    size_t n = 0;
    bool normal = vocab->type[id] == ST_TOKEN_NORMAL || vocab->type[id] == ST_TOKEN_BYTE;
    if (normal && st_bytes_unspell(text.data, text.length, to, &n)) {
        if (n > 0)
            st_table_insert(&vocab->pieces, st_table_hash_text(to, n), (uint32_t)id);
        if (n == 1)
            vocab->byte_token[(unsigned char)to[0]] = id;
        return n;
    }
    if (text.length > 0)
        memcpy(to, text.data, text.length);
    return text.length;
}

static sterna_status store_tokens(const st_vocab_source *source, st_vocab *vocab, st_table *names,
                                  sterna_error *error)
{
    uint32_t n_byte = 0;
    memset(vocab->byte_token, -1, sizeof vocab->byte_token);
    for (int32_t id = 0; id < vocab->n_token; id++) {
        st_gguf_string text = source->token[id];
        int32_t same = find_name(names, source->token, text.data, text.length);
        if (same >= 0)
            return st_fail(error, STERNA_E_FORMAT, "tokens %d and %d are both \"%.*s\"", same, id,
                           shown(text.length), text.data);
        st_table_insert(names, st_table_hash_text(text.data, text.length), (uint32_t)id);
        vocab->type[id] = source->type ? (uint8_t)source->type[id] : ST_TOKEN_NORMAL;
        vocab->offset[id] = n_byte;
        n_byte += (uint32_t)store_bytes(vocab, id, text, vocab->bytes + n_byte);
    }
    vocab->offset[vocab->n_token] = n_byte;
    return STERNA_OK;
}

/* Bytes that no valid UTF-8 text has; some vocabularies leave them out. */
static bool never_in_utf8(int byte)
{
    return byte == 0xc0 || byte == 0xc1 || byte >= 0xf5;
}

static sterna_status check_bytes(const st_vocab *vocab, sterna_error *error)
{
    int missing = 0, first = 0;
    for (int byte = 255; byte >= 0; byte--)
        if (vocab->byte_token[byte] < 0 && !never_in_utf8(byte)) {
            missing++;
            first = byte;
        }
    if (missing)
        return st_fail(
            error, STERNA_E_FORMAT,
            "the vocabulary of %d tokens is not byte-level: %d bytes have no token, the first is 0x%02x",
            vocab->n_token, missing, first);
    return STERNA_OK;
}

/* "left right" -> ids. Spelled text has no space, so the first one after the first character is the gap. */
static sterna_status store_merge(const st_vocab_source *source, const st_table *names, size_t rank,
                                 char *joined, st_merge *merge, sterna_error *error)
{
    st_gguf_string text = source->merge[rank];
    const char *gap = text.length > 1 ? memchr(text.data + 1, ' ', text.length - 1) : NULL;
    if (!gap || gap + 1 == text.data + text.length || text.length > 2 * ST_MAX_TOKEN_BYTES + 1)
        return st_fail(error, STERNA_E_FORMAT, "merge %zu, \"%.*s\", is not two texts with a space between",
                       rank, shown(text.length), text.data);
    size_t n_left = (size_t)(gap - text.data), n_right = text.length - n_left - 1;
    int32_t left = find_name(names, source->token, text.data, n_left);
    int32_t right = find_name(names, source->token, gap + 1, n_right);
    memcpy(joined, text.data, n_left);
    memcpy(joined + n_left, gap + 1, n_right);
    int32_t result = find_name(names, source->token, joined, n_left + n_right);
    if (left < 0 || right < 0 || result < 0)
        return st_fail(error, STERNA_E_FORMAT,
                       "merge %zu, \"%.*s\": its %s is not in the vocabulary of %zu tokens", rank,
                       shown(text.length), text.data,
                       left < 0    ? "left part"
                       : right < 0 ? "right part"
                                   : "result",
                       source->n_token);
    *merge = (st_merge){(uint32_t)left, (uint32_t)right, (uint32_t)result};
    return STERNA_OK;
}

static sterna_status store_merges(const st_vocab_source *source, const st_table *names, st_vocab *vocab,
                                  sterna_error *error)
{
    char *joined = st_alloc(2 * ST_MAX_TOKEN_BYTES);
    if (!joined)
        return st_fail(error, STERNA_E_MEMORY, "no memory for a merge");
    sterna_status status = STERNA_OK;
    for (size_t rank = 0; rank < source->n_merge && !status; rank++) {
        st_merge *merge = &vocab->merge[rank];
        status = store_merge(source, names, rank, joined, merge, error);
        /* Of a pair that is listed twice the lower rank counts (and a million equals make no long search). */
        if (!status && st_vocab_rank(vocab, merge->left, merge->right) == ST_NO_VALUE)
            st_table_insert(&vocab->merges, st_table_hash_pair(merge->left, merge->right), (uint32_t)rank);
    }
    st_free(joined);
    return status;
}

static bool allocate(const st_vocab_source *source, size_t n_byte, st_vocab *vocab, st_table *names)
{
    vocab->n_token = (int32_t)source->n_token;
    vocab->n_merge = (int32_t)source->n_merge;
    vocab->bytes = st_alloc(n_byte + 1);
    vocab->offset = st_calloc(source->n_token + 1, sizeof *vocab->offset);
    vocab->type = st_alloc(source->n_token);
    vocab->merge = st_alloc((source->n_merge + 1) * sizeof *vocab->merge);
    return vocab->bytes && vocab->offset && vocab->type && vocab->merge &&
           st_table_create(&vocab->merges, source->n_merge) &&
           st_table_create(&vocab->pieces, source->n_token) && st_table_create(names, source->n_token);
}

sterna_status st_vocab_create(const st_vocab_source *source, st_vocab *vocab, sterna_error *error)
{
    *vocab = (st_vocab){0};
    size_t n_byte = 0;
    sterna_status status = check_source(source, &n_byte, error);
    if (status)
        return status;
    st_table names = {0}; /* text in the file -> id */
    if (!allocate(source, n_byte, vocab, &names))
        status = st_fail(error, STERNA_E_MEMORY, "no memory for a vocabulary of %zu tokens and %zu merges",
                         source->n_token, source->n_merge);
    if (!status)
        status = store_tokens(source, vocab, &names, error);
    if (!status)
        status = check_bytes(vocab, error);
    if (!status)
        status = store_merges(source, &names, vocab, error);
    st_table_destroy(&names);
    if (status)
        st_vocab_destroy(vocab);
    return status;
}

void st_vocab_destroy(st_vocab *vocab)
{
    st_free(vocab->bytes);
    st_free(vocab->offset);
    st_free(vocab->type);
    st_free(vocab->merge);
    st_table_destroy(&vocab->merges);
    st_table_destroy(&vocab->pieces);
    *vocab = (st_vocab){0};
}

int32_t st_vocab_find(const st_vocab *vocab, const char *bytes, size_t size)
{
    uint32_t hash = st_table_hash_text(bytes, size);
    for (uint32_t at = hash, id; (id = st_table_next(&vocab->pieces, hash, &at)) != ST_NO_VALUE;) {
        st_gguf_string token = st_vocab_bytes(vocab, (int32_t)id);
        if (token.length == size && memcmp(token.data, bytes, size) == 0)
            return (int32_t)id;
    }
    return -1;
}
