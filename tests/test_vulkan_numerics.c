/* The float contract in GLSL: vulkan/shaders/numerics.glsl on whatever Vulkan device there is against the
 * CPU's bits, on samples of all bit patterns and densely where a function has its borders. */
#include "host/base/numerics.h"
#include "tests/support/vulkan/runner.h"

#include <criterion/criterion.h>
#include <stdio.h>
#include <stdlib.h>

#define COUNT (1u << 19)

static const uint32_t shader[] = {
#include "numerics.spv.inc"
};

/* Which pairs a function is tried with, besides random ones. */
typedef enum domain {
    ANY,
    HALVES,   /* all of them */
    NEAR_ONE, /* exponents within 2^-16 ... 2^16: rounding is at stake, not range */
    SCALE,    /* x in (-1, 1), y = 127 / z: as the quantiser sees them */
} domain;

/* The product must round by itself; the compiler of the test is told so for the whole project. */
static float multiply_add(float x, float y)
{
    float product = x * y;
    return product + x;
}

static uint32_t quant_code(float x, float factor)
{
    float q = rintf(x * factor);
    return q >= -127.0f && q <= 127.0f ? (uint32_t)(int32_t)q : 0;
}

static float reference(int f, float x, float y)
{
    switch (f) {
    case 0:
        return st_exp(x);
    case 1:
        return st_recip(x);
    case 2:
        return st_sigmoid(x);
    case 3:
        return st_tanh(x);
    case 4:
        return st_silu(x);
    case 5:
        return st_gelu(x);
    case 6:
        return st_relu2(x);
    case 7:
        return st_f16_to_f32((uint16_t)st_bits(x));
    case 8:
        return st_bf16_to_f32((uint16_t)st_bits(x));
    case 9:
        return (float)(int32_t)st_bits(x);
    case 10:
        return x / y;
    case 11:
        return sqrtf(x);
    case 12:
        return 127.0f / x;
    case 13:
        return x / 127.0f;
    case 14:
        return x * y;
    case 15:
        return x + y;
    case 16:
        return x - y;
    case 17:
        return multiply_add(x, y);
    default:
        return 1.0f / sqrtf(x / 2560.0f + y);
    }
}

/* Number i stands for case i in numerics.comp. */
static const struct {
    const char *name;
    domain domain; /* of arguments */
} functions[] = {{"exp", ANY},          {"recip", ANY},         {"sigmoid", ANY},
                 {"tanh", ANY},         {"silu", ANY},          {"gelu", ANY},
                 {"relu2", ANY},        {"f16_to_f32", HALVES}, {"bf16_to_f32", HALVES},
                 {"i32_to_f32", ANY},   {"div", NEAR_ONE},      {"sqrt", NEAR_ONE},
                 {"quant_factor", ANY}, {"quant_scale", ANY},   {"mul", NEAR_ONE},
                 {"add", NEAR_ONE},     {"sub", NEAR_ONE},      {"mul and add", NEAR_ONE},
                 {"rms_factor", ANY},   {"f32_to_f16", ANY},    {"quant_code", SCALE}};

enum { MUL = 14 }; /* of these */

static uint64_t state = 1;

/* splitmix64 */
static uint32_t random_word(void)
{
    uint64_t x = state += UINT64_C(0x9e3779b97f4a7c15);
    x = (x ^ x >> 30) * UINT64_C(0xbf58476d1ce4e5b9);
    x = (x ^ x >> 27) * UINT64_C(0x94d049bb133111eb);
    return (uint32_t)(x >> 32);
}

/* A float with an exponent of 2^-16 ... 2^15. */
static uint32_t near_one(void)
{
    uint32_t u = random_word();
    return (u & 0x807fffff) | (111 + (u >> 23 & 31)) << 23;
}

/* Every 8192nd pattern with random low bits; in three of four cases of special domains pairs of those. */
static void sample(domain kind, uint32_t i, uint32_t *a, uint32_t *b)
{
    *a = i * (UINT32_MAX / COUNT + 1) + random_word() % (UINT32_MAX / COUNT + 1);
    *b = random_word();
    if (kind == HALVES)
        *a = i & 0xffff;
    else if (kind == NEAR_ONE && i % 4 != 0) {
        *a = near_one();
        *b = near_one();
    } else if (kind == SCALE && i % 4 != 0) {
        float z = st_float((near_one() & 0x7fffffff));
        *a = st_bits(z * ((float)(int32_t)random_word() * 0x1p-31f));
        *b = st_bits(127.0f / z);
    }
}

