#include "host/model/model.h"

#include "host/model/config.h"
#include "host/model/model_private.h"
#include "host/model/roles.h"
#include "host/model/ternary.h"
#include "host/model/tokenizer.h"

#include <stdio.h>
#include <string.h>

void sterna_model_defaults(sterna_model_params *params)
{
    *params = (sterna_model_params){.struct_size = sizeof *params, .i2s_layout = "x86-128"};
}

/* ---- open ---- */

/* The caller's struct may be older and shorter than ours; what it lacks keeps its default. */
static sterna_status take_params(const sterna_model_params *given, sterna_model_params *params,
                                 sterna_error *error)
{
    sterna_model_defaults(params);
    if (!given)
        return STERNA_OK;
    sterna_status status = st_struct_read(params, sizeof *params, sizeof *params, given, "model parameters",
                                          "sterna_model_defaults", error);
    if (status != STERNA_OK)
        return status;
    if (!params->i2s_layout || strcmp(params->i2s_layout, "x86-128") != 0)
        return st_fail(error, STERNA_E_UNSUPPORTED, "I2_S layout '%s' is not supported (supported: x86-128)",
                       params->i2s_layout ? params->i2s_layout : "(null)");
    return STERNA_OK;
}

/* A string of the metadata, "" if it is absent, with control bytes as '?': programs will print it. */
static char *copy_string(const st_gguf *gguf, const char *key)
{
    const st_gguf_kv *kv = st_gguf_find(gguf, key);
    bool present = kv && kv->type == ST_GGUF_STRING;
    size_t size = (present ? kv->u.string.length : 0) + 1;
    char *copy = st_calloc(1, size);
    if (copy && present)
        st_gguf_print(kv, copy, size);
    return copy;
}

static void count_parameters(sterna_model *m)
{
    for (int i = 0; i < st_gguf_tensor_count(m->gguf); i++) {
        const st_gguf_tensor *t = st_gguf_tensor_at(m->gguf, i);
        m->n_parameter += (uint64_t)t->n_element;
        m->n_ternary_parameter += t->encoding->ternary ? (uint64_t)t->n_element : 0;
    }
}

/* A model whose tokenizer is missing or not supported still runs on token ids. */
static sterna_status open_tokenizer(sterna_model *m, const char *pretokenizer, sterna_error *error)
{
    const char *label = st_gguf_label(m->gguf);
    sterna_error why = {0};
    sterna_status status = st_tokenizer_create(m->gguf, pretokenizer, &m->log, &m->tokenizer, &why);
    if (status && status != STERNA_E_UNSUPPORTED) {
        bool named = strncmp(why.message, label, strlen(label)) == 0;
        return st_fail(error, status, "%s%s%s", named ? "" : label, named ? "" : ": ", why.message);
    }
    if (m->tokenizer) {
        if (st_tokenizer_size(m->tokenizer) != m->config.n_vocab)
            return st_fail(error, STERNA_E_FORMAT, "%s: a tokenizer of %d tokens for a vocabulary of %d",
                           label, st_tokenizer_size(m->tokenizer), m->config.n_vocab);
        return STERNA_OK;
    }
    if (status)
        st_fail(&m->tokenizer_error, STERNA_E_UNSUPPORTED, "%s", why.message);
    else
        st_fail(&m->tokenizer_error, STERNA_E_UNSUPPORTED, "%s: %s", label,
                STERNA_TEXT ? "the file has no tokenizer"
                            : "this build has no tokenizer (STERNA_TEXT is off)");
    st_log_write(&m->log, STERNA_LOG_WARN, "%s; text cannot be converted to tokens",
                 m->tokenizer_error.message);
    return STERNA_OK;
}

static sterna_status load(sterna_model *m, const sterna_model_params *params, sterna_error *error)
{
    const st_arch *arch;
    sterna_status status = st_config_read(m->gguf, &arch, &m->config, error);
    if (status)
        return status;
    m->slots = st_calloc((size_t)m->config.n_layer * ST_ROLE_COUNT, sizeof *m->slots);
    m->name = copy_string(m->gguf, "general.name");
    m->architecture = copy_string(m->gguf, "general.architecture");
    if (!m->slots || !m->name || !m->architecture)
        return st_fail(error, STERNA_E_MEMORY, "%s: out of memory", st_gguf_label(m->gguf));
    if ((status = st_roles_bind(m->gguf, arch, &m->config, &m->log, m->slots, error)))
        return status;
    count_parameters(m);
    return open_tokenizer(m, params->pretokenizer, error);
}

