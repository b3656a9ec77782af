#include "tests/support/softcuda/driver.h"

#include <criterion/criterion.h>
#include <dlfcn.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

struct driver_calls cu;

void *open_driver(void)
{
    void *library = dlopen(SOFTCUDA_LIBRARY, RTLD_NOW);
    cr_assert_not_null(library, "%s", dlerror());
    const struct {
        const char *name;
        void *to;
    } table[] = {{"cuInit", &cu.init},
                 {"cuDevicePrimaryCtxRetain", &cu.retain},
                 {"cuDevicePrimaryCtxRelease_v2", &cu.release},
                 {"cuCtxSetCurrent", &cu.set_current},
                 {"cuModuleLoadData", &cu.load},
                 {"cuModuleGetFunction", &cu.function},
                 {"cuMemAlloc_v2", &cu.alloc},
                 {"cuMemFree_v2", &cu.release_memory},
                 {"cuMemcpyHtoD_v2", &cu.upload},
                 {"cuMemcpyHtoDAsync_v2", &cu.upload_async},
                 {"cuMemcpyDtoH_v2", &cu.download},
                 {"cuMemcpyDtoHAsync_v2", &cu.download_async},
                 {"cuMemsetD32_v2", &cu.fill},
                 {"cuCtxSynchronize", &cu.synchronize},
                 {"cuStreamCreate", &cu.stream},
                 {"cuStreamSynchronize", &cu.stream_synchronize},
                 {"cuEventCreate", &cu.event},
                 {"cuEventRecord", &cu.record},
                 {"cuEventQuery", &cu.query},
                 {"cuStreamWaitEvent", &cu.wait},
                 {"cuStreamBeginCapture_v2", &cu.begin},
                 {"cuStreamEndCapture", &cu.end},
                 {"cuGraphInstantiateWithFlags", &cu.instantiate},
                 {"cuGraphLaunch", &cu.replay},
                 {"cuLaunchKernel", &cu.launch},
                 {"cuLibraryLoadData", &cu.load_library},
                 {"cuLibraryGetKernel", &cu.library_kernel},
                 {"cuKernelGetFunction", &cu.kernel_function},
                 {"cuFuncGetParamInfo", &cu.parameter},
                 {"cuGetProcAddress_v2", &cu.address},
                 {"cuLaunchKernelEx", &cu.launch_with}};
    for (size_t i = 0; i < sizeof table / sizeof *table; i++) {
        void *symbol = dlsym(library, table[i].name);
        cr_assert_not_null(symbol, "%s is absent", table[i].name);
        memcpy(table[i].to, &symbol, sizeof symbol);
    }
    handle context;
    cr_assert_eq(cu.init(0), 0);
    cr_assert_eq(cu.retain(&context, 0), 0);
    cr_assert_eq(cu.set_current(context), 0);
    return library;
}

const void *read_image(const char *image)
{
    char path[512];
    snprintf(path, sizeof path, "%s/%s.fatbin", SOFTCUDA_IMAGES, image);
    FILE *file = fopen(path, "rb");
    cr_assert_not_null(file, "%s", path);
    static char bytes[1 << 20];
    size_t count = fread(bytes, 1, sizeof bytes, file);
    fclose(file);
    cr_assert(count > 0 && count < sizeof bytes);
    return bytes;
}

handle kernel(const char *image, const char *name)
{
    handle module, function;
    cr_assert_eq(cu.load(&module, read_image(image)), 0);
    cr_assert_eq(cu.function(&function, module, name), 0);
    return function;
}

uint64_t device_array(const void *from, size_t bytes)
{
    uint64_t p;
    cr_assert_eq(cu.alloc(&p, bytes), 0);
    cr_assert_eq(from ? cu.upload(p, from, bytes) : cu.fill(p, 0, bytes / 4), 0);
    return p;
}

void capture_stderr(void (*body)(void), char *text, size_t size)
{
    fflush(stderr);
    int kept = dup(2);
    FILE *file = tmpfile();
    cr_assert(kept >= 0 && file);
    dup2(fileno(file), 2);
    body();
    fflush(stderr);
    dup2(kept, 2);
    rewind(file);
    text[fread(text, 1, size - 1, file)] = '\0';
    fclose(file);
}

uint32_t random_word(void)
{
    static uint64_t state = 88172645463325252u;
    state ^= state << 13;
    state ^= state >> 7;
    state ^= state << 17;
    return (uint32_t)(state >> 16);
}
