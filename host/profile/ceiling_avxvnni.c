/* Ceilings with AVX-VNNI, of processors without AVX-512: 32 codes by 32 activations in one vpdpbusd. They
 * read as with AVX2. */
#include "host/profile/ceiling.h"

#if defined(__AVXVNNI__)
#include <cpuid.h>
#include <immintrin.h>

static int32_t multiply(int32_t seed)
{
    enum { N = ST_CEILING_ACCUMULATORS };
    __m256i sum[N], codes = _mm256_set1_epi8((char)seed), q = _mm256_set1_epi8((char)(seed | 1));
    for (int j = 0; j < N; j++)
        sum[j] = _mm256_set1_epi32(j);
    for (int i = 0; i < ST_CEILING_MAC / 32 / N; i++)
        for (int j = 0; j < N; j++)
            sum[j] = _mm256_dpbusd_avx_epi32(sum[j], codes, q);
    for (int j = 1; j < N; j++)
        sum[0] = _mm256_add_epi32(sum[0], sum[j]);
    return _mm256_extract_epi32(sum[0], 0);
}

/* Compilers of the last years do not know the name of this one; AVX2 tells that registers are saved. */
static bool supported(void)
{
    unsigned a, b, c, d;
    __builtin_cpu_init();
    return __builtin_cpu_supports("avx2") && __get_cpuid_count(7, 1, &a, &b, &c, &d) && (a & 1u << 4);
}

const st_ceiling_loops st_ceiling_avxvnni = {"avxvnni", "avxvnni", supported, {NULL}, multiply};
#else
const st_ceiling_loops st_ceiling_avxvnni = {.name = "avxvnni", .word = "avxvnni"};
#endif
