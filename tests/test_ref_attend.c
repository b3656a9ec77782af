#include "tests/support/op_case.h"

#include <criterion/criterion.h>
#include <stdlib.h>

/* Two sequences whose pages are shuffled; every slot that no row fills stays NaN. K and V get into the cache
 * by rope_store without norm and rotation, so that nothing here knows the cache's layout. */
enum { N_SEQ = 2, MAX_LENGTH = 900, MAX_BLOCKS = 15, N_PAGE = 40, N_LAYER = 2, LAYER = 1 };

typedef struct shape {
    int32_t n_head, n_kv_head, head_dim, window;
    int32_t length[N_SEQ];
    float scale, softcap, range;
    bool causal;
} shape;

/* f32 values that f16 holds exactly. */
static float half_uniform(uint32_t *state, float range)
{
    return st_f16_to_f32(st_f32_to_f16(case_uniform(state, range)));
}

static int32_t page_of(int32_t seq, int32_t block)
{
    return (seq * MAX_BLOCKS + block) * 7 % N_PAGE; /* 7 and 40 have no common factor: no page twice */
}

typedef struct cache {
    op_case c;
    const shape *s;
    int32_t stride;
    st_kv kv;
    float *rows[N_SEQ]; /* f32 [length][stride]: q, k, v of every position */
} cache;

static void set_batch(cache *t, const int32_t *pos, const int32_t *seq, int32_t n)
{
    int32_t table[N_SEQ * MAX_BLOCKS], slot[MAX_LENGTH] = {0};
    for (int32_t i = 0; i < N_SEQ; i++)
        for (int32_t b = 0; b < MAX_BLOCKS; b++)
            table[i * MAX_BLOCKS + b] = page_of(i, b);
    for (int32_t r = 0; r < n; r++)
        slot[r] = pos[r] < 0 ? -1 : page_of(seq[r], pos[r] / 64) * 64 + pos[r] % 64;
    size_t bytes = (size_t)n * sizeof(int32_t);
    op_case *c = &t->c;
    c->batch = (st_batch){.n_token = n,
                          .n_seq = N_SEQ,
                          .max_blocks = MAX_BLOCKS,
                          .pos = case_input(c, pos, bytes),
                          .seq = case_input(c, seq, bytes),
                          .slot = case_input(c, slot, bytes),
                          .table = case_input(c, table, sizeof table),
                          .length = case_input(c, t->s->length, sizeof t->s->length)};
}

static void cache_fill(cache *t, const shape *s, uint32_t seed)
{
    *t = (cache){.s = s, .stride = (s->n_head + 2 * s->n_kv_head) * s->head_dim};
    case_open(&t->c, false);
    t->kv = (st_kv){.n_page = N_PAGE, .n_layer = N_LAYER, .n_kv_head = s->n_kv_head, .head_dim = s->head_dim};
    t->kv.buf = case_output(&t->c, st_kv_bytes(N_PAGE, N_LAYER, s->n_kv_head, s->head_dim));
    for (int32_t i = 0; i < N_SEQ; i++) {
        int32_t n = s->length[i], pos[MAX_LENGTH], seq[MAX_LENGTH];
        size_t bytes = (size_t)n * (size_t)t->stride * sizeof(float);
        t->rows[i] = malloc(bytes);
        cr_assert_not_null(t->rows[i]);
        for (int32_t e = 0; e < n * t->stride; e++)
            t->rows[i][e] = half_uniform(&seed, s->range);
        for (int32_t r = 0; r < n; r++)
            pos[r] = r, seq[r] = i;
        set_batch(t, pos, seq, n);
        st_rope_store_args args = {.qkv = case_output(&t->c, bytes),
                                   .stride = t->stride,
                                   .n_head = s->n_head,
                                   .n_kv_head = s->n_kv_head,
                                   .head_dim = s->head_dim,
                                   .layer = LAYER,
                                   .kv = t->kv};
        memcpy(case_data(&t->c, args.qkv), t->rows[i], bytes);
        CASE_RUN(&t->c, rope_store, &args);
    }
}

