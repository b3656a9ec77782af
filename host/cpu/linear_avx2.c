/* linear: TERNARY x int8, 16 rows of W by up to four rows of activations.
 *
 * Codes stay unsigned: vpmaddubsw multiplies 4 bytes of 8 rows by 4 activations that are broadcast to every
 * 32-bit lane, and the sum of the activations is subtracted at the end. Pairs are added in 16 bits as long as
 * they cannot overflow: see GEMV_STEPS and GEMM_STEPS. */
#if defined(__AVX2__)
#include "host/cpu/avx2.h"

/* With n = 1 two of the four fields are used unshifted, as 4 * code: a step adds 2 * 2 * 8 * 127 = 4064 to a
 * 16-bit sum (6096 with code 3), so 8 (4) steps stay below 2^15. */
#define GEMV_STEPS(has_code3) ((has_code3) ? 4 : 8)
/* With more rows each step adds 4 * 2 * 2 * 127 = 2032 (3048): 16 (8) steps. */
#define GEMM_STEPS(has_code3) ((has_code3) ? 8 : 16)

typedef struct sums {
    __m256i low, high; /* i32: rows 0 ... 7 and 8 ... 15 */
} sums;

static inline __m256i broadcast(const int8_t *q)
{
    int32_t word;
    memcpy(&word, q, sizeof word);
    return _mm256_set1_epi32(word);
}

static inline __m256i pair_sum(__m256i a, __m256i p, __m256i b, __m256i q)
{
    return _mm256_add_epi16(_mm256_maddubs_epi16(a, p), _mm256_maddubs_epi16(b, q));
}

static sums dot(const unsigned char *code, const int8_t *q, int32_t n_step, int32_t flush)
{
    const __m256i field0 = _mm256_set1_epi8(3), field1 = _mm256_set1_epi8(12), ones = _mm256_set1_epi16(1);
    sums one = {_mm256_setzero_si256(), _mm256_setzero_si256()}, four = one; /* sums and 4 * sums */
    while (n_step > 0) {
        int32_t n = n_step < flush ? n_step : flush;
        __m256i a0 = _mm256_setzero_si256(), a1 = a0, b0 = a0, b1 = a0;
        for (int32_t i = 0; i < n; i++, code += ST_CPU_STEP_BYTES, q += ST_CPU_STEP) {
            __m256i c0 = st_avx2_load(code), c1 = st_avx2_load(code + 32);
            __m256i q0 = broadcast(q), q1 = broadcast(q + 4), q2 = broadcast(q + 8), q3 = broadcast(q + 12);
            __m256i d0 = _mm256_srli_epi16(c0, 4), d1 = _mm256_srli_epi16(c1, 4);
            a0 = _mm256_add_epi16(
                a0, pair_sum(_mm256_and_si256(c0, field0), q0, _mm256_and_si256(d0, field0), q2));
            b0 = _mm256_add_epi16(
                b0, pair_sum(_mm256_and_si256(c0, field1), q1, _mm256_and_si256(d0, field1), q3));
            a1 = _mm256_add_epi16(
                a1, pair_sum(_mm256_and_si256(c1, field0), q0, _mm256_and_si256(d1, field0), q2));
            b1 = _mm256_add_epi16(
                b1, pair_sum(_mm256_and_si256(c1, field1), q1, _mm256_and_si256(d1, field1), q3));
        }
        one.low = _mm256_add_epi32(one.low, _mm256_madd_epi16(a0, ones));
        one.high = _mm256_add_epi32(one.high, _mm256_madd_epi16(a1, ones));
        four.low = _mm256_add_epi32(four.low, _mm256_madd_epi16(b0, ones));
        four.high = _mm256_add_epi32(four.high, _mm256_madd_epi16(b1, ones));
        n_step -= n;
    }
    one.low = _mm256_add_epi32(one.low, _mm256_srai_epi32(four.low, 2));
    one.high = _mm256_add_epi32(one.high, _mm256_srai_epi32(four.high, 2));
    return one;
}

/* The same for `n_row` (2 ... 4, a constant where this is inlined) rows of activations `stride` apart. */
ST_AVX2_INLINE void dot_rows(const unsigned char *code, const int8_t *q, size_t stride, int32_t n_step,
                             int32_t flush, const int n_row, sums out[4])
{
    const __m256i field = _mm256_set1_epi8(3), ones = _mm256_set1_epi16(1);
    for (int t = 0; t < n_row; t++)
        out[t] = (sums){_mm256_setzero_si256(), _mm256_setzero_si256()};
    while (n_step > 0) {
        int32_t n = n_step < flush ? n_step : flush;
        __m256i a0[4], a1[4];
        for (int t = 0; t < n_row; t++)
            a0[t] = a1[t] = _mm256_setzero_si256();
        for (int32_t i = 0; i < n; i++, code += ST_CPU_STEP_BYTES, q += ST_CPU_STEP) {
            __m256i c0 = st_avx2_load(code), c1 = st_avx2_load(code + 32);
            for (int s = 0; s < 4; s++) {
                __m256i x0 = _mm256_and_si256(c0, field), x1 = _mm256_and_si256(c1, field);
                for (int t = 0; t < n_row; t++) {
                    __m256i qt = broadcast(q + (size_t)t * stride + 4 * s);
                    a0[t] = _mm256_add_epi16(a0[t], _mm256_maddubs_epi16(x0, qt));
                    a1[t] = _mm256_add_epi16(a1[t], _mm256_maddubs_epi16(x1, qt));
                }
                c0 = _mm256_srli_epi16(c0, 2);
                c1 = _mm256_srli_epi16(c1, 2);
            }
        }
        for (int t = 0; t < n_row; t++) {
            out[t].low = _mm256_add_epi32(out[t].low, _mm256_madd_epi16(a0[t], ones));
            out[t].high = _mm256_add_epi32(out[t].high, _mm256_madd_epi16(a1[t], ones));
        }
        n_step -= n;
    }
}

