/* The fields of a request's line: most are options under their JSON names, with the options' ranges. */
#include "host/cli/batch.h"

#include <inttypes.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>

/* Values of the line in place of the options'. */
typedef struct values {
    st_sampling sampling;
    st_lists lists; /* of the options or the line, owned by them */
    int32_t samples, logprobs;
} values;

static const struct {
    const char *key, *option; /* of st_sampling_options */
} fields[] = {
    {"n", "--predict"},
    {"n_predict", "--predict"},
    {"max_tokens", "--predict"},
    {"temperature", "--temp"},
    {"top_k", "--top-k"},
    {"typical_p", "--typical"},
    {"top_p", "--top-p"},
    {"min_p", "--min-p"},
    {"seed", "--seed"},
    {"repeat_penalty", "--repeat-penalty"},
    {"presence_penalty", "--presence-penalty"},
    {"frequency_penalty", "--frequency-penalty"},
    {"repeat_last_n", "--repeat-last-n"},
    {"ignore_eos", "--ignore-eos"},
    {"draft", "--draft"},
    {"stop", "--stop"},
    {"stop_tokens", "--stop-token"},
    {"logit_bias", "--logit-bias"},
};

static int bad_field(const st_place *at, const char *key, const char *expected)
{
    return st_place_fail(at, "\"%s\" is not %s", key, expected);
}

/* ---- single values ---- */

static int take_int(const st_place *at, const char *key, const json_t *value, double min, double max,
                    int32_t *out)
{
    char expected[96];
    snprintf(expected, sizeof expected, "an integer from %.0f to %.0f", min, max);
    if (!json_is_integer(value) || (double)json_integer_value(value) < min ||
        (double)json_integer_value(value) > max)
        return bad_field(at, key, expected);
    *out = (int32_t)json_integer_value(value);
    return ST_EXIT_OK;
}

static int take_real(const st_place *at, const char *key, const json_t *value, double min, double max,
                     float *out)
{
    char expected[64];
    snprintf(expected, sizeof expected, "a number from %g to %g", min, max);
    if (!json_is_number(value) || json_number_value(value) < min || json_number_value(value) > max)
        return bad_field(at, key, expected);
    *out = (float)json_number_value(value);
    return ST_EXIT_OK;
}

/* jansson's integers end at 2^63 - 1: larger seeds are strings. */
static int take_seed(const st_place *at, const char *key, const json_t *value, uint64_t *out)
{
    static const char expected[] = "an integer from 0 to 9223372036854775807, or a string of one up to "
                                   "18446744073709551615";
    if (json_is_integer(value) && json_integer_value(value) >= 0) {
        *out = (uint64_t)json_integer_value(value);
        return ST_EXIT_OK;
    }
    const char *text = json_string_value(value);
    size_t n = text ? json_string_length(value) : 0;
    uint64_t seed = 0;
    for (size_t i = 0; i < n; i++) {
        uint64_t digit = (uint64_t)(unsigned char)text[i] - '0';
        if (digit > 9 || seed > (UINT64_MAX - digit) / 10)
            return bad_field(at, key, expected);
        seed = 10 * seed + digit;
    }
    *out = seed;
    return n > 0 ? ST_EXIT_OK : bad_field(at, key, expected);
}

static int take_flag(const st_place *at, const char *key, const json_t *value, bool *out)
{
    if (!json_is_boolean(value))
        return bad_field(at, key, "true or false");
    *out = json_is_true(value);
    return ST_EXIT_OK;
}

/* ---- lists ---- */

static int take_stop(const st_place *at, const json_t *value, st_lists *lists)
{
    size_t n = json_is_array(value) ? json_array_size(value) : 1;
    if (n > STERNA_MAX_STOP)
        return st_place_fail(at, "\"stop\" has %zu strings, but at most %d are possible", n, STERNA_MAX_STOP);
    lists->stop = calloc(n + 1, sizeof *lists->stop);
    for (size_t i = 0; lists->stop && i < n; i++) {
        const json_t *text = json_is_array(value) ? json_array_get(value, i) : value;
        size_t size = json_string_length(text);
        if (!json_is_string(text))
            return bad_field(at, "stop", "a string or an array of strings");
        if (size == 0 || memchr(json_string_value(text), '\0', size))
            return st_place_fail(at, "\"stop\" has a string that is empty or holds a NUL");
        if (size > STERNA_MAX_STOP_BYTES)
            return st_place_fail(at, "\"stop\" has a string of %zu bytes, but at most %d are possible", size,
                                 STERNA_MAX_STOP_BYTES);
        char *copy = malloc(size + 1);
        if (!copy)
            return st_place_fail(at, "out of memory");
        memcpy(copy, json_string_value(text), size + 1);
        lists->stop[lists->n_stop++] = copy;
    }
    return lists->stop ? ST_EXIT_OK : st_place_fail(at, "out of memory");
}

static int take_stop_tokens(const st_place *at, const json_t *value, int32_t n_vocab, st_lists *lists)
{
    size_t n = json_array_size(value);
    if (!json_is_array(value))
        return bad_field(at, "stop_tokens", "an array of integers");
    if (n > STERNA_MAX_STOP)
        return st_place_fail(at, "\"stop_tokens\" has %zu tokens, but at most %d are possible", n,
                             STERNA_MAX_STOP);
    lists->stop_token = calloc(n + 1, sizeof *lists->stop_token);
    for (size_t i = 0; lists->stop_token && i < n; i++) {
        const json_t *token = json_array_get(value, i);
        if (!json_is_integer(token))
            return bad_field(at, "stop_tokens", "an array of integers");
        if (json_integer_value(token) < 0 || json_integer_value(token) >= n_vocab)
            return st_place_fail(
                at, "\"stop_tokens\" has %" JSON_INTEGER_FORMAT ", but the vocabulary has %d tokens",
                json_integer_value(token), n_vocab);
        lists->stop_token[lists->n_stop_token++] = (sterna_token)json_integer_value(token);
    }
    return lists->stop_token ? ST_EXIT_OK : st_place_fail(at, "out of memory");
}

