#include "host/engine/weights.h"

#include "host/engine/head.h"

#include <string.h>

/* ---- one upload ---- */

typedef struct loader {
    st_weights *w;
    const sterna_model *model;
    const st_config *config;
    const st_loading *loading;
    uint64_t done, total; /* bytes of the file's tensors */
    sterna_error *error;
} loader;

/* What this file uploads; rope_freqs goes into the angles' table. */
static uint64_t file_bytes(const sterna_model *model, int32_t n_layer)
{
    uint64_t bytes = 0;
    for (int role = 0; role < ST_ROLE_COUNT; role++) {
        if (role == ST_ROLE_ROPE_FREQS)
            continue;
        int32_t layers = role < ST_ROLE_ATTN_NORM ? 1 : n_layer;
        for (int32_t layer = 0; layer < layers; layer++)
            bytes += st_model_bytes(model, (st_role)role, layer);
    }
    return bytes;
}

static sterna_status advance(loader *l, st_role role, int32_t layer)
{
    l->done += st_model_bytes(l->model, role, layer);
    const st_loading *o = l->loading;
    if (o->progress && !o->progress(o->user, l->done, l->total))
        return st_fail(l->error, STERNA_E_ABORTED, "upload aborted after %llu of %llu bytes",
                       (unsigned long long)l->done, (unsigned long long)l->total);
    return STERNA_OK;
}

/* Uploads a norm's weights times `factor`; an absent role leaves NULL. */
static sterna_status load_vector(loader *l, st_role role, int32_t layer, int32_t n, float factor,
                                 st_buf **buf)
{
    if (!st_model_has(l->model, role, layer))
        return STERNA_OK;
    size_t bytes = (size_t)n * sizeof(float);
    float *host = st_alloc(bytes);
    if (!host)
        return st_fail(l->error, STERNA_E_MEMORY, "out of memory for a vector of %d values", n);
    sterna_status status = st_model_vector(l->model, role, layer, host, n, l->error);
    st_device *dev = l->w->dev;
    if (status == STERNA_OK)
        status = dev->backend->buf_create(dev, bytes, buf, l->error);
    if (status == STERNA_OK) {
        if (factor != 1.0f)
            for (int32_t i = 0; i < n; i++)
                host[i] *= factor;
        dev->backend->write(dev, *buf, 0, host, bytes);
        l->w->bytes += bytes;
        l->w->pass_bytes += bytes;
    }
    st_free(host);
    return status == STERNA_OK ? advance(l, role, layer) : status;
}

/* Uploads matrices of one type stacked by rows. */
static sterna_status upload(loader *l, const st_decoded *part, int n_part, float out_scale,
                            st_weight **weight)
{
    st_matrix matrix[3];
    float *bias = NULL;
    size_t rows = 0, at = 0;
    for (int i = 0; i < n_part; i++) {
        matrix[i] = part[i].matrix;
        rows += (size_t)matrix[i].rows;
    }
    for (int i = 0; i < n_part && !bias; i++)
        if (part[i].bias && !(bias = st_calloc(rows, sizeof *bias)))
            return st_fail(l->error, STERNA_E_MEMORY, "out of memory for a bias of %zu values", rows);
    for (int i = 0; i < n_part; at += (size_t)matrix[i].rows, i++)
        if (part[i].bias)
            memcpy(bias + at, part[i].bias, (size_t)matrix[i].rows * sizeof *bias);
    st_device *dev = l->w->dev;
    sterna_status status = dev->backend->weight_create(dev, matrix, n_part, bias,
                                                       out_scale * part[0].out_scale, NULL, weight, l->error);
    st_free(bias);
    if (status == STERNA_OK)
        l->w->bytes += (*weight)->bytes;
    return status;
}

/* ---- blocks ---- */

static const char *const linear_names[ST_ROLE_COUNT] = {
    [ST_ROLE_ATTN_Q] = "query",  [ST_ROLE_ATTN_K] = "key",
    [ST_ROLE_ATTN_V] = "value",  [ST_ROLE_ATTN_OUTPUT] = "attention output",
    [ST_ROLE_FFN_GATE] = "gate", [ST_ROLE_FFN_UP] = "up",
    [ST_ROLE_FFN_DOWN] = "down"};

/* The matrices of blocks read int8 activations, whose groups must nest with the weight's. */
static sterna_status check_block_matrix(const loader *l, const st_matrix *m, st_role role, int32_t layer)
{
    if (m->type != ST_TERNARY && m->type != ST_Q8)
        return st_fail(l->error, STERNA_E_UNSUPPORTED,
                       "the %s matrix of block %d is of type %s: only ternary and int8 are supported there",
                       linear_names[role], layer, st_type_name(m->type));
    int32_t act = l->config->act_group;
    if (act && m->group && act % m->group != 0 && m->group % act != 0)
        return st_fail(l->error, STERNA_E_UNSUPPORTED,
                       "the %s matrix of block %d has scales per %d columns, its activations per %d",
                       linear_names[role], layer, m->group, act);
    return STERNA_OK;
}

