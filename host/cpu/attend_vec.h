/* attend for vectors of any width: a vector holds one dimension of consecutive keys (K is stored
 * transposed), then consecutive dimensions of one value.
 *
 * Up to 12 queries of one sequence and key head share every load and conversion of keys and values: the heads
 * of a group, and in a prompt neighbouring rows. Like the rows of linear_dense_vec.h they have the lanes of
 * st_dot_qk in slices that fold to one vector each.
 *
 * Threads take row blocks and key heads; where these are few (one long sequence), partitions of keys too,
 * whose results wait in the device's scratch and are merged in ascending order, as the contract wants it. */
#ifndef ST_CPU_ATTEND_VEC_H
#define ST_CPU_ATTEND_VEC_H

#include "host/cpu/vec.h"

enum { MOST = 12 /* queries that share keys */ };

/* Lanes of st_dot_qk, and vectors of values, that are summed at a time for n queries: at most 24 sums of 32
 * registers, 12 of 16. */
#define LANES(n)  ((VEC == 16 ? 16 : 8) >> ((n) == 1 ? 0 : (n) == 2 ? 1 : (n) == 4 ? 2 : 3))
#define VALUES(n) (LANES(n) < 8 ? LANES(n) : 8)

/* Softmax over some keys, not normalised. */
typedef struct partial {
    float max, sum;
    float o[ST_MAX_HEAD_DIM];
} partial;

/* Queries that share a sequence and a key head. */
typedef struct chunk {
    const st_attend_args *args;
    const int32_t *table;
    int32_t kv_head;
    int n;
    int32_t first[MOST], end[MOST];  /* what each sees */
    int32_t last;                    /* the last position that any sees */
    float *dst[MOST];                /* f32 [head_dim] */
    float q[ST_MAX_HEAD_DIM * MOST]; /* [head_dim][n] */
} chunk;

typedef float weights[MOST][ST_PARTITION];

static const uint16_t *kv_block(const chunk *c, int32_t position)
{
    return st_cpu_kv_block(&c->args->kv, c->table[position / ST_KV_PAGE], c->args->layer, c->kv_head);
}

/* Where what is `position` now has its counterpart in the next page, which is fetched meanwhile: pages lie
 * apart, and the processor does not see it coming. The last page is its own. */
static uintptr_t next_block(const chunk *c, int32_t position)
{
    int32_t next = position + ST_KV_PAGE;
    return (uintptr_t)kv_block(c, next / ST_KV_PAGE * ST_KV_PAGE <= c->last ? next : position);
}

/* ---- scores ---- */

INLINE void add_dimension(const float *q, const uint16_t *key, int32_t d, const int n, vec *sum)
{
    vec k = vec_load_f16(key + (size_t)d * ST_KV_PAGE);
    UNROLL for (int t = 0; t < n; t++)
    {
        sum[t] = vec_add(sum[t], vec_mul(k, vec_set(q[d * n + t])));
    }
}

/* st_dot_qk of n queries (a constant where this is inlined) with VEC consecutive keys; `key` points to
 * dimension 0 of the first. Fetches their share of the keys that are `ahead`. */
INLINE void dot_n(const float *q, const uint16_t *key, uintptr_t ahead, int32_t head_dim, const int n,
                  vec *out)
{
    const int n_lane = LANES(n), n_slice = ST_LANES_QK / n_lane, share = VEC * (int)sizeof *key;
    vec part[ST_LANES_QK][MOST];
    for (int s = 0; s < n_slice; s++) {
        vec sum[24];
        UNROLL for (int i = 0; i < n_lane * n; i++)
        {
            sum[i] = vec_zero();
        }
        int32_t d = s;
        for (; d - s + ST_LANES_QK <= head_dim; d += ST_LANES_QK) {
            UNROLL for (int i = 0; i < n_lane; i++)
            {
                if ((s + i * n_slice) * share % 64 == 0)
                    fetch_far(ahead + (size_t)((d + i * n_slice) * share));
                add_dimension(q, key, d + i * n_slice, n, sum + i * n);
            }
        }
        UNROLL for (int i = 0; i < n_lane; i++)
        {
            if (d + i * n_slice < head_dim)
                add_dimension(q, key, d + i * n_slice, n, sum + i * n);
        }
        UNROLL for (int half = n_lane / 2; half > 0; half /= 2)
        {
            UNROLL for (int i = 0; i < half * n; i++)
            {
                sum[i] = vec_add(sum[i], sum[i + half * n]);
            }
        }
        UNROLL for (int t = 0; t < n; t++)
        {
            part[s][t] = sum[t];
        }
    }
    for (int half = n_slice / 2; half > 0; half /= 2)
        for (int s = 0; s < half; s++)
            for (int t = 0; t < n; t++)
                part[s][t] = vec_add(part[s][t], part[s + half][t]);
    for (int t = 0; t < n; t++)
        out[t] = part[0][t];
}

