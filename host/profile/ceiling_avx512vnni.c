/* Ceilings with AVX-512 and VNNI: 64 codes by 64 activations in one vpdpbusd, added in 32 bits. */
#include "host/profile/ceiling.h"

#if defined(__AVX512VNNI__) && defined(__AVX512F__)
#include <immintrin.h>

static uint64_t read_block(const unsigned char *block)
{
    const __m512i *v = (const __m512i *)(const void *)block;
    __m512i sum[8];
    for (int j = 0; j < 8; j++)
        sum[j] = _mm512_setzero_si512();
    for (int i = 0; i < ST_CEILING_BLOCK / 64; i += 8)
        for (int j = 0; j < 8; j++)
            sum[j] = _mm512_xor_si512(sum[j], _mm512_load_si512(v + i + j));
    for (int j = 1; j < 8; j++)
        sum[0] = _mm512_xor_si512(sum[0], sum[j]);
    return (uint64_t)_mm512_reduce_add_epi64(sum[0]);
}

static int32_t multiply(const unsigned char *codes, const int8_t *activations)
{
    const __m512i *v = (const __m512i *)(const void *)codes;
    __m512i sum[8];
    for (int j = 0; j < 8; j++)
        sum[j] = _mm512_setzero_si512();
    for (int r = 0; r < ST_CEILING_REPEAT; r++) {
        __m512i q = _mm512_load_si512((const __m512i *)(const void *)activations + r);
        for (int i = 0; i < ST_CEILING_CODES / 64; i += 8)
            for (int j = 0; j < 8; j++)
                sum[j] = _mm512_dpbusd_epi32(sum[j], _mm512_load_si512(v + i + j), q);
    }
    for (int j = 1; j < 8; j++)
        sum[0] = _mm512_add_epi32(sum[0], sum[j]);
    return _mm512_reduce_add_epi32(sum[0]);
}

static bool supported(void)
{
    __builtin_cpu_init();
    return __builtin_cpu_supports("avx512f") && __builtin_cpu_supports("avx512vnni");
}

const st_ceiling_loops st_ceiling_avx512vnni = {"avx512vnni", "vnni", supported, read_block, multiply};
#else
const st_ceiling_loops st_ceiling_avx512vnni = {"avx512vnni", "vnni", NULL, NULL, NULL};
#endif
