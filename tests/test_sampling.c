/* What comes before the choice of a token: a request's wishes, random numbers, penalties and biases. */
#include "host/engine/sampler.h"
#include "tests/support/tiny_model.h"

#include <criterion/criterion.h>
#include <float.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>

/* ---- random numbers ---- */

/* Known answers published with Random123 (kat_vectors, philox4x32 10). */
Test(sampling, philox_known_answers)
{
    static const struct {
        uint32_t counter[4], key[2], out[4];
    } cases[] = {{{0, 0, 0, 0}, {0, 0}, {0x6627e8d5, 0xe169c58d, 0xbc57ac4c, 0x9b00dbd8}},
                 {{0xffffffff, 0xffffffff, 0xffffffff, 0xffffffff},
                  {0xffffffff, 0xffffffff},
                  {0x408f276d, 0x41c83b0e, 0xa20bc7c6, 0x6d5451fd}},
                 {{0x243f6a88, 0x85a308d3, 0x13198a2e, 0x03707344},
                  {0xa4093822, 0x299f31d0},
                  {0xd16cfe09, 0x94fdcceb, 0x5001e420, 0x24126ea1}}};
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        uint32_t out[4];
        st_philox(cases[i].counter, cases[i].key, out);
        cr_assert_arr_eq(out, cases[i].out, sizeof out, "case %zu", i);
    }
}

Test(sampling, uniform_counts_index_and_sample)
{
    static const uint32_t counter[4] = {0x89abcdef, 0x01234567, 99, 0}, key[2] = {0xcafef00d, 0xdeadbeef};
    uint32_t out[4];
    st_philox(counter, key, out);
    double expected = (double)(((uint64_t)out[1] << 32 | out[0]) >> 11) / 9007199254740992.0;
    cr_assert_eq(st_uniform(UINT64_C(0xdeadbeefcafef00d), 99, UINT64_C(0x0123456789abcdef)), expected);
}

/* p = 0.001 for 63 degrees of freedom. */
static void check_flat(const int *count, int bins, int draws, const char *what)
{
    double chi2 = 0.0, expected = (double)draws / bins;
    for (int b = 0; b < bins; b++)
        chi2 += pow(count[b] - expected, 2) / expected;
    cr_assert_lt(chi2, 103.4, "%s: chi2 %g with 63 degrees of freedom", what, chi2);
}

Test(sampling, uniform_fills_the_unit_interval)
{
    enum { DRAWS = 64000, BINS = 64 };
    int by_index[BINS] = {0}, by_sample[BINS] = {0}, pairs[BINS] = {0};
    for (uint32_t i = 0; i < DRAWS; i++) {
        double u = st_uniform(12345, 0, i), v = st_uniform(12345, 1, i), w = st_uniform(12345, i, 7);
        cr_assert(u >= 0.0 && u < 1.0 && w >= 0.0 && w < 1.0);
        cr_assert_neq(u, v, "index %u of two samples", i);
        by_index[(int)(u * BINS)]++;
        by_sample[(int)(w * BINS)]++;
        pairs[(int)(u * 8) * 8 + (int)(v * 8)]++;
    }
    check_flat(by_index, BINS, DRAWS, "indices of a sample");
    check_flat(by_sample, BINS, DRAWS, "samples at an index");
    check_flat(pairs, BINS, DRAWS, "two samples side by side");
    cr_assert_neq(st_uniform(1, 0, 7), st_uniform(2, 0, 7));
    cr_assert_neq(st_uniform(1, 0, 7), st_uniform(UINT64_C(1) | UINT64_C(1) << 32, 0, 7));
    cr_assert_neq(st_uniform(1, 0, 7), st_uniform(1, 0, 7 | UINT64_C(1) << 32));
}

/* ---- requests ---- */

static sterna_request neutral(void)
{
    return (sterna_request){
        .struct_size = sizeof(sterna_request), .typical_p = 1.0f, .top_p = 1.0f, .repetition_penalty = 1.0f};
}

