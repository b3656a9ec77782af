/* The float contract, exhaustively: every half, every float. With STERNA_TEST_QUICK=1 in the environment
 * (sanitizer builds) the loops over all 2^32 floats visit every 61st. */
#include "host/base/numerics.h"
#include "host/base/parallel.h"

#include <criterion/criterion.h>
#include <stdlib.h>

#if defined(__x86_64__)
#include <cpuid.h>
#include <immintrin.h>
#endif

#define TILE     (UINT64_C(1) << 20)
#define N_FLOATS (UINT64_C(1) << 32)

static uint32_t step(void)
{
    const char *quick = getenv("STERNA_TEST_QUICK");
    return quick && quick[0] == '1' ? 61 : 1;
}

/* Runs fn over all 32-bit patterns, in tiles, on two threads. */
static void for_all_floats(st_loop_fn fn, void *context)
{
    st_pool *pool = st_pool_create(2);
    cr_assert_not_null(pool);
    st_pool_loop(pool, (int64_t)N_FLOATS, (int64_t)TILE, fn, context);
    st_pool_destroy(pool);
}

/* Unit in the last place of f32 at a double that is a normal f32: 2^(exponent - 23). */
static double ulp(double x)
{
    uint64_t bits;
    memcpy(&bits, &x, sizeof bits);
    bits = (bits & UINT64_C(0x7ff0000000000000)) - (UINT64_C(23) << 52);
    memcpy(&x, &bits, sizeof x);
    return x;
}

/* ---- f16 ---- */

/* The value of a half by its definition; NaN for NaN. */
static double half_value(uint32_t h)
{
    int exponent = (int)(h >> 10 & 31), mantissa = (int)(h & 1023);
    double magnitude = exponent == 31 ? (mantissa ? (double)NAN : (double)INFINITY)
                       : exponent     ? ldexp(1024 + mantissa, exponent - 25)
                                      : ldexp(mantissa, -24);
    return h & 0x8000 ? -magnitude : magnitude;
}

Test(numerics, every_half_to_float)
{
    for (uint32_t h = 0; h < 65536; h++) {
        float got = st_f16_to_f32((uint16_t)h);
        double want = half_value(h);
        if (isnan(want))
            cr_assert_eq(st_bits(got), 0x7fc00000, "half %04x", h);
        else
            cr_assert((double)got == want && !signbit(got) == !signbit(want), "half %04x", h);
        if (!isnan(want))
            cr_assert_eq(st_f32_to_f16(got), h, "half %04x does not come back", h);
    }
}

Test(numerics, every_bf16_to_float)
{
    for (uint32_t h = 0; h < 65536; h++)
        cr_assert_eq(st_bits(st_bf16_to_f32((uint16_t)h)), h << 16);
}

/* The oracle walks over the halves: the floats that round to a positive half form an interval around it,
 * whose ends are the midpoints to its neighbours, and belong to it when its last bit is 0. */
Test(numerics, float_to_half_at_every_midpoint)
{
    for (uint32_t h = 0; h < 0x7c00; h++) {
        double next = h + 1 == 0x7c00 ? 65536 : half_value(h + 1); /* as if there were one more */
        float middle = (float)((half_value(h) + next) / 2);
        uint32_t even = h % 2 ? h + 1 : h;
        for (uint32_t sign = 0; sign < 2; sign++) {
            uint32_t top = sign << 31;
            cr_assert_eq(st_f32_to_f16(st_float(st_bits(middle) | top)), even | sign << 15,
                         "middle above %04x", h);
            cr_assert_eq(st_f32_to_f16(st_float((st_bits(middle) - 1) | top)), h | sign << 15, "below %04x",
                         h);
            cr_assert_eq(st_f32_to_f16(st_float((st_bits(middle) + 1) | top)), (h + 1) | sign << 15,
                         "above %04x", h);
        }
    }
}

static bool has_f16c(void)
{
#if defined(__x86_64__)
    unsigned a, b, c,
        d; /* clang 14 knows "avx" (with the system's support for its registers), but no "f16c" */
    return __builtin_cpu_supports("avx") && __get_cpuid(1, &a, &b, &c, &d) && (c & bit_F16C);
#else
    return false;
#endif
}

