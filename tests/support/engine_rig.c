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

static rig_result *result_of(rig *r, sterna_request_id id)
{
    for (int32_t i = 0; i < r->n_request; i++)
        if (r->id[i] == id)
            return &r->result[i];
    stop("rig", "an event of a request that was not submitted");
}

static void watch(void *user, sterna_request_id id, int32_t position, const float *logits)
{
    rig *r = user;
    (void)position;
    rig_result *result = result_of(r, id);
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
    if (r->n_request == RIG_MAX_REQUEST)
        stop("rig", "too many requests");
    if (sterna_submit(r->engine, request, &r->id[r->n_request], &error) != STERNA_OK)
        stop("sterna_submit", error.message);
    return r->n_request++;
}

void rig_events(rig *r)
{
    sterna_event event;
    while (sterna_next(r->engine, &event)) {
        rig_result *result = result_of(r, event.id);
        if (result->finish != STERNA_FINISH_NONE)
            stop("rig", "an event after the last");
        if (event.token >= 0) {
            result->token[result->n] = event.token;
            result->logprob[result->n++] = event.logprob;
        }
        result->finish = event.finish;
        if (event.finish != STERNA_FINISH_NONE && event.n_generated != result->n)
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
                     const sterna_request *request)
{
    static rig r;
    rig_open(&r, model, params, dev);
    rig_submit(&r, request);
    while (rig_step(&r) > 0)
        ;
    rig_close(&r);
    return r.result[0];
}

void rig_compare(const rig_result *a, const rig_result *b, bool cut, const char *what, int number)
{
    char message[96];
    snprintf(message, sizeof message, "%s %d", what, number);
    int32_t n = a->n, rows = a->n_row;
    if ((!cut && (n != b->n || rows != b->n_row || a->finish != b->finish)) || n > b->n || rows > b->n_row)
        stop(message, "another number of tokens or rows, or another end");
    if (memcmp(a->token, b->token, (size_t)n * sizeof *a->token) != 0)
        stop(message, "tokens differ");
    if (memcmp(a->logprob, b->logprob, (size_t)n * sizeof *a->logprob) != 0)
        stop(message, "logprobs differ");
    if (memcmp(a->row, b->row, (size_t)rows * sizeof *a->row) != 0)
        stop(message, "logits differ");
}