static void dots(const chunk *c, const uint16_t *key, uintptr_t ahead, vec *out)
{
    int32_t head_dim = c->args->head_dim;
    switch (c->n) {
    case 12:
        dot_n(c->q, key, ahead, head_dim, 12, out);
        break;
    case 8:
        dot_n(c->q, key, ahead, head_dim, 8, out);
        break;
    case 4:
        dot_n(c->q, key, ahead, head_dim, 4, out);
        break;
    case 2:
        dot_n(c->q, key, ahead, head_dim, 2, out);
        break;
    default:
        dot_n(c->q, key, ahead, head_dim, 1, out);
        break;
    }
}

/* Scores of positions [from, to), all of one partition, at their place in s; -infinity for those that a query
 * does not see and for the others of the vectors that these lie in, whose keys are never looked at as
 * numbers. */
static void scores(const chunk *c, int32_t from, int32_t to, weights s, float *max)
{
    const st_attend_args *a = c->args;
    const vec scale = vec_set(a->scale), hidden = vec_set(-INFINITY);
    const vec cap = vec_set(a->softcap), inverse = vec_set(1.0f / a->softcap);
    vec x[MOST], most[MOST];
    for (int t = 0; t < c->n; t++)
        most[t] = hidden;
    for (int32_t j = from / VEC * VEC; j < to; j += VEC) {
        size_t share = sizeof(uint16_t) * (size_t)(j % ST_KV_PAGE) * (size_t)a->head_dim;
        dots(c, kv_block(c, j) + j % ST_KV_PAGE, next_block(c, j) + share, x);
        ivec at = ivec_add(ivec_set(j), ivec_lanes());
        for (int t = 0; t < c->n; t++) {
            vec y = vec_mul(x[t], scale);
            if (a->softcap > 0.0f)
                y = vec_mul(cap, vec_tanh(vec_mul(y, inverse)));
            y = vec_select(ivec_greater(ivec_set(c->first[t]), at), hidden, y);
            y = vec_select(ivec_greater(ivec_set(c->end[t]), at), y, hidden);
            most[t] = vec_max(y, most[t]);
            vec_store(s[t] + j % ST_PARTITION, y);
        }
    }
    for (int t = 0; t < c->n; t++)
        max[t] = vec_largest(most[t]);
}

/* Scores of positions [from, to) become weights, all others of the partition 0. Returns their sum. */
static float soften(float s[ST_PARTITION], float max, int32_t from, int32_t to)
{
    int32_t begin = from % ST_PARTITION / VEC * VEC, end = (to - 1) % ST_PARTITION + 1;
    for (int32_t j = 0; j < ST_PARTITION; j += VEC)
        vec_store(s + j,
                  j >= begin && j < end ? vec_exp(vec_sub(vec_load(s + j), vec_set(max))) : vec_zero());
    return fold_lanes(s);
}

/* ---- values ---- */

/* Adds p[j] * v[j] for n queries, positions [from, to) and n_vec vectors of dimensions from d on; all three
 * are constants where this is inlined. `rest` > 0: of one vector only so many dimensions. */
INLINE void weigh_dimensions(const chunk *c, const float *p, int32_t from, int32_t to, size_t d, int rest,
                             const int n_vec, const int n, partial *out)
{
    size_t head_dim = (size_t)c->args->head_dim;
    vec sum[24];
    UNROLL for (int i = 0; i < n * n_vec; i++)
    {
        sum[i] = vec_load(out[i / n_vec].o + d + (size_t)(VEC * (i % n_vec)));
    }
    for (int32_t j = from; j < to;) {
        int32_t stop = (int32_t)st_min(to, (j / ST_KV_PAGE + 1) * ST_KV_PAGE);
        const uint16_t *value = kv_block(c, j) + (size_t)(ST_KV_PAGE + j % ST_KV_PAGE) * head_dim + d;
        uintptr_t ahead = next_block(c, j) - (uintptr_t)kv_block(c, j);
        for (; j < stop; j++, value += head_dim) {
            const float *at = p + j % ST_PARTITION;
            for (int line = 0; line < n_vec * VEC; line += 32)
                fetch_far((uintptr_t)(value + line) + ahead);
            UNROLL for (int v = 0; v < n_vec; v++)
            {
                vec x = rest ? vec_load_first_16(value, rest, ST_F16) : vec_load_f16(value + VEC * v);
                UNROLL for (int t = 0; t < n; t++)
                {
                    vec y = vec_mul(x, vec_set(at[t * ST_PARTITION]));
                    sum[t * n_vec + v] = vec_add(sum[t * n_vec + v], y);
                }
            }
        }
    }
    UNROLL for (int i = 0; i < n * n_vec; i++)
    {
        vec_store(out[i / n_vec].o + d + (size_t)(VEC * (i % n_vec)), sum[i]);
    }
}

