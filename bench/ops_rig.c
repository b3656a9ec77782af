#include "bench/ops_rig.h"

#include "bench/measure.h"
#include "bench/ops_fill.h"

#include <stdlib.h>

/* Buffers by what they are for. */
enum { SRC, DST, NORM, ANGLES, CANDIDATES, STATS, WANT, KV };

enum {
    MAX_COPY = 1 << 16,
    MAX_BATCH_IN_TURN = 4096,
    EMBED_BATCHES = 64,
    STORED_ROWS = 1024, /* of a step that fills the KV cache */
    TOPK = 64           /* candidates, as the sampler takes */
};
#define EPS 1e-5f

bool st_op_is_int8(const st_op_shape *s)
{
    return s->op == ST_OP_LINEAR && (s->type == ST_TERNARY || s->type == ST_Q8);
}

static bool has_kv(const st_op_shape *s)
{
    return s->op == ST_OP_ATTEND || s->op == ST_OP_ROPE_STORE;
}

static int32_t stride_of(const st_op_shape *s)
{
    return (s->n_head + 2 * s->n_kv_head) * s->head_dim;
}

static st_kv kv_of(const st_op_rig *rig)
{
    return (st_kv){.buf = rig->buf[KV],
                   .n_page = rig->n_page,
                   .n_layer = 1,
                   .n_kv_head = rig->shape->n_kv_head,
                   .head_dim = rig->shape->head_dim};
}

/* Sequences and pages of each that rows need. */
static int32_t sequences_of(const st_op_rows *r)
{
    return r->prompt ? 1 : r->n_row;
}

static int32_t blocks_of(const st_op_rows *r)
{
    return (int32_t)st_ceil_div((int64_t)r->depth + (r->prompt ? r->n_row : 1), ST_KV_PAGE);
}

/* ---- batches ---- */

/* The arrays of a batch on the host. */
typedef struct arrays {
    int32_t *token, *pos, *seq, *slot, *table, *length, *out;
    int32_t n, n_seq, blocks;
} arrays;

static bool arrays_open(arrays *a, const st_op_rows *r)
{
    a->n = r->n_row;
    a->n_seq = sequences_of(r);
    a->blocks = blocks_of(r);
    size_t n = (size_t)a->n, n_seq = (size_t)a->n_seq;
    a->token = st_calloc(5 * n + n_seq * (size_t)a->blocks + n_seq, sizeof *a->token);
    if (!a->token)
        return false;
    a->pos = a->token + n;
    a->seq = a->pos + n;
    a->slot = a->seq + n;
    a->out = a->slot + n;
    a->length = a->out + n;
    a->table = a->length + n_seq;
    return true;
}

/* Pages are taken in an order that jumps: a sequence's lie apart, as they do in an engine that runs. */
static int32_t page_of(const st_op_rig *rig, int64_t index)
{
    return (int32_t)(index % rig->n_page * rig->page_step % rig->n_page);
}

/* A step without a factor in common with n_page, so that the order has every page. */
static int32_t page_step(int32_t n_page)
{
    for (int32_t step = n_page / 3 * 2;; step++) {
        int32_t a = step, b = n_page;
        while (b) {
            int32_t rest = a % b;
            a = b;
            b = rest;
        }
        if (a == 1)
            return step;
    }
}

/* Rows that begin with page number `first` of the order. */
static void arrays_fill(arrays *a, const st_op_rows *r, const st_op_rig *rig, int64_t first, uint64_t *random)
{
    for (int32_t s = 0; s < a->n_seq; s++) {
        a->length[s] = r->depth + (r->prompt ? r->n_row : 1);
        for (int32_t b = 0; b < a->blocks; b++)
            a->table[s * a->blocks + b] = rig->n_page ? page_of(rig, first + (int64_t)s * a->blocks + b) : 0;
    }
    for (int32_t i = 0; i < a->n; i++) {
        a->pos[i] = r->prompt ? r->depth + i : r->depth;
        a->seq[i] = r->prompt ? 0 : i;
        int32_t page = a->table[a->seq[i] * a->blocks + a->pos[i] / ST_KV_PAGE];
        a->slot[i] = page * ST_KV_PAGE + a->pos[i] % ST_KV_PAGE;
        a->out[i] = i;
        a->token[i] = rig->shape->op == ST_OP_EMBED ? st_draw_below(random, rig->shape->n) : 0;
    }
}

