// The software CUDA driver: instructions against the processor's results, and its settings.
#include <criterion/criterion.h>
#include <math.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#ifdef SOFTCUDA_LIBRARY

#include "tests/support/softcuda/driver.h"

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

Test(softcuda, functions_that_are_not_inlined)
{
    enum { N = 96 };
    open_driver();
    int a[N], out[N][2], index = 2;
    for (int i = 0; i < N; i++)
        a[i] = (int)(random_word() % 1000);
    uint64_t da = device_array(a, sizeof a), dout = device_array(NULL, sizeof out);
    void *arguments[] = {&da, &dout, &index};
    cr_assert_eq(cu.launch(kernel("basic", "functions"), 1, 1, 1, N, 1, 1, 0, NULL, arguments, NULL), 0);
    cr_assert_eq(cu.download(out, dout, sizeof out), 0);
    for (int i = 0; i < N; i++) {
        int v = i % 3 ? 2 * a[i] + 1 : a[i], odd = v & 1;
        cr_expect_eq(out[i][0], v + (odd ? 2 * v : v) + 2 * (2 * v), "thread %d", i);
        cr_expect_eq(out[i][1], (i % 3 != 0) + odd, "thread %d", i);
    }
}

static const char *refused_text;
static void load_refused_text(void)
{
    handle module;
    cr_expect_eq(cu.load(&module, refused_text), 218); // CUDA_ERROR_INVALID_PTX
}

// Text is refused with the name of what it needs.
static bool is_refused(const char *text, const char *reason)
{
    char line[400];
    refused_text = text;
    capture_stderr(load_refused_text, line, sizeof line);
    return strstr(line, reason);
}

Test(softcuda, refuses_what_it_cannot_run)
{
    open_driver();
#define HEADER ".version 9.0\n.target sm_80\n.address_size 64\n"
    cr_expect(is_refused(HEADER ".func f()\n{\ncall.uni f, ();\nret;\n}\n"
                                ".visible .entry k()\n{\ncall.uni f, ();\nret;\n}\n",
                         "'f' calls itself"));
    cr_expect(is_refused(HEADER ".extern .func g();\n.visible .entry k()\n{\ncall.uni g, ();\nret;\n}\n",
                         "'g', which has no body"));
    cr_expect(is_refused(HEADER ".visible .entry k()\n{\nwgmma.fence.sync.aligned;\nret;\n}\n", "wgmma"));
    cr_expect(is_refused(HEADER ".visible .entry k()\n{\nbar.sync.once 0;\nret;\n}\n", ".once"));
}

static double exact_value(int function, double a)
{
    switch (function) {
    case 0:
        return 1 / a;
    case 1:
        return sqrt(a);
    case 2:
        return 1 / sqrt(a);
    case 3:
        return exp2(a);
    case 4:
        return log2(a);
    case 5:
        return sin(a);
    case 6:
        return cos(a);
    case 9:
        return -0.0; // a / -2^126.6, which the manual calls zero
    default:
        return a / 3;
    }
}

// The PTX manual's largest error of an approximation; that of ex2 is counted from the correctly rounded
// result.
static double largest_error(int function, double a, double exact)
{
    const double magnitude = fabs(exact), pi = acos(-1);
    int exponent;
    frexp(exact, &exponent);
    const double ulp = ldexp(1, exponent - 24);
    switch (function) {
    case 0: // rcp
        return ulp;
    case 1: // sqrt
        return magnitude * pow(2, -23);
    case 2: // rsqrt
        return magnitude * pow(2, -22.9);
    case 4: // lg2
        return a > 0.5 && a < 2 ? pow(2, -22) : magnitude * pow(2, -22);
    case 5: // sin, cos
    case 6:
        return fabs(a) <= 2 * pi ? pow(2, -20.5) : pow(2, -14.7);
    default: // ex2, div.full, div.approx
        return 2 * ulp;
    }
}

Test(softcuda, approximations)
{
    enum { N = 1000, FUNCTIONS = 10, EX2 = 3, ZERO = 9 };
    open_driver();
    static float a[N], out[3][FUNCTIONS][N];
    int n = N, others[FUNCTIONS] = {0};
    for (int i = 0; i < N; i++)
        a[i] = (0.001f + (float)(random_word() % 65536) * (3.1f / 65536)) * (i % 4 ? 1 : 32);
    uint64_t da = device_array(a, sizeof a), dout = device_array(NULL, sizeof out[0]);
    void *arguments[] = {&da, &dout, &n};
    handle f = kernel("basic", "approximations");
    static const char *const seeds[] = {"0", "7", "7"};
    for (int run = 0; run < 3; run++) {
        setenv("SOFTCUDA_APPROX", seeds[run], 1);
        cr_assert_eq(cu.launch(f, 8, 1, 1, 128, 1, 1, 0, NULL, arguments, NULL), 0);
        cr_assert_eq(cu.download(out[run], dout, sizeof out[0]), 0);
    }
    cr_expect_eq(memcmp(out[1], out[2], sizeof out[0]), 0, "one seed, two results");
    for (int k = 0; k < (int)FUNCTIONS; k++)
        for (int i = 0; i < N; i++) {
            const double exact = exact_value(k, (double)a[i]), error = largest_error(k, (double)a[i], exact);
            const double center = k == EX2 ? (double)(float)exact : exact;
            cr_assert(out[0][k][i] == (float)exact, "function %d of %a: %a", k, (double)a[i],
                      (double)out[0][k][i]);
            cr_assert(fabs((double)out[1][k][i] - center) <= error, "function %d of %a: %a", k, (double)a[i],
                      (double)out[1][k][i]);
            others[k] += out[0][k][i] != out[1][k][i];
        }
    for (int k = 0; k < ZERO; k++)
        cr_expect_gt(others[k], N / 20, "function %d differs %d times only", k, others[k]);
}

