/* Pages, the queue, what goes into a step, and buckets. */
#include "host/base/numerics.h"
#include "host/engine/batch.h"
#include "host/engine/sched.h"

#include <criterion/criterion.h>
#include <string.h>

static const int32_t numbers[300] = {5, 6, 7, 8};

static sterna_request request_of(int32_t n_prompt, int32_t n_predict)
{
    return (sterna_request){.struct_size = sizeof(sterna_request),
                            .prompt = numbers,
                            .n_prompt = n_prompt,
                            .n_predict = n_predict};
}

static sterna_request_id submit(st_sched *s, int32_t n_prompt, int32_t n_predict)
{
    sterna_request r = request_of(n_prompt, n_predict);
    sterna_request_id id = 0;
    sterna_error error;
    cr_assert_eq(st_sched_submit(s, &r, 1.0, &id, &error), STERNA_OK, "%s", error.message);
    return id;
}

/* What the engine does to a sequence in a step. */
static void complete(st_sched *s, const st_plan *plan)
{
    for (int32_t i = 0; i < plan->n_part; i++) {
        st_sequence *q = &s->sequence[plan->part[i].slot];
        q->n_done += plan->part[i].count;
        if (plan->part[i].want)
            q->token[q->n_token++] = 9;
    }
}

Test(sched, pages_are_taken_all_or_none)
{
    st_pages pages;
    int32_t a[3], b[3];
    cr_assert(st_pages_create(&pages, 5));
    cr_assert(st_pages_take(&pages, 3, a));
    cr_assert(!st_pages_take(&pages, 3, b) && pages.n_free == 2);
    cr_assert(st_pages_take(&pages, 2, b) && pages.n_free == 0);
    bool seen[5] = {false};
    for (int i = 0; i < 5; i++) {
        int32_t page = i < 3 ? a[i] : b[i - 3];
        cr_assert(page >= 0 && page < 5 && !seen[page]);
        seen[page] = true;
    }
    st_pages_give(&pages, 3, a);
    cr_assert(st_pages_take(&pages, 3, b) && memcmp(a, b, sizeof a) == 0);
    st_pages_destroy(&pages);
    cr_assert_eq(st_pages_for(1), 1);
    cr_assert_eq(st_pages_for(64), 1);
    cr_assert_eq(st_pages_for(65), 2);
}

Test(sched, decode_rows_come_first_then_prompts_in_chunks)
{
    st_sched s;
    cr_assert(st_sched_create(&s, 3, 256, 10, 12));
    submit(&s, 4, 50);
    st_sched_admit(&s, 1.0);
    const st_plan *plan = st_sched_plan(&s);
    cr_assert(plan->n_part == 1 && plan->n_token == 4 && plan->n_out == 1 && plan->prompt);
    complete(&s, plan);
    submit(&s, 12, 5);
    submit(&s, 20, 5);
    st_sched_admit(&s, 1.0);
    plan = st_sched_plan(&s); /* 1 row of the first, 9 of the second */
    cr_assert(plan->n_part == 2 && plan->n_token == 10 && plan->n_out == 1);
    cr_assert(plan->part[0].count == 1 && plan->part[0].first == 4 && plan->part[0].want);
    cr_assert(plan->part[1].count == 9 && plan->part[1].first == 0 && !plan->part[1].want);
    complete(&s, plan);
    plan = st_sched_plan(&s); /* 1 + the last 3 + 6 of the third */
    cr_assert(plan->n_part == 3 && plan->n_token == 10 && plan->n_out == 2);
    cr_assert(plan->part[1].first == 9 && plan->part[1].count == 3 && plan->part[1].want);
    cr_assert(plan->part[2].first == 0 && plan->part[2].count == 6 && !plan->part[2].want);
    complete(&s, plan);
    plan = st_sched_plan(&s);
    cr_assert(plan->n_part == 3 && plan->n_token == 10 && plan->part[2].count == 8);
    complete(&s, plan);
    plan = st_sched_plan(&s);
    cr_assert(plan->part[2].count == 6 && plan->part[2].want && plan->prompt);
    complete(&s, plan);
    plan = st_sched_plan(&s);
    cr_assert(plan->n_token == 3 && plan->n_out == 3 && !plan->prompt);
    st_sched_destroy(&s);
}

