/* attend and rope_store. The layout of the KV cache is private to a device, so both are judged by what attend
 * returns: an attend case first stores the keys and values of whole sequences as they are; a rope_store case
 * ends with an attend over what was stored. */
#include "host/validate/suite.h"

enum { MAX_SEQ = 3 };

typedef struct attend_case {
    st_rope_store_args store;
    st_attend_args attend;
    st_case_batch stored, asked; /* steps: all positions; the rows that attend */
    int kv, stored_qkv, asked_qkv, dst, cos_sin, q_norm, k_norm; /* norms: -1 = none */
    bool same_step; /* rope_store: both ops in one step on one qkv */
} attend_case;

static st_buf *maybe(const st_rig *rig, int index)
{
    return index < 0 ? NULL : rig->buf[index];
}

static void run(const st_case *c, st_rig *rig)
{
    const attend_case *p = c->args;
    const st_backend *backend = rig->dev->backend;
    st_rope_store_args store = p->store;
    store.qkv = rig->buf[p->stored_qkv];
    store.cos_sin = rig->buf[p->cos_sin];
    store.q_norm = maybe(rig, p->q_norm);
    store.k_norm = maybe(rig, p->k_norm);
    store.kv.buf = rig->buf[p->kv];
    st_attend_args attend = p->attend;
    attend.qkv = rig->buf[p->asked_qkv];
    attend.dst = rig->buf[p->dst];
    attend.kv.buf = rig->buf[p->kv];
    st_batch batch = st_rig_batch(c, rig, &p->stored);
    st_rig_begin(rig, &batch);
    backend->rope_store(rig->dev, &store);
    if (!p->same_step) {
        st_rig_end(c, rig);
        batch = st_rig_batch(c, rig, &p->asked);
        batch.stream |= UINT64_C(1) << 63;
        st_rig_begin(rig, &batch);
    }
    backend->attend(rig->dev, &attend);
    st_rig_end(c, rig);
}

static int integers(st_case *c, const int32_t *values, int32_t n)
{
    return st_case_buf_add(c, values, (size_t)n * sizeof *values);
}

/* Sequences with pages in shuffled order, some pages of the cache unused. */
typedef struct sequences {
    int32_t n_seq, max_blocks, n_page;
    int32_t total; /* positions of all sequences and, in the step that stores them, a few rows of padding */
    int32_t length[MAX_SEQ];
    int32_t *table;
} sequences;

static sequences lay_out(st_case *c, int32_t n_seq, int32_t longest)
{
    sequences s = {.n_seq = n_seq,
                   .total = st_random_below(c, 3),
                   .max_blocks = (int32_t)st_ceil_div(longest, ST_KV_PAGE)};
    int32_t n_table = n_seq * s.max_blocks;
    s.n_page = n_table + 3;
    s.table = st_case_alloc(c, (size_t)n_table * sizeof *s.table);
    int32_t *page = st_case_alloc(c, (size_t)s.n_page * sizeof *page);
    for (int32_t i = 0; i < s.n_page; i++) {
        int32_t j = st_random_below(c, i + 1);
        page[i] = page[j];
        page[j] = i;
    }
    for (int32_t i = 0; i < n_seq; i++) {
        s.length[i] = i == 0 ? longest : 1 + st_random_below(c, longest);
        s.total += s.length[i];
        for (int32_t b = 0; b < s.max_blocks; b++) /* entries past the end are no pages at all */
            s.table[i * s.max_blocks + b] = b * ST_KV_PAGE < s.length[i] ? page[i * s.max_blocks + b] : -1;
    }
    return s;
}

