#include "host/model/tokenizer_parts.h"

#include <string.h>

struct st_tokenizer {
    st_vocab vocab;
    st_special special;
    st_split *split;
    sterna_token bos, eos; /* -1: none */
    bool add_bos, add_eos;
    bool *is_end; /* [n_token] */
};

const char *const st_duty_keys[ST_DUTY_COUNT] = {
    "bos_token_id",     "eos_token_id",     "eot_token_id",     "eom_token_id",
    "fim_pad_token_id", "fim_rep_token_id", "fim_sep_token_id",
};

/* Texts of tokens that end a turn, whatever ids the file names. */
static const char *const end_texts[] = {
    "<|eot_id|>", "<|im_end|>",      "<|end|>", "<end_of_turn>", "<|endoftext|>", "<|eom_id|>",   "<EOT>",
    "_<EOT>",     "<|end_of_text|>", "< EOT >", "<|fim_pad|>",   "<|repo_name|>", "<|file_sep|>",
};

static sterna_status mark_ends(st_tokenizer *tokenizer, const st_vocab_source *source, sterna_error *error)
{
    const st_vocab *vocab = &tokenizer->vocab;
    tokenizer->is_end = st_calloc((size_t)vocab->n_token, sizeof *tokenizer->is_end);
    if (!tokenizer->is_end)
        return st_fail(error, STERNA_E_MEMORY, "no memory for %d tokens", vocab->n_token);
    for (int duty = 0; duty < ST_DUTY_COUNT; duty++) {
        int64_t id = source->duty[duty];
        if (id < -1 || id >= vocab->n_token)
            return st_fail(error, STERNA_E_FORMAT, "tokenizer.ggml.%s is %lld in a vocabulary of %d tokens",
                           st_duty_keys[duty], (long long)id, vocab->n_token);
        if (id >= 0 && duty != ST_DUTY_BOS)
            tokenizer->is_end[id] = true;
    }
    for (int32_t id = 0; id < vocab->n_token; id++) {
        st_gguf_string bytes = st_vocab_bytes(vocab, id);
        for (size_t i = 0; i < sizeof end_texts / sizeof end_texts[0]; i++)
            if (st_gguf_string_is(bytes, end_texts[i]))
                tokenizer->is_end[id] = true;
    }
    return STERNA_OK;
}

/* Whether to add a token: what the file says, else what the models of this pre-tokenizer want. */
static bool wanted(st_tristate stated, bool usual, sterna_token token, const char *name, const st_log *log)
{
    if (stated == ST_YES && token < 0)
        st_log_write(log, STERNA_LOG_WARN,
                     "tokenizer.ggml.add_%s_token is true, but the file names no %s token", name, name);
    return token >= 0 && (stated == ST_UNSTATED ? usual : stated == ST_YES);
}

sterna_status st_tokenizer_build(const st_vocab_source *source, const st_log *log, st_tokenizer **out,
                                 sterna_error *error)
{
    *out = NULL;
    st_tokenizer *made = st_calloc(1, sizeof *made);
    if (!made)
        return st_fail(error, STERNA_E_MEMORY, "no memory for the tokenizer");
    sterna_status status = st_split_create(source->pre, &made->split, error);
    if (!status)
        status = st_vocab_create(source, &made->vocab, error);
    if (!status)
        status = st_special_create(&made->vocab, &made->special, error);
    if (!status)
        status = mark_ends(made, source, error);
    if (status) {
        st_tokenizer_destroy(&made);
        return status;
    }
    made->bos = (sterna_token)source->duty[ST_DUTY_BOS];
    made->eos = (sterna_token)source->duty[ST_DUTY_EOS];
    st_special_seal(&made->special, made->is_end, made->bos);
    made->add_bos = wanted(source->add_bos, st_split_add_bos(made->split), made->bos, "bos", log);
    made->add_eos = wanted(source->add_eos, false, made->eos, "eos", log);
    *out = made;
    return STERNA_OK;
}

void st_tokenizer_destroy(st_tokenizer **tokenizer)
{
    if (!*tokenizer)
        return;
    st_vocab_destroy(&(*tokenizer)->vocab);
    st_special_destroy(&(*tokenizer)->special);
    st_split_destroy((*tokenizer)->split);
    st_free((*tokenizer)->is_end);
    st_free(*tokenizer);
    *tokenizer = NULL;
}

/* One call of st_tokenizer_encode. */
typedef struct encoding {
    const st_tokenizer *tokenizer;
    st_bpe_scratch scratch;
    st_token_sink sink;
    sterna_error *error;
} encoding;

static sterna_status encode_piece(void *context, const char *piece, size_t size)
{
    encoding *e = context;
    const st_vocab *vocab = &e->tokenizer->vocab;
    int32_t whole = st_split_whole_pieces(e->tokenizer->split) ? st_vocab_find(vocab, piece, size) : -1;
    if (whole < 0)
        return st_bpe_encode(vocab, piece, size, &e->scratch, &e->sink, e->error);
    st_token_put(&e->sink, whole);
    return STERNA_OK;
}

