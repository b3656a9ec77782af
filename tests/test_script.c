/* The scripted backend itself: texts are kept by pages, its topk is the reference's, and each thing that a
 * device would get wrong in silence is named. */
#include "host/engine/draft.h"
#include "tests/support/script_backend.h"
#include "tests/support/tiny_model.h"

#include <criterion/criterion.h>
#include <string.h>

enum { ROWS = 160, SEQS = 3, BLOCKS = 4, PAGES = 8, LAYERS = 2, VOCAB = 100, K = 20 };

/* Arrays of a step on the host, and the device with what its ops need. */
typedef struct scene {
    script_device *dev;
    st_batch batch;
    int32_t token[ROWS], pos[ROWS], seq[ROWS], slot[ROWS], table[SEQS * BLOCKS], length[SEQS], out[ROWS];
    st_rope_store_args store;
    st_attend_args attend;
    st_linear_args head;
    st_topk_args topk;
    st_buf *x, *kv, *logits, *want, *candidates, *stats, *adjust, *n_adjust;
    st_weight *weight;
} scene;

static st_buf *buf(scene *s, size_t bytes)
{
    st_buf *made = NULL;
    cr_assert_eq(s->dev->base.backend->buf_create(&s->dev->base, bytes, &made, NULL), STERNA_OK);
    return made;
}

static void scene_open(scene *s)
{
    memset(s, 0, sizeof *s);
    s->dev = script_open_shadow();
    s->batch = (st_batch){.max_blocks = BLOCKS};
    st_buf **arrays[] = {&s->batch.token, &s->batch.pos,    &s->batch.seq, &s->batch.slot,
                         &s->batch.table, &s->batch.length, &s->batch.out, &s->want};
    for (size_t i = 0; i < sizeof arrays / sizeof *arrays; i++)
        *arrays[i] = buf(s, ROWS * sizeof(int32_t));
    s->x = buf(s, 64);
    s->kv = buf(s, 64);
    s->logits = buf(s, ROWS * VOCAB * sizeof(float));
    s->candidates = buf(s, ROWS * K * sizeof(st_candidate));
    s->stats = buf(s, ROWS * sizeof(st_topk_stats));
    s->adjust = buf(s, ROWS * VOCAB * sizeof(st_adjustment));
    s->n_adjust = buf(s, ROWS * sizeof(int32_t));
    static const st_matrix shape = {.rows = VOCAB, .cols = 64};
    s->dev->base.backend->weight_create(&s->dev->base, &shape, 1, NULL, 1.0f, NULL, &s->weight, NULL);
    st_kv kv = {.buf = s->kv, .n_page = PAGES, .n_layer = LAYERS, .n_kv_head = 1, .head_dim = 2};
    s->store = (st_rope_store_args){.qkv = s->x, .kv = kv};
    s->attend = (st_attend_args){.qkv = s->x, .dst = s->x, .causal = true, .kv = kv};
    s->head = (st_linear_args){
        .weight = s->weight, .src = s->x, .dst = s->logits, .stride = VOCAB, .rows = ST_ROWS_OUT};
    s->topk = (st_topk_args){.logits = s->logits,
                             .n_vocab = VOCAB,
                             .k = K,
                             .want = s->want,
                             .candidates = s->candidates,
                             .stats = s->stats};
}

static void scene_close(scene *s)
{
    st_buf *bufs[] = {s->batch.token,  s->batch.pos,  s->batch.seq, s->batch.slot, s->batch.table,
                      s->batch.length, s->batch.out,  s->want,      s->x,          s->kv,
                      s->logits,       s->candidates, s->stats,     s->adjust,     s->n_adjust};
    st_device *dev = &s->dev->base;
    for (size_t i = 0; i < sizeof bufs / sizeof *bufs; i++)
        dev->backend->buf_destroy(dev, bufs[i]);
    dev->backend->weight_destroy(dev, s->weight);
    st_device_close(&dev);
}

/* The token of a text at a position. Texts of one kind agree on their first 64 tokens. */
static int32_t token_at(int32_t text, int32_t pos)
{
    return (pos * 7 + (pos < 64 ? text / 10 : text)) % VOCAB;
}