INLINE void weigh_n(const chunk *c, const float *p, int32_t from, int32_t to, const int n, partial *out)
{
    int32_t d = 0, head_dim = c->args->head_dim;
    for (; d + VALUES(n) * VEC <= head_dim; d += VALUES(n) * VEC)
        weigh_dimensions(c, p, from, to, (size_t)d, 0, VALUES(n), n, out);
    for (; VALUES(n) > 1 && d + VEC <= head_dim; d += VEC)
        weigh_dimensions(c, p, from, to, (size_t)d, 0, 1, n, out);
    if (d < head_dim)
        weigh_dimensions(c, p, from, to, (size_t)d, head_dim - d, 1, n, out);
}

/* The same for n of the chunk's queries, whose weights are p [n][256]. */
static void weigh(const chunk *c, const float *p, int32_t from, int32_t to, int n, partial *out)
{
    switch (n) {
    case 12:
        weigh_n(c, p, from, to, 12, out);
        break;
    case 8:
        weigh_n(c, p, from, to, 8, out);
        break;
    case 4:
        weigh_n(c, p, from, to, 4, out);
        break;
    case 2:
        weigh_n(c, p, from, to, 2, out);
        break;
    default:
        weigh_n(c, p, from, to, 1, out);
        break;
    }
}

/* ---- partitions ---- */

/* One partition for all queries of a chunk; sum is -1 for those that see none of its keys. */
static void partition(const chunk *c, int32_t number, partial *out)
{
    int32_t begin = number * ST_PARTITION, from[MOST], to[MOST];
    int32_t lowest = begin + ST_PARTITION, highest = begin, common = begin, common_end = begin + ST_PARTITION;
    for (int t = 0; t < c->n; t++) {
        from[t] = (int32_t)st_max(begin, c->first[t]);
        to[t] = (int32_t)st_max(from[t], st_min(begin + ST_PARTITION, c->end[t]));
        common = (int32_t)st_max(common, from[t]);
        common_end = (int32_t)st_min(common_end, to[t]);
        if (from[t] == to[t])
            continue;
        lowest = (int32_t)st_min(lowest, from[t]);
        highest = (int32_t)st_max(highest, to[t]);
    }
    for (int t = 0; t < c->n; t++)
        out[t].sum = -1.0f;
    if (lowest >= highest)
        return;
    weights p;
    float max[MOST];
    scores(c, lowest, highest, p, max);
    for (int t = 0; t < c->n; t++) {
        for (int32_t d = 0; d < c->args->head_dim; d += VEC)
            vec_store(out[t].o + d, vec_zero());
        out[t].max = max[t];
        if (from[t] < to[t])
            out[t].sum = soften(p[t], max[t], lowest, highest);
    }
    if (common >= common_end) { /* some query sees nothing of what another sees */
        for (int t = 0; t < c->n; t++)
            weigh(c, p[t], from[t], to[t], 1, &out[t]);
        return;
    }
    for (int t = 0; t < c->n; t++)
        if (from[t] < common)
            weigh(c, p[t], from[t], common, 1, &out[t]);
    weigh(c, p[0], common, common_end, c->n, out);
    for (int t = 0; t < c->n; t++)
        if (common_end < to[t])
            weigh(c, p[t], common_end, to[t], 1, &out[t]);
}

