/* The checking layer in front of a scripted backend: legal steps pass untouched, each illegal call is named.
 */
#include "tests/support/script_backend.h"

#include <criterion/criterion.h>
#include <math.h>
#include <string.h>

enum {
    TOKENS = 4,
    SEQS = 2,
    OUTS = 2,
    BLOCKS = 2,
    DIM = 64,
    VOCAB = 40,
    HEADS = 2,
    KV_HEADS = 1,
    HEAD_DIM = 32,
    PAGES = 4
};

/* A device with everything one legal step needs. */
typedef struct scene {
    script_device *inner;
    st_device *dev;
    st_batch batch;
    st_buf *x, *y, *qkv, *norm, *act, *logits, *want, *candidates, *stats, *table, *kv, *small;
    st_weight *embedding, *matrix;
    st_qact quant;
} scene;

static st_buf *ints(scene *s, const int32_t *values, size_t n)
{
    st_buf *buf = NULL;
    cr_assert_eq(s->dev->backend->buf_create(s->dev, n * 4, &buf, NULL), STERNA_OK);
    if (values)
        s->dev->backend->write(s->dev, buf, 0, values, n * 4);
    return buf;
}

static scene scene_open(void)
{
    static const float one = 1.0f;
    static uint8_t zero_codes[VOCAB * 16];
    scene s = {.inner = script_open()};
    st_device_params params = {.check = true};
    cr_assert_eq(st_checked_open(&s.inner->base, &params, &s.dev, NULL), STERNA_OK);
    s.batch = (st_batch){.n_token = TOKENS, .n_seq = SEQS, .n_out = OUTS, .max_blocks = BLOCKS};
    s.batch.token = ints(&s, (int32_t[]){1, 2, 39, 0}, TOKENS);
    s.batch.pos = ints(&s, (int32_t[]){0, 1, 64, -1}, TOKENS);
    s.batch.seq = ints(&s, (int32_t[]){0, 0, 1, 0}, TOKENS);
    s.batch.slot = ints(&s, (int32_t[]){64, 65, 128, 0}, TOKENS);
    s.batch.table = ints(&s, (int32_t[]){1, 0, 3, 2}, SEQS * BLOCKS);
    s.batch.length = ints(&s, (int32_t[]){2, 65}, SEQS);
    s.batch.out = ints(&s, (int32_t[]){2, -1}, OUTS);
    s.x = ints(&s, NULL, TOKENS * DIM);
    s.y = ints(&s, NULL, TOKENS * 2 * DIM);
    s.qkv = ints(&s, NULL, TOKENS * 4 * HEAD_DIM);
    s.norm = ints(&s, NULL, DIM);
    s.logits = ints(&s, NULL, OUTS * VOCAB);
    s.want = ints(&s, NULL, OUTS);
    s.candidates = ints(&s, NULL, OUTS * 3 * 3);
    s.stats = ints(&s, NULL, OUTS * 6);
    s.table = ints(&s, NULL, 65 * HEAD_DIM);
    s.small = ints(&s, NULL, 1);
    s.kv = ints(&s, NULL, st_kv_bytes(PAGES, 1, KV_HEADS, HEAD_DIM) / 4);
    s.quant = (st_qact){.max_row = TOKENS, .cols = DIM};
    s.quant.buf = ints(&s, NULL, st_qact_planes(&s.quant).bytes / 4);
    static float scales[VOCAB];
    for (int i = 0; i < VOCAB; i++)
        scales[i] = one;
    st_matrix m = {.type = ST_TERNARY, .scale_type = ST_F32, .rows = VOCAB, .cols = DIM, .row_bytes = 16};
    m.data = zero_codes;
    m.scale = scales;
    cr_assert_eq(s.dev->backend->weight_create(s.dev, &m, 1, NULL, 1.0f, NULL, &s.embedding, NULL),
                 STERNA_OK);
    m.rows = DIM < VOCAB ? DIM : VOCAB;
    cr_assert_eq(s.dev->backend->weight_create(s.dev, &m, 1, NULL, 1.0f, NULL, &s.matrix, NULL), STERNA_OK);
    return s;
}

