/* Mirror of host/base/numerics.h, bit for bit. nvcc compiles with -fmad=false and by default with IEEE
 * division and square root and with subnormals, so that + - * / stand for the single-rounded operations; what
 * the generated PTX says is checked by scripts/cuda_ptx. */
#ifndef ST_CUDA_NUMERICS_CUH
#define ST_CUDA_NUMERICS_CUH

#include "cuda/kernels.h"
#include "cuda/ptx.cuh"

#define ALL_LANES 0xffffffffu

/* NaN results are one quiet NaN on all devices. */
static __device__ __forceinline__ float canonical(float x)
{
    return x != x ? __uint_as_float(0x7fc00000u) : x;
}

static __device__ __forceinline__ uint16_t f32_to_f16(float x)
{
    return x != x ? (uint16_t)0x7e00 : f32_to_f16_bits(x);
}

static __device__ __forceinline__ float bf16_to_f32(uint16_t h)
{
    return __uint_as_float((uint32_t)h << 16);
}

static __device__ __forceinline__ float exp_f32(float x)
{
    if (x != x)
        return canonical(x);
    if (x < ST_EXP_LOW)
        return 0.0f;
    x = x > ST_EXP_HIGH ? ST_EXP_HIGH : x;
    float shifted = x * ST_EXP_LOG2E + ST_ROUND_MAGIC;
    float n = shifted - ST_ROUND_MAGIC;
    float r = x - n * ST_EXP_LN2_HIGH;
    r = r - n * ST_EXP_LN2_LOW;
    float p = ST_EXP_C6;
    p = p * r + ST_EXP_C5;
    p = p * r + ST_EXP_C4;
    p = p * r + ST_EXP_C3;
    p = p * r + ST_EXP_C2;
    p = p * r;
    p = p * r + r;
    p = p + 1.0f;
    int32_t exponent = (int32_t)(__float_as_uint(shifted) - __float_as_uint(ST_ROUND_MAGIC));
    return p * __uint_as_float((uint32_t)(exponent + 127) << 23);
}

static __device__ __forceinline__ float recip_f32(float x)
{
    float y = __uint_as_float(ST_RECIP_START - __float_as_uint(x));
    y = y * (2.0f - x * y);
    y = y * (ST_RECIP_TWO - x * y);
    return y + y * (1.0f - x * y);
}

static __device__ __forceinline__ float tanh_f32(float x)
{
    float e = exp_f32(-2.0f * fabsf(x));
    float t = (1.0f - e) * recip_f32(1.0f + e);
    return x >= 0.0f ? t : -t;
}

static __device__ __forceinline__ float activate(int32_t act, float x)
{
    if (act == ST_ACT_SILU) {
        float e = exp_f32(-fabsf(x)), r = recip_f32(1.0f + e);
        return x * (x >= 0.0f ? r : e * r);
    }
    if (act == ST_ACT_RELU2) {
        float m = x <= 0.0f ? 0.0f : x;
        return m * m;
    }
    float cube = x * x * x;
    float inner = 0.797884561f * (x + 0.044715f * cube);
    return 0.5f * x * (1.0f + tanh_f32(inner));
}

/* Ends a 256-lane sum of a warp. Strided: thread l holds in v[i] lane l + 32 i; else lane 8 l + i. The sum is
 * thread 0's result. */
static __device__ __forceinline__ float fold_strided(const float v[8])
{
    float sum = ((v[0] + v[4]) + (v[2] + v[6])) + ((v[1] + v[5]) + (v[3] + v[7]));
#pragma unroll
    for (int s = 16; s > 0; s /= 2)
        sum += __shfl_down_sync(ALL_LANES, sum, s);
    return sum;
}

static __device__ __forceinline__ float fold_consecutive(float v[8])
{
#pragma unroll
    for (int s = 16; s > 0; s /= 2)
#pragma unroll
        for (int i = 0; i < 8; i++)
            v[i] += __shfl_down_sync(ALL_LANES, v[i], s);
    return ((v[0] + v[4]) + (v[2] + v[6])) + ((v[1] + v[5]) + (v[3] + v[7]));
}

/* Ends a 256-lane sum of a block of 256 threads, thread j's being lane j; every thread gets it. shared: f32
 * [256], free again afterwards. */
static __device__ __forceinline__ float fold_block(float lane, float *shared)
{
    int tid = (int)threadIdx.x;
    shared[tid] = lane;
    __syncthreads();
    if (tid < 32) {
        float v[8];
#pragma unroll
        for (int i = 0; i < 8; i++)
            v[i] = shared[tid + 32 * i];
        float sum = fold_strided(v);
        __syncwarp();
        if (tid == 0)
            shared[0] = sum;
    }
    __syncthreads();
    float sum = shared[0];
    __syncthreads();
    return sum;
}

/* Greatest of a block's values; every thread gets it. shared: u32 [8], free again afterwards. */
static __device__ __forceinline__ uint32_t max_block(uint32_t x, uint32_t *shared)
{
#pragma unroll
    for (int s = 16; s > 0; s /= 2)
        x = max(x, __shfl_xor_sync(ALL_LANES, x, s));
    if (threadIdx.x % 32 == 0)
        shared[threadIdx.x / 32] = x;
    __syncthreads();
    x = shared[0];
#pragma unroll
    for (int i = 1; i < ST_CUDA_BLOCK / 32; i++)
        x = max(x, shared[i]);
    __syncthreads();
    return x;
}

/* The order of floats as that of unsigned integers, -0 below +0. Not for NaN. */
static __device__ __forceinline__ uint32_t ordered(float x)
{
    uint32_t u = __float_as_uint(x);
    return u & 0x80000000u ? ~u : u | 0x80000000u;
}

static __device__ __forceinline__ float unordered(uint32_t u)
{
    return __uint_as_float(u & 0x80000000u ? u & 0x7fffffffu : ~u);
}

/* 1 / sqrt(mean of squares + eps). */
static __device__ __forceinline__ float rms_factor(float sum, int32_t n, float eps)
{
    return 1.0f / sqrtf(sum / (float)n + eps);
}

/* The row an op reads for its row r, or -1: padding. */
static __device__ __forceinline__ int32_t source_row(const st_cuda_rows &rows, int32_t r)
{
    if (!rows.pos)
        return rows.out[r];
    return rows.pos[r] < 0 ? -1 : r;
}

/* Hadamard transform of each block of `block` of the n values in shared memory by all threads: butterflies of
 * growing stride, then the multiplication by norm. Ends with a barrier; begins after one. */
static __device__ __forceinline__ void hadamard(float *v, int32_t n, int32_t block, float norm)
{
    for (int32_t stride = 1; stride < block; stride *= 2) {
        for (int32_t i = (int32_t)threadIdx.x; i < n / 2; i += ST_CUDA_BLOCK) {
            int32_t at = (i & ~(stride - 1)) * 2 + (i & (stride - 1));
            float a = v[at], b = v[at + stride];
            v[at] = a + b;
            v[at + stride] = a - b;
        }
        __syncthreads();
    }
    for (int32_t i = (int32_t)threadIdx.x; i < n; i += ST_CUDA_BLOCK)
        v[i] *= norm;
    __syncthreads();
}

#endif
