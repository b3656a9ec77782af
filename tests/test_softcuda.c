// The software CUDA driver: instructions against the processor's results, and planted faults that it has to
// see.
#include <criterion/criterion.h>
#include <dlfcn.h>
#include <math.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#ifdef SOFTCUDA_LIBRARY

typedef void *handle;
static struct {
    int (*init)(unsigned);
    int (*retain)(handle *, int);
    int (*release)(int);
    int (*set_current)(handle);
    int (*load)(handle *, const void *);
    int (*function)(handle *, handle, const char *);
    int (*alloc)(uint64_t *, size_t);
    int (*release_memory)(uint64_t);
    int (*upload)(uint64_t, const void *, size_t);
    int (*download)(void *, uint64_t, size_t);
    int (*download_async)(void *, uint64_t, size_t, handle);
    int (*fill)(uint64_t, unsigned, size_t);
    int (*synchronize)(void);
    int (*stream)(handle *, unsigned);
    int (*begin)(handle, int);
    int (*end)(handle, handle *);
    int (*instantiate)(handle *, handle, unsigned long long);
    int (*replay)(handle, handle);
    int (*launch)(handle, unsigned, unsigned, unsigned, unsigned, unsigned, unsigned, unsigned, handle,
                  void **, void **);
} cu;

static void *open_driver(void)
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
                 {"cuMemcpyDtoH_v2", &cu.download},
                 {"cuMemcpyDtoHAsync_v2", &cu.download_async},
                 {"cuMemsetD32_v2", &cu.fill},
                 {"cuCtxSynchronize", &cu.synchronize},
                 {"cuStreamCreate", &cu.stream},
                 {"cuStreamBeginCapture_v2", &cu.begin},
                 {"cuStreamEndCapture", &cu.end},
                 {"cuGraphInstantiateWithFlags", &cu.instantiate},
                 {"cuGraphLaunch", &cu.replay},
                 {"cuLaunchKernel", &cu.launch}};
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

static handle kernel(const char *image, const char *name)
{
    char path[512];
    snprintf(path, sizeof path, "%s/%s.fatbin", SOFTCUDA_IMAGES, image);
    FILE *file = fopen(path, "rb");
    cr_assert_not_null(file, "%s", path);
    static char bytes[1 << 20];
    size_t count = fread(bytes, 1, sizeof bytes, file);
    fclose(file);
    cr_assert(count > 0 && count < sizeof bytes);
    handle module, function;
    cr_assert_eq(cu.load(&module, bytes), 0);
    cr_assert_eq(cu.function(&function, module, name), 0);
    return function;
}

static uint64_t device_array(const void *from, size_t bytes)
{
    uint64_t p;
    cr_assert_eq(cu.alloc(&p, bytes), 0);
    cr_assert_eq(from ? cu.upload(p, from, bytes) : cu.fill(p, 0, bytes / 4), 0);
    return p;
}

static uint32_t random_word(void)
{
    static uint64_t state = 88172645463325252u;
    state ^= state << 13;
    state ^= state >> 7;
    state ^= state << 17;
    return (uint32_t)(state >> 16);
}

static void expected_integers(int x, int y, int *o)
{
    uint32_t ux = (uint32_t)x, uy = (uint32_t)y, reversed = 0;
    uint64_t both = (uint64_t)uy << 32 | ux;
    int64_t product = (int64_t)x * y;
    int odd = y | 1, dot = 5;
    for (int i = 0; i < 32; i++)
        reversed |= (ux >> i & 1) << (31 - i);
    for (int i = 0; i < 4; i++)
        dot += (int8_t)(ux >> (8 * i)) * (int8_t)(uy >> (8 * i));
    uint32_t four = uy & 255, one = ux >> 8 & 255, byte6 = uy >> 16 & 255, byte3 = ux >> 24;
    o[0] = (int)(ux + uy);
    o[1] = (int)(ux * uy);
    o[2] = (int)(product >> 32);
    o[3] = !y ? 7 : odd == -1 ? (int)-ux : x / odd;
    o[4] = odd == -1 ? 0 : x % odd;
    o[5] = (int)(ux >> (y & 31));
    o[6] = x >> (y & 31);
    o[7] = x < y ? x : y;
    o[8] = (int)(ux > uy ? ux : uy);
    o[9] = __builtin_popcount(ux);
    o[10] = x ? __builtin_clz(ux) : 32;
    o[11] = (int)reversed;
    // selectors e, 1, b, 4 from the lowest byte; e and b spread the signs of bytes 6 and 3
    o[12] = (int)((byte6 & 128 ? 255u : 0u) | one << 8 | (byte3 & 128 ? 255u : 0u) << 16 | four << 24);
    o[13] = (int)(uint32_t)(both << (x & 31) >> 32);
    o[14] = dot;
    o[15] = (int)(product >> 13);
}

