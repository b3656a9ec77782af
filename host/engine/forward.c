#include "host/engine/forward.h"

#include <math.h>

/* ---- creation ---- */

static sterna_status create_rope(st_forward *f, const sterna_model *model, int32_t n_position,
                                 sterna_error *error)
{
    const st_config *c = f->config;
    int32_t pairs = c->n_rot / 2;
    size_t row = (size_t)st_max(2 * pairs, 1), n = (size_t)n_position * row;
    float *table = st_calloc(n, sizeof *table), *divisor = st_calloc(row, sizeof *divisor);
    sterna_status status = STERNA_OK;
    if (!table || !divisor)
        status =
            st_fail(error, STERNA_E_MEMORY, "out of memory for rotary angles of %d positions", n_position);
    bool divided = st_model_has(model, ST_ROLE_ROPE_FREQS, 0);
    if (status == STERNA_OK && divided)
        status = st_model_vector(model, ST_ROLE_ROPE_FREQS, 0, divisor, pairs, error);
    for (int32_t i = 0; i < pairs && status == STERNA_OK; i++) {
        double frequency = (double)c->rope_scale * pow((double)c->rope_base, -2.0 * i / c->n_rot);
        if (divided)
            frequency /= (double)divisor[i];
        for (int32_t pos = 0; pos < n_position; pos++) {
            float *at = table + (size_t)pos * row + 2 * (size_t)i;
            at[0] = (float)cos(pos * frequency);
            at[1] = (float)sin(pos * frequency);
        }
    }
    st_device *dev = f->dev;
    if (status == STERNA_OK)
        status = dev->backend->buf_create(dev, n * sizeof *table, &f->rope, error);
    if (status == STERNA_OK) {
        dev->backend->write(dev, f->rope, 0, table, n * sizeof *table);
        f->scratch_bytes += n * sizeof *table;
    }
    st_free(divisor);
    st_free(table);
    return status;
}

/* Columns that share a sum of codes: what a linear over this weight adds up as integers. */
static int32_t segment(int32_t weight_group, int32_t act_group)
{
    if (weight_group == 0 || act_group == 0)
        return weight_group + act_group;
    return weight_group < act_group ? weight_group : act_group;
}

static st_qact quantised(const st_forward *f, const st_weight *consumer, int32_t max_row)
{
    return (st_qact){.buf = f->quant,
                     .max_row = max_row,
                     .cols = consumer->cols,
                     .act_group = f->config->act_group,
                     .sum_group = segment(consumer->group, f->config->act_group)};
}

static size_t quantised_bytes(const st_forward *f, const st_weight *consumer, int32_t max_row)
{
    st_qact q = quantised(f, consumer, max_row);
    return st_qact_planes(&q).bytes;
}

/* The largest int8 input of any linear. */
static size_t quant_bytes(const st_forward *f)
{
    const st_weights *w = &f->weights;
    size_t most = w->int8_head ? quantised_bytes(f, w->head, f->max_out) : 64;
    for (int32_t i = 0; i < w->n_layer; i++) {
        const st_block *b = &w->block[i];
        const st_weight *all[] = {b->qkv.part[0],     b->qkv.part[1], b->qkv.part[2], b->gate_up.part[0],
                                  b->gate_up.part[1], b->attn_output, b->ffn_down};
        for (size_t j = 0; j < sizeof all / sizeof all[0]; j++) {
            size_t bytes = all[j] ? quantised_bytes(f, all[j], f->max_token) : 0;
            most = bytes > most ? bytes : most;
        }
    }
    return most;
}

static sterna_status create_buffers(st_forward *f, sterna_error *error)
{
    const st_config *c = f->config;
    size_t rows = (size_t)f->max_token, outs = (size_t)f->max_out, embd = (size_t)c->n_embd;
    size_t heads = (size_t)c->n_head * (size_t)c->head_dim;
    size_t kv_heads = (size_t)c->n_kv_head * (size_t)c->head_dim;
    const struct {
        st_buf **buf;
        size_t bytes;
    } bufs[] = {{&f->x, rows * embd * sizeof(float)},
                {&f->branch, (rows > outs ? rows : outs) * embd * sizeof(float)},
                {&f->qkv, rows * (heads + 2 * kv_heads) * sizeof(float)},
                {&f->heads, rows * heads * sizeof(float)},
                {&f->ff, rows * 2 * (size_t)c->n_ff * sizeof(float)},
                {&f->quant, quant_bytes(f)},
                {&f->logits, outs * (size_t)c->n_vocab * sizeof(float)},
                {&f->want, outs * sizeof(int32_t)},
                {&f->adjust, outs * (size_t)f->max_adjust * sizeof(st_adjustment)},
                {&f->n_adjust, outs * sizeof(int32_t)},
                {&f->candidates, outs * (size_t)f->max_candidate * sizeof(st_candidate)},
                {&f->stats, outs * sizeof(st_topk_stats)}};
    for (size_t i = 0; i < sizeof bufs / sizeof bufs[0]; i++) {
        sterna_status status = f->dev->backend->buf_create(f->dev, bufs[i].bytes, bufs[i].buf, error);
        if (status != STERNA_OK)
            return status;
        f->scratch_bytes += bufs[i].bytes;
    }
    size_t kv_bytes = st_kv_bytes(f->kv.n_page, f->kv.n_layer, f->kv.n_kv_head, f->kv.head_dim);
    return f->dev->backend->buf_create(f->dev, kv_bytes, &f->kv.buf, error);
}

