/* What comes before the choice of a token: a request's wishes, random numbers, penalties and biases. */
#include "host/engine/sampler.h"

#include <float.h>

/* ---- wishes ---- */

static sterna_status check_share(const char *name, float share, sterna_error *error)
{
    if (!(share >= 0.0f && share <= 1.0f))
        return st_fail(error, STERNA_E_ARGUMENT, "%s is %g, not 0 ... 1", name, (double)share);
    return STERNA_OK;
}

static sterna_status check_filters(const sterna_request *r, sterna_error *error)
{
    if (!isfinite(r->temperature) || r->temperature < 0.0f)
        return st_fail(error, STERNA_E_ARGUMENT, "temperature is %g, not a number from 0",
                       (double)r->temperature);
    if (r->top_k < 0)
        return st_fail(error, STERNA_E_ARGUMENT, "top_k is %d, not 0 or more", r->top_k);
    sterna_status status = check_share("typical_p", r->typical_p, error);
    if (status == STERNA_OK)
        status = check_share("top_p", r->top_p, error);
    return status == STERNA_OK ? check_share("min_p", r->min_p, error) : status;
}

static sterna_status check_penalties(const sterna_request *r, sterna_error *error)
{
    float p = r->repetition_penalty;
    if (!(p >= 0x1p-126f && p <= 0x1p126f)) /* p and 1 / p are normal numbers */
        return st_fail(error, STERNA_E_ARGUMENT, "repetition_penalty is %g, not greater than 0 (%g ... %g)",
                       (double)p, 0x1p-126, 0x1p126);
    if (!isfinite(r->presence_penalty))
        return st_fail(error, STERNA_E_ARGUMENT, "presence_penalty is %g, not a finite number",
                       (double)r->presence_penalty);
    if (!isfinite(r->frequency_penalty))
        return st_fail(error, STERNA_E_ARGUMENT, "frequency_penalty is %g, not a finite number",
                       (double)r->frequency_penalty);
    if (r->penalty_last_n < 0 || r->penalty_last_n > STERNA_MAX_PENALTY_LAST)
        return st_fail(error, STERNA_E_ARGUMENT, "penalty_last_n is %d, not 0 ... %d", r->penalty_last_n,
                       STERNA_MAX_PENALTY_LAST);
    return STERNA_OK;
}

/* Keeps s->bias ascending by insertion: biases mostly come in order. */
static sterna_status set_biases(st_sampling *s, const sterna_request *r, int32_t n_vocab, sterna_error *error)
{
    if (r->n_bias < 0 || r->n_bias > STERNA_MAX_BIAS)
        return st_fail(error, STERNA_E_ARGUMENT, "n_bias is %d, not 0 ... %d", r->n_bias, STERNA_MAX_BIAS);
    if (r->n_bias > 0 && !r->bias)
        return st_fail(error, STERNA_E_ARGUMENT, "n_bias is %d, but there are no biases", r->n_bias);
    for (s->n_bias = 0; s->n_bias < r->n_bias; s->n_bias++) {
        sterna_logit_bias b = r->bias[s->n_bias];
        if (b.token < 0 || b.token >= n_vocab)
            return st_fail(error, STERNA_E_ARGUMENT, "bias %d is of token %d, not 0 ... %d", s->n_bias,
                           b.token, n_vocab - 1);
        if (!(b.bias <= FLT_MAX)) /* NaN too */
            return st_fail(error, STERNA_E_ARGUMENT,
                           "the bias of token %d is %g, not a finite number or -inf", b.token,
                           (double)b.bias);
        int32_t at = s->n_bias;
        for (; at > 0 && s->bias[at - 1].token >= b.token; at--) {
            if (s->bias[at - 1].token == b.token)
                return st_fail(error, STERNA_E_ARGUMENT, "token %d has two biases", b.token);
            s->bias[at] = s->bias[at - 1];
        }
        s->bias[at] = b;
    }
    return STERNA_OK;
}

sterna_status st_sampling_set(st_sampling *s, const sterna_request *r, int32_t n_vocab, sterna_error *error)
{
    sterna_status status = check_filters(r, error);
    if (status == STERNA_OK)
        status = check_penalties(r, error);
    if (status == STERNA_OK)
        status = set_biases(s, r, n_vocab, error);
    s->temperature = r->temperature;
    s->top_k = r->top_k;
    s->typical_p = r->typical_p;
    s->top_p = r->top_p;
    s->min_p = r->min_p;
    s->repetition_penalty = r->repetition_penalty;
    s->presence_penalty = r->presence_penalty;
    s->frequency_penalty = r->frequency_penalty;
    s->penalty_last_n = r->penalty_last_n;
    s->seed = r->seed;
    return status;
}

/* ---- random numbers ---- */

