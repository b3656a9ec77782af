/* The CUDA driver API, loaded at run time: nothing of CUDA is linked. */
#ifndef ST_CUDA_DRIVER_H
#define ST_CUDA_DRIVER_H

#include "host/base/base.h"

#include <cuda.h>
#include <cudaTypedefs.h>

/* X(type, symbol, name): the functions in use, by the names that the library exports for the stated version.
 */
#define ST_CUDA_FUNCTIONS(X)                                                                                 \
    X(PFN_cuInit_v2000, cuInit, init)                                                                        \
    X(PFN_cuDriverGetVersion_v2020, cuDriverGetVersion, driver_get_version)                                  \
    X(PFN_cuGetErrorName_v6000, cuGetErrorName, get_error_name)                                              \
    X(PFN_cuDeviceGetCount_v2000, cuDeviceGetCount, device_get_count)                                        \
    X(PFN_cuDeviceGet_v2000, cuDeviceGet, device_get)                                                        \
    X(PFN_cuDeviceGetName_v2000, cuDeviceGetName, device_get_name)                                           \
    X(PFN_cuDeviceGetAttribute_v2000, cuDeviceGetAttribute, device_get_attribute)                            \
    X(PFN_cuDeviceTotalMem_v3020, cuDeviceTotalMem_v2, device_total_mem)                                     \
    X(PFN_cuDevicePrimaryCtxRetain_v7000, cuDevicePrimaryCtxRetain, primary_ctx_retain)                      \
    X(PFN_cuDevicePrimaryCtxRelease_v11000, cuDevicePrimaryCtxRelease_v2, primary_ctx_release)               \
    X(PFN_cuCtxSetCurrent_v4000, cuCtxSetCurrent, ctx_set_current)                                           \
    X(PFN_cuMemGetInfo_v3020, cuMemGetInfo_v2, mem_get_info)                                                 \
    X(PFN_cuMemAlloc_v3020, cuMemAlloc_v2, mem_alloc)                                                        \
    X(PFN_cuMemFree_v3020, cuMemFree_v2, mem_free)                                                           \
    X(PFN_cuMemHostAlloc_v2020, cuMemHostAlloc, mem_host_alloc)                                              \
    X(PFN_cuMemFreeHost_v2000, cuMemFreeHost, mem_free_host)                                                 \
    X(PFN_cuMemcpyHtoDAsync_v3020, cuMemcpyHtoDAsync_v2, memcpy_htod_async)                                  \
    X(PFN_cuMemcpyDtoHAsync_v3020, cuMemcpyDtoHAsync_v2, memcpy_dtoh_async)                                  \
    X(PFN_cuMemsetD32Async_v3020, cuMemsetD32Async, memset_d32_async)                                        \
    X(PFN_cuModuleLoadData_v2000, cuModuleLoadData, module_load_data)                                        \
    X(PFN_cuModuleUnload_v2000, cuModuleUnload, module_unload)                                               \
    X(PFN_cuModuleGetFunction_v2000, cuModuleGetFunction, module_get_function)                               \
    X(PFN_cuLaunchKernel_v4000, cuLaunchKernel, launch_kernel)                                               \
    X(PFN_cuStreamCreate_v2000, cuStreamCreate, stream_create)                                               \
    X(PFN_cuStreamDestroy_v4000, cuStreamDestroy_v2, stream_destroy)                                         \
    X(PFN_cuStreamSynchronize_v2000, cuStreamSynchronize, stream_synchronize)                                \
    X(PFN_cuStreamBeginCapture_v10010, cuStreamBeginCapture_v2, stream_begin_capture)                        \
    X(PFN_cuStreamEndCapture_v10000, cuStreamEndCapture, stream_end_capture)                                 \
    X(PFN_cuGraphInstantiateWithFlags_v11040, cuGraphInstantiateWithFlags, graph_instantiate)                \
    X(PFN_cuGraphLaunch_v10000, cuGraphLaunch, graph_launch)                                                 \
    X(PFN_cuGraphExecDestroy_v10000, cuGraphExecDestroy, graph_exec_destroy)                                 \
    X(PFN_cuGraphDestroy_v10000, cuGraphDestroy, graph_destroy)                                              \
    X(PFN_cuEventCreate_v2000, cuEventCreate, event_create)                                                  \
    X(PFN_cuEventDestroy_v4000, cuEventDestroy_v2, event_destroy)                                            \
    X(PFN_cuEventRecord_v2000, cuEventRecord, event_record)                                                  \
    X(PFN_cuEventSynchronize_v2000, cuEventSynchronize, event_synchronize)                                   \
    X(PFN_cuEventElapsedTime_v2000, cuEventElapsedTime, event_elapsed_time)

/* Their symbols, by their names here: for errors. */
typedef struct st_cuda_symbols {
#define ST_CUDA_MEMBER(type, symbol, name) const char *name;
    ST_CUDA_FUNCTIONS(ST_CUDA_MEMBER)
#undef ST_CUDA_MEMBER
} st_cuda_symbols;
extern const st_cuda_symbols st_cuda_symbol;

typedef struct st_cuda_driver {
#define ST_CUDA_MEMBER(type, symbol, name) type name;
    ST_CUDA_FUNCTIONS(ST_CUDA_MEMBER)
#undef ST_CUDA_MEMBER
    int version;       /* of the API the driver offers: 13000 is 13.0 */
    int n_device;      /* 0: `why_not` says why */
    char why_not[256]; /* one sentence */
} st_cuda_driver;

/* The kernels are built by this toolkit; a driver of its major version runs them. */
#define ST_CUDA_MIN_DRIVER (CUDA_VERSION / 1000 * 1000)

/* Loads and initialises the driver once for the process. Never NULL. */
const st_cuda_driver *st_cuda_driver_get(void);
/* "CUDA_ERROR_OUT_OF_MEMORY", or "CUDA error 999" for what the driver has no name for. Static string, or
 * `text`. */
const char *st_cuda_error_name(const st_cuda_driver *cu, CUresult result, char text[32]);

#endif
