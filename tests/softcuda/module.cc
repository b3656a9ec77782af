// Modules, functions and launches.
#include "tests/softcuda/driver.h"

#include <cstdio>
#include <cstring>

using namespace softcuda;

static Kernel *kernel_of(CUfunction f)
{
    return reinterpret_cast<Kernel *>(f);
}

static uint32_t static_shared(const Kernel &k)
{
    return k.resources.shared > k.shared_bytes ? k.resources.shared : k.shared_bytes;
}

static CUresult refused(const Kernel &k, const std::string &why, CUresult error)
{
    fprintf(stderr, "softcuda: launch of %s refused: %s\n", k.name.c_str(), why.c_str());
    return error;
}

// What a card's driver refuses before anything runs.
static CUresult launch_error(const Kernel &k, const Launch &l)
{
    uint64_t threads = uint64_t(l.block[0]) * l.block[1] * l.block[2];
    if (!threads || !l.grid[0] || !l.grid[1] || !l.grid[2] || l.grid[1] > 65535 || l.grid[2] > 65535)
        return refused(k, "an empty or too large grid or block", CUDA_ERROR_INVALID_VALUE);
    if (threads > uint64_t(k.max_threads) || l.block[2] > 64)
        return refused(k, std::to_string(threads) + " threads, the limit is " + std::to_string(k.max_threads),
                       CUDA_ERROR_INVALID_VALUE);
    if (l.dynamic_bytes > k.dynamic_limit ||
        l.dynamic_bytes + static_shared(k) > std::max(k.dynamic_limit, 49152u))
        return refused(k,
                       std::to_string(l.dynamic_bytes) + " + " + std::to_string(static_shared(k)) +
                           " bytes of shared memory, the limit is " + std::to_string(k.dynamic_limit),
                       CUDA_ERROR_INVALID_VALUE);
    uint64_t registers = uint64_t(k.resources.registers + 7) / 8 * 8 * ((threads + 31) / 32 * 32);
    if (registers > 65536)
        return refused(k, std::to_string(registers) + " registers, the limit is 65536",
                       CUDA_ERROR_LAUNCH_OUT_OF_RESOURCES);
    return CUDA_SUCCESS;
}

namespace softcuda
{

CUresult load(const void *image, CUmod_st **module)
{
    try {
        std::string text = eligible_ptx(image, arch());
        if (text.empty())
            return CUDA_ERROR_NO_BINARY_FOR_GPU;
        std::unique_ptr<CUmod_st> loaded(new CUmod_st{parse_module(text)});
        for (auto &r : cubin_resources(image, arch()))
            if (loaded->module->kernels.count(r.first))
                loaded->module->kernels[r.first]->resources = r.second;
        *module = loaded.release();
        return CUDA_SUCCESS;
    } catch (const Unsupported &e) {
        fprintf(stderr, "softcuda: %s\n", e.what());
        return CUDA_ERROR_INVALID_PTX;
    }
}

} // namespace softcuda

