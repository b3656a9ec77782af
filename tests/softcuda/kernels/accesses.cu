// Accesses whose sectors and wavefronts can be counted by hand. One warp.
#include <cstdint>

// 32 words, stride words apart, read and written: 128 bytes in 4 sectors, or in one sector each
extern "C" __global__ void global_words(const int *in, int *out, int stride)
{
    out[threadIdx.x * stride] = in[threadIdx.x * stride];
}
// a store and a load of 32 words, stride words apart: one wavefront each, or stride of them
extern "C" __global__ void shared_words(int *out, int stride)
{
    extern __shared__ int s[];
    volatile int *p = s + threadIdx.x * stride;
    *p = 1;
    out[threadIdx.x] = *p;
}
static __device__ void load_rows(uint32_t *out, int offset)
{
    extern __shared__ uint4 rows[];
    uint32_t at = (uint32_t)__cvta_generic_to_shared(rows) + offset, r[4];
    asm volatile("st.shared.v4.u32 [%0], {%1,%1,%1,%1};" ::"r"(at), "r"(threadIdx.x));
    __syncwarp();
    asm volatile("ldmatrix.sync.aligned.m8n8.x4.shared.b16 {%0,%1,%2,%3}, [%4];"
                 : "=r"(r[0]), "=r"(r[1]), "=r"(r[2]), "=r"(r[3])
                 : "r"(at));
    out[threadIdx.x] = r[0] + r[1] + r[2] + r[3];
}
// 32 rows of 16 bytes, stride bytes apart, stored and loaded as four matrices
extern "C" __global__ void matrix_rows(uint32_t *out, int stride)
{
    load_rows(out, threadIdx.x * stride);
}
// the four matrices side by side: each in banks of its own
extern "C" __global__ void matrices_abreast(uint32_t *out, int stride)
{
    load_rows(out, threadIdx.x % 8 * stride + threadIdx.x / 8 * 16);
}
