/* The results of `sterna run --batch`: lines of JSON, or text to read. */
#include "host/cli/batch.h"

#include <inttypes.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>

const char *st_finish_name(sterna_finish finish)
{
    static const char *const names[] = {"none", "stop", "length", "cancel", "error"};
    return names[finish];
}

/* ---- gathering ---- */

static bool reserve_token(st_sample *sample, const st_job *job)
{
    if (sample->n_token < sample->capacity)
        return true;
    int32_t capacity = sample->capacity ? 2 * sample->capacity : 64;
    sterna_token *token = realloc(sample->token, (size_t)capacity * sizeof *token);
    if (!token)
        return false;
    sample->token = token;
    if (job->logprobs) {
        size_t stride = 1 + (size_t)job->request.n_logprob;
        sterna_logprob *logprob = realloc(sample->logprob, (size_t)capacity * stride * sizeof *logprob);
        if (!logprob)
            return false;
        sample->logprob = logprob;
    }
    sample->capacity = capacity;
    return true;
}

bool st_sample_add(st_sample *sample, const st_job *job, const sterna_event *event)
{
    if (!st_bytes_append(&sample->text, event->text, (size_t)event->n_text))
        return false;
    if (event->token < 0)
        return true;
    if (!reserve_token(sample, job))
        return false;
    if (job->logprobs) {
        sterna_logprob *to = sample->logprob + (size_t)sample->n_token * (1 + (size_t)job->request.n_logprob);
        *to++ = (sterna_logprob){event->token, event->logprob};
        for (int32_t i = 0; i < job->request.n_logprob; i++) /* a vocabulary may have fewer */
            to[i] = i < event->n_top ? event->top[i] : (sterna_logprob){.token = -1};
    }
    sample->token[sample->n_token++] = event->token;
    return true;
}

void st_sample_free(st_sample *sample)
{
    st_bytes_free(&sample->text);
    free(sample->token);
    free(sample->logprob);
    *sample = (st_sample){0};
}

/* ---- JSON ---- */

static json_t *utf8_string(const st_bytes *raw)
{
    st_bytes text = {0};
    json_t *string = st_utf8_append(&text, raw->data, raw->size)
                         ? json_stringn(text.data ? text.data : "", text.size)
                         : NULL;
    st_bytes_free(&text);
    return string;
}

/* Takes over `value`, also on failure; both may be NULL. */
static bool append(json_t *array, json_t *value)
{
    return json_array_append_new(array, value) == 0;
}

static bool set(json_t *object, const char *key, json_t *value)
{
    return json_object_set_new(object, key, value) == 0;
}

static json_t *whole(json_t *value, bool complete)
{
    if (complete)
        return value;
    json_decref(value);
    return NULL;
}

static json_t *token_array(const st_sample *sample)
{
    json_t *array = json_array();
    bool good = array != NULL;
    for (int32_t i = 0; good && i < sample->n_token; i++)
        good = append(array, json_integer(sample->token[i]));
    return whole(array, good);
}

static json_t *byte_array(const st_bytes *bytes)
{
    json_t *array = json_array();
    bool good = array != NULL;
    for (size_t i = 0; good && i < bytes->size; i++)
        good = append(array, json_integer((unsigned char)bytes->data[i]));
    return whole(array, good);
}

/* {"id", "token", "bytes", "logprob"}; the text of control tokens is their name. */
static json_t *logprob_object(const st_run *run, const sterna_logprob *p)
{
    json_t *object = json_object();
    st_bytes text = {0};
    bool good = st_bytes_append_token(&text, run->session.model, p->token, true) &&
                set(object, "id", json_integer(p->token)) && set(object, "token", utf8_string(&text)) &&
                set(object, "bytes", byte_array(&text)) &&
                set(object, "logprob", isfinite(p->logprob) ? json_real((double)p->logprob) : json_null());
    st_bytes_free(&text);
    return whole(object, good);
}

static json_t *logprob_array(const st_run *run, const st_job *job, const st_sample *sample)
{
    json_t *array = json_array();
    bool good = array != NULL;
    for (int32_t i = 0; good && i < sample->n_token; i++) {
        const sterna_logprob *p = sample->logprob + (size_t)i * (1 + (size_t)job->request.n_logprob);
        json_t *object = logprob_object(run, p), *top = json_array();
        for (int32_t j = 1; top && j <= job->request.n_logprob && p[j].token >= 0; j++)
            good = good && append(top, logprob_object(run, &p[j]));
        good = set(object, "top_logprobs", top) && good;
        good = append(array, object) && good;
    }
    return whole(array, good);
}