sterna_status st_model_open_gguf(st_gguf **gguf, const sterna_model_params *given, sterna_model **model,
                                 sterna_error *error)
{
    *model = NULL;
    sterna_model_params params;
    sterna_status status = take_params(given, &params, error);
    sterna_model *m = NULL;
    if (!status) {
        m = st_calloc(1, sizeof *m);
        if (!m)
            status = st_fail(error, STERNA_E_MEMORY, "%s: out of memory", st_gguf_label(*gguf));
    }
    if (!status) {
        m->gguf = *gguf;
        *gguf = NULL;
        m->log = (st_log){params.log, params.user};
        status = load(m, &params, error);
    }
    if (!status && params.progress) {
        uint64_t bytes = st_gguf_bytes(m->gguf);
        if (!params.progress(params.user, bytes, bytes))
            status =
                st_fail(error, STERNA_E_ABORTED, "%s: the caller aborted the load", st_gguf_label(m->gguf));
    }
    if (status)
        sterna_model_close(&m);
    st_gguf_close(gguf);
    *model = m;
    return status;
}

sterna_status sterna_model_open(const char *path, const sterna_model_params *params, sterna_model **model,
                                sterna_error *error)
{
    if (!path || !model)
        return st_fail(error, STERNA_E_ARGUMENT, "sterna_model_open: %s is NULL", path ? "model" : "path");
    *model = NULL;
    st_gguf *gguf;
    sterna_status status = st_gguf_open(path, &gguf, error);
    return status ? status : st_model_open_gguf(&gguf, params, model, error);
}

void sterna_model_close(sterna_model **model)
{
    if (!model || !*model)
        return;
    sterna_model *m = *model;
    st_tokenizer_destroy(&m->tokenizer);
    st_free(m->slots);
    st_free(m->name);
    st_free(m->architecture);
    st_gguf_close(&m->gguf);
    st_free(m);
    *model = NULL;
}

/* ---- facts ---- */

sterna_token st_model_special(const sterna_model *m, const char *key)
{
    int64_t id;
    sterna_error ignored;
    return st_gguf_get_int(m->gguf, key, 0, m->config.n_vocab - 1, &id, &ignored) ? -1 : (sterna_token)id;
}

static bool adds_bos(const sterna_model *m)
{
    if (m->tokenizer)
        return st_tokenizer_add_bos(m->tokenizer);
    bool add = false;
    sterna_error ignored;
    st_gguf_get_bool(m->gguf, "tokenizer.ggml.add_bos_token", &add, &ignored);
    return add;
}

sterna_status sterna_model_describe(const sterna_model *model, sterna_model_info *info)
{
    if (!model || !info)
        return STERNA_E_ARGUMENT;
    const st_config *c = &model->config;
    sterna_model_info full = {.name = model->name,
                              .architecture = model->architecture,
                              .n_vocab = c->n_vocab,
                              .n_context = c->n_context,
                              .n_embd = c->n_embd,
                              .n_layer = c->n_layer,
                              .n_head = c->n_head,
                              .n_kv_head = c->n_kv_head,
                              .head_dim = c->head_dim,
                              .n_ff = c->n_ff,
                              .n_parameter = model->n_parameter,
                              .n_ternary_parameter = model->n_ternary_parameter,
                              .file_bytes = st_gguf_bytes(model->gguf),
                              .bos = st_model_special(model, "tokenizer.ggml.bos_token_id"),
                              .eos = st_model_special(model, "tokenizer.ggml.eos_token_id"),
                              .add_bos = adds_bos(model)};
    return st_struct_write(info, &full, sizeof full);
}