sterna_status st_forward_create(st_forward *f, const sterna_model *model, st_device *dev,
                                const st_forward_sizes *sizes, const st_loading *loading, sterna_error *error)
{
    const st_config *c = st_model_config(model);
    *f = (st_forward){.dev = dev,
                      .config = c,
                      .max_token = sizes->max_token,
                      .max_out = sizes->max_out,
                      .max_candidate = sizes->max_candidate,
                      .max_adjust = sizes->max_adjust,
                      .kv = {.n_page = sizes->n_page,
                             .n_layer = c->n_layer,
                             .n_kv_head = c->n_kv_head,
                             .head_dim = c->head_dim}};
    sterna_status status = st_weights_create(&f->weights, model, dev, loading, error);
    if (status == STERNA_OK)
        status = create_rope(f, model, sizes->n_position, error);
    if (status == STERNA_OK)
        status = create_buffers(f, error);
    return status;
}

void st_forward_destroy(st_forward *f)
{
    if (!f->dev)
        return;
    st_buf *bufs[] = {f->x,      f->branch, f->qkv,    f->heads,    f->ff,         f->quant, f->rope,
                      f->logits, f->want,   f->adjust, f->n_adjust, f->candidates, f->stats, f->kv.buf};
    for (size_t i = 0; i < sizeof bufs / sizeof bufs[0]; i++)
        f->dev->backend->buf_destroy(f->dev, bufs[i]);
    st_weights_destroy(&f->weights);
    *f = (st_forward){0};
}

/* ---- the step ---- */

int32_t st_forward_window(const st_config *config, int32_t layer)
{
    int32_t period = config->window_period;
    return period > 0 && layer % period == period - 1 ? 0 : config->window;
}

static void linear(st_forward *f, const st_weight *weight, const st_qact *quant, st_buf *dst, int32_t column,
                   int32_t stride, bool accumulate)
{
    f->dev->backend->linear(f->dev, &(st_linear_args){.weight = weight,
                                                      .quant = quant,
                                                      .dst = dst,
                                                      .column = column,
                                                      .stride = stride,
                                                      .accumulate = accumulate,
                                                      .rows = ST_ROWS_TOKEN});
}

static void norm_quant(st_forward *f, const st_buf *src, const st_buf *weight, const st_qact *dst)
{
    f->dev->backend->norm_quant(
        f->dev,
        &(st_norm_quant_args){
            .src = src, .weight = weight, .eps = f->config->norm_eps, .dst = *dst, .rows = ST_ROWS_TOKEN});
}

/* Normed residual stream -> all parts of the stack. Parts whose weights have other groups need other sums of
 * codes, hence their own quantisation of the same values. */
static void project(st_forward *f, const st_stack *stack, const st_buf *norm, st_buf *dst)
{
    st_qact q = {0};
    for (int32_t i = 0; i < stack->n_part; i++) {
        st_qact needed = quantised(f, stack->part[i], f->max_token);
        if (i == 0 || needed.sum_group != q.sum_group) {
            q = needed;
            norm_quant(f, f->x, norm, &q);
        }
        linear(f, stack->part[i], &q, dst, stack->column[i], stack->width, false);
    }
}

/* Output of a branch, through its norm if it has one, onto the residual stream. */
static void add_branch(st_forward *f, const st_weight *weight, const st_qact *quant, const st_buf *post_norm)
{
    int32_t n_embd = f->config->n_embd;
    if (!post_norm) {
        linear(f, weight, quant, f->x, 0, n_embd, true);
        return;
    }
    linear(f, weight, quant, f->branch, 0, n_embd, false);
    f->dev->backend->norm(f->dev, &(st_norm_args){.src = f->branch,
                                                  .dst = f->x,
                                                  .weight = post_norm,
                                                  .dim = n_embd,
                                                  .eps = f->config->norm_eps,
                                                  .accumulate = true,
                                                  .rows = ST_ROWS_TOKEN});
}