Test(sched, requests_wait_for_all_their_pages_in_order)
{
    st_sched s;
    cr_assert(st_sched_create(&s, 4, 256, 16, 4)); /* 4 pages = 256 positions */
    sterna_request_id a = submit(&s, 100, 29);     /* 128 positions: the last token needs none */
    sterna_request_id b = submit(&s, 100, 30);     /* 129: 3 pages */
    sterna_request_id c = submit(&s, 10, 5);       /* 1 page, but b is older */
    st_sched_admit(&s, 2.0);
    cr_assert(s.n_running == 1 && s.n_waiting == 2 && s.pages.n_free == 2);
    cr_assert(st_sched_slot(&s, a) >= 0 && st_sched_slot(&s, b) < 0 && st_sched_slot(&s, c) < 0);
    st_sched_end(&s, st_sched_slot(&s, a));
    st_sched_admit(&s, 3.0);
    cr_assert(s.n_running == 2 && s.n_waiting == 0 && s.pages.n_free == 0 && s.queue_used == 0);
    cr_assert_eq(s.sequence[st_sched_slot(&s, b)].n_page, 3);
    cr_assert_eq(s.sequence[st_sched_slot(&s, c)].n_page, 1);
    st_sched_destroy(&s);
}

Test(sched, queue_keeps_prompts_in_order_when_one_leaves)
{
    st_sched s;
    cr_assert(st_sched_create(&s, 1, 256, 16, 4));
    int32_t prompt[3][2] = {{11, 12}, {21, 22}, {31, 32}};
    sterna_request_id id[3];
    for (int i = 0; i < 3; i++) {
        sterna_request r = request_of(2, 1);
        r.prompt = prompt[i];
        cr_assert_eq(st_sched_submit(&s, &r, 1.0, &id[i], NULL), STERNA_OK);
    }
    st_waiting gone;
    cr_assert(st_sched_forget(&s, id[1], &gone) && gone.n_prompt == 2);
    cr_assert(!st_sched_forget(&s, id[1], &gone));
    for (int i = 0; i < 3; i += 2) {
        st_sched_admit(&s, 1.0);
        int32_t slot = st_sched_slot(&s, id[i]);
        cr_assert(slot >= 0 && memcmp(s.sequence[slot].token, prompt[i], sizeof prompt[i]) == 0);
        st_sched_end(&s, slot);
    }
    cr_assert(s.n_waiting == 0 && s.queue_used == 0);
    st_sched_destroy(&s);
}

Test(sched, limits_have_messages)
{
    st_sched s;
    sterna_error error;
    sterna_request_id id;
    cr_assert(st_sched_create(&s, 1, 256, 16, 2));
    sterna_request r = request_of(257, 1);
    cr_assert_eq(st_sched_submit(&s, &r, 1.0, &id, &error), STERNA_E_LIMIT);
    cr_assert_str_eq(error.message, "the prompt has 257 tokens, but the context holds 256");
    r = request_of(100, 60);
    cr_assert_eq(st_sched_submit(&s, &r, 1.0, &id, &error), STERNA_E_LIMIT);
    cr_assert_str_eq(
        error.message,
        "prompt (100 tokens) and n_predict (60) need 3 KV pages of 64 positions, but there are 2");
    r = request_of(1, 1);
    for (int i = 0; i < ST_MAX_QUEUE; i++)
        cr_assert_eq(st_sched_submit(&s, &r, 1.0, &id, &error), STERNA_OK);
    cr_assert_eq(st_sched_submit(&s, &r, 1.0, &id, &error), STERNA_E_LIMIT);
    cr_assert_str_eq(error.message, "the queue is full: 1024 requests wait");
    st_sched_destroy(&s);
    static int32_t long_prompt[ST_QUEUE_TOKENS / 2 + 1];
    cr_assert(st_sched_create(&s, 1, ST_QUEUE_TOKENS, 16, ST_QUEUE_TOKENS / 64));
    r.prompt = long_prompt;
    r.n_prompt = ST_QUEUE_TOKENS / 2 + 1;
    cr_assert_eq(st_sched_submit(&s, &r, 1.0, &id, &error), STERNA_OK);
    cr_assert_eq(st_sched_submit(&s, &r, 1.0, &id, &error), STERNA_E_LIMIT);
    cr_assert_str_eq(error.message,
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
