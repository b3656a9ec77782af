#include "host/validate/suite.h"

typedef struct embed_case {
    st_embed_args args;
    st_case_batch batch;
    int dst, sign; /* sign: -1 = none */
} embed_case;

static void run(const st_case *c, st_rig *rig)
{
    const embed_case *p = c->args;
    st_embed_args args = p->args;
    args.table = rig->weight;
    args.dst = rig->buf[p->dst];
    args.rotation.sign = p->sign < 0 ? NULL : rig->buf[p->sign];
    st_batch batch = st_rig_batch(c, rig, &p->batch);
    st_rig_begin(rig, &batch);
    rig->dev->backend->embed(rig->dev, &args);
    st_rig_end(c, rig);
}

static void one(st_suite *suite, int i, st_fill fill, int32_t m, int32_t n, int32_t k)
{
    static const float scales[] = {1.0f, 0.3f, 12.0f};
    static const st_type scale_types[] = {ST_F32, ST_F16, ST_BF16};
    st_weight_spec w = st_pick_weight(i, (st_type)(i % 5), ST_PICK(scale_types, i, 1), &k);
    st_suite_shape(suite, &m, &n, &k);
    st_quant_spec q = st_pick_quant(i, k);
    w.bias = w.outliers = w.out_scale = false;
    float scale = ST_PICK(scales, i, 2);
    st_case *c = st_case_begin(
        suite, ST_OP_EMBED, m, n, k, "case %d: %s, %s%s%s, group %d of %s, scale %g, rotation %d%s", i,
        st_fill_names[fill], st_type_name(w.type), w.blocks ? " blocks" : "", w.lasting ? " that last" : "",
        w.group, st_type_name(w.scale_type), (double)scale, q.block, q.sign ? " with signs" : "");
    embed_case *p = st_case_alloc(c, sizeof *p);
    st_fill_weight(c, fill, &w);
    p->batch = st_case_rows(c, m, 0, true);
    p->args = (st_embed_args){.scale = scale, .rotation = {q.block, NULL}};
    p->sign = q.sign ? st_case_buf_add(c, st_fill_signs(c, k), (size_t)k * sizeof(float)) : -1;
    p->dst = st_case_buf_add(c, NULL, (size_t)m * (size_t)k * sizeof(float));
    st_case_plane(
        c, (st_plane){"dst", ST_PLANE_F32, p->dst, 0, (size_t)k * sizeof(float), m, k, p->batch.host_pos});
    c->args = p;
    c->run = run;
    st_case_end(c);
}

void st_validate_embed(st_suite *suite)
{
    static const int32_t rows[] = {1, 2, 3, 5, 8, 17}, vocab[] = {1, 2, 15, 16, 17, 33, 67};
    static const int32_t cols[] = {1,  2,   7,   15,  16,  17,  31,  32,  33,  63,  64,
                                   65, 127, 128, 129, 255, 256, 257, 383, 521, 1024};
    for (int i = 0; i < st_suite_tile_count(suite, 150); i++)
        one(suite, i, (st_fill)(st_mix(i, 3) % ST_FILL_COUNT), ST_PICK(rows, i, 5), ST_PICK(vocab, i, 6),
            ST_PICK(cols, i, 7));
    for (int i = 0; i < st_suite_real_count(suite, 10); i++)
        one(suite, i, i < 5 ? ST_FILL_UNIFORM : ST_FILL_LIMIT, 8, 512, 2560);
}
