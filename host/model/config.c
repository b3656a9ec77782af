#include "host/model/config.h"

#include <inttypes.h>
#include <stdio.h>
#include <string.h>

static const st_arch archs[] = {
    {"bitnet-b1.58", ST_PAIR_HALF, ST_ACT_RELU2, .sub_norm = true, .has_output = true, .full_rotary = true},
    {"bitnet-25", ST_PAIR_HALF, ST_ACT_RELU2, .sub_norm = true, .has_output = true, .full_rotary = true},
    {"bitnet", ST_PAIR_HALF, ST_ACT_SILU, .sub_norm = true},
    {"llama", ST_PAIR_ADJACENT, ST_ACT_SILU, .has_output = true, .has_bias = true},
};

const st_arch *st_arch_find(const char *name)
{
    for (size_t i = 0; i < sizeof archs / sizeof archs[0]; i++)
        if (strcmp(archs[i].name, name) == 0)
            return &archs[i];
    return NULL;
}

/* Where keys are read from. */
typedef struct keys {
    const st_gguf *gguf;
    const char *arch;
    sterna_error *error;
    char key[128]; /* scratch of full() */
} keys;

/* "<arch>.<suffix>" */
static const char *full(keys *k, const char *suffix)
{
    snprintf(k->key, sizeof k->key, "%s.%s", k->arch, suffix);
    return k->key;
}

static bool has(keys *k, const char *suffix)
{
    return st_gguf_find(k->gguf, full(k, suffix)) != NULL;
}

/* ---- architecture ---- */

static sterna_status find_arch(const st_gguf *gguf, const st_arch **arch, sterna_error *error)
{
    st_gguf_string name;
    sterna_status status = st_gguf_get_string(gguf, "general.architecture", &name, error);
    if (status)
        return status;
    char known[128] = "";
    for (size_t i = 0; i < sizeof archs / sizeof archs[0]; i++) {
        if (st_gguf_string_is(name, archs[i].name)) {
            *arch = &archs[i];
            return STERNA_OK;
        }
        size_t used = strlen(known);
        snprintf(known + used, sizeof known - used, "%s%s", i ? ", " : "", archs[i].name);
    }
    char text[64];
    st_gguf_print(st_gguf_find(gguf, "general.architecture"), text, sizeof text);
    return st_fail(error, STERNA_E_UNSUPPORTED, "%s: architecture '%s' is not supported (supported: %s)",
                   st_gguf_label(gguf), text, known);
}

/* ---- numbers ---- */

/* One number, or an array with the same number for every layer. */
static sterna_status read_count(keys *k, const char *suffix, int64_t max, int32_t *out)
{
    const st_gguf_kv *kv = st_gguf_find(k->gguf, full(k, suffix));
    int64_t value, other;
    if (!kv || kv->type != ST_GGUF_ARRAY) {
        sterna_status status = st_gguf_get_int(k->gguf, k->key, 1, max, &value, k->error);
        if (!status)
            *out = (int32_t)value;
        return status;
    }
    const st_gguf_array *array = &kv->u.array;
    if (array->count == 0 || !st_gguf_array_int(array, 0, &value) || value < 1 || value > max)
        return st_fail(k->error, STERNA_E_FORMAT,
                       "%s: key '%s' is an array of %zu %s, expected integers from 1 to %" PRId64,
                       st_gguf_label(k->gguf), k->key, array->count, st_gguf_type_name(array->type), max);
    for (size_t i = 1; i < array->count; i++)
        if (!st_gguf_array_int(array, i, &other) || other != value)
            return st_fail(k->error, STERNA_E_UNSUPPORTED,
                           "%s: key '%s' differs between layers (%" PRId64 " in layer 0, %" PRId64
                           " in layer %zu); only uniform layers are supported",
                           st_gguf_label(k->gguf), k->key, value, other, i);
    *out = (int32_t)value;
    return STERNA_OK;
}

static sterna_status read_count_or(keys *k, const char *suffix, int64_t max, int32_t standard, int32_t *out)
{
    *out = standard;
    return has(k, suffix) ? read_count(k, suffix, max, out) : STERNA_OK;
}

/* A positive number, or `standard` where the key is absent. */
static sterna_status read_positive(keys *k, const char *suffix, float standard, float *out)
{
    *out = standard;
    if (!has(k, suffix))
        return STERNA_OK;
    sterna_status status = st_gguf_get_f32(k->gguf, full(k, suffix), out, k->error);
    if (!status && !(*out > 0.0f))
        return st_fail(k->error, STERNA_E_FORMAT, "%s: key '%s' is %g, not positive", st_gguf_label(k->gguf),
                       k->key, (double)*out);
    return status;
}

/* ---- groups of keys ---- */