static bool same_layout(const st_decoded *a, const st_decoded *b)
{
    return a->matrix.type == b->matrix.type && a->matrix.group == b->matrix.group &&
           a->matrix.scale_type == b->matrix.scale_type && a->matrix.cols == b->matrix.cols &&
           a->matrix.blocks == b->matrix.blocks && a->out_scale == b->out_scale;
}

/* Loads consecutive roles that read the same input. */
static sterna_status load_stack(loader *l, st_role first, int n, int32_t layer, float out_scale,
                                st_stack *stack)
{
    st_decoded part[3] = {0};
    sterna_status status = STERNA_OK;
    bool together = true;
    for (int i = 0; i < n && status == STERNA_OK; i++) {
        st_role role = (st_role)(first + i);
        status = st_model_matrix(l->model, role, layer, l->loading->pool, &part[i], l->error);
        if (status == STERNA_OK)
            status = check_block_matrix(l, &part[i].matrix, role, layer);
        part[i].matrix.lasting = false; /* int8 activations want the device's own layout */
        together = together && same_layout(&part[0], &part[i]);
    }
    int per_upload = together ? n : 1;
    for (int i = 0; i < n && status == STERNA_OK; i += per_upload) {
        stack->column[stack->n_part] = stack->width;
        status = upload(l, &part[i], per_upload, out_scale, &stack->part[stack->n_part]);
        if (status == STERNA_OK) {
            stack->width += stack->part[stack->n_part]->rows;
            l->w->pass_bytes += stack->part[stack->n_part]->bytes;
            stack->n_part++;
        }
    }
    for (int i = 0; i < n; i++) {
        st_model_drop(l->model, (st_role)(first + i), layer);
        st_decoded_free(&part[i]);
        if (status == STERNA_OK)
            status = advance(l, (st_role)(first + i), layer);
    }
    return status;
}

static sterna_status load_matrix(loader *l, st_role role, int32_t layer, float out_scale, st_weight **weight)
{
    st_stack stack = {0};
    sterna_status status = load_stack(l, role, 1, layer, out_scale, &stack);
    *weight = stack.part[0];
    return status;
}

static sterna_status load_block(loader *l, int32_t layer)
{
    const st_config *c = l->config;
    st_block *b = &l->w->block[layer];
    /* A norm after the branch would undo a factor before it, so the factor goes into that norm. */
    bool attn_post = st_model_has(l->model, ST_ROLE_ATTN_POST_NORM, layer);
    bool ffn_post = st_model_has(l->model, ST_ROLE_FFN_POST_NORM, layer);
    int32_t heads = c->n_head * c->head_dim;
    const struct {
        st_role role;
        int32_t n;
        float factor;
        st_buf **buf;
    } vectors[] = {{ST_ROLE_ATTN_NORM, c->n_embd, 1.0f, &b->attn_norm},
                   {ST_ROLE_ATTN_Q_NORM, c->head_dim, 1.0f, &b->q_norm},
                   {ST_ROLE_ATTN_K_NORM, c->head_dim, 1.0f, &b->k_norm},
                   {ST_ROLE_ATTN_SUB_NORM, heads, 1.0f, &b->attn_sub_norm},
                   {ST_ROLE_ATTN_POST_NORM, c->n_embd, c->residual_scale, &b->attn_post_norm},
                   {ST_ROLE_FFN_NORM, c->n_embd, 1.0f, &b->ffn_norm},
                   {ST_ROLE_FFN_SUB_NORM, c->n_ff, 1.0f, &b->ffn_sub_norm},
                   {ST_ROLE_FFN_POST_NORM, c->n_embd, c->residual_scale, &b->ffn_post_norm}};
    sterna_status status = STERNA_OK;
    for (size_t i = 0; i < sizeof vectors / sizeof vectors[0] && status == STERNA_OK; i++)
        status = load_vector(l, vectors[i].role, layer, vectors[i].n, vectors[i].factor, vectors[i].buf);
    if (status == STERNA_OK)
        status = load_stack(l, ST_ROLE_ATTN_Q, 3, layer, 1.0f, &b->qkv);
    if (status == STERNA_OK)
        status =
            load_matrix(l, ST_ROLE_ATTN_OUTPUT, layer, attn_post ? 1.0f : c->residual_scale, &b->attn_output);
    if (status == STERNA_OK)
        status = load_stack(l, ST_ROLE_FFN_GATE, 2, layer, 1.0f, &b->gate_up);
    if (status == STERNA_OK)
        status = load_matrix(l, ST_ROLE_FFN_DOWN, layer, ffn_post ? 1.0f : c->residual_scale, &b->ffn_down);
    return status;
}

/* ---- embedding and head ---- */

/* The head as int8, from a matrix that reads f32. Its pages go before the copy is uploaded: otherwise file,
 * copy and upload would be there at the same time. */
static sterna_status upload_int8_head(loader *l, st_role role, st_decoded *from)
{
    st_decoded head;
    sterna_status status = st_head_quantise(from, l->loading->pool, &head, l->error);
    if (status != STERNA_OK)
        return status;
    st_model_drop(l->model, role, 0);
    status = upload(l, &head, 1, l->config->logit_scale, &l->w->head);
    st_decoded_free(&head);
    return status;
}

