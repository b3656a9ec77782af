/* Opening and closing an engine, and what it says of itself. */
#include "host/engine/engine.h"

#include "host/base/parallel.h"

#include <stddef.h>
#include <string.h>

void sterna_engine_defaults(sterna_engine_params *params)
{
    *params = (sterna_engine_params){
        .struct_size = sizeof *params, .device = "auto", .n_sequence = 1, .n_batch = 512};
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
    if (p->n_draft < 0 || p->n_draft > STERNA_MAX_DRAFT)
        return st_fail(error, STERNA_E_ARGUMENT, "n_draft is %d, not 0 ... %d", p->n_draft, STERNA_MAX_DRAFT);
    if (p->kv_bytes < 0)
        return st_fail(error, STERNA_E_ARGUMENT, "kv_bytes is %lld, not 0 or more", (long long)p->kv_bytes);
    if (p->prefill != STERNA_PREFILL_FAIR && p->prefill != STERNA_PREFILL_FIFO)
        return st_fail(error, STERNA_E_ARGUMENT, "prefill is %d, not fair (%d) or fifo (%d)", (int)p->prefill,
                       STERNA_PREFILL_FAIR, STERNA_PREFILL_FIFO);
    if (p->head != STERNA_HEAD_F16 && p->head != STERNA_HEAD_Q8)
        return st_fail(error, STERNA_E_ARGUMENT, "head is %d, not f16 (%d) or q8 (%d)", (int)p->head,
                       STERNA_HEAD_F16, STERNA_HEAD_Q8);
    return STERNA_OK;
}

/* Pages whose keys of one layer, with what is before them in a piece of 256 bytes, a device lets an op see.
 */
static int64_t pages_in_view(const st_device *dev, const st_config *c)
{
    int64_t plane = (int64_t)st_kv_bytes(1, 1, c->n_kv_head, c->head_dim) / 2;
    return dev->max_view ? ((int64_t)dev->max_view - 256) / plane : INT64_MAX;
}

static sterna_status choose_pages(const sterna_engine *e, const sterna_engine_params *p, int32_t *n_context,
                                  int32_t *n_page, sterna_error *error)
{
    const st_config *c = e->config;
    int64_t page_bytes = (int64_t)st_kv_bytes(1, c->n_layer, c->n_kv_head, c->head_dim);
    int64_t wanted = (int64_t)p->n_sequence * st_pages_for(*n_context);
    int64_t useful = st_min(wanted, pages_in_view(e->dev, c));
    if (useful < 1)
        return st_fail(
            error, STERNA_E_UNSUPPORTED,
            "a page of %d positions has more keys in a layer than an op of this device sees: %zu bytes",
            ST_KV_PAGE, e->dev->max_view);
    int64_t pages = p->kv_bytes ? st_min(p->kv_bytes / page_bytes, useful) : useful;
    if (pages < 1)
        return st_fail(error, STERNA_E_LIMIT, "kv_bytes is %lld, but a page of %d positions has %lld bytes",
                       (long long)p->kv_bytes, ST_KV_PAGE, (long long)page_bytes);
    if (pages > INT32_MAX / ST_KV_PAGE) /* slots are 32-bit numbers */
        return st_fail(error, STERNA_E_LIMIT, "%lld KV pages of %d positions; %d are possible",
                       (long long)pages, ST_KV_PAGE, INT32_MAX / ST_KV_PAGE);
    *n_page = (int32_t)pages;
    if (pages == useful && useful < wanted)
        st_log_write(&e->log, STERNA_LOG_WARN,
                     "an op of this device sees %zu bytes: there are %lld KV pages of %d positions, not %lld",
                     e->dev->max_view, (long long)pages, ST_KV_PAGE, (long long)wanted);
    if (pages * ST_KV_PAGE < *n_context) { /* one sequence may take them all, but has no more */
        st_log_write(&e->log, STERNA_LOG_WARN,
                     "%lld KV pages hold %lld positions: the context is cut from %d to that",
                     (long long)pages, (long long)pages * ST_KV_PAGE, *n_context);
        *n_context = (int32_t)pages * ST_KV_PAGE;
    }
    return STERNA_OK;
}

/* Bytes of the longest token's text; 0 without a tokenizer. */
static int32_t longest_text(const sterna_model *model, int32_t n_vocab)
{
    int longest = 0;
    for (sterna_token token = 0; token < n_vocab; token++) {
        int n = sterna_token_text(model, token, NULL, 0, false);
        longest = n > longest ? n : longest;
    }
    return longest;
}

