/* Reading the requests of `sterna run --batch`. */
#include "host/cli/batch.h"

#include <stdarg.h>
#include <stdlib.h>
#include <string.h>

enum { MAX_FILE_BYTES = 1 << 30 };

int st_place_fail(const st_place *at, const char *format, ...)
{
    char what[768];
    va_list args;
    va_start(args, format);
    vsnprintf(what, sizeof what, format, args);
    va_end(args);
    return at->path ? st_cli_fail("run", ST_EXIT_FAILURE, "%s:%zu: %s", at->path, at->line, what)
                    : st_cli_fail("run", ST_EXIT_FAILURE, "%s", what);
}

/* ---- what determines a result ---- */

/* FNV-1a. */
static void hash_bytes(uint64_t *hash, const void *data, size_t size)
{
    const unsigned char *byte = data;
    for (size_t i = 0; i < size; i++)
        *hash = (*hash ^ byte[i]) * UINT64_C(0x100000001b3);
}

static void hash_number(uint64_t *hash, uint64_t number)
{
    for (int i = 0; i < 8; i++, number >>= 8)
        hash_bytes(hash, &(unsigned char){(unsigned char)number}, 1);
}

static void hash_real(uint64_t *hash, float value)
{
    uint32_t bits;
    memcpy(&bits, &value, sizeof bits);
    hash_number(hash, bits);
}

static void hash_lists(uint64_t *hash, const sterna_request *r)
{
    hash_number(hash, (uint64_t)r->n_stop);
    for (int32_t i = 0; i < r->n_stop; i++)
        hash_bytes(hash, r->stop[i], strlen(r->stop[i]) + 1);
    hash_number(hash, (uint64_t)r->n_stop_token);
    for (int32_t i = 0; i < r->n_stop_token; i++)
        hash_number(hash, (uint64_t)r->stop_token[i]);
    hash_number(hash, (uint64_t)r->n_bias);
    for (int32_t i = 0; i < r->n_bias; i++) {
        hash_number(hash, (uint64_t)r->bias[i].token);
        hash_real(hash, r->bias[i].bias);
    }
}

/* Drafts are left out: they change no result; and the context where it does not end the text. */
static uint64_t hash_job(const st_run *run, const st_job *job)
{
    const sterna_request *r = &job->request;
    uint64_t hash = UINT64_C(0xcbf29ce484222325);
    int32_t n_context = run->session.n_context;
    bool cut = r->n_predict < 0 || r->n_predict > n_context - r->n_prompt;
    hash_number(&hash, run->session.model_hash);
    if (run->session.params->head != STERNA_HEAD_F16)
        hash_number(&hash, (uint64_t)run->session.params->head);
    hash_number(&hash, (uint64_t)r->n_prompt);
    for (int32_t i = 0; i < r->n_prompt; i++)
        hash_number(&hash, (uint64_t)r->prompt[i]);
    hash_number(&hash, (uint64_t)(int64_t)r->n_predict);
    hash_number(&hash, cut ? (uint64_t)n_context : 0);
    hash_number(&hash, cut ? (uint64_t)run->params->context.kv_memory : 0); /* may cut the context */
    hash_number(&hash, (uint64_t)r->n_sample);
    hash_number(&hash, (uint64_t)r->n_logprob * 2 + job->logprobs);
    hash_number(&hash, r->ignore_end);
    hash_number(&hash, (uint64_t)r->top_k);
    hash_number(&hash, (uint64_t)r->penalty_last_n);
    hash_number(&hash, r->seed);
    const float reals[] = {
        r->temperature,      r->typical_p,        r->top_p, r->min_p, r->repetition_penalty,
        r->presence_penalty, r->frequency_penalty};
    for (size_t i = 0; i < sizeof reals / sizeof reals[0]; i++)
        hash_real(&hash, reals[i]);
    hash_lists(&hash, r);
    return hash;
}

/* ---- jobs ---- */

