/* The queue, starts, pauses, and what goes into a step. */
#include "host/base/numerics.h"
#include "host/engine/batch.h"
#include "host/engine/sched.h"

#include <criterion/criterion.h>
#include <string.h>

static st_sched s; /* of the test at hand */

static void create(int32_t n_sequence, int32_t n_context, int32_t n_batch, int32_t n_page)
{
    st_sched_limits limits = {
        .n_sequence = n_sequence, .n_context = n_context, .n_batch = n_batch, .n_page = n_page};
    cr_assert(st_sched_create(&s, &limits));
}

/* Tokens that no other prompt begins with. */
static void fresh_prompt(int32_t *prompt, int32_t n)
{
    static int32_t next = 1000;
    for (int32_t i = 0; i < n; i++)
        prompt[i] = next++;
}

static sterna_request_id submit_prompt(const int32_t *prompt, int32_t n_prompt, int32_t n_predict,
                                       int32_t n_sample)
{
    static st_request r;
    r = (st_request){.n_prompt = n_prompt, .n_predict = n_predict, .n_sample = n_sample};
    r.n_draft = s.limits.n_draft;
    sterna_request_id id = 0;
    sterna_error error;
    cr_assert_eq(st_sched_submit(&s, &r, prompt, 1.0, &id, &error), STERNA_OK, "%s", error.message);
    return id;
}

static sterna_request_id submit(int32_t n_prompt, int32_t n_predict)
{
    static int32_t prompt[1000];
    fresh_prompt(prompt, n_prompt);
    return submit_prompt(prompt, n_prompt, n_predict, 1);
}

/* What the engine does after a step in which every draft is wrong; samples that have all tokens end. */
static void complete(const st_plan *plan)
{
    for (int32_t i = 0; i < plan->n_part; i++) {
        const st_part *part = &plan->part[i];
        const st_sequence *q = &s.sequence[part->slot];
        st_sched_stored(&s, part->slot, part->count - part->n_draft);
        if (part->n_want > 0)
            st_sched_append(&s, part->slot, 9);
        if (q->n_token == q->max_token)
            st_sched_end(&s, part->slot);
    }
}

static const st_plan *step(void)
{
    const st_plan *plan = st_sched_plan(&s, 2.0);
    complete(plan);
    return plan;
}

static const st_sequence *of(sterna_request_id id)
{
    int32_t slot = st_sched_slot(&s, id);
    cr_assert(slot >= 0, "request %d does not run", (int)id);
    return &s.sequence[slot];
}

Test(sched, decode_rows_come_first_then_prompts_in_chunks)
{
    create(3, 256, 10, 12);
    s.limits.prefill = STERNA_PREFILL_FIFO;
    submit(4, 50);
    const st_plan *plan = st_sched_plan(&s, 1.0);
    cr_assert(plan->n_part == 1 && plan->n_token == 4 && plan->n_out == 1 && plan->prompt);
    complete(plan);
    submit(12, 5);
    submit(20, 5);
    plan = st_sched_plan(&s, 1.0); /* 1 row of the first, 9 of the second */
    cr_assert(plan->n_part == 2 && plan->n_token == 10 && plan->n_out == 1);
    cr_assert(plan->part[0].count == 1 && plan->part[0].first == 4 && plan->part[0].n_want == 1);
    cr_assert(plan->part[1].count == 9 && plan->part[1].first == 0 && plan->part[1].n_want == 0);
    complete(plan);
    plan = st_sched_plan(&s, 1.0); /* 1 + the last 3 + 6 of the third */
    cr_assert(plan->n_part == 3 && plan->n_token == 10 && plan->n_out == 2);
    cr_assert(plan->part[1].first == 9 && plan->part[1].count == 3 && plan->part[1].n_want == 1);
    cr_assert(plan->part[2].first == 0 && plan->part[2].count == 6 && plan->part[2].n_want == 0);
    complete(plan);
    plan = st_sched_plan(&s, 1.0);
    cr_assert(plan->n_part == 3 && plan->n_token == 10 && plan->part[2].count == 8);
    complete(plan);
    plan = st_sched_plan(&s, 1.0);
    cr_assert(plan->part[2].count == 6 && plan->part[2].n_want == 1 && plan->prompt);
    complete(plan);
    plan = st_sched_plan(&s, 1.0);
    cr_assert(plan->n_token == 3 && plan->n_out == 3 && !plan->prompt);
    st_sched_destroy(&s);
}

