#include "host/model/roles.h"

#include "host/model/ternary.h"

#include <inttypes.h>
#include <stdio.h>
#include <string.h>

/* The configuration's numbers that shapes are made of. */
typedef enum dim { DIM_ONE, DIM_VOCAB, DIM_EMBD, DIM_HEADS, DIM_KV_HEADS, DIM_HEAD, DIM_FF, DIM_FREQS } dim;

/* When a role's tensor may or must be there. */
typedef enum presence {
    ALWAYS,
    WITH_SUB_NORM, /* required if the architecture has sub-norms, else unknown */
    WITH_OUTPUT,   /* optional if the architecture may have a head of its own, else unknown */
    OPTIONAL,
    NEVER /* of architectures that this version does not know yet */
} presence;

typedef enum kind { KIND_VECTOR, KIND_TERNARY, KIND_TABLE } kind; /* TABLE: embedding and head, any matrix */

static const struct {
    const char *name;
    unsigned char rows, cols; /* dim */
    unsigned char kind, presence;
    bool global, has_bias;
} roles[ST_ROLE_COUNT] = {
    [ST_ROLE_TOKEN_EMBD] = {"token_embd", DIM_VOCAB, DIM_EMBD, KIND_TABLE, ALWAYS, true, false},
    [ST_ROLE_OUTPUT_NORM] = {"output_norm", DIM_ONE, DIM_EMBD, KIND_VECTOR, ALWAYS, true, false},
    [ST_ROLE_OUTPUT] = {"output", DIM_VOCAB, DIM_EMBD, KIND_TABLE, WITH_OUTPUT, true, false},
    [ST_ROLE_ROPE_FREQS] = {"rope_freqs", DIM_ONE, DIM_FREQS, KIND_VECTOR, OPTIONAL, true, false},
    [ST_ROLE_ATTN_NORM] = {"attn_norm", DIM_ONE, DIM_EMBD, KIND_VECTOR, ALWAYS, false, false},
    [ST_ROLE_ATTN_Q] = {"attn_q", DIM_HEADS, DIM_EMBD, KIND_TERNARY, ALWAYS, false, true},
    [ST_ROLE_ATTN_K] = {"attn_k", DIM_KV_HEADS, DIM_EMBD, KIND_TERNARY, ALWAYS, false, true},
    [ST_ROLE_ATTN_V] = {"attn_v", DIM_KV_HEADS, DIM_EMBD, KIND_TERNARY, ALWAYS, false, true},
    [ST_ROLE_ATTN_Q_NORM] = {"attn_q_norm", DIM_ONE, DIM_HEAD, KIND_VECTOR, NEVER, false, false},
    [ST_ROLE_ATTN_K_NORM] = {"attn_k_norm", DIM_ONE, DIM_HEAD, KIND_VECTOR, NEVER, false, false},
    [ST_ROLE_ATTN_SUB_NORM] = {"attn_sub_norm", DIM_ONE, DIM_HEADS, KIND_VECTOR, WITH_SUB_NORM, false, false},
    [ST_ROLE_ATTN_OUTPUT] = {"attn_output", DIM_EMBD, DIM_HEADS, KIND_TERNARY, ALWAYS, false, true},
    [ST_ROLE_ATTN_POST_NORM] = {"post_attention_norm", DIM_ONE, DIM_EMBD, KIND_VECTOR, NEVER, false, false},
    [ST_ROLE_FFN_NORM] = {"ffn_norm", DIM_ONE, DIM_EMBD, KIND_VECTOR, ALWAYS, false, false},
    [ST_ROLE_FFN_GATE] = {"ffn_gate", DIM_FF, DIM_EMBD, KIND_TERNARY, ALWAYS, false, false},
    [ST_ROLE_FFN_UP] = {"ffn_up", DIM_FF, DIM_EMBD, KIND_TERNARY, ALWAYS, false, false},
    [ST_ROLE_FFN_SUB_NORM] = {"ffn_sub_norm", DIM_ONE, DIM_FF, KIND_VECTOR, WITH_SUB_NORM, false, false},
    [ST_ROLE_FFN_DOWN] = {"ffn_down", DIM_EMBD, DIM_FF, KIND_TERNARY, ALWAYS, false, false},
    [ST_ROLE_FFN_POST_NORM] = {"post_ffw_norm", DIM_ONE, DIM_EMBD, KIND_VECTOR, NEVER, false, false},
};

bool st_role_is_global(st_role role)
{
    return roles[role].global;
}

bool st_role_is_vector(st_role role)
{
    return roles[role].kind == KIND_VECTOR;
}

