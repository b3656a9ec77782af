#include "tests/support/script_shadow.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static void fail(script_shadow *s, const char *format, ...) ST_PRINTF(2, 3);
static void fail(script_shadow *s, const char *format, ...)
{
    if (s->failure.status != STERNA_OK)
        return;
    s->failure.status = STERNA_E_DEVICE;
    va_list args;
    va_start(args, format);
    vsnprintf(s->failure.message, sizeof s->failure.message, format, args);
    va_end(args);
}

static void *take(size_t count, size_t size)
{
    void *memory = calloc(count, size);
    if (!memory)
        abort();
    return memory;
}

script_shadow *script_shadow_open(void)
{
    script_shadow *s = take(1, sizeof *s);
    s->abort_at = -1;
    s->reach = take(ST_MAX_SEQUENCE, sizeof *s->reach);
    s->keys = take(SCRIPT_MAX_KEY, sizeof *s->keys);
    return s;
}

static void free_cache(script_shadow *s)
{
    free(s->cache);
    free(s->n_good);
    free(s->page);
    free(s->slot_written);
}

void script_shadow_close(script_shadow *s)
{
    free_cache(s);
    free(s->reach);
    free(s->keys);
    free(s);
}

/* ---- beginning ---- */

static void check_row(script_shadow *s, int32_t r)
{
    const st_batch *b = s->batch;
    int32_t pos = s->pos[r], seq = s->seq[r];
    if (pos == -1)
        return;
    s->n_row++;
    if (seq < 0 || seq >= b->n_seq) {
        fail(s, "row %d belongs to sequence %d of %d", r, seq, b->n_seq);
        return;
    }
    if (pos < 0 || pos >= s->length[seq] || pos / ST_KV_PAGE >= b->max_blocks) {
        fail(s, "row %d has position %d; its sequence has %d, its row of the table %d", r, pos,
             s->length[seq], b->max_blocks * ST_KV_PAGE);
        return;
    }
    int32_t page = s->table[seq * b->max_blocks + pos / ST_KV_PAGE];
    if (page < 0 || s->slot[r] != page * ST_KV_PAGE + pos % ST_KV_PAGE)
        fail(s, "row %d at position %d goes to slot %d, but its page is %d", r, pos, s->slot[r], page);
    if (s->token[r] < 0 || s->token[r] >= SCRIPT_MAX_VOCAB)
        fail(s, "row %d has token %d", r, s->token[r]);
    s->n_sequence += s->reach[seq] == 0;
    s->reach[seq] = (int32_t)st_max(s->reach[seq], pos + 1);
}

static void check_outputs(script_shadow *s)
{
    const st_batch *b = s->batch;
    for (int32_t i = 0; i < b->n_out; i++) {
        if (s->out[i] == -1)
            continue;
        s->n_out++;
        if (s->out[i] < 0 || s->out[i] >= b->n_token || s->pos[s->out[i]] < 0)
            fail(s, "output %d is row %d, which is padding or none", i, s->out[i]);
        for (int32_t j = 0; j < i; j++)
            if (s->out[j] == s->out[i])
                fail(s, "outputs %d and %d are both row %d", j, i, s->out[i]);
    }
}

static void hash_words(script_shadow *s, const uint64_t *word, size_t n)
{
    s->stream = st_hash(s->stream, word, n * sizeof *word);
}

static bool holds(const st_buf *buf, int64_t n)
{
    return n == 0 || (buf && buf->bytes / sizeof(int32_t) >= (size_t)n);
}