static void cache_free(cache *t)
{
    case_close(&t->c);
    for (int32_t i = 0; i < N_SEQ; i++)
        free(t->rows[i]);
}

static bool visible(const shape *s, int32_t seq, int32_t pos, int32_t j)
{
    if (j >= s->length[seq] || (s->causal && j > pos))
        return false;
    return s->window == 0 || (j > pos - s->window && j < pos + s->window);
}

/* Softmax attention of one head in double, all keys at once. */
static void expect(const cache *t, int32_t seq, int32_t pos, int32_t head, double *y)
{
    const shape *s = t->s;
    const float *rows = t->rows[seq],
                *q = rows + (size_t)pos * (size_t)t->stride + (size_t)(head * s->head_dim);
    int32_t kv_head = head * s->n_kv_head / s->n_head, dim = s->head_dim;
    double score[MAX_LENGTH], max = -INFINITY, sum = 0;
    for (int32_t j = 0; j < s->length[seq]; j++) {
        const float *k = rows + (size_t)j * (size_t)t->stride + (size_t)((s->n_head + kv_head) * dim);
        double dot = 0;
        for (int32_t i = 0; i < dim; i++)
            dot += (double)q[i] * (double)k[i];
        score[j] = dot * (double)s->scale;
        if (s->softcap > 0)
            score[j] = (double)s->softcap * tanh(score[j] / (double)s->softcap);
        if (visible(s, seq, pos, j) && score[j] > max)
            max = score[j];
    }
    for (int32_t i = 0; i < dim; i++)
        y[i] = 0;
    for (int32_t j = 0; j < s->length[seq]; j++) {
        if (!visible(s, seq, pos, j))
            continue;
        const float *v =
            rows + (size_t)j * (size_t)t->stride + (size_t)((s->n_head + s->n_kv_head + kv_head) * dim);
        double p = exp(score[j] - max);
        sum += p;
        for (int32_t i = 0; i < dim; i++)
            y[i] += p * (double)v[i];
    }
    for (int32_t i = 0; i < dim; i++)
        y[i] /= sum;
}

/* Some positions of both sequences and a padding row, in one step. */
static void check(const shape *s)
{
    cache t;
    cache_fill(&t, s, 11);
    int32_t a = s->length[0], b = s->length[1];
    const int32_t pos[] = {a - 1, 0, -1, b - 1, a / 2, b / 3, a - 1 - a / 7}, seq[] = {0, 0, 0, 1, 0, 1, 0};
    enum { N = sizeof pos / sizeof *pos };
    set_batch(&t, pos, seq, N);
    size_t row = (size_t)(s->n_head * s->head_dim);
    float *qkv = calloc((size_t)N * (size_t)t.stride, sizeof *qkv);
    cr_assert_not_null(qkv);
    for (int r = 0; r < N; r++)
        if (pos[r] >= 0)
            memcpy(qkv + r * t.stride, t.rows[seq[r]] + pos[r] * t.stride, row * sizeof(float));
    st_attend_args args = {.qkv = case_input(&t.c, qkv, (size_t)N * (size_t)t.stride * sizeof *qkv),
                           .stride = t.stride,
                           .dst = case_output(&t.c, N * row * sizeof(float)),
                           .n_head = s->n_head,
                           .n_kv_head = s->n_kv_head,
                           .head_dim = s->head_dim,
                           .layer = LAYER,
                           .scale = s->scale,
                           .window = s->window,
                           .softcap = s->softcap,
                           .causal = s->causal,
                           .kv = t.kv};
    CASE_RUN(&t.c, attend, &args);
    const float *y = case_data(&t.c, args.dst);
    for (int r = 0; r < N; r++) {
        if (pos[r] < 0) {
            cr_assert(case_untouched(y + (size_t)r * row, (int64_t)row));
            continue;
        }
        for (int32_t h = 0; h < s->n_head; h++) {
            double want[ST_MAX_HEAD_DIM];
            expect(&t, seq[r], pos[r], h, want);
            for (int32_t i = 0; i < s->head_dim; i++) {
                double got = (double)y[(size_t)r * row + (size_t)(h * s->head_dim + i)];
                cr_assert(fabs(got - want[i]) <= 1e-5,
                          "sequence %d position %d head %d column %d: %.9g, not %.9g", seq[r], pos[r], h, i,
                          got, want[i]);
            }
        }
    }
    free(qkv);
    cache_free(&t);
}