/* A step over `n` rows of the sequences; seq[i] < 0: padding. */
static st_case_batch step(st_case *c, const sequences *s, int32_t n, const int32_t *seq, const int32_t *pos)
{
    int32_t *slot = st_case_alloc(c, (size_t)n * sizeof *slot),
            *row = st_case_alloc(c, (size_t)n * sizeof *row);
    for (int32_t i = 0; i < n; i++) {
        bool live = pos[i] >= 0;
        row[i] = live ? seq[i] : 0;
        slot[i] =
            live ? s->table[seq[i] * s->max_blocks + pos[i] / ST_KV_PAGE] * ST_KV_PAGE + pos[i] % ST_KV_PAGE
                 : 0;
    }
    st_case_batch b = {.n_token = n, .n_seq = s->n_seq, .max_blocks = s->max_blocks, .host_pos = pos};
    int32_t zero = 0;
    b.token = integers(c, row, n);
    b.pos = integers(c, pos, n);
    b.seq = integers(c, row, n);
    b.slot = integers(c, slot, n);
    b.table = integers(c, s->table, s->n_seq * s->max_blocks);
    b.length = integers(c, s->length, s->n_seq);
    b.out = integers(c, &zero, 1);
    return b;
}

/* The step that stores every position of every sequence, in a shuffled order. */
static st_case_batch store_all(st_case *c, const sequences *s)
{
    int32_t *seq = st_case_alloc(c, (size_t)s->total * sizeof *seq),
            *pos = st_case_alloc(c, (size_t)s->total * sizeof *pos);
    int32_t n = 0;
    for (int32_t i = 0; i < s->n_seq; i++)
        for (int32_t j = 0; j < s->length[i]; j++)
            seq[n] = i, pos[n++] = j;
    for (; n < s->total; n++)
        seq[n] = pos[n] = -1;
    while (n > 1) {
        int32_t at = st_random_below(c, n--), other_seq = seq[at], other_pos = pos[at];
        seq[at] = seq[n], pos[at] = pos[n];
        seq[n] = other_seq, pos[n] = other_pos;
    }
    return step(c, s, s->total, seq, pos);
}

static float *heads(st_case *c, int32_t rows, int32_t stride, float size)
{
    float *x = st_fill_floats(c, ST_FILL_UNIFORM, rows, stride);
    for (int64_t i = 0; i < (int64_t)rows * stride; i++)
        x[i] *= size;
    return x;
}

static float *angles(st_case *c, int32_t n_position, int32_t n_rot)
{
    float *table = st_case_alloc(c, (size_t)st_max(1, (int64_t)n_position * n_rot) * sizeof *table);
    for (int32_t p = 0; p < n_position; p++)
        for (int32_t i = 0; i < n_rot / 2; i++) {
            double angle = p * pow(10000.0, -2.0 * i / n_rot);
            table[p * n_rot + 2 * i] = (float)cos(angle);
            table[p * n_rot + 2 * i + 1] = (float)sin(angle);
        }
    return table;
}

/* A divisor of n_head near n_head / ratio. */
static int32_t kv_heads(int32_t n_head, int32_t ratio)
{
    int32_t n = (int32_t)st_max(1, n_head / ratio);
    while (n_head % n)
        n--;
    return n;
}

/* What both ops share: cache, head counts, and rows of `total` stored positions. */
static attend_case *build(st_case *c, int i, const sequences *s, int32_t n_kv_head)
{
    attend_case *p = st_case_alloc(c, sizeof *p);
    *p = (attend_case){.q_norm = -1, .k_norm = -1};
    int32_t n_layer = 1 + i % 2;
    st_kv kv = {.n_page = s->n_page, .n_layer = n_layer, .n_kv_head = n_kv_head, .head_dim = c->k};
    p->store = (st_rope_store_args){.stride = (c->n + 2 * n_kv_head) * c->k + (ST_ONE_IN(3, i, 20) ? 4 : 0),
                                    .n_head = c->n,
                                    .n_kv_head = n_kv_head,
                                    .head_dim = c->k,
                                    .eps = 1e-6f,
                                    .layer = n_layer - 1,
                                    .kv = kv};
    p->attend = (st_attend_args){.stride = p->store.stride,
                                 .n_head = c->n,
                                 .n_kv_head = n_kv_head,
                                 .head_dim = c->k,
                                 .layer = p->store.layer,
                                 .scale = 1.0f / sqrtf((float)c->k),
                                 .causal = true,
                                 .kv = kv};
    p->stored = store_all(c, s);
    p->kv = st_case_buf_internal(c, st_kv_bytes(kv.n_page, kv.n_layer, kv.n_kv_head, kv.head_dim));
    size_t row = (size_t)p->store.stride * sizeof(float);
    p->stored_qkv = st_case_buf_add(c, heads(c, s->total, p->store.stride, ST_ONE_IN(4, i, 21) ? 6.0f : 1.5f),
                                    (size_t)s->total * row);
    c->args = p;
    c->run = run;
    return p;
}

