// Device and pinned memory, copies and fills. Every range is checked against its allocation when the copy
// runs.
#include "tests/softcuda/driver.h"

#include <cstdlib>
#include <cstring>

using namespace softcuda;

static uint8_t *device_range(CUdeviceptr at, size_t bytes)
{
    if (bytes && !memory().find(at).holds(at, bytes))
        throw Fault{CUDA_ERROR_INVALID_VALUE,
                    "a copy or fill of " + std::to_string(bytes) + " bytes at " + std::to_string(at) +
                        (memory().was_freed(at) ? " is in freed memory" : " leaves its allocation")};
    return reinterpret_cast<uint8_t *>(uintptr_t(at));
}

// Waits for the default stream, and so for the streams that wait for it; not for the others, as on a card.
static CUresult synchronous(CUstream stream, Work work)
{
    return guarded([&] {
        CUresult r = enqueue(stream, std::move(work));
        CUstream_st *s = stream_of(stream);
        return r ? r : drain(s, s->queued);
    });
}
static CUresult asynchronous(CUstream stream, Work work)
{
    return guarded([&] { return enqueue(stream, std::move(work)); });
}

template <class T> static Work fill(CUdeviceptr to, T value, size_t count)
{
    return [=] {
        uint8_t *p = device_range(to, count * sizeof(T));
        for (size_t i = 0; i < count; i++)
            memcpy(p + i * sizeof(T), &value, sizeof(T));
    };
}
static Work upload(CUdeviceptr to, const void *from, size_t n)
{
    return [=] { memcpy(device_range(to, n), from, n); };
}
static Work download(void *to, CUdeviceptr from, size_t n)
{
    return [=] { memcpy(to, device_range(from, n), n); };
}
static Work between(CUdeviceptr to, CUdeviceptr from, size_t n)
{
    return [=] { memmove(device_range(to, n), device_range(from, n), n); };
}

extern "C" {

CUresult cuMemAlloc(CUdeviceptr *p, size_t n)
{
    return guarded([&] {
        *p = n ? memory().allocate(n) : 0;
        return n == 0 ? CUDA_ERROR_INVALID_VALUE : *p ? CUDA_SUCCESS : CUDA_ERROR_OUT_OF_MEMORY;
    });
}
CUresult cuMemFree(CUdeviceptr p)
{
    return guarded([&] { // only when no stream will still touch it
        CUresult r = drain_all();
        return r ? r : p == 0 || memory().release(p) ? CUDA_SUCCESS : CUDA_ERROR_INVALID_VALUE;
    });
}
CUresult cuMemGetInfo(size_t *free_bytes, size_t *total)
{
    return guarded([&] {
        *free_bytes = memory().free_bytes();
        *total = memory().total_bytes();
        return CUDA_SUCCESS;
    });
}
CUresult cuMemHostAlloc(void **p, size_t n, unsigned)
{
    *p = malloc(n ? n : 1);
    return *p ? CUDA_SUCCESS : CUDA_ERROR_OUT_OF_MEMORY;
}
CUresult cuMemFreeHost(void *p)
{
    return guarded([&] {
        CUresult r = drain_all();
        free(p);
        return r;
    });
}
CUresult cuMemcpyHtoD(CUdeviceptr to, const void *from, size_t n)
{
    return synchronous(nullptr, upload(to, from, n));
}
CUresult cuMemcpyDtoH(void *to, CUdeviceptr from, size_t n)
{
    return synchronous(nullptr, download(to, from, n));
}
CUresult cuMemcpyDtoD(CUdeviceptr to, CUdeviceptr from, size_t n)
{
    return synchronous(nullptr, between(to, from, n));
}
CUresult cuMemcpyHtoDAsync(CUdeviceptr to, const void *from, size_t n, CUstream stream)
{
    return asynchronous(stream, upload(to, from, n));
}
CUresult cuMemcpyDtoHAsync(void *to, CUdeviceptr from, size_t n, CUstream stream)
{
    return asynchronous(stream, download(to, from, n));
}
CUresult cuMemcpyDtoDAsync(CUdeviceptr to, CUdeviceptr from, size_t n, CUstream stream)
{
    return asynchronous(stream, between(to, from, n));
}
CUresult cuMemsetD8(CUdeviceptr to, unsigned char value, size_t n)
{
    return synchronous(nullptr, fill(to, value, n));
}
CUresult cuMemsetD8Async(CUdeviceptr to, unsigned char value, size_t n, CUstream stream)
{
    return asynchronous(stream, fill(to, value, n));
}
CUresult cuMemsetD32(CUdeviceptr to, unsigned value, size_t n)
{
    return synchronous(nullptr, fill(to, value, n));
}
CUresult cuMemsetD32Async(CUdeviceptr to, unsigned value, size_t n, CUstream stream)
{
    return asynchronous(stream, fill(to, value, n));
}

} // extern "C"
