/* What sched.c does for plan.c. */
#ifndef ST_SCHED_PARTS_H
#define ST_SCHED_PARTS_H

#include "host/engine/sched.h"

/* Starts the next sample of the oldest waiting request in a free slot; there must be both. It is paused: it
 * has no pages yet. */
void st_sched_start(st_sched *sched);
/* Takes all pages of a running sample, which is paused then. */
void st_sched_give_pages(st_sched *sched, st_sequence *s);

#endif
