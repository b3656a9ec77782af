// Blocks that meet in global memory. A fault where fault is 1; the same kernel without it where fault is 0.
// out: 64 ints a block, zeroed before; out[0] counts arrivals, out[1] is a result.
#include <cstdint>

extern "C" __global__ void two_blocks_write(int *out, int fault)
{
    out[threadIdx.x + (fault ? 0 : 64 * blockIdx.x)] = (int)blockIdx.x;
}
extern "C" __global__ void reads_what_others_write(int *out, int fault)
{
    out[64 * blockIdx.x + threadIdx.x] = (int)blockIdx.x + 1;
    int other = fault ? (blockIdx.x + 1) % gridDim.x : blockIdx.x;
    __syncthreads();
    int seen = out[64 * other + 63 - threadIdx.x];
    __syncthreads();
    out[64 * blockIdx.x + threadIdx.x] = seen;
}
extern "C" __global__ void within_a_block(int *out, int fault)
{
    int *mine = out + 64 * blockIdx.x;
    mine[threadIdx.x] = 1;
    if (!fault)
        __syncthreads();
    int other = mine[(threadIdx.x + 32) % 64];
    __syncthreads();
    mine[threadIdx.x] = other;
}
extern "C" __global__ void neighbours_bytes(uint8_t *out, int fault)
{
    // bytes of one word by different blocks are no race
    if (threadIdx.x == 0)
        out[fault ? 0 : blockIdx.x] = 1;
}
extern "C" __global__ void plain_read_of_a_counter(int *out, int fault)
{
    atomicAdd(out, 1);
    out[64 * blockIdx.x + threadIdx.x + 1] = fault ? *out : atomicAdd(out, 0);
}

enum Missing { RELEASE = 1, ACQUIRE, BARRIER, SCOPE };
// The last block to arrive adds up what all blocks wrote: right only with every fence and barrier.
static __device__ void last_arriver(int *out, int missing)
{
    __shared__ int last;
    out[64 * blockIdx.x + threadIdx.x + 2] = (int)(blockIdx.x + threadIdx.x);
    if (missing != BARRIER)
        __syncthreads();
    if (threadIdx.x == 0) {
        if (missing == SCOPE)
            __threadfence_block();
        else if (missing != RELEASE)
            __threadfence();
        last = atomicAdd(out, 1) == (int)gridDim.x - 1;
        if (missing != ACQUIRE)
            __threadfence();
    }
    __syncthreads();
    if (last) {
        int sum = 0;
        for (unsigned i = threadIdx.x; i < 64 * gridDim.x; i += 64)
            sum += out[i + 2];
        atomicAdd(out + 1, sum);
    }
}
extern "C" __global__ void missing_release(int *out, int fault)
{
    last_arriver(out, fault ? RELEASE : 0);
}
extern "C" __global__ void missing_acquire(int *out, int fault)
{
    last_arriver(out, fault ? ACQUIRE : 0);
}
extern "C" __global__ void fence_of_one_thread(int *out, int fault)
{
    last_arriver(out, fault ? BARRIER : 0);
}
extern "C" __global__ void fence_of_the_block(int *out, int fault)
{
    last_arriver(out, fault ? SCOPE : 0);
}
// Block 0 sends numbers to block 1 through a volatile flag: the weak memory is in the values, not in a race.
extern "C" __global__ void volatile_message(volatile int *out, int fault)
{
    if (threadIdx.x)
        return;
    for (int round = 1; round <= 8; round++) {
        if (blockIdx.x == 0) {
            out[2] = round;
            if (!fault)
                __threadfence();
            out[0] = round;
            while (out[3] < round) {
            }
        } else if (blockIdx.x == 1) {
            while (out[0] < round) {
            }
            __threadfence();
            if (out[2] != round)
                out[1] = 1;
            __threadfence();
            out[3] = round;
        }
    }
}
