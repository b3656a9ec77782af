#include "host/validate/suite.h"

typedef struct norm_case {
    st_norm_args args;
    st_case_batch batch;
    int src, dst, weight;
} norm_case;

static void run(const st_case *c, st_rig *rig)
{
    const norm_case *p = c->args;
    st_norm_args args = p->args;
    args.src = rig->buf[p->src];
    args.dst = rig->buf[p->dst];
    args.weight = rig->buf[p->weight];
    st_batch batch = st_rig_batch(c, rig, &p->batch);
    st_rig_begin(rig, &batch);
    rig->dev->backend->norm(rig->dev, &args);
    st_rig_end(c, rig);
}

static void one(st_suite *suite, int i, st_fill fill, int32_t m, int32_t k)
{
    int32_t n = 1;
    st_suite_shape(suite, &m, &n, &k);
    static const float eps[] = {1e-5f, 1e-6f, 0.0f, 0.5f};
    bool out = ST_ONE_IN(3, i, 1), accumulate = ST_ONE_IN(2, i, 2),
         in_place = !out && !accumulate && ST_ONE_IN(2, i, 3);
    float e = fill == ST_FILL_ZERO ? 1e-6f : ST_PICK(eps, i, 4);
    st_case *c = st_case_begin(suite, ST_OP_NORM, m, 1, k, "case %d: %s, eps %g, rows %s%s%s", i,
                               st_fill_names[fill], (double)e, out ? "out" : "token",
                               accumulate ? ", accumulate" : "", in_place ? ", in place" : "");
    norm_case *p = st_case_alloc(c, sizeof *p);
    int32_t n_token = out ? m + 3 : m;
    p->batch = st_case_rows(c, n_token, out ? m : 0, true);
    p->args = (st_norm_args){
        .dim = k, .eps = e, .accumulate = accumulate, .rows = out ? ST_ROWS_OUT : ST_ROWS_TOKEN};
    size_t bytes = (size_t)m * (size_t)k * sizeof(float);
    p->src =
        st_case_buf_add(c, st_fill_floats(c, fill, n_token, k), (size_t)n_token * (size_t)k * sizeof(float));
    const float *old = accumulate ? st_fill_floats(c, ST_FILL_UNIFORM, m, k) : NULL;
    p->dst = in_place ? p->src : st_case_buf_add(c, old, bytes);
    p->weight = st_case_buf_add(c, st_fill_floats(c, ST_FILL_UNIFORM, 1, k), (size_t)k * sizeof(float));
    st_case_plane(c, (st_plane){"dst", ST_PLANE_F32, p->dst, 0, (size_t)k * sizeof(float), m, k,
                                out ? p->batch.host_out : p->batch.host_pos});
    c->args = p;
    c->run = run;
    st_case_end(c);
}

void st_validate_norm(st_suite *suite)
{
    static const int32_t rows[] = {1, 2, 3, 5, 8, 13, 33};
    static const int32_t cols[] = {1,   2,   7,   8,   9,   15,  16,  17,  31,  63,  64,   65,   127,  128,
                                   129, 255, 256, 257, 383, 511, 512, 513, 767, 769, 1009, 1024, 2051, 4099};
    for (int i = 0; i < st_suite_tile_count(suite, 200); i++)
        one(suite, i, (st_fill)(i % ST_FILL_COUNT), ST_PICK(rows, i, 5), ST_PICK(cols, i, 6));
    for (int i = 0; i < st_suite_real_count(suite, 2); i++)
        one(suite, i, i ? ST_FILL_LIMIT : ST_FILL_UNIFORM, 8, 2560);
}
