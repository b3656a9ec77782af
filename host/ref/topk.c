#include "host/ref/ref.h"

/* True if logit a comes before logit b of a greater token. */
static bool before(float a, float b)
{
    if (isnan(a) || isnan(b))
        return isnan(a) || !isnan(b);
    return a >= b; /* -0 equals +0 */
}

/* Maximum (NaN if there is one, never -0) and sum of exp of the distances to it. */
static void normaliser(const float *l, int32_t n, float *max, float *sum_exp)
{
    float top = l[0];
    for (int32_t i = 1; i < n; i++)
        top = before(top, l[i]) ? top : l[i];
    top = isnan(top) ? (float)NAN : top + 0.0f;
    float lane[ST_LANES] = {0};
    for (int32_t i = 0; i < n; i++)
        lane[i % ST_LANES] += st_exp(l[i] - top);
    *max = top;
    *sum_exp = st_fold_lanes(lane);
}

/* Tokens come in ascending order, so that an equal one stays behind. */
static void select_largest(const float *raw, const float *adjusted, int32_t n, int32_t k, st_candidate *best)
{
    int32_t count = 0;
    for (int32_t token = 0; token < n; token++) {
        if (count == k && before(best[k - 1].value, adjusted[token]))
            continue;
        int32_t at = count < k ? count++ : k - 1;
        for (; at > 0 && !before(best[at - 1].value, adjusted[token]); at--)
            best[at] = best[at - 1];
        best[at] = (st_candidate){.token = token, .value = adjusted[token], .raw = raw[token]};
    }
}

void st_ref_topk(st_ref_device *d, const st_topk_args *a)
{
    const int32_t *want = st_ref_data(a->want);
    float *adjusted = d->scratch;
    for (int32_t r = 0; r < d->batch->n_out; r++) {
        if (st_ref_token_row(d, ST_ROWS_OUT, r) < 0)
            continue;
        const float *raw = (const float *)st_ref_data(a->logits) + (size_t)r * (size_t)a->n_vocab;
        memcpy(adjusted, raw, (size_t)a->n_vocab * sizeof(float));
        int32_t n_adjust = a->max_adjust ? ((const int32_t *)st_ref_data(a->n_adjust))[r] : 0;
        for (int32_t i = 0; i < n_adjust; i++) {
            const st_adjustment *change =
                (const st_adjustment *)st_ref_data(a->adjust) + (size_t)r * (size_t)a->max_adjust + i;
            adjusted[change->token] = st_adjusted(change, raw[change->token]);
        }
        st_topk_stats *stats = (st_topk_stats *)st_ref_data(a->stats) + r;
        normaliser(raw, a->n_vocab, &stats->max, &stats->sum_exp);
        normaliser(adjusted, a->n_vocab, &stats->adjusted_max, &stats->adjusted_sum_exp);
        stats->want = want[r] < 0 ? 0.0f : raw[want[r]];
        stats->want_adjusted = want[r] < 0 ? 0.0f : adjusted[want[r]];
        select_largest(raw, adjusted, a->n_vocab, a->k,
                       (st_candidate *)st_ref_data(a->candidates) + (size_t)r * (size_t)a->k);
    }
}