bool st_role_is_ternary(st_role role)
{
    return roles[role].kind == KIND_TERNARY;
}

bool st_role_is_required(const st_arch *arch, st_role role)
{
    presence p = (presence)roles[role].presence;
    return p == ALWAYS || (p == WITH_SUB_NORM && arch->sub_norm);
}

const char *st_role_name(st_role role)
{
    return roles[role].name;
}

void st_role_tensor_name(st_role role, int32_t layer, char name[ST_MAX_NAME])
{
    char block[24] = "";
    if (!roles[role].global)
        snprintf(block, sizeof block, "blk.%d.", layer);
    snprintf(name, ST_MAX_NAME, "%s%s.weight", block, roles[role].name);
}

static int32_t length_of(const st_config *c, dim d)
{
    switch (d) {
    case DIM_VOCAB:
        return c->n_vocab;
    case DIM_EMBD:
        return c->n_embd;
    case DIM_HEADS:
        return c->n_head * c->head_dim;
    case DIM_KV_HEADS:
        return c->n_kv_head * c->head_dim;
    case DIM_HEAD:
        return c->head_dim;
    case DIM_FF:
        return c->n_ff;
    case DIM_FREQS:
        return c->n_rot / 2;
    case DIM_ONE:
        break;
    }
    return 1;
}

void st_role_shape(const st_config *config, st_role role, int32_t *rows, int32_t *cols)
{
    *rows = length_of(config, (dim)roles[role].rows);
    *cols = length_of(config, (dim)roles[role].cols);
}

/* ---- names ---- */

typedef enum part { PART_WEIGHT, PART_BIAS, PART_SCALE } part;

typedef struct place {
    st_role role;
    int32_t layer;
    part part;
} place;

/* Takes "blk.<n>." off a name; false if it is not there or n is no layer. */
static bool take_layer(const char **name, int32_t n_layer, int32_t *layer)
{
    const char *at = *name + 4;
    int32_t n = 0;
    int digits = 0;
    for (; *at >= '0' && *at <= '9' && digits < 4; at++, digits++)
        n = n * 10 + (*at - '0');
    if (digits == 0 || *at != '.' || n >= n_layer || (digits > 1 && (*name)[4] == '0'))
        return false;
    *layer = n;
    *name = at + 1;
    return true;
}

static bool has_role(const st_arch *arch, st_role role)
{
    switch ((presence)roles[role].presence) {
    case WITH_SUB_NORM:
        return arch->sub_norm;
    case WITH_OUTPUT:
        return arch->has_output;
    case NEVER:
        return false;
    case ALWAYS:
    case OPTIONAL:
        break;
    }
    return true;
}

/* Finds the role of "<role>.<part>" or "blk.<n>.<role>.<part>" in this architecture. */
static bool parse_name(const char *name, const st_arch *arch, int32_t n_layer, place *out)
{
    static const char *const suffixes[] = {"weight", "bias", "scale"};
    bool global = strncmp(name, "blk.", 4) != 0;
    out->layer = 0;
    if (!global && !take_layer(&name, n_layer, &out->layer))
        return false;
    const char *dot = strrchr(name, '.');
    if (!dot)
        return false;
    int found = 0;
    while (found < 3 && strcmp(dot + 1, suffixes[found]) != 0)
        found++;
    if (found == 3)
        return false;
    out->part = (part)found;
    size_t length = (size_t)(dot - name);
    for (int role = 0; role < ST_ROLE_COUNT; role++) {
        if (roles[role].global != global || strlen(roles[role].name) != length ||
            memcmp(roles[role].name, name, length) != 0)
            continue;
        out->role = (st_role)role;
        if (out->part == PART_BIAS && !(arch->has_bias && roles[role].has_bias))
            return false;
        if (out->part == PART_SCALE && roles[role].kind != KIND_TERNARY)
            return false;
        return has_role(arch, (st_role)role);
    }
    return false;
}

/* ---- checks ---- */

static sterna_status check_shape(const st_gguf *gguf, const st_gguf_tensor *t, int32_t rows, int32_t cols,
                                 sterna_error *error)
{
    if (t->shape[0] == cols && t->shape[1] == rows && t->shape[2] == 1 && t->shape[3] == 1)
        return STERNA_OK;
    return st_fail(error, STERNA_E_FORMAT,
                   "%s: tensor '%s' has shape %" PRId64 " x %" PRId64 " x %" PRId64 " x %" PRId64
                   ", but the metadata asks for %d x %d",
                   st_gguf_label(gguf), t->name, t->shape[0], t->shape[1], t->shape[2], t->shape[3], cols,
                   rows);
}

