/* linear: TERNARY weights, f32 input: 16 rows of W, a vector holding one column of eight of them.
 *
 * Four lanes (the columns that a field of a step's bytes holds) are summed in registers per pass over the
 * tile, which stays in the first- or second-level cache. */
#if defined(__AVX2__)
#include "host/cpu/avx2.h"

typedef struct column {
    __m256 low, high; /* rows 0 ... 7 and 8 ... 15 */
} column;

static inline __m256 weight(__m256i code, int shift, __m256 scale)
{
    __m256i value = _mm256_and_si256(_mm256_srl_epi32(code, _mm_cvtsi32_si128(shift)), _mm256_set1_epi32(3));
    return _mm256_mul_ps(_mm256_cvtepi32_ps(_mm256_sub_epi32(value, _mm256_set1_epi32(1))), scale);
}

/* Lanes 4 quad ... 4 quad + 3 of a tile. */
static void four_lanes(const st_cpu_linear *l, int32_t tile, const float *x, int32_t quad, column lane[4])
{
    const st_cpu_weight *w = l->weight;
    const unsigned char *code = w->data + (size_t)tile * w->row_bytes;
    int32_t group = w->base.group ? w->base.group : w->base.cols;
    for (int b = 0; b < 4; b++)
        lane[b].low = lane[b].high = _mm256_setzero_ps();
    for (int32_t k = 4 * quad; k < w->base.cols; k += ST_LANES) {
        const unsigned char *at = code + (size_t)(k / ST_CPU_STEP) * ST_CPU_STEP_BYTES;
        __m256i c0 = st_avx2_load(at), c1 = st_avx2_load(at + 32);
        __m256 scale0 = st_avx2_scales(w, tile, k / group, 0), scale1 = st_avx2_scales(w, tile, k / group, 1);
        int32_t n = (int32_t)st_min(4, w->base.cols - k), field = 2 * (k / 4 % 4);
        for (int32_t b = 0; b < n; b++) {
            __m256 in = _mm256_set1_ps(x[k + b]);
            __m256 y0 = _mm256_mul_ps(weight(c0, 8 * b + field, scale0), in);
            __m256 y1 = _mm256_mul_ps(weight(c1, 8 * b + field, scale1), in);
            lane[b].low = _mm256_add_ps(lane[b].low, y0);
            lane[b].high = _mm256_add_ps(lane[b].high, y1);
        }
    }
}

static void tile_row(const st_cpu_linear *l, int32_t tile, int32_t t)
{
    column lane[ST_LANES];
    const float *x = l->src + (size_t)t * (size_t)l->weight->base.cols;
    for (int32_t quad = 0; quad < ST_LANES / 4; quad++)
        four_lanes(l, tile, x, quad, lane + 4 * quad);
    for (int s = ST_LANES / 2; s > 0; s /= 2)
        for (int j = 0; j < s; j++) {
            lane[j].low = _mm256_add_ps(lane[j].low, lane[j + s].low);
            lane[j].high = _mm256_add_ps(lane[j].high, lane[j + s].high);
        }
    float y[ST_CPU_TILE];
    _mm256_storeu_ps(y, lane[0].low);
    _mm256_storeu_ps(y + 8, lane[0].high);
    int32_t first = tile * ST_CPU_TILE;
    st_cpu_linear_store(l, t, first, (int32_t)st_min(ST_CPU_TILE, l->weight->base.rows - first), y);
}

static void tiles(void *context, int64_t first, int64_t count)
{
    const st_cpu_linear *l = context;
    for (int32_t tile = (int32_t)first; tile < first + count; tile++)
        for (int32_t t = 0; t < l->n_row; t++)
            tile_row(l, tile, t);
}

bool st_cpu_linear_float_avx2_takes(const st_cpu *cpu, const void *args)
{
    (void)cpu;
    const st_linear_args *a = args;
    return a->src && a->weight->type == ST_TERNARY;
}

void st_cpu_linear_float_avx2(st_cpu *cpu, const void *args)
{
    st_cpu_linear l = st_cpu_linear_open(cpu, args);
    st_cpu_linear_loop(cpu, &l, l.weight->n_tile, tiles, &l);
}
#else
typedef int empty_translation_unit;
#endif