/* The token that a key of "logit_bias" names, in the one way of writing it; -1 for anything else. */
static int32_t bias_token(const char *key, int32_t n_vocab)
{
    int64_t token = 0;
    for (const char *c = key; *c; c++) {
        if (*c < '0' || *c > '9' || token >= n_vocab || (c > key && key[0] == '0'))
            return -1;
        token = 10 * token + (*c - '0');
    }
    return key[0] && token < n_vocab ? (int32_t)token : -1;
}

static int take_biases(const st_place *at, json_t *value, int32_t n_vocab, st_lists *lists)
{
    const char *key;
    json_t *number;
    size_t n = json_object_size(value);
    if (!json_is_object(value))
        return bad_field(at, "logit_bias", "an object such as {\"15043\": -1.5}");
    if (n > STERNA_MAX_BIAS)
        return st_place_fail(at, "\"logit_bias\" has %zu tokens, but at most %d are possible", n,
                             STERNA_MAX_BIAS);
    lists->bias = calloc(n + 1, sizeof *lists->bias);
    if (!lists->bias)
        return st_place_fail(at, "out of memory");
    json_object_foreach(value, key, number)
    {
        sterna_logit_bias *bias = &lists->bias[lists->n_bias++];
        bias->token = bias_token(key, n_vocab);
        bias->bias = json_is_false(number) ? -INFINITY : (float)json_number_value(number);
        if (bias->token < 0)
            return st_place_fail(at,
                                 "\"logit_bias\" has \"%s\", which is not the number of one of the %d tokens",
                                 key, n_vocab);
        if (!json_is_false(number) && (!json_is_number(number) || !isfinite(bias->bias)))
            return st_place_fail(at, "\"logit_bias\" of token %s is not a number, or false to ban it", key);
    }
    return ST_EXIT_OK;
}

static int take_list(const st_place *at, const char *key, json_t *value, int32_t n_vocab, st_lists *own,
                     st_lists *lists)
{
    int code;
    if (strcmp(key, "stop") == 0) {
        code = take_stop(at, value, own);
        lists->stop = own->stop;
        lists->n_stop = own->n_stop;
    } else if (strcmp(key, "stop_tokens") == 0) {
        code = take_stop_tokens(at, value, n_vocab, own);
        lists->stop_token = own->stop_token;
        lists->n_stop_token = own->n_stop_token;
    } else {
        code = take_biases(at, value, n_vocab, own);
        lists->bias = own->bias;
        lists->n_bias = own->n_bias;
    }
    return code;
}

/* ---- all of a line ---- */

static int take_option(const st_place *at, const char *key, json_t *value, const st_option *o, values *v)
{
    void *to = (char *)&v->sampling + o->offset;
    switch (o->kind) {
    case ST_OPTION_INT:
        return take_int(at, key, value, o->min, o->max, to);
    case ST_OPTION_REAL:
        return take_real(at, key, value, o->min, o->max, to);
    case ST_OPTION_SEED:
        return take_seed(at, key, value, to);
    default:
        return take_flag(at, key, value, to);
    }
}

/* `seen` has a bit for each option that the line had so far. */
static int take_field(const st_place *at, const st_run *run, const char *key, json_t *value, st_job *job,
                      values *v, uint64_t *seen)
{
    if (strcmp(key, "n_samples") == 0)
        return take_int(at, key, value, 1, STERNA_MAX_SAMPLE, &v->samples);
    if (strcmp(key, "logprobs") == 0)
        return take_int(at, key, value, 0, STERNA_MAX_LOGPROB, &v->logprobs);
    size_t i = 0, n = sizeof fields / sizeof fields[0];
    while (i < n && strcmp(fields[i].key, key) != 0)
        i++;
    if (i == n)
        return st_place_fail(at, "unknown key \"%s\"", key);
    const st_option *o = st_option_find(&st_sampling_options, fields[i].option);
    uint64_t bit = UINT64_C(1) << (o - st_sampling_options.options);
    if (*seen & bit)
        return st_place_fail(at, "\"%s\" is a second name of a key that is there already", key);
    *seen |= bit;
    return o->kind == ST_OPTION_TEXTS
               ? take_list(at, key, value, run->session.info.n_vocab, &job->own, &v->lists)
               : take_option(at, key, value, o, v);
}

int st_job_fields(st_job *job, const st_place *at, const st_run *run, const json_t *line)
{
    const st_run_params *p = run->params;
    values v = {p->sampling, run->lists, p->samples, p->logprobs};
    uint64_t seen = 0;
    const char *key;
    json_t *value;
    json_object_foreach((json_t *)line, key, value)
    {
        if (strcmp(key, "prompt") == 0 || strcmp(key, "id") == 0)
            continue;
        int code = take_field(at, run, key, value, job, &v, &seen);
        if (code != ST_EXIT_OK)
            return code;
    }
    job->request = st_sampling_request(&v.sampling);
    st_lists_set(&v.lists, &job->request);
    job->request.n_sample = v.samples;
    job->request.n_logprob = v.logprobs > 0 ? v.logprobs : 0;
    job->logprobs = v.logprobs >= 0;
    return ST_EXIT_OK;
}