/* Never decreasing over the positive floats, odd, and NaN canonical: with the midpoints, this is all there
 * is. Where the processor can be asked about every float (below), a sample is enough here. */
static void half_is_monotone(void *context, int64_t first, int64_t count)
{
    int64_t *wrong = context;
    uint32_t stride = has_f16c() ? 61 : step();
    uint16_t last = 0;
    for (int64_t i = first; i < first + count; i += stride) {
        uint32_t u = (uint32_t)i;
        uint16_t got = st_f32_to_f16(st_float(u));
        bool ok;
        if ((u & 0x7fffffff) > 0x7f800000)
            ok = got == 0x7e00;
        else
            ok = (got & 0x7fff) >= last && got >> 15 == u >> 31 && (got & 0x7fff) <= 0x7c00;
        last = got == 0x7e00 ? 0 : (uint16_t)(got & 0x7fff);
        if (!ok)
            __atomic_store_n(wrong, i, __ATOMIC_RELAXED);
    }
}

Test(numerics, every_float_to_half)
{
    int64_t wrong = -1;
    for_all_floats(half_is_monotone, &wrong);
    cr_assert_eq(wrong, -1, "float %08x", (unsigned)wrong);
}

#if defined(__x86_64__)
__attribute__((target("avx,f16c"))) static void half_is_hardware(void *context, int64_t first, int64_t count)
{
    int64_t *wrong = context;
    int64_t stride = step() > 1 ? 8 * 61 : 8;
    for (int64_t i = first; i < first + count; i += stride) {
        float x[8];
        uint16_t want[8];
        for (uint32_t j = 0; j < 8; j++)
            x[j] = st_float((uint32_t)i + j);
        _mm_storeu_si128((__m128i *)(void *)want,
                         _mm256_cvtps_ph(_mm256_loadu_ps(x), _MM_FROUND_TO_NEAREST_INT));
        for (int j = 0; j < 8; j++)
            if (st_f32_to_f16(x[j]) != (isnan(x[j]) ? 0x7e00 : want[j]))
                __atomic_store_n(wrong, i + j, __ATOMIC_RELAXED);
    }
}
#endif

Test(numerics, every_float_to_half_as_the_processor_does)
{
    if (!has_f16c())
        cr_skip_test("numerics::every_float_to_half_as_the_processor_does: this processor has no F16C");
#if defined(__x86_64__)
    int64_t wrong = -1;
    for_all_floats(half_is_hardware, &wrong);
    cr_assert_eq(wrong, -1, "float %08x", (unsigned)wrong);
#endif
}

/* ---- exp and recip: maxima that the header states ---- */

typedef struct worst {
    double error[4096]; /* per tile */
    int64_t wrong;      /* a pattern that breaks a rule, or -1 */
} worst;

static double worst_of(const worst *w)
{
    double most = 0;
    for (int i = 0; i < 4096; i++)
        most = w->error[i] > most ? w->error[i] : most;
    return most;
}

static void exp_of_tile(void *context, int64_t first, int64_t count)
{
    worst *w = context;
    double most = 0;
    /* Below 2^-63 r * r underflows, which makes exp four times slower, and the result is 1: a sample. */
    uint32_t stride = (first & 0x7fffffff) < 0x20000000 ? 61 : step();
    float last = 0; /* of the floats in this tile, in the order of their magnitudes */
    for (int64_t i = first; i < first + count; i += stride) {
        float x = st_float((uint32_t)i), y = st_exp(x);
        bool ok = true;
        if (isnan(x)) {
            ok = st_bits(y) == 0x7fc00000;
        } else if (x < -40) {
            ok = st_bits(y) == 0;
        } else if (x > 88) {
            ok = y == st_exp(88);
        } else {
            /* The first of a tile is held against its neighbour in the tile before. */
            if (i == first)
                last = first % (INT64_C(1) << 31) == 0 ? y : st_exp(st_float((uint32_t)i - 1));
            ok = signbit(x) ? y <= last : y >= last;
            last = y;
            /* 1 + x is exp(x) to 2^-51 there, and libm's exp takes most of the loop's time. */
            double want = fabsf(x) < 0x1p-25f ? 1 + (double)x : exp((double)x),
                   error = fabs((double)y - want) / ulp(want);
            most = error > most ? error : most;
        }
        if (!ok)
            __atomic_store_n(&w->wrong, i, __ATOMIC_RELAXED);
    }
    w->error[(uint64_t)first / TILE] = most;
}