/* Writes the arrays to seven new buffers at `buf`. */
static sterna_status arrays_write(const arrays *a, st_device *dev, st_buf **buf, st_batch *batch,
                                  sterna_error *error)
{
    const int32_t *values[] = {a->token, a->pos, a->seq, a->slot, a->table, a->length, a->out};
    int64_t n = a->n, n_seq = a->n_seq;
    const int64_t counts[] = {n, n, n, n, n_seq * a->blocks, n_seq, n};
    for (int i = 0; i < 7; i++) {
        sterna_status status = st_fill_integers(dev, values[i], counts[i], &buf[i], error);
        if (status != STERNA_OK)
            return status;
    }
    *batch = (st_batch){.n_token = a->n,
                        .n_seq = a->n_seq,
                        .n_out = a->n,
                        .max_blocks = a->blocks,
                        .token = buf[0],
                        .pos = buf[1],
                        .seq = buf[2],
                        .slot = buf[3],
                        .table = buf[4],
                        .length = buf[5],
                        .out = buf[6]};
    return STERNA_OK;
}

static void close_batches(st_op_rig *rig)
{
    for (int i = 0; i < rig->n_batch_buf; i++)
        rig->dev->backend->buf_destroy(rig->dev, rig->batch_buf[i]);
    free(rig->batch_buf);
    free(rig->batch);
    rig->batch_buf = NULL;
    rig->batch = NULL;
    rig->n_batch = rig->n_batch_buf = 0;
}

sterna_status st_op_rig_rows(st_op_rig *rig, const st_op_rows *rows, sterna_error *error)
{
    int32_t pages = sequences_of(rows) * blocks_of(rows);
    int64_t n = rig->shape->op == ST_OP_EMBED ? EMBED_BATCHES : has_kv(rig->shape) ? rig->n_page / pages : 1;
    uint64_t random = 5;
    arrays a;
    assert(!has_kv(rig->shape) || pages <= rig->n_page);
    close_batches(rig);
    n = st_max(1, st_min(n, MAX_BATCH_IN_TURN));
    rig->batch = calloc((size_t)n, sizeof *rig->batch);
    rig->batch_buf = calloc((size_t)(7 * n), sizeof(st_buf *));
    if (!rig->batch || !rig->batch_buf || !arrays_open(&a, rows))
        return st_fail(error, STERNA_E_MEMORY, "out of memory for %d rows", rows->n_row);
    sterna_status status = STERNA_OK;
    for (int64_t i = 0; i < n && status == STERNA_OK; i++) {
        arrays_fill(&a, rows, rig, i * pages, &random);
        rig->n_batch_buf += 7;
        status = arrays_write(&a, rig->dev, rig->batch_buf + 7 * i, &rig->batch[i], error);
    }
    st_free(a.token);
    rig->n_batch = (int)n;
    rig->n_row = rows->n_row;
    rig->depth = rows->depth;
    rig->prompt = rows->prompt;
    rig->next = 0;
    rig->stream += (uint64_t)1 << 32;
    return status;
}

/* ---- operands ---- */

static sterna_status open_weights(st_op_rig *rig, size_t footprint, sterna_error *error)
{
    const st_op_shape *s = rig->shape;
    st_matrix matrix;
    sterna_status status = st_fill_matrix(s->type, s->group, s->n, s->k, &matrix, error);
    size_t bytes = 0;
    int64_t n = 1;
    rig->weight = calloc(MAX_COPY, sizeof *rig->weight);
    if (status == STERNA_OK && !rig->weight)
        status = st_fail(error, STERNA_E_MEMORY, "out of memory");
    for (int64_t i = 0; i < n && status == STERNA_OK; i++) {
        const st_outliers none = {0};
        status =
            rig->dev->backend->weight_create(rig->dev, &matrix, 1, NULL, 1.0f, &none, &rig->weight[i], error);
        if (status != STERNA_OK)
            break;
        rig->n_weight++;
        bytes = rig->weight[0]->bytes;
        n = s->op == ST_OP_EMBED ? 1 : st_min(MAX_COPY, st_ceil_div((int64_t)footprint, (int64_t)bytes));
    }
    st_free((void *)(uintptr_t)matrix.data);
    st_free((void *)(uintptr_t)matrix.scale);
    return status;
}

