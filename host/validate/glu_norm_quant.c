#include "host/validate/suite.h"

typedef struct glu_case {
    st_glu_norm_quant_args args;
    st_case_batch batch;
    int src, dst, weight, sign; /* weight, sign: -1 = none */
} glu_case;

static void run(const st_case *c, st_rig *rig)
{
    const glu_case *p = c->args;
    st_glu_norm_quant_args args = p->args;
    args.src = rig->buf[p->src];
    args.dst = st_case_qact(&p->args.dst, rig, p->dst);
    args.weight = p->weight < 0 ? NULL : rig->buf[p->weight];
    args.rotation.sign = p->sign < 0 ? NULL : rig->buf[p->sign];
    st_batch batch = st_rig_batch(c, rig, &p->batch);
    st_rig_begin(rig, &batch);
    rig->dev->backend->glu_norm_quant(rig->dev, &args);
    st_rig_end(c, rig);
}

static const char *const act_names[] = {"silu", "relu2", "gelu"};

/* Gates of every size where the activations bend: small, around +-10, and beyond the limits of exp. */
static float *gates(st_case *c, st_fill fill, int32_t m, int32_t k)
{
    float *x = st_fill_floats(c, fill, m, 2 * (int64_t)k);
    static const float spread[] = {1.0f, 4.0f, 12.0f, 60.0f};
    for (int64_t i = 0; fill == ST_FILL_UNIFORM && i < 2 * (int64_t)m * k; i++)
        x[i] *= spread[i % 4];
    /* Squares and cubes of these would leave the range of f32. */
    for (int64_t i = 0; fill == ST_FILL_LIMIT && i < 2 * (int64_t)m * k; i++)
        x[i] = fabsf(x[i]) > 1e4f ? st_random_real(c) * 1e4f : x[i];
    return x;
}

static void one(st_suite *suite, int i, st_fill fill, int32_t m, int32_t k)
{
    int32_t n = 1;
    st_suite_shape(suite, &m, &n, &k);
    st_quant_spec q = st_pick_quant(i, k);
    st_act act = (st_act)(i % 3);
    bool norm = !ST_ONE_IN(3, i, 2);
    st_case *c = st_case_begin(suite, ST_OP_GLU_NORM_QUANT, m, 1, k,
                               "case %d: %s, %s, %s, act group %d, sum group "
                               "%d, rotation %d%s",
                               i, st_fill_names[fill], act_names[act], norm ? "norm" : "no norm", q.act_group,
                               q.sum_group, q.block, q.sign ? " with signs" : "");
    glu_case *p = st_case_alloc(c, sizeof *p);
    p->batch = st_case_rows(c, m, 0, true);
    p->args = (st_glu_norm_quant_args){.act = act, .eps = 1e-5f, .rotation = {q.block, NULL}};
    p->args.dst =
        (st_qact){.max_row = m + i % 2, .cols = k, .act_group = q.act_group, .sum_group = q.sum_group};
    size_t row = (size_t)k * sizeof(float);
    p->src = st_case_buf_add(c, gates(c, fill, m, k), (size_t)m * 2 * row);
    p->weight = norm ? st_case_buf_add(c, st_fill_floats(c, ST_FILL_UNIFORM, 1, k), row) : -1;
    p->sign = q.sign ? st_case_buf_add(c, st_fill_signs(c, k), row) : -1;
    p->dst = st_case_buf_add(c, NULL, st_qact_planes(&p->args.dst).bytes);
    st_case_qact_planes(c, &p->args.dst, p->dst, m, p->batch.host_pos);
    c->args = p;
    c->run = run;
    st_case_end(c);
}

void st_validate_glu_norm_quant(st_suite *suite)
{
    static const int32_t rows[] = {1, 2, 3, 5, 8, 13};
    static const int32_t cols[] = {1,   2,   7,   8,    9,    31,   32,   63,   64,  65,
                                   127, 128, 129, 255,  256,  257,  383,  384,  511, 512,
                                   513, 767, 769, 1009, 1024, 2051, 4096, 4099, 4352};
    for (int i = 0; i < st_suite_tile_count(suite, 300); i++)
        one(suite, i, i % 2 ? ST_FILL_UNIFORM : (st_fill)(i / 2 % ST_FILL_COUNT), ST_PICK(rows, i, 5),
            ST_PICK(cols, i, 6));
    for (int i = 0; i < st_suite_real_count(suite, 6); i++)
        one(suite, i, i < 3 ? ST_FILL_UNIFORM : ST_FILL_LIMIT, 4, 6912);
}