Test(attend, against_double)
{
    const int32_t lengths[][N_SEQ] = {{1, 1}, {63, 64}, {65, 200}, {256, 257}, {700, 513}};
    for (int n = 0; n < 5; n++)
        for (int bits = 0; bits < 8; bits++)
            check(&(shape){.n_head = 4,
                           .n_kv_head = bits & 1 ? 4 : 2,
                           .head_dim = 18,
                           .causal = bits & 2,
                           .softcap = bits & 4 ? 5 : 0,
                           .scale = 0.3f,
                           .range = 2,
                           .length = {lengths[n][0], lengths[n][1]}});
}

Test(attend, windows)
{
    const int32_t windows[] = {1, 2, 64, 255, 256, 300, 5000};
    for (int w = 0; w < 7; w++)
        for (int causal = 0; causal < 2; causal++)
            check(&(shape){.n_head = 2,
                           .n_kv_head = 1,
                           .head_dim = 8,
                           .causal = causal,
                           .window = windows[w],
                           .scale = 0.5f,
                           .range = 2,
                           .length = {600, 300}});
}

Test(attend, wide_heads_and_far_scores)
{
    check(&(shape){.n_head = 1,
                   .n_kv_head = 1,
                   .head_dim = ST_MAX_HEAD_DIM,
                   .causal = true,
                   .scale = 0.044f,
                   .range = 1,
                   .length = {40, 3}});
    check(&(shape){.n_head = 6,
                   .n_kv_head = 2,
                   .head_dim = 4,
                   .causal = true,
                   .scale = 8,
                   .range = 4,
                   .length = {530, 260}}); /* differences beyond -40: exact zeros */
}

/* ---- bits that only the stated order gives ---- */

/* One head of 2 dimensions, q = (1, 0), scale 1: key j has score k[j] and value (v[j], 0). Returns y[0] of
 * the last position. */
static float run_scores(const float *k, const float *v, int32_t n, bool scores_are_zero)
{
    shape s = {.n_head = 1, .n_kv_head = 1, .head_dim = 2, .causal = true, .length = {n, 1}};
    cache t = {.s = &s, .stride = 6};
    case_open(&t.c, false);
    t.kv = (st_kv){.n_page = N_PAGE, .n_layer = N_LAYER, .n_kv_head = 1, .head_dim = 2};
    t.kv.buf = case_output(&t.c, st_kv_bytes(N_PAGE, N_LAYER, 1, 2));
    int32_t pos[MAX_LENGTH], seq[MAX_LENGTH] = {0};
    for (int32_t r = 0; r < n; r++)
        pos[r] = r;
    set_batch(&t, pos, seq, n);
    size_t bytes = (size_t)n * 6 * sizeof(float);
    st_buf *qkv = case_output(&t.c, bytes), *dst = case_output(&t.c, (size_t)n * 2 * sizeof(float));
    float *row = case_data(&t.c, qkv);
    memset(row, 0, bytes);
    for (int32_t r = 0; r < n; r++) {
        row[6 * r] = scores_are_zero ? 0 : 1;
        row[6 * r + 2] = k ? k[r] : 0;
        row[6 * r + 4] = v[r];
    }
    st_rope_store_args store = {
        .qkv = qkv, .stride = 6, .n_head = 1, .n_kv_head = 1, .head_dim = 2, .layer = LAYER, .kv = t.kv};
    CASE_RUN(&t.c, rope_store, &store);
    st_attend_args args = {.qkv = qkv,
                           .stride = 6,
                           .dst = dst,
                           .n_head = 1,
                           .n_kv_head = 1,
                           .head_dim = 2,
                           .layer = LAYER,
                           .scale = 1,
                           .causal = true,
                           .kv = t.kv};
    CASE_RUN(&t.c, attend, &args);
    float y = ((float *)case_data(&t.c, dst))[2 * (n - 1)];
    case_close(&t.c);
    return y;
}

