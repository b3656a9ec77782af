/* sterna run --batch: many requests at a time, results as they finish. */
#include "host/cli/batch.h"

#include <stdlib.h>
#include <string.h>
#include <unistd.h>

/* Requests that wait in the engine beside the running ones, so that a slot never stays empty. */
enum { AHEAD = 64 };

typedef struct batch {
    st_run *run;
    st_jobs jobs;
    size_t n_submitted, n_finished;
    size_t first_open; /* all jobs before it are finished */
    bool failed;       /* some request ended with an error */
} batch;

static json_t *token_array(const st_job *job)
{
    json_t *array = json_array();
    for (int32_t i = 0; array && i < job->n_token; i++)
        if (json_array_append_new(array, json_integer(job->token[i])) != 0) {
            json_decref(array);
            return NULL;
        }
    return array;
}

/* What was generated, as valid UTF-8. False when out of memory. */
static bool generated_text(const st_run *run, const st_job *job, st_bytes *text)
{
    st_bytes raw = {0};
    bool done = true;
    for (int32_t i = 0; i < job->n_token && done; i++)
        done = st_bytes_append_token(&raw, run->model, job->token[i]);
    done = done && st_utf8_append(text, raw.data, raw.size);
    st_bytes_free(&raw);
    return done;
}

static json_t *text_string(const st_run *run, const st_job *job)
{
    st_bytes text = {0};
    json_t *string =
        generated_text(run, job, &text) ? json_stringn(text.data ? text.data : "", text.size) : NULL;
    st_bytes_free(&text);
    return string;
}

/* The "id" of a request, or "#" and its index; control characters, which a terminal might obey, become '?'.
 */
static bool append_label(st_bytes *text, const batch *b, const st_job *job)
{
    char number[32];
    if (json_is_integer(job->label))
        snprintf(number, sizeof number, "%lld", (long long)json_integer_value(job->label));
    else
        snprintf(number, sizeof number, "#%lld", (long long)(job - b->jobs.job));
    bool named = json_is_string(job->label);
    size_t first = text->size;
    bool done = named ? st_bytes_append(text, json_string_value(job->label), json_string_length(job->label))
                      : st_bytes_append(text, number, strlen(number));
    for (size_t i = first; i < text->size; i++)
        if ((unsigned char)text->data[i] < ' ' || text->data[i] == 127)
            text->data[i] = '?';
    return done;
}

/* What became of a request that did not end by itself. */
static bool append_failure(st_bytes *text, const sterna_event *event)
{
    if (event->finish == STERNA_FINISH_CANCEL)
        return st_bytes_append(text, " [cancelled]", 12);
    if (event->finish != STERNA_FINISH_ERROR)
        return true;
    return st_bytes_append(text, " [error: ", 9) &&
           st_bytes_append(text, event->error.message, strlen(event->error.message)) &&
           st_bytes_append(text, "]", 1);
}

/* "[id] prompt and continuation", and an empty line. False when out of memory or when it cannot be written.
 */
static bool write_text(batch *b, const st_job *job, const sterna_event *event)
{
    st_run *run = b->run;
    st_bytes text = {0};
    bool done =
        st_bytes_append(&text, "[", 1) && append_label(&text, b, job) && st_bytes_append(&text, "] ", 2);
    if (!run->params->no_display_prompt)
        done =
            done && st_bytes_append(&text, json_string_value(job->prompt), json_string_length(job->prompt));
    done = done && generated_text(run, job, &text) && append_failure(&text, event) &&
           st_bytes_append(&text, "\n\n", 2) && st_run_write(run, text.data, text.size) && st_run_flush(run);
    st_bytes_free(&text);
    return done;
}

/* One line of results. False when out of memory or when it cannot be written. */
static bool write_result(batch *b, const st_job *job, const sterna_event *event)
{
    json_t *line = json_object();
    json_object_set_new(line, "index", json_integer((json_int_t)(job - b->jobs.job)));
    if (job->label)
        json_object_set(line, "id", job->label);
    json_object_set_new(line, "text", text_string(b->run, job));
    json_object_set_new(line, "tokens", token_array(job));
    json_object_set_new(line, "finish", json_string(st_run_finish_name(event->finish)));
    if (event->finish == STERNA_FINISH_ERROR)
        json_object_set_new(line, "error", json_string(event->error.message));
    json_object_set_new(line, "n_prompt", json_integer(event->n_prompt));
    json_object_set_new(line, "n_generated", json_integer(event->n_generated));
    json_object_set_new(line, "seconds_queued", json_real(event->seconds_queued));
    json_object_set_new(line, "seconds_prompt", json_real(event->seconds_prompt));
    json_object_set_new(line, "seconds_decode", json_real(event->seconds_decode));
    char *text = json_dumps(line, JSON_COMPACT | JSON_REAL_PRECISION(9));
    size_t n_key = line ? json_object_size(line) : 0;
    json_decref(line);
    size_t size = 0;
    while (text && text[size])
        size++;
    /* Each setter above leaves its key out when memory is exhausted. */
    bool whole = text && n_key == 9u + (job->label != NULL) + (event->finish == STERNA_FINISH_ERROR);
    bool done = whole && st_run_write(b->run, text, size) && st_run_write(b->run, "\n", 1);
    free(text);
    return done && st_run_flush(b->run);
}

