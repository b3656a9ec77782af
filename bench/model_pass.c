#include "bench/measure.h"
#include "bench/model.h"

#include <stdlib.h>

int64_t st_pass_positions(int32_t n_sequence, int64_t n_prompt, int32_t n_generate, int32_t n_batch)
{
    int64_t rows = n_batch - n_sequence + 1; /* that prompts have in a step, at least */
    return n_prompt + n_generate + 2 + (n_sequence * n_prompt + rows - 1) / rows;
}

sterna_status st_passes_open(st_passes *p, int32_t n_sequence, int32_t room, sterna_error *error)
{
    p->n_sequence = n_sequence;
    p->room = room;
    p->tokens = calloc((size_t)n_sequence * (size_t)room, sizeof *p->tokens);
    p->id = calloc((size_t)n_sequence, sizeof *p->id);
    if (p->tokens && p->id)
        return STERNA_OK;
    *error = (sterna_error){.status = STERNA_E_MEMORY};
    snprintf(error->message, sizeof error->message, "out of memory for %d sequences of %d tokens", n_sequence,
             room);
    return error->status;
}

void st_passes_close(st_passes *p)
{
    sterna_engine_close(&p->engine);
    free(p->tokens);
    free(p->id);
    p->tokens = NULL;
    p->id = NULL;
}

void st_passes_tokens(st_passes *p, int32_t first, uint64_t index, bool shared)
{
    uint64_t base = st_stream(p->seed, index);
    for (int32_t i = 0; i < p->n_sequence; i++) {
        uint64_t own = st_stream(base, shared ? 0 : (uint64_t)i);
        st_draw_tokens(&own, p->n_vocab, p->tokens + (size_t)i * (size_t)p->room + first, p->room - first);
    }
}

static sterna_status submit(st_passes *p, int32_t n_sequence, int32_t n_prompt, int32_t n_predict,
                            sterna_error *error)
{
    sterna_status status = STERNA_OK;
    for (p->n_submitted = 0; p->n_submitted < n_sequence && status == STERNA_OK;) {
        sterna_request request;
        sterna_request_defaults(&request);
        request.prompt = p->tokens + (size_t)p->n_submitted * (size_t)p->room;
        request.n_prompt = n_prompt;
        request.n_predict = n_predict;
        request.temperature = 0.0f;
        request.ignore_end = true;
        status = sterna_submit(p->engine, &request, &p->id[p->n_submitted], error);
        p->n_submitted += status == STERNA_OK;
    }
    return status;
}

/* Takes the events of a step; *n_first: how many sequences got their first token by it. */
static sterna_status take_events(st_passes *p, bool *started, int32_t *n_first, sterna_error *error)
{
    const sterna_event *event;
    while ((event = sterna_next(p->engine))) {
        if (event->finish == STERNA_FINISH_ERROR) {
            *error = event->error;
            return event->error.status;
        }
        int32_t i = 0;
        while (i < p->n_submitted && p->id[i] != event->id)
            i++;
        if (started && event->token >= 0 && i < p->n_submitted && !started[i]) {
            started[i] = true;
            ++*n_first;
        }
    }
    return STERNA_OK;
}

static sterna_status step(st_passes *p, bool *started, int32_t *n_first, int64_t *left, sterna_error *error)
{
    *left = sterna_step(p->engine, error);
    return *left < 0 ? (sterna_status)*left : take_events(p, started, n_first, error);
}

static sterna_statistics statistics_of(const st_passes *p)
{
    sterna_statistics s = {.struct_size = sizeof s};
    sterna_engine_statistics(p->engine, &s);
    return s;
}

static sterna_status run_to_end(st_passes *p, int32_t n_sequence, int32_t n_prompt, int32_t n_predict,
                                st_pass_result *r, sterna_error *error)
{
    sterna_statistics before = statistics_of(p);
    double start = st_clock();
    sterna_status status = submit(p, n_sequence, n_prompt, n_predict, error);
    for (int64_t left = 1; left > 0 && status == STERNA_OK;)
        status = step(p, NULL, NULL, &left, error);
    r->seconds = st_clock() - start;
    sterna_statistics after = statistics_of(p);
    r->n_token = after.n_prompt_token + after.n_decode_token - before.n_prompt_token - before.n_decode_token;
    r->bytes = after.bytes_prompt + after.bytes_decode - before.bytes_prompt - before.bytes_decode;
    return status;
}

sterna_status st_pass_prompt(st_passes *p, int32_t n_sequence, int32_t n, st_pass_result *r,
                             sterna_error *error)
{
    return run_to_end(p, n_sequence, n, 1, r, error);
}

sterna_status st_pass_both(st_passes *p, int32_t n_prompt, int32_t n, st_pass_result *r, sterna_error *error)
{
    return run_to_end(p, 1, n_prompt, n + 1, r, error); /* the first token comes with the prompt's last */
}

/* Ends what is still running. */
static sterna_status cancel_all(st_passes *p, sterna_error *error)
{
    sterna_status status = STERNA_OK;
    for (int32_t i = 0; i < p->n_submitted && status == STERNA_OK; i++)
        status = sterna_cancel(p->engine, p->id[i], error);
    return status == STERNA_OK ? take_events(p, NULL, NULL, error) : status;
}

/* Exactly n steps of n_sequence rows each. */
static sterna_status time_steps(st_passes *p, int32_t n_sequence, int32_t n, st_pass_result *r,
                                sterna_error *error)
{
    sterna_statistics before = statistics_of(p);
    sterna_status status = STERNA_OK;
    int64_t left;
    double start = st_clock();
    for (int32_t i = 0; i < n && status == STERNA_OK; i++)
        status = step(p, NULL, NULL, &left, error);
    r->seconds = st_clock() - start;
    sterna_statistics after = statistics_of(p);
    r->n_token = after.n_decode_token - before.n_decode_token;
    r->bytes = after.bytes_decode - before.bytes_decode;
    if (status != STERNA_OK || r->n_token == (uint64_t)n_sequence * (uint64_t)n)
        return status;
    *error = (sterna_error){.status = STERNA_E_LIMIT};
    snprintf(error->message, sizeof error->message, "%d steps of %d sequences computed %llu tokens", n,
             n_sequence, (unsigned long long)r->n_token);
    return error->status;
}

sterna_status st_pass_generate(st_passes *p, int32_t n_sequence, int32_t n_prompt, int32_t n,
                               st_pass_result *r, sterna_error *error)
{
    bool *started = calloc((size_t)n_sequence, sizeof *started);
    int32_t n_first = 0;
    int64_t left;
    int32_t n_predict = (int32_t)(st_pass_positions(n_sequence, n_prompt, n, p->n_batch) - n_prompt);
    sterna_status status = started ? submit(p, n_sequence, n_prompt, n_predict, error) : STERNA_E_MEMORY;
    if (!started)
        *error = (sterna_error){STERNA_E_MEMORY, "out of memory"};
    while (n_first < n_sequence && status == STERNA_OK)
        status = step(p, started, &n_first, &left, error);
    if (status == STERNA_OK)
        status = time_steps(p, n_sequence, n, r, error);
    if (status == STERNA_OK)
        status = cancel_all(p, error);
    free(started);
    return status;
}
