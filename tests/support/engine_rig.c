#include "tests/support/engine_rig.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static _Noreturn void stop(const char *what, const char *message)
{
    fprintf(stderr, "%s: %s\n", what, message);
    abort();
}

/* ---- devices with poisoned memory ---- */

static uint32_t poison_word;
static const st_backend *real;

static sterna_status poisoned_create(st_device *dev, size_t bytes, st_buf **buf, sterna_error *error)
{
    sterna_status status = real->buf_create(dev, bytes, buf, error);
    if (status == STERNA_OK)
        real->fill(dev, *buf, poison_word);
    return status;
}

st_device *rig_device(const char *name, int32_t n_thread, uint32_t poison)
{
    static st_backend tables[8]; /* a device keeps pointing to its table */
    static int n_table;
    st_device *dev;
    sterna_error error;
    if (st_device_open(name, &(st_device_params){.n_thread = n_thread}, &dev, &error) != STERNA_OK)
        stop(name, error.message);
    poison_word = poison;
    for (int i = 0; i < n_table; i++)
        if (tables[i].name == dev->backend->name) {
            real = dev->backend;
            dev->backend = &tables[i];
            return dev;
        }
    if (n_table == 8)
        stop(name, "too many backends");
    real = dev->backend;
    tables[n_table] = *real;
    tables[n_table].buf_create = poisoned_create;
    dev->backend = &tables[n_table++];
    return dev;
}

/* ---- requests ---- */

static rig_result *result_of(rig *r, sterna_request_id id, int32_t sample)
{
    for (int32_t i = 0; i < r->n_sample; i++)
        if (r->id[i] == id && r->sample[i] == sample)
            return &r->result[i];
    stop("rig", "an event of a sample that was not submitted");
}

static void watch(void *user, sterna_request_id id, int32_t sample, int32_t position, const float *logits)
{
    rig *r = user;
    (void)position;
    rig_result *result = result_of(r, id, sample);
    result->row[result->n_row++] = st_hash(ST_HASH_SEED, logits, (size_t)r->n_vocab * sizeof *logits);
}

void rig_open(rig *r, const sterna_model *model, const sterna_engine_params *params, st_device *dev)
{
    sterna_error error;
    memset(r, 0, sizeof *r);
    r->n_vocab = st_model_config(model)->n_vocab;
    if (st_engine_open_on(model, params, dev, &r->engine, &error) != STERNA_OK)
        stop("st_engine_open_on", error.message);
    st_engine_watch(r->engine, watch, r);
}

void rig_close(rig *r)
{
    sterna_engine_close(&r->engine);
}

int32_t rig_submit(rig *r, const sterna_request *request)
{
    sterna_error error;
    sterna_request_id id;
    if (r->n_sample + request->n_sample > RIG_MAX_SAMPLE)
        stop("rig", "too many samples");
    if (sterna_submit(r->engine, request, &id, &error) != STERNA_OK)
        stop("sterna_submit", error.message);
    for (int32_t i = 0; i < request->n_sample; i++) {
        r->id[r->n_sample + i] = id;
        r->sample[r->n_sample + i] = i;
    }
    r->n_sample += request->n_sample;
    return r->n_sample - request->n_sample;
}

void rig_events(rig *r)
{
    for (const sterna_event *event; (event = sterna_next(r->engine));) {
        rig_result *result = result_of(r, event->id, event->sample);
        if (result->last.finish != STERNA_FINISH_NONE)
            stop("rig", "an event after the last");
        if (event->token >= 0) {
            result->token[result->n] = event->token;
            result->top[result->n] =
                st_hash(ST_HASH_SEED, event->top, (size_t)event->n_top * sizeof *event->top);
            result->logprob[result->n++] = event->logprob;
        }
        if (result->n_text + event->n_text > RIG_MAX_TEXT)
            stop("rig", "too much text");
        memcpy(result->text + result->n_text, event->text, (size_t)event->n_text);
        result->n_text += event->n_text;
        result->last = *event;
        if (event->finish != STERNA_FINISH_NONE && event->n_generated != result->n)
            stop("rig", "n_generated is not the number of tokens");
    }
}

int64_t rig_step(rig *r)
{
    sterna_error error;
    int64_t left = sterna_step(r->engine, &error);
    if (left < 0)
        stop("sterna_step", error.message);
    rig_events(r);
    return left;
}

rig_result rig_alone(const sterna_model *model, const sterna_engine_params *params, st_device *dev,
                     const sterna_request *request, int32_t sample)
{
    static rig r;
    rig_open(&r, model, params, dev);
    rig_submit(&r, request);
    while (rig_step(&r) > 0)
        ;
    rig_close(&r);
    return r.result[sample];
}

void rig_compare(const rig_result *a, const rig_result *b, bool cut, const char *what, int number)
{
    char message[96];
    snprintf(message, sizeof message, "%s %d", what, number);
    int32_t n = a->n, rows = a->n_row;
    if (!cut && (n != b->n || rows != b->n_row || a->last.finish != b->last.finish ||
                 a->last.stop != b->last.stop || a->n_text != b->n_text))
        stop(message, "another number of tokens, rows or characters, or another end");
    if (n > b->n || rows > b->n_row)
        stop(message, "more tokens or rows than alone");
    if (memcmp(a->token, b->token, (size_t)n * sizeof *a->token) != 0)
        stop(message, "tokens differ");
    if (memcmp(a->logprob, b->logprob, (size_t)n * sizeof *a->logprob) != 0)
        stop(message, "logprobs differ");
    if (memcmp(a->top, b->top, (size_t)n * sizeof *a->top) != 0)
        stop(message, "the likeliest tokens differ");
    if (memcmp(a->row, b->row, (size_t)rows * sizeof *a->row) != 0)
        stop(message, "logits differ");
    /* A sample that is cut shows what was held back, which may have become a stop string. */
    int32_t n_text = a->n_text < b->n_text ? a->n_text : b->n_text;
    if (memcmp(a->text, b->text, (size_t)n_text) != 0)
        stop(message, "texts differ");
}