Test(sampling, copies_a_request)
{
    static const sterna_logit_bias bias[] = {
        {9, 1.5f}, {0, -INFINITY}, {99, FLT_MAX}, {4, -FLT_MAX}, {5, 0.0f}};
    sterna_request r = neutral();
    r.temperature = 0.7f;
    r.top_k = 40;
    r.typical_p = 0.8f;
    r.top_p = 0.9f;
    r.min_p = 0.1f;
    r.repetition_penalty = 1.2f;
    r.presence_penalty = -0.5f;
    r.frequency_penalty = 0.25f;
    r.penalty_last_n = STERNA_MAX_PENALTY_LAST;
    r.seed = 77;
    r.bias = bias;
    r.n_bias = 5;
    st_sampling s;
    sterna_error error;
    cr_assert_eq(st_sampling_set(&s, &r, 100, &error), STERNA_OK, "%s", error.message);
    cr_assert(s.temperature == 0.7f && s.top_k == 40 && s.typical_p == 0.8f && s.top_p == 0.9f);
    cr_assert(s.min_p == 0.1f && s.repetition_penalty == 1.2f && s.presence_penalty == -0.5f);
    cr_assert(s.frequency_penalty == 0.25f && s.penalty_last_n == STERNA_MAX_PENALTY_LAST && s.seed == 77);
    static const sterna_logit_bias sorted[] = {
        {0, -INFINITY}, {4, -FLT_MAX}, {5, 0.0f}, {9, 1.5f}, {99, FLT_MAX}};
    cr_assert_eq(s.n_bias, 5);
    for (int i = 0; i < 5; i++)
        cr_assert(s.bias[i].token == sorted[i].token && s.bias[i].bias == sorted[i].bias, "bias %d", i);
}

Test(sampling, takes_as_many_biases_as_there_may_be)
{
    static sterna_logit_bias bias[STERNA_MAX_BIAS];
    for (int32_t i = 0; i < STERNA_MAX_BIAS; i++)
        bias[i] = (sterna_logit_bias){STERNA_MAX_BIAS - 1 - i, (float)i};
    sterna_request r = neutral();
    r.bias = bias;
    r.n_bias = STERNA_MAX_BIAS;
    st_sampling s;
    sterna_error error;
    cr_assert_eq(st_sampling_set(&s, &r, STERNA_MAX_BIAS, &error), STERNA_OK, "%s", error.message);
    for (int32_t i = 0; i < STERNA_MAX_BIAS; i++)
        cr_assert(s.bias[i].token == i && s.bias[i].bias == (float)(STERNA_MAX_BIAS - 1 - i));
}

static void refused(const sterna_request *r, const char *message)
{
    st_sampling s;
    sterna_error error = {0};
    cr_expect_eq(st_sampling_set(&s, r, 100, &error), STERNA_E_ARGUMENT, "not refused: %s", message);
    cr_expect_str_eq(error.message, message);
}

#define REFUSED(field, bad, message)                                                                         \
    do {                                                                                                     \
        sterna_request request = neutral();                                                                  \
        request.field = bad;                                                                                 \
        refused(&request, message);                                                                          \
    } while (0)

