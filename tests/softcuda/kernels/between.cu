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

// Block 0 writes a message with plain stores, block 1 counts its words that it does not find.
static __device__ void send(int *out)
{
    atomicExch(out, 1);
}
static __device__ void receive(int *out)
{
    if (threadIdx.x == 0) {
        while (atomicAdd(out, 0) == 0) {
        }
        __threadfence();
    }
    __syncthreads();
    if (out[2 + 63 - threadIdx.x] != 64 - (int)threadIdx.x)
        atomicAdd(out + 1, 1);
}
extern "C" __global__ void plain_message(int *out, int fault)
{
    if (blockIdx.x == 0) {
        out[2 + threadIdx.x] = (int)threadIdx.x + 1;
        __syncthreads();
        if (!fault)
            __threadfence();
        if (threadIdx.x == 0)
            send(out);
    } else if (blockIdx.x == 1) {
        receive(out);
    }
}
// Each thread of warp 0 writes a word, and hands over to one of warp 1 with a flag in the block; that one
// fences.
extern "C" __global__ void relayed_message(int *out, int fault)
{
    __shared__ volatile int flags[32];
    __shared__ int ready;
    if (threadIdx.x < 32)
        flags[threadIdx.x] = 0;
    if (threadIdx.x == 0)
        ready = 0;
    __syncthreads();
    if (blockIdx.x == 1)
        receive(out);
    if (blockIdx.x != 0)
        return;
    const int lane = (int)threadIdx.x % 32;
    if (threadIdx.x < 32) {
        out[2 + lane] = lane + 1;
        out[34 + lane] = lane + 33;
        if (!fault)
            __threadfence_block();
        flags[lane] = 1;
    } else {
        while (flags[lane] == 0) {
        }
        __threadfence();
        if (atomicAdd(&ready, 1) == 31) {
            __threadfence();
            send(out);
        }
    }
}
// Words of 64 bits become visible as a whole; two of 32 bits do not.
extern "C" __global__ void whole_words(int *out, int fault)
{
    volatile unsigned long long *word = (volatile unsigned long long *)out + 1;
    volatile int *halves = (volatile int *)word;
    if (threadIdx.x)
        return;
    if (blockIdx.x == 0) {
        for (unsigned long long i = 1; i <= 32; i++)
            if (fault)
                halves[0] = halves[1] = (int)i;
            else
                *word = i << 32 | i;
    } else if (blockIdx.x == 1) {
        for (unsigned long long seen = 0; seen != (32ull << 32 | 32);) {
            seen = *word;
            if ((unsigned)seen != seen >> 32)
                out[0] = 1;
        }
    }
}
// A block sees its own stores at once: of whatever size, through an asynchronous copy, and under an atomic.
extern "C" __global__ void own_stores(int *out, int fault)
{
    __shared__ int s[64];
    const int t = (int)threadIdx.x;
    int *mine = out + 64 * blockIdx.x, other;
    asm volatile("st.global.u32 [%0], %1;\nst.global.u8 [%0 + 1], %2;" ::"l"(mine + t), "r"(3 * t), "r"(0x55)
                 : "memory");
    if (!fault)
        __syncthreads();
    asm volatile("ld.global.u32 %0, [%1];" : "=r"(other) : "l"(mine + (t ^ 33)) : "memory");
    asm volatile("cp.async.ca.shared.global [%0], [%1], 4;\ncp.async.wait_all;" ::"r"(
                     (uint32_t)__cvta_generic_to_shared(s + t)),
                 "l"(mine + (t + 1) % 64)
                 : "memory");
    __syncthreads();
    int old = atomicAdd(mine + t, 1);
    mine[t] = other + s[t] + old + atomicAdd(mine + t, 0);
}
// A thread's fence is for its own word, whatever the neighbours do with theirs.
extern "C" __global__ void word_between_others(int *out, int fault)
{
    int *word = out + 2 + threadIdx.x, *flag = out + 66 + threadIdx.x;
    if (blockIdx.x == 0) {
        *word = 1;
        if (threadIdx.x % 2 == 0) {
            if (!fault)
                __threadfence();
            atomicExch(flag, 1);
        }
    } else if (blockIdx.x == 1 && threadIdx.x % 2 == 0) {
        while (atomicAdd(flag, 0) == 0) {
        }
        __threadfence();
        if (*word != 1)
            atomicAdd(out + 1, 1);
    }
}
// What a thread handed over stays seen, though it has stored again since.
extern "C" __global__ void stores_again(int *out, int fault)
{
    volatile int *count = out + 2;
    if (blockIdx.x == 0) {
        if (threadIdx.x == 0)
            *count = 1;
        __syncthreads();
        if (threadIdx.x == 0 && !fault) // which by itself may make the first one seen
            *count = 2;
        if (threadIdx.x == 32) {
            if (!fault)
                __threadfence();
            send(out);
        }
    } else if (blockIdx.x == 1 && threadIdx.x == 0) {
        while (atomicAdd(out, 0) == 0) {
        }
        __threadfence();
        if (*count == 0)
            out[1] = 1;
    }
}
