#include "tests/support/op_case.h"

#include <criterion/criterion.h>
#include <stdlib.h>

enum { N_TOKEN = 4, MAX_POS = 130, N_LAYER = 2, LAYER = 1, N_PAGE = 3 };

typedef struct shape {
    int32_t n_head, n_kv_head, head_dim, n_rot;
    st_pairing pairing;
    bool q_norm, k_norm;
} shape;

static const int32_t positions[N_TOKEN] = {0, 129, -1, 65};

static double half_value(uint16_t h)
{
    double magnitude = h & 0x7c00 ? ldexp(1024 + (h & 0x3ff), (h >> 10 & 31) - 25) : ldexp(h & 0x3ff, -24);
    return h & 0x8000 ? -magnitude : magnitude;
}

/* Norm and rotation of one head in double. */
static void expect(const shape *s, const float *x, const float *norm, const float *cos_sin, double *y)
{
    double squares = 0;
    for (int32_t i = 0; i < s->head_dim; i++)
        squares += (double)x[i] * (double)x[i];
    for (int32_t i = 0; i < s->head_dim; i++)
        y[i] = norm ? (double)x[i] / sqrt(squares / s->head_dim + 1e-6) * (double)norm[i] : (double)x[i];
    for (int32_t i = 0; i < s->n_rot / 2; i++) {
        double *a = s->pairing == ST_PAIR_HALF ? &y[i] : &y[2 * i];
        double *b = s->pairing == ST_PAIR_HALF ? &y[i + s->n_rot / 2] : &y[2 * i + 1];
        double c = (double)cos_sin[2 * i], t = (double)cos_sin[2 * i + 1], old = *a;
        *a = old * c - *b * t;
        *b = old * t + *b * c;
    }
}

/* The reference's own layout: f16 [n_layer][slots][K, V][n_kv_head][head_dim]. */
static const uint16_t *cached(const uint16_t *kv, const shape *s, int32_t layer, int32_t slot, int value,
                              int32_t h)
{
    return kv + ((((layer * N_PAGE * 64 + slot) * 2 + value) * s->n_kv_head) + h) * s->head_dim;
}

static void check_row(const shape *s, int r, const float *before, const float *after, const uint16_t *kv,
                      const float *q_norm, const float *k_norm, const float *table)
{
    double want[ST_MAX_HEAD_DIM];
    const float *cos_sin = table + positions[r] * s->n_rot;
    for (int32_t h = 0; h < s->n_head; h++) {
        expect(s, before + h * s->head_dim, s->q_norm ? q_norm : NULL, cos_sin, want);
        for (int32_t i = 0; i < s->head_dim; i++) {
            double got = (double)after[h * s->head_dim + i];
            cr_assert(fabs(got - want[i]) <= 4e-6, "row %d head %d column %d: %.9g, not %.9g", r, h, i, got,
                      want[i]);
        }
    }
    for (int32_t h = 0; h < s->n_kv_head; h++) {
        const float *k = before + (s->n_head + h) * s->head_dim, *v = k + s->n_kv_head * s->head_dim;
        expect(s, k, s->k_norm ? k_norm : NULL, cos_sin, want);
        for (int32_t i = 0; i < s->head_dim; i++) {
            double got_k = half_value(cached(kv, s, LAYER, positions[r], 0, h)[i]);
            double got_v = half_value(cached(kv, s, LAYER, positions[r], 1, h)[i]);
            double want_v = (double)v[i];
            cr_assert(fabs(got_k - want[i]) <= 5e-4 * fabs(want[i]) + 5e-6, "row %d key %d column %d", r, h,
                      i);
            cr_assert(fabs(got_v - want_v) <= 5e-4 * fabs(want_v) + 1e-7, "row %d value %d column %d", r, h,
                      i);
        }
    }
}

