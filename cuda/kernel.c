/* Kernels: fat binaries in this program, loaded when first used. */
#include "cuda/device.h"

#define DECLARE(image, kernel) extern const unsigned long long st_cuda_image_##image[];
ST_CUDA_KERNELS(DECLARE)
#undef DECLARE

static const struct {
    const unsigned long long *image;
    const char *image_name, *name;
} kernels[ST_CUDA_N_KERNEL] = {
#define ROW(image, kernel) {st_cuda_image_##image, #image, #kernel},
    ST_CUDA_KERNELS(ROW)
#undef ROW
};

/* The module of the kernel's image: that of another kernel, or a new one. */
static bool load_module(st_cuda *c, st_cuda_kernel kernel)
{
    for (int k = 0; k < ST_CUDA_N_KERNEL; k++)
        if (kernels[k].image == kernels[kernel].image && c->module[k]) {
            c->module[kernel] = c->module[k];
            return true;
        }
    CUmodule module = NULL;
    CUresult result = c->cu->module_load_data(&module, kernels[kernel].image);
    if (result == CUDA_SUCCESS) {
        c->module[kernel] = module;
        return true;
    }
    char text[32];
    if (c->failure.status == STERNA_OK)
        st_fail(&c->failure, STERNA_E_DEVICE, "%s (sm_%d): cuModuleLoadData of %s: %s%s", c->name, c->arch,
                kernels[kernel].image_name, st_cuda_error_name(c->cu, result, text),
                result == CUDA_ERROR_NO_BINARY_FOR_GPU
                    ? "; this build has no kernels for it (STERNA_CUDA_ARCHS)"
                    : "");
    return false;
}

void st_cuda_launch(st_cuda *c, st_cuda_kernel kernel, st_cuda_grid grid, unsigned block_x, unsigned block_y,
                    size_t shared, const void *args)
{
    if (c->failure.status != STERNA_OK || grid.x == 0 || grid.y == 0)
        return;
    if (!c->function[kernel] &&
        (!load_module(c, kernel) || !ST_CUDA_CALL(c, module_get_function, &c->function[kernel],
                                                  c->module[kernel], kernels[kernel].name)))
        return;
    void *parameters[] = {(void *)(uintptr_t)args};
    CUresult result = c->cu->launch_kernel(c->function[kernel], grid.x, grid.y, 1, block_x, block_y, 1,
                                           (unsigned)shared, c->stream, parameters, NULL);
    char text[32];
    if (result != CUDA_SUCCESS && c->failure.status == STERNA_OK)
        st_fail(&c->failure, STERNA_E_DEVICE, "%s: cuLaunchKernel of %s on %u x %u blocks of %u threads: %s",
                c->name, kernels[kernel].name, grid.x, grid.y, block_x * block_y,
                st_cuda_error_name(c->cu, result, text));
}

void st_cuda_unload(st_cuda *c)
{
    for (int k = 0; k < ST_CUDA_N_KERNEL; k++) {
        bool shared = false;
        for (int other = 0; other < k; other++)
            shared = shared || c->module[other] == c->module[k];
        if (c->module[k] && !shared)
            c->cu->module_unload(c->module[k]);
    }
}
