/* A model on a device: weights and norm vectors, uploaded one matrix at a time. */
#ifndef ST_WEIGHTS_H
#define ST_WEIGHTS_H

#include "host/backend/backend.h"
#include "host/model/model.h"

/* Matrices that read the same input and write side by side: q, k, v or gate, up. Uploaded as one weight where
 * their types, groups and factors agree. */
typedef struct st_stack {
    st_weight *part[3];
    int32_t column[3]; /* where each part writes */
    int32_t n_part;
    int32_t width; /* columns of all parts together */
} st_stack;

typedef struct st_block {
    st_buf *attn_norm, *ffn_norm;           /* f32 [n_embd] */
    st_buf *q_norm, *k_norm;                /* f32 [head_dim], or NULL */
    st_buf *attn_sub_norm, *ffn_sub_norm;   /* f32 [n_head * head_dim], [n_ff], or NULL */
    st_buf *attn_post_norm, *ffn_post_norm; /* f32 [n_embd], or NULL */
    st_stack qkv, gate_up;
    st_weight *attn_output, *ffn_down;
} st_block;

typedef struct st_weights {
    st_device *dev;
    st_block *block; /* [n_layer] */
    int32_t n_layer;
    st_weight *embed; /* [n_vocab][n_embd] */
    st_weight *head;  /* [n_vocab][n_embd]; may be `embed` */
    bool int8_head;   /* the head reads quantised activations */
    float embed_scale;
    st_buf *output_norm; /* f32 [n_embd] */
    uint64_t bytes;      /* device memory of all of this */
    uint64_t pass_bytes; /* what one step reads, whatever its rows: blocks and norms; the head comes on top */
} st_weights;

/* How a model is loaded. */
typedef struct st_loading {
    sterna_head head;
    st_pool *pool;               /* whose threads decode; NULL: the caller does */
    sterna_progress_fn progress; /* may be NULL */
    void *user;
    st_log log;
} st_loading;

/* On failure the caller still calls st_weights_destroy. */
sterna_status st_weights_create(st_weights *weights, const sterna_model *model, st_device *dev,
                                const st_loading *loading, sterna_error *error);
void st_weights_destroy(st_weights *weights);

#endif
