// Kernels that are right: their results are compared with the processor's.
#include <cstdint>

extern "C" __global__ void integers(const int *a, const int *b, int *out, int n)
{
    int i = blockIdx.x * blockDim.x + threadIdx.x;
    if (i >= n)
        return;
    int x = a[i], y = b[i];
    unsigned ux = (unsigned)x, uy = (unsigned)y;
    int *o = out + 16 * i;
    o[0] = x + y;
    o[1] = x * y;
    o[2] = __mulhi(x, y);
    o[3] = y ? x / (y | 1) : 7;
    o[4] = x % (y | 1);
    o[5] = (int)(ux >> (y & 31));
    o[6] = x >> (y & 31);
    o[7] = min(x, y);
    o[8] = (int)max(ux, uy);
    o[9] = __popc(ux);
    o[10] = __clz(x);
    o[11] = (int)__brev(ux);
    // __byte_perm would mask the bits that spread signs
    asm("prmt.b32 %0, %1, %2, 0x4b1e;" : "=r"(o[12]) : "r"(ux), "r"(uy));
    o[13] = (int)__funnelshift_l(ux, uy, x & 31);
    o[14] = __dp4a(x, y, 5);
    o[15] = (int)(((long long)x * y) >> 13);
}

extern "C" __global__ void floats(const float *a, const float *b, float *out, int n)
{
    int i = blockIdx.x * blockDim.x + threadIdx.x;
    if (i >= n)
        return;
    float x = a[i], y = b[i], *o = out + 8 * i;
    o[0] = x + y;
    o[1] = x * y;
    o[2] = x / y;
    o[3] = sqrtf(fabsf(x));
    o[4] = rintf(x);
    o[5] = (float)(int)x;
    o[6] = fmaf(x, y, 1.5f);
    o[7] = x < y ? x - y : -x;
}

// block sums: shared memory, barriers, shuffles, one atomic a block
extern "C" __global__ void reduce(const int *a, int *sum, int n)
{
    __shared__ int partial[32];
    int v = 0;
    for (int i = blockIdx.x * blockDim.x + threadIdx.x; i < n; i += gridDim.x * blockDim.x)
        v += a[i];
    for (int s = 16; s; s >>= 1)
        v += __shfl_xor_sync(~0u, v, s);
    if (threadIdx.x % 32 == 0)
        partial[threadIdx.x / 32] = v;
    __syncthreads();
    if (threadIdx.x == 0) {
        for (unsigned w = 1; w < blockDim.x / 32; w++)
            v += partial[w];
        atomicAdd(sum, v);
    }
}

// one warp: D[16][8] = A[16][32] * B[8][32] transposed, rounds times; fragments are loaded by the manual's
// map
extern "C" __global__ void matrices(const signed char *a, const signed char *b, int *d, int rounds)
{
    int lane = threadIdx.x, group = lane / 4, member = lane % 4, c[4] = {0, 0, 0, 0};
    uint32_t fa[4], fb[2];
    for (int r = 0; r < 4; r++)
        fa[r] = *(const uint32_t *)(a + (group + 8 * (r & 1)) * 32 + 4 * member + 16 * (r >> 1));
    for (int r = 0; r < 2; r++)
        fb[r] = *(const uint32_t *)(b + group * 32 + 4 * member + 16 * r);
    for (int i = 0; i < rounds; i++)
        asm volatile("mma.sync.aligned.m16n8k32.row.col.s32.s8.s8.s32 "
                     "{%0,%1,%2,%3},{%4,%5,%6,%7},{%8,%9},{%0,%1,%2,%3};"
                     : "+r"(c[0]), "+r"(c[1]), "+r"(c[2]), "+r"(c[3])
                     : "r"(fa[0]), "r"(fa[1]), "r"(fa[2]), "r"(fa[3]), "r"(fb[0]), "r"(fb[1]));
    for (int r = 0; r < 4; r++)
        d[blockIdx.x * 128 + (group + 8 * (r >> 1)) * 8 + 2 * member + (r & 1)] = c[r];
}

extern "C" __global__ void dots(const int *a, int *out, int rounds)
{
    int i = blockIdx.x * blockDim.x + threadIdx.x, x = a[i], s = 0;
    for (int r = 0; r < rounds; r++)
        asm volatile("dp4a.s32.s32 %0, %1, %2, %0;" : "+r"(s) : "r"(x), "r"(r));
    out[i] = s;
}

// Functions that stay functions: arguments by value, by reference and as structs, in divergent code, nested.
struct numbers {
    int first, rest[3];
};
static __device__ __noinline__ int twice(int a, float *p)
{
    *p += 1;
    return a * 2;
}
static __device__ __noinline__ numbers multiples(int a)
{
    numbers n = {a, {0, a, 2 * a}};
    return n;
}
static __device__ __noinline__ int weighted(numbers n, float *p)
{
    int sum = n.first;
    for (int i = 0; i < 3; i++)
        sum += i * (n.rest[i] & 1 ? twice(n.rest[i], p) : n.rest[i]);
    return sum;
}
extern "C" __global__ void functions(const int *a, int *out, int index)
{
    float counts[4] = {0, 0, 0, 0};
    int v = a[threadIdx.x];
    if (threadIdx.x % 3)
        v = twice(v, counts + (index & 3)) + 1;
    out[2 * threadIdx.x] = weighted(multiples(v), counts + (index & 3));
    out[2 * threadIdx.x + 1] = (int)counts[index & 3];
}

// out[k][i]: the approximation k of a[i]
extern "C" __global__ void approximations(const float *a, float *out, int n)
{
    int i = blockIdx.x * blockDim.x + threadIdx.x;
    if (i >= n)
        return;
    asm("rcp.approx.f32 %0, %1;" : "=f"(out[i]) : "f"(a[i]));
    asm("sqrt.approx.f32 %0, %1;" : "=f"(out[n + i]) : "f"(a[i]));
    asm("rsqrt.approx.f32 %0, %1;" : "=f"(out[2 * n + i]) : "f"(a[i]));
    asm("ex2.approx.f32 %0, %1;" : "=f"(out[3 * n + i]) : "f"(a[i]));
    asm("lg2.approx.f32 %0, %1;" : "=f"(out[4 * n + i]) : "f"(a[i]));
    asm("sin.approx.f32 %0, %1;" : "=f"(out[5 * n + i]) : "f"(a[i]));
    asm("cos.approx.f32 %0, %1;" : "=f"(out[6 * n + i]) : "f"(a[i]));
    asm("div.full.f32 %0, %1, %2;" : "=f"(out[7 * n + i]) : "f"(a[i]), "f"(3.0f));
    asm("div.approx.f32 %0, %1, %2;" : "=f"(out[8 * n + i]) : "f"(a[i]), "f"(3.0f));
    asm("div.approx.f32 %0, %1, %2;" : "=f"(out[9 * n + i]) : "f"(a[i]), "f"(-0x1.8p126f));
}
