/* linear: Q8 x int8 on 256-bit registers: see linear_q8_vec.h. |w| is unsigned and the activation takes the
 * sign of w, so that vpmaddubsw applies: a pair is at most 2 * 128 * 127 < 2^15. */
#if defined(__AVX2__)
#include "host/cpu/vec.h"

INLINE ivec weights(ivec w)
{
    return _mm256_abs_epi8(w);
}

INLINE ivec dot(ivec sum, ivec w, ivec magnitude, ivec act)
{
    ivec pairs = _mm256_maddubs_epi16(magnitude, _mm256_sign_epi8(act, w));
    return ivec_add(sum, _mm256_madd_epi16(pairs, _mm256_set1_epi16(1)));
}

INLINE ivec plain_sum(ivec isum, int32_t sum)
{
    (void)sum;
    return isum;
}

#include "host/cpu/linear_q8_vec.h"

bool st_cpu_linear_q8_avx2_takes(const st_cpu *cpu, const void *args)
{
    (void)cpu;
    return takes(args);
}

void st_cpu_linear_q8_avx2(st_cpu *cpu, const void *args)
{
    run(cpu, args);
}

bool st_cpu_linear_q8_avx2_order_takes(const st_cpu *cpu, const void *args)
{
    return takes_in_order(cpu, args);
}

void st_cpu_linear_q8_avx2_order(st_cpu *cpu, const void *args)
{
    run_in_order(cpu, args);
}
#else
typedef int empty_translation_unit;
#endif