Test(numerics, every_exp)
{
    static worst w = {.wrong = -1};
    for_all_floats(exp_of_tile, &w);
    cr_assert_eq(w.wrong, -1, "exp of float %08x", (unsigned)w.wrong);
    cr_assert(worst_of(&w) <= 1.06, "exp: %.4f ulp", worst_of(&w));
    cr_assert(step() > 1 || worst_of(&w) > 1.05, "the header states more than exp's %.4f ulp", worst_of(&w));
    cr_assert_eq(st_exp(0), 1);
    cr_assert_eq(st_exp(-0.0f), 1);
}

/* 1/x of the floats in [1, 2). */
static float *recip_of_mantissa;

/* Powers of two and signs pass through recip exactly. */
static void recip_of_tile(void *context, int64_t first, int64_t count)
{
    int64_t *wrong = context;
    uint32_t stride = step();
    for (int64_t i = first; i < first + count; i += stride) {
        uint32_t u = (uint32_t)i, exponent = u >> 23 & 0xff;
        if (exponent < 127 - 100 || exponent > 127 + 100 || (exponent == 227 && (u & 0x7fffff)))
            continue;
        uint32_t want = st_bits(recip_of_mantissa[u & 0x7fffff]) - ((exponent - 127) << 23);
        if (st_bits(st_recip(st_float(u))) != (want | (u & 0x80000000)))
            __atomic_store_n(wrong, i, __ATOMIC_RELAXED);
    }
}

Test(numerics, every_recip)
{
    const uint32_t one = 0x3f800000, n = 1 << 23;
    recip_of_mantissa = malloc(n * sizeof *recip_of_mantissa);
    cr_assert_not_null(recip_of_mantissa);
    double most = 0;
    for (uint32_t m = 0; m < n; m++) {
        float x = st_float(one + m), y = st_recip(x);
        double want = 1 / (double)x;
        most = fmax(most, fabs((double)y - want) / ulp(want));
        cr_assert(m == 0 || y <= recip_of_mantissa[m - 1], "recip rises at %a", (double)x);
        recip_of_mantissa[m] = y;
    }
    cr_assert_eq(recip_of_mantissa[0], 1);
    cr_assert(recip_of_mantissa[n - 1] >= 0.5f); /* so that it falls from one power of two to the next, too */
    cr_assert(most <= 0.998, "recip: %.4f ulp", most);
    cr_assert(most > 0.996, "the header states more than recip's %.4f ulp", most);
    int64_t wrong = -1;
    for_all_floats(recip_of_tile, &wrong);
    cr_assert_eq(wrong, -1, "recip of float %08x", (unsigned)wrong);
    cr_assert(isnan(st_recip(NAN)));
    free(recip_of_mantissa);
}

/* ---- functions made of them ---- */

static double sigmoid(double x)
{
    return 1 / (1 + exp(-x));
}

static double gelu(double x)
{
    return 0.5 * x * (1 + tanh(0.7978845608028654 * (x + 0.044715 * x * x * x)));
}

/* Every 509th pattern, which is a prime: all exponents, both signs, changing last bits. */
Test(numerics, activations_of_dense_samples)
{
    double relative = 0, tanh_error = 0, silu_error = 0, gelu_error = 0;
    for (uint64_t i = 0; i < N_FLOATS; i += 509) {
        float x = st_float((uint32_t)i);
        if (!isfinite(x))
            continue;
        double d = (double)x, s = sigmoid(d);
        double got = (double)st_sigmoid(x);
        if (d >= -40)
            relative = fmax(relative, fabs(got - s) / ulp(s));
        else
            cr_assert_eq(got, 0);
        tanh_error = fmax(tanh_error, fabs((double)st_tanh(x) - tanh(d)));
        if (d >= -40 && fabs(d) > 1e-30)
            silu_error = fmax(silu_error, fabs((double)st_silu(x) - d * s) / ulp(d * s));
        if (fabs(d) < 1e12)
            gelu_error = fmax(gelu_error, fabs((double)st_gelu(x) - gelu(d)) / fmax(fabs(d), 1e-30));
        float m = x > 0 ? x : 0;
        cr_assert_eq(st_relu2(x), m * m);
        cr_assert_eq(st_bits(st_activate(ST_ACT_SILU, x)), st_bits(st_silu(x)));
        cr_assert_eq(st_bits(st_activate(ST_ACT_GELU, x)), st_bits(st_gelu(x)));
        cr_assert_eq(st_bits(st_activate(ST_ACT_RELU2, x)), st_bits(st_relu2(x)));
    }
    cr_assert(relative <= 2.8, "sigmoid: %.4f ulp", relative);
    cr_assert(tanh_error <= 0x1p-23, "tanh: %.4g", tanh_error);
    cr_assert(silu_error <= 3.3, "silu: %.4f ulp", silu_error);
    cr_assert(gelu_error <= 1.3e-7, "gelu: %.4g |x|", gelu_error);
}