/* Adds positions first ... first + count - 1 of a text; the last one is wanted. */
static void add(scene *s, int32_t text, const int32_t *page, int32_t first, int32_t count)
{
    st_batch *b = &s->batch;
    int32_t q = b->n_seq++;
    for (int32_t i = 0; i < count; i++, b->n_token++) {
        int32_t pos = first + i, r = b->n_token;
        s->token[r] = token_at(text, pos);
        s->pos[r] = pos;
        s->seq[r] = q;
        s->slot[r] = page[pos / ST_KV_PAGE] * ST_KV_PAGE + pos % ST_KV_PAGE;
    }
    memcpy(s->table + q * BLOCKS, page, (size_t)((first + count + 63) / 64) * sizeof *page);
    s->length[q] = first + count;
    s->out[b->n_out++] = b->n_token - 1;
}

static void clear(scene *s)
{
    s->batch.n_token = s->batch.n_seq = s->batch.n_out = 0;
}

static sterna_status run(scene *s, sterna_error *error)
{
    st_device *dev = &s->dev->base;
    const st_backend *ops = dev->backend;
    const struct {
        st_buf *buf;
        const int32_t *host;
        int32_t n;
    } arrays[] = {{s->batch.token, s->token, s->batch.n_token}, {s->batch.pos, s->pos, s->batch.n_token},
                  {s->batch.seq, s->seq, s->batch.n_token},     {s->batch.slot, s->slot, s->batch.n_token},
                  {s->batch.table, s->table, SEQS * BLOCKS},    {s->batch.length, s->length, SEQS},
                  {s->batch.out, s->out, s->batch.n_out}};
    for (size_t i = 0; i < sizeof arrays / sizeof *arrays; i++)
        ops->write(dev, arrays[i].buf, 0, arrays[i].host, (size_t)arrays[i].n * sizeof(int32_t));
    ops->begin(dev, &s->batch);
    for (int32_t layer = 0; layer < LAYERS; layer++) {
        s->store.layer = s->attend.layer = layer;
        ops->rope_store(dev, &s->store);
        ops->attend(dev, &s->attend);
    }
    ops->linear(dev, &s->head);
    ops->topk(dev, &s->topk);
    return ops->end(dev, error);
}

static void run_well(scene *s)
{
    sterna_error error = {0};
    cr_assert_eq(run(s, &error), STERNA_OK, "%s", error.message);
}

static script_state state_of(int32_t text, int32_t n)
{
    script_state state = SCRIPT_START;
    for (int32_t pos = 0; pos < n; pos++)
        state = script_next(state, token_at(text, pos));
    return state;
}

static void expect_logits(scene *s, int32_t out, int32_t text, int32_t n)
{
    float expected[VOCAB];
    script_logits(state_of(text, n), VOCAB, expected);
    cr_assert_arr_eq((const float *)script_data(s->logits) + out * VOCAB, expected, sizeof expected);
}

static const int32_t pages_a[] = {5, 2, 7}, pages_b[] = {5, 0, 6}; /* the first one is shared */

/* Texts 40 and 41 agree on their first page: 100 positions of one, then 10 of the other behind that page. */
static void prepare(scene *s)
{
    scene_open(s);
    add(s, 40, pages_a, 0, 100);
    run_well(s);
    clear(s);
}

Test(script, logits_are_those_of_the_text_behind_the_table)
{
    static scene s;
    prepare(&s);
    expect_logits(&s, 0, 40, 100);
    add(&s, 41, pages_b, 64, 10);
    add(&s, 40, pages_a, 100, 1);
    run_well(&s);
    expect_logits(&s, 0, 41, 74);
    expect_logits(&s, 1, 40, 101);
    cr_assert(s.dev->shadow->n_row == 11 && s.dev->shadow->n_sequence == 2 && s.dev->shadow->n_out == 2);
    /* rows in another order, drafts that turn out wrong and are overwritten */
    clear(&s);
    add(&s, 40, pages_a, 101, 3);
    s.token[1] = 99;
    run_well(&s);
    clear(&s);
    add(&s, 40, pages_a, 102, 2);
    int32_t *const swapped[] = {s.token, s.pos, s.slot};
    for (int i = 0; i < 3; i++) {
        int32_t first = swapped[i][0];
        swapped[i][0] = swapped[i][1];
        swapped[i][1] = first;
    }
    s.out[0] = 0;
    run_well(&s);
    expect_logits(&s, 0, 40, 104);
    scene_close(&s);
}

/* `bend` makes a legal step - 3 rows of one text, 1 of another - wrong; `says` is what the message contains.
 */