/* Keys and values in the pages from `first` on. */
static sterna_status store_step(st_op_rig *rig, const st_rope_store_args *args, int32_t first, int32_t n_row,
                                sterna_error *error)
{
    st_op_rows rows = {.n_row = n_row, .prompt = true};
    const st_backend *backend = rig->dev->backend;
    uint64_t random = 6;
    arrays a;
    st_batch batch;
    st_buf *buf[7] = {NULL};
    if (!arrays_open(&a, &rows))
        return st_fail(error, STERNA_E_MEMORY, "out of memory for %d rows", n_row);
    arrays_fill(&a, &rows, rig, first, &random);
    sterna_status status = arrays_write(&a, rig->dev, buf, &batch, error);
    st_free(a.token);
    batch.stream = ++rig->stream;
    if (status == STERNA_OK) {
        if (backend->begin(rig->dev, &batch))
            backend->rope_store(rig->dev, args);
        status = backend->end(rig->dev, error);
    }
    for (int i = 0; i < 7; i++)
        backend->buf_destroy(rig->dev, buf[i]);
    return status;
}

/* Keys and values in every page. */
static sterna_status store_all(st_op_rig *rig, sterna_error *error)
{
    const st_op_shape *s = rig->shape;
    st_rope_store_args args = {.stride = 3 * s->n_kv_head * s->head_dim,
                               .n_head = s->n_kv_head,
                               .n_kv_head = s->n_kv_head,
                               .head_dim = s->head_dim,
                               .cos_sin = rig->buf[ANGLES],
                               .kv = kv_of(rig)};
    sterna_status status = st_fill_reals(rig->dev, (int64_t)STORED_ROWS * args.stride, &args.qkv, error);
    for (int32_t page = 0; page < rig->n_page && status == STERNA_OK; page += STORED_ROWS / ST_KV_PAGE)
        status = store_step(rig, &args, page,
                            (int32_t)st_min(STORED_ROWS, (int64_t)(rig->n_page - page) * ST_KV_PAGE), error);
    rig->dev->backend->buf_destroy(rig->dev, args.qkv);
    return status;
}

static sterna_status open_kv(st_op_rig *rig, size_t footprint, const st_op_rows *rows, int n_rows,
                             sterna_error *error)
{
    const st_op_shape *s = rig->shape;
    int64_t page = (int64_t)st_kv_bytes(1, 1, s->n_kv_head, s->head_dim);
    int64_t n = st_ceil_div((int64_t)footprint, page);
    for (int i = 0; i < n_rows; i++)
        n = st_max(n, (int64_t)sequences_of(&rows[i]) * blocks_of(&rows[i]));
    if (n * ST_KV_PAGE > INT32_MAX)
        return st_fail(error, STERNA_E_LIMIT, "%lld pages of KV are more than %d", (long long)n,
                       INT32_MAX / ST_KV_PAGE);
    rig->n_page = (int32_t)n;
    rig->page_step = page_step(rig->n_page);
    sterna_status status = rig->dev->backend->buf_create(
        rig->dev, st_kv_bytes(rig->n_page, 1, s->n_kv_head, s->head_dim), &rig->buf[KV], error);
    if (status == STERNA_OK && s->op == ST_OP_ATTEND)
        status = store_all(rig, error);
    return status;
}