/* Adds a later partition to what all before gave; the first (all->sum < 0) is taken as it is. */
static void merge(partial *all, const partial *next, int32_t head_dim)
{
    if (next->sum < 0.0f)
        return;
    if (all->sum < 0.0f) {
        memcpy(all, next, offsetof(partial, o) + (size_t)head_dim * sizeof(float));
        return;
    }
    float max = next->max > all->max ? next->max : all->max;
    float a = st_exp(all->max - max), b = st_exp(next->max - max);
    all->max = max;
    all->sum = all->sum * a + next->sum * b;
    for (int32_t d = 0; d < head_dim; d += VEC) {
        vec x = vec_mul(vec_load(all->o + d), vec_set(a)), y = vec_mul(vec_load(next->o + d), vec_set(b));
        vec_store(all->o + d, vec_add(x, y));
    }
}

static void finish(const partial *all, int32_t head_dim, float *dst)
{
    float inverse = 1.0f / all->sum;
    for (int32_t d = 0; d < head_dim; d += VEC) {
        vec y = vec_mul(vec_load(all->o + d), vec_set(inverse));
        vec_store_first(dst + d, y, (int)st_min(VEC, head_dim - d));
    }
}

/* ---- items: a block of rows and a key head ---- */

typedef struct attend {
    const st_cpu *cpu;
    const st_attend_args *args;
    int32_t rows;           /* of a block */
    int32_t n_rep;          /* queries of a row that share a key head */
    int32_t wave, first, n; /* split: partials per query in scratch, and the partitions that they are now */
} attend;

/* Walks the chunks of an item. */
typedef struct walk {
    int32_t kv_head, row, last_row;  /* rows that are left */
    int32_t run_row, query, n_query; /* the run of rows of one sequence that is being cut into chunks */
    int32_t total;                   /* queries given out */
} walk;

static walk walk_item(const attend *a, int64_t item)
{
    int32_t block = (int32_t)(item / a->args->n_kv_head) * a->rows;
    return (walk){.kv_head = (int32_t)(item % a->args->n_kv_head),
                  .row = block,
                  .last_row = (int32_t)st_min(block + a->rows, a->cpu->batch->n_token)};
}

/* The next run of rows of one sequence; padding belongs to none. */
static bool next_run(const attend *a, walk *w)
{
    const int32_t *seq = st_cpu_data(a->cpu->batch->seq), *pos = st_cpu_data(a->cpu->batch->pos);
    while (w->row < w->last_row && pos[w->row] < 0)
        w->row++;
    w->run_row = w->row;
    while (w->row < w->last_row && pos[w->row] >= 0 && seq[w->row] == seq[w->run_row])
        w->row++;
    w->query = 0;
    w->n_query = (w->row - w->run_row) * a->n_rep;
    return w->n_query > 0;
}

/* The next chunk; *at is the number of its first query in the item. */
static bool next_chunk(const attend *a, walk *w, chunk *c, int32_t *at)
{
    if (w->query == w->n_query && !next_run(a, w))
        return false;
    int32_t left = w->n_query - w->query, head_dim = a->args->head_dim;
    c->args = a->args;
    c->kv_head = w->kv_head;
    c->last = 0;
    c->n = left >= 12 ? 12 : left >= 8 ? 8 : left >= 4 ? 4 : left >= 2 ? 2 : 1;
    for (int t = 0; t < c->n; t++, w->query++) {
        st_cpu_view v;
        st_cpu_view_open(a->cpu, a->args, w->run_row + w->query / a->n_rep,
                         w->kv_head * a->n_rep + w->query % a->n_rep, &v);
        c->table = v.table;
        c->first[t] = v.first;
        c->end[t] = v.end;
        c->last = (int32_t)st_max(c->last, v.end - 1);
        c->dst[t] = v.dst;
        for (int32_t d = 0; d < head_dim; d++)
            c->q[d * c->n + t] = v.query[d];
    }
    *at = w->total;
    w->total += c->n;
    return true;
}

static void run_items(void *context, int64_t first, int64_t count)
{
    const attend *a = context;
    int32_t head_dim = a->args->head_dim, at;
    for (int64_t item = first; item < first + count; item++) {
        walk w = walk_item(a, item);
        chunk c;
        while (next_chunk(a, &w, &c, &at)) {
            partial all[MOST], next[MOST];
            int32_t begin = c.first[0], end = c.end[0];
            for (int t = 0; t < c.n; t++) {
                begin = (int32_t)st_min(begin, c.first[t]);
                end = (int32_t)st_max(end, c.end[t]);
                all[t].sum = -1.0f;
            }
            for (int32_t p = begin / ST_PARTITION; p * ST_PARTITION < end; p++) {
                partition(&c, p, next);
                for (int t = 0; t < c.n; t++)
                    merge(&all[t], &next[t], head_dim);
            }
            for (int t = 0; t < c.n; t++)
                finish(&all[t], head_dim, c.dst[t]);
        }
    }
}

