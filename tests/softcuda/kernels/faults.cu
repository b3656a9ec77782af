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
    __syncthreads(); // the lanes that are named wait here, and have not exited
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
extern "C" __global__ void tail_one_too_long(int *out, int fault)
{
    const int n = 64 + (fault ? 1 : 0); // of an array of 64
    for (int i = (int)threadIdx.x; i < n; i += 48)
        if (threadIdx.x < 48)
            out[i] = i;
}
extern "C" __global__ void misaligned_load(int *out, int fault)
{
    if (threadIdx.x == 0) {
        int4 v;
        asm volatile("ld.global.v4.s32 {%0,%1,%2,%3}, [%4];"
                     : "=r"(v.x), "=r"(v.y), "=r"(v.z), "=r"(v.w)
                     : "l"(out + (fault ? 2 : 4)));
        out[0] = v.x + v.w;
    }
}
extern "C" __global__ void misaligned_copy(int *out, int fault)
{
    __shared__ int4 s[16];
    uint32_t to = (uint32_t)__cvta_generic_to_shared(s);
    if (threadIdx.x == 0)
        asm volatile("cp.async.cg.shared.global [%0], [%1], 16;\ncp.async.wait_all;" ::"r"(to),
                     "l"(out + (fault ? 1 : 4)));
}
extern "C" __global__ void shuffle_from_an_absent_lane(int *out, int fault)
{
    int v = (int)threadIdx.x;
    if (threadIdx.x < 16)
        v = __shfl_sync(0xffffu, v, fault ? 20 : 3);
    out[threadIdx.x] = v;
}
extern "C" __global__ void group_waited_for_too_early(int *out, int fault)
{
    __shared__ int s[2][64];
    for (int i = 0; i < 2; i++)
        asm volatile("cp.async.ca.shared.global [%0], [%1], 4;\ncp.async.commit_group;" ::"r"(
                         (uint32_t)__cvta_generic_to_shared(&s[i][threadIdx.x])),
                     "l"(out + threadIdx.x));
    if (fault)
        asm volatile("cp.async.wait_group 1;" ::: "memory");
    else
        asm volatile("cp.async.wait_group 0;" ::: "memory");
    out[threadIdx.x] = ((volatile int *)s[1])[threadIdx.x];
}
// warp 1 fills what warp 0 reads; barrier 1 is theirs alone
extern "C" __global__ void producer_forgets_to_arrive(int *out, int fault)
{
    __shared__ volatile int s[32];
    if (threadIdx.x < 32) {
        asm volatile("bar.sync 1, 64;" ::: "memory");
        out[threadIdx.x] = s[threadIdx.x];
    } else {
        s[threadIdx.x - 32] = 7;
        if (!fault)
            asm volatile("bar.arrive 1, 64;" ::: "memory");
    }
}
extern "C" __global__ void producer_arrives_too_early(int *out, int fault)
{
    __shared__ int s[32];
    if (threadIdx.x < 32) {
        asm volatile("bar.sync 1, 64;" ::: "memory");
        out[threadIdx.x] = s[threadIdx.x];
    } else {
        if (fault)
            asm volatile("bar.arrive 1, 64;" ::: "memory");
        s[threadIdx.x - 32] = 7;
        if (!fault)
            asm volatile("bar.arrive 1, 64;" ::: "memory");
    }
}
extern "C" __global__ void barrier_of_two_counts(int *out, int fault)
{
    if (threadIdx.x < 32 && fault)
        asm volatile("bar.sync 2, 32;" ::: "memory");
    else
        asm volatile("bar.sync 2, 64;" ::: "memory");
    out[threadIdx.x] = 1;
}
extern "C" __global__ void counts_at_a_barrier(int *out, int fault)
{
    // no fault of memory: the result shows which threads came with a true predicate
    out[threadIdx.x] = __syncthreads_count(threadIdx.x % 3 == 0) + 100 * __syncthreads_and(threadIdx.x < 64) +
                       1000 * __syncthreads_or(threadIdx.x == 77);
    if (fault)
        asm("trap;");
}
extern "C" __global__ void counter_read_too_early(int *out, int fault)
{
    __shared__ int count;
    if (threadIdx.x == 0)
        count = 0;
    __syncthreads();
    atomicAdd(&count, 1);
    if (!fault)
        __syncthreads();
    out[threadIdx.x] = count;
}
extern "C" __global__ void slow_fill(volatile int *out, int n, int value)
{
    for (int i = threadIdx.x; i < n; i += blockDim.x)
        out[i] = value;
}