Test(softcuda, integers)
{
    enum { N = 4099 };
    open_driver();
    static int a[N], b[N], out[N][16];
    const int corners[] = {0, 1, -1, INT32_MIN, INT32_MAX, 0x01807fff, 255};
    for (int i = 0; i < N; i++) {
        a[i] = i < 49 ? corners[i / 7] : (int)random_word();
        b[i] = i < 49 ? corners[i % 7] : (int)random_word();
    }
    uint64_t da = device_array(a, sizeof a), db = device_array(b, sizeof b),
             dout = device_array(NULL, sizeof out);
    int n = N;
    void *arguments[] = {&da, &db, &dout, &n};
    cr_assert_eq(cu.launch(kernel("basic", "integers"), 33, 1, 1, 128, 1, 1, 0, NULL, arguments, NULL), 0);
    cr_assert_eq(cu.download(out, dout, sizeof out), 0);
    for (int i = 0; i < N; i++) {
        int expected[16];
        expected_integers(a[i], b[i], expected);
        for (int k = 0; k < 16; k++)
            cr_assert_eq(out[i][k], expected[k], "operation %d of %d and %d: %d, not %d", k, a[i], b[i],
                         out[i][k], expected[k]);
    }
}

Test(softcuda, floats_to_the_bit)
{
    enum { N = 3001 };
    open_driver();
    static float a[N], b[N], out[N][8];
    for (int i = 0; i < N; i++) {
        a[i] = ((float)random_word() / 65536.0f - 32768.0f) * (i % 3 ? 1.0f : 1e-3f);
        b[i] = ((float)random_word() / 65536.0f - 32768.0f) * (i % 5 ? 1.0f : 1e-30f);
    }
    uint64_t da = device_array(a, sizeof a), db = device_array(b, sizeof b),
             dout = device_array(NULL, sizeof out);
    int n = N;
    void *arguments[] = {&da, &db, &dout, &n};
    cr_assert_eq(cu.launch(kernel("basic", "floats"), 24, 1, 1, 128, 1, 1, 0, NULL, arguments, NULL), 0);
    cr_assert_eq(cu.download(out, dout, sizeof out), 0);
    for (int i = 0; i < N; i++) {
        float x = a[i], y = b[i];
        float expected[] = {x + y,
                            x * y,
                            x / y,
                            sqrtf(fabsf(x)),
                            rintf(x),
                            (float)(int)x,
                            fmaf(x, y, 1.5f),
                            x < y ? x - y : -x};
        for (int k = 0; k < 8; k++)
            cr_assert_eq(memcmp(&out[i][k], &expected[k], 4), 0, "operation %d of %a and %a: %a, not %a", k,
                         (double)x, (double)y, (double)out[i][k], (double)expected[k]);
    }
}

Test(softcuda, sum_over_blocks)
{
    enum { N = 100003 };
    open_driver();
    static int a[N];
    int expected = 0, sum, n = N;
    for (int i = 0; i < N; i++)
        expected += a[i] = (int)(random_word() % 1000) - 500;
    uint64_t da = device_array(a, sizeof a), dsum = device_array(NULL, 4);
    void *arguments[] = {&da, &dsum, &n};
    cr_assert_eq(cu.launch(kernel("basic", "reduce"), 7, 1, 1, 256, 1, 1, 0, NULL, arguments, NULL), 0);
    cr_assert_eq(cu.download(&sum, dsum, 4), 0);
    cr_assert_eq(sum, expected);
}

