#include "host/validate/suite.h"

typedef struct norm_quant_case {
    st_norm_quant_args args;
    st_case_batch batch;
    int src, dst, weight, sign; /* weight, sign: -1 = none */
} norm_quant_case;

static void run(const st_case *c, st_rig *rig)
{
    const norm_quant_case *p = c->args;
    st_norm_quant_args args = p->args;
    args.src = rig->buf[p->src];
    args.dst = st_case_qact(&p->args.dst, rig, p->dst);
    args.weight = p->weight < 0 ? NULL : rig->buf[p->weight];
    args.rotation.sign = p->sign < 0 ? NULL : rig->buf[p->sign];
    st_batch batch = st_rig_batch(c, rig, &p->batch);
    st_rig_begin(rig, &batch);
    rig->dev->backend->norm_quant(rig->dev, &args);
    st_rig_end(c, rig);
}

static void one(st_suite *suite, int i, st_fill fill, int32_t m, int32_t k)
{
    int32_t n = 1;
    st_suite_shape(suite, &m, &n, &k);
    st_quant_spec q = st_pick_quant(i, k);
    bool out = ST_ONE_IN(4, i, 1), norm = !ST_ONE_IN(3, i, 2);
    float eps = i % 2 ? 1e-5f : 1e-6f;
    st_case *c =
        st_case_begin(suite, ST_OP_NORM_QUANT, m, 1, k,
                      "case %d: %s, eps %g, rows %s, %s, act group %d, "
                      "sum group %d, rotation %d%s",
                      i, st_fill_names[fill], (double)eps, out ? "out" : "token", norm ? "norm" : "no norm",
                      q.act_group, q.sum_group, q.block, q.sign ? " with signs" : "");
    norm_quant_case *p = st_case_alloc(c, sizeof *p);
    int32_t n_token = out ? m + 2 : m;
    p->batch = st_case_rows(c, n_token, out ? m : 0, true);
    p->args = (st_norm_quant_args){
        .eps = eps, .rotation = {q.block, NULL}, .rows = out ? ST_ROWS_OUT : ST_ROWS_TOKEN};
    p->args.dst =
        (st_qact){.max_row = m + i % 2, .cols = k, .act_group = q.act_group, .sum_group = q.sum_group};
    size_t row = (size_t)k * sizeof(float);
    p->src = st_case_buf_add(c, st_fill_floats(c, fill, n_token, k), (size_t)n_token * row);
    p->weight = norm ? st_case_buf_add(c, st_fill_floats(c, ST_FILL_UNIFORM, 1, k), row) : -1;
    p->sign = q.sign ? st_case_buf_add(c, st_fill_signs(c, k), row) : -1;
    p->dst = st_case_buf_add(c, NULL, st_qact_planes(&p->args.dst).bytes);
    st_case_qact_planes(c, &p->args.dst, p->dst, m, out ? p->batch.host_out : p->batch.host_pos);
    c->args = p;
    c->run = run;
    st_case_end(c);
}

void st_validate_norm_quant(st_suite *suite)
{
    static const int32_t rows[] = {1, 2, 3, 5, 8, 13, 33};
    static const int32_t cols[] = {1,   2,   7,   8,    9,    31,   32,   63,   64,  65,
                                   127, 128, 129, 255,  256,  257,  383,  384,  511, 512,
                                   513, 767, 769, 1009, 1024, 2051, 4096, 4099, 4352};
    for (int i = 0; i < st_suite_tile_count(suite, 300); i++)
        one(suite, i, (st_fill)(i % ST_FILL_COUNT), ST_PICK(rows, i, 5), ST_PICK(cols, i, 6));
    for (int i = 0; i < st_suite_real_count(suite, 2); i++)
        one(suite, i, i ? ST_FILL_LIMIT : ST_FILL_UNIFORM, 8, 2560);
}
