/* One inline function per PTX instruction that CUDA C++ has no name for. */
#ifndef ST_CUDA_PTX_CUH
#define ST_CUDA_PTX_CUH

#include <stdint.h>

/* c + sum of four products of unsigned bytes of a and signed bytes of b. */
static __device__ __forceinline__ int32_t dp4a_u8s8(uint32_t a, uint32_t b, int32_t c)
{
    int32_t d;
    asm("dp4a.u32.s32 %0, %1, %2, %3;" : "=r"(d) : "r"(a), "r"(b), "r"(c));
    return d;
}

static __device__ __forceinline__ int32_t dp4a_s8s8(uint32_t a, uint32_t b, int32_t c)
{
    int32_t d;
    asm("dp4a.s32.s32 %0, %1, %2, %3;" : "=r"(d) : "r"(a), "r"(b), "r"(c));
    return d;
}

/* 16 bytes that this block reads once, past L1, which is left to what is read again. */
static __device__ __forceinline__ uint4 load_once(const uint4 *from)
{
    uint4 v;
    asm("ld.global.nc.L1::no_allocate.v4.u32 {%0, %1, %2, %3}, [%4];"
        : "=r"(v.x), "=r"(v.y), "=r"(v.z), "=r"(v.w)
        : "l"(from));
    return v;
}

/* d = A * B + d for A of 16 rows x 32 unsigned bytes, B of 32 signed bytes x 8 columns. With g = lane / 4 and
 * t = lane % 4: a[0] and a[2] are row g, a[1] and a[3] row g + 8; a[0], a[1] and b[0] are columns of A from 4
 * t on, the others 16 more; b is column g; d[0] and d[1] are row g, d[2] and d[3] row g + 8, columns 2 t and
 * 2 t + 1. */
static __device__ __forceinline__ void mma_u8s8(int32_t d[4], const uint32_t a[4], const uint32_t b[2])
{
#if __CUDA_ARCH__ >= 800
    asm("mma.sync.aligned.m16n8k32.row.col.s32.u8.s8.s32 {%0, %1, %2, %3}, {%4, %5, %6, %7}, {%8, %9}, "
        "{%0, %1, %2, %3};"
        : "+r"(d[0]), "+r"(d[1]), "+r"(d[2]), "+r"(d[3])
        : "r"(a[0]), "r"(a[1]), "r"(a[2]), "r"(a[3]), "r"(b[0]), "r"(b[1]));
#else
#pragma unroll
    for (int i = 0; i < 4; i++)
        asm("mma.sync.aligned.m8n8k16.row.col.s32.u8.s8.s32 {%0, %1}, {%2}, {%3}, {%0, %1};"
            : "+r"(d[i % 2 * 2]), "+r"(d[i % 2 * 2 + 1])
            : "r"(a[i]), "r"(b[i / 2]));
#endif
}

/* Four matrices of 8 rows of 16 bytes in shared memory: lane 8 i + r names row r of matrix i, and gets in
 * v[i] of row lane / 4 the bytes from 4 (lane % 4) on. */
static __device__ __forceinline__ void load_matrices(uint32_t v[4], const void *row)
{
    asm volatile("ldmatrix.sync.aligned.m8n8.x4.shared.b16 {%0, %1, %2, %3}, [%4];"
                 : "=r"(v[0]), "=r"(v[1]), "=r"(v[2]), "=r"(v[3])
                 : "r"((uint32_t)__cvta_generic_to_shared(row))
                 : "memory");
}

/* Copies 16 bytes to shared memory: at once before sm_80, else when a group of copies is waited for. */
static __device__ __forceinline__ void copy_async(void *to, const void *from)
{
#if __CUDA_ARCH__ >= 800
    asm volatile("cp.async.cg.shared.global [%0], [%1], 16;" ::"r"((uint32_t)__cvta_generic_to_shared(to)),
                 "l"(from)
                 : "memory");
#else
    *(uint4 *)to = __ldg((const uint4 *)from);
#endif
}

/* The copies since the last commit are a group. */
static __device__ __forceinline__ void commit_copies(void)
{
#if __CUDA_ARCH__ >= 800
    asm volatile("cp.async.commit_group;" ::: "memory");
#endif
}

/* Until at most N of the thread's groups are under way. */
template <int N> static __device__ __forceinline__ void wait_copies(void)
{
#if __CUDA_ARCH__ >= 800
    asm volatile("cp.async.wait_group %0;" ::"n"(N) : "memory");
#endif
}

static __device__ __forceinline__ float f16_to_f32(uint16_t h)
{
    float x;
    asm("cvt.f32.f16 %0, %1;" : "=f"(x) : "h"(h));
    return x;
}

/* Nearest even; any NaN becomes the hardware's, see numerics.cuh. */
static __device__ __forceinline__ uint16_t f32_to_f16_bits(float x)
{
    uint16_t h;
    asm("cvt.rn.f16.f32 %0, %1;" : "=h"(h) : "f"(x));
    return h;
}

#endif