static void scene_close(scene *s)
{
    st_buf *bufs[] = {s->batch.token,  s->batch.pos, s->batch.seq, s->batch.slot, s->batch.table,
                      s->batch.length, s->batch.out, s->x,         s->y,          s->qkv,
                      s->norm,         s->logits,    s->want,      s->candidates, s->stats,
                      s->table,        s->kv,        s->small,     s->quant.buf};
    for (size_t i = 0; i < sizeof bufs / sizeof *bufs; i++)
        s->dev->backend->buf_destroy(s->dev, bufs[i]);
    s->dev->backend->weight_destroy(s->dev, s->embedding);
    s->dev->backend->weight_destroy(s->dev, s->matrix);
    st_device_close(&s->dev);
}

/* The legal arguments of each op, for tests to bend. */
typedef struct arguments {
    st_embed_args embed;
    st_norm_args norm;
    st_norm_quant_args norm_quant;
    st_linear_args linear;
    st_rope_store_args rope_store;
    st_attend_args attend;
    st_glu_norm_quant_args glu;
    st_topk_args topk;
} arguments;

static arguments legal(scene *s)
{
    st_kv kv = {.buf = s->kv, .n_page = PAGES, .n_layer = 1, .n_kv_head = KV_HEADS, .head_dim = HEAD_DIM};
    arguments a = {0};
    a.embed = (st_embed_args){.table = s->embedding, .scale = 1.0f, .dst = s->x};
    a.norm = (st_norm_args){.src = s->x, .dst = s->y, .weight = s->norm, .dim = DIM, .eps = 1e-5f};
    a.norm_quant = (st_norm_quant_args){.src = s->x, .weight = s->norm, .eps = 1e-5f, .dst = s->quant};
    a.linear = (st_linear_args){.weight = s->matrix, .quant = &s->quant, .dst = s->y, .stride = 2 * DIM};
    a.rope_store = (st_rope_store_args){.qkv = s->qkv,
                                        .stride = 4 * HEAD_DIM,
                                        .n_head = HEADS,
                                        .n_kv_head = KV_HEADS,
                                        .head_dim = HEAD_DIM,
                                        .cos_sin = s->table,
                                        .n_rot = HEAD_DIM,
                                        .kv = kv};
    a.attend = (st_attend_args){.qkv = s->qkv,
                                .stride = 4 * HEAD_DIM,
                                .dst = s->x,
                                .n_head = HEADS,
                                .n_kv_head = KV_HEADS,
                                .head_dim = HEAD_DIM,
                                .scale = 0.5f,
                                .causal = true,
                                .kv = kv};
    a.glu = (st_glu_norm_quant_args){.src = s->y, .act = ST_ACT_RELU2, .dst = s->quant};
    a.topk = (st_topk_args){.logits = s->logits,
                            .n_vocab = VOCAB,
                            .k = 3,
                            .want = s->want,
                            .candidates = s->candidates,
                            .stats = s->stats};
    return a;
}

static void issue(scene *s, const arguments *a)
{
    const st_backend *b = s->dev->backend;
    b->embed(s->dev, &a->embed);
    b->norm(s->dev, &a->norm);
    b->norm_quant(s->dev, &a->norm_quant);
    b->linear(s->dev, &a->linear);
    b->rope_store(s->dev, &a->rope_store);
    b->attend(s->dev, &a->attend);
    b->glu_norm_quant(s->dev, &a->glu);
    b->topk(s->dev, &a->topk);
}

static sterna_status step(scene *s, const arguments *a, sterna_error *error)
{
    s->dev->backend->begin(s->dev, &s->batch);
    issue(s, a);
    return s->dev->backend->end(s->dev, error);
}

Test(checked, legal_steps_pass_and_replays_are_compared)
{
    scene s = scene_open();
    arguments a = legal(&s);
    sterna_error error = {.status = STERNA_OK};
    for (int i = 0; i < 3; i++)
        cr_assert_eq(step(&s, &a, &error), STERNA_OK, "%s", error.message);
    for (int op = 0; op < ST_OP_COUNT; op++)
        cr_assert_eq(s.inner->n_call[op], 3);
    s.inner->replay = true;
    cr_assert_eq(step(&s, &a, &error), STERNA_OK, "%s", error.message);
    for (int op = 0; op < ST_OP_COUNT; op++)
        cr_assert_eq(s.inner->n_call[op], 3, "a replayed step must not issue ops");
    cr_assert_eq(s.inner->n_end, 4);
    a.attend.scale = 0.25f;
    cr_assert_eq(step(&s, &a, &error), STERNA_E_ARGUMENT);
    cr_assert_str_eq(error.message, "attend: op 5 of this step had other arguments in its earlier run");
    scene_close(&s);
}

