#include "host/model/tokenizer_parts.h"

#include <stdio.h>
#include <string.h>

#define PREFIX "tokenizer.ggml."

/* A source and the arrays it points to. */
typedef struct loaded {
    st_vocab_source source;
    st_gguf_string *token, *merge;
    int32_t *type;
} loaded;

static void unload(loaded *l)
{
    st_free(l->token);
    st_free(l->merge);
    st_free(l->type);
}

static sterna_status no_memory(size_t count, const char *key, sterna_error *error)
{
    return st_fail(error, STERNA_E_MEMORY, "no memory for the %zu elements of %s", count, key);
}

static sterna_status load_strings(const st_gguf *gguf, const char *key, st_gguf_string **strings,
                                  size_t *count, sterna_error *error)
{
    st_gguf_array array;
    sterna_status status = st_gguf_get_array(gguf, key, ST_GGUF_STRING, &array, error);
    if (status)
        return status;
    *strings = st_calloc(array.count + 1, sizeof **strings);
    if (!*strings)
        return no_memory(array.count, key, error);
    *count = array.count;
    for (size_t i = 0; i < *count; i++)
        if (!st_gguf_next_string(&array, &(*strings)[i]))
            return st_fail(error, STERNA_E_FORMAT, "%s: %s ends at element %zu of %zu", st_gguf_label(gguf),
                           key, i, *count);
    return STERNA_OK;
}

static sterna_status load_types(const st_gguf *gguf, loaded *l, sterna_error *error)
{
    static const char key[] = PREFIX "token_type";
    const st_gguf_kv *kv = st_gguf_find(gguf, key);
    if (!kv)
        return STERNA_OK;
    st_gguf_array array;
    sterna_status status = st_gguf_get_array(
        gguf, key, kv->u.array.type == ST_GGUF_U32 ? ST_GGUF_U32 : ST_GGUF_I32, &array, error);
    if (status)
        return status;
    l->type = st_calloc(array.count + 1, sizeof *l->type);
    if (!l->type)
        return no_memory(array.count, key, error);
    for (size_t i = 0; i < array.count; i++)
        l->type[i] = st_gguf_array_i32(&array, i);
    l->source.n_type = array.count;
    return STERNA_OK;
}

static sterna_status load_flag(const st_gguf *gguf, const char *key, st_tristate *flag, sterna_error *error)
{
    bool value = false;
    *flag = ST_UNSTATED;
    if (!st_gguf_find(gguf, key))
        return STERNA_OK;
    sterna_status status = st_gguf_get_bool(gguf, key, &value, error);
    *flag = value ? ST_YES : ST_NO;
    return status;
}

static sterna_status load_duties(const st_gguf *gguf, st_vocab_source *source, sterna_error *error)
{
    for (int duty = 0; duty < ST_DUTY_COUNT; duty++) {
        char key[64];
        snprintf(key, sizeof key, PREFIX "%s", st_duty_keys[duty]);
        source->duty[duty] = -1;
        if (!st_gguf_find(gguf, key))
            continue;
        sterna_status status =
            st_gguf_get_int(gguf, key, 0, (int64_t)source->n_token - 1, &source->duty[duty], error);
        if (status)
            return status;
    }
    sterna_status status = load_flag(gguf, PREFIX "add_bos_token", &source->add_bos, error);
    return status ? status : load_flag(gguf, PREFIX "add_eos_token", &source->add_eos, error);
}

static bool has_architecture(const st_gguf *gguf, const char *name)
{
    st_gguf_string architecture;
    return st_gguf_get_string(gguf, "general.architecture", &architecture, NULL) == STERNA_OK &&
           st_gguf_string_is(architecture, name);
}

static st_gguf_string literal(const char *text)
{
    return (st_gguf_string){text, strlen(text)};
}

/* The official BitNet 2B-4T files do not name their pre-tokenizer; they are known by the size of the Llama 3
 * vocabulary and the architecture. */
static sterna_status choose_pre(const st_gguf *gguf, const char *pre_override, const st_log *log,
                                st_vocab_source *source, sterna_error *error)
{
    static const char key[] = PREFIX "pre";
    enum { LLAMA3_VOCABULARY = 128256 };
    if (pre_override) {
        source->pre = literal(pre_override);
        return STERNA_OK;
    }
    if (st_gguf_find(gguf, key))
        return st_gguf_get_string(gguf, key, &source->pre, error);
    if (source->n_token == LLAMA3_VOCABULARY &&
        (has_architecture(gguf, "bitnet-b1.58") || has_architecture(gguf, "bitnet-25"))) {
        source->pre = literal("llama-bpe");
        st_log_write(log, STERNA_LOG_INFO,
                     "the file names no pre-tokenizer; by its architecture and %d tokens it is llama-bpe",
                     LLAMA3_VOCABULARY);
    } else {
        source->pre = literal("default");
        st_log_write(
            log, STERNA_LOG_WARN,
            "the file names no pre-tokenizer (%s): using \"default\", which may split text otherwise than in "
            "training; set the right one if the output is poor",
            key);
    }
    return STERNA_OK;
}

static sterna_status load(const st_gguf *gguf, const char *pre_override, const st_log *log, loaded *l,
                          sterna_error *error)
{
    st_vocab_source *source = &l->source;
    sterna_status status = load_strings(gguf, PREFIX "tokens", &l->token, &source->n_token, error);
    if (!status)
        status = load_strings(gguf, PREFIX "merges", &l->merge, &source->n_merge, error);
    if (!status)
        status = load_types(gguf, l, error);
    if (!status)
        status = load_duties(gguf, source, error);
    if (!status)
        status = choose_pre(gguf, pre_override, log, source, error);
    source->token = l->token;
    source->merge = l->merge;
    source->type = l->type;
    return status;
}

sterna_status st_tokenizer_create(const st_gguf *gguf, const char *pre_override, const st_log *log,
                                  st_tokenizer **out, sterna_error *error)
{
    static const char key[] = PREFIX "model";
    *out = NULL;
    if (!STERNA_TEXT || !st_gguf_find(gguf, key))
        return STERNA_OK;
    st_gguf_string model;
    sterna_status status = st_gguf_get_string(gguf, key, &model, error);
    if (status)
        return status;
    if (st_gguf_string_is(model, "none") || st_gguf_string_is(model, "no_vocab"))
        return STERNA_OK;
    if (!st_gguf_string_is(model, "gpt2"))
        return st_fail(error, STERNA_E_UNSUPPORTED,
                       "%s: tokenizer model \"%.*s\"; only \"gpt2\" (byte-level BPE) is supported",
                       st_gguf_label(gguf), (int)(model.length < 40 ? model.length : 40), model.data);
    loaded l = {0};
    status = load(gguf, pre_override, log, &l, error);
    if (!status)
        status = st_tokenizer_build(&l.source, log, out, error);
    unload(&l);
    return status;
}