void st_philox(const uint32_t counter[4], const uint32_t key[2], uint32_t out[4])
{
    uint32_t c0 = counter[0], c1 = counter[1], c2 = counter[2], c3 = counter[3];
    uint32_t k0 = key[0], k1 = key[1];
    for (int round = 0; round < 10; round++) {
        uint64_t a = UINT64_C(0xD2511F53) * c0, b = UINT64_C(0xCD9E8D57) * c2;
        c0 = (uint32_t)(b >> 32) ^ c1 ^ k0;
        c2 = (uint32_t)(a >> 32) ^ c3 ^ k1;
        c1 = (uint32_t)b;
        c3 = (uint32_t)a;
        k0 += UINT32_C(0x9E3779B9);
        k1 += UINT32_C(0xBB67AE85);
    }
    out[0] = c0;
    out[1] = c1;
    out[2] = c2;
    out[3] = c3;
}

double st_uniform(uint64_t seed, uint32_t sample, uint64_t index)
{
    const uint32_t counter[4] = {(uint32_t)index, (uint32_t)(index >> 32), sample, 0};
    const uint32_t key[2] = {(uint32_t)seed, (uint32_t)(seed >> 32)};
    uint32_t word[4];
    st_philox(counter, key, word);
    uint64_t bits = (uint64_t)word[1] << 32 | word[0];
    return (double)(bits >> 11) * 0x1p-53;
}

/* ---- penalties and biases ---- */

/* In place and without memory of its own, which the C library's qsort may take. Ciura's gaps. */
static void sort_ascending(int32_t *x, int32_t n)
{
    static const int32_t gaps[] = {701, 301, 132, 57, 23, 10, 4, 1};
    for (size_t g = 0; g < sizeof gaps / sizeof gaps[0]; g++)
        for (int32_t i = gaps[g]; i < n; i++) {
            int32_t moved = x[i], at = i;
            for (; at >= gaps[g] && x[at - gaps[g]] > moved; at -= gaps[g])
                x[at] = x[at - gaps[g]];
            x[at] = moved;
        }
}

/* The tokens that penalties look at, ascending; returns their number. */
static int32_t penalised(const st_sampling *s, const int32_t *token, int32_t n_token, int32_t *window)
{
    if (s->repetition_penalty == 1.0f && s->presence_penalty == 0.0f && s->frequency_penalty == 0.0f)
        return 0;
    int32_t n = (int32_t)st_min(n_token, s->penalty_last_n);
    for (int32_t i = 0; i < n; i++)
        window[i] = token[n_token - n + i];
    sort_ascending(window, n);
    return n;
}

/* `count`: how often the token occurs among those that penalties look at. */
static st_adjustment adjustment(const st_sampling *s, int32_t token, int32_t count, float bias)
{
    st_adjustment a = {.token = token, .positive = 1.0f, .negative = 1.0f, .add = bias};
    if (count == 0 || bias == -INFINITY)
        return a;
    a.positive = 1.0f / s->repetition_penalty;
    a.negative = s->repetition_penalty;
    a.add = bias - (float)count * s->frequency_penalty - s->presence_penalty;
    return a;
}

int32_t st_adjustments(const st_sampling *s, const int32_t *token, int32_t n_token, int32_t *scratch,
                       st_adjustment *adjust)
{
    const int32_t *window = scratch;
    int32_t n_window = penalised(s, token, n_token, scratch), n = 0;
    for (int32_t at = 0, b = 0; at < n_window || b < s->n_bias;) {
        int32_t next = at < n_window ? window[at] : INT32_MAX, count = 0;
        float bias = 0.0f;
        if (b < s->n_bias && s->bias[b].token < next)
            next = s->bias[b].token;
        if (b < s->n_bias && s->bias[b].token == next)
            bias = s->bias[b++].bias;
        for (; at < n_window && window[at] == next; at++)
            count++;
        st_adjustment a = adjustment(s, next, count, bias);
        if (a.positive != 1.0f || a.negative != 1.0f || a.add != 0.0f)
            adjust[n++] = a;
    }
    return n;
}

sterna_status st_sample_check(const st_topk_stats *stats, sterna_error *error)
{
    if (!isfinite(stats->max))
        return st_fail(error, STERNA_E_DEVICE, "the largest logit is not finite (%g)", (double)stats->max);
    if (!isfinite(stats->sum_exp) || stats->sum_exp <= 0.0f)
        return st_fail(error, STERNA_E_DEVICE, "the normaliser of the logits is not finite and positive (%g)",
                       (double)stats->sum_exp);
    if (stats->adjusted_max == -INFINITY)
        return st_fail(error, STERNA_E_ARGUMENT,
                       "no token is left: penalties and biases make every logit -inf (the largest was %g)",
                       (double)stats->max);
    if (!isfinite(stats->adjusted_max))
        return st_fail(error, STERNA_E_ARGUMENT, "penalties and biases make the largest logit %g (it was %g)",
                       (double)stats->adjusted_max, (double)stats->max);
    if (!isfinite(stats->adjusted_sum_exp) || stats->adjusted_sum_exp <= 0.0f)
        return st_fail(error, STERNA_E_DEVICE,
                       "the normaliser of the adjusted logits is not finite and positive (%g)",
                       (double)stats->adjusted_sum_exp);
    return STERNA_OK;
}