/* An int8 head that was stored in groups stands for a float one, and keeps float activations unless a head of
 * Q8 is asked for. */
static bool reads_int8(const st_decoded *d)
{
    return d->matrix.type == ST_TERNARY || (d->matrix.type == ST_Q8 && d->matrix.group == 0);
}

/* `d` is the matrix of `role`; `shared`: it has been uploaded as the embedding. */
static sterna_status load_head(loader *l, st_role role, st_decoded *d, bool shared)
{
    st_weights *w = l->w;
    bool q8 = l->loading->head == STERNA_HEAD_Q8;
    w->int8_head = q8 || reads_int8(d);
    if (q8 && !reads_int8(d))
        return upload_int8_head(l, role, d);
    if (q8)
        st_log_write(&l->loading->log, STERNA_LOG_WARN,
                     "head q8: this model's head is %s with int8 activations already, and stays so",
                     st_type_name(d->matrix.type));
    if (shared) {
        w->head = w->embed;
        return STERNA_OK;
    }
    return upload(l, d, 1, l->config->logit_scale, &w->head);
}

static sterna_status load_ends(loader *l)
{
    const st_config *c = l->config;
    st_weights *w = l->w;
    bool tied = !st_model_has(l->model, ST_ROLE_OUTPUT, 0);
    const st_role roles[] = {ST_ROLE_TOKEN_EMBD, ST_ROLE_OUTPUT};
    for (int i = 0; i < (tied ? 1 : 2); i++) {
        st_decoded d;
        sterna_status status = st_model_matrix(l->model, roles[i], 0, l->loading->pool, &d, l->error);
        if (status == STERNA_OK && i == 0) {
            w->embed_scale = c->embed_scale * d.out_scale;
            status = upload(l, &d, 1, tied ? c->logit_scale : 1.0f, &w->embed);
        }
        if (status == STERNA_OK && (tied || i == 1))
            status = load_head(l, roles[i], &d, tied);
        const st_weight *made = i == 0 ? w->embed : w->head;
        if (!made || !made->in_place)
            st_model_drop(l->model, roles[i], 0);
        st_decoded_free(&d);
        if (status == STERNA_OK)
            status = advance(l, roles[i], 0);
        if (status != STERNA_OK)
            return status;
    }
    if (w->int8_head && c->act_group && w->head->group && c->act_group % w->head->group != 0 &&
        w->head->group % c->act_group != 0)
        return st_fail(l->error, STERNA_E_UNSUPPORTED,
                       "the head has scales per %d columns, its activations per %d", w->head->group,
                       c->act_group);
    return load_vector(l, ST_ROLE_OUTPUT_NORM, 0, c->n_embd, 1.0f, &w->output_norm);
}

sterna_status st_weights_create(st_weights *weights, const sterna_model *model, st_device *dev,
                                const st_loading *loading, sterna_error *error)
{
    const st_config *config = st_model_config(model);
    *weights = (st_weights){.dev = dev, .n_layer = config->n_layer};
    loader l = {.w = weights,
                .model = model,
                .config = config,
                .loading = loading,
                .total = file_bytes(model, config->n_layer),
                .error = error};
    weights->block = st_calloc((size_t)config->n_layer, sizeof *weights->block);
    if (!weights->block)
        return st_fail(error, STERNA_E_MEMORY, "out of memory for %d blocks", config->n_layer);
    sterna_status status = load_ends(&l);
    for (int32_t layer = 0; layer < config->n_layer && status == STERNA_OK; layer++)
        status = load_block(&l, layer);
    return status;
}

/* ---- destruction ---- */

static void destroy_stack(st_device *dev, st_stack *stack)
{
    for (int i = 0; i < 3; i++)
        dev->backend->weight_destroy(dev, stack->part[i]);
}

void st_weights_destroy(st_weights *weights)
{
    st_device *dev = weights->dev;
    if (!dev)
        return;
    for (int32_t i = 0; weights->block && i < weights->n_layer; i++) {
        st_block *b = &weights->block[i];
        st_buf *bufs[] = {b->attn_norm,     b->ffn_norm,     b->q_norm,         b->k_norm,
                          b->attn_sub_norm, b->ffn_sub_norm, b->attn_post_norm, b->ffn_post_norm};
        for (size_t j = 0; j < sizeof bufs / sizeof bufs[0]; j++)
            dev->backend->buf_destroy(dev, bufs[j]);
        destroy_stack(dev, &b->qkv);
        destroy_stack(dev, &b->gate_up);
        dev->backend->weight_destroy(dev, b->attn_output);
        dev->backend->weight_destroy(dev, b->ffn_down);
    }
    if (weights->head != weights->embed)
        dev->backend->weight_destroy(dev, weights->head);
    dev->backend->weight_destroy(dev, weights->embed);
    dev->backend->buf_destroy(dev, weights->output_norm);
    st_free(weights->block);
    *weights = (st_weights){0};
}