void script_shadow_begin(script_shadow *s, const st_batch *b)
{
    if (s->batch)
        fail(s, "begin: a step is already open");
    s->batch = b;
    s->number++;
    s->n_op = s->n_stored = s->n_attended = 0;
    s->n_row = s->n_sequence = s->n_out = 0;
    s->aborted = false;
    s->stream = ST_HASH_SEED;
    if (b->n_token < 1 || b->n_token > ST_MAX_BATCH || b->n_seq < 1 || b->n_seq > ST_MAX_SEQUENCE ||
        b->n_out < 0 || b->n_out > b->n_token || b->max_blocks < 1 || !holds(b->token, b->n_token) ||
        !holds(b->pos, b->n_token) || !holds(b->seq, b->n_token) || !holds(b->slot, b->n_token) ||
        !holds(b->table, (int64_t)b->n_seq * b->max_blocks) || !holds(b->length, b->n_seq) ||
        !holds(b->out, b->n_out)) {
        fail(s, "begin: %d rows, %d sequences, %d outputs, %d blocks, or an array is too small", b->n_token,
             b->n_seq, b->n_out, b->max_blocks);
        return;
    }
    s->token = script_data(b->token);
    s->pos = script_data(b->pos);
    s->seq = script_data(b->seq);
    s->slot = script_data(b->slot);
    s->table = script_data(b->table);
    s->length = script_data(b->length);
    s->out = b->n_out ? script_data(b->out) : NULL;
    memset(s->reach, 0, (size_t)b->n_seq * sizeof *s->reach);
    for (int32_t r = 0; r < b->n_token; r++)
        check_row(s, r);
    check_outputs(s);
    for (int32_t q = 0; q < b->n_seq; q++)
        if (s->reach[q] > 0 && s->reach[q] != s->length[q])
            fail(s, "sequence %d has %d positions after the step, but its last row is at %d", q, s->length[q],
                 s->reach[q] - 1);
    if (s->n_row == 0)
        fail(s, "begin: a step without rows");
}

/* ---- ends ---- */

static script_slot *slots_of(const script_shadow *s, int32_t layer)
{
    return s->cache + (size_t)layer * (size_t)s->n_page * ST_KV_PAGE;
}

static int32_t *good_of(const script_shadow *s, int32_t layer, int32_t page)
{
    return &s->n_good[layer * s->n_page + page];
}

static void store(const script_shadow *s, int32_t layer, int32_t slot, script_slot content)
{
    int32_t *good = good_of(s, layer, slot / ST_KV_PAGE);
    slots_of(s, layer)[slot] = content;
    *good = (int32_t)st_min(*good, slot % ST_KV_PAGE);
}

static void leave_garbage(const script_shadow *s)
{
    for (int32_t r = 0; r < s->batch->n_token; r++)
        for (int32_t layer = 0; s->pos[r] >= 0 && s->slot[r] / ST_KV_PAGE < s->n_page && layer < s->n_layer;
             layer++)
            store(s, layer, s->slot[r], (script_slot){.token = -1, .pos = -1});
}

/* Equal structs, equal ops. */
static void compare_streams(script_shadow *s)
{
    const st_batch *b = s->batch;
    const uint64_t words[] = {(uint64_t)b->n_token,
                              (uint64_t)b->n_seq,
                              (uint64_t)b->n_out,
                              (uint64_t)b->max_blocks,
                              b->stream,
                              (uintptr_t)b->token,
                              (uintptr_t)b->pos,
                              (uintptr_t)b->seq,
                              (uintptr_t)b->slot,
                              (uintptr_t)b->table,
                              (uintptr_t)b->length,
                              (uintptr_t)b->out};
    uint64_t key = st_hash(ST_HASH_SEED, words, sizeof words) | 1;
    size_t at = (key >> 20) % SCRIPT_MAX_KEY;
    while (s->keys[at].key != 0 && s->keys[at].key != key)
        at = (at + 1) % SCRIPT_MAX_KEY;
    if (s->keys[at].key == key) {
        if (s->keys[at].stream != s->stream)
            fail(s,
                 "two steps of %d rows, %d sequences, %d outputs, %d blocks, stream %llx had other ops or "
                 "arguments",
                 b->n_token, b->n_seq, b->n_out, b->max_blocks, (unsigned long long)b->stream);
        return;
    }
    if (s->n_key == SCRIPT_MAX_KEY / 2) {
        fail(s, "more than %d different batch structs", s->n_key);
        return;
    }
    s->keys[at] = (struct script_key){key, s->stream};
    s->n_key++;
}