/* Half of the rows to the oldest prompt, the others to the shortest: a late short prompt is served at once,
 * and the long one goes on. */
Test(sched, fair_prompts_share_a_step)
{
    create(4, 1000, 40, 64);
    sterna_request_id old = submit(400, 5), longer = submit(300, 5), late = submit(15, 5);
    const st_plan *plan = st_sched_plan(&s, 1.0);
    cr_assert(plan->n_part == 3 && plan->n_token == 40);
    cr_assert(plan->part[0].count == 20 && plan->part[1].count == 5 && plan->part[2].count == 15);
    cr_assert_eq(plan->part[2].n_want, 1);
    complete(plan);
    plan = st_sched_plan(&s, 1.0); /* one row generates; of 39 the oldest gets 20 */
    cr_assert(plan->n_part == 3 && plan->part[0].count == 1 && plan->n_token == 40);
    cr_assert(of(late)->n_done == 15 && plan->part[1].count == 20 && plan->part[2].count == 19);
    complete(plan);
    cr_assert(of(old)->n_done == 40 && of(longer)->n_done == 24);
    sterna_request_id last = submit(2, 1);
    plan = st_sched_plan(&s, 1.0);
    cr_assert_eq(plan->n_part, 4);
    complete(plan);
    cr_assert_eq(st_sched_slot(&s, last), -1, "two rows had to suffice");
    while (of(old)->n_token == 400) /* nobody else: all rows are its own */
        step();
    st_sched_destroy(&s);
}

Test(sched, alone_a_prompt_gets_every_row)
{
    create(2, 256, 30, 8);
    submit(70, 1);
    static const int32_t expected[] = {30, 30, 10};
    for (int i = 0; i < 3; i++)
        cr_assert_eq(step()->n_token, expected[i]);
    cr_assert_eq(st_sched_unfinished(&s), 0);
    st_sched_destroy(&s);
}

Test(sched, starts_wait_for_pages_in_order)
{
    create(4, 256, 256, 4); /* 4 pages = 256 positions */
    sterna_request_id a = submit(100, 29);
    sterna_request_id b = submit(130, 30); /* 3 pages, and there are 2 */
    sterna_request_id c = submit(10, 5);   /* 1 page, but b is older */
    step();
    cr_assert(s.n_running == 2 && s.n_waiting == 1, "%d run, %d wait", s.n_running, s.n_waiting);
    cr_assert(of(a)->n_page == 2 && of(b)->n_page == 0 && of(b)->started == 0.0);
    cr_assert_not_null(st_sched_waiting(&s, c));
    st_sched_end(&s, st_sched_slot(&s, a));
    step();
    cr_assert(s.n_running == 2 && s.n_waiting == 0 && s.queue_used == 0);
    cr_assert(of(b)->n_page == 3 && of(c)->n_page == 1 && of(b)->started == 2.0);
    st_sched_destroy(&s);
}

Test(sched, one_page_is_left_for_each_that_may_grow)
{
    create(3, 256, 256, 4);
    sterna_request_id a = submit(60, 100); /* 1 page, and will grow */
    sterna_request_id b = submit(120, 1);  /* 2 pages, and will not */
    sterna_request_id c = submit(10, 5);   /* 1 page: it would be a's */
    const st_plan *plan = st_sched_plan(&s, 1.0);
    cr_assert_eq(plan->n_part, 2);
    cr_assert(of(a)->n_page == 1 && of(b)->n_page == 2 && of(c)->n_page == 0);
    complete(plan);
    step();
    cr_assert_eq(of(c)->n_page, 1); /* b has ended */
    st_sched_destroy(&s);
}