Test(sampling, refuses_each_bad_field)
{
    REFUSED(temperature, -0.5f, "temperature is -0.5, not a number from 0");
    REFUSED(temperature, (float)NAN, "temperature is nan, not a number from 0");
    REFUSED(temperature, INFINITY, "temperature is inf, not a number from 0");
    REFUSED(top_k, -1, "top_k is -1, not 0 or more");
    REFUSED(typical_p, 1.5f, "typical_p is 1.5, not 0 ... 1");
    REFUSED(typical_p, (float)NAN, "typical_p is nan, not 0 ... 1");
    REFUSED(top_p, -0.25f, "top_p is -0.25, not 0 ... 1");
    REFUSED(min_p, 2.0f, "min_p is 2, not 0 ... 1");
    REFUSED(repetition_penalty, 0.0f,
            "repetition_penalty is 0, not greater than 0 (1.17549e-38 ... 8.50706e+37)");
    REFUSED(repetition_penalty, (float)NAN,
            "repetition_penalty is nan, not greater than 0 (1.17549e-38 ... 8.50706e+37)");
    REFUSED(repetition_penalty, 1e38f,
            "repetition_penalty is 1e+38, not greater than 0 (1.17549e-38 ... 8.50706e+37)");
    REFUSED(repetition_penalty, 1e-38f,
            "repetition_penalty is 1e-38, not greater than 0 (1.17549e-38 ... 8.50706e+37)");
    REFUSED(presence_penalty, INFINITY, "presence_penalty is inf, not a finite number");
    REFUSED(frequency_penalty, (float)NAN, "frequency_penalty is nan, not a finite number");
    REFUSED(penalty_last_n, -1, "penalty_last_n is -1, not 0 ... 1024");
    REFUSED(penalty_last_n, 1025, "penalty_last_n is 1025, not 0 ... 1024");
    REFUSED(n_bias, 513, "n_bias is 513, not 0 ... 512");
    REFUSED(n_bias, -1, "n_bias is -1, not 0 ... 512");
    REFUSED(n_bias, 3, "n_bias is 3, but there are no biases");
}

Test(sampling, refuses_bad_biases)
{
    static const struct {
        sterna_logit_bias bias[3];
        const char *message;
    } cases[] = {
        {{{3, 1}, {-1, 1}, {4, 1}}, "bias 1 is of token -1, not 0 ... 99"},
        {{{3, 1}, {4, 1}, {100, 1}}, "bias 2 is of token 100, not 0 ... 99"},
        {{{3, 1}, {4, INFINITY}, {5, 1}}, "the bias of token 4 is inf, not a finite number or -inf"},
        {{{3, 1}, {4, 1}, {5, (float)NAN}}, "the bias of token 5 is nan, not a finite number or -inf"},
        {{{8, 1}, {3, 1}, {8, 2}}, "token 8 has two biases"},
        {{{3, 1}, {8, 1}, {3, 1}}, "token 3 has two biases"},
    };
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        sterna_request r = neutral();
        r.bias = cases[i].bias;
        r.n_bias = 3;
        refused(&r, cases[i].message);
    }
}

/* ---- penalties and biases ---- */

static st_sampling penalties(float repetition, float presence, float frequency, int32_t last_n)
{
    return (st_sampling){.typical_p = 1.0f,
                         .top_p = 1.0f,
                         .repetition_penalty = repetition,
                         .presence_penalty = presence,
                         .frequency_penalty = frequency,
                         .penalty_last_n = last_n};
}