static sterna_status encode_text(encoding *e, const char *text, size_t length, bool control,
                                 const st_quotes *quotes)
{
    const st_tokenizer *tokenizer = e->tokenizer;
    st_quotes rest = quotes ? *quotes : (st_quotes){0};
    sterna_status status = STERNA_OK;
    for (size_t at = 0; at < length && !status;) {
        int32_t special = -1;
        size_t n_special = 0;
        for (; rest.n_span > 0 && rest.span->to <= at; rest.n_span--)
            rest.span++;
        size_t place =
            st_special_find(&tokenizer->special, text, at, length, control, &rest, &special, &n_special);
        status = st_split_text(tokenizer->split, text + at, place - at, encode_piece, e, e->error);
        if (special >= 0)
            st_token_put(&e->sink, special);
        at = place + n_special;
    }
    return status;
}

static sterna_status check_length(size_t length, sterna_error *error)
{
    if (length > ST_MAX_TEXT_BYTES)
        return st_fail(error, STERNA_E_LIMIT, "a text of %zu bytes; at most %d can be tokenized at once",
                       length, ST_MAX_TEXT_BYTES);
    return STERNA_OK;
}

int64_t st_tokenizer_encode(const st_tokenizer *tokenizer, const char *text, size_t length,
                            sterna_token *tokens, size_t max, bool add_special, bool parse_special,
                            sterna_error *error)
{
    sterna_status status = check_length(length, error);
    if (status)
        return status;
    encoding e = {tokenizer, {0}, {tokens, max, 0}, error};
    if (add_special && tokenizer->add_bos)
        st_token_put(&e.sink, tokenizer->bos);
    status = encode_text(&e, text, length, parse_special, NULL);
    if (add_special && tokenizer->add_eos)
        st_token_put(&e.sink, tokenizer->eos);
    st_bpe_scratch_free(&e.scratch);
    return status ? (int64_t)status : (int64_t)e.sink.count;
}

int64_t st_tokenizer_encode_quoted(const st_tokenizer *tokenizer, const char *text, size_t length,
                                   const st_quotes *quotes, bool bos, sterna_token *tokens, size_t max,
                                   sterna_error *error)
{
    sterna_status status = check_length(length, error);
    if (status)
        return status;
    assert(!bos || tokenizer->bos >= 0);
    encoding e = {tokenizer, {0}, {tokens, max, 0}, error};
    if (bos)
        st_token_put(&e.sink, tokenizer->bos);
    status = encode_text(&e, text, length, true, quotes);
    st_bpe_scratch_free(&e.scratch);
    return status ? (int64_t)status : (int64_t)e.sink.count;
}

sterna_token st_tokenizer_special(const st_tokenizer *tokenizer, const char *text, size_t length)
{
    int32_t token = -1;
    size_t n = 0;
    size_t place = st_special_find(&tokenizer->special, text, 0, length, true, NULL, &token, &n);
    return place == 0 && n == length ? token : -1;
}

int st_tokenizer_piece(const st_tokenizer *tokenizer, sterna_token token, char *text, size_t max,
                       bool special)
{
    if (token < 0 || token >= tokenizer->vocab.n_token)
        return STERNA_E_ARGUMENT;
    uint8_t type = tokenizer->vocab.type[token];
    if (!special && (type == ST_TOKEN_CONTROL || type == ST_TOKEN_UNKNOWN || type == ST_TOKEN_UNUSED))
        return 0;
    st_gguf_string bytes = st_vocab_bytes(&tokenizer->vocab, token);
    size_t n = bytes.length < max ? bytes.length : max;
    if (n > 0)
        memcpy(text, bytes.data, n);
    return (int)bytes.length;
}

int32_t st_tokenizer_size(const st_tokenizer *tokenizer)
{
    return tokenizer->vocab.n_token;
}

const char *st_tokenizer_pre(const st_tokenizer *tokenizer)
{
    return st_split_name(tokenizer->split);
}

sterna_token st_tokenizer_bos(const st_tokenizer *tokenizer)
{
    return tokenizer->bos;
}

sterna_token st_tokenizer_eos(const st_tokenizer *tokenizer)
{
    return tokenizer->eos;
}

bool st_tokenizer_add_bos(const st_tokenizer *tokenizer)
{
    return tokenizer->add_bos;
}

bool st_tokenizer_add_eos(const st_tokenizer *tokenizer)
{
    return tokenizer->add_eos;
}

bool st_tokenizer_is_end(const st_tokenizer *tokenizer, sterna_token token)
{
    return token >= 0 && token < tokenizer->vocab.n_token && tokenizer->is_end[token];
}