sterna_status script_shadow_end(script_shadow *s, sterna_error *error)
{
    if (!s->batch)
        fail(s, "end: no step is open");
    else if (s->aborted)
        leave_garbage(s);
    else if (s->failure.status == STERNA_OK) {
        if (s->n_attended != s->n_layer || s->n_layer == 0)
            fail(s, "end: %d of %d layers were computed", s->n_attended, s->n_layer);
        compare_streams(s);
    }
    s->batch = NULL;
    if (s->failure.status != STERNA_OK)
        return st_fail(error, s->failure.status, "%s", s->failure.message);
    return s->aborted ? st_fail(error, STERNA_E_ABORTED, "aborted in the middle of a step") : STERNA_OK;
}

/* ---- ops ---- */

/* Adds an op to the stream; false if it is not to run. */
static bool note(script_shadow *s, st_op op, const uint64_t *word, size_t n)
{
    if (!s->batch)
        fail(s, "%s: outside of a step", st_op_name(op));
    if (s->abort_at >= 0 && s->n_op == s->abort_at) {
        s->aborted = true;
        s->abort_at = -1;
    }
    s->n_op++;
    hash_words(s, (const uint64_t[]){(uint64_t)op}, 1);
    hash_words(s, word, n);
    return s->failure.status == STERNA_OK && !s->aborted;
}

#define NOTE(s, op, ...)                                                                                     \
    note(s, op, (const uint64_t[]){__VA_ARGS__}, sizeof(const uint64_t[]){__VA_ARGS__} / sizeof(uint64_t))
#define WORD(x)     ((uint64_t)(x))
#define ADDRESS(p)  ((uint64_t)(uintptr_t)(p))
#define REAL(x)     ((uint64_t)st_bits(x))
#define QACT(q)     ADDRESS((q).buf), WORD((q).max_row), WORD((q).cols), WORD((q).act_group), WORD((q).sum_group)
#define ROTATION(r) WORD((r).block), ADDRESS((r).sign)
#define KV(kv)                                                                                               \
    ADDRESS((kv).buf), WORD((kv).n_page), WORD((kv).n_layer), WORD((kv).n_kv_head), WORD((kv).head_dim)

void script_shadow_embed(script_shadow *s, const st_embed_args *a)
{
    NOTE(s, ST_OP_EMBED, ADDRESS(a->table), REAL(a->scale), ROTATION(a->rotation), ADDRESS(a->dst));
}

void script_shadow_norm(script_shadow *s, const st_norm_args *a)
{
    NOTE(s, ST_OP_NORM, ADDRESS(a->src), ADDRESS(a->dst), ADDRESS(a->weight), WORD(a->dim), REAL(a->eps),
         WORD(a->accumulate), WORD(a->rows));
}

void script_shadow_norm_quant(script_shadow *s, const st_norm_quant_args *a)
{
    NOTE(s, ST_OP_NORM_QUANT, ADDRESS(a->src), ADDRESS(a->weight), REAL(a->eps), ROTATION(a->rotation),
         QACT(a->dst), WORD(a->rows));
}

void script_shadow_glu_norm_quant(script_shadow *s, const st_glu_norm_quant_args *a)
{
    NOTE(s, ST_OP_GLU_NORM_QUANT, ADDRESS(a->src), WORD(a->act), ADDRESS(a->weight), REAL(a->eps),
         ROTATION(a->rotation), QACT(a->dst));
}

/* ---- the cache ---- */

static void use_cache(script_shadow *s, const st_kv *kv)
{
    if (s->kv == kv->buf && s->n_page == kv->n_page && s->n_layer == kv->n_layer)
        return;
    free_cache(s);
    s->kv = kv->buf;
    s->n_page = kv->n_page;
    s->n_layer = kv->n_layer;
    size_t pages = (size_t)kv->n_page, all = pages * ST_KV_PAGE * (size_t)kv->n_layer;
    s->cache = take(all, sizeof *s->cache);
    for (size_t i = 0; i < all; i++)
        s->cache[i].pos = -1;
    s->n_good = take(pages * (size_t)kv->n_layer, sizeof *s->n_good);
    s->page = take(pages, sizeof *s->page);
    s->slot_written = take(pages * ST_KV_PAGE, sizeof *s->slot_written);
}

