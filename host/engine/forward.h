/* The transformer, once: a list of ops on whatever backend there is, driven by the model's configuration and
 * by which of its norms exist. */
#ifndef ST_FORWARD_H
#define ST_FORWARD_H

#include "host/engine/weights.h"

typedef struct st_forward {
    st_device *dev;
    const st_config *config;
    st_weights weights;
    st_kv kv;
    int32_t max_token, max_out, max_candidate, max_adjust;
    /* scratch */
    st_buf *x;      /* f32 [max_token][n_embd] the residual stream */
    st_buf *branch; /* f32 [max(max_token, max_out)][n_embd] a branch before its norm; normed outputs */
    st_buf *qkv;    /* f32 [max_token][(n_head + 2 n_kv_head) * head_dim] */
    st_buf *heads;  /* f32 [max_token][n_head * head_dim] */
    st_buf *ff;     /* f32 [max_token][2 * n_ff] */
    st_buf *quant;  /* the int8 input of the linear at hand */
    st_buf *rope;   /* f32 [n_position][n_rot / 2][2] */
    /* results */
    st_buf *logits;     /* f32 [max_out][n_vocab] */
    st_buf *want;       /* i32 [max_out] tokens whose logits topk reports, -1 = none */
    st_buf *adjust;     /* st_adjustment [max_out][max_adjust] */
    st_buf *n_adjust;   /* i32 [max_out] */
    st_buf *candidates; /* st_candidate [max_out][k] */
    st_buf *stats;      /* st_topk_stats [max_out] */
    uint64_t scratch_bytes;
} st_forward;

typedef struct st_forward_sizes {
    int32_t max_token, max_out;        /* rows of a step, wanted rows */
    int32_t max_candidate, max_adjust; /* k of topk at most, and adjustments of a row */
    int32_t n_position, n_page;
} st_forward_sizes;

/* `model` must outlive it. On failure the caller still calls st_forward_destroy. */
sterna_status st_forward_create(st_forward *f, const sterna_model *model, st_device *dev,
                                const st_forward_sizes *sizes, const st_loading *loading,
                                sterna_error *error);
void st_forward_destroy(st_forward *f);

/* One step: rows of `batch` to logits and their k largest after adjustments, of which rows have at most
 * max_adjust (0: none is looked at). Waits for the result. Sets batch->stream. */
sterna_status st_forward_run(st_forward *f, st_batch *batch, int32_t k, int32_t max_adjust,
                             sterna_error *error);

/* Sliding window of a layer, 0 = none. */
int32_t st_forward_window(const st_config *config, int32_t layer);

#endif