static void attention(st_forward *f, int32_t layer)
{
    const st_config *c = f->config;
    const st_block *b = &f->weights.block[layer];
    project(f, &b->qkv, b->attn_norm, f->qkv);
    f->dev->backend->rope_store(f->dev, &(st_rope_store_args){.qkv = f->qkv,
                                                              .stride = b->qkv.width,
                                                              .n_head = c->n_head,
                                                              .n_kv_head = c->n_kv_head,
                                                              .head_dim = c->head_dim,
                                                              .q_norm = b->q_norm,
                                                              .k_norm = b->k_norm,
                                                              .eps = c->norm_eps,
                                                              .cos_sin = f->rope,
                                                              .n_rot = c->n_rot,
                                                              .pairing = c->pairing,
                                                              .layer = layer,
                                                              .kv = f->kv});
    f->dev->backend->attend(f->dev, &(st_attend_args){.qkv = f->qkv,
                                                      .stride = b->qkv.width,
                                                      .dst = f->heads,
                                                      .n_head = c->n_head,
                                                      .n_kv_head = c->n_kv_head,
                                                      .head_dim = c->head_dim,
                                                      .layer = layer,
                                                      .scale = c->attn_scale,
                                                      .window = st_forward_window(c, layer),
                                                      .softcap = c->attn_softcap,
                                                      .causal = true,
                                                      .kv = f->kv});
    st_qact q = quantised(f, b->attn_output, f->max_token);
    norm_quant(f, f->heads, b->attn_sub_norm, &q);
    add_branch(f, b->attn_output, &q, b->attn_post_norm);
}

static void feed_forward(st_forward *f, int32_t layer)
{
    const st_config *c = f->config;
    const st_block *b = &f->weights.block[layer];
    project(f, &b->gate_up, b->ffn_norm, f->ff);
    st_qact q = quantised(f, b->ffn_down, f->max_token);
    f->dev->backend->glu_norm_quant(
        f->dev, &(st_glu_norm_quant_args){
                    .src = f->ff, .act = c->act, .weight = b->ffn_sub_norm, .eps = c->norm_eps, .dst = q});
    add_branch(f, b->ffn_down, &q, b->ffn_post_norm);
}

/* The wanted rows of the residual stream -> logits -> candidates. */
static void head(st_forward *f, int32_t k, int32_t max_adjust)
{
    const st_config *c = f->config;
    const st_weights *w = &f->weights;
    st_linear_args logits = {.weight = w->head, .dst = f->logits, .stride = c->n_vocab, .rows = ST_ROWS_OUT};
    st_qact q;
    if (w->int8_head) {
        q = quantised(f, w->head, f->max_out);
        logits.quant = &q;
        f->dev->backend->norm_quant(
            f->dev,
            &(st_norm_quant_args){
                .src = f->x, .weight = w->output_norm, .eps = c->norm_eps, .dst = q, .rows = ST_ROWS_OUT});
    } else {
        logits.src = f->branch;
        f->dev->backend->norm(f->dev, &(st_norm_args){.src = f->x,
                                                      .dst = f->branch,
                                                      .weight = w->output_norm,
                                                      .dim = c->n_embd,
                                                      .eps = c->norm_eps,
                                                      .rows = ST_ROWS_OUT});
    }
    f->dev->backend->linear(f->dev, &logits);
    f->dev->backend->topk(f->dev, &(st_topk_args){.logits = f->logits,
                                                  .n_vocab = c->n_vocab,
                                                  .k = k,
                                                  .max_adjust = max_adjust,
                                                  .adjust = max_adjust ? f->adjust : NULL,
                                                  .n_adjust = max_adjust ? f->n_adjust : NULL,
                                                  .want = f->want,
                                                  .candidates = f->candidates,
                                                  .stats = f->stats});
}

sterna_status st_forward_run(st_forward *f, st_batch *batch, int32_t k, int32_t max_adjust,
                             sterna_error *error)
{
    st_device *dev = f->dev;
    batch->stream = (uint64_t)k << 32 | (uint64_t)max_adjust; /* all else that ops depend on is the model's */
    /* False means that a recording will be replayed and the ops below are ignored; naming them again keeps
     * one path. */
    dev->backend->begin(dev, batch);
    dev->backend->embed(
        dev, &(st_embed_args){.table = f->weights.embed, .scale = f->weights.embed_scale, .dst = f->x});
    for (int32_t layer = 0; layer < f->config->n_layer; layer++) {
        attention(f, layer);
        feed_forward(f, layer);
    }
    if (batch->n_out > 0)
        head(f, k, max_adjust);
    return dev->backend->end(dev, error);
}
