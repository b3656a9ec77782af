/* The Vulkan backend: its table of functions, and of variants. */
#include "vulkan/device.h"

#include <string.h>

/* ---- the variants of linear ---- */

static bool is_float(const st_vulkan *v, const void *args)
{
    (void)v;
    return ((const st_linear_args *)args)->src != NULL;
}

/* The automatic choice looks at the number of rows, which the predicates do not. */
#define LINEAR(name, variant)                                                                                \
    static bool name##_exists(const st_vulkan *v)                                                            \
    {                                                                                                        \
        return st_vulkan_linear_exists(&v->linear, variant);                                                 \
    }                                                                                                        \
    static bool name##_takes(const st_vulkan *v, const void *args)                                           \
    {                                                                                                        \
        return !is_float(v, args) && st_vulkan_linear_takes(variant, args);                                  \
    }                                                                                                        \
    static void name##_run(st_vulkan *v, const void *args)                                                   \
    {                                                                                                        \
        st_vulkan_linear_run(v, variant, args);                                                              \
    }

LINEAR(gemv, ST_VULKAN_LINEAR_GEMV)
LINEAR(gemv_dot, ST_VULKAN_LINEAR_GEMV_DOT)
LINEAR(tile, ST_VULKAN_LINEAR_TILE)
LINEAR(tile_dot, ST_VULKAN_LINEAR_TILE_DOT)
LINEAR(coopmat, ST_VULKAN_LINEAR_COOPMAT)

/* Per op from the most general to the most special. */
static const st_vulkan_variant table[] = {
    {ST_OP_EMBED, "generic", NULL, NULL, st_vulkan_embed_run},
    {ST_OP_NORM, "generic", NULL, NULL, st_vulkan_norm_run},
    {ST_OP_NORM_QUANT, "generic", NULL, NULL, st_vulkan_norm_quant_run},
    {ST_OP_LINEAR, "float", NULL, is_float, gemv_run},
    {ST_OP_LINEAR, "gemv", gemv_exists, gemv_takes, gemv_run},
    {ST_OP_LINEAR, "gemv_dot", gemv_dot_exists, gemv_dot_takes, gemv_dot_run},
    {ST_OP_LINEAR, "tile", tile_exists, tile_takes, tile_run},
    {ST_OP_LINEAR, "tile_dot", tile_dot_exists, tile_dot_takes, tile_dot_run},
    {ST_OP_LINEAR, "coopmat", coopmat_exists, coopmat_takes, coopmat_run},
    {ST_OP_ROPE_STORE, "generic", NULL, NULL, st_vulkan_rope_store_run},
    {ST_OP_ATTEND, "generic", NULL, NULL, st_vulkan_attend_run},
    {ST_OP_GLU_NORM_QUANT, "generic", NULL, NULL, st_vulkan_glu_norm_quant_run},
    {ST_OP_TOPK, "generic", NULL, NULL, st_vulkan_topk_run},
};
enum { N_VARIANT = sizeof table / sizeof table[0] };

static bool exists(const st_vulkan *v, const st_vulkan_variant *variant)
{
    return !variant->exists || variant->exists(v);
}

static const st_vulkan_variant *by_name(st_op op, const char *name)
{
    for (int i = 0; i < N_VARIANT; i++)
        if (table[i].op == op && strcmp(table[i].name, name) == 0)
            return &table[i];
    return NULL;
}

/* ---- device ---- */

static int device_count(const char **why_not)
{
    const st_vulkan_driver *d = st_vulkan_driver_get();
    if (d->n_device == 0)
        *why_not = d->why_not;
    return d->n_device;
}

static sterna_status device_open(int index, const st_device_params *params, st_device **dev,
                                 sterna_error *error)
{
    sterna_status status = st_vulkan_open(index, params, dev, error);
    if (status != STERNA_OK)
        return status;
    st_vulkan *v = st_vulkan_of(*dev);
    for (int i = 0; i < N_VARIANT; i++)
        if (exists(v, &table[i])) {
            assert(v->n_name[table[i].op] < ST_VULKAN_MAX_VARIANT);
            v->names[table[i].op][v->n_name[table[i].op]++] = table[i].name;
        }
    return STERNA_OK;
}

static int variants(const st_device *dev, st_op op, const char *const **names)
{
    const st_vulkan *v = (const st_vulkan *)(const void *)dev;
    *names = v->names[op];
    return v->n_name[op];
}