/* Equal scores: o is the plain sum of v and the denominator is n, a power of two. 2^15 + 2^-9 is a tie that
 * returns to 2^15. */
Test(attend, values_are_added_ascending_within_a_partition)
{
    float v[512] = {[0] = 0x1p15f, [1] = 0x1p-9f, [255] = 0x1p-9f};
    cr_assert_eq(run_scores(NULL, v, 256, true), 0x1p15f / 256);
    float w[512] = {[0] = 0x1p-9f, [1] = 0x1p-9f, [255] = 0x1p15f};
    cr_assert_eq(run_scores(NULL, w, 256, true), (0x1p15f + 0x1p-8f) / 256);
    float x[512] = {[0] = 0x1p15f, [256] = 0x1p-9f, [511] = 0x1p-9f}; /* the small ones share a partition */
    cr_assert_eq(run_scores(NULL, x, 512, true), (0x1p15f + 0x1p-8f) / 512);
    float y[512] = {[0] = 0x1p15f, [255] = 0x1p-9f, [256] = 0x1p-9f}; /* and here they do not */
    cr_assert_eq(run_scores(NULL, y, 512, true), 0x1p15f / 512);
}

/* p = 1 for key 0 and 0.69 * 2^-24 for keys 1 and 3, too little for 1 + p alone. Lanes 1 and 3 meet first. */
Test(attend, the_denominator_is_a_lane_sum)
{
    float k[256], v[256] = {1};
    for (int j = 0; j < 256; j++)
        k[j] = j == 0 ? 17 : j == 1 || j == 3 ? 0 : -60;
    float small = st_exp(-17);
    cr_assert(1 + small == 1 && small + small > 0x1p-24f);
    cr_assert_eq(run_scores(k, v, 256, false), 1 / (1 + 0x1p-23f));
    k[3] = -60, k[2] = 0; /* lane 2 joins lane 0 alone: lost, and so is lane 1 */
    cr_assert_eq(run_scores(k, v, 256, false), 1);
}

/* A later partition with a greater score rescales what came before it. */
Test(attend, partitions_rescale)
{
    float k[600], v[600];
    for (int j = 0; j < 600; j++)
        k[j] = -100, v[j] = 0;
    k[0] = 1, v[0] = 4, k[256] = 3, v[256] = 8, k[599] = 2, v[599] = -2;
    float a = st_exp(-2), b = st_exp(-1);
    volatile float d = 1.0f * a + 1.0f, o = 4.0f * a, tail = -2.0f * b;
    o = o + 8.0f;
    d = d * 1.0f + 1.0f * b, o = o * 1.0f + tail;
    volatile float inverse = 1.0f / d;
    cr_assert_eq(run_scores(k, v, 600, false), o * inverse);
}

/* A hidden key's NaN never shows; a visible one's does. */
Test(attend, nan_shows_only_where_it_is_seen)
{
    float k[3] = {1, 1, 1}, v[3] = {1, 1, NAN};
    cr_assert(isnan(run_scores(k, v, 3, false)));
    k[0] = NAN, v[2] = 1;
    cr_assert(isnan(run_scores(k, v, 3, false)));
}
