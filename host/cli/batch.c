/* sterna run --batch: many requests at a time, results as they finish. */
#include "host/cli/batch.h"

#include <assert.h>
#include <stdlib.h>
#include <unistd.h>

/* Requests that wait in the engine beside the running ones, so that a slot never stays empty. */
enum { AHEAD = 64 };

typedef struct batch {
    st_run *run;
    st_jobs jobs;
    st_job **order;              /* [n_submitted]: the engine numbers requests one after the other */
    sterna_request_id first_id;  /* of order[0] */
    size_t n_submitted, n_ended; /* in the engine */
    size_t next;                 /* job to be submitted */
    size_t n_done;               /* jobs that have all their results, earlier ones included */
    size_t n_earlier;
    size_t n_failed;            /* samples that ended with an error */
    const st_job *first_failed; /* and the first one's request and error */
    sterna_error first_error;
} batch;

static st_job *find_job(const batch *b, sterna_request_id id)
{
    st_job *job = b->order[id - b->first_id];
    assert(job->id == id);
    return job;
}

static void show_progress(const batch *b)
{
    if (!isatty(STDERR_FILENO) || isatty(fileno(b->run->out)))
        return;
    fprintf(stderr, "\r%zu of %zu done", b->n_done, b->jobs.n);
    if (b->n_earlier)
        fprintf(stderr, ", %zu of them earlier", b->n_earlier);
    if (b->n_done == b->jobs.n)
        fputc('\n', stderr);
}

/* Writes the result of a sample that has ended, unless an earlier run has. */
static int end_sample(batch *b, st_job *job, const sterna_event *event)
{
    if (event->finish == STERNA_FINISH_ERROR && b->n_failed++ == 0) {
        b->first_failed = job;
        b->first_error = event->error;
    }
    if (job->kept && job->kept[event->sample])
        return ST_EXIT_OK;
    if (!st_result_write(b->run, job, (size_t)(job - b->jobs.job), event))
        return b->run->broken ? ST_EXIT_FAILURE
                              : st_cli_fail("run", ST_EXIT_FAILURE, "out of memory for a result");
    st_sample_free(&job->sample[event->sample]);
    if (--job->n_open == 0) {
        b->n_done++;
        show_progress(b);
    }
    return ST_EXIT_OK;
}

static int take_events(batch *b)
{
    const sterna_event *event;
    while ((event = sterna_next(b->run->session.engine)) != NULL) {
        st_job *job = find_job(b, event->id);
        b->run->n_generated += event->token >= 0;
        if (!st_sample_add(&job->sample[event->sample], job, event))
            return st_cli_fail("run", ST_EXIT_FAILURE, "out of memory for a result");
        if (event->finish == STERNA_FINISH_NONE)
            continue;
        int code = end_sample(b, job, event);
        if (code != ST_EXIT_OK)
            return code;
        if (++job->n_ended == job->request.n_sample) {
            b->n_ended++;
            st_job_finish(job);
        }
    }
    return ST_EXIT_OK;
}

/* A request that the engine refuses has its results, too; the others go on. */
static int refuse(batch *b, st_job *job, const sterna_error *error)
{
    sterna_event event = {.id = -1, .token = -1, .finish = STERNA_FINISH_ERROR, .stop = -1, .error = *error};
    event.n_prompt = job->request.n_prompt;
    int code = ST_EXIT_OK;
    for (; event.sample < job->request.n_sample && code == ST_EXIT_OK; event.sample++)
        code = end_sample(b, job, &event);
    st_job_finish(job);
    return code;
}

static int submit_some(batch *b, size_t at_a_time)
{
    sterna_error error;
    int code = ST_EXIT_OK;
    while (code == ST_EXIT_OK && b->next < b->jobs.n && b->n_submitted - b->n_ended < at_a_time) {
        st_job *job = &b->jobs.job[b->next];
        if (job->n_open > 0) {
            if (!job->sample)
                job->sample = calloc((size_t)job->request.n_sample, sizeof *job->sample);
            if (!job->sample)
                return st_cli_fail("run", ST_EXIT_FAILURE, "out of memory for request %zu", b->next);
            sterna_status status = sterna_submit(b->run->session.engine, &job->request, &job->id, &error);
            if (status == STERNA_E_BUSY)
                return ST_EXIT_OK; /* steps make room */
            if (status != STERNA_OK) {
                code = refuse(b, job, &error);
            } else {
                b->first_id = b->n_submitted ? b->first_id : job->id;
                b->order[b->n_submitted++] = job;
            }
        }
        b->next++;
    }
    return code;
}

