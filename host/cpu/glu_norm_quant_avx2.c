#if defined(__AVX2__)
#include "host/cpu/avx2.h"

static inline __m256 activate(const st_act act, __m256 x)
{
    switch (act) {
    case ST_ACT_SILU:
        return st_avx2_silu(x);
    case ST_ACT_RELU2:
        return st_avx2_relu2(x);
    default:
        return st_avx2_gelu(x);
    }
}

static inline void gate_row(const st_act act, const float *gate, const float *up, int32_t n, float *h)
{
    int32_t i = 0;
    for (; i + 8 <= n; i += 8)
        _mm256_storeu_ps(h + i,
                         _mm256_mul_ps(activate(act, _mm256_loadu_ps(gate + i)), _mm256_loadu_ps(up + i)));
    for (; i < n; i++)
        h[i] = st_activate(act, gate[i]) * up[i];
}

static void row(const st_cpu *cpu, const void *args, int32_t r, float *scratch)
{
    const st_glu_norm_quant_args *a = args;
    if (st_cpu_source_row(cpu, ST_ROWS_TOKEN, r) < 0)
        return;
    int32_t n = a->dst.cols;
    const float *gate = (const float *)st_cpu_data(a->src) + (size_t)r * 2 * (size_t)n, *up = gate + n;
    switch (a->act) {
    case ST_ACT_SILU:
        gate_row(ST_ACT_SILU, gate, up, n, scratch);
        break;
    case ST_ACT_RELU2:
        gate_row(ST_ACT_RELU2, gate, up, n, scratch);
        break;
    case ST_ACT_GELU:
        gate_row(ST_ACT_GELU, gate, up, n, scratch);
        break;
    }
    st_cpu_quantiser z = {a->weight, a->eps, a->rotation, &a->dst};
    st_cpu_quantise_row(&st_cpu_quant_avx2, &z, scratch, r);
}

void st_cpu_glu_norm_quant_avx2(st_cpu *cpu, const void *args)
{
    const st_glu_norm_quant_args *a = args;
    st_cpu_rows(cpu, cpu->batch->n_token, 4 * (int64_t)a->dst.cols, row, args);
}
#else
typedef int empty_translation_unit;
#endif
