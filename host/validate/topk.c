#include "host/validate/suite.h"

typedef struct topk_case {
    st_topk_args args;
    st_case_batch batch;
    int logits, adjust, n_adjust, want, candidates, stats; /* adjust, n_adjust: -1 = none */
} topk_case;

static void run(const st_case *c, st_rig *rig)
{
    const topk_case *p = c->args;
    st_topk_args args = p->args;
    args.logits = rig->buf[p->logits];
    args.adjust = p->adjust < 0 ? NULL : rig->buf[p->adjust];
    args.n_adjust = p->n_adjust < 0 ? NULL : rig->buf[p->n_adjust];
    args.want = rig->buf[p->want];
    args.candidates = rig->buf[p->candidates];
    args.stats = rig->buf[p->stats];
    st_batch batch = st_rig_batch(c, rig, &p->batch);
    st_rig_begin(rig, &batch);
    rig->dev->backend->topk(rig->dev, &args);
    st_rig_end(c, rig);
}

typedef enum logits_kind {
    SMOOTH,
    TIES,
    EQUAL,
    ZEROS,
    ASCENDING,
    DESCENDING,
    WITH_NAN,
    WITH_INFINITY,
    KINDS
} logits_kind;
static const char *const kind_names[] = {"smooth",    "ties",       "all equal", "zeros of both signs",
                                         "ascending", "descending", "some NaN",  "some -infinity"};

static float logit(st_case *c, logits_kind kind, int32_t token)
{
    switch (kind) {
    case TIES:
        return (float)st_random_below(c, 5) - 2.0f;
    case EQUAL:
        return 1.5f;
    case ZEROS:
        return st_random(c) & 1 ? 0.0f : -0.0f;
    case ASCENDING:
        return -30.0f + 0.01f * (float)token;
    case DESCENDING:
        return 20.0f - 0.01f * (float)token;
    case WITH_NAN:
        if (st_random_below(c, 8) == 0)
            return (float)NAN;
        break;
    case WITH_INFINITY:
        if (st_random_below(c, 4) == 0)
            return -INFINITY;
        break;
    default:
        break;
    }
    return st_random_real(c) * 20.0f;
}

/* About `some` ascending tokens a row, among them bans, penalties and biases. */
static void fill_adjustments(st_case *c, topk_case *p, int32_t max)
{
    st_adjustment *a = st_case_alloc(c, (size_t)(c->m * max) * sizeof *a);
    int32_t *count = st_case_alloc(c, (size_t)c->m * sizeof *count);
    memset(a, 0xff, (size_t)(c->m * max) * sizeof *a);
    for (int32_t r = 0; r < c->m; r++) {
        count[r] = 0;
        int32_t step = (int32_t)st_max(1, c->n / max), limit = (int32_t)st_min(max, c->n);
        int32_t token = -1;
        for (int32_t i = 0; i < limit && st_random_below(c, 50) != 0; i++) {
            token += i % 3 == 0 ? 1 : 1 + st_random_below(c, step);
            if (token >= c->n)
                break;
            float add = st_random_below(c, 4) == 0 ? -INFINITY : st_random_real(c) * 5.0f;
            a[r * max + count[r]++] = (st_adjustment){token, 1.0f / 1.3f, 1.3f, add};
        }
    }
    p->adjust = st_case_buf_add(c, a, (size_t)(c->m * max) * sizeof *a);
    p->n_adjust = st_case_buf_add(c, count, (size_t)c->m * sizeof *count);
}

static void one(st_suite *suite, int i, logits_kind kind, int32_t m, int32_t n, int32_t k)
{
    st_suite_shape(suite, &m, &n, &k);
    static const int32_t adjusts[] = {0, 1, 0, 5, 40, 300};
    k = (int32_t)st_min(k, n);
    int32_t max_adjust = ST_PICK(adjusts, i, 1);
    st_case *c = st_case_begin(suite, ST_OP_TOPK, m, n, k, "case %d: logits %s, at most %d adjustments", i,
                               kind_names[kind], max_adjust);
    topk_case *p = st_case_alloc(c, sizeof *p);
    *p = (topk_case){.adjust = -1, .n_adjust = -1};
    p->batch = st_case_rows(c, m + 2, m, true);
    p->args = (st_topk_args){.n_vocab = n, .k = k, .max_adjust = max_adjust};
    float *logits = st_case_alloc(c, (size_t)m * (size_t)n * sizeof *logits);
    int32_t *want = st_case_alloc(c, (size_t)m * sizeof *want);
    for (int32_t r = 0; r < m; r++) {
        want[r] = st_random_below(c, n + 1) - 1;
        for (int32_t t = 0; t < n; t++)
            logits[(size_t)r * (size_t)n + (size_t)t] = logit(c, kind, t);
        if (kind == WITH_INFINITY) /* of -infinity alone there is no distribution */
            logits[(size_t)r * (size_t)n + (size_t)st_random_below(c, n)] = 1.0f;
    }
    p->logits = st_case_buf_add(c, logits, (size_t)m * (size_t)n * sizeof *logits);
    p->want = st_case_buf_add(c, want, (size_t)m * sizeof *want);
    if (max_adjust > 0)
        fill_adjustments(c, p, max_adjust);
    size_t row = (size_t)k * sizeof(st_candidate), stats = sizeof(st_topk_stats);
    p->candidates = st_case_buf_add(c, NULL, (size_t)m * row);
    p->stats = st_case_buf_add(c, NULL, (size_t)m * stats);
    const int32_t *live = p->batch.host_out;
    st_case_plane(
        c, (st_plane){"candidates (token, value, raw)", ST_PLANE_F32, p->candidates, 0, row, m, 3 * k, live});
    st_case_plane(c, (st_plane){"stats", ST_PLANE_F32, p->stats, 0, stats, m, (int32_t)(stats / 4), live});
    c->with_nan = kind == WITH_NAN || max_adjust > 0; /* all tokens may be banned */
    c->args = p;
    c->run = run;
    st_case_end(c);
}

void st_validate_topk(st_suite *suite)
{
    static const int32_t rows[] = {1, 2, 3, 5};
    static const int32_t vocab[] = {1,   2,   3,   7,   8,   9,   15,  16,   17,   33,  63,
                                    255, 256, 257, 511, 512, 513, 769, 1009, 2048, 5003};
    static const int32_t counts[] = {1, 2, 5, 17, 40, 128, 255, 256};
    for (int i = 0; i < st_suite_tile_count(suite, 250); i++)
        one(suite, i, (logits_kind)(i % KINDS), ST_PICK(rows, i, 5), ST_PICK(vocab, i, 6),
            ST_PICK(counts, i, 7));
    for (int i = 0; i < st_suite_real_count(suite, 2); i++)
        one(suite, i, i ? TIES : SMOOTH, 2, 128256, 40);
}
