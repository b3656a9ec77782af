// A launch that may begin before the one in front of it is over. a: two arrays, each with an int a thread.

static __device__ void trigger()
{
    asm volatile("griddepcontrol.launch_dependents;" ::: "memory");
}
static __device__ void wait()
{
    asm volatile("griddepcontrol.wait;" ::: "memory");
}
static __device__ int here()
{
    return (int)(blockIdx.x * blockDim.x + threadIdx.x);
}
static __device__ int there()
{
    return (int)(gridDim.x * blockDim.x) + here();
}

extern "C" __global__ void first(int *a)
{
    trigger();
    a[here()] = a[there()];
}
extern "C" __global__ void first_that_triggers_late(int *a)
{
    a[here()] = a[there()];
    __syncthreads();
    trigger();
}
extern "C" __global__ void first_that_fences(int *a)
{
    a[here()] = a[there()];
    __syncthreads();
    __threadfence();
    trigger();
}
extern "C" __global__ void reads(int *a, int early)
{
    int v = early ? a[here()] : 0;
    wait();
    a[there()] = v + a[here()];
}
extern "C" __global__ void overwrites(int *a, int early)
{
    if (early)
        a[there()] = 5;
    wait();
    a[there()] = 6;
}
extern "C" __global__ void writes(int *a, int early)
{
    if (early)
        a[here()] = 5;
    wait();
    if (!early)
        a[here()] = 5;
}
extern "C" __global__ void waits_in_one_thread(int *a, int early)
{
    if (threadIdx.x == 0)
        wait();
    if (!early)
        __syncthreads();
    a[there()] = a[here()];
}
// In the middle of three launches: whoever waits for one that has not waited has not waited for the first.
extern "C" __global__ void passes_on(int *a, int early)
{
    trigger();
    if (!early)
        wait();
}
extern "C" __global__ void reads_in_time(int *a, int early)
{
    wait();
    a[there()] = a[here()];
}
extern "C" __global__ void spins(int *a, int early)
{
    while (early && ((volatile int *)a)[here()] == 0) {
    }
    wait();
    a[there()] = a[here()];
}
