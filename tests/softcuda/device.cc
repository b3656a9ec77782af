// Devices, contexts, versions, names of errors, and the way to the other entry points.
#include "tests/softcuda/driver.h"

#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <dlfcn.h>

namespace softcuda
{

static thread_local CUctx_st *current_context;

CUctx_st *current()
{
    return current_context;
}

int arch()
{
    return int(setting(Setting::arch));
}

static CUctx_st *primary(int device)
{
    static std::map<int, std::unique_ptr<CUctx_st>> all;
    auto &context = all[device];
    if (!context)
        context.reset(new CUctx_st{device, 0, CUDA_SUCCESS});
    return context.get();
}

/* Shared memory by architecture, in KiB: of a block by default 48, on demand, and of a multiprocessor. */
struct SharedSizes {
    int arch, block, multiprocessor;
};
static const SharedSizes SHARED_SIZES[] = {{75, 64, 64},   {80, 163, 164},  {86, 99, 100}, {89, 99, 100},
                                           {90, 227, 228}, {100, 227, 228}, {120, 99, 100}};

static int attribute(CUdevice_attribute which)
{
    const SharedSizes *sizes = &SHARED_SIZES[0];
    for (const SharedSizes &s : SHARED_SIZES)
        if (s.arch <= arch())
            sizes = &s;
    bool big = arch() == 80 || arch() == 90 || arch() == 100;
    static const std::map<int, int> fixed = {{CU_DEVICE_ATTRIBUTE_MAX_THREADS_PER_BLOCK, 1024},
                                             {CU_DEVICE_ATTRIBUTE_MAX_BLOCK_DIM_X, 1024},
                                             {CU_DEVICE_ATTRIBUTE_MAX_BLOCK_DIM_Y, 1024},
                                             {CU_DEVICE_ATTRIBUTE_MAX_BLOCK_DIM_Z, 64},
                                             {CU_DEVICE_ATTRIBUTE_MAX_GRID_DIM_X, 0x7fffffff},
                                             {CU_DEVICE_ATTRIBUTE_MAX_GRID_DIM_Y, 65535},
                                             {CU_DEVICE_ATTRIBUTE_MAX_GRID_DIM_Z, 65535},
                                             {CU_DEVICE_ATTRIBUTE_MAX_SHARED_MEMORY_PER_BLOCK, 48 * 1024},
                                             {CU_DEVICE_ATTRIBUTE_WARP_SIZE, 32},
                                             {CU_DEVICE_ATTRIBUTE_MAX_REGISTERS_PER_BLOCK, 65536},
                                             {CU_DEVICE_ATTRIBUTE_MAX_REGISTERS_PER_MULTIPROCESSOR, 65536},
                                             {CU_DEVICE_ATTRIBUTE_UNIFIED_ADDRESSING, 1}};
    auto found = fixed.find(which);
    if (found != fixed.end())
        return found->second;
    switch (which) {
    case CU_DEVICE_ATTRIBUTE_COMPUTE_CAPABILITY_MAJOR:
        return arch() / 10;
    case CU_DEVICE_ATTRIBUTE_COMPUTE_CAPABILITY_MINOR:
        return arch() % 10;
    case CU_DEVICE_ATTRIBUTE_MULTIPROCESSOR_COUNT:
        return int(setting(Setting::sms));
    case CU_DEVICE_ATTRIBUTE_MAX_SHARED_MEMORY_PER_BLOCK_OPTIN:
        return sizes->block * 1024;
    case CU_DEVICE_ATTRIBUTE_MAX_SHARED_MEMORY_PER_MULTIPROCESSOR:
        return sizes->multiprocessor * 1024;
    case CU_DEVICE_ATTRIBUTE_MAX_THREADS_PER_MULTIPROCESSOR:
        return arch() == 75 ? 1024 : big ? 2048 : 1536;
    default: // clocks, bus widths, caches: a software device has none
        return 0;
    }
}

// Of a process that does not release its context.
static struct AtExit {
    ~AtExit() { print_statistics(); }
} at_exit;

} // namespace softcuda

using namespace softcuda;