#define BEND(bend, says)                                                                                     \
    do {                                                                                                     \
        static scene s;                                                                                      \
        prepare(&s);                                                                                         \
        add(&s, 40, pages_a, 100, 3);                                                                        \
        add(&s, 41, pages_b, 64, 1);                                                                         \
        sterna_error error = {0};                                                                            \
        bend;                                                                                                \
        cr_expect_eq(run(&s, &error), STERNA_E_DEVICE, "%s", #bend);                                         \
        cr_expect(strstr(error.message, says), "%s: '%s' is not in '%s'", #bend, says, error.message);       \
        cr_expect_eq(s.dev->base.backend->end(&s.dev->base, &error), STERNA_E_DEVICE, "it must stick");      \
        scene_close(&s);                                                                                     \
    } while (0)

Test(script, what_is_wrong_with_a_batch_is_named)
{
    BEND(s.seq[1] = 3, "row 1 belongs to sequence 3 of 2");
    BEND(s.pos[1] = 103, "row 1 has position 103; its sequence has 103");
    BEND(s.length[0] = 104, "sequence 0 has 104 positions after the step, but its last row is at 102");
    BEND(s.slot[1]++, "row 1 at position 101 goes to slot 166, but its page is 2");
    BEND(s.table[1] = 3, "row 0 at position 100 goes to slot 164, but its page is 3");
    BEND((s.pos[1] = 100, s.slot[1]--), "two rows go to slot 164; the later one is 1");
    BEND(s.out[0] = 4, "output 0 is row 4");
    BEND(s.out[1] = s.out[0], "outputs 0 and 1 are both row 2");
    BEND(s.pos[2] = -1, "output 0 is row 2, which is padding");
    BEND((s.length[0] = 102, s.pos[2] = -1, s.out[0] = -1, s.table[0] = 8), "names page 8 of 8");
    BEND(s.table[0] = 2, "the table of sequence 0 names page 2 twice");
    BEND((s.table[4] = 2), "page 2 is written by sequence 0 and read by sequence 1");
    BEND(s.batch.n_out = 5, "begin: 4 rows, 2 sequences, 5 outputs");
    BEND(for (int i = 0; i < 4; i++) s.pos[i] = s.out[i] = -1, "a step without rows");
}

Test(script, what_is_wrong_with_pages_is_named)
{
    /* a page of another text, of nothing, a position that was skipped, a length that is wrong */
    BEND(s.table[0] = 6, "slot 0 of page 6 holds token 0 of position -1 after another text");
    BEND(s.table[4] = 1, "layer 0, row 3 at position 64: slot 127 should hold the position before");
    BEND((s.pos[0] = 101, s.slot[0]++, s.pos[1]++, s.slot[1]++, s.pos[2]++, s.slot[2]++, s.length[0]++),
         "layer 0, row 0 at position 101: slot 164 should hold the position before, but holds -1");
    BEND((clear(&s), add(&s, 50, (int32_t[]){3}, 0, 64), run_well(&s), clear(&s),
          add(&s, 40, (int32_t[]){3, 2}, 100, 1)),
         "layer 0, sequence 0 at position 64: slot 0 of page 2 holds token 88 of position 64 after another "
         "text");
    /* a shared page that was overwritten, one row of it */
    BEND((clear(&s), add(&s, 50, pages_b, 0, 10), run_well(&s), clear(&s), add(&s, 40, pages_a, 100, 1)),
         "layer 0, sequence 0 at position 10: slot 10 of page 5");
}

Test(script, what_is_wrong_with_ops_is_named)
{
    BEND(s.attend.causal = false, "attend: layer 0 after 1 stored and 0 attended");
    BEND(s.attend.kv.buf = s.x, "or another cache");
    BEND(s.topk.k = VOCAB + 1, "topk: k = 101 of 100");
    BEND(s.topk.candidates = s.x, "topk: k = 20 of 100, or too small a buffer");
    BEND(s.head.stride = VOCAB - 1, "linear: 100 logits into rows of 99");
    BEND((run_well(&s), s.attend.scale = 2.0f),
         "two steps of 4 rows, 2 sequences, 2 outputs, 4 blocks, stream 0 had other ops or arguments");
    BEND((s.topk.max_adjust = 1, s.topk.adjust = s.adjust, s.topk.n_adjust = s.n_adjust,
          s.dev->base.backend->fill(&s.dev->base, s.n_adjust, 2)),
         "topk: the adjustments of output 0, 2 in rows of 1");
}

Test(script, an_aborted_step_leaves_garbage)
{
    static scene s;
    sterna_error error;
    for (int32_t at = 0; at < 6; at++) {
        prepare(&s);
        add(&s, 40, pages_a, 100, 3);
        s.dev->shadow->abort_at = at;
        cr_assert_eq(run(&s, &error), STERNA_E_ABORTED);
        run_well(&s); /* again, whole */
        expect_logits(&s, 0, 40, 103);
        s.dev->shadow->abort_at = at;
        cr_assert_eq(run(&s, &error), STERNA_E_ABORTED);
        clear(&s);
        add(&s, 40, pages_a, 103, 1); /* as if it had happened */
        cr_assert_eq(run(&s, &error), STERNA_E_DEVICE);
        cr_assert(strstr(error.message, "should hold the position before, but holds -1"), "%s",
                  error.message);
        scene_close(&s);
    }
}

/* ---- the language ---- */

Test(script, topk_is_the_reference)
{
    enum { N = 300 };
    static float logits[N];
    static st_adjustment adjust[N];
    st_device *dev;
    cr_assert_eq(st_device_open("ref", &(st_device_params){0}, &dev, NULL), STERNA_OK);
    uint64_t random = 1;
    int ties = 0;
    for (int round = 0; round < 2000; round++) {
        int32_t n_vocab = 1 + (int32_t)(tiny_random(&random) % N), n_adjust = 0, row = 0;
        int32_t k = 1 + (int32_t)(tiny_random(&random) % (uint64_t)st_min(n_vocab, ST_MAX_TOPK));
        int32_t want = (int32_t)(tiny_random(&random) % (uint64_t)n_vocab) - round % 2;
        script_logits(tiny_random(&random), n_vocab, logits);
        for (int32_t i = 0; round % 3 && i < n_vocab; i++)
            if (tiny_random(&random) % 4 == 0) {
                float p = (float)(1 + tiny_random(&random) % 3);
                adjust[n_adjust++] = (st_adjustment){i, 1.0f / p, p, tiny_uniform(&random)};
            }
        st_candidate expected[ST_MAX_TOPK], found[ST_MAX_TOPK];
        st_topk_stats expected_stats, stats;
        const struct {
            void *data;
            size_t bytes;
        } host[] = {{logits, sizeof logits}, {adjust, sizeof adjust},     {&n_adjust, sizeof n_adjust},
                    {&want, sizeof want},    {expected, sizeof expected}, {&expected_stats, sizeof stats},
                    {&row, sizeof row}};
        st_buf *b[7];
        for (int i = 0; i < 7; i++)
            cr_assert_eq(dev->backend->buf_wrap(dev, host[i].data, host[i].bytes, &b[i], NULL), STERNA_OK);
        st_batch batch = {.n_token = 1, .n_seq = 1, .n_out = 1, .max_blocks = 1, .pos = b[6], .out = b[6]};
        dev->backend->begin(dev, &batch);
        dev->backend->topk(dev, &(st_topk_args){b[0], n_vocab, k, N, b[1], b[2], b[3], b[4], b[5]});
        cr_assert_eq(dev->backend->end(dev, NULL), STERNA_OK);
        for (int i = 0; i < 7; i++)
            dev->backend->buf_destroy(dev, b[i]);
        script_topk_row(logits, n_vocab, adjust, n_adjust, want, k, found, &stats);
        cr_assert_arr_eq(found, expected, (size_t)k * sizeof *found, "round %d", round);
        cr_assert_arr_eq(&stats, &expected_stats, sizeof stats, "round %d", round);
        for (int32_t i = 1; i < k; i++)
            ties += found[i].value == found[i - 1].value;
    }
    cr_assert_gt(ties, 10000);
    st_device_close(&dev);
}

/* The likeliest tokens, one after the other: drafts are worth it, but wrong often enough. */
Test(script, drafts_are_right_often_but_not_always)
{
    enum { N = 2000 };
    static int32_t token[N];
    float logits[VOCAB];
    script_state state = script_next(SCRIPT_START, 0);
    int32_t n_draft = 0, n_right = 0;
    for (int32_t n = 1; n < N; n++) {
        st_topk_stats stats;
        st_candidate best;
        int32_t draft;
        script_logits(state, VOCAB, logits);
        script_topk_row(logits, VOCAB, NULL, 0, -1, 1, &best, &stats);
        if (st_draft(token, n, 1, &draft)) {
            n_draft++;
            n_right += draft == best.token;
        }
        token[n] = best.token;
        state = script_next(state, best.token);
    }
    cr_assert(n_draft > N / 2 && n_right > n_draft / 2 && n_right < n_draft * 9 / 10,
              "%d of %d drafts are right", n_right, n_draft);
}
