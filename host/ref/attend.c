#include "host/ref/ref.h"

/* One row and head: its keys are positions [first, end) of the sequence. */
typedef struct query {
    const st_attend_args *args;
    const float *q;       /* f32 [head_dim] */
    const int32_t *table; /* i32 [max_blocks]: page of each 64 positions */
    int32_t kv_head, first, end;
} query;

/* Softmax over some keys, not normalised: o = sum of exp(s - max) * v. */
typedef struct partial {
    float max, denominator;
    float o[ST_MAX_HEAD_DIM];
} partial;

static void load(const query *u, int32_t j, int value, float *x)
{
    const st_kv *kv = &u->args->kv;
    int32_t slot = u->table[j / ST_KV_PAGE] * ST_KV_PAGE + j % ST_KV_PAGE;
    const uint16_t *from = st_ref_kv(kv, u->args->layer, slot, value, u->kv_head);
    for (int32_t i = 0; i < kv->head_dim; i++)
        x[i] = st_f16_to_f32(from[i]);
}

static float score(const query *u, int32_t j)
{
    const st_attend_args *a = u->args;
    float key[ST_MAX_HEAD_DIM];
    load(u, j, 0, key);
    float s = st_dot_qk(u->q, key, a->head_dim) * a->scale;
    if (a->softcap > 0.0f) {
        float inverse = 1.0f / a->softcap;
        s = a->softcap * st_tanh(s * inverse);
    }
    return s;
}

/* Keys [first, end), all of one partition. */
static void attend_partition(const query *u, int32_t first, int32_t end, partial *out)
{
    float s[ST_PARTITION], p[ST_PARTITION] = {0}; /* by lane; hidden keys keep 0 */
    float max = -INFINITY;
    for (int32_t j = first; j < end; j++) {
        s[j % ST_PARTITION] = score(u, j);
        max = s[j % ST_PARTITION] > max ? s[j % ST_PARTITION] : max;
    }
    memset(out->o, 0, sizeof out->o);
    for (int32_t j = first; j < end; j++) {
        float value[ST_MAX_HEAD_DIM];
        load(u, j, 1, value);
        p[j % ST_PARTITION] = st_exp(s[j % ST_PARTITION] - max);
        for (int32_t i = 0; i < u->args->head_dim; i++)
            out->o[i] += p[j % ST_PARTITION] * value[i];
    }
    out->max = max;
    out->denominator = st_fold_lanes(p); /* one key a lane: ST_PARTITION is ST_LANES */
}

static void merge(partial *all, const partial *next, int32_t head_dim)
{
    float max = next->max > all->max ? next->max : all->max;
    float a = st_exp(all->max - max), b = st_exp(next->max - max);
    all->max = max;
    all->denominator = all->denominator * a + next->denominator * b;
    for (int32_t i = 0; i < head_dim; i++)
        all->o[i] = all->o[i] * a + next->o[i] * b;
}

static void attend_head(const query *u, float *dst)
{
    partial all, next;
    int32_t j = u->first;
    for (; j < u->end; j = (j / ST_PARTITION + 1) * ST_PARTITION) {
        int32_t end = (int32_t)st_min(u->end, (j / ST_PARTITION + 1) * ST_PARTITION);
        attend_partition(u, j, end, j == u->first ? &all : &next);
        if (j != u->first)
            merge(&all, &next, u->args->head_dim);
    }
    float factor = 1.0f / all.denominator;
    for (int32_t i = 0; i < u->args->head_dim; i++)
        dst[i] = all.o[i] * factor;
}

uint64_t st_ref_attend(st_ref_device *d, const st_attend_args *a)
{
    const st_batch *batch = d->batch;
    const int32_t *pos = st_ref_data(batch->pos), *seq = st_ref_data(batch->seq);
    const int32_t *table = st_ref_data(batch->table), *length = st_ref_data(batch->length);
    uint64_t n_key = 0;
    for (int32_t r = 0; r < batch->n_token; r++) {
        if (st_ref_token_row(d, ST_ROWS_TOKEN, r) < 0)
            continue;
        query u = {.args = a, .table = table + (size_t)seq[r] * (size_t)batch->max_blocks};
        u.first = a->window > 0 && pos[r] >= a->window ? pos[r] - a->window + 1 : 0;
        u.end = length[seq[r]];
        if (a->causal)
            u.end = (int32_t)st_min(u.end, pos[r] + 1);
        else if (a->window > 0)
            u.end = (int32_t)st_min(u.end, (int64_t)pos[r] + a->window);
        assert(u.first < u.end); /* a row sees at least itself */
        n_key += (uint64_t)(u.end - u.first);
        for (int32_t h = 0; h < a->n_head; h++) {
            u.q = (const float *)st_ref_data(a->qkv) + (size_t)r * (size_t)a->stride +
                  (size_t)h * (size_t)a->head_dim;
            u.kv_head = h / (a->n_head / a->n_kv_head);
            size_t row = (size_t)r * (size_t)a->n_head + (size_t)h;
            attend_head(&u, (float *)st_ref_data(a->dst) + row * (size_t)a->head_dim);
        }
    }
    return n_key;
}
