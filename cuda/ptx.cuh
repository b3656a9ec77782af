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
