/* Steps. One that is traced runs op by op between events; any other is captured into a graph, which serves
 * all later steps of the same key. */
#include "cuda/device.h"

#include <string.h>

/* ---- graphs ---- */

static void forget_one(st_cuda *c, st_cuda_recording *r)
{
    if (r->graph)
        c->cu->graph_exec_destroy(r->graph);
    *r = (st_cuda_recording){.graph = NULL};
}

void st_cuda_forget(st_cuda *c)
{
    assert(!c->batch);
    c->cu->ctx_set_current(c->context);
    for (int i = 0; i < ST_CUDA_MAX_RECORDING; i++)
        forget_one(c, &c->recording[i]);
}

/* The recording of this key; else the unused one or the one used longest ago, emptied. */
static st_cuda_recording *find_recording(st_cuda *c, const st_batch *batch)
{
    st_cuda_recording *oldest = &c->recording[0];
    for (int i = 0; i < ST_CUDA_MAX_RECORDING; i++) {
        st_cuda_recording *r = &c->recording[i];
        if (r->graph && st_batch_same(&r->key, batch))
            return r;
        if (r->used < oldest->used)
            oldest = r;
    }
    forget_one(c, oldest);
    return oldest;
}

/* Ends the capture and makes a graph that can be launched. */
static void finish_capture(st_cuda *c)
{
    CUgraph graph = NULL;
    CUgraphExec exec = NULL;
    CUresult result = c->cu->stream_end_capture(c->stream, &graph);
    c->capturing = false;
    if (c->failure.status == STERNA_OK && st_cuda_check(c, st_cuda_symbol.stream_end_capture, result) &&
        ST_CUDA_CALL(c, graph_instantiate, &exec, graph, 0))
        *c->current = (st_cuda_recording){.key = *c->batch, .graph = exec, .used = c->n_step};
    if (graph)
        c->cu->graph_destroy(graph);
}

/* ---- begin and end ---- */

/* Event number `i` now, made if it is the first time. */
static bool mark(st_cuda *c, int i)
{
    assert(i <= c->n_event);
    if (i == c->n_event) {
        if (!ST_CUDA_CALL(c, event_create, &c->event[i], CU_EVENT_DEFAULT))
            return false;
        c->n_event++;
    }
    return ST_CUDA_CALL(c, event_record, c->event[i], c->stream);
}

bool st_cuda_begin(st_device *dev, const st_batch *batch)
{
    st_cuda *c = (st_cuda *)(void *)dev;
    assert(!c->batch);
    c->n_trace = 0;
    c->replaying = c->capturing = false;
    c->n_step++;
    if (st_cuda_enter(c) && c->trace) {
        st_batch_rows_read(dev, batch, c->rows);
        mark(c, 0);
    }
    c->batch = batch;
    if (c->trace || c->failure.status != STERNA_OK)
        return true;
    c->current = find_recording(c, batch);
    c->replaying = c->current->graph != NULL;
    c->current->used = c->n_step;
    /* Relaxed: kernels may be loaded while the first steps are captured. */
    c->capturing =
        !c->replaying && ST_CUDA_CALL(c, stream_begin_capture, c->stream, CU_STREAM_CAPTURE_MODE_RELAXED);
    return !c->replaying;
}

/* Times of the traced ops, from the events around them. */
static void read_times(st_cuda *c)
{
    for (int i = 0; i < c->n_trace; i++) {
        float op = 0, start = 0; /* milliseconds */
        if (!ST_CUDA_CALL(c, event_elapsed_time, &op, c->event[i], c->event[i + 1]) ||
            !ST_CUDA_CALL(c, event_elapsed_time, &start, c->event[0], c->event[i]))
            return;
        c->trace[i].seconds = (double)op * 1e-3;
        c->trace[i].start = (double)start * 1e-3;
    }
}

sterna_status st_cuda_end(st_device *dev, sterna_error *error)
{
    st_cuda *c = (st_cuda *)(void *)dev;
    assert(c->batch);
    c->cu->ctx_set_current(c->context);
    if (c->capturing)
        finish_capture(c);
    if (c->failure.status == STERNA_OK && !c->trace)
        ST_CUDA_CALL(c, graph_launch, c->current->graph, c->stream);
    c->batch = NULL;
    if (c->failure.status == STERNA_OK && ST_CUDA_CALL(c, stream_synchronize, c->stream) && c->trace)
        read_times(c);
    if (c->failure.status != STERNA_OK && error)
        *error = c->failure;
    return c->failure.status;
}

/* ---- trace ---- */

void st_cuda_trace_op(st_cuda *c, st_op op, const char *variant, uint64_t bytes)
{
    if (c->failure.status != STERNA_OK)
        return;
    if (c->n_trace == ST_CUDA_MAX_TRACE) {
        st_fail(&c->failure, STERNA_E_LIMIT, "%s: a traced step has at most %d ops", c->name,
                ST_CUDA_MAX_TRACE);
        return;
    }
    if (mark(c, c->n_trace + 1))
        c->trace[c->n_trace++] = (st_trace_row){.op = op, .variant = variant, .bytes = bytes};
}
