#include "cuda/kv.cuh"

enum { WARPS = 4 };

/* Norm (if any) and rotation of a head, in shared memory, by one warp. */
static __device__ void norm_rotate(const st_cuda_rope_store &a, const float *norm, int32_t pos, float *y)
{
    int32_t lane = (int32_t)threadIdx.x, dim = a.kv.head_dim, half = a.n_rot / 2;
    if (norm) {
        float v[8] = {};
        for (int32_t k = 0; k < dim; k += 256)
#pragma unroll
            for (int i = 0; i < 8; i++)
                if (k + 32 * i + lane < dim)
                    v[i] += y[k + 32 * i + lane] * y[k + 32 * i + lane];
        float sum = __shfl_sync(ALL_LANES, fold_strided(v), 0), factor = rms_factor(sum, dim, a.eps);
        for (int32_t d = lane; d < dim; d += 32)
            y[d] = (y[d] * factor) * norm[d];
        __syncwarp();
    }
    const float *cos_sin = a.cos_sin + (int64_t)pos * a.n_rot;
    for (int32_t i = lane; i < half; i += 32) {
        int32_t first = a.pairing == ST_PAIR_HALF ? i : 2 * i;
        int32_t second = a.pairing == ST_PAIR_HALF ? i + half : 2 * i + 1;
        float c = cos_sin[2 * i], s = cos_sin[2 * i + 1], p = y[first], q = y[second];
        y[first] = p * c - q * s;
        y[second] = p * s + q * c;
    }
    __syncwarp();
}

/* One warp per head of q, k and v. Grid: (heads / 4, tokens); block: (32, 4). */
extern "C" __global__ void __launch_bounds__(32 * WARPS)
    rope_store_generic(const __grid_constant__ st_cuda_rope_store a)
{
    __shared__ float head_of_warp[WARPS][ST_MAX_HEAD_DIM];
    int32_t r = (int32_t)blockIdx.y, pos = a.pos[r], dim = a.kv.head_dim, lane = (int32_t)threadIdx.x;
    int32_t head = (int32_t)(blockIdx.x * WARPS + threadIdx.y);
    if (pos < 0 || head >= a.n_head + 2 * a.kv.n_kv_head)
        return;
    float *from = a.qkv + (int64_t)r * a.stride + (int64_t)head * dim, *y = head_of_warp[threadIdx.y];
    for (int32_t d = lane; d < dim; d += 32)
        y[d] = from[d];
    __syncwarp();
    if (head < a.n_head) {
        norm_rotate(a, a.q_norm, pos, y);
        for (int32_t d = lane; d < dim; d += 32)
            from[d] = y[d];
        return;
    }
    int32_t slot = a.slot[r], page = slot / ST_KV_PAGE, position = slot % ST_KV_PAGE,
            kv_head = head - a.n_head;
    if (kv_head < a.kv.n_kv_head) {
        norm_rotate(a, a.k_norm, pos, y);
        uint16_t *k = k_block(a.kv, page, kv_head);
        for (int32_t d = lane; d < dim; d += 32)
            k[k_index(a.kv, position, d)] = f32_to_f16(y[d]);
        return;
    }
    uint16_t *v = v_block(a.kv, page, kv_head - a.kv.n_kv_head) + position * dim;
    for (int32_t d = lane; d < dim; d += 32)
        v[d] = f32_to_f16(y[d]);
}
