#include "tests/support/softcuda/loader.h"

#include <criterion/criterion.h>
#include <cuda.h>
#include <dlfcn.h>
#include <stdlib.h>
#include <string.h>

static bool hidden;
static const char *lacking = "";

/* ---- calls that are counted and may fail ---- */

/* X(symbol, parameters, arguments) */
#define CALLS(X)                                                                                             \
    X(cuDevicePrimaryCtxRetain, (CUcontext * a, CUdevice b), (a, b))                                         \
    X(cuDevicePrimaryCtxRelease_v2, (CUdevice a), (a))                                                       \
    X(cuMemAlloc_v2, (CUdeviceptr * a, size_t b), (a, b))                                                    \
    X(cuMemFree_v2, (CUdeviceptr a), (a))                                                                    \
    X(cuMemHostAlloc, (void **a, size_t b, unsigned c), (a, b, c))                                           \
    X(cuMemFreeHost, (void *a), (a))                                                                         \
    X(cuStreamCreate, (CUstream * a, unsigned b), (a, b))                                                    \
    X(cuStreamDestroy_v2, (CUstream a), (a))                                                                 \
    X(cuEventCreate, (CUevent * a, unsigned b), (a, b))                                                      \
    X(cuEventDestroy_v2, (CUevent a), (a))                                                                   \
    X(cuModuleLoadData, (CUmodule * a, const void *b), (a, b))                                               \
    X(cuModuleUnload, (CUmodule a), (a))                                                                     \
    X(cuStreamEndCapture, (CUstream a, CUgraph * b), (a, b))                                                 \
    X(cuGraphDestroy, (CUgraph a), (a))                                                                      \
    X(cuGraphInstantiateWithFlags, (CUgraphExec * a, CUgraph b, unsigned long long c), (a, b, c))            \
    X(cuGraphExecDestroy, (CUgraphExec a), (a))                                                              \
    X(cuGraphLaunch, (CUgraphExec a, CUstream b), (a, b))                                                    \
    X(cuStreamSynchronize, (CUstream a), (a))

enum {
#define NUMBER(symbol, parameters, arguments) NUMBER_##symbol,
    CALLS(NUMBER)
#undef NUMBER
        N_CALL
};

static struct call {
    const char *symbol;
    void *real;
    int tried, good; /* calls so far */
    int fail_from, result;
} calls[N_CALL] = {
#define ROW(function, parameters, arguments) {.symbol = #function},
    CALLS(ROW)
#undef ROW
};

/* Counts a call; true if it is to fail. */
static bool fails(struct call *c)
{
    c->tried++;
    return c->fail_from && c->tried >= c->fail_from;
}

#define WRAPPER(symbol, parameters, arguments)                                                               \
    static CUresult wrap_##symbol parameters                                                                 \
    {                                                                                                        \
        struct call *call = &calls[NUMBER_##symbol];                                                         \
        CUresult(*real) parameters;                                                                          \
        memcpy(&real, &call->real, sizeof real);                                                             \
        CUresult result = fails(call) ? (CUresult)call->result : real arguments;                             \
        call->good += result == CUDA_SUCCESS;                                                                \
        return result;                                                                                       \
    }
CALLS(WRAPPER)

static void *wrapper_of(int number)
{
    void *address = NULL;
    switch (number) {
#define CASE(symbol, parameters, arguments)                                                                  \
    case NUMBER_##symbol: {                                                                                  \
        CUresult(*function) parameters = wrap_##symbol;                                                      \
        memcpy(&address, &function, sizeof address);                                                         \
        break;                                                                                               \
    }
        CALLS(CASE)
    }
    return address;
}

/* ---- the dynamic linker's functions ---- */

void *__real_dlopen(const char *path, int flags);
void *__wrap_dlopen(const char *path, int flags);
void *__real_dlsym(void *library, const char *name);
void *__wrap_dlsym(void *library, const char *name);

void *__wrap_dlopen(const char *path, int flags)
{
    if (!path || strcmp(path, "libcuda.so.1") != 0)
        return __real_dlopen(path, flags);
    return __real_dlopen(hidden ? "libcuda.so.1, which is hidden" : SOFTCUDA_LIBRARY, flags);
}

void *__wrap_dlsym(void *library, const char *name)
{
    void *real = strcmp(name, lacking) == 0 ? NULL : __real_dlsym(library, name);
    for (int i = 0; real && i < N_CALL; i++)
        if (strcmp(calls[i].symbol, name) == 0) {
            calls[i].real = real;
            return wrapper_of(i);
        }
    return real;
}

/* ---- for the tests ---- */

static struct call *find(const char *symbol)
{
    for (int i = 0; i < N_CALL; i++)
        if (strcmp(calls[i].symbol, symbol) == 0)
            return &calls[i];
    cr_assert_fail("%s is not counted", symbol);
    return NULL;
}

void softcuda_use(const char *arch)
{
    if (!*SOFTCUDA_LIBRARY)
        cr_skip_test("softcuda was not built");
    setenv("SOFTCUDA_ARCH", arch, 1);
}

void softcuda_hide(void)
{
    hidden = true;
}

void softcuda_lack(const char *symbol)
{
    lacking = symbol;
}

void softcuda_fail(const char *symbol, int from, int result)
{
    struct call *c = find(symbol);
    c->fail_from = from ? c->tried + from : 0;
    c->result = result;
}

int softcuda_count(const char *symbol)
{
    return find(symbol)->good;
}

const char *softcuda_left(void)
{
    static const int pairs[][2] = {{NUMBER_cuMemAlloc_v2, NUMBER_cuMemFree_v2},
                                   {NUMBER_cuMemHostAlloc, NUMBER_cuMemFreeHost},
                                   {NUMBER_cuStreamCreate, NUMBER_cuStreamDestroy_v2},
                                   {NUMBER_cuEventCreate, NUMBER_cuEventDestroy_v2},
                                   {NUMBER_cuModuleLoadData, NUMBER_cuModuleUnload},
                                   {NUMBER_cuStreamEndCapture, NUMBER_cuGraphDestroy},
                                   {NUMBER_cuGraphInstantiateWithFlags, NUMBER_cuGraphExecDestroy},
                                   {NUMBER_cuDevicePrimaryCtxRetain, NUMBER_cuDevicePrimaryCtxRelease_v2}};
    /* What is made counts when it was, what ends when it was asked to: a context that failed frees nothing.
     */
    for (size_t i = 0; i < sizeof pairs / sizeof pairs[0]; i++)
        if (calls[pairs[i][0]].good != calls[pairs[i][1]].tried)
            return calls[pairs[i][0]].symbol;
    return NULL;
}
