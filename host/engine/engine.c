/* Opening and closing an engine, and what happens between steps: submit, cancel, events, statistics. */
#include "host/engine/engine.h"

#include "host/base/parallel.h"

#include <math.h>
#include <string.h>

void sterna_engine_defaults(sterna_engine_params *params)
{
    *params = (sterna_engine_params){
        .struct_size = sizeof *params, .device = "auto", .n_sequence = 1, .n_batch = 512};
}

void sterna_request_defaults(sterna_request *request)
{
    *request = (sterna_request){.struct_size = sizeof *request, .n_predict = -1, .sampling = {.top_p = 1.0f}};
}

/* ---- opening ---- */

/* Facts of the open device: the one that was named, or the first of its backend. */
static void describe_device(const st_backend *backend, const char *name, sterna_device_info *info)
{
    const char *why;
    int n = backend->count(&why);
    for (int i = n - 1; i >= 0; i--) {
        sterna_device_info one = {.available = true};
        backend->info(i, &one);
        if (i == 0 || strcmp(one.name, name) == 0)
            *info = one;
        if (strcmp(one.name, name) == 0)
            return;
    }
}

static sterna_status check_params(const sterna_engine_params *p, const st_config *c, sterna_error *error)
{
    if (p->struct_size != sizeof *p) /* the struct has not grown yet; every other size is a mistake */
        return st_fail(error, STERNA_E_ARGUMENT,
                       "engine parameters of %zu bytes instead of %zu: sterna_engine_defaults sets the size",
                       p->struct_size, sizeof *p);
    if (p->n_thread < 0 || p->n_thread > ST_MAX_THREAD)
        return st_fail(error, STERNA_E_ARGUMENT, "n_thread is %d, not 0 ... %d", p->n_thread, ST_MAX_THREAD);
    if (p->n_context < 0 || p->n_context > c->n_context)
        return st_fail(error, STERNA_E_LIMIT,
                       "n_context is %d, but the model was made for 1 ... %d positions", p->n_context,
                       c->n_context);
    if (p->n_batch < 1 || p->n_batch > ST_MAX_BATCH)
        return st_fail(error, STERNA_E_ARGUMENT, "n_batch is %d, not 1 ... %d", p->n_batch, ST_MAX_BATCH);
    if (p->n_sequence < 1 || p->n_sequence > ST_MAX_SEQUENCE || p->n_sequence > p->n_batch)
        return st_fail(error, STERNA_E_ARGUMENT, "n_sequence is %d, not 1 ... %d (n_batch is %d)",
                       p->n_sequence, (int)st_min(ST_MAX_SEQUENCE, p->n_batch), p->n_batch);
    if (p->kv_bytes < 0)
        return st_fail(error, STERNA_E_ARGUMENT, "kv_bytes is %lld", (long long)p->kv_bytes);
    return STERNA_OK;
}

static sterna_status choose_pages(const sterna_engine_params *p, const st_config *c, int32_t n_context,
                                  int32_t *n_page, sterna_error *error)
{
    int64_t useful = (int64_t)p->n_sequence * st_pages_for(n_context);
    int64_t page_bytes = (int64_t)st_kv_bytes(1, c->n_layer, c->n_kv_head, c->head_dim);
    int64_t pages = p->kv_bytes ? st_min(p->kv_bytes / page_bytes, useful) : useful;
    if (pages < 1)
        return st_fail(error, STERNA_E_LIMIT, "kv_bytes is %lld, but a page of %d positions has %lld bytes",
                       (long long)p->kv_bytes, ST_KV_PAGE, (long long)page_bytes);
    if (pages > INT32_MAX / ST_KV_PAGE) /* slots are 32-bit numbers */
        return st_fail(error, STERNA_E_LIMIT, "%lld KV pages of %d positions; %d are possible",
                       (long long)pages, ST_KV_PAGE, INT32_MAX / ST_KV_PAGE);
    *n_page = (int32_t)pages;
    return STERNA_OK;
}

static sterna_status create_host_side(sterna_engine *e, const sterna_engine_params *p, int32_t n_context,
                                      int32_t n_page, sterna_error *error)
{
    size_t outs = (size_t)e->max_out, n_vocab = (size_t)e->config->n_vocab;
    e->events.capacity = 4 * p->n_sequence + ST_MAX_QUEUE;
    e->events.ring = st_calloc((size_t)e->events.capacity, sizeof *e->events.ring);
    e->candidates = st_calloc(outs * (size_t)e->n_candidate, sizeof *e->candidates);
    e->stats = st_calloc(outs, sizeof *e->stats);
    e->want = st_calloc(outs, sizeof *e->want);
    e->row = st_calloc(n_vocab, sizeof *e->row);
    e->scratch = st_calloc(n_vocab, sizeof *e->scratch);
    if (!st_sched_create(&e->sched, p->n_sequence, n_context, p->n_batch, n_page) || !e->events.ring ||
        !e->candidates || !e->stats || !e->want || !e->row || !e->scratch)
        return st_fail(error, STERNA_E_MEMORY,
                       "out of memory for %d sequences of %d positions and %d rows of %d logits",
                       p->n_sequence, n_context, e->max_out, e->config->n_vocab);
    return STERNA_OK;
}