static sterna_status read_heads(keys *k, st_config *c)
{
    sterna_status status;
    if ((status = read_count(k, "attention.head_count", ST_MAX_HEAD, &c->n_head)) ||
        (status = read_count_or(k, "attention.head_count_kv", ST_MAX_HEAD, c->n_head, &c->n_kv_head)))
        return status;
    const char *label = st_gguf_label(k->gguf);
    if (c->n_head % c->n_kv_head != 0)
        return st_fail(k->error, STERNA_E_FORMAT,
                       "%s: %d attention heads cannot share %d key heads evenly (%s.attention.head_count, "
                       "head_count_kv)",
                       label, c->n_head, c->n_kv_head, k->arch);
    if (!has(k, "attention.key_length") &&
        (c->n_embd % c->n_head != 0 || c->n_embd / c->n_head > ST_MAX_HEAD_DIM))
        return st_fail(k->error, STERNA_E_FORMAT,
                       "%s: %d embedding dimensions and %d heads give no head width up to %d, and key "
                       "'%s.attention.key_length' is missing",
                       label, c->n_embd, c->n_head, ST_MAX_HEAD_DIM, k->arch);
    int32_t value_length;
    if ((status = read_count_or(k, "attention.key_length", ST_MAX_HEAD_DIM, c->n_embd / c->n_head,
                                &c->head_dim)) ||
        (status = read_count_or(k, "attention.value_length", ST_MAX_HEAD_DIM, c->head_dim, &value_length)))
        return status;
    if (value_length != c->head_dim)
        return st_fail(k->error, STERNA_E_UNSUPPORTED,
                       "%s: heads of %d key and %d value dimensions; only equal numbers are supported", label,
                       c->head_dim, value_length);
    return STERNA_OK;
}

static sterna_status read_rope_scaling(keys *k, st_config *c)
{
    bool scaled = true; /* a factor without a type means linear, as in llama.cpp */
    c->rope_scale = 1.0f;
    if (has(k, "rope.scaling.type")) {
        st_gguf_string type;
        sterna_status status = st_gguf_get_string(k->gguf, full(k, "rope.scaling.type"), &type, k->error);
        if (status)
            return status;
        scaled = st_gguf_string_is(type, "linear");
        if (!scaled && !st_gguf_string_is(type, "none")) {
            char text[40];
            st_gguf_print(st_gguf_find(k->gguf, k->key), text, sizeof text);
            return st_fail(k->error, STERNA_E_UNSUPPORTED,
                           "%s: key '%s' is '%s'; supported are 'none' and 'linear'", st_gguf_label(k->gguf),
                           k->key, text);
        }
    }
    const char *suffix = has(k, "rope.scaling.factor") ? "rope.scaling.factor" : "rope.scale_linear";
    if (!scaled || !has(k, suffix))
        return STERNA_OK;
    float factor;
    sterna_status status = st_gguf_get_f32(k->gguf, full(k, suffix), &factor, k->error);
    if (status)
        return status;
    if (factor < 0.0f)
        return st_fail(k->error, STERNA_E_FORMAT, "%s: key '%s' is %g, not positive", st_gguf_label(k->gguf),
                       k->key, (double)factor);
    if (factor > 0.0f) /* 0 is written for "not scaled" */
        c->rope_scale = 1.0f / factor;
    return STERNA_OK;
}

static sterna_status read_rope(keys *k, const st_arch *arch, st_config *c)
{
    sterna_status status;
    if ((status = read_count_or(k, "rope.dimension_count", ST_MAX_HEAD_DIM, c->head_dim, &c->n_rot)) ||
        (status = read_positive(k, "rope.freq_base", 10000.0f, &c->rope_base)) ||
        (status = read_rope_scaling(k, c)))
        return status;
    bool wrong =
        c->n_rot % 2 != 0 || c->n_rot > c->head_dim || (arch->full_rotary && c->n_rot != c->head_dim);
    if (wrong)
        return st_fail(k->error, STERNA_E_FORMAT, "%s: key '%s' is %d, but heads of %d dimensions need %s",
                       st_gguf_label(k->gguf), full(k, "rope.dimension_count"), c->n_rot, c->head_dim,
                       arch->full_rotary ? "the same number, even" : "an even number up to that");
    return STERNA_OK;
}

/* The number of tokens from whichever of the sources the file has; they must agree. */
static sterna_status read_vocab(keys *k, st_config *c)
{
    const st_gguf_kv *tokens = st_gguf_find(k->gguf, "tokenizer.ggml.tokens");
    int64_t listed = 0;
    if (tokens) {
        st_gguf_array array;
        sterna_status status =
            st_gguf_get_array(k->gguf, "tokenizer.ggml.tokens", ST_GGUF_STRING, &array, k->error);
        if (status)
            return status;
        listed = (int64_t)array.count;
    }
    if (has(k, "vocab_size")) {
        sterna_status status = read_count(k, "vocab_size", ST_MAX_ROWS, &c->n_vocab);
        if (status)
            return status;
        if (listed && listed != c->n_vocab)
            return st_fail(k->error, STERNA_E_FORMAT,
                           "%s: key '%s' is %d, but 'tokenizer.ggml.tokens' lists %" PRId64 " tokens",
                           st_gguf_label(k->gguf), full(k, "vocab_size"), c->n_vocab, listed);
        return STERNA_OK;
    }
    if (listed < 1 || listed > ST_MAX_ROWS)
        return st_fail(
            k->error, STERNA_E_FORMAT,
            "%s: no vocabulary size: key '%s' is missing and 'tokenizer.ggml.tokens' %s 1 to %d tokens",
            st_gguf_label(k->gguf), full(k, "vocab_size"), tokens ? "does not list" : "is no list of",
            ST_MAX_ROWS);
    c->n_vocab = (int32_t)listed;
    return STERNA_OK;
}

