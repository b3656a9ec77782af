// A message from one warp of a block to another, with a flag instead of a barrier.
#include <cstdint>

enum How { NO_RELEASE = 1, NO_ACQUIRE = 2, GLOBAL_FLAG = 4, GLOBAL_DATA = 8, OPERATIONS = 16 };

static __device__ void raise(int *flag, int how)
{
    if (how & OPERATIONS) {
        if (how & NO_RELEASE)
            asm volatile("st.relaxed.cta.u32 [%0], 1;" ::"l"(flag) : "memory");
        else
            asm volatile("st.release.cta.u32 [%0], 1;" ::"l"(flag) : "memory");
        return;
    }
    if (!(how & NO_RELEASE))
        __threadfence_block();
    *(volatile int *)flag = 1;
}
static __device__ void await(int *flag, int how)
{
    int seen = 0;
    while (!seen)
        if (!(how & OPERATIONS))
            seen = *(volatile int *)flag;
        else if (how & NO_ACQUIRE)
            asm volatile("ld.relaxed.cta.u32 %0, [%1];" : "=r"(seen) : "l"(flag) : "memory");
        else
            asm volatile("ld.acquire.cta.u32 %0, [%1];" : "=r"(seen) : "l"(flag) : "memory");
    if (!(how & OPERATIONS) && !(how & NO_ACQUIRE))
        asm volatile("fence.acq_rel.cta;" ::: "memory");
}

// out[0]: a flag; out[1]: the message as it came; out[2]: the message. 64 threads.
extern "C" __global__ void message_in_a_block(int *out, int how)
{
    __shared__ int shared_flag, shared_data;
    int *flag = how & GLOBAL_FLAG ? out : &shared_flag, *data = how & GLOBAL_DATA ? out + 2 : &shared_data;
    if (threadIdx.x == 0)
        *flag = *data = 0;
    __syncthreads();
    if (threadIdx.x == 0) {
        asm volatile("st.u32 [%0], 42;" ::"l"(data) : "memory");
        raise(flag, how);
    } else if (threadIdx.x == 32) {
        await(flag, how);
        int got;
        asm volatile("ld.u32 %0, [%1];" : "=r"(got) : "l"(data) : "memory");
        out[1] = got;
    }
}