Test(softcuda, libraries)
{
    enum { NOT_FOUND = 500, INVALID_VALUE = 1 };
    int values[32], out[33] = {0}, n = 32, sum;
    handle library, as_kernel, function;
    open_driver();
    for (int i = 0; i < 32; i++)
        values[i] = 1 << (i % 16);
    uint64_t a = device_array(values, sizeof values), b = device_array(out, 4);
    void *arguments[] = {&a, &b, &n};
    cr_assert_eq(cu.load_library(&library, read_image("basic"), NULL, NULL, 0, NULL, NULL, 0), 0);
    cr_expect_eq(cu.library_kernel(&as_kernel, library, "absent"), NOT_FOUND);
    cr_assert_eq(cu.library_kernel(&as_kernel, library, "reduce"), 0);
    cr_assert_eq(cu.kernel_function(&function, as_kernel), 0);
    cr_assert_eq(cu.launch(function, 1, 1, 1, 32, 1, 1, 0, NULL, arguments, NULL), 0);
    cr_assert_eq(cu.launch(as_kernel, 1, 1, 1, 32, 1, 1, 0, NULL, arguments, NULL), 0);
    cr_assert_eq(cu.download(&sum, b, 4), 0);
    cr_expect_eq(sum, 4 * 0xffff);
    size_t offset, bytes;
    cr_assert_eq(cu.parameter(function, 2, &offset, &bytes), 0);
    cr_expect(offset == 16 && bytes == 4, "parameter n at %zu, %zu bytes", offset, bytes);
    cr_expect_eq(cu.parameter(function, 3, &offset, &bytes), INVALID_VALUE);
}

static void ask_for_an_unknown_entry(void)
{
    void *address;
    int status;
    cr_expect_eq(cu.address("cuTensorMapEncodeTiled", &address, 13000, 0, &status), 500);
    cr_expect_null(address);
    cr_expect_eq(cu.address("cuInit", &address, 13000, 0, &status), 0);
    cr_expect_not_null(address);
}

Test(softcuda, names_what_it_does_not_have)
{
    char text[200];
    open_driver();
    capture_stderr(ask_for_an_unknown_entry, text, sizeof text);
    cr_expect_str_eq(text, "softcuda: there is no cuTensorMapEncodeTiled\n");
}

static void release_context(void)
{
    cr_assert_eq(cu.release(0), 0);
}

// The line of JSON for one launch of one warp.
static void expect_statistics(const char *name, int stride, bool two_arrays, const char *expected)
{
    char text[2000];
    setenv("SOFTCUDA_STATS", "json", 1);
    open_driver();
    uint64_t in = device_array(NULL, 1 << 15), out = device_array(NULL, 1 << 15);
    void *arguments[] = {&in, two_arrays ? (void *)&out : (void *)&stride, &stride};
    cr_assert_eq(cu.launch(kernel("accesses", name), 1, 1, 1, 32, 1, 1, 4096, NULL, arguments, NULL), 0);
    capture_stderr(release_context, text, sizeof text);
    cr_expect(strstr(text, expected), "%s, stride %d: not %s but %s", name, stride, expected, text);
}

Test(softcuda_statistics, sectors)
{
    const char *words = "\"global_bytes\":256,\"global_sectors\":8,\"shared_wavefronts\":0";
    expect_statistics("global_words", 1, true, words);
    expect_statistics("global_words", 8, true, "\"global_bytes\":256,\"global_sectors\":64,");
    expect_statistics("global_words", 0, true, "\"global_bytes\":8,\"global_sectors\":2,");
    expect_statistics("global_words", 1, true, "\"ld.global\":1,");
}

Test(softcuda_statistics, wavefronts)
{
    expect_statistics("shared_words", 1, false, "\"shared_wavefronts\":2,\"shared_ideal\":2");
    expect_statistics("shared_words", 8, false, "\"shared_wavefronts\":16,\"shared_ideal\":2");
    expect_statistics("shared_words", 32, false, "\"shared_wavefronts\":64,\"shared_ideal\":2");
    expect_statistics("shared_words", 0, false, "\"shared_wavefronts\":2,\"shared_ideal\":2");
    // 16 bytes a lane take four wavefronts; rows of 128 bytes lie in the same four banks
    expect_statistics("matrix_rows", 16, false, "\"shared_wavefronts\":8,\"shared_ideal\":8");
    expect_statistics("matrix_rows", 128, false, "\"shared_wavefronts\":64,\"shared_ideal\":8");
    expect_statistics("matrices_abreast", 128, false, "\"shared_wavefronts\":64,\"shared_ideal\":8");
    expect_statistics("matrix_rows", 16, false, "\"ldmatrix.shared\":1,");
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
    static const char *const wrong[][2] = {{"SOFTCUDA_STREAMS", "often"}, {"SOFTCUDA_ARCH", "85"},
                                           {"SOFTCUDA_ARCH", "sm_80"},    {"SOFTCUDA_CHECK", "3"},
                                           {"SOFTCUDA_MEMORY", "1G"},     {"SOFTCUDA_DEVICES", "-1"}};
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
