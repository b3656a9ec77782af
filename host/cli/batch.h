/* The requests of a JSON Lines file. */
#ifndef ST_CLI_BATCH_H
#define ST_CLI_BATCH_H

#include "host/cli/run.h"

#include <jansson.h>

enum { ST_MAX_REQUESTS = 1 << 20 }; /* lines of a file */

typedef struct st_job {
    sterna_request request; /* request.prompt is owned */
    json_t *label;          /* the line's "id", or NULL */
    json_t *prompt;         /* the line's "prompt" */
    sterna_request_id id;   /* 0 before it is submitted */
    sterna_token *token;    /* [capacity] generated */
    int32_t n_token, capacity;
} st_job;

typedef struct st_jobs {
    st_job *job;
    size_t n, capacity;
} st_jobs;

/* Reads and checks every line; on failure the message (with file and line) is printed and the exit code
 * returned. */
int st_jobs_read(st_jobs *jobs, const st_run *run, const char *path);
void st_jobs_free(st_jobs *jobs);

#endif
