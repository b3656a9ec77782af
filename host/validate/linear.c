#include "host/validate/suite.h"

typedef struct linear_case {
    st_linear_args args;
    st_qact quant;
    st_case_batch batch;
    int src, dst;
} linear_case;

static void run(const st_case *c, st_rig *rig)
{
    const linear_case *p = c->args;
    st_linear_args args = p->args;
    st_qact quant = st_case_qact(&p->quant, rig, p->src);
    args.weight = rig->weight;
    args.quant = p->quant.cols ? &quant : NULL;
    args.src = p->quant.cols ? NULL : rig->buf[p->src];
    args.dst = rig->buf[p->dst];
    st_batch batch = st_rig_batch(c, rig, &p->batch);
    st_rig_begin(rig, &batch);
    rig->dev->backend->linear(rig->dev, &args);
    st_rig_end(c, rig);
}

static int32_t segment_of(int32_t group, int32_t act_group)
{
    return !group ? act_group : !act_group ? group : (int32_t)st_min(group, act_group);
}

/* Input, output and batch of the case. */
static linear_case *build(st_case *c, st_fill fill, int i, const st_weight_spec *w, bool int8,
                          int32_t act_group)
{
    linear_case *p = st_case_alloc(c, sizeof *p);
    *p = (linear_case){
        .args = {.accumulate = ST_ONE_IN(3, i, 3), .rows = ST_ONE_IN(4, i, 4) ? ST_ROWS_OUT : ST_ROWS_TOKEN}};
    bool out = p->args.rows == ST_ROWS_OUT;
    p->batch = st_case_rows(c, out ? c->m + 1 : c->m, out ? c->m : 0, ST_ONE_IN(2, i, 8));
    if (int8) {
        p->quant = (st_qact){.max_row = c->m + i % 2,
                             .cols = c->k,
                             .act_group = act_group,
                             .sum_group = segment_of(w->group, act_group)};
        p->src = st_case_buf_add(c, st_fill_qact(c, fill, &p->quant), st_qact_planes(&p->quant).bytes);
    } else {
        size_t bytes = (size_t)c->m * (size_t)c->k * sizeof(float);
        p->src = st_case_buf_add(
            c, st_fill_floats(c, fill == ST_FILL_LIMIT ? ST_FILL_UNIFORM : fill, c->m, c->k), bytes);
    }
    p->args.column = ST_ONE_IN(4, i, 9) ? 3 : 0;
    p->args.stride = c->n + p->args.column + (ST_ONE_IN(4, i, 10) ? 5 : 0);
    size_t row = (size_t)p->args.stride * sizeof(float);
    float *old = p->args.accumulate ? st_fill_floats(c, ST_FILL_UNIFORM, c->m, p->args.stride) : NULL;
    p->dst = st_case_buf_add(c, old, (size_t)c->m * row);
    st_case_plane(c, (st_plane){"dst", ST_PLANE_F32, p->dst, (size_t)p->args.column * sizeof(float), row,
                                c->m, c->n, out ? p->batch.host_out : p->batch.host_pos});
    return p;
}

static void end(st_case *c, linear_case *p)
{
    c->args = p;
    c->run = run;
    st_case_end(c);
}

static void one(st_suite *suite, int i, st_fill fill, st_type type, bool int8, int32_t m, int32_t n,
                int32_t k)
{
    static const st_type scale_types[] = {ST_F16, ST_BF16, ST_F32};
    static const int32_t act_groups[] = {0, 0, 32, 64, 128, 256};
    st_weight_spec w = st_pick_weight(i, type, ST_PICK(scale_types, i, 1), &k);
    st_suite_shape(suite, &m, &n, &k);
    int32_t act_group = int8 ? ST_PICK(act_groups, i, 2) : 0;
    st_case *c = st_case_begin(
        suite, ST_OP_LINEAR, m, n, k, "case %d: %s%s%s x %s, %s%s, group %d of %s, act group %d%s%s%s%s%s%s",
        i, st_type_name(type), w.blocks ? " blocks" : "", w.lasting ? " that last" : "",
        int8 ? "int8" : "f32", st_fill_names[fill], w.code3 ? " with +2" : "", w.group,
        st_type_name(w.scale_type), act_group, w.two_parts ? ", two parts" : "", w.bias ? ", bias" : "",
        w.out_scale ? ", out scale" : "", w.outliers ? ", outliers" : "",
        ST_ONE_IN(3, i, 3) ? ", accumulate" : "", ST_ONE_IN(4, i, 4) ? ", rows out" : "");
    st_fill_weight(c, fill, &w);
    end(c, build(c, fill, i, &w, int8, act_group));
}

/* Sums over all columns at the codes' and activations' limits, and shapes at which kernels change their way:
 * as many columns as fit a cache, as many rows as fit a buffer. */
static void border(st_suite *suite, int i, st_fill fill, st_weight_spec w, bool int8, const int32_t shape[3])
{
    int32_t m = shape[0], n = shape[1], k = shape[2];
    st_suite_shape(suite, &m, &n, &k);
    st_case *c =
        st_case_begin(suite, ST_OP_LINEAR, m, n, k, "border %d: %s x %s, %s%s", i, st_type_name(w.type),
                      int8 ? "int8" : "f32", st_fill_names[fill], w.code3 ? " with +2" : "");
    st_fill_weight(c, fill, &w);
    end(c, build(c, fill, i, &w, int8, 0));
}

