#include "tests/support/script_text.h"

#include <string.h>

enum { LAST = SCRIPT_MAX_VOCAB - 1 }; /* bits of a state that are the last token */

static uint64_t mix(uint64_t z)
{
    z = (z ^ z >> 30) * UINT64_C(0xbf58476d1ce4e5b9);
    z = (z ^ z >> 27) * UINT64_C(0x94d049bb133111eb);
    return z ^ z >> 31;
}

script_state script_next(script_state state, int32_t token)
{
    uint64_t h = mix(state + UINT64_C(0x9e3779b97f4a7c15) * (uint64_t)(token + 1));
    return (h & ~(uint64_t)LAST) | (uint64_t)token;
}

/* What comes after `token` seven times of eight. */
static int32_t successor(int32_t token, int32_t n_vocab)
{
    int32_t next = token % SCRIPT_CYCLE == SCRIPT_CYCLE - 1 ? token - SCRIPT_CYCLE + 1 : token + 1;
    return next < n_vocab ? next : 0;
}

void script_logits(script_state state, int32_t n_vocab, float *logits)
{
    for (int32_t first = 0; first < n_vocab; first += 8) {
        uint64_t bits = mix(state ^ (uint64_t)(first + 1) << 32);
        for (int32_t i = first; i < n_vocab && i < first + 8; i++, bits >>= 8)
            logits[i] = (float)((int32_t)(bits & 255) - 160) * (1.0f / 32.0f); /* -5 ... 3 */
    }
    uint64_t choice = mix(~state);
    int32_t best =
        choice % 8 ? successor((int32_t)(state & LAST), n_vocab) : (int32_t)(choice / 8 % (uint64_t)n_vocab);
    logits[best] = 4.0f + (float)(choice >> 56) * (1.0f / 64.0f);
}

/* ---- topk ---- */

static void normaliser(const float *value, int32_t n, float *max, float *sum_exp)
{
    float lane[ST_LANES] = {0}, top = value[0];
    for (int32_t i = 1; i < n; i++)
        top = value[i] > top ? value[i] : top;
    top += 0.0f; /* -0 counts as +0 */
    for (int32_t i = 0; i < n; i++)
        lane[i % ST_LANES] += st_exp(value[i] - top);
    *max = top;
    *sum_exp = st_fold_lanes(lane);
}

/* Ascending keys are descending values, equal ones by ascending token. */
static uint64_t key_of(float value, int32_t token)
{
    uint32_t bits = st_bits(value + 0.0f);
    uint32_t rising = bits >> 31 ? ~bits : bits | UINT32_C(0x80000000);
    return (uint64_t)~rising << 32 | (uint32_t)token;
}

/* The n smallest of keys in order, at the beginning. */
static void select_smallest(uint64_t *key, int32_t n_key, int32_t n)
{
    for (int32_t i = 1; i < n_key; i++) {
        uint64_t moved = key[i];
        int32_t at = (int32_t)st_min(i, n);
        if (at == n && moved > key[n - 1])
            continue;
        at -= at == n;
        for (; at > 0 && key[at - 1] > moved; at--)
            key[at] = key[at - 1];
        key[at] = moved;
    }
}

void script_topk_row(const float *logits, int32_t n_vocab, const st_adjustment *adjust, int32_t n_adjust,
                     int32_t want, int32_t k, st_candidate *candidates, st_topk_stats *stats)
{
    float changed[SCRIPT_MAX_VOCAB];
    const float *value = logits;
    normaliser(logits, n_vocab, &stats->max, &stats->sum_exp);
    stats->adjusted_max = stats->max;
    stats->adjusted_sum_exp = stats->sum_exp;
    if (n_adjust > 0) {
        memcpy(changed, logits, (size_t)n_vocab * sizeof *changed);
        for (int32_t i = 0; i < n_adjust; i++) {
            float x = logits[adjust[i].token];
            float product = x * (x > 0.0f ? adjust[i].positive : adjust[i].negative);
            changed[adjust[i].token] = product + adjust[i].add;
        }
        normaliser(changed, n_vocab, &stats->adjusted_max, &stats->adjusted_sum_exp);
        value = changed;
    }
    stats->want = want < 0 ? 0.0f : logits[want];
    stats->want_adjusted = want < 0 ? 0.0f : value[want];
    if (!candidates)
        return;
    uint64_t key[SCRIPT_MAX_VOCAB];
    for (int32_t i = 0; i < n_vocab; i++)
        key[i] = key_of(value[i], i);
    select_smallest(key, n_vocab, k);
    for (int32_t i = 0; i < k; i++) {
        int32_t token = (int32_t)(uint32_t)key[i];
        candidates[i] = (st_candidate){.token = token, .value = value[token], .raw = logits[token]};
    }
}
