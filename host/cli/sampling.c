#include "host/cli/sampling.h"
#include "host/cli/text.h"

#include <errno.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>

void st_sampling_defaults(st_sampling *sampling)
{
    *sampling = (st_sampling){.predict = -1,
                              .top_k = 40,
                              .repeat_last_n = 64,
                              .temp = 0.8f,
                              .typical = 1.0f,
                              .top_p = 0.95f,
                              .min_p = 0.05f,
                              .repeat_penalty = 1.0f};
}

sterna_request st_sampling_request(const st_sampling *s)
{
    sterna_request request;
    sterna_request_defaults(&request);
    request.n_predict = s->predict;
    request.n_draft = s->draft;
    request.ignore_end = s->ignore_eos;
    request.temperature = s->temp;
    request.top_k = s->top_k;
    request.typical_p = s->typical;
    request.top_p = s->top_p;
    request.min_p = s->min_p;
    request.repetition_penalty = s->repeat_penalty;
    request.presence_penalty = s->presence_penalty;
    request.frequency_penalty = s->frequency_penalty;
    request.penalty_last_n = s->repeat_last_n;
    request.seed = s->seed;
    return request;
}

/* ---- lists ---- */

static int read_stops(st_lists *lists, const char *command, const st_texts *texts)
{
    if (texts->n > STERNA_MAX_STOP)
        return st_cli_fail(command, ST_EXIT_USAGE, "--stop: %d texts, but at most %d are possible", texts->n,
                           STERNA_MAX_STOP);
    for (int i = 0; i < texts->n; i++) {
        char why[128];
        char *text = st_text_unescape(texts->text[i], why);
        if (!text)
            return st_cli_fail(command, ST_EXIT_USAGE, "--stop: '%s': %s", texts->text[i], why);
        lists->stop[lists->n_stop++] = text;
        if (text[0] == '\0')
            return st_cli_fail(command, ST_EXIT_USAGE, "--stop: the text is empty");
        if (strlen(text) > STERNA_MAX_STOP_BYTES)
            return st_cli_fail(command, ST_EXIT_USAGE,
                               "--stop: a text of %zu bytes, but at most %d are possible", strlen(text),
                               STERNA_MAX_STOP_BYTES);
    }
    return ST_EXIT_OK;
}

/* A token's number at `text`; *end is what follows it, NULL if there is none. */
static long long token_number(const char *text, char **end)
{
    errno = 0;
    long long number = strtoll(text, end, 10);
    if (*end == text || text[0] < '0' || text[0] > '9')
        *end = NULL;
    return errno == ERANGE ? INT64_MAX : number;
}

static int read_stop_tokens(st_lists *lists, const char *command, const st_texts *texts, int32_t n_vocab)
{
    if (texts->n > STERNA_MAX_STOP)
        return st_cli_fail(command, ST_EXIT_USAGE, "--stop-token: %d tokens, but at most %d are possible",
                           texts->n, STERNA_MAX_STOP);
    for (int i = 0; i < texts->n; i++) {
        char *end;
        long long token = token_number(texts->text[i], &end);
        if (!end || *end)
            return st_cli_fail(command, ST_EXIT_USAGE, "--stop-token: '%s' is not the number of a token",
                               texts->text[i]);
        if (token >= n_vocab)
            return st_cli_fail(command, ST_EXIT_USAGE, "--stop-token: %s, but the vocabulary has %d tokens",
                               texts->text[i], n_vocab);
        lists->stop_token[lists->n_stop_token++] = (sterna_token)token;
    }
    return ST_EXIT_OK;
}

/* "15043-1.5": false if it is not of this form. -inf bans; +inf would ban all others and is refused. */
static bool parse_bias(const char *text, long long *token, float *bias)
{
    char *sign, *end;
    *token = token_number(text, &sign);
    if (!sign || (*sign != '+' && *sign != '-') || !strchr("0123456789.i", sign[1]) || !sign[1])
        return false;
    *bias = (float)strtod(sign, &end);
    return end > sign + 1 && *end == '\0' && (isfinite(*bias) || (*sign == '-' && strcmp(sign, "-inf") == 0));
}

static int read_biases(st_lists *lists, const char *command, const st_texts *texts, int32_t n_vocab)
{
    if (texts->n > STERNA_MAX_BIAS)
        return st_cli_fail(command, ST_EXIT_USAGE, "--logit-bias: %d tokens, but at most %d are possible",
                           texts->n, STERNA_MAX_BIAS);
    for (int i = 0; i < texts->n; i++) {
        long long token;
        float bias;
        if (!parse_bias(texts->text[i], &token, &bias))
            return st_cli_fail(command, ST_EXIT_USAGE,
                               "--logit-bias: '%s' is not of the form 15043+1, 15043-1.5 or 15043-inf",
                               texts->text[i]);
        if (token >= n_vocab)
            return st_cli_fail(command, ST_EXIT_USAGE, "--logit-bias: '%s', but the vocabulary has %d tokens",
                               texts->text[i], n_vocab);
        for (int32_t j = 0; j < lists->n_bias; j++)
            if (lists->bias[j].token == token)
                return st_cli_fail(command, ST_EXIT_USAGE, "--logit-bias: token %lld is given twice", token);
        lists->bias[lists->n_bias++] = (sterna_logit_bias){(sterna_token)token, bias};
    }
    return ST_EXIT_OK;
}