/* Slots and pages of this step: each slot has one row, and each page that is written one sequence. */
static void check_pages(script_shadow *s)
{
    const st_batch *b = s->batch;
    for (int32_t r = 0; r < b->n_token; r++) {
        if (s->pos[r] < 0)
            continue;
        int32_t slot = s->slot[r];
        if (slot / ST_KV_PAGE >= s->n_page) {
            fail(s, "row %d goes to slot %d of a cache of %d pages", r, slot, s->n_page);
            return;
        }
        if (s->slot_written[slot] == s->number)
            fail(s, "two rows go to slot %d; the later one is %d", slot, r);
        s->slot_written[slot] = s->number;
        s->page[slot / ST_KV_PAGE].written = s->number << 16 | (uint64_t)s->seq[r];
    }
    for (int32_t q = 0; q < b->n_seq; q++)
        for (int32_t i = 0; i * ST_KV_PAGE < s->reach[q]; i++) {
            int32_t page = s->table[q * b->max_blocks + i];
            uint64_t stamp = s->number << 16 | (uint64_t)q;
            if (page < 0 || page >= s->n_page) {
                fail(s, "the table of sequence %d names page %d of %d", q, page, s->n_page);
                return;
            }
            if (s->page[page].listed == stamp)
                fail(s, "the table of sequence %d names page %d twice", q, page);
            if (s->page[page].written >> 16 == s->number && s->page[page].written != stamp)
                fail(s, "page %d is written by sequence %d and read by sequence %d", page,
                     (int)(s->page[page].written & 0xffff), q);
            s->page[page].listed = stamp;
        }
}

/* The slot of a position, through the table. */
static int32_t slot_at(const script_shadow *s, int32_t seq, int32_t pos)
{
    return s->table[seq * s->batch->max_blocks + pos / ST_KV_PAGE] * ST_KV_PAGE + pos % ST_KV_PAGE;
}

/* Gives each row the state of the text before it and its token, whatever the order of rows is. */
static void continue_texts(script_shadow *s, int32_t layer)
{
    script_slot *cache = slots_of(s, layer);
    int32_t n_left = s->n_row, n_before = n_left + 1;
    while (n_left > 0 && n_left < n_before) {
        n_before = n_left;
        for (int32_t r = 0; r < s->batch->n_token; r++) {
            int32_t pos = s->pos[r];
            script_slot *here = pos < 0 ? NULL : &cache[s->slot[r]];
            if (!here || !here->pending)
                continue;
            const script_slot *before = pos > 0 ? &cache[slot_at(s, s->seq[r], pos - 1)] : NULL;
            if (before && before->pending)
                continue;
            if (before && before->pos != pos - 1) {
                fail(s,
                     "layer %d, row %d at position %d: slot %d should hold the position before, but holds %d",
                     layer, r, pos, slot_at(s, s->seq[r], pos - 1), before->pos);
                return;
            }
            here->state = script_next(before ? before->state : SCRIPT_START, here->token);
            here->pending = false;
            n_left--;
        }
    }
}