static sterna_status open_parts(sterna_engine *e, const sterna_engine_params *p, sterna_error *error)
{
    const st_config *c = e->config;
    int32_t n_context = p->n_context ? p->n_context : c->n_context, n_page = 0;
    e->max_out = (int32_t)st_max(p->n_sequence, st_min(p->n_batch, ST_SCORE_ROWS));
    e->n_candidate = (int32_t)st_min(ST_CANDIDATES, c->n_vocab);
    sterna_status status = choose_pages(p, c, n_context, &n_page, error);
    if (status == STERNA_OK)
        status = create_host_side(e, p, n_context, n_page, error);
    if (status == STERNA_OK)
        status = st_step_arrays_create(&e->arrays, e->dev, p->n_batch, p->n_sequence, e->max_out,
                                       st_pages_for(n_context), error);
    st_forward_sizes sizes = {.max_token = p->n_batch,
                              .max_out = e->max_out,
                              .max_candidate = e->n_candidate,
                              .n_position = n_context,
                              .n_page = n_page};
    st_progress progress = {p->progress, p->user};
    if (status == STERNA_OK)
        status = st_forward_create(&e->forward, e->model, e->dev, &sizes, &progress, error);
    if (status != STERNA_OK)
        return status;
    sterna_statistics *s = &e->statistics;
    s->weight_bytes = e->forward.weights.bytes;
    s->kv_bytes = e->forward.kv.buf->bytes;
    s->scratch_bytes = e->forward.scratch_bytes + e->arrays.bytes;
    st_log_write(
        &e->log, STERNA_LOG_INFO,
        "device %s: %.1f MB of weights, %.1f MB of KV (%d pages of %d positions), %.1f MB of scratch",
        e->dev->backend->name, (double)s->weight_bytes / 1e6, (double)s->kv_bytes / 1e6, n_page, ST_KV_PAGE,
        (double)s->scratch_bytes / 1e6);
    return STERNA_OK;
}

sterna_status st_engine_open_on(const sterna_model *model, const sterna_engine_params *params, st_device *dev,
                                sterna_engine **engine, sterna_error *error)
{
    *engine = NULL;
    const st_config *config = st_model_config(model);
    sterna_status status = check_params(params, config, error);
    sterna_engine *e = status == STERNA_OK ? st_calloc(1, sizeof *e) : NULL;
    if (!e) {
        st_device_close(&dev);
        return status == STERNA_OK ? st_fail(error, STERNA_E_MEMORY, "out of memory for an engine") : status;
    }
    e->model = model;
    e->config = config;
    e->dev = dev;
    describe_device(dev->backend, params->device ? params->device : "auto", &e->device);
    e->log = (st_log){params->log, params->user};
    e->hash_logits = params->hash_logits;
    status = open_parts(e, params, error);
    if (status != STERNA_OK)
        sterna_engine_close(&e);
    *engine = e;
    return status;
}

sterna_status sterna_engine_open(const sterna_model *model, const sterna_engine_params *params,
                                 sterna_engine **engine, sterna_error *error)
{
    if (!engine)
        return st_fail(error, STERNA_E_ARGUMENT, "no place for the engine");
    *engine = NULL;
    if (!model || !params)
        return st_fail(error, STERNA_E_ARGUMENT, "no model or no parameters");
    sterna_status status = check_params(params, st_model_config(model), error);
    if (status != STERNA_OK)
        return status;
    st_device *dev = NULL;
    int cpus = st_usable_cpus();
    if (params->n_thread > cpus)
        st_log_write(&(st_log){params->log, params->user}, STERNA_LOG_WARN,
                     "n_thread is %d, but this process may use %d processors: %d threads run",
                     params->n_thread, cpus, cpus);
    st_device_params device = {.n_thread = (int32_t)st_min(params->n_thread, cpus),
                               .check = params->check,
                               .log = {params->log, params->user}};
    status = st_device_open(params->device ? params->device : "auto", &device, &dev, error);
    return status == STERNA_OK ? st_engine_open_on(model, params, dev, engine, error) : status;
}

void sterna_engine_close(sterna_engine **engine)
{
    sterna_engine *e = engine ? *engine : NULL;
    if (!e)
        return;
    *engine = NULL;
    st_forward_destroy(&e->forward);
    st_step_arrays_destroy(&e->arrays, e->dev);
    st_device_close(&e->dev);
    st_sched_destroy(&e->sched);
    st_free(e->events.ring);
    st_free(e->candidates);
    st_free(e->stats);
    st_free(e->want);
    st_free(e->row);
    st_free(e->scratch);
    st_free(e);
}

/* ---- requests ---- */