bool sterna_model_tensor(const sterna_model *model, int index, const char **name, const char **type,
                         int64_t shape[4], uint64_t *bytes)
{
    if (!model || index < 0 || index >= st_gguf_tensor_count(model->gguf))
        return false;
    const st_gguf_tensor *t = st_gguf_tensor_at(model->gguf, index);
    if (name)
        *name = t->name;
    if (type)
        *type = t->encoding->name;
    if (shape)
        memcpy(shape, t->shape, sizeof t->shape);
    if (bytes)
        *bytes = t->bytes;
    return true;
}

bool sterna_model_metadata(const sterna_model *model, int index, const char **key, char *value,
                           size_t value_size)
{
    if (!model || index < 0 || index >= st_gguf_kv_count(model->gguf))
        return false;
    const st_gguf_kv *kv = st_gguf_kv_at(model->gguf, index);
    if (key)
        *key = kv->key;
    if (value)
        st_gguf_print(kv, value, value_size);
    return true;
}

const st_config *st_model_config(const sterna_model *model)
{
    return &model->config;
}

/* ---- tensors by role ---- */

static const st_slot *slot_of(const sterna_model *model, st_role role, int32_t layer)
{
    if (st_role_is_global(role))
        layer = 0;
    assert(layer >= 0 && layer < model->config.n_layer && role < ST_ROLE_COUNT);
    return &model->slots[(size_t)layer * ST_ROLE_COUNT + role];
}

bool st_model_has(const sterna_model *model, st_role role, int32_t layer)
{
    return slot_of(model, role, layer)->tensor != NULL;
}

size_t st_model_bytes(const sterna_model *model, st_role role, int32_t layer)
{
    const st_gguf_tensor *t = slot_of(model, role, layer)->tensor;
    return t ? t->bytes : 0;
}

static st_packed packed_of(const sterna_model *model, const st_gguf_tensor *t)
{
    return (st_packed){.encoding = t->encoding,
                       .rows = (int32_t)t->shape[1],
                       .cols = (int32_t)t->shape[0],
                       .data = t->data,
                       .bytes = t->bytes,
                       .label = st_gguf_label(model->gguf),
                       .name = t->name};
}

static sterna_status absent(const sterna_model *model, st_role role, int32_t layer, sterna_error *error)
{
    return st_fail(error, STERNA_E_ARGUMENT, "%s: the model has no tensor '%s' (layer %d)",
                   st_gguf_label(model->gguf), st_role_name(role), layer);
}

sterna_status st_model_matrix(const sterna_model *model, st_role role, int32_t layer, st_pool *pool,
                              st_decoded *decoded, sterna_error *error)
{
    assert(!st_role_is_vector(role));
    const st_slot *slot = slot_of(model, role, layer);
    *decoded = (st_decoded){.out_scale = 1.0f};
    if (!slot->tensor)
        return absent(model, role, layer, error);
    st_packed packed = packed_of(model, slot->tensor);
    packed.pool = pool;
    sterna_status status = st_ternary_decode(&packed, decoded, error);
    if (!status && slot->scale) {
        packed = packed_of(model, slot->scale);
        status = st_ternary_vector(&packed, &decoded->out_scale, error);
    }
    if (!status && slot->bias) {
        packed = packed_of(model, slot->bias);
        decoded->bias = st_alloc((size_t)packed.cols * sizeof *decoded->bias);
        status = decoded->bias ? st_ternary_vector(&packed, decoded->bias, error)
                               : st_fail(error, STERNA_E_MEMORY, "%s: out of memory for tensor '%s'",
                                         packed.label, packed.name);
    }
    if (status)
        st_decoded_free(decoded);
    return status;
}

void st_model_drop(const sterna_model *model, st_role role, int32_t layer)
{
    const st_gguf_tensor *t = slot_of(model, role, layer)->tensor;
    if (t)
        st_gguf_drop(model->gguf, t);
}

sterna_status st_model_vector(const sterna_model *model, st_role role, int32_t layer, float *dst, int32_t n,
                              sterna_error *error)
{
    assert(st_role_is_vector(role));
    const st_gguf_tensor *t = slot_of(model, role, layer)->tensor;
    if (!t)
        return absent(model, role, layer, error);
    assert(n == t->shape[0]);
    (void)n;
    st_packed packed = packed_of(model, t);
    return st_ternary_vector(&packed, dst, error);
}