/* The meaning, told by numbers. */
Test(sampling, penalties_change_logits_as_documented)
{
    static const int32_t token[] = {6, 7, 7, 5, 7, 2};
    int32_t scratch[STERNA_MAX_PENALTY_LAST];
    static st_adjustment adjust[ST_MAX_ADJUST];
    st_sampling s = penalties(1.25f, 0.5f, 0.25f, 5);
    s.bias[s.n_bias++] = (sterna_logit_bias){1, 3.0f};
    s.bias[s.n_bias++] = (sterna_logit_bias){5, 10.0f};
    s.bias[s.n_bias++] = (sterna_logit_bias){7, -INFINITY};
    s.bias[s.n_bias++] = (sterna_logit_bias){9, -2.0f};
    cr_assert_eq(st_adjustments(&s, token, 6, scratch, adjust), 5);
    static const struct {
        int32_t token;
        float of_2, of_minus_2; /* what logits 2 and -2 become */
    } expected[] = {
        {1, 5.0f, 1.0f},                          /* bias alone */
        {2, 2.0f / 1.25f - 0.75f, -2.5f - 0.75f}, /* once */
        {5, 2.0f / 1.25f + 9.25f, -2.5f + 9.25f}, /* once, and bias */
        {7, -INFINITY, -INFINITY},                /* three times, but banned */
        {9, 0.0f, -4.0f},
    };
    for (int i = 0; i < 5; i++) {
        float up = st_adjusted(&adjust[i], 2.0f), down = st_adjusted(&adjust[i], -2.0f);
        cr_expect_eq(adjust[i].token, expected[i].token);
        cr_expect(up == expected[i].of_2 || fabsf(up - expected[i].of_2) < 1e-6f, "token %d: %g",
                  adjust[i].token, (double)up);
        cr_expect(down == expected[i].of_minus_2 || fabsf(down - expected[i].of_minus_2) < 1e-6f,
                  "token %d: %g", adjust[i].token, (double)down);
    }
    /* a ban also holds where a penalty would give inf - inf */
    cr_expect_eq(st_adjusted(&adjust[3], FLT_MAX), -INFINITY);
    cr_expect_eq(st_adjusted(&adjust[3], -INFINITY), -INFINITY);
    s.n_bias = 0;
    cr_assert_eq(st_adjustments(&s, token, 6, scratch, adjust), 3);
    cr_assert_eq(adjust[2].token, 7);
    cr_assert_float_eq(st_adjusted(&adjust[2], 2.0f), 2.0f / 1.25f - 3 * 0.25f - 0.5f, 1e-6);
}

/* The definition, token by token of the vocabulary. */
static int32_t define(const st_sampling *s, const int32_t *token, int32_t n_token, int32_t n_vocab,
                      st_adjustment *adjust)
{
    int32_t n = 0, first = n_token > s->penalty_last_n ? n_token - s->penalty_last_n : 0;
    for (int32_t t = 0; t < n_vocab; t++) {
        st_adjustment a = {t, 1.0f, 1.0f, 0.0f};
        float count = 0.0f;
        for (int32_t i = first; i < n_token; i++)
            count += token[i] == t ? 1.0f : 0.0f;
        for (int32_t i = 0; i < s->n_bias; i++)
            if (s->bias[i].token == t)
                a.add = s->bias[i].bias;
        if (count > 0.0f && a.add != -INFINITY) {
            a.positive = 1.0f / s->repetition_penalty;
            a.negative = s->repetition_penalty;
            float product = count * s->frequency_penalty;
            a.add -= product;
            a.add -= s->presence_penalty;
        }
        if (a.positive != 1.0f || a.negative != 1.0f || a.add != 0.0f)
            adjust[n++] = a;
    }
    return n;
}

Test(sampling, adjustments_follow_the_definition)
{
    enum { VOCAB = 3000, LENGTH = 1500 };
    static int32_t token[LENGTH];
    static st_adjustment adjust[ST_MAX_ADJUST], expected[VOCAB];
    int32_t scratch[STERNA_MAX_PENALTY_LAST], most = 0;
    static const float repetitions[] = {1.0f, 1.1f, 0.7f, 1.0f}, others[] = {0.0f, 0.3f, -0.7f, 0.0f};
    static const int32_t windows[] = {0, 1, 2, 64, 1000, STERNA_MAX_PENALTY_LAST},
                         vocabs[] = {1, 5, 100, VOCAB}, lengths[] = {1, 2, 63, 64, 65, LENGTH};
    uint64_t state = 5;
    for (int round = 0; round < 800; round++) {
        st_sampling s = penalties(repetitions[tiny_random(&state) % 4], others[tiny_random(&state) % 4],
                                  others[tiny_random(&state) % 4], windows[tiny_random(&state) % 6]);
        int32_t n_vocab = vocabs[tiny_random(&state) % 4], n_token = lengths[tiny_random(&state) % 6];
        for (int32_t i = 0; i < n_token; i++)
            token[i] = (int32_t)(tiny_random(&state) % (uint64_t)n_vocab);
        int32_t every = 1 + (int32_t)(tiny_random(&state) % 10);
        for (int32_t t = 0; t < n_vocab && s.n_bias < STERNA_MAX_BIAS && round % 3; t++)
            if (tiny_random(&state) % (uint64_t)every == 0)
                s.bias[s.n_bias++] = (sterna_logit_bias){
                    t, tiny_random(&state) % 5 ? others[tiny_random(&state) % 4] : -INFINITY};
        int32_t n = st_adjustments(&s, token, n_token, scratch, adjust);
        cr_assert_eq(n, define(&s, token, n_token, n_vocab, expected), "round %d", round);
        for (int32_t i = 0; i < n; i++)
            cr_assert(memcmp(&adjust[i], &expected[i], sizeof *adjust) == 0, "round %d, token %d", round,
                      expected[i].token);
        most = n > most ? n : most;
    }
    cr_assert_gt(most, 1000);
}