static void result(st_case *c, attend_case *p, int32_t m, const int32_t *live)
{
    size_t row = (size_t)c->n * (size_t)c->k * sizeof(float);
    p->dst = st_case_buf_add(c, NULL, (size_t)m * row);
    st_case_plane(c, (st_plane){"attend dst", ST_PLANE_F32, p->dst, 0, row, m, c->n * c->k, live});
}

static void one_attend(st_suite *suite, int i, int32_t m, int32_t n, int32_t k, int32_t longest)
{
    st_suite_shape(suite, &m, &n, &k);
    static const int32_t windows[] = {0, 0, 1, 2, 33, 256, 300}, ratios[] = {1, 2, 4, 64};
    int32_t window = ST_PICK(windows, i, 2), n_kv_head = kv_heads(n, n == 64 ? 64 : ST_PICK(ratios, i, 3));
    int32_t n_seq = 1 + (int32_t)(st_mix(i, 4) % MAX_SEQ);
    float softcap = ST_ONE_IN(4, i, 5) ? 5.0f : 0.0f;
    bool causal = !ST_ONE_IN(4, i, 6);
    st_case *c = st_case_begin(suite, ST_OP_ATTEND, m, n, k,
                               "case %d: %d key heads, %d sequences up to %d, window %d, "
                               "softcap %g, %s",
                               i, n_kv_head, n_seq, longest, window, (double)softcap,
                               causal ? "causal" : "not causal");
    sequences s = lay_out(c, n_seq, longest);
    attend_case *p = build(c, i, &s, n_kv_head);
    p->attend.window = window;
    p->attend.softcap = softcap;
    p->attend.causal = causal;
    float unused = 0;
    p->cos_sin = st_case_buf_add(c, &unused, sizeof unused);
    int32_t *seq = st_case_alloc(c, (size_t)m * sizeof *seq),
            *pos = st_case_alloc(c, (size_t)m * sizeof *pos);
    bool prompt = ST_ONE_IN(2, i, 11); /* rows of a sequence follow each other, to its end */
    for (int32_t r = 0; r < m; r++) {
        seq[r] = prompt ? r * n_seq / m : r % n_seq;
        int32_t last = s.length[seq[r]] - 1;
        if (prompt)
            pos[r] = (int32_t)st_max(0, last - ((seq[r] + 1) * m - 1) / n_seq + r);
        else
            pos[r] = r < n_seq ? last : st_random_below(c, last + 1);
        if (r > 0 && st_random_below(c, 6) == 0)
            pos[r] = -1;
    }
    p->asked = step(c, &s, m, seq, pos);
    p->asked_qkv = st_case_buf_add(c, heads(c, m, p->attend.stride, 2.0f),
                                   (size_t)m * (size_t)p->attend.stride * sizeof(float));
    result(c, p, m, pos);
    st_case_end(c);
}