/* Buffers of an op, each of `max_row` rows; f32 ones with contents. */
static sterna_status open_bufs(st_op_rig *rig, int32_t max_position, sterna_error *error)
{
    const st_op_shape *s = rig->shape;
    int64_t rows = rig->max_row, src = s->k, dst = s->k;
    bool quant = st_op_is_int8(s) || s->op == ST_OP_NORM_QUANT || s->op == ST_OP_GLU_NORM_QUANT;
    sterna_status status = STERNA_OK;
    if (s->op == ST_OP_LINEAR)
        dst = s->n;
    else if (has_kv(s))
        src = stride_of(s), dst = s->n_head * s->head_dim;
    else if (s->op == ST_OP_GLU_NORM_QUANT)
        src = 2 * s->k;
    else if (s->op == ST_OP_TOPK)
        src = s->n;
    if (quant) {
        int32_t group = s->group, act_group = s->act_group;
        rig->quant = (st_qact){.max_row = rig->max_row, .cols = s->k, .act_group = act_group};
        rig->quant.sum_group = !group ? act_group : !act_group ? group : (int32_t)st_min(group, act_group);
        status = st_fill_quant(rig->dev, &rig->quant, error);
    }
    if (status == STERNA_OK && s->op != ST_OP_EMBED && !st_op_is_int8(s))
        status = st_fill_reals(rig->dev, rows * src, &rig->buf[SRC], error);
    if (status == STERNA_OK && s->op != ST_OP_ROPE_STORE && s->op != ST_OP_TOPK)
        status = st_fill_reals(rig->dev, rows * dst, &rig->buf[DST], error);
    if (status == STERNA_OK)
        status = st_fill_reals(rig->dev, st_max(1, s->k), &rig->buf[NORM], error);
    if (status == STERNA_OK && has_kv(s))
        status = st_fill_reals(rig->dev, (int64_t)max_position * s->head_dim, &rig->buf[ANGLES], error);
    if (status != STERNA_OK || s->op != ST_OP_TOPK)
        return status;
    status = st_fill_reals(rig->dev, rows * TOPK * (int64_t)(sizeof(st_candidate) / sizeof(float)),
                           &rig->buf[CANDIDATES], error);
    if (status == STERNA_OK)
        status = st_fill_reals(rig->dev, rows * (int64_t)(sizeof(st_topk_stats) / sizeof(float)),
                               &rig->buf[STATS], error);
    if (status == STERNA_OK)
        status =
            rig->dev->backend->buf_create(rig->dev, (size_t)rows * sizeof(int32_t), &rig->buf[WANT], error);
    if (status == STERNA_OK)
        rig->dev->backend->fill(rig->dev, rig->buf[WANT], UINT32_MAX); /* -1: none */
    return status;
}

sterna_status st_op_rig_open(st_op_rig *rig, st_device *dev, const st_op_shape *shape, size_t footprint,
                             const st_op_rows *rows, int n_rows, sterna_error *error)
{
    int32_t max_position = STORED_ROWS;
    *rig = (st_op_rig){.shape = shape, .dev = dev};
    for (int i = 0; i < n_rows; i++) {
        rig->max_row = (int32_t)st_max(rig->max_row, rows[i].n_row);
        max_position = (int32_t)st_max(max_position, (int64_t)rows[i].depth + rows[i].n_row);
    }
    sterna_status status = open_bufs(rig, max_position, error);
    if (status == STERNA_OK && has_kv(shape))
        status = open_kv(rig, footprint, rows, n_rows, error);
    if (status == STERNA_OK && (shape->op == ST_OP_LINEAR || shape->op == ST_OP_EMBED))
        status = open_weights(rig, footprint, error);
    return status;
}

void st_op_rig_close(st_op_rig *rig)
{
    if (!rig->dev)
        return;
    const st_backend *backend = rig->dev->backend;
    close_batches(rig);
    for (int i = 0; i < ST_RIG_BUFS; i++)
        backend->buf_destroy(rig->dev, rig->buf[i]);
    backend->buf_destroy(rig->dev, rig->quant.buf);
    for (int i = 0; i < rig->n_weight; i++)
        backend->weight_destroy(rig->dev, rig->weight[i]);
    free(rig->weight);
    *rig = (st_op_rig){.dev = NULL};
}

/* ---- calls ---- */

