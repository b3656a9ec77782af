/* linear: TERNARY x int8 by vpmaddubsw on 256-bit registers: see linear_ternary.h. */
#if defined(__AVX2__)
#include "host/cpu/avx2.h"

#define ST_LINEAR_ROWS 4 /* 8 sums, 2 vectors of codes and 2 of decoded codes, 4 more */
/* vpmaddubsw saturates at 2^15: two products of 4 or 16 times a code fit, of 64 times do not. */
#define ST_LINEAR_CLASSES 2

typedef __m256i vec;
typedef __m256 real;

static inline vec vec_zero(void)
{
    return _mm256_setzero_si256();
}

static inline vec vec_load(const void *x)
{
    return _mm256_loadu_si256(x);
}

static inline void vec_store(void *to, vec x)
{
    _mm256_storeu_si256(to, x);
}

/* 4 bytes in every lane. */
static inline vec vec_spread(const void *x)
{
    int32_t word;
    memcpy(&word, x, sizeof word);
    return _mm256_set1_epi32(word);
}

static inline vec vec_spread_byte(char x)
{
    return _mm256_set1_epi8(x);
}

static inline vec vec_and(vec a, vec b)
{
    return _mm256_and_si256(a, b);
}

static inline vec vec_add(vec a, vec b)
{
    return _mm256_add_epi32(a, b);
}

static inline vec vec_sub(vec a, vec b)
{
    return _mm256_sub_epi32(a, b);
}

static inline vec vec_shift_right(vec x, int n)
{
    return _mm256_srli_epi32(x, n);
}

/* x / 2^n, which is exact. */
static inline vec vec_halve(vec x, int n)
{
    return _mm256_srai_epi32(x, n);
}

static inline vec vec_dot(vec sum, vec code, vec act)
{
    __m256i pairs = _mm256_maddubs_epi16(code, act); /* at most 2 * 12 * 128 */
    return _mm256_add_epi32(sum, _mm256_madd_epi16(pairs, _mm256_set1_epi16(1)));
}

static inline real real_zero(void)
{
    return _mm256_setzero_ps();
}

static inline real real_load(const float *x)
{
    return _mm256_loadu_ps(x);
}

static inline void real_store(float *to, real x)
{
    _mm256_storeu_ps(to, x);
}

static inline real real_spread(float x)
{
    return _mm256_set1_ps(x);
}

static inline real real_from(vec x)
{
    return _mm256_cvtepi32_ps(x);
}

static inline real real_add(real a, real b)
{
    return _mm256_add_ps(a, b);
}

static inline real real_mul(real a, real b)
{
    return _mm256_mul_ps(a, b);
}

/* Scales of half the rows of a tile. */
static inline real real_scales(const st_cpu_weight *w, int32_t tile, int32_t group, int part)
{
    return st_avx2_scales(w, tile, group, part);
}

#include "host/cpu/linear_ternary.h"

bool st_cpu_linear_avx2_takes(const st_cpu *cpu, const void *args)
{
    (void)cpu;
    return takes(args);
}

void st_cpu_linear_avx2(st_cpu *cpu, const void *args)
{
    run(cpu, args);
}

bool st_cpu_linear_avx2_order_takes(const st_cpu *cpu, const void *args)
{
    return takes_in_order(cpu, args);
}

void st_cpu_linear_avx2_order(st_cpu *cpu, const void *args)
{
    run_in_order(cpu, args);
}
#else
typedef int empty_translation_unit;
#endif