int st_lists_read(st_lists *lists, const char *command, const st_sampling *s, int32_t n_vocab)
{
    lists->stop = calloc((size_t)s->stop.n + 1, sizeof *lists->stop);
    lists->stop_token = calloc((size_t)s->stop_token.n + 1, sizeof *lists->stop_token);
    lists->bias = calloc((size_t)s->logit_bias.n + 1, sizeof *lists->bias);
    if (!lists->stop || !lists->stop_token || !lists->bias)
        return st_cli_fail(command, ST_EXIT_FAILURE, "out of memory for the options");
    int code = read_stops(lists, command, &s->stop);
    if (code == ST_EXIT_OK)
        code = read_stop_tokens(lists, command, &s->stop_token, n_vocab);
    return code == ST_EXIT_OK ? read_biases(lists, command, &s->logit_bias, n_vocab) : code;
}

void st_lists_free(st_lists *lists)
{
    for (int32_t i = 0; i < lists->n_stop; i++)
        free(lists->stop[i]);
    free(lists->stop);
    free(lists->stop_token);
    free(lists->bias);
    *lists = (st_lists){0};
}

void st_lists_set(const st_lists *lists, sterna_request *request)
{
    request->stop = (const char *const *)lists->stop;
    request->n_stop = lists->n_stop;
    request->stop_token = lists->stop_token;
    request->n_stop_token = lists->n_stop_token;
    request->bias = lists->bias;
    request->n_bias = lists->n_bias;
}

/* ---- options ---- */

#define AT(field) offsetof(st_sampling, field)
static const st_option options[] = {
    {"--predict", "-n", ST_OPTION_INT, AT(predict), -1, 1 << 20, "N",
     "tokens to generate at most; -1 = until the model ends or the context is full"},
    {"--temp", NULL, ST_OPTION_REAL, AT(temp), 0, 1000, "T", "temperature; 0 = always the likeliest token"},
    {"--top-k", NULL, ST_OPTION_INT, AT(top_k), 0, 1 << 20, "K", "keep the K likeliest tokens; 0 = all"},
    {"--typical", NULL, ST_OPTION_REAL, AT(typical), 0, 1, "P",
     "keep the most typical tokens up to this mass; 1 = all"},
    {"--top-p", NULL, ST_OPTION_REAL, AT(top_p), 0, 1, "P",
     "keep the likeliest tokens up to this mass; 1 = all"},
    {"--min-p", NULL, ST_OPTION_REAL, AT(min_p), 0, 1, "P",
     "keep tokens with at least P times the likeliest one's probability; 0 = all"},
    {"--seed", "-s", ST_OPTION_SEED, AT(seed), 0, 0, "N", "seed of the sampling"},
    {"--repeat-penalty", NULL, ST_OPTION_REAL, AT(repeat_penalty), 0.01, 100, "R",
     "divide positive logits of tokens that occurred by this, multiply negative ones; 1 = none"},
    {"--presence-penalty", NULL, ST_OPTION_REAL, AT(presence_penalty), -1000, 1000, "X",
     "subtract this from the logits of tokens that occurred; 0 = none"},
    {"--frequency-penalty", NULL, ST_OPTION_REAL, AT(frequency_penalty), -1000, 1000, "X",
     "subtract this for each time that a token occurred; 0 = none"},
    {"--repeat-last-n", NULL, ST_OPTION_INT, AT(repeat_last_n), 0, STERNA_MAX_PENALTY_LAST, "N",
     "tokens that the three penalties look back at, prompt included"},
    {"--logit-bias", NULL, ST_OPTION_TEXTS, AT(logit_bias), 0, 0, "TOKEN+BIAS",
     "add to a token's logit: 15043+1 or 15043-1.5; 15043-inf bans it"},
    {"--stop", NULL, ST_OPTION_TEXTS, AT(stop), 0, 0, "TEXT",
     "end where this text appears, and leave it out; \\n \\t \\r \\\\ and \\xHH are escapes"},
    {"--stop-token", NULL, ST_OPTION_TEXTS, AT(stop_token), 0, 0, "TOKEN", "end at the token of this number"},
    {"--ignore-eos", NULL, ST_OPTION_FLAG, AT(ignore_eos), 0, 0, NULL, "go on after end tokens"},
    {"--draft", NULL, ST_OPTION_INT, AT(draft), 0, STERNA_MAX_DRAFT, "N",
     "guess up to N tokens ahead from the text so far and verify them together; the result is the same"},
};

const st_option_table st_sampling_options = {"sampling", options, sizeof options / sizeof options[0]};
