/* The rows of a step: who gets pages, who gives them back, and whose prompt comes first. */
#include "host/engine/draft.h"
#include "host/engine/sched_parts.h"

#include <string.h>

/* Tokens whose keys and values are still to be computed, before the next one can be generated. */
static int32_t owed(const st_sequence *s)
{
    return s->n_token - s->n_done;
}

static bool is_paused(const st_sequence *s)
{
    return s->n_page == 0;
}

/* ---- pages ---- */

/* Moves past full pages that some page already holds, but not past the last token, which has to be computed.
 */
static void skip_kept_pages(st_sched *sched, st_sequence *s)
{
    if (sched->limits.no_prefix_cache)
        return;
    while (s->n_done == s->n_kept * ST_KV_PAGE && s->n_done + ST_KV_PAGE < s->n_token) {
        int32_t page = st_pages_find(&sched->pages, s->content, s->token + s->n_done);
        if (page < 0)
            return;
        st_pages_use(&sched->pages, page);
        if (s->n_kept < s->n_page) /* instead of the one that was taken to compute it */
            st_pages_give(&sched->pages, s->page[s->n_kept]);
        else
            s->n_page++;
        s->page[s->n_kept++] = page;
        s->content = sched->pages.page[page].content;
        s->n_done += ST_KV_PAGE;
    }
}

/* Pages that the running samples may soon want. */
static int32_t reserve(const st_sched *sched)
{
    int32_t n = 0;
    for (int32_t i = 0; i < sched->n_running; i++) {
        const st_sequence *s = &sched->sequence[sched->running[i]];
        n += !is_paused(s) && s->n_page < st_pages_for(s->max_token - 1);
    }
    return n;
}

/* Gives a paused sample pages for all its tokens, or none. */
static bool take_pages(st_sched *sched, st_sequence *s, int32_t n_reserve)
{
    skip_kept_pages(sched, s);
    int32_t needed = st_pages_for(s->n_token) - s->n_page;
    if (needed + n_reserve > sched->pages.n_unused) {
        st_sched_give_pages(sched, s);
        return false;
    }
    for (; needed > 0; needed--)
        s->page[s->n_page++] = st_pages_take(&sched->pages);
    return true;
}

static void pause(st_sched *sched, st_sequence *s)
{
    st_sched_give_pages(sched, s);
    s->n_preempted++;
    sched->n_preempted++;
}

/* Makes a page for the position that a generating sample stores next; the last of the order give up theirs.
 * False if it has to itself. */
static bool grow(st_sched *sched, st_sequence *s)
{
    while (s->n_page * ST_KV_PAGE <= s->n_done) {
        int32_t page = st_pages_take(&sched->pages);
        if (page >= 0) {
            s->page[s->n_page++] = page;
            continue;
        }
        int32_t last = sched->n_running - 1;
        while (is_paused(&sched->sequence[sched->running[last]]))
            last--;
        st_sequence *victim = &sched->sequence[sched->running[last]];
        pause(sched, victim);
        if (victim == s)
            return false;
    }
    return true;
}

static void count_cached(st_sched *sched, st_sequence *s, int32_t n_done_before)
{
    int32_t skipped = s->n_done - n_done_before;
    if (s->prompted > 0.0 || s->n_preempted > 0) /* computed before: not spared, only found again */
        return;
    s->n_cached += skipped;
    sched->n_cached += (uint64_t)skipped;
}

/* Resumes paused samples, then starts waiting ones, each while there is room; none overtakes another. */
static void start_and_resume(st_sched *sched, double now)
{
    for (int32_t i = 0; i <= sched->n_running; i++) {
        if (i == sched->n_running) {
            if (sched->n_waiting == 0 || sched->n_running == sched->limits.n_sequence)
                return;
            st_sched_start(sched);
        }
        st_sequence *s = &sched->sequence[sched->running[i]];
        if (!is_paused(s))
            continue;
        if (!take_pages(sched, s, reserve(sched)))
            return;
        if (s->started == 0.0)
            s->started = now;
        count_cached(sched, s, 0);
    }
}

/* ---- rows ---- */

static void add_part(st_sched *sched, int32_t slot, int32_t count)
{
    const st_sequence *s = &sched->sequence[slot];
    st_plan *plan = &sched->plan;
    bool want = count == owed(s) && s->n_token < s->max_token;
    plan->part[plan->n_part++] = (st_part){.slot = slot, .first = s->n_done, .count = count, .n_want = want};
    plan->n_token += count;
    plan->n_out += want;
    plan->prompt = plan->prompt || s->n_done < s->n_prompt || count > 1;
}

/* Prompts move past pages that others have computed since. What is left may be the last token alone, so this
 * comes before the rows that are owed singly. */
static void skip_pages(st_sched *sched)
{
    for (int32_t i = 0; i < sched->n_running; i++) {
        st_sequence *s = &sched->sequence[sched->running[i]];
        int32_t before = s->n_done;
        if (is_paused(s) || owed(s) < 2)
            continue;
        skip_kept_pages(sched, s);
        count_cached(sched, s, before);
    }
}

