/* topk: the selection that all variants share, and the plain passes. */
#include "host/cpu/cpu.h"

/* NaN first, then descending, -0 as +0: larger keys rank higher. */
static uint32_t rank_key(float x)
{
    uint32_t u = st_bits(x);
    if (x != x)
        return UINT32_MAX;
    if (x == 0.0f)
        return UINT32_C(0x80000000);
    return u & UINT32_C(0x80000000) ? ~u : u | UINT32_C(0x80000000);
}

/* Tokens come in ascending order, so that an equal one ranks below those it meets. */
void st_cpu_select(st_cpu_selection *s, st_candidate c)
{
    uint32_t key = rank_key(c.value);
    if (s->n == s->k) {
        if (key <= rank_key(s->best[s->k - 1].value))
            return;
    } else {
        s->n++;
    }
    int32_t at = s->n - 1;
    for (; at > 0 && key > rank_key(s->best[at - 1].value); at--)
        s->best[at] = s->best[at - 1];
    s->best[at] = c;
}

bool st_cpu_topk_row_open(const st_cpu *cpu, const st_topk_args *a, int32_t row, st_cpu_topk_row *r)
{
    if (st_cpu_source_row(cpu, ST_ROWS_OUT, row) < 0)
        return false;
    size_t i = (size_t)row, k = (size_t)a->k;
    *r = (st_cpu_topk_row){.logits = (const float *)st_cpu_data(a->logits) + i * (size_t)a->n_vocab,
                           .n_vocab = a->n_vocab,
                           .best = {(st_candidate *)st_cpu_data(a->candidates) + i * k, a->k, 0},
                           .stats = (st_topk_stats *)st_cpu_data(a->stats) + i};
    if (a->max_adjust > 0) {
        r->adjust = (const st_adjustment *)st_cpu_data(a->adjust) + i * (size_t)a->max_adjust;
        r->n_adjust = ((const int32_t *)st_cpu_data(a->n_adjust))[i];
    }
    int32_t want = ((const int32_t *)st_cpu_data(a->want))[i];
    *r->stats = (st_topk_stats){0};
    if (want < 0)
        return true;
    r->stats->want = r->stats->want_adjusted = r->logits[want];
    for (int32_t n = 0; n < r->n_adjust; n++)
        if (r->adjust[n].token == want)
            r->stats->want_adjusted = st_adjusted(&r->adjust[n], r->logits[want]);
    return true;
}

int32_t st_cpu_adjusted_block(const st_cpu_topk_row *r, int32_t first, int32_t n, int32_t at, float *block)
{
    memcpy(block, r->logits + first, (size_t)n * sizeof(float));
    for (; at < r->n_adjust && r->adjust[at].token < first + n; at++) {
        float *x = &block[r->adjust[at].token - first];
        *x = st_adjusted(&r->adjust[at], *x);
    }
    return at;
}

/* NaN wins. */
static float larger(float a, float b)
{
    return rank_key(b) > rank_key(a) ? b : a;
}

/* A maximum as the stats show it: one NaN, and +0 for either zero. */
float st_cpu_topk_max(float max)
{
    return max != max ? (float)NAN : max + 0.0f;
}

static void row(const st_cpu *cpu, const void *args, int32_t i, float *scratch)
{
    (void)scratch;
    st_cpu_topk_row r;
    if (!st_cpu_topk_row_open(cpu, args, i, &r))
        return;
    float max = r.logits[0], adjusted_max = 0, lane[ST_LANES] = {0}, adjusted_lane[ST_LANES] = {0};
    float block[ST_LANES];
    for (int32_t first = 0, at = 0; first < r.n_vocab; first += ST_LANES) {
        int32_t n = (int32_t)st_min(ST_LANES, r.n_vocab - first);
        at = st_cpu_adjusted_block(&r, first, n, at, block);
        for (int32_t j = 0; j < n; j++) {
            float raw = r.logits[first + j];
            max = larger(max, raw);
            adjusted_max = first + j == 0 ? block[j] : larger(adjusted_max, block[j]);
            st_cpu_select(&r.best, (st_candidate){first + j, block[j], raw});
        }
    }
    max = st_cpu_topk_max(max);
    adjusted_max = st_cpu_topk_max(adjusted_max);
    for (int32_t first = 0, at = 0; first < r.n_vocab; first += ST_LANES) {
        int32_t n = (int32_t)st_min(ST_LANES, r.n_vocab - first);
        at = st_cpu_adjusted_block(&r, first, n, at, block);
        for (int32_t j = 0; j < n; j++) {
            lane[j] += st_exp(r.logits[first + j] - max);
            adjusted_lane[j] += st_exp(block[j] - adjusted_max);
        }
    }
    r.stats->max = max;
    r.stats->sum_exp = st_fold_lanes(lane);
    r.stats->adjusted_max = adjusted_max;
    r.stats->adjusted_sum_exp = st_fold_lanes(adjusted_lane);
}

void st_cpu_topk_portable(st_cpu *cpu, const void *args)
{
    const st_topk_args *a = args;
    st_cpu_rows(cpu, cpu->batch->n_out, 8 * ST_CPU_WORK_TOPK * (int64_t)a->n_vocab, row, args);
}
