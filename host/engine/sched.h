/* The scheduler: which requests wait, which run, and which rows go into a step. It knows tokens and pages,
 * but no tensors.
 *
 * A request waits in submission order until a sequence slot is free and the pages for everything it may ever
 * store are; it takes them all then, so a running request never lacks a page. A step takes one row of every
 * sequence that is generating, then fills up to n_batch rows with prompts, oldest first. */
#ifndef ST_SCHED_H
#define ST_SCHED_H

#include "host/engine/kv.h"

enum {
    ST_MAX_QUEUE = 1024,      /* requests that wait */
    ST_QUEUE_TOKENS = 1 << 18 /* tokens of their prompts together (or n_context, if that is more) */
};

typedef struct st_sequence {
    sterna_request_id id; /* 0: the slot is free */
    int32_t *token;       /* [n_context + 1] the prompt, then what was generated */
    int32_t n_prompt, n_token;
    int32_t n_done;    /* tokens whose keys and values are stored: positions 0 ... n_done - 1 */
    int32_t max_token; /* n_token at which the request ends */
    int32_t *page;     /* [max_page] */
    int32_t n_page;
    bool ignore_end;
    sterna_sampling sampling;
    uint64_t hash;              /* of the tokens so far, the key of its logits' hashes */
    double submitted, admitted; /* times, in seconds */
    double prompted;            /* when the prompt was computed; 0 = not yet */
} st_sequence;

typedef struct st_waiting {
    sterna_request_id id;
    int32_t n_prompt, n_predict;
    bool ignore_end;
    sterna_sampling sampling;
    double submitted;
} st_waiting;

/* Rows of one sequence in a step: its tokens first ... first + count - 1. */
typedef struct st_part {
    int32_t slot, first, count;
    bool want; /* the logits of the last row are wanted */
} st_part;

typedef struct st_plan {
    st_part *part; /* [n_sequence] */
    int32_t n_part, n_token, n_out;
    bool prompt; /* some row belongs to a prompt */
} st_plan;

typedef struct st_sched {
    int32_t n_sequence, n_context, n_batch, max_page;
    st_sequence *sequence; /* [n_sequence] */
    int32_t *token, *page; /* what the sequences point into */
    int32_t *running;      /* [n_sequence] slots in order of admission */
    int32_t n_running;
    st_waiting *waiting; /* [ST_MAX_QUEUE] in order of submission */
    int32_t n_waiting;
    int32_t *queue_token; /* [queue_size] prompts of the waiting requests, one after the other */
    int32_t queue_size, queue_used;
    sterna_request_id next_id;
    st_pages pages;
    st_plan plan; /* of the step at hand */
} st_sched;

/* False when out of memory; st_sched_destroy is due in either case. */
bool st_sched_create(st_sched *sched, int32_t n_sequence, int32_t n_context, int32_t n_batch, int32_t n_page);
void st_sched_destroy(st_sched *sched);

sterna_status st_sched_submit(st_sched *sched, const sterna_request *request, double now,
                              sterna_request_id *id, sterna_error *error);
/* Starts waiting requests while there is room for the oldest. */
void st_sched_admit(st_sched *sched, double now);
/* Chooses the rows of the next step. Empty only if nothing runs. */
const st_plan *st_sched_plan(st_sched *sched);
/* Frees the slot of a running request and its pages. */
void st_sched_end(st_sched *sched, int32_t slot);
/* The slot of a running request, or -1. */
int32_t st_sched_slot(const st_sched *sched, sterna_request_id id);
/* Takes a request out of the queue; false if it does not wait. `gone` receives what was known about it. */
bool st_sched_forget(st_sched *sched, sterna_request_id id, st_waiting *gone);

#endif