void script_shadow_rope_store(script_shadow *s, const st_rope_store_args *a)
{
    if (!NOTE(s, ST_OP_ROPE_STORE, ADDRESS(a->qkv), WORD(a->stride), WORD(a->n_head), WORD(a->n_kv_head),
              WORD(a->head_dim), ADDRESS(a->q_norm), ADDRESS(a->k_norm), REAL(a->eps), ADDRESS(a->cos_sin),
              WORD(a->n_rot), WORD(a->pairing), WORD(a->layer), KV(a->kv)))
        return;
    use_cache(s, &a->kv);
    if (s->n_stored == 0)
        check_pages(s);
    if (a->layer != s->n_stored || s->n_attended != s->n_stored || a->layer >= s->n_layer)
        fail(s, "rope_store: layer %d after %d stored and %d attended of %d", a->layer, s->n_stored,
             s->n_attended, s->n_layer);
    if (s->failure.status != STERNA_OK)
        return;
    s->n_stored++;
    for (int32_t r = 0; r < s->batch->n_token; r++)
        if (s->pos[r] >= 0)
            store(s, a->layer, s->slot[r],
                  (script_slot){.token = s->token[r], .pos = s->pos[r], .pending = true});
    continue_texts(s, a->layer);
}

/* Positions first ... end - 1 of a sequence, those of one page, hold a text that continues `before`. Returns
 * the state at its end. */
static script_state check_page(script_shadow *s, int32_t layer, int32_t seq, int32_t first, int32_t end,
                               script_state before)
{
    int32_t page = s->table[seq * s->batch->max_blocks + first / ST_KV_PAGE];
    const script_slot *slot = slots_of(s, layer) + (size_t)page * ST_KV_PAGE;
    int32_t *good = good_of(s, layer, page);
    for (int32_t i = 0; i < end - first; i = (int32_t)st_max(i + 1, *good)) {
        bool follows = slot[i].pos == first + i && !slot[i].pending &&
                       slot[i].state == script_next(i ? slot[i - 1].state : before, slot[i].token);
        if (!follows) {
            fail(s,
                 "layer %d, sequence %d at position %d: slot %d of page %d holds token %d of position %d "
                 "after another text",
                 layer, seq, first + i, i, page, slot[i].token, slot[i].pos);
            return before;
        }
        if (i == *good)
            ++*good;
    }
    return slot[end - first - 1].state;
}

void script_shadow_attend(script_shadow *s, const st_attend_args *a)
{
    if (!NOTE(s, ST_OP_ATTEND, ADDRESS(a->qkv), WORD(a->stride), ADDRESS(a->dst), WORD(a->n_head),
              WORD(a->n_kv_head), WORD(a->head_dim), WORD(a->layer), REAL(a->scale), WORD(a->window),
              REAL(a->softcap), WORD(a->causal), KV(a->kv)))
        return;
    if (a->layer != s->n_attended || s->n_stored != a->layer + 1 || a->kv.buf != s->kv || !a->causal) {
        fail(s, "attend: layer %d after %d stored and %d attended, or another cache, or not causal", a->layer,
             s->n_stored, s->n_attended);
        return;
    }
    s->n_attended++;
    for (int32_t q = 0; q < s->batch->n_seq; q++) {
        script_state state = SCRIPT_START;
        for (int32_t first = 0; first < s->reach[q] && s->failure.status == STERNA_OK; first += ST_KV_PAGE)
            state =
                check_page(s, a->layer, q, first, (int32_t)st_min(first + ST_KV_PAGE, s->reach[q]), state);
    }
}

/* ---- logits ---- */

static void write_logits(script_shadow *s, const st_linear_args *a)
{
    if (s->n_attended != s->n_layer || s->n_layer == 0 || a->weight->rows > SCRIPT_MAX_VOCAB ||
        a->column + a->weight->rows > a->stride || !holds(a->dst, (int64_t)s->batch->n_out * a->stride)) {
        fail(s, "linear: %d logits into rows of %d after %d of %d layers, or too small a buffer",
             a->weight->rows, a->stride, s->n_attended, s->n_layer);
        return;
    }
    const script_slot *cache = slots_of(s, s->n_layer - 1);
    float *logits = script_data(a->dst);
    for (int32_t i = 0; i < s->batch->n_out; i++) {
        float *row = logits + (size_t)i * (size_t)a->stride + a->column;
        if (s->out[i] < 0)
            memset(row, 0xff, (size_t)a->weight->rows * sizeof *row); /* NaN */
        else
            script_logits(cache[s->slot[s->out[i]]].state, a->weight->rows, row);
    }
}

