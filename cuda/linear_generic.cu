/* The generic linear kernels: every type, group and shape. */
#include "cuda/linear.cuh"

enum { WARPS = ST_CUDA_BLOCK / 32 };

/* sum of w * q over the 4 columns from `col` on, a multiple of 4: code times q for TERNARY. */
static __device__ __forceinline__ int32_t dot4(const st_cuda_linear &a, int32_t row, int32_t col, uint32_t q,
                                               int32_t sum)
{
    if (a.w.type == ST_TERNARY) {
        uint32_t word = code_word(a.w, row, col / 128, col % 32 / 16, col % 16 / 4);
        return dp4a_u8s8(word >> 2 * (col % 128 / 32) & CODE_PLANE, q, sum);
    }
    const unsigned char *data = (const unsigned char *)a.w.data + (int64_t)row * a.w.row_bytes;
    return dp4a_s8s8(*(const uint32_t *)(data + col), q, sum);
}

/* int8 input. One warp per output; its lanes share the columns of a segment. Grid: outputs / 8. */
extern "C" __global__ void __launch_bounds__(ST_CUDA_BLOCK)
    linear_codes(const __grid_constant__ st_cuda_linear a)
{
    int64_t index = (int64_t)blockIdx.x * WARPS + threadIdx.x / 32;
    int32_t lane = (int32_t)threadIdx.x % 32;
    int32_t row = (int32_t)(index % a.w.rows), token = (int32_t)(index / a.w.rows);
    if (token >= a.n_row)
        return;
    const int8_t *code = a.q.code + (int64_t)token * a.q.stride;
    segment_sum y = {0.0f, 0.0f};
    for (int32_t s = 0; s < a.n_segment; s++) {
        int32_t from = s * a.segment, end = min(from + a.segment, a.w.cols);
        int32_t sum = 0;
        for (int32_t base = from; base < end; base += 128) { /* as often in all lanes, some of them for 0 */
            const bool here = base + lane * 4 < end;
            const int32_t col = here ? base + lane * 4 : from;
            const uint32_t q = *(const uint32_t *)(code + col);
            sum = dot4(a, row, col, here ? q : 0u, sum);
        }
        sum = warp_sum(sum);
        if (a.w.type == ST_TERNARY)
            sum -= a.q.sum[(int64_t)token * a.q.n_sum + s];
        add_segment(a, y, segment_term(a, row, token, s, sum), s);
    }
    if (lane == 0)
        store(a, row, token, y.total);
}

enum { TOKENS = 4 }; /* of one warp at a time, so that a weight is decoded once for all */

/* f32 input. One warp per row of W: lane l of the warp holds lanes 8 l ... 8 l + 7 of the sums. */
extern "C" __global__ void __launch_bounds__(ST_CUDA_BLOCK)
    linear_floats(const __grid_constant__ st_cuda_linear a)
{
    int32_t row = (int32_t)(blockIdx.x * WARPS + threadIdx.x / 32), lane = (int32_t)threadIdx.x % 32;
    int32_t first = (int32_t)blockIdx.y * TOKENS;
    if (row >= a.w.rows)
        return;
    float acc[TOKENS][8] = {};
    for (int32_t base = 0; base < a.w.cols; base += 256) {
        const int32_t k = base + 8 * lane;
        float w[8];
        if (k >= a.w.cols)
            continue;
        int32_t n = min(8, a.w.cols - k);
        values_of(a.w, row, k, w);
#pragma unroll
        for (int t = 0; t < TOKENS; t++) {
            const float *x = a.src + (int64_t)min(first + t, a.n_row - 1) * a.w.cols + k;
#pragma unroll
            for (int i = 0; i < 8; i++)
                if (i < n)
                    acc[t][i] += w[i] * x[i];
        }
    }
#pragma unroll
    for (int t = 0; t < TOKENS; t++) {
        float y = fold_consecutive(acc[t]);
        if (lane == 0 && first + t < a.n_row)
            store(a, row, first + t, y);
    }
}
