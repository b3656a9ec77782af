/* sterna run with one prompt: text is written as it comes; of several samples one after the other. */
#include "host/cli/run.h"

#include <stdlib.h>

typedef struct sample {
    st_bytes text; /* what came before it was its turn */
    bool done;
} sample;

typedef struct printer {
    st_run *run;
    const char *prompt;
    size_t prompt_size;
    sample *sample; /* [n] */
    int32_t n, shown, n_done;
} printer;

/* What stands before the sample whose turn it is. */
static void begin_sample(printer *p)
{
    char label[16];
    if (p->n > 1)
        st_run_write(p->run, label, (size_t)snprintf(label, sizeof label, "[%d] ", p->shown));
    if (!p->run->params->no_display_prompt)
        st_run_write(p->run, p->prompt, p->prompt_size);
}

/* Ends the sample whose turn it was, and shows what there is of the next ones. */
static void end_sample(printer *p)
{
    do {
        st_run_write(p->run, "\n\n", p->n > 1 ? 2 : 1);
        if (++p->shown == p->n)
            return;
        begin_sample(p);
        st_run_write(p->run, p->sample[p->shown].text.data, p->sample[p->shown].text.size);
    } while (p->sample[p->shown].done);
}

/* Takes the events of a step. Returns the exit code. */
static int take_events(printer *p)
{
    const sterna_event *event;
    int code = ST_EXIT_OK;
    while ((event = sterna_next(p->run->session.engine)) != NULL) {
        sample *s = &p->sample[event->sample];
        p->run->n_generated += event->token >= 0;
        if (event->sample == p->shown)
            st_run_write(p->run, event->text, (size_t)event->n_text);
        else if (!st_bytes_append(&s->text, event->text, (size_t)event->n_text))
            return st_cli_fail("run", ST_EXIT_FAILURE, "out of memory for the text");
        if (event->finish == STERNA_FINISH_NONE)
            continue;
        s->done = true;
        p->n_done++;
        if (event->sample == p->shown)
            end_sample(p);
        if (event->finish == STERNA_FINISH_ERROR)
            code = st_cli_fail("run", ST_EXIT_FAILURE, "%s", event->error.message);
    }
    st_run_flush(p->run);
    return code;
}

static int generate(printer *p, sterna_request_id id)
{
    st_run *run = p->run;
    sterna_error error;
    int code = ST_EXIT_OK;
    double start = st_clock();
    begin_sample(p);
    while (code == ST_EXIT_OK && p->n_done < p->n && !run->broken) {
        int64_t left = sterna_step(run->session.engine, &error);
        code = left >= 0 || error.status == STERNA_E_ABORTED
                   ? take_events(p)
                   : st_cli_fail("run", ST_EXIT_FAILURE, "%s", error.message);
        if (code == ST_EXIT_OK && p->n_done < p->n && st_interrupted()) {
            if (sterna_cancel(run->session.engine, id, &error) == STERNA_OK)
                take_events(p);
            code = ST_EXIT_INTERRUPTED;
        }
    }
    run->seconds = st_clock() - start;
    if (p->shown < p->n)
        st_run_write(run, "\n", 1); /* cut off by an error */
    st_run_flush(run);              /* before the statistics */
    return code;
}

int st_run_prompt(st_run *run, const char *text, size_t size)
{
    sterna_error error;
    sterna_request request = st_run_request(run);
    int32_t n = 0, n_context = run->session.n_context;
    sterna_token *tokens = st_session_tokenize(&run->session, text, size, true, &n, &error);
    if (!tokens)
        return st_cli_fail("run", ST_EXIT_FAILURE, "%s", error.message);
    sterna_request_id id = 0;
    request.prompt = tokens;
    request.n_prompt = n;
    int64_t longest = request.n_predict < 0 ? n_context : (int64_t)n + request.n_predict;
    int code =
        n > n_context
            ? st_cli_fail("run", ST_EXIT_FAILURE,
                          "the prompt has %d tokens, but the context holds %d (see --ctx-size)", n, n_context)
            : st_run_open_engine(run, request.n_sample, longest, request.n_draft);
    if (code == ST_EXIT_OK)
        code = st_run_open_output(run, "wb");
    if (code == ST_EXIT_OK && sterna_submit(run->session.engine, &request, &id, &error) != STERNA_OK)
        code = st_cli_fail("run", ST_EXIT_FAILURE, "%s", error.message);
    free(tokens);
    if (code != ST_EXIT_OK)
        return code;
    printer p = {.run = run, .prompt = text, .prompt_size = size, .n = request.n_sample};
    p.sample = calloc((size_t)p.n, sizeof *p.sample);
    code = p.sample ? generate(&p, id) : st_cli_fail("run", ST_EXIT_FAILURE, "out of memory for the samples");
    for (int32_t i = 0; p.sample && i < p.n; i++)
        st_bytes_free(&p.sample[i].text);
    free(p.sample);
    return code;
}
