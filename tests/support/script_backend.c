#include "tests/support/script_backend.h"

#include <stdlib.h>
#include <string.h>

typedef struct script_buf {
    st_buf base;
    unsigned char *data;
    bool owned;
} script_buf;

static int script_count(const char **why_not)
{
    *why_not = "only in tests";
    return 0;
}

static void script_info(int index, sterna_device_info *info)
{
    (void)index;
    memset(info, 0, sizeof *info);
}

static sterna_status script_no_open(int index, const st_device_params *params, st_device **dev,
                                    sterna_error *error)
{
    (void)index, (void)params, (void)dev;
    return st_fail(error, STERNA_E_DEVICE, "opened by script_open");
}

static void script_close(st_device *dev)
{
    script_device *d = (script_device *)dev;
    if (d->shadow)
        script_shadow_close(d->shadow);
    free(d);
}

static int script_variants(const st_device *dev, st_op op, const char *const **names)
{
    static const char *const only[] = {"script"};
    (void)dev, (void)op;
    *names = only;
    return 1;
}

static sterna_status script_force(st_device *dev, st_op op, const char *variant, sterna_error *error)
{
    (void)dev, (void)op, (void)variant, (void)error;
    return STERNA_OK;
}

static int script_trace(const st_device *dev, st_trace_row *rows, int max)
{
    (void)dev, (void)rows, (void)max;
    return 0;
}

static sterna_status make_buf(void *native, size_t bytes, st_buf **buf)
{
    script_buf *b = calloc(1, sizeof *b);
    b->base.bytes = bytes;
    b->owned = !native;
    b->data = native ? native : malloc(bytes);
    if (!native)
        memset(b->data, 0xff, bytes); /* as f32: NaN */
    *buf = &b->base;
    return STERNA_OK;
}

static sterna_status script_buf_create(st_device *dev, size_t bytes, st_buf **buf, sterna_error *error)
{
    (void)dev, (void)error;
    return make_buf(NULL, bytes, buf);
}

static sterna_status script_buf_wrap(st_device *dev, void *native, size_t bytes, st_buf **buf,
                                     sterna_error *error)
{
    (void)dev, (void)error;
    return make_buf(native, bytes, buf);
}

void *script_data(const st_buf *buf)
{
    return ((const script_buf *)buf)->data;
}

static void script_buf_destroy(st_device *dev, st_buf *buf)
{
    (void)dev;
    script_buf *b = (script_buf *)buf;
    if (b && b->owned)
        free(b->data);
    free(b);
}

static void script_write(st_device *dev, st_buf *buf, size_t offset, const void *src, size_t bytes)
{
    (void)dev;
    memcpy(((script_buf *)buf)->data + offset, src, bytes);
}

static void script_read(st_device *dev, const st_buf *buf, size_t offset, void *dst, size_t bytes)
{
    (void)dev;
    memcpy(dst, ((const script_buf *)buf)->data + offset, bytes);
}

static void script_fill(st_device *dev, st_buf *buf, uint32_t word)
{
    (void)dev;
    for (size_t i = 0; i + 4 <= buf->bytes; i += 4)
        memcpy(((script_buf *)buf)->data + i, &word, 4);
}

static sterna_status script_weight_create(st_device *dev, const st_matrix *parts, int n_part,
                                          const float *bias, float out_scale, const st_outliers *outliers,
                                          st_weight **weight, sterna_error *error)
{
    (void)dev, (void)out_scale, (void)outliers, (void)error;
    st_weight *w = calloc(1, sizeof *w);
    w->type = parts->type;
    w->cols = parts->cols;
    w->group = parts->group;
    w->has_bias = bias != NULL;
    for (int i = 0; i < n_part; i++)
        w->rows += parts[i].rows;
    *weight = w;
    return STERNA_OK;
}

static void script_weight_destroy(st_device *dev, st_weight *weight)
{
    (void)dev;
    free(weight);
}

static bool script_begin(st_device *dev, const st_batch *batch)
{
    script_device *d = (script_device *)dev;
    d->n_begin++;
    if (d->shadow)
        script_shadow_begin(d->shadow, batch);
    return !d->replay;
}

static sterna_status script_end(st_device *dev, sterna_error *error)
{
    script_device *d = (script_device *)dev;
    d->n_end++;
    return d->shadow ? script_shadow_end(d->shadow, error) : STERNA_OK;
}

#define SCRIPTED_OP(name, op)                                                                                \
    static void script_##name(st_device *dev, const st_##name##_args *args)                                  \
    {                                                                                                        \
        script_device *d = (script_device *)dev;                                                             \
        d->n_call[op]++;                                                                                     \
        if (d->shadow)                                                                                       \
            script_shadow_##name(d->shadow, args);                                                           \
    }

SCRIPTED_OP(embed, ST_OP_EMBED)
SCRIPTED_OP(norm, ST_OP_NORM)
SCRIPTED_OP(norm_quant, ST_OP_NORM_QUANT)
SCRIPTED_OP(linear, ST_OP_LINEAR)
SCRIPTED_OP(rope_store, ST_OP_ROPE_STORE)
SCRIPTED_OP(attend, ST_OP_ATTEND)
SCRIPTED_OP(glu_norm_quant, ST_OP_GLU_NORM_QUANT)
SCRIPTED_OP(topk, ST_OP_TOPK)

static const st_backend script_backend = {.name = "script",
                                          .count = script_count,
                                          .info = script_info,
                                          .open = script_no_open,
                                          .close = script_close,
                                          .variants = script_variants,
                                          .force = script_force,
                                          .trace = script_trace,
                                          .buf_create = script_buf_create,
                                          .buf_destroy = script_buf_destroy,
                                          .buf_wrap = script_buf_wrap,
                                          .write = script_write,
                                          .read = script_read,
                                          .fill = script_fill,
                                          .weight_create = script_weight_create,
                                          .weight_destroy = script_weight_destroy,
                                          .begin = script_begin,
                                          .end = script_end,
                                          .embed = script_embed,
                                          .norm = script_norm,
                                          .norm_quant = script_norm_quant,
                                          .linear = script_linear,
                                          .rope_store = script_rope_store,
                                          .attend = script_attend,
                                          .glu_norm_quant = script_glu_norm_quant,
                                          .topk = script_topk};

script_device *script_open(void)
{
    script_device *d = calloc(1, sizeof *d);
    d->base.backend = &script_backend;
    return d;
}

script_device *script_open_shadow(void)
{
    script_device *d = script_open();
    d->shadow = script_shadow_open();
    return d;
}