void st_validate_attend(st_suite *suite)
{
    static const int32_t rows[] = {1, 2, 3, 4, 7, 9}, n_heads[] = {1, 2, 3, 4, 6, 8, 13, 16},
                         longest[] = {1, 2, 5, 31, 63, 64, 65, 127, 129, 255, 256, 257, 400, 511, 513, 700};
    static const int32_t dims[] = {2, 4, 8, 14, 15, 16, 17, 24, 32, 33, 48, 64, 80, 96, 128, 129, 256};
    for (int i = 0; i < st_suite_tile_count(suite, 200); i++)
        one_attend(suite, i, ST_PICK(rows, i, 7), ST_PICK(n_heads, i, 8), ST_PICK(dims, i, 9),
                   ST_PICK(longest, i, 10));
    for (int i = 0; i < st_suite_tile_count(suite, 12);
         i++) /* many queries of few keys: little scratch each */
        one_attend(suite, 1000 + i, 2 + i % 2, 64, i % 2 ? 16 : 8, 600);
    for (int i = 0; i < st_suite_real_count(suite, 2); i++)
        one_attend(suite, i, 8, 20, 128, 2000);
}

static void one_store(st_suite *suite, int i, int32_t m, int32_t n, int32_t k)
{
    st_suite_shape(suite, &m, &n, &k);
    static const int32_t ratios[] = {1, 2, 4, 64};
    int32_t n_kv_head = kv_heads(n, ST_PICK(ratios, i, 3));
    int32_t n_rot = ST_ONE_IN(3, i, 4) ? k / 4 * 2 : ST_ONE_IN(6, i, 5) ? 0 : k / 2 * 2;
    st_pairing pairing = ST_ONE_IN(2, i, 6) ? ST_PAIR_HALF : ST_PAIR_ADJACENT;
    bool q_norm = ST_ONE_IN(3, i, 7), k_norm = ST_ONE_IN(3, i, 8);
    st_case *c =
        st_case_begin(suite, ST_OP_ROPE_STORE, m, n, k, "case %d: %d key heads, n_rot %d, pairs %s%s%s", i,
                      n_kv_head, n_rot, pairing == ST_PAIR_HALF ? "half" : "adjacent",
                      q_norm ? ", q norm" : "", k_norm ? ", k norm" : "");
    sequences s = lay_out(c, 1, m);
    attend_case *p = build(c, i, &s, n_kv_head);
    p->same_step = true;
    p->store.n_rot = n_rot;
    p->store.pairing = pairing;
    p->cos_sin =
        st_case_buf_add(c, angles(c, m, n_rot), (size_t)st_max(1, (int64_t)m * n_rot) * sizeof(float));
    size_t norm = (size_t)k * sizeof(float);
    p->q_norm = q_norm ? st_case_buf_add(c, st_fill_floats(c, ST_FILL_UNIFORM, 1, k), norm) : -1;
    p->k_norm = k_norm ? st_case_buf_add(c, st_fill_floats(c, ST_FILL_UNIFORM, 1, k), norm) : -1;
    p->asked_qkv = p->stored_qkv;
    st_case_plane(c, (st_plane){"queries", ST_PLANE_F32, p->stored_qkv, 0,
                                (size_t)p->store.stride * sizeof(float), s.total, n * k, p->stored.host_pos});
    result(c, p, s.total, p->stored.host_pos);
    st_case_end(c);
}

void st_validate_rope_store(st_suite *suite)
{
    static const int32_t rows[] = {1, 2, 3, 5, 9, 65, 130}, n_heads[] = {1, 2, 3, 4, 6, 8};
    static const int32_t dims[] = {2, 4, 8, 14, 15, 16, 17, 24, 32, 33, 48, 64, 80, 96, 128, 129, 256};
    for (int i = 0; i < st_suite_tile_count(suite, 150); i++)
        one_store(suite, i, ST_PICK(rows, i, 9), ST_PICK(n_heads, i, 10), ST_PICK(dims, i, 11));
    for (int i = 0; i < st_suite_real_count(suite, 2); i++)
        one_store(suite, i, 32, 20, 128);
}