static inline __m256 term(__m256i isum, int32_t sum, __m256 scale_w, float scale_a)
{
    __m256 x = _mm256_cvtepi32_ps(_mm256_sub_epi32(isum, _mm256_set1_epi32(sum)));
    return _mm256_mul_ps(x, _mm256_mul_ps(scale_w, _mm256_set1_ps(scale_a)));
}

/* Segment s of activation rows t ... t + n_row - 1. */
static inline void segment(const st_cpu_linear *l, int32_t tile, int32_t t, int n_row, int32_t s, sums out[4])
{
    const st_cpu_weight *w = l->weight;
    int32_t first = s * (l->segment / ST_CPU_STEP);
    int32_t n_step =
        l->n_segment == 1 ? w->n_step : (int32_t)st_min(l->segment / ST_CPU_STEP, w->n_step - first);
    const unsigned char *code = w->data + (size_t)tile * w->row_bytes;
    const int8_t *q = l->q.code + (size_t)t * l->q.stride;
    if (l->n_segment > 1) {
        code += (size_t)first * ST_CPU_STEP_BYTES;
        q += (size_t)first * ST_CPU_STEP;
    }
    int32_t flush = GEMM_STEPS(w->has_code3);
    switch (n_row) {
    case 1:
        out[0] = dot(code, q, n_step, GEMV_STEPS(w->has_code3));
        break;
    case 2:
        dot_rows(code, q, l->q.stride, n_step, flush, 2, out);
        break;
    case 3:
        dot_rows(code, q, l->q.stride, n_step, flush, 3, out);
        break;
    default:
        dot_rows(code, q, l->q.stride, n_step, flush, 4, out);
        break;
    }
}

/* Outputs of one tile for n_row rows from t. */
static inline void tile_rows(const st_cpu_linear *l, int32_t tile, int32_t t, int n_row)
{
    const st_cpu_weight *w = l->weight;
    __m256 y[4][2], block[4][2];
    for (int i = 0; i < 4; i++)
        y[i][0] = y[i][1] = block[i][0] = block[i][1] = _mm256_setzero_ps();
    for (int32_t s = 0; s < l->n_segment; s++) {
        sums isum[4];
        segment(l, tile, t, n_row, s, isum);
        __m256 scale0 = st_avx2_scales(w, tile, s / l->per_weight, 0);
        __m256 scale1 = st_avx2_scales(w, tile, s / l->per_weight, 1);
        int32_t end = (s + 1) * l->segment;
        bool block_ends = s + 1 == l->n_segment || end % ST_K_BLOCK == 0;
        for (int i = 0; i < n_row; i++) {
            size_t row = (size_t)(t + i);
            int32_t sum = l->q.sum[row * (size_t)l->q.n_sum + (size_t)s];
            float scale_a = l->q.scale[row * (size_t)l->q.n_scale + (size_t)(s / l->per_act)];
            __m256 t0 = term(isum[i].low, sum, scale0, scale_a),
                   t1 = term(isum[i].high, sum, scale1, scale_a);
            if (l->n_segment == 1) {
                y[i][0] = t0;
                y[i][1] = t1;
                continue;
            }
            block[i][0] = _mm256_add_ps(block[i][0], t0);
            block[i][1] = _mm256_add_ps(block[i][1], t1);
            if (block_ends) {
                y[i][0] = _mm256_add_ps(y[i][0], block[i][0]);
                y[i][1] = _mm256_add_ps(y[i][1], block[i][1]);
                block[i][0] = block[i][1] = _mm256_setzero_ps();
            }
        }
    }
    int32_t first = tile * ST_CPU_TILE, count = (int32_t)st_min(ST_CPU_TILE, w->base.rows - first);
    for (int i = 0; i < n_row; i++) {
        float out[ST_CPU_TILE];
        _mm256_storeu_ps(out, y[i][0]);
        _mm256_storeu_ps(out + 8, y[i][1]);
        st_cpu_linear_store(l, t + i, first, count, out);
    }
}

/* All rows of activations meet a tile while it is in the first-level cache. */
static void tiles(void *context, int64_t first, int64_t count)
{
    const st_cpu_linear *l = context;
    for (int32_t tile = (int32_t)first; tile < first + count; tile++)
        for (int32_t t = 0; t < l->n_row; t += 4)
            tile_rows(l, tile, t, (int)st_min(4, l->n_row - t));
}

bool st_cpu_linear_avx2_takes(const st_cpu *cpu, const void *args)
{
    (void)cpu;
    const st_linear_args *a = args;
    return a->quant && a->weight->type == ST_TERNARY;
}

void st_cpu_linear_avx2(st_cpu *cpu, const void *args)
{
    st_cpu_linear l = st_cpu_linear_open(cpu, args);
    st_cpu_linear_loop(cpu, &l, l.weight->n_tile, tiles, &l);
}
#else
typedef int empty_translation_unit;
#endif