static bool create_events(st_events *events, int32_t n_step_event, int32_t max_text)
{
    *events = (st_events){.capacity = 2 * n_step_event + ST_MAX_QUEUE, .max_text = max_text};
    size_t n = (size_t)events->capacity;
    events->ring = st_calloc(n, sizeof *events->ring);
    events->text = st_alloc(n * (size_t)max_text);
    events->top = st_calloc(n * STERNA_MAX_LOGPROB, sizeof *events->top);
    return events->ring && events->text && events->top;
}

static sterna_status create_host_side(sterna_engine *e, const st_sched_limits *limits, sterna_error *error)
{
    size_t outs = (size_t)e->max_out, n_vocab = (size_t)e->config->n_vocab;
    e->want = st_calloc(outs, sizeof *e->want);
    e->adjust = st_calloc(outs * (size_t)e->max_adjust, sizeof *e->adjust);
    e->n_adjust = st_calloc(outs, sizeof *e->n_adjust);
    e->candidates = st_calloc(outs * (size_t)e->n_candidate, sizeof *e->candidates);
    e->stats = st_calloc(outs, sizeof *e->stats);
    e->row = st_calloc(n_vocab, sizeof *e->row);
    e->scratch = st_calloc(n_vocab, sizeof *e->scratch);
    e->last = st_calloc(STERNA_MAX_PENALTY_LAST, sizeof *e->last);
    int32_t max_text = ST_MAX_HELD + longest_text(e->model, e->config->n_vocab);
    if (!st_sched_create(&e->sched, limits) ||
        !create_events(&e->events, st_engine_step_events(e), max_text) || !e->want || !e->adjust ||
        !e->n_adjust || !e->candidates || !e->stats || !e->row || !e->scratch || !e->last)
        return st_fail(error, STERNA_E_MEMORY,
                       "out of memory for %d sequences of %d positions and %d rows of %d logits",
                       limits->n_sequence, limits->n_context, e->max_out, e->config->n_vocab);
    return STERNA_OK;
}

/* Rows of a step and wanted ones, of which none is so wide that a device does not let an op see them all. */
static sterna_status choose_rows(sterna_engine *e, const sterna_engine_params *p, int32_t *n_batch,
                                 sterna_error *error)
{
    const st_config *c = e->config;
    int64_t view = e->dev->max_view ? (int64_t)e->dev->max_view : INT64_MAX;
    int64_t qkv = (int64_t)(c->n_head + 2 * c->n_kv_head) * c->head_dim;
    int64_t rows = view / (int64_t)sizeof(float) / st_max(st_max(qkv, c->n_embd), 2 * (int64_t)c->n_ff);
    int64_t logits = (int64_t)sizeof(float) * c->n_vocab,
            lists = (int64_t)sizeof(st_adjustment) * e->max_adjust;
    int64_t wanted = (int64_t)p->n_sequence * (1 + p->n_draft), outs = view / st_max(logits, lists);
    if (rows < p->n_sequence || outs < st_min(wanted, p->n_batch))
        return st_fail(
            error, STERNA_E_LIMIT,
            "%d sequences with %d drafts: an op of this device sees %zu bytes, which are %lld rows of a "
            "step or %lld of logits",
            p->n_sequence, p->n_draft, e->dev->max_view, (long long)rows, (long long)outs);
    *n_batch = (int32_t)st_min(p->n_batch, rows);
    if (*n_batch < p->n_batch)
        st_log_write(&e->log, STERNA_LOG_WARN,
                     "an op of this device sees %zu bytes: steps have %d rows, not %d", e->dev->max_view,
                     *n_batch, p->n_batch);
    e->max_out = (int32_t)st_min(st_min(*n_batch, outs), st_max(wanted, ST_SCORE_ROWS));
    return STERNA_OK;
}