static void check(const shape *s)
{
    op_case c;
    case_open(&c, false);
    case_rows(&c, positions, N_TOKEN, NULL, 0);
    int32_t used = (s->n_head + 2 * s->n_kv_head) * s->head_dim, stride = used + 3;
    size_t norm_bytes = (size_t)s->head_dim * sizeof(float),
           qkv_bytes = (size_t)N_TOKEN * (size_t)stride * sizeof(float);
    uint32_t state = (uint32_t)used;
    float *qkv = malloc(qkv_bytes), q_norm[ST_MAX_HEAD_DIM], k_norm[ST_MAX_HEAD_DIM];
    float *table = malloc(MAX_POS * ST_MAX_HEAD_DIM * sizeof *table);
    cr_assert(qkv && table);
    for (int32_t i = 0; i < N_TOKEN * stride; i++)
        qkv[i] = case_uniform(&state, 2);
    for (int32_t i = 0; i < s->head_dim; i++) {
        q_norm[i] = case_uniform(&state, 1.5f);
        k_norm[i] = case_uniform(&state, 1.5f);
    }
    for (int32_t i = 0; i < MAX_POS * s->n_rot / 2; i++) {
        double angle = (double)case_uniform(&state, 3);
        table[2 * i] = (float)cos(angle);
        table[2 * i + 1] = (float)sin(angle);
    }
    st_rope_store_args args = {
        .qkv = case_output(&c, qkv_bytes),
        .stride = stride,
        .n_head = s->n_head,
        .n_kv_head = s->n_kv_head,
        .head_dim = s->head_dim,
        .eps = 1e-6f,
        .n_rot = s->n_rot,
        .pairing = s->pairing,
        .layer = LAYER,
        .kv = {.n_page = N_PAGE, .n_layer = N_LAYER, .n_kv_head = s->n_kv_head, .head_dim = s->head_dim}};
    args.kv.buf = case_output(&c, st_kv_bytes(N_PAGE, N_LAYER, s->n_kv_head, s->head_dim));
    args.q_norm = s->q_norm ? case_input(&c, q_norm, norm_bytes) : NULL;
    args.k_norm = s->k_norm ? case_input(&c, k_norm, norm_bytes) : NULL;
    if (s->n_rot)
        args.cos_sin = case_input(&c, table, (size_t)MAX_POS * (size_t)s->n_rot * sizeof *table);
    float *after = case_data(&c, args.qkv);
    uint16_t *kv = case_data(&c, args.kv.buf);
    memcpy(after, qkv, qkv_bytes);
    CASE_RUN(&c, rope_store, &args);

    for (int r = 0; r < N_TOKEN; r++)
        if (positions[r] >= 0)
            check_row(s, r, qkv + r * stride, after + r * stride, kv, q_norm, k_norm, table);
    cr_assert_arr_eq(after + 2 * stride, qkv + 2 * stride, (size_t)stride * sizeof(float)); /* padding */
    for (int32_t layer = 0; layer < N_LAYER; layer++) /* nothing else was written to the cache */
        for (int32_t slot = 0; slot < N_PAGE * 64; slot++) {
            if (layer == LAYER && (slot == 0 || slot == 129 || slot == 65))
                continue;
            const uint16_t *at = cached(kv, s, layer, slot, 0, 0);
            for (int32_t i = 0; i < 2 * s->n_kv_head * s->head_dim; i++)
                cr_assert_eq(at[i], 0xffff, "layer %d slot %d", layer, slot);
        }
    case_close(&c);
    free(qkv);
    free(table);
}

