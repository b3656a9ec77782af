/* What the linear kernels share: terms of segments and their sums, and the end of an output. */
#ifndef ST_CUDA_LINEAR_CUH
#define ST_CUDA_LINEAR_CUH

#include "cuda/ternary.cuh"

static __device__ __forceinline__ int32_t warp_sum(int32_t x)
{
#pragma unroll
    for (int s = 16; s > 0; s /= 2)
        x += __shfl_xor_sync(ALL_LANES, x, s);
    return x;
}

/* The sum over segments: those of a block of 1024 columns, then the blocks. */
struct segment_sum {
    float total, block;
};

static __device__ __forceinline__ float act_scale(const st_cuda_linear &a, int32_t token, int32_t segment)
{
    return a.q.scale[(int64_t)token * a.q.n_scale + (segment >> a.act_shift)];
}

static __device__ __forceinline__ float segment_term(const st_cuda_linear &a, int32_t row, int32_t token,
                                                     int32_t segment, int32_t sum)
{
    return (float)sum * (scale_of(a.w, row, segment >> a.weight_shift) * act_scale(a, token, segment));
}

/* True if `plane`, 32 columns, is the last of a segment. Planes beyond the last segment end none. */
static __device__ __forceinline__ bool ends_segment(const st_cuda_linear &a, int32_t plane)
{
    return (((plane + 1) & ((1 << a.plane_shift) - 1)) == 0 || plane + 1 == 4 * k_tiles(a.w)) &&
           plane >> a.plane_shift < a.n_segment;
}

/* True for the last segment of a block of 1024 columns. */
static __device__ __forceinline__ bool ends_block(const st_cuda_linear &a, int32_t segment)
{
    return (segment + 1) * a.segment % ST_K_BLOCK == 0 || segment + 1 == a.n_segment;
}

static __device__ __forceinline__ void add_segment(const st_cuda_linear &a, segment_sum &y, float term,
                                                   int32_t segment)
{
    if (a.n_segment == 1) {
        y.total = term; /* not +0 + term, which would turn -0 to +0 */
        return;
    }
    y.block += term;
    if (ends_block(a, segment)) {
        y.total += y.block;
        y.block = 0.0f;
    }
}

/* Eight elements from column k, a multiple of 8, on; rows are padded so that they may be read. */
static __device__ __forceinline__ void values_of(const st_cuda_matrix &w, int32_t row, int32_t k, float v[8])
{
    const unsigned char *data = (const unsigned char *)w.data + (int64_t)row * w.row_bytes;
    if (w.type == ST_F16 || w.type == ST_BF16) {
        uint4 raw = *(const uint4 *)(data + 2 * (int64_t)k);
        uint32_t words[4] = {raw.x, raw.y, raw.z, raw.w};
#pragma unroll
        for (int i = 0; i < 8; i++) {
            uint16_t h = (uint16_t)(words[i / 2] >> 16 * (i % 2));
            v[i] = w.type == ST_F16 ? f16_to_f32(h) : bf16_to_f32(h);
        }
    } else if (w.type == ST_F32) {
        float4 low = *(const float4 *)(data + 4 * (int64_t)k),
               high = *(const float4 *)(data + 4 * (int64_t)k + 16);
        v[0] = low.x, v[1] = low.y, v[2] = low.z, v[3] = low.w;
        v[4] = high.x, v[5] = high.y, v[6] = high.z, v[7] = high.w;
    } else {
        float scale = scale_of(w, row, k / w.group);
#pragma unroll
        for (int i = 0; i < 8; i++)
            v[i] = (w.type == ST_TERNARY ? (float)(code_of(w, row, k + i) - 1)
                                         : (float)((const int8_t *)data)[k + i]) *
                   scale;
    }
}

/* The sum y of an output -> its value in dst. */
static __device__ __forceinline__ void store(const st_cuda_linear &a, int32_t row, int32_t token, float y)
{
    float *dst = a.dst + (int64_t)token * a.stride + row;
    if (a.w.out_scale != 1.0f)
        y = y * a.w.out_scale;
    if (a.w.bias)
        y = y + a.w.bias[row];
    if (a.accumulate)
        y = y + *dst;
    if (a.w.outlier_start) {
        for (int32_t i = a.w.outlier_start[row]; i < a.w.outlier_start[row + 1]; i++) {
            int32_t k = a.w.outlier_col[i];
            float o = f16_to_f32(a.w.outlier[i]);
            if (a.src)
                y = y + o * a.src[(int64_t)token * a.w.cols + k];
            else
                y = y + (o * (float)a.q.code[(int64_t)token * a.q.stride + k]) *
                            a.q.scale[(int64_t)token * a.q.n_scale + (a.q.act_group ? k / a.q.act_group : 0)];
        }
    }
    *dst = y;
}

#endif