void script_shadow_linear(script_shadow *s, const st_linear_args *a)
{
    const st_qact none = {0}, *q = a->quant ? a->quant : &none;
    if (NOTE(s, ST_OP_LINEAR, ADDRESS(a->weight), QACT(*q), WORD(a->quant != NULL), ADDRESS(a->src),
             ADDRESS(a->dst), WORD(a->column), WORD(a->stride), WORD(a->accumulate), WORD(a->rows)) &&
        a->rows == ST_ROWS_OUT)
        write_logits(s, a);
}

/* Adjustments are ascending distinct tokens, and fit their rows. */
static bool check_adjustments(script_shadow *s, const st_topk_args *a, int32_t out, int32_t n_adjust,
                              const st_adjustment *adjust)
{
    bool good = n_adjust >= 0 && n_adjust <= a->max_adjust;
    for (int32_t i = 0; good && i < n_adjust; i++)
        good = adjust[i].token >= 0 && adjust[i].token < a->n_vocab &&
               (i == 0 || adjust[i].token > adjust[i - 1].token);
    if (!good)
        fail(s, "topk: the adjustments of output %d, %d in rows of %d, are not ascending tokens", out,
             n_adjust, a->max_adjust);
    return good;
}

void script_shadow_topk(script_shadow *s, const st_topk_args *a)
{
    if (!NOTE(s, ST_OP_TOPK, ADDRESS(a->logits), WORD(a->n_vocab), WORD(a->k), WORD(a->max_adjust),
              ADDRESS(a->adjust), ADDRESS(a->n_adjust), ADDRESS(a->want), ADDRESS(a->candidates),
              ADDRESS(a->stats)))
        return;
    int64_t n_out = s->batch->n_out;
    if (a->n_vocab > SCRIPT_MAX_VOCAB || a->k < 1 || a->k > st_min(a->n_vocab, ST_MAX_TOPK) ||
        !holds(a->logits, n_out * a->n_vocab) || !holds(a->want, n_out) ||
        !holds(a->candidates, n_out * a->k * (int64_t)(sizeof(st_candidate) / sizeof(float))) ||
        !holds(a->stats, n_out * (int64_t)(sizeof(st_topk_stats) / sizeof(float))) ||
        (a->max_adjust > 0 &&
         (!holds(a->n_adjust, n_out) ||
          !holds(a->adjust, n_out * a->max_adjust * (int64_t)(sizeof(st_adjustment) / sizeof(float)))))) {
        fail(s, "topk: k = %d of %d, or too small a buffer", a->k, a->n_vocab);
        return;
    }
    const int32_t *want = script_data(a->want), *n_adjust = a->max_adjust ? script_data(a->n_adjust) : NULL;
    for (int32_t i = 0; i < s->batch->n_out; i++) {
        st_candidate *candidates = (st_candidate *)script_data(a->candidates) + (size_t)i * (size_t)a->k;
        st_topk_stats *stats = (st_topk_stats *)script_data(a->stats) + i;
        if (s->out[i] < 0) { /* unspecified: NaN and tokens that there are not */
            memset(candidates, 0xff, (size_t)a->k * sizeof *candidates);
            memset(stats, 0xff, sizeof *stats);
            continue;
        }
        const float *row = (const float *)script_data(a->logits) + (size_t)i * (size_t)a->n_vocab;
        int32_t n = n_adjust ? n_adjust[i] : 0;
        const st_adjustment *adjust =
            n_adjust ? (const st_adjustment *)script_data(a->adjust) + (size_t)i * (size_t)a->max_adjust
                     : NULL;
        if (want[i] < -1 || want[i] >= a->n_vocab)
            fail(s, "topk: output %d wants token %d of %d", i, want[i], a->n_vocab);
        else if (check_adjustments(s, a, i, n, adjust))
            script_topk_row(row, a->n_vocab, adjust, n, want[i], a->k, candidates, stats);
    }
}
