// One planted fault a kernel where fault is 1; the same kernel without it where fault is 0.
#include <cstdint>

extern "C" __global__ void missing_barrier(int *out, int fault)
{
    __shared__ int s[64];
    s[threadIdx.x] = (int)threadIdx.x;
    if (!fault)
        __syncthreads();
    out[threadIdx.x] = s[63 - threadIdx.x];
}
extern "C" __global__ void overwrites_too_early(int *out, int fault)
{
    __shared__ int s[64];
    s[threadIdx.x] = (int)threadIdx.x;
    __syncthreads();
    int v = s[63 - threadIdx.x];
    if (!fault)
        __syncthreads();
    s[threadIdx.x] = v;
    __syncthreads();
    out[threadIdx.x] = s[threadIdx.x];
}
extern "C" __global__ void beyond_the_end(int *out, int fault)
{
    out[threadIdx.x + (fault ? 1 : 0)] = 1;
}
extern "C" __global__ void beyond_shared(int *out, int fault)
{
    __shared__ int s[64];
    s[threadIdx.x] = 1;
    out[threadIdx.x] = ((volatile int *)s)[threadIdx.x + (fault ? 64 : 0)];
}
extern "C" __global__ void misaligned(int *out, int fault)
{
    int4 *p = (int4 *)(out + (fault ? 1 : 0));
    if (threadIdx.x == 0)
        *p = make_int4(1, 2, 3, 4);
}
extern "C" __global__ void uninitialised(int *out, int fault)
{
    __shared__ int s[64];
    if (threadIdx.x != 5 || !fault)
        s[threadIdx.x] = 1;
    __syncthreads();
    out[threadIdx.x] = ((volatile int *)s)[threadIdx.x];
}
extern "C" __global__ void unwaited_copy(int *out, int fault)
{
    __shared__ int s[64];
    uint32_t to = (uint32_t)__cvta_generic_to_shared(&s[threadIdx.x]);
    asm volatile("cp.async.ca.shared.global [%0], [%1], 4;\ncp.async.commit_group;" ::"r"(to),
                 "l"(out + threadIdx.x));
    if (!fault)
        asm volatile("cp.async.wait_group 0;" ::: "memory");
    out[threadIdx.x] = ((volatile int *)s)[threadIdx.x] + 1;
}
extern "C" __global__ void divergent_barrier(int *out, int fault)
{
    if (threadIdx.x < 32 || !fault)
        __syncthreads();
    out[threadIdx.x] = 1;
}
extern "C" __global__ void wrong_mask(int *out, int fault)
{
    int v = (int)threadIdx.x;
    if (threadIdx.x < 16)
        v = __shfl_sync(fault ? ~0u : 0xffffu, v, 3);
    out[threadIdx.x] = v;
}
extern "C" __global__ void missing_warp_barrier(int *out, int fault)
{
    __shared__ volatile int s[64];
    s[threadIdx.x] = 1;
    if (!fault)
        __syncwarp();
    out[threadIdx.x] = s[threadIdx.x ^ 1];
}