/* ---- a few items with many keys: partitions in parallel, in waves that fit the scratch ---- */

/* Per query `wave` results of partitions, and what is merged so far. */
static partial *partials(const attend *a, int64_t item, int32_t query)
{
    int64_t index = item * a->rows * a->n_rep + query;
    return (partial *)(void *)a->cpu->scratch + index * (a->wave + 1);
}

static void run_partitions(void *context, int64_t first, int64_t count)
{
    const attend *a = context;
    for (int64_t i = first; i < first + count; i++) {
        int64_t item = i / a->n;
        int32_t p = (int32_t)(i % a->n), at;
        walk w = walk_item(a, item);
        chunk c;
        while (next_chunk(a, &w, &c, &at)) {
            partial out[MOST];
            partition(&c, a->first + p, out);
            for (int t = 0; t < c.n; t++) {
                partial *to = &partials(a, item, at + t)[p];
                to->sum = -1.0f;
                merge(to, &out[t], a->args->head_dim);
            }
        }
    }
}

static void merge_items(void *context, int64_t first, int64_t count)
{
    const attend *a = context;
    int32_t head_dim = a->args->head_dim, at;
    for (int64_t item = first; item < first + count; item++) {
        walk w = walk_item(a, item);
        chunk c;
        while (next_chunk(a, &w, &c, &at))
            for (int t = 0; t < c.n; t++) {
                partial *p = partials(a, item, at + t), *all = &p[a->wave];
                if (a->first == 0)
                    all->sum = -1.0f;
                for (int32_t i = 0; i < a->n; i++)
                    merge(all, &p[i], head_dim);
                if ((a->first + a->n) * ST_PARTITION >= c.end[t])
                    finish(all, head_dim, c.dst[t]);
            }
    }
}

/* ---- the op ---- */

/* Multiplications of the call, and the number of partitions of its longest row. */
static int64_t survey(const st_cpu *cpu, const st_attend_args *args, int32_t *n_partition)
{
    int64_t keys = 0;
    *n_partition = 0;
    for (int32_t row = 0; row < cpu->batch->n_token; row++) {
        int32_t first, end;
        st_cpu_visible(cpu, args, row, &first, &end);
        keys += end - first;
        *n_partition = (int32_t)st_max(*n_partition, st_ceil_div(end, ST_PARTITION));
    }
    return 2 * keys * args->n_head * args->head_dim;
}

/* Rows of a block: as many as fill a chunk where rows of one sequence follow each other. */
static int32_t block_rows(const st_cpu *cpu, int32_t n_rep)
{
    const int32_t *seq = st_cpu_data(cpu->batch->seq);
    int32_t n = cpu->batch->n_token, together = 0;
    for (int32_t row = 1; row < n; row++)
        together += seq[row] == seq[row - 1];
    return 2 * together >= n ? (int32_t)st_max(1, MOST / n_rep) : 1;
}

static void run(st_cpu *cpu, const void *args)
{
    attend a = {.cpu = cpu, .args = args};
    int32_t n_partition;
    int64_t work = survey(cpu, args, &n_partition);
    a.n_rep = a.args->n_head / a.args->n_kv_head;
    a.rows = block_rows(cpu, a.n_rep);
    int64_t n = st_ceil_div(cpu->batch->n_token, a.rows) * a.args->n_kv_head;
    if (work < ST_CPU_SERIAL_ATTEND || cpu->n_slot == 1) {
        run_items(&a, 0, n);
        return;
    }
    int64_t room = cpu->n_slot * (int64_t)(ST_MAX_COLS * sizeof(float) / sizeof(partial));
    a.wave = (int32_t)st_min(n_partition, room / (n * a.rows * a.n_rep) - 1);
    if (n >= 4 * cpu->n_slot || n_partition < 2 || a.wave < 1) {
        st_pool_loop(cpu->pool, n, 1, run_items, &a);
        return;
    }
    for (; a.first < n_partition; a.first += a.n) {
        a.n = (int32_t)st_min(a.wave, n_partition - a.first);
        st_pool_loop(cpu->pool, n * a.n, 1, run_partitions, &a);
        st_pool_loop(cpu->pool, n, 1, merge_items, &a);
    }
}

#endif