/* The signs of zero, infinities and NaN, by hand. */
Test(numerics, activations_at_the_ends)
{
    cr_assert(st_sigmoid(0) == 0.5f && st_sigmoid(INFINITY) == 1 && st_bits(st_sigmoid(-INFINITY)) == 0);
    cr_assert(st_tanh(0) == 0 && st_tanh(INFINITY) == 1 && st_tanh(-INFINITY) == -1);
    cr_assert(st_silu(0) == 0 && st_silu(INFINITY) == INFINITY && st_silu(-50) == 0);
    cr_assert(st_gelu(0) == 0 && st_gelu(INFINITY) == INFINITY && st_gelu(-10) == 0);
    cr_assert(st_relu2(-3) == 0 && st_relu2(3) == 9 && st_relu2(-INFINITY) == 0 &&
              st_relu2(INFINITY) == INFINITY);
    cr_assert(isnan(st_sigmoid(NAN)) && isnan(st_tanh(NAN)) && isnan(st_silu(NAN)) && isnan(st_gelu(NAN)));
    cr_assert(isnan(st_relu2(NAN)) && isnan(st_relu2(-NAN)));
    cr_assert(st_exp(88) < INFINITY && st_exp(INFINITY) == st_exp(88) && st_bits(st_exp(-INFINITY)) == 0);
}

/* ---- sums in lanes ---- */

#define TWO24 16777216.0f /* adding 1 is a tie that returns to it; adding 2 is not */

/* An independent statement of the order: lane j of R is the sum of elements j, j + R ...; the lanes are the
 * leaves of a tree in which lane j meets lane j + s first for the greatest s. */
static float tree(const float *lane, int first, int stride, int r)
{
    if (stride == r)
        return lane[first];
    volatile float a = tree(lane, first, stride * 2, r), b = tree(lane, first + stride, stride * 2, r);
    return a + b;
}

Test(numerics, lanes_fold_as_a_tree)
{
    uint32_t seed = 1;
    int differ = 0; /* from the sum left to right */
    for (int round = 0; round < 50; round++) {
        float lane[ST_LANES], copy[ST_LANES], serial = 0;
        for (int j = 0; j < ST_LANES; j++) {
            seed = seed * 1664525u + 1013904223u;
            copy[j] = lane[j] = st_float((seed >> 9 & 0x3fffff) | 0x3f800000) * (seed & 64 ? -1 : 1);
        }
        for (int j = 0; j < ST_LANES_QK; j++)
            serial += copy[j];
        cr_assert_eq(st_fold_lanes(lane), tree(copy, 0, 1, ST_LANES));
        memcpy(lane, copy, sizeof copy);
        float folded = st_fold_lanes_qk(lane);
        cr_assert_eq(folded, tree(copy, 0, 1, ST_LANES_QK));
        differ += folded != serial;
    }
    cr_assert_gt(differ, 0);
}

