#include "bench/baseline.h"

#include "bench/blas.h"
#include "bench/measure.h"
#include "host/base/numerics.h"
#include "host/base/parallel.h"

#include <stdio.h>
#include <string.h>

struct st_baseline {
    int which;
    int32_t n, k, stride, padded; /* padded: n in whole tiles */
    int32_t max_row, n_thread, rows;
    int n_copy, next;
    size_t copy_bytes;
    unsigned char *weight; /* [n_copy][copy_bytes] */
    float *x, *y;          /* [max_row][stride], [max_row][padded] */
    /* FP16 */
    const st_fp16_loops *loops;
    st_pool *pool;
    float *scratch; /* [n_thread][ST_FP16_TILE][stride] */
    /* OPENBLAS */
    st_blas *blas;
};

static const struct {
    const char *name, *type;
    size_t weight_bytes;
} kinds[ST_BASELINE_COUNT] = {{"fp16-loop", "f16", 2}, {"openblas", "f32", 4}, {"cublas", "f16", 2}};

const char *st_baseline_name(int which)
{
    return kinds[which].name;
}

const char *st_baseline_type(int which)
{
    return kinds[which].type;
}

/* ---- FP16 in plain C ---- */

static void tile_portable(const uint16_t *w, const float *x, int32_t stride, int32_t rows, float *scratch,
                          float *y, int32_t stride_y)
{
    for (int i = 0; i < ST_FP16_TILE; i++) {
        for (int32_t k = 0; k < stride; k++)
            scratch[k] = st_f16_to_f32(w[(size_t)i * (size_t)stride + (size_t)k]);
        for (int32_t t = 0; t < rows; t++) {
            float sum = 0.0f;
            for (int32_t k = 0; k < stride; k++)
                sum += scratch[k] * x[(size_t)t * (size_t)stride + (size_t)k];
            y[(size_t)t * (size_t)stride_y + (size_t)i] = sum;
        }
    }
}

static const st_fp16_loops portable = {"portable", NULL, tile_portable};

static const st_fp16_loops *best_loops(void)
{
    static const st_fp16_loops *const all[] = {&st_fp16_avx512, &st_fp16_avx2};
    for (int i = 0; i < 2; i++)
        if (all[i]->tile && all[i]->supported())
            return all[i];
    return &portable;
}

/* Slot s takes every n_thread-th tile, with scratch of its own. */
static void run_slots(void *context, int64_t first, int64_t count)
{
    const st_baseline *b = context;
    size_t stride = (size_t)b->stride;
    const uint16_t *w = (const uint16_t *)(const void *)(b->weight + (size_t)b->next * b->copy_bytes);
    for (int64_t slot = first; slot < first + count; slot++)
        for (int64_t row = slot * ST_FP16_TILE; row < b->padded; row += (int64_t)b->n_thread * ST_FP16_TILE)
            b->loops->tile(w + (size_t)row * stride, b->x, b->stride, b->rows,
                           b->scratch + (size_t)slot * ST_FP16_TILE * stride, b->y + row, b->padded);
}

/* ---- life ---- */

/* The weights: f16 ones in [-2^-4, 2^-4], as in every copy; what pads a row is zero. */
static void fill(st_baseline *b)
{
    uint64_t state = 8;
    memset(b->weight, 0, b->copy_bytes);
    for (int64_t row = 0; row < b->n; row++)
        for (int32_t k = 0; k < b->k; k++) {
            uint16_t half = (uint16_t)((st_draw(&state) & 0x83ff) | 0x2800);
            float value = st_f16_to_f32(half);
            size_t at = (size_t)row * (size_t)b->stride + (size_t)k;
            if (b->which == ST_BASELINE_FP16)
                memcpy(b->weight + 2 * at, &half, sizeof half);
            else
                memcpy(b->weight + 4 * at, &value, sizeof value);
        }
    for (int i = 1; i < b->n_copy; i++)
        memcpy(b->weight + (size_t)i * b->copy_bytes, b->weight, b->copy_bytes);
    for (int64_t row = 0; row < b->max_row; row++)
        for (int32_t k = 0; k < b->k; k++)
            b->x[row * b->stride + k] = (float)(int32_t)(st_draw(&state) >> 32) * 0x1p-31f;
}

