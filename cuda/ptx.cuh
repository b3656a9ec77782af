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

/* 16 bytes that are read once: past L1, and the first to leave L2. */
static __device__ __forceinline__ uint4 load_once(const uint4 *from)
{
    uint4 v;
    asm("ld.global.nc.L1::no_allocate.v4.u32 {%0, %1, %2, %3}, [%4];"
        : "=r"(v.x), "=r"(v.y), "=r"(v.z), "=r"(v.w)
        : "l"(from));
    return v;
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

/* Four 8 x 16-byte matrices from shared memory; lanes 8 i ... 8 i + 7 give the rows' addresses of matrix i,
 * and lane l gets bytes 4 (l % 4) ... of row l / 4 of each. */
static __device__ __forceinline__ void ldmatrix_x4(uint32_t r[4], const void *row)
{
    uint32_t at = (uint32_t)__cvta_generic_to_shared(row);
    asm volatile("ldmatrix.sync.aligned.m8n8.x4.shared.b16 {%0, %1, %2, %3}, [%4];"
                 : "=r"(r[0]), "=r"(r[1]), "=r"(r[2]), "=r"(r[3])
                 : "r"(at)
                 : "memory");
}

#if __CUDA_ARCH__ >= 800
/* c[16 x 8] += a[16 x 32, unsigned bytes] b[32 x 8, signed bytes]. Lane 4 g + t holds of a: rows g (a0, a2)
 * and g + 8 (a1, a3), columns 4 t ... (a0, a1) and 16 + 4 t ... (a2, a3); of b: the same columns (b0, b1) of
 * token g; of c: row g (c0, c1) and g + 8 (c2, c3), tokens 2 t and 2 t + 1. */
static __device__ __forceinline__ void mma_u8s8(int32_t c[4], const uint32_t a[4], uint32_t b0, uint32_t b1)
{
    asm volatile(
        "mma.sync.aligned.m16n8k32.row.col.s32.u8.s8.s32 {%0, %1, %2, %3}, {%4, %5, %6, %7}, {%8, %9}, "
        "{%0, %1, %2, %3};"
        : "+r"(c[0]), "+r"(c[1]), "+r"(c[2]), "+r"(c[3])
        : "r"(a[0]), "r"(a[1]), "r"(a[2]), "r"(a[3]), "r"(b0), "r"(b1));
}
#else
static __device__ __forceinline__ void mma_u8s8_8x8x16(int32_t &c0, int32_t &c1, uint32_t a, uint32_t b)
{
    asm volatile("mma.sync.aligned.m8n8k16.row.col.s32.u8.s8.s32 {%0, %1}, {%2}, {%3}, {%0, %1};"
                 : "+r"(c0), "+r"(c1)
                 : "r"(a), "r"(b));
}

/* The same product of the same fragments by four of the only int8 shape that sm_75 has. */
static __device__ __forceinline__ void mma_u8s8(int32_t c[4], const uint32_t a[4], uint32_t b0, uint32_t b1)
{
    mma_u8s8_8x8x16(c[0], c[1], a[0], b0);
    mma_u8s8_8x8x16(c[2], c[3], a[1], b0);
    mma_u8s8_8x8x16(c[0], c[1], a[2], b1);
    mma_u8s8_8x8x16(c[2], c[3], a[3], b1);
}
#endif

#endif