static double seconds(void)
{
    struct timespec t;
    clock_gettime(CLOCK_MONOTONIC, &t);
    return (double)t.tv_sec + 1e-9 * (double)t.tv_nsec;
}

Test(softcuda, matrices_against_a_triple_loop)
{
    enum { BLOCKS = 8 };
    open_driver();
    signed char a[16][32], b[8][32];
    static int d[BLOCKS][16][8];
    for (int i = 0; i < 512; i++)
        a[i / 32][i % 32] = (signed char)random_word();
    for (int i = 0; i < 256; i++)
        b[i / 32][i % 32] = (signed char)random_word();
    uint64_t da = device_array(a, sizeof a), db = device_array(b, sizeof b),
             dd = device_array(NULL, sizeof d);
    int rounds = 2000;
    void *arguments[] = {&da, &db, &dd, &rounds};
    handle f = kernel("basic", "matrices");
    double start = seconds();
    cr_assert_eq(cu.launch(f, BLOCKS, 1, 1, 32, 1, 1, 0, NULL, arguments, NULL), 0);
    printf("mma.sync: %.0f MMAC/s\n", BLOCKS * rounds * 4096.0 / (seconds() - start) / 1e6);
    cr_assert_eq(cu.download(d, dd, sizeof d), 0);
    for (int i = 0; i < BLOCKS * 128; i++) {
        int sum = 0, row = i / 8 % 16, column = i % 8;
        for (int k = 0; k < 32; k++)
            sum += a[row][k] * b[column][k];
        cr_assert_eq(d[i / 128][row][column], (int)((uint32_t)sum * (uint32_t)rounds), "element %d", i);
    }
}

Test(softcuda, speed_of_dots)
{
    open_driver();
    static int a[2048];
    uint64_t da = device_array(a, sizeof a), dout = device_array(NULL, sizeof a);
    int rounds = 2000;
    void *arguments[] = {&da, &dout, &rounds};
    handle f = kernel("basic", "dots");
    double start = seconds();
    cr_assert_eq(cu.launch(f, 8, 1, 1, 256, 1, 1, 0, NULL, arguments, NULL), 0);
    printf("dp4a: %.0f MMAC/s\n", 2048.0 * rounds * 4 / (seconds() - start) / 1e6);
}