Test(sampling, adjustments_fit_where_they_are_most)
{
    static int32_t token[STERNA_MAX_PENALTY_LAST + 1];
    static st_adjustment adjust[ST_MAX_ADJUST];
    int32_t scratch[STERNA_MAX_PENALTY_LAST];
    st_sampling s = penalties(1.1f, 0.0f, 0.0f, STERNA_MAX_PENALTY_LAST);
    for (int32_t i = 0; i <= STERNA_MAX_PENALTY_LAST; i++)
        token[i] = 5000 - 2 * i; /* the first is out of sight */
    for (; s.n_bias < STERNA_MAX_BIAS; s.n_bias++)
        s.bias[s.n_bias] = (sterna_logit_bias){2 * s.n_bias + 3001, 1.0f};
    cr_assert_eq(st_adjustments(&s, token, STERNA_MAX_PENALTY_LAST + 1, scratch, adjust), ST_MAX_ADJUST);
    for (int32_t i = 1; i < ST_MAX_ADJUST; i++)
        cr_assert_lt(adjust[i - 1].token, adjust[i].token);
    cr_assert_eq(adjust[ST_MAX_ADJUST - 1].token, 4998);
}

/* ---- rows without probabilities ---- */

Test(sampling, refuses_what_is_not_a_number)
{
    static const struct {
        st_topk_stats stats;
        sterna_status status;
        const char *message;
    } cases[] = {
        {{1, 2, 1, 2, 0, 0}, STERNA_OK, ""},
        {{NAN, 2, NAN, 2, 0, 0}, STERNA_E_DEVICE, "the largest logit is not finite (nan)"},
        {{INFINITY, 2, 1, 2, 0, 0}, STERNA_E_DEVICE, "the largest logit is not finite (inf)"},
        {{-INFINITY, NAN, -INFINITY, NAN, 0, 0}, STERNA_E_DEVICE, "the largest logit is not finite (-inf)"},
        {{1, NAN, 1, NAN, 0, 0}, STERNA_E_DEVICE, "the normaliser of the logits is not finite and positive"},
        {{1, 0, 1, 2, 0, 0}, STERNA_E_DEVICE, "the normaliser of the logits is not finite and positive (0)"},
        {{1, 2, -INFINITY, NAN, 0, 0}, STERNA_E_ARGUMENT, "no token is left"},
        {{1, 2, INFINITY, NAN, 0, 0}, STERNA_E_ARGUMENT, "make the largest logit inf (it was 1)"},
        {{1, 2, NAN, NAN, 0, 0}, STERNA_E_ARGUMENT, "make the largest logit nan (it was 1)"},
        {{1, 2, 1, 0, 0, 0}, STERNA_E_DEVICE, "the normaliser of the adjusted logits"},
        {{1, 2, 1, INFINITY, 0, 0}, STERNA_E_DEVICE, "the normaliser of the adjusted logits"},
    };
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        sterna_error error = {0};
        cr_expect_eq(st_sample_check(&cases[i].stats, &error), cases[i].status, "case %zu", i);
        cr_expect(strstr(error.message, cases[i].message), "case %zu: %s", i, error.message);
    }
}
