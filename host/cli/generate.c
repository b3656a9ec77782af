/* sterna run with one prompt: text is written as its characters are complete. */
#include "host/cli/run.h"

#include <stdlib.h>
#include <string.h>

/* Writes what is complete of `pending`, or all of it at the end, and keeps the rest. */
static void show(st_run *run, st_bytes *pending, bool end)
{
    size_t n = end ? pending->size : st_utf8_showable(pending->data, pending->size);
    st_run_write(run, pending->data, n);
    st_run_flush(run);
    if (n > 0)
        memmove(pending->data, pending->data + n, pending->size - n);
    pending->size -= n;
}

/* Takes the events of a step. Returns the exit code, and sets *done with the last event. */
static int take_events(st_run *run, st_bytes *pending, bool *done)
{
    sterna_event event;
    while (sterna_next(run->engine, &event)) {
        if (event.token >= 0 && !st_bytes_append_token(pending, run->model, event.token))
            return st_cli_fail("run", ST_EXIT_FAILURE, "out of memory for the text");
        run->n_generated += event.token >= 0;
        *done = *done || event.finish != STERNA_FINISH_NONE;
        if (event.finish == STERNA_FINISH_ERROR)
            return st_cli_fail("run", ST_EXIT_FAILURE, "%s", event.error.message);
    }
    if (pending->size > 0)
        show(run, pending, *done);
    return ST_EXIT_OK;
}

static int generate(st_run *run, sterna_request_id id)
{
    sterna_error error;
    st_bytes pending = {0};
    int code = ST_EXIT_OK;
    bool done = false;
    double start = st_run_clock();
    while (code == ST_EXIT_OK && !done && !run->broken) {
        if (st_run_interrupted()) {
            sterna_cancel(run->engine, id, &error);
            take_events(run, &pending, &done);
            code = ST_EXIT_INTERRUPTED;
        } else if (sterna_step(run->engine, &error) < 0) {
            code = st_cli_fail("run", ST_EXIT_FAILURE, "%s", error.message);
        } else {
            code = take_events(run, &pending, &done);
        }
    }
    run->seconds = st_run_clock() - start;
    st_run_write(run, "\n", 1);
    st_run_flush(run); /* before the statistics */
    st_bytes_free(&pending);
    return code;
}

int st_run_prompt(st_run *run, const char *text, size_t size)
{
    sterna_error error;
    sterna_request request = st_run_request(run);
    int32_t n = 0;
    sterna_token *tokens = st_run_tokenize(run, text, size, &n, &error);
    if (!tokens)
        return st_cli_fail("run", ST_EXIT_FAILURE, "%s", error.message);
    int code = ST_EXIT_OK;
    sterna_request_id id = 0;
    request.prompt = tokens;
    request.n_prompt = n;
    int64_t longest = request.n_predict < 0 ? run->n_context : (int64_t)n + request.n_predict;
    if (n > run->n_context)
        code = st_cli_fail("run", ST_EXIT_FAILURE,
                           "the prompt has %d tokens, but the context holds %d (see --ctx-size)", n,
                           run->n_context);
    else if (st_run_open_engine(run, 1, longest, &error) != STERNA_OK ||
             sterna_submit(run->engine, &request, &id, &error) != STERNA_OK)
        code = error.status == STERNA_E_ABORTED ? ST_EXIT_INTERRUPTED
                                                : st_cli_fail("run", ST_EXIT_FAILURE, "%s", error.message);
    free(tokens);
    if (code != ST_EXIT_OK)
        return code;
    if (!run->params->no_display_prompt)
        st_run_write(run, text, size);
    return generate(run, id);
}
