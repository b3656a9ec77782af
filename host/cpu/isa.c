/* What processor this is and which of its instruction sets the variants may use. */
#include "host/cpu/cpu.h"

#include <stdio.h>
#if ST_CPU_X86
#include <cpuid.h>
#elif ST_CPU_ARM
#include <asm/hwcap.h>
#include <sys/auxv.h>
#endif

#if ST_CPU_X86

static bool has_f16c(void)
{
    unsigned a, b, c, d;
    return __get_cpuid(1, &a, &b, &c, &d) && (c & bit_F16C);
}

/* gcc 12 and clang 14 do not know the name of this one. */
static bool has_avxvnni(void)
{
    unsigned last, a, b, c, d; /* last: subleaf */
    return __get_cpuid_count(7, 0, &last, &b, &c, &d) && last >= 1 &&
           __get_cpuid_count(7, 1, &a, &b, &c, &d) && (a & 1u << 4);
}

/* __builtin_cpu_supports also asks whether the system saves the wide registers. */
unsigned st_cpu_isa(void)
{
    __builtin_cpu_init();
    if (!__builtin_cpu_supports("avx2") || !has_f16c())
        return 0;
    unsigned isa = ST_ISA_AVX2;
    if (has_avxvnni())
        isa |= ST_ISA_AVXVNNI;
    if (__builtin_cpu_supports("avx512f") && __builtin_cpu_supports("avx512bw") &&
        __builtin_cpu_supports("avx512vl") && __builtin_cpu_supports("avx512vnni"))
        isa |= ST_ISA_AVX512VNNI;
    if (__builtin_cpu_supports("avx512f") && __builtin_cpu_supports("avx512bw") &&
        __builtin_cpu_supports("avx512vl") && __builtin_cpu_supports("avx512dq"))
        isa |= ST_ISA_AVX512;
    return isa;
}

/* Of AMD's; on a Xeon of 2023 several streams with prefetches were faster. `sterna-bench ops --op linear -n 1
 * --variant all` shows both ways: on a Zen 4 one thread reads int8 heads at 22 GB/s in streams, 28 in order.
 */
bool st_cpu_reads_in_order(void)
{
    unsigned last, word[3];
    return __get_cpuid(0, &last, &word[0], &word[2], &word[1]) && memcmp(word, "AuthenticAMD", 12) == 0;
}

/* The brand string: 48 bytes in leaves 0x80000002 ... 4, padded with blanks on either side. */
static bool brand(char text[49])
{
    unsigned word[12];
    for (unsigned leaf = 0; leaf < 3; leaf++)
        if (!__get_cpuid(0x80000002u + leaf, &word[4 * leaf], &word[4 * leaf + 1], &word[4 * leaf + 2],
                         &word[4 * leaf + 3]))
            return false;
    memcpy(text, word, 48);
    text[48] = 0;
    for (size_t n = strlen(text); n > 0 && text[n - 1] == ' '; n--)
        text[n - 1] = 0;
    return true;
}
#else
#if ST_CPU_ARM
unsigned st_cpu_isa(void)
{
    unsigned long has = getauxval(AT_HWCAP);
    return !(has & HWCAP_ASIMD) ? 0u : has & HWCAP_ASIMDDP ? ST_ISA_NEON | ST_ISA_NEONDOT : ST_ISA_NEON;
}
#else
unsigned st_cpu_isa(void)
{
    return 0;
}
#endif

bool st_cpu_reads_in_order(void)
{
    return false;
}

static bool brand(char text[49])
{
    (void)text;
    return false;
}
#endif

void st_cpu_describe(char *name, size_t size)
{
    char text[49] = "";
    if (!brand(text))
        strcpy(text, "processor without a name");
    snprintf(name, size, "%s, %d cores", text + strspn(text, " "), st_physical_cores());
}

void st_cpu_isa_text(unsigned isa, char *text, size_t size)
{
    snprintf(text, size, "%s%s%s%s%s%s", isa & ST_ISA_AVX2 ? "avx2 f16c" : "",
             isa & ST_ISA_AVXVNNI ? " avx_vnni" : "", isa & ST_ISA_AVX512 ? " avx512" : "",
             isa & ST_ISA_AVX512VNNI ? " avx512_vnni" : "", isa & ST_ISA_NEON ? "neon" : "",
             isa & ST_ISA_NEONDOT ? " dotprod" : "");
}
