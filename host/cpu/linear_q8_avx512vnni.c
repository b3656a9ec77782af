/* linear: Q8 x int8 by vpdpbusd on 512-bit registers: see linear_q8_vec.h. The weights become unsigned by
 * adding 128, so that 128 times the sum of the activations comes off at the end. Sums may wrap around on the
 * way, for the result itself fits. */
#if defined(__AVX512VNNI__)
#include "host/cpu/vec.h"

INLINE ivec weights(ivec w)
{
    return ivec_xor(w, _mm512_set1_epi8(-128));
}

INLINE ivec dot(ivec sum, ivec w, ivec plus_128, ivec act)
{
    (void)w;
    return dpbusd_512(sum, plus_128, act);
}

INLINE ivec plain_sum(ivec isum, int32_t sum)
{
    return ivec_sub(isum, ivec_left(ivec_set(sum), 7));
}

#include "host/cpu/linear_q8_vec.h"

bool st_cpu_linear_q8_avx512vnni_takes(const st_cpu *cpu, const void *args)
{
    (void)cpu;
    return takes(args);
}

void st_cpu_linear_q8_avx512vnni(st_cpu *cpu, const void *args)
{
    run(cpu, args);
}

bool st_cpu_linear_q8_avx512vnni_order_takes(const st_cpu *cpu, const void *args)
{
    return takes_in_order(cpu, args);
}

void st_cpu_linear_q8_avx512vnni_order(st_cpu *cpu, const void *args)
{
    run_in_order(cpu, args);
}
#else
typedef int empty_translation_unit;
#endif
