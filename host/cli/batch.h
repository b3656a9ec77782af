/* The requests of a JSON Lines file, and their results. */
#ifndef ST_CLI_BATCH_H
#define ST_CLI_BATCH_H

#include "host/cli/run.h"

#include <jansson.h>

enum { ST_MAX_REQUESTS = 1 << 20 }; /* lines of a file */

/* What a sample has generated so far. */
typedef struct st_sample {
    st_bytes text;
    sterna_token *token; /* [capacity] */
    sterna_logprob
        *logprob; /* [capacity][1 + n_logprob]: of the token, then the likeliest; NULL: not asked */
    int32_t n_token, capacity;
} st_sample;

typedef struct st_job {
    sterna_request request; /* request.prompt is owned */
    st_lists own;           /* the lists that the line has itself */
    json_t *label;          /* the line's "id", or NULL */
    json_t *prompt;         /* the line's "prompt" where it will be shown, else NULL */
    bool logprobs;          /* go into the result */
    uint64_t hash;          /* of all that determines the result */
    bool *kept;             /* [n_sample] samples that an earlier run has finished; NULL: none */
    int32_t n_open;         /* samples that have no result yet */
    int32_t n_ended;        /* samples that have ended in the engine */
    sterna_request_id id;   /* 0 before it is submitted */
    st_sample *sample;      /* [n_sample] while it runs */
} st_job;

typedef struct st_jobs {
    const char *path; /* for messages */
    st_job *job;
    size_t n, capacity;
} st_jobs;

/* A line of a file, for messages. */
typedef struct st_place {
    const char *path; /* NULL: the command line */
    size_t line;      /* from 1 */
} st_place;

/* Prints "sterna run: FILE:LINE: ..." or "sterna run: ..."; returns ST_EXIT_FAILURE. */
int st_place_fail(const st_place *at, const char *format, ...);

/* Reads and checks every line of --batch; on failure the message (with file and line) is printed and the exit
 * code returned. */
int st_jobs_read(st_jobs *jobs, const st_run *run);
/* One job: the options' request with this prompt. */
int st_jobs_set_prompt(st_jobs *jobs, const st_run *run, const char *text, size_t size);
void st_jobs_free(st_jobs *jobs);
/* Releases what the job needs no more when it has its results. */
void st_job_finish(st_job *job);

/* Takes a line's fields, other than "prompt" and "id", into the job. */
int st_job_fields(st_job *job, const st_place *at, const st_run *run, const json_t *line);

typedef struct st_range {
    size_t first, end; /* bytes of a file */
} st_range;

/* What earlier results in --output are worth keeping. */
typedef struct st_earlier {
    st_range *keep; /* [capacity], not adjacent, ascending */
    size_t n_keep, capacity;
    size_t size; /* of the file; 0 where there is none */
} st_earlier;

/* Reads --output and marks what is finished in the jobs; a file that is not there has nothing in it. */
int st_earlier_read(st_earlier *earlier, st_run *run, st_jobs *jobs);
/* Whether all of the file is kept. */
bool st_earlier_is_clean(const st_earlier *earlier);
/* Removes from the file what is not kept, and opens it for more. */
int st_earlier_open_output(const st_earlier *earlier, st_run *run);
void st_earlier_free(st_earlier *earlier);

/* Adds what an event brings. False when out of memory. */
bool st_sample_add(st_sample *sample, const st_job *job, const sterna_event *event);
void st_sample_free(st_sample *sample);

/* Writes the result of the sample that `event` ends: a line of JSON, or text to read. False when out of
 * memory or when it cannot be written. */
bool st_result_write(st_run *run, const st_job *job, size_t index, const sterna_event *event);
const char *st_finish_name(sterna_finish finish);

#endif
