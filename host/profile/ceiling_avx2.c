/* Ceilings with AVX2: 32 codes by 32 activations in one vpmaddubsw, added in 16 bits. */
#include "host/profile/ceiling.h"

#if defined(__AVX2__)
#include <immintrin.h>

static uint64_t read_block(const unsigned char *block)
{
    const __m256i *v = (const __m256i *)(const void *)block;
    __m256i sum[8];
    for (int j = 0; j < 8; j++)
        sum[j] = _mm256_setzero_si256();
    for (int i = 0; i < ST_CEILING_BLOCK / 32; i += 8)
        for (int j = 0; j < 8; j++)
            sum[j] = _mm256_xor_si256(sum[j], _mm256_load_si256(v + i + j));
    for (int j = 1; j < 8; j++)
        sum[0] = _mm256_xor_si256(sum[0], sum[j]);
    return (uint64_t)_mm256_extract_epi64(sum[0], 0) ^ (uint64_t)_mm256_extract_epi64(sum[0], 1) ^
           (uint64_t)_mm256_extract_epi64(sum[0], 2) ^ (uint64_t)_mm256_extract_epi64(sum[0], 3);
}

static int32_t multiply(const unsigned char *codes, const int8_t *activations)
{
    const __m256i *v = (const __m256i *)(const void *)codes;
    __m256i sum[8];
    for (int j = 0; j < 8; j++)
        sum[j] = _mm256_setzero_si256();
    for (int r = 0; r < ST_CEILING_REPEAT; r++) {
        __m256i q = _mm256_load_si256((const __m256i *)(const void *)activations + r);
        for (int i = 0; i < ST_CEILING_CODES / 32; i += 8)
            for (int j = 0; j < 8; j++)
                sum[j] = _mm256_add_epi16(sum[j], _mm256_maddubs_epi16(_mm256_load_si256(v + i + j), q));
    }
    for (int j = 1; j < 8; j++)
        sum[0] = _mm256_add_epi16(sum[0], sum[j]);
    return _mm256_extract_epi16(sum[0], 0) + _mm256_extract_epi16(sum[0], 15); /* all lanes are alike */
}

static bool supported(void)
{
    __builtin_cpu_init();
    return __builtin_cpu_supports("avx2");
}

const st_ceiling_loops st_ceiling_avx2 = {"avx2", "avx2", supported, read_block, multiply};
#else
const st_ceiling_loops st_ceiling_avx2 = {"avx2", "avx2", NULL, NULL, NULL};
#endif