extern "C" {

CUresult cuInit(unsigned)
{
    if (!settings_are_good())
        return CUDA_ERROR_INVALID_VALUE;
    return visible_devices() ? CUDA_SUCCESS : CUDA_ERROR_NO_DEVICE;
}
CUresult cuDriverGetVersion(int *version)
{
    *version = int(setting(Setting::driver_version));
    return CUDA_SUCCESS;
}
CUresult cuDeviceGetCount(int *count)
{
    *count = visible_devices();
    return CUDA_SUCCESS;
}
CUresult cuDeviceGet(CUdevice *device, int ordinal)
{
    *device = ordinal;
    return ordinal >= 0 && ordinal < visible_devices() ? CUDA_SUCCESS : CUDA_ERROR_INVALID_DEVICE;
}
CUresult cuDeviceGetName(char *name, int bytes, CUdevice)
{
    snprintf(name, size_t(bytes), "softcuda (software) sm_%d", arch());
    return CUDA_SUCCESS;
}
CUresult cuDeviceGetUuid(CUuuid *uuid, CUdevice device)
{
    memset(uuid->bytes, 0, sizeof uuid->bytes);
    snprintf(uuid->bytes, sizeof uuid->bytes, "softcuda-%d", device);
    return CUDA_SUCCESS;
}
CUresult cuDeviceTotalMem(size_t *bytes, CUdevice)
{
    *bytes = memory().total_bytes();
    return CUDA_SUCCESS;
}
CUresult cuDeviceGetAttribute(int *value, CUdevice_attribute which, CUdevice)
{
    *value = attribute(which);
    return CUDA_SUCCESS;
}

CUresult cuDevicePrimaryCtxRetain(CUcontext *context, CUdevice device)
{
    std::lock_guard<std::recursive_mutex> lock(driver_lock());
    if (device < 0 || device >= visible_devices())
        return CUDA_ERROR_INVALID_DEVICE;
    *context = primary(device);
    (*context)->users++;
    return CUDA_SUCCESS;
}
CUresult cuDevicePrimaryCtxRelease(CUdevice device)
{
    std::lock_guard<std::recursive_mutex> lock(driver_lock());
    CUctx_st *context = primary(device);
    if (context->users == 0)
        return CUDA_ERROR_INVALID_CONTEXT;
    if (--context->users == 0) {
        if (memory().live_count() && setting(Setting::check))
            fprintf(stderr, "softcuda: leak: %llu allocation(s) of %llu bytes at the end of the context\n",
                    static_cast<unsigned long long>(memory().live_count()),
                    static_cast<unsigned long long>(memory().total_bytes() - memory().free_bytes()));
        print_statistics();
        context->error = CUDA_SUCCESS;
    }
    return CUDA_SUCCESS;
}
CUresult cuCtxSetCurrent(CUcontext context)
{
    current_context = context;
    return CUDA_SUCCESS;
}
CUresult cuCtxGetCurrent(CUcontext *context)
{
    *context = current_context;
    return CUDA_SUCCESS;
}
CUresult cuCtxGetApiVersion(CUcontext, unsigned *version)
{
    *version = unsigned(setting(Setting::driver_version));
    return CUDA_SUCCESS;
}
CUresult cuDevicePrimaryCtxGetState(CUdevice device, unsigned *flags, int *active)
{
    std::lock_guard<std::recursive_mutex> lock(driver_lock());
    *flags = 0;
    *active = primary(device)->users > 0;
    return CUDA_SUCCESS;
}
CUresult cuCtxGetDevice(CUdevice *device)
{
    return guarded([&] {
        *device = current()->device;
        return CUDA_SUCCESS;
    });
}

#define ERRORS(X)                                                                                            \
    X(CUDA_SUCCESS)                                                                                          \
    X(CUDA_ERROR_INVALID_VALUE)                                                                              \
    X(CUDA_ERROR_OUT_OF_MEMORY)                                                                              \
    X(CUDA_ERROR_NO_DEVICE)                                                                                  \
    X(CUDA_ERROR_INVALID_DEVICE)                                                                             \
    X(CUDA_ERROR_INVALID_IMAGE)                                                                              \
    X(CUDA_ERROR_INVALID_CONTEXT)                                                                            \
    X(CUDA_ERROR_NO_BINARY_FOR_GPU)                                                                          \
    X(CUDA_ERROR_INVALID_PTX)                                                                                \
    X(CUDA_ERROR_NOT_FOUND)                                                                                  \
    X(CUDA_ERROR_NOT_READY)                                                                                  \
    X(CUDA_ERROR_ILLEGAL_ADDRESS)                                                                            \
    X(CUDA_ERROR_LAUNCH_OUT_OF_RESOURCES)                                                                    \
    X(CUDA_ERROR_MISALIGNED_ADDRESS)                                                                         \
    X(CUDA_ERROR_LAUNCH_FAILED) X(CUDA_ERROR_NOT_SUPPORTED) X(CUDA_ERROR_ILLEGAL_STATE)                      \
        X(CUDA_ERROR_INVALID_HANDLE) X(CUDA_ERROR_STREAM_CAPTURE_UNSUPPORTED)

CUresult cuGetErrorName(CUresult error, const char **name)
{
    switch (int(error)) {
#define NAME(e)                                                                                              \
    case e:                                                                                                  \
        *name = #e;                                                                                          \
        return CUDA_SUCCESS;
        ERRORS(NAME)
    default:
        *name = nullptr;
        return CUDA_ERROR_INVALID_VALUE;
    }
}
CUresult cuGetErrorString(CUresult error, const char **text)
{
    return cuGetErrorName(error, text);
}

CUresult cuGetProcAddress(const char *name, void **function, int, cuuint64_t,
                          CUdriverProcAddressQueryResult *status)
{
    Dl_info self;
    dladdr(reinterpret_cast<void *>(&cuInit), &self);
    void *library = dlopen(self.dli_fname, RTLD_LAZY | RTLD_NOLOAD);
    *function = library ? dlsym(library, (std::string(name) + "_v2").c_str()) : nullptr;
    if (library && !*function)
        *function = dlsym(library, name);
    if (!*function)
        fprintf(stderr, "softcuda: there is no %s\n", name);
    if (status)
        *status = *function ? CU_GET_PROC_ADDRESS_SUCCESS : CU_GET_PROC_ADDRESS_SYMBOL_NOT_FOUND;
    return *function ? CUDA_SUCCESS : CUDA_ERROR_NOT_FOUND;
}

} // extern "C"
