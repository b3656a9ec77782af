/* linear: TERNARY x int8 by vpdpbusd on 512-bit registers: see linear_ternary.h. */
#if defined(__AVX512VNNI__)
#include "host/cpu/simd.h"

#define ST_LINEAR_ROWS    12 /* 24 sums, 2 vectors of codes and 2 of decoded codes, a broadcast, a mask */
#define ST_LINEAR_CLASSES 4

typedef __m512i vec;
typedef __m512 real;

static inline vec vec_zero(void)
{
    return _mm512_setzero_si512();
}

static inline vec vec_load(const void *x)
{
    return _mm512_loadu_si512(x);
}

static inline void vec_store(void *to, vec x)
{
    _mm512_storeu_si512(to, x);
}

/* 4 bytes in every lane. */
static inline vec vec_spread(const void *x)
{
    int32_t word;
    memcpy(&word, x, sizeof word);
    return _mm512_set1_epi32(word);
}

static inline vec vec_spread_byte(char x)
{
    return _mm512_set1_epi8(x);
}

static inline vec vec_and(vec a, vec b)
{
    return _mm512_and_si512(a, b);
}

static inline vec vec_add(vec a, vec b)
{
    return _mm512_add_epi32(a, b);
}

static inline vec vec_sub(vec a, vec b)
{
    return _mm512_sub_epi32(a, b);
}

static inline vec vec_shift_right(vec x, int n)
{
    return _mm512_srli_epi32(x, (unsigned)n);
}

/* x / 2^n, which is exact. */
static inline vec vec_halve(vec x, int n)
{
    return _mm512_srai_epi32(x, (unsigned)n);
}

static inline vec vec_dot(vec sum, vec code, vec act)
{
    return dpbusd_512(sum, code, act);
}

static inline real real_zero(void)
{
    return _mm512_setzero_ps();
}

static inline real real_load(const float *x)
{
    return _mm512_loadu_ps(x);
}

static inline void real_store(float *to, real x)
{
    _mm512_storeu_ps(to, x);
}

static inline real real_spread(float x)
{
    return _mm512_set1_ps(x);
}

static inline real real_from(vec x)
{
    return _mm512_cvtepi32_ps(x);
}

static inline real real_add(real a, real b)
{
    return _mm512_add_ps(a, b);
}

static inline real real_mul(real a, real b)
{
    return _mm512_mul_ps(a, b);
}

/* Scales of the 16 rows of a tile. */
static inline real real_scales(const st_cpu_weight *w, int32_t tile, int32_t group, int part)
{
    (void)part;
    size_t at = ((size_t)tile * (size_t)w->n_group + (size_t)group) * ST_CPU_TILE;
    if (w->scale_type == ST_F32)
        return _mm512_loadu_ps((const float *)w->scale + at);
    __m256i stored = _mm256_loadu_si256((const __m256i *)(const void *)((const uint16_t *)w->scale + at));
    if (w->scale_type == ST_F16)
        return _mm512_cvtph_ps(stored);
    return _mm512_castsi512_ps(_mm512_slli_epi32(_mm512_cvtepu16_epi32(stored), 16));
}

#include "host/cpu/linear_ternary.h"

bool st_cpu_linear_avx512vnni_takes(const st_cpu *cpu, const void *args)
{
    (void)cpu;
    return takes(args);
}

void st_cpu_linear_avx512vnni(st_cpu *cpu, const void *args)
{
    run(cpu, args);
}

bool st_cpu_linear_avx512vnni_order_takes(const st_cpu *cpu, const void *args)
{
    return takes_in_order(cpu, args);
}

void st_cpu_linear_avx512vnni_order(st_cpu *cpu, const void *args)
{
    run_in_order(cpu, args);
}
#else
typedef int empty_translation_unit;
#endif