typedef union op_args {
    st_embed_args embed;
    st_norm_args norm;
    st_norm_quant_args norm_quant;
    st_linear_args linear;
    st_rope_store_args rope_store;
    st_attend_args attend;
    st_glu_norm_quant_args glu_norm_quant;
    st_topk_args topk;
} op_args;

static void heads_args(const st_op_rig *rig, op_args *a)
{
    const st_op_shape *s = rig->shape;
    if (s->op == ST_OP_ATTEND)
        a->attend = (st_attend_args){.qkv = rig->buf[SRC],
                                     .stride = stride_of(s),
                                     .dst = rig->buf[DST],
                                     .n_head = s->n_head,
                                     .n_kv_head = s->n_kv_head,
                                     .head_dim = s->head_dim,
                                     .scale = 1.0f / sqrtf((float)s->head_dim),
                                     .causal = true,
                                     .kv = kv_of(rig)};
    else
        a->rope_store = (st_rope_store_args){.qkv = rig->buf[SRC],
                                             .stride = stride_of(s),
                                             .n_head = s->n_head,
                                             .n_kv_head = s->n_kv_head,
                                             .head_dim = s->head_dim,
                                             .eps = EPS,
                                             .cos_sin = rig->buf[ANGLES],
                                             .n_rot = s->head_dim / 2 * 2,
                                             .pairing = ST_PAIR_HALF,
                                             .kv = kv_of(rig)};
}

static op_args args_of(const st_op_rig *rig, int turn)
{
    const st_op_shape *s = rig->shape;
    st_buf *src = rig->buf[SRC], *dst = rig->buf[DST], *norm = rig->buf[NORM];
    op_args a = {0};
    switch (s->op) {
    case ST_OP_EMBED:
        a.embed = (st_embed_args){.table = rig->weight[0], .scale = 1.0f, .dst = dst};
        break;
    case ST_OP_NORM:
        a.norm = (st_norm_args){.src = src, .dst = dst, .weight = norm, .dim = s->k, .eps = EPS};
        break;
    case ST_OP_NORM_QUANT:
        a.norm_quant = (st_norm_quant_args){.src = src, .weight = norm, .eps = EPS, .dst = rig->quant};
        break;
    case ST_OP_LINEAR:
        a.linear = (st_linear_args){.weight = rig->weight[turn % rig->n_weight],
                                    .quant = st_op_is_int8(s) ? &rig->quant : NULL,
                                    .src = src,
                                    .dst = dst,
                                    .stride = s->n};
        break;
    case ST_OP_GLU_NORM_QUANT:
        a.glu_norm_quant = (st_glu_norm_quant_args){
            .src = src, .act = ST_ACT_RELU2, .weight = norm, .eps = EPS, .dst = rig->quant};
        break;
    case ST_OP_TOPK:
        a.topk = (st_topk_args){.logits = src,
                                .n_vocab = s->n,
                                .k = (int32_t)st_min(TOPK, s->n),
                                .want = rig->buf[WANT],
                                .candidates = rig->buf[CANDIDATES],
                                .stats = rig->buf[STATS]};
        break;
    default:
        heads_args(rig, &a);
    }
    return a;
}

static void call(const st_op_rig *rig, int turn)
{
    const st_backend *backend = rig->dev->backend;
    const op_args a = args_of(rig, turn);
    switch (rig->shape->op) {
    case ST_OP_EMBED:
        backend->embed(rig->dev, &a.embed);
        break;
    case ST_OP_NORM:
        backend->norm(rig->dev, &a.norm);
        break;
    case ST_OP_NORM_QUANT:
        backend->norm_quant(rig->dev, &a.norm_quant);
        break;
    case ST_OP_LINEAR:
        backend->linear(rig->dev, &a.linear);
        break;
    case ST_OP_ROPE_STORE:
        backend->rope_store(rig->dev, &a.rope_store);
        break;
    case ST_OP_ATTEND:
        backend->attend(rig->dev, &a.attend);
        break;
    case ST_OP_GLU_NORM_QUANT:
        backend->glu_norm_quant(rig->dev, &a.glu_norm_quant);
        break;
    case ST_OP_TOPK:
        backend->topk(rig->dev, &a.topk);
        break;
    case ST_OP_COUNT:
        break;
    }
}