Test(numerics, squares_by_lanes)
{
    float x[600] = {[0] = 4096, [256] = 1, [512] = 1}; /* one lane: 2^24 + 1 + 1, each lost */
    cr_assert_eq(st_sum_squares(x, 600), TWO24);
    x[512] = 0, x[256] = 0, x[1] = 1, x[257] = 1; /* 1 + 1 in lane 1 */
    cr_assert_eq(st_sum_squares(x, 600), TWO24 + 2);
    x[257] = 0, x[129] = 1; /* lanes 1 and 129 meet in the first step */
    cr_assert_eq(st_sum_squares(x, 600), TWO24 + 2);
    x[129] = 0, x[128] = 1; /* lane 128 meets lane 0 alone, and lane 1 comes last, alone as well */
    cr_assert_eq(st_sum_squares(x, 600), TWO24);
    cr_assert_eq(st_sum_squares(x, 257), TWO24);
    cr_assert_eq(st_bits(st_sum_squares(x, 0)), 0);
    const float u =
        1 + 0x1p-12f; /* u * u = 1 + 2^-11 + 2^-24: a tie that drops 2^-24 unless kept by an fma */
    float y[512] = {[0] = 0x1p-12f, [256] = u};
    cr_assert_eq(st_sum_squares(y, 512), 1 + 0x1p-11f); /* again a tie; exactly it is 1 + 2^-11 + 2^-23 */
}

Test(numerics, dot_by_16_lanes)
{
    float a[40] = {[0] = TWO24, [16] = 1, [32] = 1}, b[40];
    for (int i = 0; i < 40; i++)
        b[i] = 1;
    cr_assert_eq(st_dot_qk(a, b, 40), TWO24);
    a[16] = 0, a[32] = 0, a[3] = 1, a[35] = 1;
    cr_assert_eq(st_dot_qk(a, b, 40), TWO24 + 2);
    a[35] = 0, a[11] = 1; /* lanes 3 and 11 meet first */
    cr_assert_eq(st_dot_qk(a, b, 40), TWO24 + 2);
    a[11] = 0, a[8] = 1; /* lane 8 meets lane 0 alone */
    cr_assert_eq(st_dot_qk(a, b, 40), TWO24);
    cr_assert_eq(st_dot_qk((const float[]){-1}, (const float[]){0}, 1), 0);
    const float u = 1 + 0x1p-23f; /* u * u loses 2^-46 before the sum: no fma */
    cr_assert_eq(
        st_dot_qk((const float[17]){[0] = 1 + 0x1p-22f, [16] = u}, (const float[17]){[0] = -1, [16] = u}, 17),
        0);
}

Test(numerics, rms_factor_by_hand)
{
    const float x[4] = {3, 3, 3, 3};
    cr_assert_eq(st_rms_factor(x, 4, 7), 0.25f); /* 1 / sqrt(9 + 7) */
    cr_assert_eq(st_rms_factor(x, 4, 0), 1.0f / 3.0f);
    cr_assert_eq(st_rms_factor((const float[]){0}, 1, 0.0625f), 4);
}

/* ---- quantiser ---- */

Test(numerics, quantiser_ties_to_even)
{
    const float x[8] = {127, 0.5f, 1.5f, 2.5f, -0.5f, -1.5f, -2.5f, -126.5f};
    const int8_t want[8] = {127, 0, 2, 2, 0, -2, -2, -126};
    int8_t code[8];
    st_quantised q = st_quantise(x, 8, code);
    cr_assert_arr_eq(code, want, 8);
    cr_assert_eq(q.scale, 1);
    cr_assert_eq(q.sum, 127 + 2 + 2 - 2 - 2 - 126);
}

/* x * (127 / a), with two roundings; x / a * 127 falls on the other side of a tie now and then. */
Test(numerics, quantiser_multiplies_by_one_factor)
{
    uint32_t seed = 3;
    int differ = 0;
    for (int round = 0; round < 400000; round++) {
        seed = seed * 1664525u + 1013904223u;
        float a = st_float((seed >> 9) | 0x3f800000);
        volatile float factor = 127.0f / a;
        float x = ((float)(seed % 127) + 0.5f) / factor; /* close to a tie */
        if (x > a)
            continue;
        volatile float product = x * factor, quotient = x / a;
        quotient = quotient * 127.0f;
        int8_t code[2];
        st_quantise((const float[]){x, a}, 2, code);
        cr_assert_eq(code[0], (int)rintf(product), "%a of %a", (double)x, (double)a);
        differ += rintf(product) != rintf(quotient);
    }
    cr_assert_gt(differ, 0);
}