Test(sched, the_last_is_paused_and_resumes_first)
{
    create(4, 320, 64, 5);
    static int32_t prompt[3][64];
    sterna_request_id id[4];
    for (int i = 0; i < 3; i++) {
        fresh_prompt(prompt[i], 62);
        id[i] = submit_prompt(prompt[i], 62, 200, 1);
    }
    for (int i = 0; i < 4; i++) /* 5 pages: one each, and two to grow into */
        step();
    id[3] = submit(5, 5);
    while (of(id[0])->n_page + of(id[1])->n_page + of(id[2])->n_page < 5)
        step();
    while (of(id[2])->n_page > 0)
        step();
    cr_assert(of(id[2])->n_preempted == 1 && of(id[2])->n_done == 0 && of(id[2])->n_kept == 0);
    cr_assert(of(id[0])->n_page > 0 && of(id[1])->n_page > 0 && of(id[3])->n_page == 0);
    int32_t n_token = of(id[2])->n_token;
    cr_assert(n_token > 62 && memcmp(of(id[2])->token, prompt[2], 62 * sizeof(int32_t)) == 0);
    /* The first never loses its pages, even if it needs all of them. */
    while (st_sched_slot(&s, id[0]) >= 0) {
        cr_assert(of(id[0])->n_page > 0 && of(id[0])->n_preempted == 0);
        step();
    }
    while (st_sched_slot(&s, id[2]) >= 0 && of(id[2])->n_token == n_token) {
        cr_assert(of(id[2])->n_page > 0 || of(id[3])->n_page == 0, "a later one overtook it");
        step();
    }
    while (st_sched_unfinished(&s) > 0)
        step();
    cr_assert_eq(s.pages.n_unused, 5);
    st_sched_destroy(&s);
}

/* ---- shared pages ---- */

Test(sched, a_prompt_skips_pages_that_are_kept)
{
    create(2, 512, 512, 16);
    static int32_t prompt[300];
    fresh_prompt(prompt, 300);
    submit_prompt(prompt, 300, 1, 1);
    cr_assert_eq(step()->n_token, 300);
    static const struct {
        int32_t n_prompt, n_skipped;
    } cases[] = {{300, 256}, {257, 256}, {256, 192}, {193, 192}, {192, 128}, {65, 64}, {64, 0}, {1, 0}};
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        submit_prompt(prompt, cases[i].n_prompt, 1, 1);
        cr_assert_eq(step()->n_token, cases[i].n_prompt - cases[i].n_skipped, "%d tokens", cases[i].n_prompt);
    }
    prompt[63] = 1; /* another first page: nothing after it is the same */
    submit_prompt(prompt, 300, 1, 1);
    cr_assert_eq(step()->n_token, 300);
    prompt[200] = 1;
    submit_prompt(prompt, 300, 1, 1);
    cr_assert_eq(step()->n_token, 300 - 192);
    s.limits.no_prefix_cache = true;
    submit_prompt(prompt, 300, 1, 1);
    cr_assert_eq(step()->n_token, 300);
    st_sched_destroy(&s);
}

/* Also if there were rows for all of them at once: those who would compute the same page wait for it. */
static void compute_samples(int32_t n_batch)
{
    create(4, 512, n_batch, 40);
    static int32_t prompt[300];
    fresh_prompt(prompt, 300);
    sterna_request_id id = submit_prompt(prompt, 300, 3, 6);
    cr_assert_eq(st_sched_unfinished(&s), 6);
    int32_t rows = 0;
    while (st_sched_unfinished(&s) > 0) {
        const st_plan *plan = st_sched_plan(&s, 1.0);
        rows += plan->n_token;
        cr_assert_leq(plan->n_token, n_batch);
        complete(plan);
    }
    /* Each computes the 44 tokens after the last full page, and two of the three that it generates. */
    cr_assert_eq(rows, 256 + 6 * 44 + 6 * 2, "%d rows", rows);
    cr_assert_null(st_sched_waiting(&s, id));
    cr_assert(s.n_waiting == 0 && s.queue_used == 0 && s.n_spare == ST_MAX_QUEUE + 4);
    st_sched_destroy(&s);
}