static bool is_nan(uint32_t bits)
{
    return (bits & 0x7fffffff) > 0x7f800000;
}

static uint32_t expected(int f, uint32_t a, uint32_t b)
{
    if (f == 19)
        return st_f32_to_f16(st_float(a));
    if (f == 20)
        return quant_code(st_float(a), st_float(b));
    return st_bits(reference(f, st_float(a), st_float(b)));
}

/* Whether the device takes subnormals for 0, which Vulkan allows where it has no shaderDenormPreserveFloat32.
 */
static bool flushes(runner *r)
{
    const uint32_t subnormal = 0x00400000, one = 0x3f800000;
    *runner_buffer(r, 0) = subnormal;
    *runner_buffer(r, 1) = one;
    runner_run(r, (const uint32_t[2]){MUL, 1}, 1);
    return *runner_buffer(r, 2) != subnormal;
}

/* Neither so small nor so large that a step of a function, or its square, meets subnormals: 0 or 2^-100 ...
 * 2^100. */
static bool is_moderate(uint32_t bits)
{
    uint32_t exponent = bits >> 23 & 0xff;
    return (bits & 0x7fffffff) == 0 || (exponent >= 127 - 100 && exponent < 127 + 100);
}

/* NaNs may differ in their bits where IEEE leaves them open. On a device that flushes, results may differ
 * where an argument or the result is not moderate; returns how many do. */
static uint32_t compare(runner *r, int f, bool flushed)
{
    uint32_t *a = runner_buffer(r, 0), *b = runner_buffer(r, 1), *c = runner_buffer(r, 2), differ = 0;
    for (uint32_t i = 0; i < COUNT; i++)
        sample(functions[f].domain, i, &a[i], &b[i]);
    runner_run(r, (const uint32_t[2]){(uint32_t)f, COUNT}, COUNT / 64);
    for (uint32_t i = 0; i < COUNT; i++) {
        uint32_t want = expected(f, a[i], b[i]);
        bool same = c[i] == want || (f < 19 && is_nan(want) && is_nan(c[i]));
        bool excused = flushed && !(is_moderate(a[i]) && is_moderate(b[i]) && is_moderate(want));
        cr_assert(same || excused, "%s of %08x and %08x: %08x, not %08x", functions[f].name, a[i], b[i], c[i],
                  want);
        differ += !same;
    }
    return differ;
}

/* How many float additions, subtractions and multiplications of a module may be contracted. */
static int contractible(const uint32_t *words, size_t count)
{
    enum { FADD = 129, FSUB = 131, FMUL = 133, DECORATE = 71, NO_CONTRACTION = 42, HEADER = 5 };
    bool *exact = calloc(words[3], sizeof *exact); /* words[3] is above all ids */
    cr_assert_not_null(exact);
    int found = 0;
    for (size_t at = HEADER; at < count; at += words[at] >> 16) {
        uint32_t opcode = words[at] & 0xffff;
        if (opcode == DECORATE && words[at + 2] == NO_CONTRACTION)
            exact[words[at + 1]] = true; /* decorations come before code */
        found += (opcode == FADD || opcode == FSUB || opcode == FMUL) && !exact[words[at + 2]];
    }
    free(exact);
    return found;
}

Test(vulkan_numerics, nothing_may_be_contracted)
{
    cr_assert_eq(contractible(shader, sizeof shader / sizeof shader[0]), 0);
}

Test(vulkan_numerics, same_bits_as_the_cpu)
{
    const char *why = NULL;
    runner *r = runner_open(shader, sizeof shader / sizeof shader[0], COUNT * sizeof(uint32_t), &why);
    if (!r) {
        const char *required = getenv("STERNA_REQUIRE_VULKAN");
        cr_assert(!required || required[0] != '1', "%s", why);
        cr_skip_test("%s", why);
    }
    bool flushed = flushes(r);
    for (int f = 0; f < (int)(sizeof functions / sizeof functions[0]); f++) {
        uint32_t differ = compare(r, f, flushed);
        if (differ > 0)
            fprintf(stderr, "subnormals are flushed: %u of %u results of %s differ\n", differ, COUNT,
                    functions[f].name);
    }
    runner_close(r);
}
