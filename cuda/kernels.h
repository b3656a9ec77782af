/* What the host and the kernels agree on: one struct of arguments per kernel, passed by value. Pointers are
 * device addresses. Kernels are C++, launchers are C, so that this header is both. */
#ifndef ST_CUDA_KERNELS_H
#define ST_CUDA_KERNELS_H

#include "host/backend/backend.h"

enum {
    ST_CUDA_BLOCK =
        256, /* threads of a block in all kernels that work on a row: one for each lane of a sum */
    ST_CUDA_CHUNK = 8192,  /* columns of a row that a quantising block keeps in shared memory (32 KB) */
    ST_CUDA_ROW_TILE = 16, /* rows and columns of a tile of ternary codes, see ternary.cuh */
    ST_CUDA_K_TILE = 128,
    ST_CUDA_TILE_BYTES = ST_CUDA_ROW_TILE * ST_CUDA_K_TILE / 4,
    ST_CUDA_BLOCK_TILES = ST_K_BLOCK / ST_CUDA_K_TILE, /* of a block of linear's sums */
    ST_CUDA_GEMV_WARPS = 8                             /* of a block of linear_gemv, at most */
};

/* A block of linear_mma for so many octets of tokens, and as many row tiles, with one scale per row or with
 * groups: its column warps, threads, and stages of a column tile for each column warp; 36 KB at most. */
#define ST_CUDA_MMA_K_WARPS(octets, groups) ((groups) ? 1 : 8 / (octets))
#define ST_CUDA_MMA_THREADS(octets, groups)                                                                  \
    ((octets) == 8 && !(groups) ? 128 : 32 * (octets)*ST_CUDA_MMA_K_WARPS(octets, groups))
#define ST_CUDA_MMA_STAGE_BYTES(octets, groups)                                                              \
    ((octets)*ST_CUDA_MMA_K_WARPS(octets, groups) * (8 * ST_CUDA_K_TILE + ST_CUDA_TILE_BYTES))
#define ST_CUDA_MMA_STAGES(octets, groups) ((octets) == 8 || !(groups) ? 3 : 6)

/* A weight matrix on the device. */
typedef struct st_cuda_matrix {
    const void *data;             /* TERNARY: tiles of codes; else rows, row_bytes apart */
    const void *scale;            /* TERNARY, Q8: [row tiles][n_group][16] of scale_type */
    const float *bias;            /* f32 [rows], or NULL */
    const int32_t *outlier_start; /* i32 [rows + 1]: where a row's outliers begin; or NULL */
    const int32_t *outlier_col;   /* i32 [outliers] */
    const uint16_t *outlier;      /* f16 [outliers] */
    int64_t row_bytes;
    int32_t type, scale_type; /* st_type */
    int32_t rows, cols;
    int32_t group, n_group; /* columns per scale (cols for one per row); scales of a row */
    float out_scale;
} st_cuda_matrix;

/* The planes of a st_qact. */
typedef struct st_cuda_qact {
    int8_t *code;
    float *scale;
    int32_t *sum;
    int32_t stride, cols, n_scale, n_sum;
    int32_t act_group, sum_group; /* columns; 0 = the whole row */
} st_cuda_qact;

/* How rows of an op are found: rows of tokens by their positions, wanted rows by `out`. */
typedef struct st_cuda_rows {
    const int32_t *pos; /* i32 [n_row], or NULL for wanted rows */
    const int32_t *out; /* i32 [n_row] */
} st_cuda_rows;

typedef struct st_cuda_rotation {
    int32_t block; /* 0 = none */
    float norm;    /* 1 / sqrt(block) */
    const float *sign;
} st_cuda_rotation;

typedef struct st_cuda_embed {
    st_cuda_matrix table;
    st_cuda_rotation rotation;
    const int32_t *token, *pos;
    float *dst;
    float scale;
} st_cuda_embed;

typedef struct st_cuda_norm {
    st_cuda_rows rows;
    const float *src, *weight;
    float *dst;
    int32_t dim;
    float eps;
    int32_t accumulate;
} st_cuda_norm;

/* norm_quant and, with act >= 0, glu_norm_quant: there src rows are gate, then up. */
typedef struct st_cuda_quant {
    st_cuda_rows rows;
    const float *src, *weight; /* weight may be NULL */
    st_cuda_rotation rotation;
    st_cuda_qact dst;
    float eps;
    int32_t act; /* st_act, or -1 */
} st_cuda_quant;

typedef struct st_cuda_linear {
    st_cuda_matrix w;
    st_cuda_qact q;   /* int8 input */
    const float *src; /* f32 input [n_row][cols], or NULL */
    float *dst;       /* column 0 of this linear in row 0 */
    int32_t stride, n_row, accumulate;
    int32_t segment, n_segment;      /* int8: columns that share both scales; their count */
    int32_t weight_shift, act_shift; /* log2 of segments per weight group and per activation group */
    int32_t plane_shift;             /* log2 of planes, 32 columns, per segment, if there are several */
} st_cuda_linear;

typedef struct st_cuda_kv {
    uint16_t *data;
    int32_t n_layer, n_kv_head, head_dim, layer;
} st_cuda_kv;

typedef struct st_cuda_rope_store {
    float *qkv;
    const float *q_norm, *k_norm, *cos_sin;
    const int32_t *pos, *slot;
    st_cuda_kv kv;
    int32_t stride, n_head, n_rot, pairing;
    float eps;
} st_cuda_rope_store;

typedef struct st_cuda_attend {
    const float *qkv;
    float *dst;
    const int32_t *pos, *seq, *table, *length;
    st_cuda_kv kv;
    int32_t stride, n_head, max_blocks, window, causal;
    float scale, softcap, inv_softcap;
} st_cuda_attend;

typedef struct st_cuda_topk {
    const int32_t *out;
    const float *logits;
    const st_adjustment *adjust; /* may be NULL */
    const int32_t *n_adjust, *want;
    st_candidate *candidates;
    st_topk_stats *stats;
    int32_t n_vocab, k, max_adjust;
} st_cuda_topk;

/* Canonical rows -> tiles of codes; and scales [rows][n_group] -> [row tiles][n_group][16]. */
typedef struct st_cuda_pack {
    const void *src;
    void *dst;
    int64_t src_row_bytes;
    int32_t first_row, n_row; /* of the matrix: those that src holds; first_row is a multiple of 16 */
    int32_t n_unit;           /* codes: tiles of a row; scales: groups of a row */
    int32_t unit_bytes;       /* scales: bytes of one */
} st_cuda_pack;

#endif
