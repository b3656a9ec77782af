/* What an op costs whatever runs it, from its arguments: bytes as in st_bytes_*, what they would be with
 * other weights, and arithmetic.
 *
 * The comparison asks one question: what do ternary weights save? So the matrices that are ternary in the
 * file are counted with the bytes of another encoding, and everything else stays as it is: activations, KV,
 * norms, biases, outliers, and an embedding or head of another type. An [N][K] matrix has
 *   FP16   2 N K bytes
 *   INT8   N K, and an f32 scale per row: 4 N
 *   INT4   N ceil(K / 2), and an f16 scale per row and 128 columns: 2 N ceil(K / 128)
 *
 * Arithmetic is in multiply-accumulates. linear: rows * N * K. attend: 2 * head_dim per visible key and query
 * head. The others work on elements, for which these are conventions: embed 1 per element; norm 2 (square,
 * scale); norm_quant 3 (quantise); glu_norm_quant 4; rope_store 2 per rotated element; topk 1 per logit. */
#ifndef ST_COST_H
#define ST_COST_H

#include "host/backend/backend.h"

typedef struct st_cost {
    uint64_t bytes;               /* weight + kv + other: what st_bytes_* says */
    uint64_t weight;              /* matrices and norm vectors */
    uint64_t kv;                  /* keys and values, read or written */
    uint64_t other;               /* activations, and tables of angles */
    uint64_t fp16, int8, int4;    /* bytes, had the op's ternary matrix this encoding */
    uint64_t multiply_accumulate; /* see above */
} st_cost;

/* `args` is the op's st_*_args. */
st_cost st_cost_of(st_op op, const void *args, const st_batch_rows *rows);
void st_cost_add(st_cost *sum, const st_cost *cost);

#endif