Test(rope_store, every_parameter)
{
    for (int bits = 0; bits < 8; bits++) {
        st_pairing pairing = bits & 4 ? ST_PAIR_ADJACENT : ST_PAIR_HALF;
        shape s = {.n_head = 4,
                   .n_kv_head = 2,
                   .head_dim = 16,
                   .n_rot = 16,
                   .pairing = pairing,
                   .q_norm = bits & 1,
                   .k_norm = bits & 2};
        check(&s);
        s.n_rot = 6;
        check(&s);
        s.n_rot = 0;
        check(&s);
        check(&(shape){.n_head = 3,
                       .n_kv_head = 1,
                       .head_dim = 80,
                       .n_rot = 20,
                       .pairing = pairing,
                       .q_norm = bits & 1,
                       .k_norm = bits & 2});
    }
    check(&(shape){
        .n_head = 1, .n_kv_head = 1, .head_dim = ST_MAX_HEAD_DIM, .n_rot = ST_MAX_HEAD_DIM, .q_norm = true});
}

/* One head of two dimensions at position 0; returns the pair. */
static void run_pair(float a, float b, float cosine, float sine, const float *norm, float out[2])
{
    op_case c;
    case_open(&c, false);
    case_rows(&c, (const int32_t[]){0}, 1, NULL, 0);
    const float table[2] = {cosine, sine}, row[6] = {a, b, 0, 0, 0, 0};
    st_rope_store_args args = {.qkv = case_output(&c, sizeof row),
                               .stride = 6,
                               .n_head = 1,
                               .n_kv_head = 1,
                               .head_dim = 2,
                               .n_rot = 2,
                               .cos_sin = case_input(&c, table, sizeof table),
                               .kv = {.n_page = 1, .n_layer = 1, .n_kv_head = 1, .head_dim = 2}};
    args.kv.buf = case_output(&c, st_kv_bytes(1, 1, 1, 2));
    args.q_norm = norm ? case_input(&c, norm, 2 * sizeof *norm) : NULL;
    float *qkv = case_data(&c, args.qkv);
    memcpy(qkv, row, sizeof row);
    CASE_RUN(&c, rope_store, &args);
    memcpy(out, qkv, 2 * sizeof *out);
    case_close(&c);
}

/* (1 + u)^2 = 1 + 2 u + u^2 loses u^2 when the product is rounded: the difference to 1 + 2 u is 0, not u^2.
 */
Test(rope_store, products_are_rounded)
{
    const float one = 1 + 0x1p-23f;
    float out[2];
    run_pair(one, 1, one, 1 + 0x1p-22f, NULL, out);
    cr_assert_eq(out[0], 0);
    run_pair(1, one, -(1 + 0x1p-22f), one, NULL, out);
    cr_assert_eq(out[0], -(1 + 0x1p-22f) - (1 + 0x1p-22f));
    run_pair(one, -1, 1 + 0x1p-22f, one, NULL, out);
    cr_assert_eq(out[1], 0);
}

Test(rope_store, the_norm_comes_before_the_rotation)
{
    const float norm[2] = {2, 3};
    float out[2];
    run_pair(1, 1, 0, 1, norm, out); /* normalised to (2, 3), then a quarter turn */
    cr_assert_eq(out[0], -3);
    cr_assert_eq(out[1], 2);
}

/* What is beyond f16 becomes infinite in the cache, and NaN stays NaN. */
Test(rope_store, values_saturate_to_infinity)
{
    op_case c;
    case_open(&c, false);
    case_rows(&c, (const int32_t[]){0}, 1, NULL, 0);
    const float row[6] = {0, 0, 65519.0f, 65520.0f, NAN, 0x1p-25f};
    st_rope_store_args args = {.qkv = case_output(&c, sizeof row),
                               .stride = 6,
                               .n_head = 1,
                               .n_kv_head = 1,
                               .head_dim = 2,
                               .kv = {.n_page = 1, .n_layer = 1, .n_kv_head = 1, .head_dim = 2}};
    args.kv.buf = case_output(&c, st_kv_bytes(1, 1, 1, 2));
    memcpy(case_data(&c, args.qkv), row, sizeof row);
    CASE_RUN(&c, rope_store, &args);
    const uint16_t want[4] = {0x7bff, 0x7c00, 0x7e00, 0};
    cr_assert_arr_eq(case_data(&c, args.kv.buf), want, sizeof want);
    case_close(&c);
}