static void add_generating(st_sched *sched)
{
    for (int32_t i = 0; i < sched->n_running; i++) {
        st_sequence *s = &sched->sequence[sched->running[i]];
        if (!is_paused(s) && owed(s) == 1 && grow(sched, s))
            add_part(sched, sched->running[i], 1);
    }
}

/* True if another sample with rows in this step computes the very page that `s` would begin: then `s` waits,
 * and finds it. */
static bool is_computed_beside(const st_sched *sched, const st_sequence *s)
{
    if (sched->limits.no_prefix_cache || s->n_done != s->n_kept * ST_KV_PAGE ||
        s->n_done + ST_KV_PAGE >= s->n_token)
        return false;
    for (int32_t i = 0; i < sched->n_running; i++) {
        const st_sequence *other = &sched->sequence[sched->running[i]];
        if (sched->grant[sched->running[i]] > 0 && other != s && other->n_kept == s->n_kept &&
            other->content == s->content && other->n_token >= s->n_done + ST_KV_PAGE &&
            memcmp(other->token + s->n_done, s->token + s->n_done, ST_KV_PAGE * sizeof *s->token) == 0)
            return true;
    }
    return false;
}

/* The slot to serve next: of those that want more and are not in vain the one that owes least, or the first.
 */
static int32_t next_prompt(const st_sched *sched, bool first)
{
    int32_t best = -1;
    for (int32_t i = 0; i < sched->n_running; i++) {
        int32_t slot = sched->running[i];
        const st_sequence *s = &sched->sequence[slot];
        if (is_paused(s) || owed(s) < 2 || sched->grant[slot] == owed(s) ||
            (best >= 0 && owed(s) >= owed(&sched->sequence[best])) || is_computed_beside(sched, s))
            continue;
        best = slot;
        if (first)
            break;
    }
    return best;
}

/* Gives rows to a prompt; returns how many, 0 if nobody wants any. */
static int32_t grant(st_sched *sched, bool first, int32_t most)
{
    int32_t slot = next_prompt(sched, first);
    if (slot < 0)
        return 0;
    int32_t rows = (int32_t)st_min(owed(&sched->sequence[slot]) - sched->grant[slot], most);
    sched->grant[slot] += rows;
    return rows;
}

/* Shares out the rows that generating samples leave. The first prompt of the order gets half of them, so that
 * it is finished in bounded time; the others go to who needs fewest, so that a short prompt does not wait for
 * long ones. */
static void add_prompts(st_sched *sched)
{
    st_plan *plan = &sched->plan;
    bool fair = sched->limits.prefill == STERNA_PREFILL_FAIR;
    for (int32_t i = 0; i < sched->n_running; i++)
        sched->grant[sched->running[i]] = 0;
    int32_t left = sched->limits.n_batch - plan->n_token;
    if (left > 0)
        left -= grant(sched, true, fair ? (left + 1) / 2 : left);
    for (int32_t rows = 1; left > 0 && rows > 0; left -= rows)
        rows = grant(sched, !fair, left);
    for (int32_t i = 0; i < sched->n_running; i++)
        if (sched->grant[sched->running[i]] > 0)
            add_part(sched, sched->running[i], sched->grant[sched->running[i]]);
}

/* Pages for n more positions, as far as unused ones go. Returns how many positions there are pages for. */
static int32_t stretch(st_sched *sched, st_sequence *s, int32_t n)
{
    while (s->n_page * ST_KV_PAGE < s->n_token + n) {
        int32_t page = st_pages_take(&sched->pages);
        if (page < 0)
            break;
        s->page[s->n_page++] = page;
    }
    return (int32_t)st_min(n, s->n_page * ST_KV_PAGE - s->n_token);
}

/* Rows that are still left verify drafts of generating samples. */
static void add_drafts(st_sched *sched)
{
    st_plan *plan = &sched->plan;
    for (int32_t i = 0; i < plan->n_part; i++) {
        st_part *part = &plan->part[i];
        st_sequence *s = &sched->sequence[part->slot];
        if (part->count > 1 || part->n_want == 0)
            continue;
        int64_t most =
            st_min(st_min(s->n_look, sched->limits.n_batch - plan->n_token), s->max_token - s->n_token - 1);
        int32_t n = st_draft(s->token, s->n_token, (int32_t)st_max(most, 0), s->token + s->n_token);
        n = n > 0 ? stretch(sched, s, n) : 0;
        part->count += n;
        part->n_want += n;
        part->n_draft = n;
        plan->n_token += n;
        plan->n_out += n;
    }
}

const st_plan *st_sched_plan(st_sched *sched, double now)
{
    st_plan *plan = &sched->plan;
    plan->n_part = plan->n_token = plan->n_out = 0;
    plan->prompt = false;
    start_and_resume(sched, now);
    skip_pages(sched);
    add_generating(sched);
    add_prompts(sched);
    add_drafts(sched);
    return plan;
}
