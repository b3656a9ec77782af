#if defined(__AVX2__)
#include "host/cpu/avx2.h"

/* One butterfly of stride 1, 2 or 4 within a register: `swapped` is x with partners exchanged, `second` marks
 * the elements that become a - b. */
static inline __m256 butterfly(__m256 x, __m256 swapped, __m256 second)
{
    return _mm256_blendv_ps(_mm256_add_ps(x, swapped), _mm256_sub_ps(swapped, x), second);
}

static inline __m256 mask_of(int a, int b, int c, int d, int e, int f, int g, int h)
{
    return _mm256_castsi256_ps(_mm256_setr_epi32(-a, -b, -c, -d, -e, -f, -g, -h));
}

static void hadamard(float *x, int64_t n, int32_t block)
{
    if (block < 8) {
        st_hadamard(x, n, block);
        return;
    }
    const __m256 norm = _mm256_set1_ps((float)(1.0 / sqrt((double)block)));
    const __m256 odd1 = mask_of(0, 1, 0, 1, 0, 1, 0, 1), odd2 = mask_of(0, 0, 1, 1, 0, 0, 1, 1),
                 odd4 = mask_of(0, 0, 0, 0, 1, 1, 1, 1);
    for (float *v = x; v < x + n; v += block) {
        for (int32_t i = 0; i < block; i += 8) {
            __m256 a = _mm256_loadu_ps(v + i);
            a = butterfly(a, _mm256_permute_ps(a, 0xb1), odd1);
            a = butterfly(a, _mm256_permute_ps(a, 0x4e), odd2);
            a = butterfly(a, _mm256_permute2f128_ps(a, a, 1), odd4);
            _mm256_storeu_ps(v + i, a);
        }
        for (int32_t stride = 8; stride < block; stride *= 2)
            for (int32_t base = 0; base < block; base += 2 * stride)
                for (int32_t i = base; i < base + stride; i += 8) {
                    __m256 a = _mm256_loadu_ps(v + i), b = _mm256_loadu_ps(v + i + stride);
                    _mm256_storeu_ps(v + i, _mm256_add_ps(a, b));
                    _mm256_storeu_ps(v + i + stride, _mm256_sub_ps(a, b));
                }
        for (int32_t i = 0; i < block; i += 8)
            _mm256_storeu_ps(v + i, _mm256_mul_ps(_mm256_loadu_ps(v + i), norm));
    }
}

static void normalise(float *y, const float *weight, int32_t n, float eps)
{
    st_avx2_scale_row(y, st_avx2_rms_factor(y, n, eps), weight, n, y);
}

/* Largest bit pattern of |x|, at least that of ST_QUANT_EPS: patterns of non-negative floats are ordered. */
static uint32_t largest(const float *x, int32_t n)
{
    uint32_t top = st_bits(ST_QUANT_EPS);
    __m256i most = _mm256_set1_epi32((int32_t)top);
    int32_t i = 0;
    for (; i + 8 <= n; i += 8)
        most = _mm256_max_epi32(most, _mm256_and_si256(st_avx2_load(x + i), _mm256_set1_epi32(INT32_MAX)));
    uint32_t part[8];
    _mm256_storeu_si256((__m256i *)(void *)part, most);
    for (int j = 0; j < 8; j++)
        top = part[j] > top ? part[j] : top;
    for (; i < n; i++) {
        uint32_t magnitude = st_bits(x[i]) & INT32_MAX;
        top = magnitude > top ? magnitude : top;
    }
    return top;
}

/* Eight codes as i32; what is not in [-127, 127] becomes 0. */
static inline __m256i codes(const float *x, __m256 factor)
{
    const __m256 limit = _mm256_set1_ps(127.0f);
    __m256 q = _mm256_mul_ps(_mm256_loadu_ps(x), factor);
    q = _mm256_round_ps(q, _MM_FROUND_TO_NEAREST_INT | _MM_FROUND_NO_EXC);
    q = _mm256_and_ps(q, _mm256_cmp_ps(st_avx2_abs(q), limit, _CMP_LE_OQ));
    return _mm256_cvttps_epi32(q);
}

/* st_quantise without the sum. Returns the scale. */
static float quantise(const float *x, int32_t n, int8_t *code)
{
    float a = st_float(largest(x, n)), factor = 127.0f / a;
    const __m256 f = _mm256_set1_ps(factor);
    const __m256i order = _mm256_setr_epi32(0, 4, 1, 5, 2, 6, 3, 7);
    int32_t i = 0;
    for (; i + 32 <= n; i += 32) {
        __m256i low = _mm256_packs_epi32(codes(x + i, f), codes(x + i + 8, f));
        __m256i high = _mm256_packs_epi32(codes(x + i + 16, f), codes(x + i + 24, f));
        __m256i all = _mm256_permutevar8x32_epi32(_mm256_packs_epi16(low, high), order);
        _mm256_storeu_si256((__m256i *)(void *)(code + i), all);
    }
    for (; i < n; i++) {
        float q = rintf(x[i] * factor);
        code[i] = q >= -127.0f && q <= 127.0f ? (int8_t)q : 0;
    }
    return a / 127.0f;
}

/* 128 is added to each code to make it unsigned, since vpsadbw adds unsigned bytes. */
static int32_t sum_codes(const int8_t *code, int32_t n)
{
    __m256i total = _mm256_setzero_si256();
    int32_t i = 0, sum = 0;
    for (; i + 32 <= n; i += 32) {
        __m256i biased = _mm256_xor_si256(st_avx2_load(code + i), _mm256_set1_epi8(-128));
        total = _mm256_add_epi64(total, _mm256_sad_epu8(biased, _mm256_setzero_si256()));
    }
    int64_t part[4];
    _mm256_storeu_si256((__m256i *)(void *)part, total);
    sum = (int32_t)(part[0] + part[1] + part[2] + part[3]) - 128 * i;
    for (; i < n; i++)
        sum += code[i];
    return sum;
}

const st_cpu_quant_loops st_cpu_quant_avx2 = {normalise, hadamard, quantise, sum_codes};

static void row(const st_cpu *cpu, const void *args, int32_t r, float *scratch)
{
    st_cpu_norm_quant_row(&st_cpu_quant_avx2, cpu, args, r, scratch);
}

void st_cpu_norm_quant_avx2(st_cpu *cpu, const void *args)
{
    const st_norm_quant_args *a = args;
    st_cpu_rows(cpu, st_cpu_row_count(cpu, a->rows), 2 * (int64_t)a->dst.cols, row, args);
}
#else
typedef int empty_translation_unit;
#endif