Test(numerics, quantiser_reaches_127_and_no_more)
{
    uint32_t seed = 5;
    for (int round = 0; round < 200000; round++) {
        seed = seed * 1664525u + 1013904223u;
        float a = st_float(seed & 0x7fffffff); /* any exponent */
        if (!(a >= 1e-5f && a < 0x1p127f))
            continue;
        const float x[3] = {a, -a, 0};
        int8_t code[3];
        st_quantised q = st_quantise(x, 3, code);
        cr_assert(code[0] == 127 && code[1] == -127 && code[2] == 0, "%a", (double)a);
        cr_assert(fabs((double)q.scale * 127 - (double)a) <= (double)a * 0x1p-23 && q.sum == 0);
    }
}

Test(numerics, quantiser_floor_of_the_maximum)
{
    int8_t code[2];
    st_quantised q = st_quantise((const float[]){0, -0.0f}, 2, code);
    cr_assert(code[0] == 0 && code[1] == 0 && q.sum == 0);
    cr_assert_eq(q.scale, ST_QUANT_EPS / 127.0f);
    q = st_quantise((const float[]){5e-6f, -1e-12f}, 2, code); /* half of the floor: 63.5 to even */
    cr_assert(code[0] == 64 || code[0] == 63);
    cr_assert_eq(code[1], 0);
    cr_assert_eq(q.scale, ST_QUANT_EPS / 127.0f);
    q = st_quantise((const float[]){2e-5f}, 1, code);
    cr_assert(code[0] == 127 && q.scale == 2e-5f / 127.0f);
}

Test(numerics, quantiser_shows_nan_and_infinity)
{
    const float bad[4] = {NAN, -NAN, INFINITY, -INFINITY};
    for (int i = 0; i < 4; i++) {
        const float x[4] = {1, bad[i], -3e38f, 0};
        int8_t code[4] = {9, 9, 9, 9};
        st_quantised q = st_quantise(x, 4, code);
        cr_assert(i < 2 ? isnan(q.scale) : isinf(q.scale));
        cr_assert(code[0] == 0 && code[1] == 0 && code[2] == 0 && code[3] == 0 && q.sum == 0);
    }
}

/* ---- Hadamard ---- */

Test(numerics, hadamard_is_the_transform)
{
    for (int32_t block = 1; block <= 4096; block *= 2) {
        int32_t n = block < 2048 ? 2 * block : block;
        float *x = malloc((size_t)n * sizeof *x), *y = malloc((size_t)n * sizeof *y);
        cr_assert(x && y);
        uint32_t seed = (uint32_t)block;
        for (int32_t i = 0; i < n; i++) {
            seed = seed * 1664525u + 1013904223u;
            x[i] = y[i] = (float)(int)(seed >> 16 & 255) / 64 - 2;
        }
        st_hadamard(y, n, block);
        for (int32_t i = 0; i<n; i += block> 512 ? 7 : 1) {
            double want = 0;
            for (int32_t j = 0; j < block; j++)
                want += (__builtin_popcount((unsigned)(i % block & j)) & 1 ? -1 : 1) *
                        (double)x[i / block * block + j];
            want /= sqrt(block);
            cr_assert(fabs((double)y[i] - want) <= 2e-6 * (1 + fabs(want)),
                      "block %d, element %d: %.9g, not %.9g", block, i, (double)y[i], want);
        }
        st_hadamard(y, n, block); /* its own inverse */
        for (int32_t i = 0; i < n; i++)
            cr_assert(fabsf(y[i] - x[i]) <= 4e-6f);
        free(x);
        free(y);
    }
}

/* Strides grow: (2^24 + 1) is rounded before the rest is added. The factor of a block of 4 is exactly 1/2. */
Test(numerics, hadamard_strides_grow)
{
    float x[4] = {TWO24, 1, 1, 0};
    st_hadamard(x, 4, 4); /* stride 1: 2^24 + 1 -> 2^24, 1 + 0; stride 2: 2^24 + 1 -> 2^24 */
    cr_assert_eq(x[0], TWO24 / 2);
    float y[4] = {TWO24, 0, 1, 1};
    st_hadamard(y, 4, 4); /* stride 1: 2^24, 1 + 1; stride 2: 2^24 + 2 */
    cr_assert_eq(y[0], (TWO24 + 2) / 2);
}