/* Ends what runs and writes what it has produced. */
static int stop(batch *b)
{
    sterna_error error;
    size_t n_done = b->n_done;
    int code = take_events(b);
    for (size_t i = 0; i < b->n_submitted && code == ST_EXIT_OK; i++)
        if (b->order[i]->sample &&
            sterna_cancel(b->run->session.engine, b->order[i]->id, &error) == STERNA_OK)
            code = take_events(b);
    if (code != ST_EXIT_OK)
        return code;
    return st_cli_fail("run", ST_EXIT_INTERRUPTED,
                       "interrupted: %zu of %zu requests are done, %zu were cut short", n_done, b->jobs.n,
                       b->n_done - n_done);
}

static int run_all(batch *b)
{
    sterna_error error;
    int code = ST_EXIT_OK;
    size_t at_a_time = (size_t)b->run->params->parallel + AHEAD;
    while (code == ST_EXIT_OK && b->n_done < b->jobs.n) {
        if (st_interrupted())
            return stop(b);
        code = submit_some(b, at_a_time);
        if (code == ST_EXIT_OK && sterna_step(b->run->session.engine, &error) < 0 &&
            error.status != STERNA_E_ABORTED)
            code = st_cli_fail("run", ST_EXIT_FAILURE, "%s", error.message);
        if (code == ST_EXIT_OK)
            code = take_events(b);
    }
    if (code == ST_EXIT_OK && b->n_failed > 0)
        code =
            st_cli_fail("run", ST_EXIT_FAILURE, "%zu results are errors, the first that of request %zu: %s",
                        b->n_failed, (size_t)(b->first_failed - b->jobs.job), b->first_error.message);
    return code;
}

/* Opens the engine that the open jobs need. */
static int open_engine(batch *b)
{
    int64_t longest = 1, n_sample = 0;
    int32_t n_draft = 0;
    for (size_t i = 0; i < b->jobs.n; i++) {
        const sterna_request *r = &b->jobs.job[i].request;
        if (b->jobs.job[i].n_open == 0)
            continue;
        int64_t positions =
            r->n_predict < 0 ? b->run->session.n_context : (int64_t)r->n_prompt + r->n_predict;
        longest = positions > longest ? positions : longest;
        n_sample += r->n_sample;
        n_draft = r->n_draft > n_draft ? r->n_draft : n_draft;
    }
    return st_run_open_engine(b->run, n_sample, longest, n_draft);
}

static int run_jobs(batch *b, const st_earlier *earlier)
{
    for (size_t i = 0; i < b->jobs.n; i++)
        b->n_done += b->jobs.job[i].n_open == 0;
    b->n_earlier = b->n_done;
    if (earlier->size > 0)
        fprintf(stderr, "resuming: %zu of %zu requests are done already\n", b->n_earlier, b->jobs.n);
    if (b->n_done == b->jobs.n)
        return st_earlier_is_clean(earlier) ? ST_EXIT_OK : st_earlier_open_output(earlier, b->run);
    b->order = calloc(b->jobs.n, sizeof *b->order);
    if (!b->order)
        return st_cli_fail("run", ST_EXIT_FAILURE, "out of memory for %zu requests", b->jobs.n);
    int code = open_engine(b);
    if (code == ST_EXIT_OK)
        code = earlier->size > 0 ? st_earlier_open_output(earlier, b->run) : st_run_open_output(b->run, "wb");
    double start = st_clock();
    if (code == ST_EXIT_OK)
        code = run_all(b);
    b->run->seconds = st_clock() - start;
    return code;
}

int st_run_batch(st_run *run, const char *text, size_t size)
{
    batch b = {.run = run};
    st_earlier earlier = {0};
    int code = run->params->batch ? st_jobs_read(&b.jobs, run) : st_jobs_set_prompt(&b.jobs, run, text, size);
    if (code == ST_EXIT_OK && run->params->resume)
        code = st_earlier_read(&earlier, run, &b.jobs);
    if (code == ST_EXIT_OK)
        code = run_jobs(&b, &earlier);
    st_earlier_free(&earlier);
    st_jobs_free(&b.jobs);
    free(b.order);
    return code;
}