static json_t *result_object(const st_run *run, const st_job *job, size_t index, const sterna_event *event)
{
    const st_sample *sample = &job->sample[event->sample];
    char hash[17];
    snprintf(hash, sizeof hash, "%016" PRIx64, job->hash);
    json_t *line = json_object();
    bool good = set(line, "index", json_integer((json_int_t)index));
    if (job->label)
        good = good && json_object_set(line, "id", job->label) == 0;
    if (job->request.n_sample > 1)
        good = good && set(line, "sample", json_integer(event->sample));
    good = good && set(line, "text", utf8_string(&sample->text)) &&
           set(line, "tokens", token_array(sample)) &&
           set(line, "finish", json_string(st_finish_name(event->finish)));
    if (event->finish == STERNA_FINISH_STOP && event->stop >= 0) {
        const char *stop = job->request.stop[event->stop];
        good = good && set(line, "stop", utf8_string(&(st_bytes){(char *)stop, strlen(stop), 0}));
    }
    if (event->finish == STERNA_FINISH_ERROR)
        good = good && set(line, "error", json_string(event->error.message));
    good = good && set(line, "n_prompt", json_integer(event->n_prompt)) &&
           set(line, "n_cached", json_integer(event->n_cached)) &&
           set(line, "n_generated", json_integer(event->n_generated)) &&
           set(line, "seconds_queued", json_real(event->seconds_queued)) &&
           set(line, "seconds_prompt", json_real(event->seconds_prompt)) &&
           set(line, "seconds_decode", json_real(event->seconds_decode)) &&
           set(line, "request", json_string(hash));
    if (job->logprobs)
        good = good && set(line, "logprobs", logprob_array(run, job, sample));
    return whole(line, good);
}

static bool write_json(st_run *run, const st_job *job, size_t index, const sterna_event *event)
{
    json_t *line = result_object(run, job, index, event);
    char *text = line ? json_dumps(line, JSON_COMPACT | JSON_REAL_PRECISION(9)) : NULL;
    json_decref(line);
    bool done = text && st_run_write(run, text, strlen(text)) && st_run_write(run, "\n", 1);
    free(text);
    return done;
}

/* ---- text ---- */

/* The "id" of a request, or "#" and its index, and "/" and the sample where there are several; control
 * characters, which a terminal might obey, become '?'. */
static bool append_label(st_bytes *text, const st_job *job, size_t index, int32_t sample)
{
    char number[32], which[16] = "";
    if (json_is_integer(job->label))
        snprintf(number, sizeof number, "%" JSON_INTEGER_FORMAT, json_integer_value(job->label));
    else
        snprintf(number, sizeof number, "#%zu", index);
    if (job->request.n_sample > 1)
        snprintf(which, sizeof which, "/%d", sample);
    bool named = json_is_string(job->label);
    size_t first = text->size;
    bool done = named ? st_bytes_append(text, json_string_value(job->label), json_string_length(job->label))
                      : st_bytes_append(text, number, strlen(number));
    for (size_t i = first; i < text->size; i++)
        if ((unsigned char)text->data[i] < ' ' || text->data[i] == 127)
            text->data[i] = '?';
    return done && st_bytes_append(text, which, strlen(which));
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

/* "[id] prompt and continuation", and an empty line. */
static bool write_text(st_run *run, const st_job *job, size_t index, const sterna_event *event)
{
    const st_bytes *generated = &job->sample[event->sample].text;
    st_bytes text = {0};
    bool done = st_bytes_append(&text, "[", 1) && append_label(&text, job, index, event->sample) &&
                st_bytes_append(&text, "] ", 2);
    if (job->prompt)
        done =
            done && st_bytes_append(&text, json_string_value(job->prompt), json_string_length(job->prompt));
    done = done && st_utf8_append(&text, generated->data, generated->size) && append_failure(&text, event) &&
           st_bytes_append(&text, "\n\n", 2) && st_run_write(run, text.data, text.size);
    st_bytes_free(&text);
    return done;
}

bool st_result_write(st_run *run, const st_job *job, size_t index, const sterna_event *event)
{
    return (run->params->text ? write_text : write_json)(run, job, index, event) && st_run_flush(run);
}
