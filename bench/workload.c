#include "bench/workload.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

/* Streams of the seed. */
enum { TIMES, CLASSES, LENGTHS, SHARES, COMMON, FIRST_PROMPT = 1 << 10 };

bool st_parse_mix(const char *text, int32_t max, st_mix *mix)
{
    int n = 0;
    const char *colon = strchr(text, ':');
    if (!st_parse_counts(text, colon ? ':' : '\0', 1, max, mix->length, &mix->n))
        return false;
    for (int i = 0; i < mix->n; i++)
        mix->weight[i] = 1.0;
    if (colon && (!st_parse_rates(colon + 1, mix->weight, &n) || n != mix->n))
        return false;
    double sum = 0.0;
    for (int i = 0; i < mix->n; i++)
        sum += mix->weight[i];
    for (int i = 0; i < mix->n; i++)
        mix->weight[i] /= sum;
    return isfinite(sum);
}

static int draw_class(const st_mix *mix, uint64_t *state)
{
    double left = st_draw_unit(state);
    int class = 0;
    while (class < mix->n - 1 && left >= mix->weight[class])
        left -= mix->weight[class ++];
    return class;
}

bool st_workload_make(st_workload *w, double rate)
{
    w->arrival = calloc((size_t)w->n_request, sizeof *w->arrival);
    if (!w->arrival)
        return false;
    uint64_t times = st_stream(w->seed, TIMES), classes = st_stream(w->seed, CLASSES);
    uint64_t lengths = st_stream(w->seed, LENGTHS), shares = st_stream(w->seed, SHARES);
    double at = 0.0;
    for (int32_t i = 0; i < w->n_request; i++) {
        st_arrival *a = &w->arrival[i];
        at -= log(st_draw_unit(&times)); /* exponential gaps of mean 1 */
        a->at = isinf(rate) ? 0.0 : at / rate;
        a->class = draw_class(&w->mix, &classes);
        a->shared = st_draw_unit(&shares) < w->common_share && w->n_common > 0;
        a->n_prompt = w->mix.length[a->class] + (a->shared ? w->n_common : 0);
        a->n_predict = w->predict[0] + st_draw_below(&lengths, w->predict[1] - w->predict[0] + 1);
    }
    return true;
}

void st_workload_free(st_workload *w)
{
    free(w->arrival);
    w->arrival = NULL;
}

void st_workload_prompt(const st_workload *w, int32_t index, int32_t n_vocab, sterna_token *tokens)
{
    const st_arrival *a = &w->arrival[index];
    uint64_t common = st_stream(w->seed, COMMON), own = st_stream(w->seed, FIRST_PROMPT + (uint64_t)index);
    int32_t n_common = a->shared ? w->n_common : 0;
    st_draw_tokens(&common, n_vocab, tokens, n_common);
    st_draw_tokens(&own, n_vocab, tokens + n_common, a->n_prompt - n_common);
}

int32_t st_workload_longest_prompt(const st_workload *w)
{
    int32_t longest = 0;
    for (int i = 0; i < w->mix.n; i++)
        longest = w->mix.length[i] > longest ? w->mix.length[i] : longest;
    return longest + (w->common_share > 0.0 ? w->n_common : 0);
}
