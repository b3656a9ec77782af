/* The shaders in this build, and what each shares with its launcher.
 *
 * Every shader has set 0 of storage buffers in the order that its launcher binds, one block of pushed
 * constants that the struct here (or vulkan/linear.h) mirrors, and 32-bit specialisation constants 0, 1, ...
 * of which 0 is the workgroup's size. Base shaders need neither 8- or 16-bit storage nor subgroup
 * operations. */
#ifndef ST_VULKAN_SHADERS_H
#define ST_VULKAN_SHADERS_H

#include "host/base/base.h"

/* X(symbol): vulkan/shaders/<symbol>.comp; _dot: the same source with ST_DOT=1. */
#define ST_VULKAN_SHADERS(X)                                                                                 \
    X(embed)                                                                                                 \
    X(norm)                                                                                                  \
    X(norm_quant)                                                                                            \
    X(glu_norm_quant)                                                                                        \
    X(rope_store)                                                                                            \
    X(attend)                                                                                                \
    X(topk)                                                                                                  \
    X(linear_float)                                                                                          \
    X(linear_gemv)                                                                                           \
    X(linear_gemv_dot)                                                                                       \
    X(linear_tile)                                                                                           \
    X(linear_tile_dot)                                                                                       \
    X(linear_coopmat)

typedef enum st_vulkan_shader {
#define ST_VULKAN_SHADER(symbol) ST_VULKAN_SHADER_##symbol,
    ST_VULKAN_SHADERS(ST_VULKAN_SHADER)
#undef ST_VULKAN_SHADER
        ST_VULKAN_N_SHADER
} st_vulkan_shader;

typedef struct st_vulkan_code {
    const char *name;
    const uint32_t *words;
    size_t bytes;
} st_vulkan_code;
extern const st_vulkan_code st_vulkan_codes[ST_VULKAN_N_SHADER];

enum {
    ST_VULKAN_MAX_BINDING = 9, /* storage buffers of one shader */
    ST_VULKAN_MAX_PUSH = 128,  /* bytes; what every device has */
    ST_VULKAN_MAX_CONSTANT = 8 /* specialisation constants of one shader */
};

/* Columns that a rotation keeps in shared memory, and what the quantising shaders need besides. */
enum { ST_VULKAN_CHUNK = 4096, ST_VULKAN_SMALL_CHUNK = 2048, ST_VULKAN_CHUNK_EXTRA = 3072 };

/* embed: codes, scales, token, pos, sign, dst. Constants: size, type, chunk. One dispatch for each split. */
typedef struct st_vulkan_embed_push {
    uint32_t cols, rows, first_row; /* of the split */
    uint32_t n_step, n_group, scale_type, group_shift;
    uint32_t block, has_sign;
    float scale, norm;
} st_vulkan_embed_push;

/* norm: src, dst, weight, index (pos or out). Constants: size. dst may be src. */
typedef struct st_vulkan_norm_push {
    uint32_t dim, accumulate, gathers;
    float eps;
} st_vulkan_norm_push;

/* norm_quant, glu_norm_quant: src, weight, sign, index, dst. Constants: size, chunk. */
typedef struct st_vulkan_quant_push {
    uint32_t cols, gathers, has_weight, act;
    uint32_t block, has_sign;
    float norm, eps;
    uint32_t stride, scale_at, sum_at; /* words of dst: of a row of codes, where scales and sums begin */
    uint32_t n_scale, n_sum, act_group, sum_group; /* 0 = the whole row */
} st_vulkan_quant_push;

/* rope_store: qkv, q_norm, k_norm, cos_sin, pos, slot, keys, values. Constants: size. */
typedef struct st_vulkan_rope_push {
    uint32_t stride, n_head, n_kv_head, head_dim, n_rot, adjacent, has_q_norm, has_k_norm;
    uint32_t key_skip, value_skip; /* halves before the layer's planes in their bindings */
    float eps;
} st_vulkan_rope_push;

/* attend: qkv, dst, pos, seq, table, length, keys, values. Constants: size. */
typedef struct st_vulkan_attend_push {
    uint32_t stride, n_head, n_kv_head, head_dim, max_blocks, window, causal;
    uint32_t key_skip, value_skip;
    float scale, softcap, inv_softcap;
} st_vulkan_attend_push;

/* topk: logits, adjust, n_adjust, want, out, candidates, stats. Constants: size. */
typedef struct st_vulkan_topk_push {
    uint32_t n_vocab, k, max_adjust;
} st_vulkan_topk_push;

#endif