/* One step of n calls; adds what they took. */
static sterna_status step(st_op_rig *rig, int n, double *seconds, const char **variant, sterna_error *error)
{
    const st_backend *backend = rig->dev->backend;
    st_trace_row row[ST_RIG_MAX_CALL];
    st_batch batch = rig->batch[rig->next % rig->n_batch];
    batch.stream =
        rig->stream + (uint64_t)(rig->next % st_max(1, rig->n_weight)) * ST_RIG_MAX_CALL + (uint64_t)n;
    if (backend->begin(rig->dev, &batch))
        for (int i = 0; i < n; i++)
            call(rig, rig->next + i);
    sterna_status status = backend->end(rig->dev, error);
    if (status != STERNA_OK)
        return status;
    int n_row = backend->trace(rig->dev, row, ST_RIG_MAX_CALL);
    if (n_row != n)
        return st_fail(error, STERNA_E_DEVICE, "%d ops were asked for, but %d traced", n, n_row);
    for (int i = 0; i < n; i++)
        *seconds += row[i].seconds;
    *variant = row[0].variant;
    rig->next += n;
    return STERNA_OK;
}

sterna_status st_op_rig_run(st_op_rig *rig, int n, double *seconds, const char **variant, sterna_error *error)
{
    assert(n >= 1 && n <= ST_RIG_MAX_CALL);
    int calls = rig->n_batch > 1 ? 1 : n; /* of a step: it has one batch */
    double sum = 0.0;
    for (int i = 0; i < n; i += calls) {
        sterna_status status = step(rig, calls, &sum, variant, error);
        if (status != STERNA_OK)
            return status;
    }
    *seconds = sum / n;
    return STERNA_OK;
}

/* ---- what a call moves and computes ---- */

uint64_t st_op_rig_bytes(const st_op_rig *rig)
{
    const op_args a = args_of(rig, 0);
    uint64_t rows = (uint64_t)rig->n_row, depth = (uint64_t)rig->depth;
    switch (rig->shape->op) {
    case ST_OP_EMBED:
        return st_bytes_embed(&a.embed, rig->n_row);
    case ST_OP_NORM:
        return st_bytes_norm(&a.norm, rig->n_row);
    case ST_OP_NORM_QUANT:
        return st_bytes_norm_quant(&a.norm_quant, rig->n_row);
    case ST_OP_LINEAR:
        return st_bytes_linear(&a.linear, rig->n_row);
    case ST_OP_ROPE_STORE:
        return st_bytes_rope_store(&a.rope_store, rig->n_row);
    case ST_OP_ATTEND:
        return st_bytes_attend(&a.attend, rig->n_row, rig->prompt ? depth + rows : rows * (depth + 1));
    case ST_OP_GLU_NORM_QUANT:
        return st_bytes_glu_norm_quant(&a.glu_norm_quant, rig->n_row);
    case ST_OP_TOPK:
        return st_bytes_topk(&a.topk, rig->n_row);
    case ST_OP_COUNT:
        break;
    }
    return 0;
}

uint64_t st_op_rig_macs(const st_op_rig *rig)
{
    const st_op_shape *s = rig->shape;
    uint64_t rows = (uint64_t)rig->n_row, depth = (uint64_t)rig->depth;
    if (s->op == ST_OP_LINEAR)
        return rows * (uint64_t)s->n * (uint64_t)s->k;
    if (s->op != ST_OP_ATTEND)
        return 0;
    uint64_t keys = rig->prompt ? rows * depth + rows * (rows + 1) / 2 : rows * (depth + 1);
    return 2 * keys * (uint64_t)s->n_head * (uint64_t)s->head_dim;
}

size_t st_op_rig_footprint(const st_op_rig *rig)
{
    const st_op_shape *s = rig->shape;
    if (has_kv(s))
        return st_kv_bytes(rig->n_page, 1, s->n_kv_head, s->head_dim);
    return rig->n_weight ? (size_t)rig->n_weight * rig->weight[0]->bytes : 0;
}