static sterna_status check_request(const sterna_engine *e, const sterna_request *r, sterna_error *error)
{
    if (r->struct_size != sizeof *r)
        return st_fail(error, STERNA_E_ARGUMENT,
                       "a request of %zu bytes instead of %zu: sterna_request_defaults sets the size",
                       r->struct_size, sizeof *r);
    if (!r->prompt || r->n_prompt < 1)
        return st_fail(error, STERNA_E_ARGUMENT, "the prompt has %d tokens", r->prompt ? r->n_prompt : 0);
    for (int32_t i = 0; i < r->n_prompt; i++)
        if (r->prompt[i] < 0 || r->prompt[i] >= e->config->n_vocab)
            return st_fail(error, STERNA_E_ARGUMENT, "token %d of the prompt is %d, not 0 ... %d", i,
                           r->prompt[i], e->config->n_vocab - 1);
    if (r->n_predict < -1)
        return st_fail(error, STERNA_E_ARGUMENT, "n_predict is %d, not -1 or more", r->n_predict);
    const sterna_sampling *s = &r->sampling;
    if (!isfinite(s->temperature) || s->temperature < 0.0f)
        return st_fail(error, STERNA_E_ARGUMENT, "temperature is %g, not 0 or more", (double)s->temperature);
    if (s->top_k < 0)
        return st_fail(error, STERNA_E_ARGUMENT, "top_k is %d, not 0 or more", s->top_k);
    if (!(s->top_p >= 0.0f && s->top_p <= 1.0f))
        return st_fail(error, STERNA_E_ARGUMENT, "top_p is %g, not 0 ... 1", (double)s->top_p);
    if (!(s->min_p >= 0.0f && s->min_p <= 1.0f))
        return st_fail(error, STERNA_E_ARGUMENT, "min_p is %g, not 0 ... 1", (double)s->min_p);
    return STERNA_OK;
}

sterna_status sterna_submit(sterna_engine *engine, const sterna_request *request, sterna_request_id *id,
                            sterna_error *error)
{
    if (!engine || !request)
        return st_fail(error, STERNA_E_ARGUMENT, "no engine or no request");
    sterna_status status = check_request(engine, request, error);
    sterna_request_id given = 0;
    if (status == STERNA_OK)
        status = st_sched_submit(&engine->sched, request, st_seconds(), &given, error);
    if (status == STERNA_OK && id)
        *id = given;
    return status;
}

sterna_status sterna_cancel(sterna_engine *engine, sterna_request_id id, sterna_error *error)
{
    if (!engine)
        return st_fail(error, STERNA_E_ARGUMENT, "no engine");
    if (engine->events.count == engine->events.capacity)
        return st_fail(error, STERNA_E_LIMIT, "%d events wait to be taken; there is no room for another",
                       engine->events.count);
    double now = st_seconds();
    int32_t slot = st_sched_slot(&engine->sched, id);
    st_waiting gone;
    if (slot >= 0) {
        st_engine_end(engine, slot, st_engine_event(engine, id), STERNA_FINISH_CANCEL, now);
    } else if (st_sched_forget(&engine->sched, id, &gone)) {
        sterna_event *event = st_engine_event(engine, id);
        event->finish = STERNA_FINISH_CANCEL;
        event->n_prompt = gone.n_prompt;
        event->seconds_queued = now - gone.submitted;
    } else {
        return st_fail(error, STERNA_E_ARGUMENT, "no unfinished request has the id %lld", (long long)id);
    }
    return STERNA_OK;
}

sterna_event *st_engine_event(sterna_engine *engine, sterna_request_id id)
{
    st_events *q = &engine->events;
    assert(q->count < q->capacity);
    sterna_event *event = &q->ring[(q->first + q->count++) % q->capacity];
    *event = (sterna_event){.id = id, .token = -1};
    return event;
}

void st_engine_end(sterna_engine *engine, int32_t slot, sterna_event *event, sterna_finish finish, double now)
{
    const st_sequence *s = &engine->sched.sequence[slot];
    double prompted = s->prompted > 0.0 ? s->prompted : now;
    event->finish = finish;
    event->n_prompt = s->n_prompt;
    event->n_generated = s->n_token - s->n_prompt;
    event->seconds_queued = s->admitted - s->submitted;
    event->seconds_prompt = prompted - s->admitted;
    event->seconds_decode = now - prompted;
    st_sched_end(&engine->sched, slot);
}

bool sterna_next(sterna_engine *engine, sterna_event *event)
{
    if (!engine || !event)
        return false;
    st_events *q = &engine->events;
    if (q->count == 0)
        return false;
    *event = q->ring[q->first];
    q->first = (q->first + 1) % q->capacity;
    q->count--;
    return true;
}

void sterna_engine_statistics(const sterna_engine *engine, sterna_statistics *statistics)
{
    *statistics = engine ? engine->statistics : (sterna_statistics){0};
}

void sterna_engine_device(const sterna_engine *engine, sterna_device_info *info)
{
    *info = engine ? engine->device : (sterna_device_info){0};
}

void st_engine_watch(sterna_engine *engine, st_watch_fn fn, void *user)
{
    engine->watch = fn;
    engine->watch_user = user;
}