static void borders(st_suite *suite)
{
    static const int32_t shapes[][3] = {
        {1, 3, 131072},  {2, 2, 131072},  {4, 2, 131072},  {5, 2, 131072},  {12, 2, 131072}, {13, 2, 131072},
        {25, 1, 131072}, {13, 17, 16368}, {13, 17, 16384}, {13, 17, 16385}, {25, 33, 16385}, {7, 17, 32768},
        {7, 17, 32769},  {119, 3, 16384}, {120, 3, 16384}, {121, 3, 16384}, {124, 2, 16384}, {125, 2, 16384},
        {126, 2, 16384}, {127, 2, 16384}, {241, 1, 16384}, {12, 31, 1024},  {13, 1, 131072}, {64, 47, 512}};
    static const st_fill fills[] = {ST_FILL_PLUS, ST_FILL_MINUS, ST_FILL_LIMIT, ST_FILL_ALTERNATING};
    for (int i = 0; i < (int)(sizeof shapes / sizeof shapes[0]); i++)
        border(suite, i, fills[i % 4],
               (st_weight_spec){.type = ST_TERNARY, .scale_type = ST_F32, .code3 = i / 4 % 2 == 0}, true,
               shapes[i]);
    static const int32_t q8_shapes[][3] = {{1, 129, 257},  {2, 129, 257},  {3, 129, 257},    {4, 129, 257},
                                           {5, 129, 257},  {6, 129, 257},  {7, 129, 257},    {8, 129, 257},
                                           {9, 129, 257},  {10, 129, 257}, {11, 129, 257},   {12, 129, 257},
                                           {13, 129, 257}, {1, 3, 131072}, {12, 17, 131072}, {25, 2, 131072}};
    for (int i = 0; i < (int)(sizeof q8_shapes / sizeof q8_shapes[0]); i++)
        border(suite, 100 + i, fills[i % 4], (st_weight_spec){.type = ST_Q8, .scale_type = ST_F32}, true,
               q8_shapes[i]);
    const st_weight_spec blocks = {
        .type = ST_Q8, .scale_type = ST_F16, .group = ST_BLOCK_COLS, .blocks = true, .lasting = true};
    for (int m = 1; m <= 13; m++) /* the rows of input that a kernel takes together */
        border(suite, 200 + m, ST_FILL_UNIFORM, blocks, false, (const int32_t[]){m, 19, 544});
}

void st_validate_linear(st_suite *suite)
{
    static const struct {
        st_type type;
        bool int8;
    } kinds[] = {{ST_TERNARY, true}, {ST_TERNARY, true}, {ST_F16, false},  {ST_Q8, true},
                 {ST_TERNARY, true}, {ST_Q8, false},     {ST_BF16, false}, {ST_TERNARY, false},
                 {ST_F32, false},    {ST_Q8, false}};
    static const int32_t rows[] = {1, 2, 3, 4, 5, 6, 7, 8, 9, 11, 12, 13, 16, 17, 24, 25, 33};
    static const int32_t outs[] = {1, 2, 3, 7, 8, 9, 15, 16, 17, 31, 32, 33, 47, 48, 49, 63, 65, 127, 129};
    static const int32_t cols[] = {1,   2,    3,    13,   15,   16,   17,   31,   32,   33,  63,  64,
                                   65,  127,  128,  129,  191,  255,  256,  257,  383,  384, 385, 511,
                                   513, 1021, 1023, 1024, 1025, 1536, 2047, 2049, 3073, 4097};
    for (int i = 0; i < st_suite_tile_count(suite, 900); i++)
        one(suite, i, (st_fill)(st_mix(i, 11) % ST_FILL_COUNT), kinds[i % 10].type, kinds[i % 10].int8,
            ST_PICK(rows, i, 5), ST_PICK(outs, i, 6), ST_PICK(cols, i, 7));
    for (int i = 0; i < st_suite_tile_count(suite, 150); i++) /* what decoding computes most */
        one(suite, 2000 + i, (st_fill)(st_mix(i, 11) % ST_FILL_COUNT), i % 3 == 2 ? ST_Q8 : ST_TERNARY, true,
            1 + i % 2, ST_PICK(outs, i, 6), ST_PICK(cols, i, 7));
    static const int32_t wide[] = {21846, 43692, ST_MAX_COLS}; /* beyond what kernels have room to reorder */
    for (int i = 0; i < st_suite_tile_count(suite, 20); i++)
        one(suite, 1000 + i, ST_FILL_UNIFORM, kinds[i % 10].type, kinds[i % 10].int8, 1 + i % 8, 3,
            ST_PICK(wide, i, 7));
    if (st_suite_tile_count(suite, 1) > 0)
        borders(suite);
    for (int i = 0; i < st_suite_real_count(suite, 20); i++)
        one(suite, i, i < 10 ? ST_FILL_UNIFORM : ST_FILL_LIMIT, kinds[i % 10].type, kinds[i % 10].int8,
            i % 2 ? 8 : 1, i % 4 < 2 ? 2560 : 6912, i % 4 < 2 ? 6912 : 2560);
}
