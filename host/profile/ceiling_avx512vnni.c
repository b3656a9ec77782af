/* Ceilings with AVX-512 and VNNI: 64 codes by 64 activations in one vpdpbusd, added in 32 bits. */
#include "host/profile/ceiling.h"

#if defined(__AVX512VNNI__) && defined(__AVX512F__)
#include <immintrin.h>

enum { AHEAD = 2048 }; /* bytes that prefetches are in front */

static uint64_t result_of(const __m512i *sum, int n)
{
    __m512i all = sum[0];
    for (int j = 1; j < n; j++)
        all = _mm512_xor_si512(all, sum[j]);
    return (uint64_t)_mm512_reduce_add_epi64(all);
}

static uint64_t read_in_order(const unsigned char *block)
{
    const __m512i *v = (const __m512i *)(const void *)block;
    __m512i sum[8];
    for (int j = 0; j < 8; j++)
        sum[j] = _mm512_setzero_si512();
    for (int i = 0; i < ST_CEILING_BLOCK / 64; i += 8)
        for (int j = 0; j < 8; j++)
            sum[j] = _mm512_xor_si512(sum[j], _mm512_load_si512(v + i + j));
    return result_of(sum, 8);
}

static uint64_t read_streams(const unsigned char *block)
{
    enum { PART = ST_CEILING_BLOCK / 64 / ST_CEILING_STREAM };
    const __m512i *v = (const __m512i *)(const void *)block;
    __m512i sum[2 * ST_CEILING_STREAM];
    for (int j = 0; j < 2 * ST_CEILING_STREAM; j++)
        sum[j] = _mm512_setzero_si512();
    for (int i = 0; i < PART; i += 2)
        for (int j = 0; j < 2 * ST_CEILING_STREAM; j++)
            sum[j] = _mm512_xor_si512(sum[j], _mm512_load_si512(v + j / 2 * PART + i + j % 2));
    return result_of(sum, 2 * ST_CEILING_STREAM);
}

static uint64_t read_prefetch(const unsigned char *block)
{
    const __m512i *v = (const __m512i *)(const void *)block;
    __m512i sum[8];
    for (int j = 0; j < 8; j++)
        sum[j] = _mm512_setzero_si512();
    for (int i = 0; i < ST_CEILING_BLOCK / 64; i += 8)
        for (int j = 0; j < 8; j++) {
            _mm_prefetch((const char *)(v + i + j) + AHEAD, _MM_HINT_T0);
            sum[j] = _mm512_xor_si512(sum[j], _mm512_load_si512(v + i + j));
        }
    return result_of(sum, 8);
}

static int32_t multiply(int32_t seed)
{
    enum { N = ST_CEILING_ACCUMULATORS };
    __m512i sum[N], codes = _mm512_set1_epi8((char)seed), q = _mm512_set1_epi8((char)(seed | 1));
    for (int j = 0; j < N; j++)
        sum[j] = _mm512_set1_epi32(j);
    for (int i = 0; i < ST_CEILING_MAC / 64 / N; i++)
        for (int j = 0; j < N; j++)
            sum[j] = _mm512_dpbusd_epi32(sum[j], codes, q);
    for (int j = 1; j < N; j++)
        sum[0] = _mm512_add_epi32(sum[0], sum[j]);
    return _mm_cvtsi128_si32(_mm512_castsi512_si128(sum[0])); /* as every lane */
}

static bool supported(void)
{
    __builtin_cpu_init();
    return __builtin_cpu_supports("avx512f") && __builtin_cpu_supports("avx512vnni");
}

const st_ceiling_loops st_ceiling_avx512vnni = {
    "avx512vnni", "avx512vnni", supported, {read_in_order, read_streams, read_prefetch}, multiply};
#else
const st_ceiling_loops st_ceiling_avx512vnni = {.name = "avx512vnni", .word = "avx512vnni"};
#endif
