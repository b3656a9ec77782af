#include "cuda/driver.h"

#include <dlfcn.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

const st_cuda_symbols st_cuda_symbol = {
#define ROW(type, symbol, name) .name = #symbol,
    ST_CUDA_FUNCTIONS(ROW)
#undef ROW
};

static st_cuda_driver driver;
static pthread_once_t once = PTHREAD_ONCE_INIT;

const char *st_cuda_error_name(const st_cuda_driver *cu, CUresult result, char text[32])
{
    const char *name = NULL;
    if (cu->get_error_name && cu->get_error_name(result, &name) == CUDA_SUCCESS && name)
        return name;
    snprintf(text, 32, "CUDA error %d", (int)result);
    return text;
}

/* A function of the library; object and function pointers have one representation in POSIX. */
static bool find(void *library, const char *symbol, void *function, size_t bytes)
{
    void *address = dlsym(library, symbol);
    memcpy(function, &address, bytes);
    if (!address)
        snprintf(driver.why_not, sizeof driver.why_not,
                 "the NVIDIA driver's libcuda.so.1 has no %s; Sterna needs a driver for CUDA %d.%d or newer",
                 symbol, ST_CUDA_MIN_DRIVER / 1000, ST_CUDA_MIN_DRIVER % 1000 / 10);
    return address != NULL;
}

static bool failed(const char *call, CUresult result)
{
    char text[32];
    if (result == CUDA_SUCCESS)
        return false;
    const char *visible = getenv("CUDA_VISIBLE_DEVICES");
    snprintf(driver.why_not, sizeof driver.why_not, "%s: %s%s%.60s%s", call,
             st_cuda_error_name(&driver, result, text), visible ? " (CUDA_VISIBLE_DEVICES is '" : "",
             visible ? visible : "", visible ? "')" : "");
    return true;
}

/* Fills in `driver`; n_device stays 0 after any failure. */
static void load(void)
{
    void *library = dlopen("libcuda.so.1", RTLD_NOW | RTLD_LOCAL);
    if (!library) {
        const char *why = dlerror();
        snprintf(driver.why_not, sizeof driver.why_not, "no NVIDIA driver (%.200s)",
                 why ? why : "libcuda.so.1");
        return;
    }
    /* The version first: a driver that is too old may lack functions. */
    if (!find(library, "cuDriverGetVersion", &driver.driver_get_version, sizeof driver.driver_get_version) ||
        failed("cuDriverGetVersion", driver.driver_get_version(&driver.version)))
        return;
    if (driver.version < ST_CUDA_MIN_DRIVER) {
        snprintf(driver.why_not, sizeof driver.why_not,
                 "the NVIDIA driver is for CUDA %d.%d, but Sterna needs one for CUDA %d.%d or newer",
                 driver.version / 1000, driver.version % 1000 / 10, ST_CUDA_MIN_DRIVER / 1000,
                 ST_CUDA_MIN_DRIVER % 1000 / 10);
        return;
    }
#define FIND(type, symbol, name)                                                                             \
    if (!find(library, #symbol, &driver.name, sizeof driver.name))                                           \
        return;
    ST_CUDA_FUNCTIONS(FIND)
#undef FIND
    int n = 0;
    if (failed("cuInit", driver.init(0)) || failed("cuDeviceGetCount", driver.device_get_count(&n)))
        return;
    driver.n_device = n;
    if (n == 0)
        failed("cuDeviceGetCount", CUDA_ERROR_NO_DEVICE);
}

const st_cuda_driver *st_cuda_driver_get(void)
{
    pthread_once(&once, load);
    return &driver;
}
