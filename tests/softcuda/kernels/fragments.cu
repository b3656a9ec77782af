// Matrix instructions on registers as they come: register r of a lane is word 32 r + lane of its array.
#include <cstdint>

#define WORD(array, r) (array)[32 * (r) + threadIdx.x]
#define MMA_8_8_16(name, types)                                                                              \
    extern "C" __global__ void name(const uint32_t *a, const uint32_t *b, const int *c, int *d)              \
    {                                                                                                        \
        asm volatile("mma.sync.aligned.m8n8k16.row.col." types " {%0,%1},{%2},{%3},{%4,%5};"                 \
                     : "=r"(WORD(d, 0)), "=r"(WORD(d, 1))                                                    \
                     : "r"(WORD(a, 0)), "r"(WORD(b, 0)), "r"(WORD(c, 0)), "r"(WORD(c, 1)));                  \
    }
#define MMA_16_8_16(name, types)                                                                             \
    extern "C" __global__ void name(const uint32_t *a, const uint32_t *b, const int *c, int *d)              \
    {                                                                                                        \
        asm volatile("mma.sync.aligned.m16n8k16.row.col." types                                              \
                     " {%0,%1,%2,%3},{%4,%5},{%6},{%7,%8,%9,%10};"                                           \
                     : "=r"(WORD(d, 0)), "=r"(WORD(d, 1)), "=r"(WORD(d, 2)), "=r"(WORD(d, 3))                \
                     : "r"(WORD(a, 0)), "r"(WORD(a, 1)), "r"(WORD(b, 0)), "r"(WORD(c, 0)), "r"(WORD(c, 1)),  \
                       "r"(WORD(c, 2)), "r"(WORD(c, 3)));                                                    \
    }
#define MMA_16_8_32(name, types)                                                                             \
    extern "C" __global__ void name(const uint32_t *a, const uint32_t *b, const int *c, int *d)              \
    {                                                                                                        \
        asm volatile("mma.sync.aligned.m16n8k32.row.col." types                                              \
                     " {%0,%1,%2,%3},{%4,%5,%6,%7},{%8,%9},{%10,%11,%12,%13};"                               \
                     : "=r"(WORD(d, 0)), "=r"(WORD(d, 1)), "=r"(WORD(d, 2)), "=r"(WORD(d, 3))                \
                     : "r"(WORD(a, 0)), "r"(WORD(a, 1)), "r"(WORD(a, 2)), "r"(WORD(a, 3)), "r"(WORD(b, 0)),  \
                       "r"(WORD(b, 1)), "r"(WORD(c, 0)), "r"(WORD(c, 1)), "r"(WORD(c, 2)), "r"(WORD(c, 3))); \
    }
#define ALL_TYPES(shape, instance)                                                                           \
    instance(shape##_s8_s8, "s32.s8.s8.s32") instance(shape##_s8_u8, "s32.s8.u8.s32")                        \
        instance(shape##_u8_s8, "s32.u8.s8.s32") instance(shape##_u8_u8, "s32.u8.u8.s32")
ALL_TYPES(m8n8k16, MMA_8_8_16)
ALL_TYPES(m16n8k16, MMA_16_8_16)
ALL_TYPES(m16n8k32, MMA_16_8_32)

// A's second and third register changed: the order in which ldmatrix.x4 of a row-major tile would have them
extern "C" __global__ void m16n8k32_wrong_order(const uint32_t *a, const uint32_t *b, const int *c, int *d)
{
    asm volatile("mma.sync.aligned.m16n8k32.row.col.s32.s8.s8.s32 "
                 "{%0,%1,%2,%3},{%4,%5,%6,%7},{%8,%9},{%10,%11,%12,%13};"
                 : "=r"(WORD(d, 0)), "=r"(WORD(d, 1)), "=r"(WORD(d, 2)), "=r"(WORD(d, 3))
                 : "r"(WORD(a, 0)), "r"(WORD(a, 2)), "r"(WORD(a, 1)), "r"(WORD(a, 3)), "r"(WORD(b, 0)),
                   "r"(WORD(b, 1)), "r"(WORD(c, 0)), "r"(WORD(c, 1)), "r"(WORD(c, 2)), "r"(WORD(c, 3)));
}

// Four 8x8 matrices of halfwords, rows of 16 bytes one after another; lane i gives the address of row i.
#define LDMATRIX(name, modifiers, registers, outputs)                                                        \
    extern "C" __global__ void name(const uint4 *rows, uint32_t *out)                                        \
    {                                                                                                        \
        __shared__ uint4 s[32];                                                                              \
        s[threadIdx.x] = rows[threadIdx.x];                                                                  \
        __syncwarp();                                                                                        \
        uint32_t r[4] = {0, 0, 0, 0}, at = (uint32_t)__cvta_generic_to_shared(s + threadIdx.x);              \
        asm volatile("ldmatrix.sync.aligned.m8n8." modifiers ".shared.b16 " registers ", [%4];"              \
                     : "+r"(r[0]), "+r"(r[1]), "+r"(r[2]), "+r"(r[3])                                        \
                     : "r"(at));                                                                             \
        for (int i = 0; i < outputs; i++)                                                                    \
            WORD(out, i) = r[i];                                                                             \
    }
LDMATRIX(ldmatrix_x1, "x1", "{%0}", 1)
LDMATRIX(ldmatrix_x2, "x2", "{%0,%1}", 2)
LDMATRIX(ldmatrix_x4, "x4", "{%0,%1,%2,%3}", 4)
LDMATRIX(ldmatrix_x1_trans, "x1.trans", "{%0}", 1)
LDMATRIX(ldmatrix_x2_trans, "x2.trans", "{%0,%1}", 2)
LDMATRIX(ldmatrix_x4_trans, "x4.trans", "{%0,%1,%2,%3}", 4)