Test(checked, another_stream_number_is_another_step)
{
    scene s = scene_open();
    arguments a = legal(&s);
    sterna_error error;
    cr_assert_eq(step(&s, &a, &error), STERNA_OK);
    a.attend.scale = 0.25f;
    s.batch.stream = 1;
    cr_assert_eq(step(&s, &a, &error), STERNA_OK);
    scene_close(&s);
}

Test(checked, a_replay_of_something_never_recorded)
{
    scene s = scene_open();
    arguments a = legal(&s);
    sterna_error error;
    s.inner->replay = true;
    cr_assert_eq(step(&s, &a, &error), STERNA_E_ARGUMENT);
    cr_assert_str_eq(error.message, "begin: the device replays a step that was never recorded");
    scene_close(&s);
}

Test(checked, a_shorter_or_longer_stream)
{
    for (int longer = 0; longer < 2; longer++) {
        scene s = scene_open();
        arguments a = legal(&s);
        sterna_error error;
        cr_assert_eq(step(&s, &a, &error), STERNA_OK);
        s.dev->backend->begin(s.dev, &s.batch);
        if (longer)
            issue(&s, &a);
        s.dev->backend->embed(s.dev, &a.embed);
        cr_assert_eq(s.dev->backend->end(s.dev, &error), STERNA_E_ARGUMENT);
        cr_assert_str_eq(error.message, longer ? "embed: op 8 of a step whose earlier run had 8"
                                               : "end: 1 ops in a step whose earlier run had 8");
        scene_close(&s);
    }
}

