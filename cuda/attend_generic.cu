#include "cuda/kv.cuh"

static_assert(ST_CUDA_BLOCK == ST_PARTITION && ST_CUDA_BLOCK == ST_LANES, "a thread per key of a partition");
static_assert(ST_MAX_HEAD_DIM == 2 * ST_CUDA_BLOCK, "two dimensions per thread");

/* q . k in the 16-lane order. k: a K block; q in shared memory. */
static __device__ float dot_qk(const st_cuda_attend &a, const float *q, const uint16_t *k, int32_t position)
{
    float acc[ST_LANES_QK] = {};
    int32_t dim = a.kv.head_dim;
    for (int32_t d = 0; d < dim; d += ST_LANES_QK) {
#pragma unroll
        for (int half = 0; half < ST_LANES_QK; half += 8) {
            if (d + half + 8 <= dim) {
                uint4 raw = *(const uint4 *)(k + k_index(a.kv, position, d + half));
                uint32_t words[4] = {raw.x, raw.y, raw.z, raw.w};
#pragma unroll
                for (int i = 0; i < 8; i++)
                    acc[half + i] += q[d + half + i] * f16_to_f32((uint16_t)(words[i / 2] >> 16 * (i % 2)));
            } else {
#pragma unroll
                for (int i = 0; i < 8; i++)
                    if (d + half + i < dim)
                        acc[half + i] +=
                            q[d + half + i] * f16_to_f32(k[k_index(a.kv, position, d + half + i)]);
            }
        }
    }
#pragma unroll
    for (int i = 0; i < 8; i++)
        acc[i] += acc[i + 8];
#pragma unroll
    for (int i = 0; i < 4; i++)
        acc[i] += acc[i + 4];
    return (acc[0] + acc[2]) + (acc[1] + acc[3]);
}

/* One block per (head, row): partitions in turn, a thread per key, then one or two dimensions per thread. */
extern "C" __global__ void __launch_bounds__(ST_CUDA_BLOCK)
    attend_generic(const __grid_constant__ st_cuda_attend a)
{
    __shared__ float q[ST_MAX_HEAD_DIM], p[ST_PARTITION], lanes[ST_LANES];
    __shared__ uint32_t maxima[ST_CUDA_BLOCK / 32];
    int32_t head = (int32_t)blockIdx.x, r = (int32_t)blockIdx.y, tid = (int32_t)threadIdx.x;
    int32_t dim = a.kv.head_dim, pos = a.pos[r];
    if (pos < 0)
        return;
    int32_t kv_head = head / (a.n_head / a.kv.n_kv_head), seq = a.seq[r];
    const int32_t *table = a.table + (int64_t)seq * a.max_blocks;
    int32_t first = a.window > 0 && pos >= a.window ? pos - a.window + 1 : 0, end = a.length[seq];
    if (a.causal)
        end = min(end, pos + 1);
    else if (a.window > 0)
        end = (int32_t)min((int64_t)end, (int64_t)pos + a.window);
    for (int32_t d = tid; d < dim; d += ST_CUDA_BLOCK)
        q[d] = a.qkv[(int64_t)r * a.stride + (int64_t)head * dim + d];
    __syncthreads();

    float all_max = 0.0f, all_sum = 0.0f, all[2] = {0.0f, 0.0f};
    for (int32_t base = first / ST_PARTITION * ST_PARTITION; base < end; base += ST_PARTITION) {
        int32_t j = base + tid, from = max(first, base), to = min(end, base + ST_PARTITION);
        bool visible = j >= from && j < to;
        float s = -INFINITY;
        if (visible) {
            s = dot_qk(a, q, k_block(a.kv, table[j / ST_KV_PAGE], kv_head), j % ST_KV_PAGE) * a.scale;
            if (a.softcap > 0.0f)
                s = a.softcap * tanh_f32(s * a.inv_softcap);
        }
        /* A NaN is no maximum, as in the comparisons of the definition; it shows in the sums. */
        float top = unordered(max_block(ordered(s == s ? s : -INFINITY), maxima));
        p[tid] = visible ? exp_f32(s - top) : 0.0f;
        float sum = fold_block(p[tid], lanes);
        float o[2] = {0.0f, 0.0f};
        for (int32_t key = from; key < to; key++) {
            const uint16_t *v = v_block(a.kv, table[key / ST_KV_PAGE], kv_head) + key % ST_KV_PAGE * dim;
#pragma unroll
            for (int i = 0; i < 2; i++)
                if (tid + ST_CUDA_BLOCK * i < dim)
                    o[i] += p[key - base] * f16_to_f32(v[tid + ST_CUDA_BLOCK * i]);
        }
        if (from == first) {
            all_max = top, all_sum = sum, all[0] = o[0], all[1] = o[1];
        } else {
            float greater = top > all_max ? top : all_max;
            float old_part = exp_f32(all_max - greater), new_part = exp_f32(top - greater);
            all_max = greater;
            all_sum = all_sum * old_part + sum * new_part;
            all[0] = all[0] * old_part + o[0] * new_part;
            all[1] = all[1] * old_part + o[1] * new_part;
        }
        __syncthreads();
    }
    float factor = 1.0f / all_sum;
    float *dst = a.dst + ((int64_t)r * a.n_head + head) * dim;
    for (int i = 0; i < 2; i++)
        if (tid + ST_CUDA_BLOCK * i < dim)
            dst[tid + ST_CUDA_BLOCK * i] = all[i] * factor;
}
