// A launch that may begin before the one in front of it is over. a: 64 ints that the first one writes, and 64
// that it reads.

static __device__ void trigger()
{
    asm volatile("griddepcontrol.launch_dependents;" ::: "memory");
}
static __device__ void wait()
{
    asm volatile("griddepcontrol.wait;" ::: "memory");
}

extern "C" __global__ void first(int *a)
{
    trigger();
    a[threadIdx.x] = a[64 + threadIdx.x];
}
extern "C" __global__ void first_that_triggers_late(int *a)
{
    a[threadIdx.x] = a[64 + threadIdx.x];
    __syncthreads();
    trigger();
}
extern "C" __global__ void reads(int *a, int early)
{
    int v = early ? a[threadIdx.x] : 0;
    wait();
    a[64 + threadIdx.x] = v + a[threadIdx.x];
}
extern "C" __global__ void overwrites(int *a, int early)
{
    if (early)
        a[64 + threadIdx.x] = 5;
    wait();
    a[64 + threadIdx.x] = 6;
}
extern "C" __global__ void waits_in_one_thread(int *a, int early)
{
    if (threadIdx.x == 0)
        wait();
    if (!early)
        __syncthreads();
    a[64 + threadIdx.x] = a[threadIdx.x];
}