/* Keys that change the computation in ways these architectures do not have: anything but the neutral value is
 * refused, because ignoring it would give wrong output. */
static sterna_status refuse_extras(keys *k)
{
    static const struct {
        const char *suffix;
        double neutral;
    } extras[] = {
        {"expert_count", 0},
        {"nextn_predict_layers", 0},
        {"attention.sliding_window", 0},
        {"pooling_type", 0},
        {"attention.causal", 1},
        {"attn_logit_softcapping", 0},
        {"logit_scale", 1},
        {"residual_scale", 1},
        {"embedding_scale", 1},
        {"rope.scaling.attn_factor", 1},
        {"final_logit_softcapping", 0},
    };
    for (size_t i = 0; i < sizeof extras / sizeof extras[0]; i++) {
        const st_gguf_kv *kv = st_gguf_find(k->gguf, full(k, extras[i].suffix));
        if (!kv)
            continue;
        float f32;
        int64_t integer;
        bool flag, neutral = false;
        sterna_error ignored;
        if (st_gguf_get_int(k->gguf, k->key, INT64_MIN, INT64_MAX, &integer, &ignored) == STERNA_OK)
            neutral = (double)integer == extras[i].neutral;
        else if (st_gguf_get_f32(k->gguf, k->key, &f32, &ignored) == STERNA_OK)
            neutral = (double)f32 == extras[i].neutral;
        else if (st_gguf_get_bool(k->gguf, k->key, &flag, &ignored) == STERNA_OK)
            neutral = (double)flag == extras[i].neutral;
        if (!neutral) {
            char text[40];
            st_gguf_print(kv, text, sizeof text);
            return st_fail(k->error, STERNA_E_UNSUPPORTED,
                           "%s: key '%s' is %s, which architecture '%s' does not support (only %g)",
                           st_gguf_label(k->gguf), k->key, text, k->arch, extras[i].neutral);
        }
    }
    for (int i = 0; i < st_gguf_kv_count(k->gguf); i++) {
        const char *key = st_gguf_kv_at(k->gguf, i)->key;
        if (strncmp(key, "prism.hadamard.", 15) == 0)
            return st_fail(
                k->error, STERNA_E_UNSUPPORTED,
                "%s: key '%s': the weights are stored in a rotated basis, which this version does not "
                "support",
                st_gguf_label(k->gguf), key);
    }
    return STERNA_OK;
}

sterna_status st_config_read(const st_gguf *gguf, const st_arch **arch, st_config *config,
                             sterna_error *error)
{
    sterna_status status = find_arch(gguf, arch, error);
    if (status)
        return status;
    st_config *c = config;
    *c = (st_config){.pairing = (*arch)->pairing,
                     .act = (*arch)->act,
                     .embed_scale = 1.0f,
                     .residual_scale = 1.0f,
                     .logit_scale = 1.0f,
                     .act_group = 0}; /* all of these were trained with one scale per token */
    keys k = {.gguf = gguf, .arch = (*arch)->name, .error = error};
    if ((status = refuse_extras(&k)) ||
        (status = read_count(&k, "context_length", ST_MAX_CONTEXT, &c->n_context)) ||
        (status = read_count(&k, "embedding_length", ST_MAX_COLS, &c->n_embd)) ||
        (status = read_count(&k, "block_count", ST_MAX_LAYER, &c->n_layer)) ||
        (status = read_count(&k, "feed_forward_length", ST_MAX_COLS, &c->n_ff)) ||
        (status = read_heads(&k, c)) || (status = read_rope(&k, *arch, c)) || (status = read_vocab(&k, c)))
        return status;
    if ((int64_t)c->n_head * c->head_dim > ST_MAX_COLS)
        return st_fail(error, STERNA_E_LIMIT, "%s: %d heads of %d dimensions exceed %d columns",
                       st_gguf_label(gguf), c->n_head, c->head_dim, ST_MAX_COLS);
    if (!has(&k, "attention.layer_norm_rms_epsilon"))
        return st_fail(error, STERNA_E_FORMAT, "%s: key '%s' is missing", st_gguf_label(gguf), k.key);
    if ((status = read_positive(&k, "attention.layer_norm_rms_epsilon", 0.0f, &c->norm_eps)))
        return status;
    float standard = 1.0f / sqrtf((float)c->head_dim);
    float scale = 0.0f; /* written for "not set" */
    if (has(&k, "attention.scale") && (status = st_gguf_get_f32(gguf, k.key, &scale, error)))
        return status;
    c->attn_scale = scale != 0.0f ? scale : standard;
    return STERNA_OK;
}