static sterna_status check_encoding(const st_gguf *gguf, const st_gguf_tensor *t, kind k, sterna_error *error)
{
    const st_encoding_info *e = t->encoding;
    const char *label = st_gguf_label(gguf);
    if (k == KIND_VECTOR && !st_encoding_is_vector(e->encoding))
        return st_fail(error, STERNA_E_UNSUPPORTED, "%s: tensor '%s' is %s, but must be F32, F16 or BF16",
                       label, t->name, e->name);
    if (k == KIND_TABLE && !st_encoding_is_matrix(e->encoding))
        return st_fail(
            error, STERNA_E_UNSUPPORTED,
            "%s: tensor '%s' is %s; embeddings and heads are supported as F32, F16, BF16, Q8_0, TQ1_0, "
            "TQ2_0 and I2_S: quantise it to one of these, e.g. Q8_0",
            label, t->name, e->name);
    if (k != KIND_TERNARY || st_encoding_is_ternary(e->encoding))
        return STERNA_OK;
    if (e->ternary)
        return st_fail(
            error, STERNA_E_UNSUPPORTED,
            "%s: tensor '%s' is %s, which this version cannot decode; it runs TQ1_0, TQ2_0 and I2_S", label,
            t->name, e->name);
    return st_fail(
        error, STERNA_E_UNSUPPORTED,
        "%s: tensor '%s' is %s, but layers run on ternary matrices only: quantise a model that was "
        "trained for ternary weights to TQ1_0, TQ2_0 or I2_S",
        label, t->name, e->name);
}

static sterna_status bind_tensor(const st_gguf *gguf, const st_config *config, const place *where,
                                 const st_gguf_tensor *t, st_slot *slots, sterna_error *error)
{
    st_slot *slot = &slots[(size_t)where->layer * ST_ROLE_COUNT + where->role];
    int32_t rows, cols;
    st_role_shape(config, where->role, &rows, &cols);
    kind k = where->part == PART_WEIGHT ? (kind)roles[where->role].kind : KIND_VECTOR;
    if (where->part == PART_BIAS)
        cols = rows;
    else if (where->part == PART_SCALE)
        cols = 1;
    if (where->part != PART_WEIGHT)
        rows = 1;
    sterna_status status;
    if ((status = check_shape(gguf, t, rows, cols, error)) || (status = check_encoding(gguf, t, k, error)))
        return status;
    if (where->part == PART_WEIGHT)
        slot->tensor = t;
    else if (where->part == PART_BIAS)
        slot->bias = t;
    else
        slot->scale = t;
    return STERNA_OK;
}

static sterna_status check_complete(const st_gguf *gguf, const st_arch *arch, const st_config *config,
                                    const st_slot *slots, sterna_error *error)
{
    for (int32_t layer = 0; layer < config->n_layer; layer++) {
        for (int role = 0; role < ST_ROLE_COUNT; role++) {
            const st_slot *slot = &slots[(size_t)layer * ST_ROLE_COUNT + (size_t)role];
            if ((roles[role].global && layer > 0) || slot->tensor ||
                (!st_role_is_required(arch, (st_role)role) && !slot->bias && !slot->scale))
                continue;
            char name[ST_MAX_NAME];
            st_role_tensor_name((st_role)role, layer, name);
            return st_fail(error, STERNA_E_FORMAT,
                           "%s: tensor '%s' is missing (architecture '%s', %d layers)", st_gguf_label(gguf),
                           name, arch->name, config->n_layer);
        }
    }
    return STERNA_OK;
}

sterna_status st_roles_bind(const st_gguf *gguf, const st_arch *arch, const st_config *config,
                            const st_log *log, st_slot *slots, sterna_error *error)
{
    int unknown = 0;
    const char *first_unknown = NULL;
    for (int i = 0; i < st_gguf_tensor_count(gguf); i++) {
        const st_gguf_tensor *t = st_gguf_tensor_at(gguf, i);
        place where;
        if (!parse_name(t->name, arch, config->n_layer, &where)) {
            first_unknown = unknown++ ? first_unknown : t->name;
            st_log_write(log, STERNA_LOG_DEBUG, "%s: tensor '%s' is not used", st_gguf_label(gguf), t->name);
            continue;
        }
        sterna_status status = bind_tensor(gguf, config, &where, t, slots, error);
        if (status)
            return status;
    }
    if (unknown)
        st_log_write(log, STERNA_LOG_WARN,
                     "%s: %d of %d tensors have no place in architecture '%s' and are ignored, first '%s'",
                     st_gguf_label(gguf), unknown, st_gguf_tensor_count(gguf), arch->name, first_unknown);
    return check_complete(gguf, arch, config, slots, error);
}