// Error 0: nothing; 700: illegal address; 716: misaligned; 719: launch failed.
static void planted(const char *name, int error)
{
    setenv("SOFTCUDA_CHECK", "1", 1);
    open_driver();
    handle f = kernel("faults", name);
    uint64_t out = device_array(NULL, 64 * 4);
    for (int fault = 0; fault < 2; fault++) {
        void *arguments[] = {&out, &fault};
        int got = cu.launch(f, 1, 1, 1, 64, 1, 1, 0, NULL, arguments, NULL);
        cr_assert_eq(got, fault ? error : 0, "%s, fault %d: error %d", name, fault, got);
        cr_assert_eq(cu.synchronize(), fault ? error : 0, "the error does not stick");
    }
}
#define PLANTED(name, error)                                                                                 \
    Test(softcuda_faults, name)                                                                              \
    {                                                                                                        \
        planted(#name, error);                                                                               \
    }
PLANTED(missing_barrier, 719)
PLANTED(overwrites_too_early, 719)
PLANTED(beyond_the_end, 700)
PLANTED(beyond_shared, 700)
PLANTED(misaligned, 716)
PLANTED(uninitialised, 719)
PLANTED(unwaited_copy, 719)
PLANTED(divergent_barrier, 719)
PLANTED(wrong_mask, 719)
PLANTED(missing_warp_barrier, 719)

Test(softcuda_faults, too_many_threads_and_too_much_shared)
{
    open_driver();
    handle f = kernel("faults", "beyond_the_end");
    uint64_t out = device_array(NULL, 64 * 4);
    int fault = 0;
    void *arguments[] = {&out, &fault};
    cr_assert_eq(cu.launch(f, 1, 1, 1, 1025, 1, 1, 0, NULL, arguments, NULL), 1);
    cr_assert_eq(cu.launch(f, 1, 1, 1, 64, 1, 1, 48 * 1024 + 1, NULL, arguments, NULL), 1);
    cr_assert_eq(cu.launch(f, 1, 1, 1, 64, 1, 1, 48 * 1024, NULL, arguments, NULL), 0);
}

Test(softcuda_faults, host_reads_before_its_sync)
{
    setenv("SOFTCUDA_STREAMS", "lazy", 1);
    open_driver();
    int value = 5;
    uint64_t p = device_array(NULL, 4);
    cr_assert_eq(cu.download_async(&value, p, 4, NULL), 0);
    cr_assert_eq(value, 5, "a lazy copy must not have happened yet");
    cr_assert_eq(cu.synchronize(), 0);
    cr_assert_eq(value, 0);
}

Test(softcuda, graph_reads_memory_at_replay)
{
    open_driver();
    int value = 1, n = 1;
    handle stream, graph, exec;
    uint64_t da = device_array(&value, 4), dsum = device_array(NULL, 4);
    void *arguments[] = {&da, &dsum, &n};
    handle f = kernel("basic", "reduce");
    cr_assert_eq(cu.stream(&stream, 1), 0);
    cr_assert_eq(cu.begin(stream, 0), 0);
    cr_assert_eq(cu.launch(f, 1, 1, 1, 32, 1, 1, 0, stream, arguments, NULL), 0);
    cr_assert_eq(cu.end(stream, &graph), 0);
    cr_assert_eq(cu.instantiate(&exec, graph, 0), 0);
    int expected[] = {0, 3, 10};
    for (int i = 0, sum; i < 3; i++) {
        cr_assert_eq(cu.download(&sum, dsum, 4), 0);
        cr_assert_eq(sum, expected[i]);
        value = 3 + 4 * i;
        cr_assert_eq(cu.upload(da, &value, 4), 0);
        cr_assert_eq(cu.replay(exec, stream), 0);
    }
}

/* ---- what the environment says ---- */

static int init_with(const char *variable, const char *value)
{
    setenv(variable, value, 1);
    int result = cu.init(0);
    unsetenv(variable);
    return result;
}

Test(softcuda, refuses_settings_that_it_does_not_know)
{
    enum { INVALID_VALUE = 1, NO_DEVICE = 100 };
    static const char *const wrong[][2] = {{"SOFTCUDA_STREAMS", "random"}, {"SOFTCUDA_ARCH", "85"},
                                           {"SOFTCUDA_ARCH", "sm_80"},     {"SOFTCUDA_CHECK", "2"},
                                           {"SOFTCUDA_MEMORY", "1G"},      {"SOFTCUDA_DEVICES", "-1"}};
    static const struct {
        const char *list;
        int result;
    } visible[] = {{"", NO_DEVICE}, {"0", 0}, {"0,1", 0}, {"1", 0}, {"2,0", NO_DEVICE}, {"x", NO_DEVICE}};
    open_driver();
    for (size_t i = 0; i < sizeof wrong / sizeof wrong[0]; i++)
        cr_expect_eq(init_with(wrong[i][0], wrong[i][1]), INVALID_VALUE, "%s=%s", wrong[i][0], wrong[i][1]);
    cr_expect_eq(init_with("SOFTCUDA_STREAMS", "eager"), 0);
    setenv("SOFTCUDA_DEVICES", "2", 1);
    for (size_t i = 0; i < sizeof visible / sizeof visible[0]; i++)
        cr_expect_eq(init_with("CUDA_VISIBLE_DEVICES", visible[i].list), visible[i].result, "'%s'",
                     visible[i].list);
}

#else

Test(softcuda, not_built)
{
    cr_skip_test("softcuda: no nvcc or no libzstd-dev");
}

#endif