/* Each bend makes one argument illegal; `says` is what the message must contain. */
#define BEND(statement, text)                                                                                \
    do {                                                                                                     \
        scene s = scene_open();                                                                              \
        arguments a = legal(&s);                                                                             \
        sterna_error error = {.status = STERNA_OK};                                                          \
        statement;                                                                                           \
        cr_expect_eq(step(&s, &a, &error), STERNA_E_ARGUMENT, "%s", #statement);                             \
        cr_expect(strstr(error.message, text), "%s: '%s' is not in '%s'", #statement, text, error.message);  \
        cr_expect_eq(s.dev->backend->end(s.dev, &error), STERNA_E_ARGUMENT, "the failure must stick");       \
        scene_close(&s);                                                                                     \
    } while (0)

Test(checked, bent_op_arguments_are_named)
{
    BEND(a.embed.table = (st_weight *)s.x, "embed: table is not a live weight");
    BEND(a.embed.dst = s.small, "embed: dst holds 4 bytes; 4 rows of 64 need 1024");
    BEND(a.embed.rotation.block = 48, "embed: rotation blocks of 48 over 64 columns");
    BEND(a.norm.eps = NAN, "norm: eps is nan");
    BEND(a.norm.weight = NULL, "norm: weight");
    BEND((a.norm.dst = s.x, a.norm.rows = ST_ROWS_OUT), "norm: source and destination are the same buffer");
    BEND(a.norm_quant.dst.act_group = 48, "norm_quant: 64 columns, act_group 48");
    BEND(a.norm_quant.dst.max_row = 3, "norm_quant: 4 rows into planes for 3");
    BEND(a.norm_quant.dst.act_group = 32, "linear: reads 64 columns");
    BEND(a.linear.src = s.x, "linear: exactly one of quant and src");
    BEND(a.linear.column = 100, "linear: 40 columns from column 100 of rows of 128");
    BEND(a.linear.weight = NULL, "linear: weight is not a live weight");
    BEND(a.linear.rows = ST_ROWS_OUT, "linear: reads 64 columns");
    BEND(s.quant.sum_group = 32, "linear: sums over 32 columns");
    BEND(a.rope_store.n_rot = 31, "rope_store: n_rot is 31");
    BEND(a.rope_store.stride = 100, "rope_store: rows of 100");
    BEND(a.rope_store.layer = 1, "rope_store: layer 1");
    BEND(a.rope_store.kv.n_page = 2, "rope_store: row 2 goes to slot 128 of a cache of 2 pages");
    BEND(a.rope_store.cos_sin = s.small, "rope_store: cos_sin holds 4 bytes; 65 rows of 32 need");
    BEND(a.attend.n_kv_head = 2, "attend: layer 0 with 2 key heads");
    BEND(a.attend.scale = INFINITY, "attend: scale inf");
    BEND(a.attend.dst = s.qkv, "attend: source and destination");
    BEND(a.glu.act = (st_act)9, "glu_norm_quant: there is no activation 9");
    BEND(a.glu.src = s.x, "glu_norm_quant: src holds 1024 bytes");
    BEND(a.topk.k = 41, "topk: k = 41 of 40");
    BEND(a.topk.max_adjust = 2, "topk: adjust");
    BEND(a.topk.stats = s.small, "topk: stats holds 4 bytes");
}

static void poke(scene *s, st_buf *buf, int at, int32_t value)
{
    s->dev->backend->write(s->dev, buf, 4 * (size_t)at, &value, 4);
}

Test(checked, bent_batches_are_named)
{
    BEND(poke(&s, s.batch.token, 2, 40), "embed: row 2 has token 40 of a vocabulary of 40");
    BEND(poke(&s, s.batch.pos, 1, 2), "begin: row 1 has position 2; its sequence has 2");
    BEND(poke(&s, s.batch.seq, 0, 2), "begin: row 0 belongs to sequence 2 of 2");
    BEND(poke(&s, s.batch.slot, 2, 129), "begin: row 2 at position 64 goes to slot 129, but its page is 2");
    BEND(poke(&s, s.batch.out, 0, 3), "begin: output 0 is row 3");
    BEND(s.batch.n_out = 5, "begin: 4 rows, 2 sequences, 5 outputs");
    BEND(s.batch.max_blocks = 99, "begin: table holds 16 bytes, 792 are needed");
    BEND(s.dev->backend->begin(s.dev, &s.batch), "begin: a step is already open");
    BEND(s.dev->backend->embed(s.dev, &a.embed), "embed: outside of a step");
    BEND(s.dev->backend->read(s.dev, s.small, 2, &a, 4), "read: 4 bytes at offset 2 of a buffer of 4");
    BEND(s.dev->backend->write(s.dev, s.small, SIZE_MAX, &a, 2), "write: 2 bytes at offset");
    BEND(s.dev->backend->buf_destroy(s.dev, (st_buf *)&a), "buf_destroy: ");
    BEND((s.dev->backend->begin(s.dev, &s.batch), poke(&s, s.small, 0, 1)), "write: inside a step");
}

/* A step of one linear, whose int8 input is in `buf`. */
static const char *linear_from(scene *s, st_buf *buf, int32_t max_row)
{
    static sterna_error error;
    st_qact given = s->quant;
    given.buf = buf;
    given.max_row = max_row;
    st_linear_args args = {.weight = s->matrix, .quant = &given, .dst = s->y, .stride = 2 * DIM};
    s->batch.stream++;
    s->dev->backend->begin(s->dev, &s->batch);
    s->dev->backend->linear(s->dev, &args);
    return s->dev->backend->end(s->dev, &error) == STERNA_OK ? "" : error.message;
}

Test(checked, planes_that_the_caller_wrote_are_taken)
{
    static uint32_t memory[1024];
    for (int way = 0; way < 5; way++) {
        scene s = scene_open();
        const st_backend *b = s.dev->backend;
        arguments a = legal(&s);
        st_buf *buf;
        if (way == 0)
            cr_assert_eq(b->buf_wrap(s.dev, memory, sizeof memory, &buf, NULL), STERNA_OK);
        else
            cr_assert_eq(b->buf_create(s.dev, 4096, &buf, NULL), STERNA_OK);
        a.norm_quant.dst.buf = buf;
        if (way != 1) { /* an op quantises 4 rows */
            b->begin(s.dev, &s.batch);
            b->norm_quant(s.dev, &a.norm_quant);
            cr_assert_eq(b->end(s.dev, NULL), STERNA_OK);
        }
        if (way == 2)
            b->write(s.dev, buf, 0, memory, 4);
        if (way == 3)
            b->fill(s.dev, buf, 0);
        static const char *const said[] = {
            "", "linear: the int8 input was neither quantised nor written", "", "",
            "linear: reads 64 columns, groups 0 and 0, of activations quantised with 64, 0 and 0"};
        cr_expect_str_eq(linear_from(&s, buf, 5), said[way]); /* read as 5 rows */
        b->buf_destroy(s.dev, buf);
        scene_close(&s);
    }
    scene s = scene_open();
    s.dev->backend->write(s.dev, s.small, 0, memory, 4);
    cr_expect_str_eq(linear_from(&s, s.small, TOKENS),
                     "linear: quantised activations holds 4 bytes; 1 rows of 160 need 640");
    scene_close(&s);
}

Test(checked, new_buffers_are_poisoned)
{
    scene s = scene_open();
    float value[4];
    s.dev->backend->read(s.dev, s.kv, 0, value, sizeof value);
    for (int i = 0; i < 4; i++)
        cr_assert(isnan(value[i]));
    scene_close(&s);
}

Test(checked, weights_that_contradict_themselves)
{
    scene s = scene_open();
    static uint8_t codes[64];
    static const float scales[4] = {1, 1, 1, 1};
    st_matrix m = {.type = ST_TERNARY,
                   .scale_type = ST_F32,
                   .rows = 4,
                   .cols = 64,
                   .row_bytes = 16,
                   .data = codes,
                   .scale = scales};
    st_matrix wide[2] = {m, m};
    st_weight *w = NULL;
    sterna_error error;
    const st_backend *b = s.dev->backend;
    wide[1].cols = 60;
    cr_assert_lt(b->weight_create(s.dev, wide, 2, NULL, 1.0f, NULL, &w, &error), 0);
    cr_assert(strstr(error.message, "part 1 is ternary with groups of 0 and 60 columns"), "%s",
              error.message);
    cr_assert_lt(b->weight_create(s.dev, &m, 1, NULL, NAN, NULL, &w, &error), 0);
    m.group = 48;
    cr_assert_lt(b->weight_create(s.dev, &m, 1, NULL, 1.0f, NULL, &w, &error), 0);
    m.group = 0;
    static const unsigned char blocks[DIM][2 * ST_BLOCK_BYTES];
    const st_matrix good = {.type = ST_Q8,
                            .scale_type = ST_F16,
                            .rows = DIM,
                            .cols = 64,
                            .group = 32,
                            .blocks = true,
                            .row_bytes = sizeof blocks[0],
                            .data = blocks};
    cr_assert_eq(b->weight_create(s.dev, &good, 1, NULL, 1.0f, NULL, &w, &error), STERNA_OK);
    b->weight_destroy(s.dev, w);
    st_matrix bad[7] = {good, good, good, good, good, good, good};
    bad[0].type = ST_TERNARY;
    bad[0].row_bytes = 80;
    bad[1].scale_type = ST_BF16;
    bad[2].cols = 48;
    bad[3].group = 64;
    bad[4].row_bytes--;
    bad[5].scale = blocks;
    bad[6].blocks = false;
    for (int i = 0; i < 7; i++)
        cr_assert_eq(b->weight_create(s.dev, &bad[i], 1, NULL, 1.0f, NULL, &w, &error), STERNA_E_ARGUMENT,
                     "%d", i);
    st_matrix both[2] = {good, good};
    both[1].blocks = false;
    both[1].scale = blocks;
    cr_assert_eq(b->weight_create(s.dev, both, 2, NULL, 1.0f, NULL, &w, &error), STERNA_E_ARGUMENT);
    int32_t row[2] = {1, 1}, col[2] = {5, 5};
    uint16_t value[2] = {0, 0};
    st_outliers outliers = {2, row, col, value};
    cr_assert_lt(b->weight_create(s.dev, &m, 1, NULL, 1.0f, &outliers, &w, &error), 0);
    cr_assert(strstr(error.message, "outlier 1 is not after"), "%s", error.message);
    row[1] = 4;
    cr_assert_lt(b->weight_create(s.dev, &m, 1, NULL, 1.0f, &outliers, &w, &error), 0);
    cr_assert(strstr(error.message, "outlier 1 at row 4"), "%s", error.message);
    scene_close(&s);
}