/* Equal tokens after different pages are different pages. */
Test(sched, nobody_waits_for_another_beginning)
{
    create(2, 512, 600, 40);
    static int32_t prompt[2][200];
    sterna_request_id id[2];
    for (int i = 0; i < 2; i++) {
        fresh_prompt(prompt[i], 64);
        for (int k = 64; k < 200; k++)
            prompt[i][k] = k;
        submit_prompt(prompt[i], 65, 1, 1); /* the first page is kept */
        step();
    }
    for (int i = 0; i < 2; i++)
        id[i] = submit_prompt(prompt[i], 200, 5, 1);
    const st_plan *plan = st_sched_plan(&s, 1.0);
    cr_assert(plan->n_part == 2 && plan->part[0].count == 136 && plan->part[1].count == 136);
    cr_assert(of(id[0])->n_kept == 1 && of(id[1])->n_kept == 1);
    st_sched_destroy(&s);
}

Test(sched, samples_compute_their_prompt_once)
{
    compute_samples(100);
    compute_samples(600);
}

Test(sched, the_last_token_of_a_prompt_may_be_all_that_is_left)
{
    create(2, 512, 100, 40);
    static int32_t prompt[65];
    fresh_prompt(prompt, 65);
    submit_prompt(prompt, 65, 1, 2);
    cr_assert_eq(step()->n_token, 65); /* the other sample waits for the page, and the first one ends */
    const st_plan *plan = st_sched_plan(&s, 1.0);
    cr_assert(plan->n_part == 1 && plan->n_token == 1 && plan->n_out == 1 && plan->prompt);
    complete(plan);
    cr_assert_eq(st_sched_unfinished(&s), 0);
    st_sched_destroy(&s);
}

Test(sched, equal_pages_become_one)
{
    create(2, 512, 512, 16);
    static int32_t prompt[130];
    fresh_prompt(prompt, 130);
    sterna_request_id a = submit_prompt(prompt, 20, 200, 1);
    step();
    /* The second runs along the first: the tokens that it generates are the same. */
    sterna_request_id b = submit_prompt(prompt, 20, 200, 1);
    for (int i = 0; i < 130; i++)
        step();
    cr_assert(of(a)->n_kept == 2 && of(b)->n_kept == 2);
    cr_assert(of(a)->page[0] == of(b)->page[0] && of(a)->page[1] == of(b)->page[1]);
    cr_assert_neq(of(a)->page[2], of(b)->page[2]);
    cr_assert_eq(s.pages.page[of(a)->page[0]].n_user, 2);
    st_sched_destroy(&s);
}

/* ---- drafts ---- */

Test(sched, drafts_take_what_is_left)
{
    st_sched_limits limits = {.n_sequence = 2, .n_context = 256, .n_batch = 8, .n_draft = 5, .n_page = 8};
    cr_assert(st_sched_create(&s, &limits));
    static const int32_t loop[20] = {1, 2, 3, 4, 1, 2, 3, 4, 1, 2, 3, 4, 1, 2, 3, 4, 1, 2, 3, 4};
    sterna_request_id id = submit_prompt(loop, 8, 200, 1);
    int32_t slot;
    const st_plan *plan = st_sched_plan(&s, 1.0);
    cr_assert(plan->n_token == 8 && plan->part[0].n_draft == 0); /* a prompt is not drafted on */
    slot = plan->part[0].slot;
    st_sched_stored(&s, slot, 8);
    st_sched_append(&s, slot, 1);
    plan = st_sched_plan(&s, 1.0);
    cr_assert(plan->n_token == 6 && plan->n_out == 6 && plan->part[0].n_draft == 5 && !plan->prompt);
    cr_assert_arr_eq(of(id)->token + 9, (loop + 1), 5 * sizeof *loop); /* 2 3 4 1 2 */
    submit(6, 3);
    plan = st_sched_plan(&s, 1.0); /* 1 row, 6 of the prompt, 1 draft */
    cr_assert(plan->n_token == 8 && plan->part[0].n_draft == 1 && plan->part[1].count == 6);
    st_sched_destroy(&s);
}