/* The tokens of the prompt, checked against the context. */
static int set_prompt(st_job *job, const st_place *at, const st_run *run, const char *text, size_t size)
{
    sterna_error error;
    int32_t n = 0;
    sterna_token *tokens = st_session_tokenize(&run->session, text, size, true, &n, &error);
    if (!tokens)
        return st_place_fail(at, "%s", error.message);
    job->request.prompt = tokens;
    job->request.n_prompt = n;
    if (n > run->session.n_context)
        return st_place_fail(at, "the prompt has %d tokens, but the context holds %d (see --ctx-size)", n,
                             run->session.n_context);
    job->n_open = job->request.n_sample;
    job->hash = hash_job(run, job);
    return ST_EXIT_OK;
}

static int read_object(const st_place *at, const st_run *run, const json_t *line, st_job *job)
{
    json_t *prompt = json_object_get(line, "prompt"), *label = json_object_get(line, "id");
    if (!json_is_object(line))
        return st_place_fail(at, "not a JSON object");
    if (label && !json_is_string(label) && !json_is_integer(label))
        return st_place_fail(at, "\"id\" is not a string or an integer");
    job->label = json_incref(label);
    int code = st_job_fields(job, at, run, line);
    if (code != ST_EXIT_OK)
        return code;
    if (!prompt)
        return st_place_fail(at, "there is no \"prompt\"");
    if (!json_is_string(prompt))
        return st_place_fail(at, "\"prompt\" is not a string");
    if (json_string_length(prompt) == 0)
        return st_place_fail(at, "the prompt is empty");
    if (run->params->text && !run->params->no_display_prompt)
        job->prompt = json_incref(prompt);
    return set_prompt(job, at, run, json_string_value(prompt), json_string_length(prompt));
}

/* Room for one more; NULL when there is none. */
static st_job *new_job(st_jobs *jobs, const st_place *at)
{
    if (jobs->n == ST_MAX_REQUESTS) {
        st_place_fail(at, "more than %d requests", ST_MAX_REQUESTS);
        return NULL;
    }
    if (jobs->n == jobs->capacity) {
        size_t capacity = jobs->capacity ? 2 * jobs->capacity : 64;
        st_job *job = realloc(jobs->job, capacity * sizeof *job);
        if (!job) {
            st_place_fail(at, "out of memory");
            return NULL;
        }
        jobs->job = job;
        jobs->capacity = capacity;
    }
    jobs->job[jobs->n] = (st_job){0};
    return &jobs->job[jobs->n++];
}

static int add_line(st_jobs *jobs, const st_run *run, const st_place *at, const char *text, size_t size)
{
    json_error_t error;
    st_job *job = new_job(jobs, at);
    if (!job)
        return ST_EXIT_FAILURE;
    json_t *line = json_loadb(text, size, JSON_REJECT_DUPLICATES | JSON_ALLOW_NUL, &error);
    if (!line)
        return st_place_fail(at, "invalid JSON at byte %d: %s", error.position, error.text);
    int code = read_object(at, run, line, job);
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

int st_jobs_read(st_jobs *jobs, const st_run *run)
{
    st_bytes text = {0};
    char why[128];
    const char *path = run->params->batch;
    st_place at = {strcmp(path, "-") == 0 ? "standard input" : path, 0};
    jobs->path = at.path;
    if (!st_bytes_read(&text, path, MAX_FILE_BYTES, why))
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

int st_jobs_set_prompt(st_jobs *jobs, const st_run *run, const char *text, size_t size)
{
    st_place at = {NULL, 0};
    st_job *job = new_job(jobs, &at);
    if (!job)
        return ST_EXIT_FAILURE;
    job->request = st_run_request(run);
    job->logprobs = run->params->logprobs >= 0;
    return set_prompt(job, &at, run, text, size);
}

void st_job_finish(st_job *job)
{
    for (int32_t i = 0; job->sample && i < job->request.n_sample; i++)
        st_sample_free(&job->sample[i]);
    free(job->sample);
    job->sample = NULL;
    free((void *)job->request.prompt);
    job->request.prompt = NULL;
    st_lists_free(&job->own);
    free(job->kept);
    job->kept = NULL;
    json_decref(job->label);
    json_decref(job->prompt);
    job->label = job->prompt = NULL;
}

void st_jobs_free(st_jobs *jobs)
{
    for (size_t i = 0; i < jobs->n; i++)
        st_job_finish(&jobs->job[i]);
    free(jobs->job);
    *jobs = (st_jobs){0};
}
