/* The KV cache: per page, layer and key head a block of K and one of V, f16. V is [64 positions][head_dim]. K
 * keeps 8 dimensions of a position together and positions beside each other, [head_dim / 8][64][8], so that
 * the threads of a warp, a position each, read 16 bytes next to their neighbours'; a rest of head_dim % 8
 * dimensions follows as [64][rest]. */
#ifndef ST_CUDA_KV_CUH
#define ST_CUDA_KV_CUH

#include "cuda/numerics.cuh"

static __device__ __forceinline__ uint16_t *k_block(const st_cuda_kv &kv, int32_t page, int32_t head)
{
    int64_t index = ((int64_t)page * kv.n_layer + kv.layer) * kv.n_kv_head + head;
    return kv.data + index * 2 * ST_KV_PAGE * kv.head_dim;
}

static __device__ __forceinline__ uint16_t *v_block(const st_cuda_kv &kv, int32_t page, int32_t head)
{
    return k_block(kv, page, head) + ST_KV_PAGE * kv.head_dim;
}

/* Index of a dimension of a position in its K block. */
static __device__ __forceinline__ int32_t k_index(const st_cuda_kv &kv, int32_t position, int32_t d)
{
    int32_t whole = kv.head_dim / 8 * 8;
    if (d < whole)
        return (d / 8 * ST_KV_PAGE + position) * 8 + d % 8;
    return whole * ST_KV_PAGE + position * (kv.head_dim - whole) + d - whole;
}

#endif