static sterna_status force(st_device *dev, st_op op, const char *name, sterna_error *error)
{
    st_vulkan *v = st_vulkan_of(dev);
    const st_vulkan_variant *found = name ? by_name(op, name) : NULL;
    if (name && !found)
        return st_fail(error, STERNA_E_ARGUMENT, "%s has no variant \"%s\" on vulkan", st_op_name(op), name);
    if (found && !exists(v, found))
        return st_fail(error, STERNA_E_UNSUPPORTED, "variant %s of %s needs what %s lacks", name,
                       st_op_name(op), v->name);
    if (v->forced[op] != found)
        st_vulkan_forget(v);
    v->forced[op] = found;
    return STERNA_OK;
}

static int trace(const st_device *dev, st_trace_row *rows, int max)
{
    const st_vulkan *v = (const st_vulkan *)(const void *)dev;
    for (int i = 0; i < v->n_trace && i < max; i++)
        rows[i] = v->trace[i];
    return v->n_trace;
}

static sterna_status weight_create(st_device *dev, const st_matrix *parts, int n_part, const float *bias,
                                   float out_scale, const st_outliers *outliers, st_weight **weight,
                                   sterna_error *error)
{
    return st_vulkan_weight_upload(dev, (size_t)st_vulkan_of(dev)->limits.max_range, parts, n_part, bias,
                                   out_scale, outliers, weight, error);
}

/* ---- choice ---- */

static bool fits(const st_vulkan *v, const st_vulkan_variant *variant, const void *args)
{
    return exists(v, variant) && (!variant->takes || variant->takes(v, args));
}

/* The forced variant if it takes the call, else the first that does, or if strict NULL. Without force, a
 * linear of codes by its number of rows. */
static const st_vulkan_variant *choose(const st_vulkan *v, st_op op, const void *args)
{
    const st_vulkan_variant *forced = v->forced[op];
    if (forced && fits(v, forced, args))
        return forced;
    if (forced && v->strict)
        return NULL;
    if (!forced && op == ST_OP_LINEAR && !is_float(v, args)) {
        const st_linear_args *a = args;
        int32_t rows = a->rows == ST_ROWS_TOKEN ? v->batch->n_token : v->batch->n_out;
        return by_name(op, st_vulkan_linear_names[st_vulkan_linear_choose(&v->linear, a, rows)]);
    }
    int i = 0;
    while (table[i].op != op || !fits(v, &table[i], args))
        i++;
    return &table[i];
}

static void run(st_device *dev, st_op op, const void *args)
{
    st_vulkan *v = st_vulkan_of(dev);
    assert(v->batch);
    if (v->replaying || v->failure.status != STERNA_OK)
        return;
    const st_vulkan_variant *variant = choose(v, op, args);
    if (!variant)
        return;
    variant->run(v, args);
    if (v->trace)
        st_vulkan_trace_op(v, op, variant->name, st_bytes_of(op, args, v->rows));
}

/* ---- ops ---- */

#define OP(name, number)                                                                                     \
    static void op_##name(st_device *dev, const st_##name##_args *args)                                      \
    {                                                                                                        \
        run(dev, number, args);                                                                              \
    }

OP(embed, ST_OP_EMBED)
OP(norm, ST_OP_NORM)
OP(norm_quant, ST_OP_NORM_QUANT)
OP(linear, ST_OP_LINEAR)
OP(rope_store, ST_OP_ROPE_STORE)
OP(attend, ST_OP_ATTEND)
OP(glu_norm_quant, ST_OP_GLU_NORM_QUANT)
OP(topk, ST_OP_TOPK)

const st_backend st_backend_vulkan = {
    .name = "vulkan",
    .count = device_count,
    .info = st_vulkan_info,
    .open = device_open,
    .close = st_vulkan_close,
    .variants = variants,
    .force = force,
    .trace = trace,
    .buf_create = st_vulkan_buf_create,
    .buf_destroy = st_vulkan_buf_destroy,
    .buf_wrap = st_vulkan_buf_wrap,
    .write = st_vulkan_write,
    .read = st_vulkan_read,
    .fill = st_vulkan_fill,
    .weight_create = weight_create,
    .weight_destroy = st_vulkan_weight_destroy,
    .begin = st_vulkan_begin,
    .end = st_vulkan_end,
    .embed = op_embed,
    .norm = op_norm,
    .norm_quant = op_norm_quant,
    .linear = op_linear,
    .rope_store = op_rope_store,
    .attend = op_attend,
    .glu_norm_quant = op_glu_norm_quant,
    .topk = op_topk,
};