static bool add_token(st_job *job, sterna_token token)
{
    if (job->n_token == job->capacity) {
        int32_t capacity = job->capacity ? 2 * job->capacity : 64;
        sterna_token *grown = realloc(job->token, (size_t)capacity * sizeof *grown);
        if (!grown)
            return false;
        job->token = grown;
        job->capacity = capacity;
    }
    job->token[job->n_token++] = token;
    return true;
}

static st_job *find_job(batch *b, sterna_request_id id)
{
    size_t i = b->first_open;
    while (b->jobs.job[i].id != id)
        i++;
    return &b->jobs.job[i];
}

static int take_events(batch *b)
{
    sterna_event event;
    while (sterna_next(b->run->engine, &event)) {
        st_job *job = find_job(b, event.id);
        b->run->n_generated += event.token >= 0;
        if (event.token >= 0 && !add_token(job, event.token))
            return st_cli_fail("run", ST_EXIT_FAILURE, "out of memory for tokens");
        if (event.finish == STERNA_FINISH_NONE)
            continue;
        b->failed = b->failed || event.finish == STERNA_FINISH_ERROR;
        if (!(b->run->params->text ? write_text : write_result)(b, job, &event))
            return b->run->broken ? ST_EXIT_FAILURE
                                  : st_cli_fail("run", ST_EXIT_FAILURE, "out of memory for a result");
        job->id = -1; /* finished */
        b->n_finished++;
        while (b->first_open < b->jobs.n && b->jobs.job[b->first_open].id < 0)
            b->first_open++;
        if (isatty(STDERR_FILENO) && !isatty(fileno(b->run->out)))
            fprintf(stderr, "\r%zu of %zu done%s", b->n_finished, b->jobs.n,
                    b->n_finished == b->jobs.n ? "\n" : "");
    }
    return ST_EXIT_OK;
}

static int submit_some(batch *b, size_t at_a_time)
{
    sterna_error error;
    while (b->n_submitted < b->jobs.n && b->n_submitted - b->n_finished < at_a_time) {
        st_job *job = &b->jobs.job[b->n_submitted];
        sterna_status status = sterna_submit(b->run->engine, &job->request, &job->id, &error);
        if (status == STERNA_E_LIMIT && b->n_submitted > b->n_finished)
            return ST_EXIT_OK; /* the queue is full: steps make room */
        if (status != STERNA_OK)
            return st_cli_fail("run", ST_EXIT_FAILURE, "request %zu: %s", b->n_submitted, error.message);
        b->n_submitted++;
    }
    return ST_EXIT_OK;
}

/* Ends what runs and writes what it has produced. */
static int stop(batch *b)
{
    sterna_error error;
    for (size_t i = b->first_open; i < b->n_submitted; i++)
        if (b->jobs.job[i].id > 0)
            sterna_cancel(b->run->engine, b->jobs.job[i].id, &error);
    size_t n_finished = b->n_finished;
    int code = take_events(b);
    if (code != ST_EXIT_OK)
        return code;
    return st_cli_fail("run", ST_EXIT_INTERRUPTED,
                       "interrupted: %zu of %zu requests are done, %zu were cut short", n_finished, b->jobs.n,
                       b->n_finished - n_finished);
}

static int run_all(batch *b, size_t n_sequence)
{
    sterna_error error;
    int code = ST_EXIT_OK;
    while (code == ST_EXIT_OK && b->n_finished < b->jobs.n) {
        if (st_run_interrupted())
            return stop(b);
        code = submit_some(b, n_sequence + AHEAD);
        if (code == ST_EXIT_OK && sterna_step(b->run->engine, &error) < 0)
            code = st_cli_fail("run", ST_EXIT_FAILURE, "%s", error.message);
        if (code == ST_EXIT_OK)
            code = take_events(b);
    }
    return code == ST_EXIT_OK && b->failed ? ST_EXIT_FAILURE : code;
}

int st_run_batch(st_run *run)
{
    batch b = {.run = run};
    sterna_error error;
    int64_t longest = 1;
    int code = st_jobs_read(&b.jobs, run, run->params->batch);
    for (size_t i = 0; i < b.jobs.n && code == ST_EXIT_OK; i++) {
        const sterna_request *r = &b.jobs.job[i].request;
        int64_t positions = r->n_predict < 0 ? run->n_context : (int64_t)r->n_prompt + r->n_predict;
        longest = positions > longest ? positions : longest;
    }
    const st_run_params *p = run->params;
    size_t n_sequence = (size_t)(p->parallel < p->batch_size ? p->parallel : p->batch_size);
    n_sequence = n_sequence < b.jobs.n ? n_sequence : b.jobs.n;
    if (code == ST_EXIT_OK && st_run_open_engine(run, (int32_t)n_sequence, longest, &error) != STERNA_OK)
        code = error.status == STERNA_E_ABORTED ? ST_EXIT_INTERRUPTED
                                                : st_cli_fail("run", ST_EXIT_FAILURE, "%s", error.message);
    double start = st_run_clock();
    if (code == ST_EXIT_OK)
        code = run_all(&b, n_sequence);
    run->seconds = st_run_clock() - start;
    st_jobs_free(&b.jobs);
    return code;
}
