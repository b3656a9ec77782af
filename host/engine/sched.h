/* The scheduler: which requests wait, which run, and which rows go into a step. It knows tokens and pages,
 * but no tensors.
 *
 *   waiting   a request in the queue, in the order of submission, with samples that have not started
 *   running   a sample in a slot with pages for the tokens it has; in the order of their starts
 *   paused    a running sample whose pages were taken; it keeps its slot and its place in the order
 *
 * A sample starts when a slot is free and pages for its tokens are, besides one for each running sample that
 * may still grow. When a growing sample finds no page, the last one of the order is paused: so the first one
 * always gets on, and those that are paused are the last of the order. They resume, first one first, before
 * anything starts. A step takes the rows that generating samples owe, then rows of prompts, then drafts. */
#ifndef ST_SCHED_H
#define ST_SCHED_H

#include "host/engine/kv.h"
#include "host/engine/sampler.h"
#include "host/engine/text.h"

enum {
    ST_MAX_QUEUE = STERNA_MAX_QUEUE,
    ST_QUEUE_TOKENS = 1 << 18 /* tokens of their prompts together (or n_context, if that is more) */
};

/* A request with everything that its samples share. */
typedef struct st_request {
    sterna_request_id id;
    int32_t n_prompt, n_predict, n_sample, n_logprob, n_draft;
    bool ignore_end;
    void *user;
    st_sampling sampling;
    st_stops stops;
    int32_t n_started; /* samples that have left the queue */
    int32_t n_open;    /* of these: still running */
    double submitted;  /* time, in seconds */
} st_request;

typedef struct st_sequence {
    st_request *request; /* NULL: the slot is free */
    int32_t sample;
    int32_t *token; /* [n_context + 1] the prompt, then what was generated, then drafts of the step at hand */
    int32_t n_prompt, n_token;
    int32_t n_done;     /* tokens whose keys and values are stored: positions 0 ... n_done - 1 */
    int32_t max_token;  /* n_token at which it ends */
    int32_t *page;      /* [max_page] */
    int32_t n_page;     /* 0: paused */
    int32_t n_kept;     /* pages from the first that are kept under their content, */
    st_content content; /* which is this, of the last of them */
    int32_t n_look;     /* draft tokens worth trying: more after hits, fewer after misses */
    uint64_t hash;      /* of the tokens so far, the key of its logits' hashes */
    st_held held;
    int32_t n_cached, n_draft, n_accepted, n_preempted; /* for its last event */
    double started, prompted; /* times, in seconds: first pages; prompt computed; 0 = not yet */
} st_sequence;

/* Rows of one sequence in a step: its tokens first ... first + count - 1. */
typedef struct st_part {
    int32_t slot, first, count;
    int32_t n_want;  /* the logits of the last n_want rows are wanted */
    int32_t n_draft; /* the last n_draft rows are drafts */
} st_part;

typedef struct st_plan {
    st_part *part; /* [n_sequence] */
    int32_t n_part, n_token, n_out;
    bool prompt; /* some rows belong to a prompt, or are computed again */
} st_plan;

typedef struct st_sched_limits {
    int32_t n_sequence, n_context, n_batch, n_draft, n_page;
    sterna_prefill prefill;
    bool no_prefix_cache;
} st_sched_limits;

typedef struct st_sched {
    st_sched_limits limits;
    int32_t max_page;    /* of a sequence */
    st_request *request; /* [ST_MAX_QUEUE + n_sequence] */
    st_request **spare;  /* [n_spare] those that are free */
    int32_t n_spare;
    st_sequence *sequence; /* [n_sequence] */
    int32_t *token, *page; /* what the sequences point into */
    int32_t *running;      /* [n_sequence] slots in order of their starts */
    int32_t n_running;
    st_request **waiting; /* [ST_MAX_QUEUE] in order of submission */
    int32_t n_waiting;
    int32_t *queue_token; /* [queue_size] prompts of the waiting requests, one after the other */
    int32_t queue_size, queue_used;
    int64_t n_unstarted; /* samples of waiting requests */
    sterna_request_id next_id;
    st_pages pages;
    uint64_t n_cached, n_preempted; /* prompt tokens found in pages; pauses */
    st_plan plan;                   /* of the step at hand */
    int32_t *grant;                 /* [n_sequence] rows of prompts that a slot gets in it */
} st_sched;

/* False when out of memory; st_sched_destroy is due in either case. */
bool st_sched_create(st_sched *sched, const st_sched_limits *limits);
void st_sched_destroy(st_sched *sched);

/* Queues a copy of the request, whose fields were checked, with n_prompt tokens. */
sterna_status st_sched_submit(st_sched *sched, const st_request *request, const int32_t *prompt, double now,
                              sterna_request_id *id, sterna_error *error);
/* Starts and resumes what it can, and chooses the rows of the next step. Empty only if nothing is left to do.
 * A plan that is not carried out costs nothing: the next one plans the same rows again. */
const st_plan *st_sched_plan(st_sched *sched, double now);
/* Keys and values of the sequence's next n_row tokens are stored. */
void st_sched_stored(st_sched *sched, int32_t slot, int32_t n_row);
/* Appends a generated token. */
void st_sched_append(st_sched *sched, int32_t slot, int32_t token);
/* Frees the slot of a running sample and its pages. */
void st_sched_end(st_sched *sched, int32_t slot);

/* A slot in which a sample of the request runs or is paused, or -1. */
int32_t st_sched_slot(const st_sched *sched, sterna_request_id id);
/* The request if it waits, else NULL. */
const st_request *st_sched_waiting(const st_sched *sched, sterna_request_id id);
/* Takes a waiting request, or what is left of it, out of the queue. */
void st_sched_forget(st_sched *sched, sterna_request_id id);
/* Samples that have not ended. */
int64_t st_sched_unfinished(const st_sched *sched);

#endif