Test(sched, drafts_stay_within_the_end_and_the_pages)
{
    st_sched_limits limits = {.n_sequence = 1, .n_context = 64, .n_batch = 64, .n_draft = 15, .n_page = 1};
    cr_assert(st_sched_create(&s, &limits));
    static int32_t prompt[64];
    for (int i = 0; i < 64; i++)
        prompt[i] = i % 3;
    for (int32_t n_prompt = 10; n_prompt <= 64; n_prompt += 9)
        for (int32_t n_predict = 1; n_predict < 30; n_predict += 4) {
            submit_prompt(prompt, n_prompt, n_predict, 1);
            while (st_sched_unfinished(&s) > 0) {
                const st_plan *plan = st_sched_plan(&s, 1.0);
                const st_part *part = &plan->part[0];
                const st_sequence *q = &s.sequence[part->slot];
                cr_assert(q->n_token + part->n_draft < q->max_token || part->n_draft == 0);
                cr_assert_leq(part->first + part->count, 64);
                complete(plan);
            }
        }
    st_sched_destroy(&s);
}

/* ---- limits ---- */

Test(sched, queue_keeps_prompts_in_order_when_one_leaves)
{
    create(1, 256, 16, 4);
    int32_t prompt[3][2] = {{11, 12}, {21, 22}, {31, 32}};
    sterna_request_id id[3];
    for (int i = 0; i < 3; i++)
        id[i] = submit_prompt(prompt[i], 2, 1, 1 + i);
    cr_assert_eq(st_sched_unfinished(&s), 6);
    st_sched_forget(&s, id[1]);
    cr_assert_null(st_sched_waiting(&s, id[1]));
    cr_assert_eq(st_sched_unfinished(&s), 4);
    for (int i = 0; i < 3; i += 2) {
        st_sched_plan(&s, 1.0);
        int32_t slot = st_sched_slot(&s, id[i]);
        cr_assert(slot >= 0 && memcmp(s.sequence[slot].token, prompt[i], sizeof prompt[i]) == 0);
        st_sched_end(&s, slot);
    }
    cr_assert(s.n_waiting == 1 && s.queue_used == 2); /* two samples of the third have not started */
    st_sched_forget(&s, id[2]);
    cr_assert(s.n_waiting == 0 && s.queue_used == 0 && st_sched_unfinished(&s) == 0);
    cr_assert_eq(s.n_spare, ST_MAX_QUEUE + 1);
    st_sched_destroy(&s);
}

static void refused(int32_t n_prompt, int32_t n_predict, sterna_status status, const char *message)
{
    static int32_t prompt[ST_QUEUE_TOKENS];
    static st_request r;
    r = (st_request){.n_prompt = n_prompt, .n_predict = n_predict, .n_sample = 1};
    sterna_request_id id;
    sterna_error error;
    cr_expect_eq(st_sched_submit(&s, &r, prompt, 1.0, &id, &error), status);
    cr_expect_str_eq(error.message, message);
}

Test(sched, limits_have_messages)
{
    create(1, 256, 16, 4);
    refused(257, 1, STERNA_E_LIMIT, "the prompt has 257 tokens, but the context holds 256");
    for (int i = 0; i < ST_MAX_QUEUE; i++)
        submit(1, 1);
    refused(1, 1, STERNA_E_BUSY, "the queue is full: 1024 requests wait");
    st_sched_destroy(&s);
    create(1, ST_QUEUE_TOKENS, 16, ST_QUEUE_TOKENS / 64);
    static int32_t long_prompt[ST_QUEUE_TOKENS / 2 + 1];
    submit_prompt(long_prompt, ST_QUEUE_TOKENS / 2 + 1, 1, 1);
    refused(ST_QUEUE_TOKENS / 2 + 1, 1, STERNA_E_BUSY,
            "the queue is full: prompts of 131073 tokens wait, and 131073 more would exceed 262144");
    st_sched_destroy(&s);
}

Test(sched, buckets)
{
    static const int32_t expected[] = {1, 2, 3, 4, 5, 6, 7, 8, 10, 10, 12, 12, 14, 14, 16, 16, 20};
    for (int32_t n = 1; n <= 17; n++)
        cr_assert_eq(st_bucket(n, 1000), expected[n - 1], "%d -> %d", n, st_bucket(n, 1000));
    for (int32_t most = 1; most < 600; most += 7)
        for (int32_t n = 1; n <= most; n++) {
            int32_t b = st_bucket(n, most);
            cr_assert(b >= n && b <= most && 4 * b <= 5 * n + 3 && st_bucket(b, most) == b, "%d of %d -> %d",
                      n, most, b);
        }
}
