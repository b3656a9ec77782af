// Libraries: modules that need no context. A CUlibrary is a module, a CUkernel is a function.
#include "tests/softcuda/driver.h"

using namespace softcuda;

static CUmodule module_of(CUlibrary library)
{
    return reinterpret_cast<CUmodule>(library);
}
static CUfunction function_of(CUkernel kernel)
{
    return reinterpret_cast<CUfunction>(kernel);
}

extern "C" {

CUresult cuLibraryLoadData(CUlibrary *library, const void *image, CUjit_option *, void **,
                           unsigned jit_options, CUlibraryOption *, void **, unsigned options)
{
    if (jit_options || options)
        return CUDA_ERROR_NOT_SUPPORTED;
    std::lock_guard<std::recursive_mutex> lock(driver_lock());
    CUmodule module;
    CUresult result = load(image, &module);
    if (result == CUDA_SUCCESS)
        *library = reinterpret_cast<CUlibrary>(module);
    return result;
}
CUresult cuLibraryUnload(CUlibrary library)
{
    return cuModuleUnload(module_of(library));
}
CUresult cuLibraryGetModule(CUmodule *module, CUlibrary library)
{
    *module = module_of(library);
    return CUDA_SUCCESS;
}
CUresult cuLibraryGetKernelCount(unsigned *count, CUlibrary library)
{
    *count = unsigned(module_of(library)->module->kernels.size());
    return CUDA_SUCCESS;
}
CUresult cuLibraryGetKernel(CUkernel *kernel, CUlibrary library, const char *name)
{
    auto found = module_of(library)->module->kernels.find(name);
    if (found == module_of(library)->module->kernels.end())
        return CUDA_ERROR_NOT_FOUND;
    *kernel = reinterpret_cast<CUkernel>(found->second.get());
    return CUDA_SUCCESS;
}
CUresult cuLibraryGetGlobal(CUdeviceptr *at, size_t *bytes, CUlibrary library, const char *name)
{
    return cuModuleGetGlobal(at, bytes, module_of(library), name);
}
CUresult cuKernelGetFunction(CUfunction *function, CUkernel kernel)
{
    return guarded([&] {
        *function = function_of(kernel);
        return CUDA_SUCCESS;
    });
}
CUresult cuKernelGetAttribute(int *value, CUfunction_attribute which, CUkernel kernel, CUdevice)
{
    return cuFuncGetAttribute(value, which, function_of(kernel));
}
CUresult cuKernelSetAttribute(CUfunction_attribute which, int value, CUkernel kernel, CUdevice)
{
    return cuFuncSetAttribute(function_of(kernel), which, value);
}
CUresult cuKernelGetName(const char **name, CUkernel kernel)
{
    return cuFuncGetName(name, function_of(kernel));
}
CUresult cuFuncGetName(const char **name, CUfunction function)
{
    *name = reinterpret_cast<Kernel *>(function)->name.c_str();
    return CUDA_SUCCESS;
}
CUresult cuFuncGetParamInfo(CUfunction function, size_t index, size_t *offset, size_t *bytes)
{
    const std::vector<Parameter> &parameters = reinterpret_cast<Kernel *>(function)->parameters;
    if (index >= parameters.size())
        return CUDA_ERROR_INVALID_VALUE;
    *offset = parameters[index].offset;
    if (bytes)
        *bytes = parameters[index].bytes;
    return CUDA_SUCCESS;
}

} // extern "C"
