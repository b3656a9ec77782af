/* The reference backend: the meaning of every op with every parameter, in plain C on one thread. It is
 * written to be read and is never optimised. Rows of padding are skipped: nothing is written to them. */
#ifndef ST_REF_H
#define ST_REF_H

#include "host/backend/backend.h"

enum { ST_REF_MAX_TRACE = 16 * ST_MAX_LAYER }; /* ops of one traced step; a layer has 9 */

typedef struct st_ref_device {
    st_device base;
    const st_batch *batch; /* of the step in progress, else NULL */
    float *scratch;        /* f32 [ST_MAX_ROWS]: one row of activations or logits */
    st_trace_row *trace;   /* [ST_REF_MAX_TRACE], or NULL: not traced */
    int n_trace;
    double begun;         /* time of begin() */
    sterna_error failure; /* the first one; status STERNA_OK if none */
} st_ref_device;

typedef struct st_ref_buf {
    st_buf base;
    unsigned char *data;
    bool wrapped; /* data is the caller's */
} st_ref_buf;

typedef struct st_ref_weight {
    st_weight base;
    st_matrix matrix; /* a copy of all parts; the pointers below and in here are owned */
    float *bias;      /* f32 [rows], or NULL */
    float out_scale;
    int32_t *outlier_row, *outlier_col; /* i32 [n_outlier] */
    uint16_t *outlier;                  /* f16 [n_outlier] */
} st_ref_weight;

static inline void *st_ref_data(const st_buf *buf)
{
    return ((const st_ref_buf *)(const void *)buf)->data;
}

static inline int32_t st_ref_row_count(const st_ref_device *d, st_rows rows)
{
    return rows == ST_ROWS_TOKEN ? d->batch->n_token : d->batch->n_out;
}

/* The token row that row r of an op stands for, or -1: padding. */
static inline int32_t st_ref_token_row(const st_ref_device *d, st_rows rows, int32_t r)
{
    if (rows == ST_ROWS_OUT)
        return ((const int32_t *)st_ref_data(d->batch->out))[r];
    return ((const int32_t *)st_ref_data(d->batch->pos))[r] < 0 ? -1 : r;
}

/* One row of a st_qact. */
typedef struct st_ref_qrow {
    int8_t *code;   /* i8 [stride] */
    float *scale;   /* f32 [n_scale] */
    int32_t *sum;   /* i32 [n_sum] */
    size_t padding; /* codes past cols */
} st_ref_qrow;
st_ref_qrow st_ref_qact_row(const st_qact *q, int32_t row);

/* Where K (value 0) or V (value 1) of a slot and head stand in the cache: f16
 * [n_layer][n_page * 64 slots][2][n_kv_head][head_dim]. */
static inline uint16_t *st_ref_kv(const st_kv *kv, int32_t layer, int32_t slot, int value, int32_t head)
{
    size_t position = (size_t)layer * (size_t)kv->n_page * ST_KV_PAGE + (size_t)slot;
    size_t row = (position * 2 + (size_t)value) * (size_t)kv->n_kv_head + (size_t)head;
    return (uint16_t *)st_ref_data(kv->buf) + row * (size_t)kv->head_dim;
}

/* Multiplies a row by its RMS factor and by weight, f32 [n]. x may be y. */
void st_ref_rms_norm(const float *x, const float *weight, int64_t n, float eps, float *y);
/* The common end of the quantising ops, on row x, f32 [dst->cols], which it destroys: norm (unless weight is
 * NULL), rotation, quantisation into row `row` of dst. */
void st_ref_finish_quantised(float *x, const st_buf *weight, float eps, const st_rotation *rotation,
                             const st_qact *dst, int32_t row);

sterna_status st_ref_weight_create(st_device *dev, const st_matrix *parts, int n_part, const float *bias,
                                   float out_scale, const st_outliers *outliers, st_weight **weight,
                                   sterna_error *error);
void st_ref_weight_destroy(st_device *dev, st_weight *weight);

void st_ref_embed(st_ref_device *d, const st_embed_args *a);
void st_ref_norm(st_ref_device *d, const st_norm_args *a);
void st_ref_norm_quant(st_ref_device *d, const st_norm_quant_args *a);
void st_ref_linear(st_ref_device *d, const st_linear_args *a);
void st_ref_rope_store(st_ref_device *d, const st_rope_store_args *a);
uint64_t st_ref_attend(st_ref_device *d, const st_attend_args *a); /* returns the visible keys of all rows */
void st_ref_glu_norm_quant(st_ref_device *d, const st_glu_norm_quant_args *a);
void st_ref_topk(st_ref_device *d, const st_topk_args *a);

#endif