static sterna_status open_parts(sterna_engine *e, const sterna_engine_params *p, sterna_error *error)
{
    const st_config *c = e->config;
    st_sched_limits limits = {.n_sequence = p->n_sequence,
                              .n_context = p->n_context ? p->n_context : c->n_context,
                              .n_draft = p->n_draft,
                              .prefill = p->prefill,
                              .no_prefix_cache = p->no_prefix_cache};
    e->n_draft = p->n_draft;
    e->n_candidate = (int32_t)st_min(ST_CANDIDATES, c->n_vocab);
    e->max_adjust = (int32_t)st_min(ST_MAX_ADJUST, c->n_vocab);
    sterna_status status = choose_rows(e, p, &limits.n_batch, error);
    if (status == STERNA_OK)
        status = choose_pages(e, p, &limits.n_context, &limits.n_page, error);
    if (status == STERNA_OK)
        status = create_host_side(e, &limits, error);
    if (status == STERNA_OK)
        status = st_step_arrays_create(&e->arrays, e->dev, limits.n_batch, p->n_sequence, e->max_out,
                                       st_pages_for(limits.n_context), error);
    st_forward_sizes sizes = {.max_token = limits.n_batch,
                              .max_out = e->max_out,
                              .max_candidate = e->n_candidate,
                              .max_adjust = e->max_adjust,
                              .n_position = limits.n_context,
                              .n_page = limits.n_page};
    st_pool *pool = st_pool_create(st_thread_count(p->n_thread)); /* NULL serves as well */
    st_loading loading = {
        .head = p->head, .pool = pool, .progress = p->progress, .user = p->user, .log = e->log};
    if (status == STERNA_OK)
        status = st_forward_create(&e->forward, e->model, e->dev, &sizes, &loading, error);
    st_pool_destroy(pool);
    if (status != STERNA_OK)
        return status;
    sterna_statistics *s = &e->statistics;
    s->weight_bytes = e->forward.weights.bytes;
    s->kv_bytes = e->forward.kv.buf->bytes;
    s->scratch_bytes = e->forward.scratch_bytes + e->arrays.bytes;
    st_log_write(
        &e->log, STERNA_LOG_INFO,
        "device %s: %.1f MB of weights, %.1f MB of KV (%d pages of %d positions), %.1f MB of scratch",
        e->dev->backend->name, (double)s->weight_bytes / 1e6, (double)s->kv_bytes / 1e6, limits.n_page,
        ST_KV_PAGE, (double)s->scratch_bytes / 1e6);
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
    e->abort = params->abort;
    e->abort_user = params->user;
    e->hash_logits = params->hash_logits;
    status = open_parts(e, params, error);
    if (status != STERNA_OK)
        sterna_engine_close(&e);
    *engine = e;
    return status;
}

/* Reads the caller's parameters, which may be those of an older or newer header. */
static sterna_status read_params(sterna_engine_params *params, const sterna_engine_params *theirs,
                                 sterna_error *error)
{
    sterna_engine_defaults(params);
    return st_struct_read(params, sizeof *params, offsetof(sterna_engine_params, head), theirs,
                          "engine parameters", "sterna_engine_defaults", error);
}

sterna_status sterna_engine_open(const sterna_model *model, const sterna_engine_params *theirs,
                                 sterna_engine **engine, sterna_error *error)
{
    if (!engine)
        return st_fail(error, STERNA_E_ARGUMENT, "no place for the engine");
    *engine = NULL;
    if (!model || !theirs)
        return st_fail(error, STERNA_E_ARGUMENT, "no model or no parameters");
    sterna_engine_params params;
    sterna_status status = read_params(&params, theirs, error);
    if (status == STERNA_OK)
        status = check_params(&params, st_model_config(model), error);
    if (status != STERNA_OK)
        return status;
    st_device *dev = NULL;
    int cpus = st_usable_cpus();
    if (params.n_thread > cpus)
        st_log_write(&(st_log){params.log, params.user}, STERNA_LOG_WARN,
                     "n_thread is %d, but this process may use %d processors: %d threads run",
                     params.n_thread, cpus, cpus);
    st_device_params device = {.n_thread = (int32_t)st_min(params.n_thread, cpus),
                               .check = params.check,
                               .abort = params.abort,
                               .abort_user = params.user,
                               .log = {params.log, params.user}};
    status = st_device_open(params.device ? params.device : "auto", &device, &dev, error);
    return status == STERNA_OK ? st_engine_open_on(model, &params, dev, engine, error) : status;
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
    void *memory[] = {e->events.ring, e->events.text, e->events.top, e->want,    e->adjust, e->n_adjust,
                      e->candidates,  e->stats,       e->row,        e->scratch, e->last};
    for (size_t i = 0; i < sizeof memory / sizeof memory[0]; i++)
        st_free(memory[i]);
    st_free(e);
}

/* ---- facts ---- */

sterna_status sterna_engine_statistics(const sterna_engine *engine, sterna_statistics *statistics)
{
    if (!engine || !statistics)
        return STERNA_E_ARGUMENT;
    sterna_statistics s = engine->statistics;
    const st_sched *sched = &engine->sched;
    s.n_cached = sched->n_cached;
    s.n_preempted = sched->n_preempted;
    s.n_waiting = sched->n_waiting;
    s.n_running = sched->n_running;
    s.n_page = sched->pages.n_page;
    s.n_page_used = sched->pages.n_page - sched->pages.n_unused;
    return st_struct_write(statistics, &s, sizeof s);
}

sterna_status sterna_engine_device(const sterna_engine *engine, sterna_device_info *info)
{
    return engine && info ? st_struct_write(info, &engine->device, sizeof engine->device) : STERNA_E_ARGUMENT;
}

void st_engine_watch(sterna_engine *engine, st_watch_fn fn, void *user)
{
    engine->watch = fn;
    engine->watch_user = user;
}
