/* Reading the requests of `sterna run --batch`. */
#include "host/cli/batch.h"

#include <inttypes.h>
#include <stdlib.h>
#include <string.h>

typedef struct place {
    const char *path;
    size_t line; /* from 1 */
} place;

static int bad_line(const place *at, const char *what)
{
    return st_cli_fail("run", ST_EXIT_FAILURE, "%s:%zu: %s", at->path, at->line, what);
}

/* ---- one field each ---- */

static int bad_field(const place *at, const char *key, const char *expected)
{
    return st_cli_fail("run", ST_EXIT_FAILURE, "%s:%zu: \"%s\" is not %s", at->path, at->line, key, expected);
}

static int take_int(const place *at, const char *key, const json_t *value, int64_t min, int64_t max,
                    int64_t *out)
{
    char expected[96];
    snprintf(expected, sizeof expected, "an integer from %" PRId64 " to %" PRId64, min, max);
    if (!json_is_integer(value) || json_integer_value(value) < min || json_integer_value(value) > max)
        return bad_field(at, key, expected);
    *out = json_integer_value(value);
    return ST_EXIT_OK;
}

static int take_real(const place *at, const char *key, const json_t *value, double max, float *out)
{
    char expected[64];
    snprintf(expected, sizeof expected, "a number from 0 to %g", max);
    if (!json_is_number(value) || json_number_value(value) < 0.0 || json_number_value(value) > max)
        return bad_field(at, key, expected);
    *out = (float)json_number_value(value);
    return ST_EXIT_OK;
}

static int take_prompt(const place *at, const st_run *run, json_t *value, st_job *job)
{
    if (!json_is_string(value))
        return bad_field(at, "prompt", "a string");
    if (json_string_length(value) == 0)
        return bad_line(at, "the prompt is empty");
    sterna_error error;
    int32_t n = 0;
    sterna_token *tokens =
        st_run_tokenize(run, json_string_value(value), json_string_length(value), &n, &error);
    if (!tokens)
        return bad_line(at, error.message);
    job->request.prompt = tokens;
    job->request.n_prompt = n;
    job->prompt = json_incref(value);
    if (n > run->n_context)
        return st_cli_fail("run", ST_EXIT_FAILURE,
                           "%s:%zu: the prompt has %d tokens, but the context holds %d (see --ctx-size)",
                           at->path, at->line, n, run->n_context);
    return ST_EXIT_OK;
}

static int take_field(const place *at, const st_run *run, const char *key, json_t *value, st_job *job)
{
    sterna_sampling *s = &job->request.sampling;
    int64_t number = 0;
    int code;
    if (strcmp(key, "prompt") == 0)
        return take_prompt(at, run, value, job);
    if (strcmp(key, "id") == 0) {
        if (!json_is_string(value) && !json_is_integer(value))
            return bad_field(at, key, "a string or an integer");
        job->label = json_incref(value);
        return ST_EXIT_OK;
    }
    if (strcmp(key, "n") == 0) {
        code = take_int(at, key, value, -1, 1 << 20, &number);
        job->request.n_predict = (int32_t)number;
        return code;
    }
    if (strcmp(key, "top_k") == 0) {
        code = take_int(at, key, value, 0, 1 << 20, &number);
        s->top_k = (int32_t)number;
        return code;
    }
    if (strcmp(key, "seed") == 0) {
        code = take_int(at, key, value, 0, INT64_MAX, &number);
        s->seed = (uint64_t)number;
        return code;
    }
    if (strcmp(key, "temperature") == 0)
        return take_real(at, key, value, 1000.0, &s->temperature);
    if (strcmp(key, "top_p") == 0)
        return take_real(at, key, value, 1.0, &s->top_p);
    if (strcmp(key, "min_p") == 0)
        return take_real(at, key, value, 1.0, &s->min_p);
    return st_cli_fail("run", ST_EXIT_FAILURE, "%s:%zu: unknown key \"%s\"", at->path, at->line, key);
}

/* ---- lines ---- */

static int read_job(const place *at, const st_run *run, const char *text, size_t size, st_job *job)
{
    json_error_t error;
    json_t *line = json_loadb(text, size, JSON_REJECT_DUPLICATES | JSON_ALLOW_NUL, &error);
    if (!line)
        return st_cli_fail("run", ST_EXIT_FAILURE, "%s:%zu: invalid JSON at byte %d: %s", at->path, at->line,
                           error.position, error.text);
    int code = json_is_object(line) ? ST_EXIT_OK : bad_line(at, "not a JSON object");
    const char *key;
    json_t *value;
    job->request = st_run_request(run);
    json_object_foreach(line, key, value)
    {
        code = take_field(at, run, key, value, job);
        if (code != ST_EXIT_OK)
            break;
    }
    if (code == ST_EXIT_OK && !job->request.prompt)
        code = bad_line(at, "there is no \"prompt\"");
    json_decref(line);
    return code;
}

static bool is_blank(const char *text, size_t size)
{
    for (size_t i = 0; i < size; i++)
        if (!memchr(" \t\r", text[i], 3))
            return false;
    return true;
}

static int add_line(st_jobs *jobs, const st_run *run, const place *at, const char *text, size_t size)
{
    if (jobs->n == ST_MAX_REQUESTS)
        return st_cli_fail("run", ST_EXIT_FAILURE, "%s:%zu: more than %d requests", at->path, at->line,
                           ST_MAX_REQUESTS);
    if (jobs->n == jobs->capacity) {
        size_t capacity = jobs->capacity ? 2 * jobs->capacity : 64;
        st_job *job = realloc(jobs->job, capacity * sizeof *job);
        if (!job)
            return bad_line(at, "out of memory");
        jobs->job = job;
        jobs->capacity = capacity;
    }
    jobs->job[jobs->n] = (st_job){0};
    return read_job(at, run, text, size, &jobs->job[jobs->n++]);
}

int st_jobs_read(st_jobs *jobs, const st_run *run, const char *path)
{
    st_bytes text = {0};
    const char *why;
    place at = {strcmp(path, "-") == 0 ? "standard input" : path, 0};
    if (!st_bytes_read(&text, path, &why))
        return st_cli_fail("run", ST_EXIT_FAILURE, "cannot read %s: %s", at.path, why);
    int code = ST_EXIT_OK;
    for (size_t first = 0, size; first < text.size && code == ST_EXIT_OK; first += size + 1) {
        const char *end = memchr(text.data + first, '\n', text.size - first);
        size = end ? (size_t)(end - text.data) - first : text.size - first;
        at.line++;
        if (!is_blank(text.data + first, size))
            code = add_line(jobs, run, &at, text.data + first, size);
    }
    if (code == ST_EXIT_OK && jobs->n == 0)
        code = st_cli_fail("run", ST_EXIT_FAILURE, "%s: there are no requests", at.path);
    st_bytes_free(&text);
    return code;
}

void st_jobs_free(st_jobs *jobs)
{
    for (size_t i = 0; i < jobs->n; i++) {
        free((void *)jobs->job[i].request.prompt);
        free(jobs->job[i].token);
        json_decref(jobs->job[i].label);
        json_decref(jobs->job[i].prompt);
    }
    free(jobs->job);
    *jobs = (st_jobs){0};
}
