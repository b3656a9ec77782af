/* linear: f32 input, weights stored row by row (F32, F16, BF16, Q8): one row of W by up to four rows of
 * input.
 *
 * The 256 lanes of a row are computed in groups that fit the registers: 64 lanes for one row of input, 16 for
 * four. Each group passes over the row of W in strides of 256 columns. One core reads some 12 GB/s this way
 * (fetching the next row ahead changed nothing), half of what TERNARY streams: a layout in the order of the
 * passes would be the next step. */
#if defined(__AVX2__)
#include "host/cpu/avx2.h"

enum { GROUP = 64 }; /* columns past the last multiple of this are done one by one */

/* Eight values from column k on; Q8 is multiplied by `scale`. */
ST_AVX2_INLINE __m256 values(const unsigned char *row, size_t k, const st_type type, __m256 scale)
{
    switch (type) {
    case ST_F16:
        return st_avx2_load_f16((const uint16_t *)(const void *)row + k);
    case ST_BF16:
        return st_avx2_load_bf16((const uint16_t *)(const void *)row + k);
    case ST_Q8: {
        __m128i bytes = _mm_loadl_epi64((const __m128i *)(const void *)(row + k));
        return _mm256_mul_ps(_mm256_cvtepi32_ps(_mm256_cvtepi8_epi32(bytes)), scale);
    }
    default:
        return _mm256_loadu_ps((const float *)(const void *)row + k);
    }
}

static float value(const st_cpu_weight *w, const unsigned char *row, int32_t r, size_t k)
{
    switch (w->base.type) {
    case ST_F16:
        return st_f16_to_f32(((const uint16_t *)(const void *)row)[k]);
    case ST_BF16:
        return st_bf16_to_f32(((const uint16_t *)(const void *)row)[k]);
    case ST_Q8:
        return (float)((const int8_t *)row)[k] *
               st_cpu_weight_scale(w, r, w->base.group ? (int32_t)k / w->base.group : 0);
    default:
        return ((const float *)(const void *)row)[k];
    }
}

/* Lanes first ... first + 8 n_vector - 1 for n_row rows of input; both are constants where this is inlined.
 */
ST_AVX2_INLINE void lanes(const st_cpu_linear *l, int32_t r, const unsigned char *row, const float *x,
                          size_t first, const int n_vector, const int n_row, const st_type type,
                          float lane[4][ST_LANES])
{
    const st_cpu_weight *w = l->weight;
    size_t cols = (size_t)w->base.cols;
    __m256 sum[4][8], row_scale = _mm256_setzero_ps();
    if (type == ST_Q8 && !w->base.group)
        row_scale = _mm256_set1_ps(st_cpu_weight_scale(w, r, 0));
    for (int t = 0; t < n_row; t++)
        for (int v = 0; v < n_vector; v++)
            sum[t][v] = _mm256_setzero_ps();
    size_t group = first / GROUP * GROUP; /* a group of 64 is either complete or left to the tail */
    for (size_t k = first; group + GROUP <= cols; k += ST_LANES, group += ST_LANES) {
        __m256 scale = row_scale;
        for (int v = 0; v < n_vector; v++) {
            if (type == ST_Q8 && w->base.group && v % 4 == 0) /* groups are at least 32 wide */
                scale = _mm256_set1_ps(
                    st_cpu_weight_scale(w, r, (int32_t)(k / 8 + (size_t)v) * 8 / w->base.group));
            __m256 value8 = values(row, k + 8 * (size_t)v, type, scale);
            for (int t = 0; t < n_row; t++) {
                __m256 in = _mm256_loadu_ps(x + (size_t)t * cols + k + 8 * (size_t)v);
                sum[t][v] = _mm256_add_ps(sum[t][v], _mm256_mul_ps(value8, in));
            }
        }
    }
    for (int t = 0; t < n_row; t++)
        for (int v = 0; v < n_vector; v++)
            _mm256_storeu_ps(lane[t] + first + 8 * (size_t)v, sum[t][v]);
}

ST_AVX2_INLINE void row_by(const st_cpu_linear *l, int32_t r, int32_t t, const int n_row, const st_type type)
{
    const st_cpu_weight *w = l->weight;
    size_t cols = (size_t)w->base.cols;
    const unsigned char *row = w->data + (size_t)r * w->row_bytes;
    const float *x = l->src + (size_t)t * cols;
    float lane[4][ST_LANES];
    for (size_t quarter = 0; quarter < 4; quarter++) {
        if (n_row == 1)
            lanes(l, r, row, x, quarter * GROUP, 8, 1, type, lane);
        else
            for (size_t part = 0; part < 4; part++)
                lanes(l, r, row, x, quarter * GROUP + 16 * part, 2, n_row, type, lane);
    }
    for (int i = 0; i < n_row; i++) {
        for (size_t k = cols / GROUP * GROUP; k < cols; k++)
            lane[i][k % ST_LANES] += value(w, row, r, k) * x[(size_t)i * cols + k];
        float y = st_avx2_fold(lane[i]);
        st_cpu_linear_store(l, t + i, r, 1, &y);
    }
}

ST_AVX2_INLINE void row_all(const st_cpu_linear *l, int32_t r, const st_type type)
{
    int32_t t = 0;
    for (; t + 4 <= l->n_row; t += 4)
        row_by(l, r, t, 4, type);
    for (; t < l->n_row; t++)
        row_by(l, r, t, 1, type);
}

static void rows(void *context, int64_t first, int64_t count)
{
    const st_cpu_linear *l = context;
    for (int32_t r = (int32_t)first; r < first + count; r++)
        switch (l->weight->base.type) {
        case ST_F16:
            row_all(l, r, ST_F16);
            break;
        case ST_BF16:
            row_all(l, r, ST_BF16);
            break;
        case ST_Q8:
            row_all(l, r, ST_Q8);
            break;
        default:
            row_all(l, r, ST_F32);
            break;
        }
}

bool st_cpu_linear_dense_avx2_takes(const st_cpu *cpu, const void *args)
{
    (void)cpu;
    const st_linear_args *a = args;
    return a->src && a->weight->type != ST_TERNARY;
}

void st_cpu_linear_dense_avx2(st_cpu *cpu, const void *args)
{
    st_cpu_linear l = st_cpu_linear_open(cpu, args);
    st_cpu_linear_loop(cpu, &l, l.weight->base.rows, rows, &l);
}
#else
typedef int empty_translation_unit;
#endif