extern "C" {

CUresult cuModuleLoadData(CUmodule *module, const void *image)
{
    return guarded([&] { return load(image, module); });
}
CUresult cuModuleUnload(CUmodule module)
{
    return guarded([&] {
        CUresult r = drain_all();
        delete module;
        return r;
    });
}
CUresult cuModuleGetFunction(CUfunction *function, CUmodule module, const char *name)
{
    return guarded([&] {
        auto found = module->module->kernels.find(name);
        *function = found == module->module->kernels.end()
                        ? nullptr
                        : reinterpret_cast<CUfunction>(found->second.get());
        return *function ? CUDA_SUCCESS : CUDA_ERROR_NOT_FOUND;
    });
}
CUresult cuModuleGetGlobal(CUdeviceptr *at, size_t *bytes, CUmodule module, const char *name)
{
    return guarded([&] {
        auto found = module->module->globals.find(name);
        if (found == module->module->globals.end())
            return CUDA_ERROR_NOT_FOUND;
        if (at)
            *at = found->second.address;
        if (bytes)
            *bytes = found->second.bytes;
        return CUDA_SUCCESS;
    });
}

CUresult cuFuncGetAttribute(int *value, CUfunction_attribute which, CUfunction function)
{
    const Kernel &k = *kernel_of(function);
    switch (which) {
    case CU_FUNC_ATTRIBUTE_MAX_THREADS_PER_BLOCK:
        *value = k.max_threads;
        return CUDA_SUCCESS;
    case CU_FUNC_ATTRIBUTE_SHARED_SIZE_BYTES:
        *value = int(static_shared(k));
        return CUDA_SUCCESS;
    case CU_FUNC_ATTRIBUTE_LOCAL_SIZE_BYTES:
        *value = int(k.local_bytes);
        return CUDA_SUCCESS;
    case CU_FUNC_ATTRIBUTE_NUM_REGS:
        *value = k.resources.registers;
        return CUDA_SUCCESS;
    case CU_FUNC_ATTRIBUTE_MAX_DYNAMIC_SHARED_SIZE_BYTES:
        *value = int(k.dynamic_limit);
        return CUDA_SUCCESS;
    default:
        return CUDA_ERROR_NOT_SUPPORTED;
    }
}
CUresult cuFuncSetAttribute(CUfunction function, CUfunction_attribute which, int value)
{
    Kernel &k = *kernel_of(function);
    if (which == CU_FUNC_ATTRIBUTE_PREFERRED_SHARED_MEMORY_CARVEOUT)
        return CUDA_SUCCESS; // a hint
    if (which != CU_FUNC_ATTRIBUTE_MAX_DYNAMIC_SHARED_SIZE_BYTES)
        return CUDA_ERROR_NOT_SUPPORTED;
    int limit;
    cuDeviceGetAttribute(&limit, CU_DEVICE_ATTRIBUTE_MAX_SHARED_MEMORY_PER_BLOCK_OPTIN, 0);
    if (value < 0 || value + int(static_shared(k)) > limit)
        return CUDA_ERROR_INVALID_VALUE;
    k.dynamic_limit = uint32_t(value);
    return CUDA_SUCCESS;
}

CUresult cuLaunchKernel(CUfunction function, unsigned gx, unsigned gy, unsigned gz, unsigned bx, unsigned by,
                        unsigned bz, unsigned shared, CUstream stream, void **parameters, void **extra)
{
    CUlaunchConfig config{};
    config.gridDimX = gx, config.gridDimY = gy, config.gridDimZ = gz;
    config.blockDimX = bx, config.blockDimY = by, config.blockDimZ = bz;
    config.sharedMemBytes = shared;
    config.hStream = stream;
    return cuLaunchKernelEx(&config, function, parameters, extra);
}
CUresult cuLaunchKernelEx(const CUlaunchConfig *c, CUfunction function, void **parameters, void **extra)
{
    return guarded([&] {
        if (!function || extra)
            return function ? CUDA_ERROR_NOT_SUPPORTED : CUDA_ERROR_INVALID_HANDLE;
        Kernel &k = *kernel_of(function);
        bool programmatic = false;
        for (unsigned i = 0; i < c->numAttrs; i++)
            if (c->attrs[i].id == CU_LAUNCH_ATTRIBUTE_PROGRAMMATIC_STREAM_SERIALIZATION)
                programmatic = c->attrs[i].value.programmaticStreamSerializationAllowed != 0;
            else if (c->attrs[i].id != CU_LAUNCH_ATTRIBUTE_IGNORE)
                return refused(k, "launch attribute " + std::to_string(c->attrs[i].id) + " is not known",
                               CUDA_ERROR_NOT_SUPPORTED);
        auto launch = std::make_shared<Launch>(Launch{&k,
                                                      {c->gridDimX, c->gridDimY, c->gridDimZ},
                                                      {c->blockDimX, c->blockDimY, c->blockDimZ},
                                                      c->sharedMemBytes,
                                                      {}});
        if (CUresult error = launch_error(k, *launch))
            return error;
        launch->parameters.resize(k.parameter_bytes);
        for (size_t i = 0; i < k.parameters.size(); i++)
            memcpy(launch->parameters.data() + k.parameters[i].offset, parameters[i], k.parameters[i].bytes);
        return enqueue(
            c->hStream, [launch] { execute(launch, running_stream()->overlap); }, programmatic);
    });
}

} // extern "C"