static bool open_kind(st_baseline *b, char *why_not, size_t size)
{
    if (b->which == ST_BASELINE_OPENBLAS)
        return (b->blas = st_blas_open(b->n_thread, why_not, size)) != NULL;
    b->loops = best_loops();
    b->pool = st_pool_create(b->n_thread);
    b->scratch = st_alloc((size_t)b->n_thread * ST_FP16_TILE * (size_t)b->stride * sizeof(float));
    if (!b->pool || !b->scratch)
        snprintf(why_not, size, "out of memory");
    return b->pool && b->scratch;
}

st_baseline *st_baseline_open(int which, int32_t n, int32_t k, int32_t max_row, int32_t n_thread,
                              size_t footprint, char *why_not, size_t size)
{
    if (which == ST_BASELINE_CUBLAS) {
        snprintf(why_not, size, "not in this build");
        return NULL;
    }
    st_baseline *b = st_calloc(1, sizeof *b);
    if (!b) {
        snprintf(why_not, size, "out of memory");
        return NULL;
    }
    *b = (st_baseline){.which = which, .n = n, .k = k, .max_row = max_row, .n_thread = n_thread};
    b->stride = (int32_t)st_align_up((size_t)k, 32);
    b->padded = (int32_t)st_align_up((size_t)n, ST_FP16_TILE);
    b->copy_bytes = (size_t)b->padded * (size_t)b->stride * kinds[which].weight_bytes;
    b->n_copy = (int)st_min(1 << 16, st_ceil_div((int64_t)footprint, (int64_t)b->copy_bytes));
    b->n_copy = b->n_copy < 1 ? 1 : b->n_copy;
    if (!open_kind(b, why_not, size)) {
        st_baseline_close(&b);
        return NULL;
    }
    b->weight = st_alloc((size_t)b->n_copy * b->copy_bytes);
    b->x = st_calloc((size_t)max_row * (size_t)b->stride, sizeof *b->x);
    b->y = st_calloc((size_t)max_row * (size_t)b->padded, sizeof *b->y);
    if (!b->weight || !b->x || !b->y) {
        snprintf(why_not, size, "out of memory for %d copies of %zu bytes", b->n_copy, b->copy_bytes);
        st_baseline_close(&b);
        return NULL;
    }
    fill(b);
    return b;
}

void st_baseline_close(st_baseline **baseline)
{
    st_baseline *b = *baseline;
    if (!b)
        return;
    st_pool_destroy(b->pool);
    st_blas_close(&b->blas);
    st_free(b->scratch);
    st_free(b->weight);
    st_free(b->x);
    st_free(b->y);
    st_free(b);
    *baseline = NULL;
}

/* ---- products ---- */

void st_baseline_run(st_baseline *b, int32_t rows)
{
    assert(rows >= 1 && rows <= b->max_row);
    b->rows = rows;
    if (b->which == ST_BASELINE_FP16)
        st_pool_loop(b->pool, st_min(b->n_thread, b->padded / ST_FP16_TILE), 1, run_slots, b);
    else
        st_blas_multiply(b->blas, (const float *)(const void *)(b->weight + (size_t)b->next * b->copy_bytes),
                         b->x, b->stride, b->padded, b->k, rows, b->y);
    b->next = (b->next + 1) % b->n_copy;
}

const char *st_baseline_how(const st_baseline *b)
{
    return b->which == ST_BASELINE_FP16 ? b->loops->name : st_blas_version(b->blas);
}

uint64_t st_baseline_bytes(const st_baseline *b, int32_t rows)
{
    uint64_t n = (uint64_t)b->n, k = (uint64_t)b->k;
    return n * k * kinds[b->which].weight_bytes + (uint64_t)rows * (n + k) * sizeof(float);
}

void st_baseline_set_input(st_baseline *b, const float *x, int32_t rows)
{
    for (int64_t row = 0; row < rows; row++)
        memcpy(b->x + row * b->stride, x + row * b->k, (size_t)b->k * sizeof *x);
}

float st_baseline_weight(const st_baseline *b, int32_t row, int32_t col)
{
    size_t at = (size_t)row * (size_t)b->stride + (size_t)col;
    float value;
    if (b->which == ST_BASELINE_FP16)
        return st_f16_to_f32(((const uint16_t *)(const void *)b->weight)[at]);
    memcpy(&value, b->weight + 4 * at, sizeof value);
    return value;
}

float st_baseline_result(const st_baseline *b, int32_t row, int32_t out)
{
    return b->y[(size_t)row * (size_t)b->padded + (size_t)out];
}
