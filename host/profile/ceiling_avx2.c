/* Ceilings with AVX2: 32 codes by 32 activations in one vpmaddubsw, added in 16 bits. */
#include "host/profile/ceiling.h"

#if defined(__AVX2__)
#include <immintrin.h>

enum { AHEAD = 2048 }; /* bytes that prefetches are in front */

static uint64_t result_of(const __m256i *sum, int n)
{
    __m256i all = sum[0];
    for (int j = 1; j < n; j++)
        all = _mm256_xor_si256(all, sum[j]);
    return (uint64_t)_mm256_extract_epi64(all, 0) ^ (uint64_t)_mm256_extract_epi64(all, 1) ^
           (uint64_t)_mm256_extract_epi64(all, 2) ^ (uint64_t)_mm256_extract_epi64(all, 3);
}

static uint64_t read_in_order(const unsigned char *block)
{
    const __m256i *v = (const __m256i *)(const void *)block;
    __m256i sum[8];
    for (int j = 0; j < 8; j++)
        sum[j] = _mm256_setzero_si256();
    for (int i = 0; i < ST_CEILING_BLOCK / 32; i += 8)
        for (int j = 0; j < 8; j++)
            sum[j] = _mm256_xor_si256(sum[j], _mm256_load_si256(v + i + j));
    return result_of(sum, 8);
}

static uint64_t read_streams(const unsigned char *block)
{
    enum { PART = ST_CEILING_BLOCK / 32 / ST_CEILING_STREAM };
    const __m256i *v = (const __m256i *)(const void *)block;
    __m256i sum[2 * ST_CEILING_STREAM];
    for (int j = 0; j < 2 * ST_CEILING_STREAM; j++)
        sum[j] = _mm256_setzero_si256();
    for (int i = 0; i < PART; i += 2)
        for (int j = 0; j < 2 * ST_CEILING_STREAM; j++)
            sum[j] = _mm256_xor_si256(sum[j], _mm256_load_si256(v + j / 2 * PART + i + j % 2));
    return result_of(sum, 2 * ST_CEILING_STREAM);
}

static uint64_t read_prefetch(const unsigned char *block)
{
    const __m256i *v = (const __m256i *)(const void *)block;
    __m256i sum[8];
    for (int j = 0; j < 8; j++)
        sum[j] = _mm256_setzero_si256();
    for (int i = 0; i < ST_CEILING_BLOCK / 32; i += 8)
        for (int j = 0; j < 8; j++) {
            if (j % 2 == 0)
                _mm_prefetch((const char *)(v + i + j) + AHEAD, _MM_HINT_T0);
            sum[j] = _mm256_xor_si256(sum[j], _mm256_load_si256(v + i + j));
        }
    return result_of(sum, 8);
}

/* Codes come from the first cache, in the load that multiplications can have for nothing; with all operands
 * in registers no loop of compilers at hand gets as far. */
static int32_t multiply(int32_t seed)
{
    enum { N = 8, VECTORS = 128, PASSES = ST_CEILING_MAC / 32 / VECTORS };
    __m256i codes[VECTORS], sum[N], q = _mm256_set1_epi8(1);
    for (int i = 0; i < VECTORS; i++)
        codes[i] = _mm256_set1_epi8((char)((seed + i) & 3));
    for (int j = 0; j < N; j++)
        sum[j] = _mm256_setzero_si256();
    for (int pass = 0; pass < PASSES; pass++) {
        for (int i = 0; i < VECTORS; i += N)
            for (int j = 0; j < N; j++)
                sum[j] = _mm256_add_epi16(sum[j], _mm256_maddubs_epi16(codes[i + j], q));
        q = _mm256_xor_si256(q, sum[0]); /* so that passes are not the same */
    }
    for (int j = 1; j < N; j++)
        sum[0] = _mm256_add_epi16(sum[0], sum[j]);
    return _mm256_extract_epi32(sum[0], 0);
}

static bool supported(void)
{
    __builtin_cpu_init();
    return __builtin_cpu_supports("avx2");
}

const st_ceiling_loops st_ceiling_avx2 = {
    "avx2", "avx2", supported, {read_in_order, read_streams, read_prefetch}, multiply};
#else
const st_ceiling_loops st_ceiling_avx2 = {.name = "avx2", .word = "avx2"};
#endif
