/* The launchers: from an op's arguments to dispatches. */
#include "vulkan/device.h"

#include <string.h>

static int32_t row_count(const st_vulkan *v, st_rows rows)
{
    return rows == ST_ROWS_TOKEN ? v->batch->n_token : v->batch->n_out;
}

static size_t f32_bytes(int64_t rows, int64_t cols)
{
    return (size_t)rows * (size_t)cols * sizeof(float);
}

static st_vulkan_binding reads(const st_buf *buf, size_t bytes)
{
    return (st_vulkan_binding){.buf = buf, .bytes = bytes, .access = ST_VULKAN_READ};
}

static st_vulkan_binding writes(const st_buf *buf, size_t bytes)
{
    return (st_vulkan_binding){.buf = buf, .bytes = bytes, .access = ST_VULKAN_WRITE};
}

/* Weights, and what the host writes before a step. */
static st_vulkan_binding constant(const st_buf *buf)
{
    return (st_vulkan_binding){.buf = buf};
}

/* The array that says which rows of an op are padding. */
static st_vulkan_binding row_index(const st_vulkan *v, st_rows rows)
{
    return constant(rows == ST_ROWS_TOKEN ? v->batch->pos : v->batch->out);
}

static float rotation_norm(const st_rotation *r)
{
    return r->block ? (float)(1.0 / sqrt((double)r->block)) : 1.0f;
}

/* False, and the device has failed, if a block is more than a workgroup has memory for. */
static bool rotation_fits(st_vulkan *v, const st_rotation *r)
{
    if ((uint32_t)r->block <= v->limits.chunk)
        return true;
    if (v->failure.status == STERNA_OK)
        st_fail(&v->failure, STERNA_E_UNSUPPORTED,
                "%s: rotations of %d columns; the shared memory of this device holds %u", v->name, r->block,
                v->limits.chunk);
    return false;
}

void st_vulkan_embed_run(st_vulkan *v, const void *args)
{
    const st_embed_args *a = args;
    const st_vulkan_weight *w = (const st_vulkan_weight *)(const void *)a->table;
    if (!rotation_fits(v, &a->rotation))
        return;
    st_vulkan_binding binding[] = {
        constant(w->codes),         constant(w->scales),
        constant(v->batch->token),  constant(v->batch->pos),
        constant(a->rotation.sign), writes(a->dst, f32_bytes(v->batch->n_token, w->base.cols))};
    st_vulkan_embed_push push = {.cols = (uint32_t)w->base.cols,
                                 .n_step = (uint32_t)w->n_step,
                                 .n_group = (uint32_t)w->n_group,
                                 .scale_type = st_vulkan_scale_kind(w),
                                 .group_shift = w->base.group ? st_vulkan_log2(w->base.group) : 31,
                                 .block = (uint32_t)a->rotation.block,
                                 .has_sign = a->rotation.sign != NULL,
                                 .scale = a->scale,
                                 .norm = rotation_norm(&a->rotation)};
    st_vulkan_dispatch d = {.shader = ST_VULKAN_SHADER_embed,
                            .constant = {v->limits.local, w->base.type, v->limits.chunk},
                            .n_constant = 3,
                            .push = &push,
                            .push_bytes = sizeof push,
                            .x = (uint32_t)v->batch->n_token,
                            .y = 1};
    st_vulkan_order(v, binding, sizeof binding / sizeof binding[0]);
    for (int32_t first = 0; first < w->base.rows; first += w->split_rows) {
        size_t stored = (size_t)st_min(w->split_rows, st_vulkan_padded_rows(w) - first);
        push.first_row = (uint32_t)first;
        push.rows = (uint32_t)st_min(w->split_rows, w->base.rows - first);
        binding[0].offset = (size_t)first * st_vulkan_code_bytes(w);
        binding[0].bytes = stored * st_vulkan_code_bytes(w);
        binding[1].offset = (size_t)first * st_vulkan_scale_bytes(w);
        binding[1].bytes = stored * st_vulkan_scale_bytes(w);
        st_vulkan_enqueue(v, &d, binding, sizeof binding / sizeof binding[0]);
    }
}

/* All of an op in one dispatch of groups[0] x groups[1] workgroups. */
static void once(st_vulkan *v, st_vulkan_shader shader, const void *push, size_t push_bytes,
                 const st_vulkan_binding *binding, int n_binding, const int32_t groups[2])
{
    st_vulkan_dispatch d = {.shader = shader,
                            .constant = {v->limits.local, v->limits.chunk},
                            .n_constant = 2, /* not all have a use for the second */
                            .push = push,
                            .push_bytes = (uint32_t)push_bytes,
                            .x = (uint32_t)groups[0],
                            .y = (uint32_t)groups[1]};
    st_vulkan_order(v, binding, n_binding);
    st_vulkan_enqueue(v, &d, binding, n_binding);
}

void st_vulkan_norm_run(st_vulkan *v, const void *args)
{
    const st_norm_args *a = args;
    int32_t rows = row_count(v, a->rows);
    if (rows == 0)
        return;
    st_vulkan_binding binding[] = {reads(a->src, f32_bytes(v->batch->n_token, a->dim)),
                                   writes(a->dst, f32_bytes(rows, a->dim)), constant(a->weight),
                                   row_index(v, a->rows)};
    st_vulkan_norm_push push = {.dim = (uint32_t)a->dim,
                                .accumulate = a->accumulate,
                                .gathers = a->rows == ST_ROWS_OUT,
                                .eps = a->eps};
    const int32_t groups[2] = {rows, 1};
    once(v, ST_VULKAN_SHADER_norm, &push, sizeof push, binding, sizeof binding / sizeof binding[0], groups);
}

/* norm_quant and glu_norm_quant; `src` has rows of `src_cols`. */
static void quantise(st_vulkan *v, st_vulkan_shader shader, const st_norm_quant_args *a, int64_t src_cols,
                     uint32_t act)
{
    int32_t rows = row_count(v, a->rows);
    if (rows == 0 || !rotation_fits(v, &a->rotation))
        return;
    st_qact_layout planes = st_qact_planes(&a->dst);
    st_vulkan_binding binding[] = {reads(a->src, f32_bytes(v->batch->n_token, src_cols)), constant(a->weight),
                                   constant(a->rotation.sign), row_index(v, a->rows),
                                   writes(a->dst.buf, planes.bytes)};
    st_vulkan_quant_push push = {.cols = (uint32_t)a->dst.cols,
                                 .gathers = a->rows == ST_ROWS_OUT,
                                 .has_weight = a->weight != NULL,
                                 .act = act,
                                 .block = (uint32_t)a->rotation.block,
                                 .has_sign = a->rotation.sign != NULL,
                                 .norm = rotation_norm(&a->rotation),
                                 .eps = a->eps,
                                 .stride = (uint32_t)(planes.stride / 4),
                                 .scale_at = (uint32_t)(planes.scale_offset / 4),
                                 .sum_at = (uint32_t)(planes.sum_offset / 4),
                                 .n_scale = (uint32_t)planes.n_scale,
                                 .n_sum = (uint32_t)planes.n_sum,
                                 .act_group = (uint32_t)a->dst.act_group,
                                 .sum_group = (uint32_t)a->dst.sum_group};
    const int32_t groups[2] = {rows, 1};
    once(v, shader, &push, sizeof push, binding, sizeof binding / sizeof binding[0], groups);
}

void st_vulkan_norm_quant_run(st_vulkan *v, const void *args)
{
    const st_norm_quant_args *a = args;
    quantise(v, ST_VULKAN_SHADER_norm_quant, a, a->dst.cols, 0);
}

void st_vulkan_glu_norm_quant_run(st_vulkan *v, const void *args)
{
    const st_glu_norm_quant_args *a = args;
    st_norm_quant_args as_norm = {.src = a->src,
                                  .weight = a->weight,
                                  .eps = a->eps,
                                  .rotation = a->rotation,
                                  .dst = a->dst,
                                  .rows = ST_ROWS_TOKEN};
    quantise(v, ST_VULKAN_SHADER_glu_norm_quant, &as_norm, 2 * (int64_t)a->dst.cols, a->act);
}

/* The keys' or the values' plane of a layer: [layer][keys, values][page][head][64][head_dim] halves. A
 * binding begins at a multiple of ST_VULKAN_ALIGN, *skip halves before the plane. */
static st_vulkan_binding kv_plane(const st_kv *kv, int32_t layer, int value, int access, uint32_t *skip)
{
    size_t plane = st_kv_bytes(kv->n_page, 1, kv->n_kv_head, kv->head_dim) / 2;
    size_t begin = ((size_t)layer * 2 + (size_t)value) * plane,
           offset = begin & ~(size_t)(ST_VULKAN_ALIGN - 1);
    *skip = (uint32_t)((begin - offset) / sizeof(uint16_t));
    return (st_vulkan_binding){
        .buf = kv->buf, .offset = offset, .bytes = begin - offset + plane, .access = access};
}

void st_vulkan_rope_store_run(st_vulkan *v, const void *args)
{
    const st_rope_store_args *a = args;
    st_vulkan_rope_push push = {.stride = (uint32_t)a->stride,
                                .n_head = (uint32_t)a->n_head,
                                .n_kv_head = (uint32_t)a->n_kv_head,
                                .head_dim = (uint32_t)a->head_dim,
                                .n_rot = (uint32_t)a->n_rot,
                                .adjacent = a->pairing == ST_PAIR_ADJACENT,
                                .has_q_norm = a->q_norm != NULL,
                                .has_k_norm = a->k_norm != NULL,
                                .eps = a->eps};
    st_vulkan_binding binding[] = {writes(a->qkv, f32_bytes(v->batch->n_token, a->stride)),
                                   constant(a->q_norm),
                                   constant(a->k_norm),
                                   constant(a->cos_sin),
                                   constant(v->batch->pos),
                                   constant(v->batch->slot),
                                   kv_plane(&a->kv, a->layer, 0, ST_VULKAN_WRITE, &push.key_skip),
                                   kv_plane(&a->kv, a->layer, 1, ST_VULKAN_WRITE, &push.value_skip)};
    const int32_t groups[2] = {a->n_head + 2 * a->n_kv_head, v->batch->n_token};
    once(v, ST_VULKAN_SHADER_rope_store, &push, sizeof push, binding, sizeof binding / sizeof binding[0],
         groups);
}

void st_vulkan_attend_run(st_vulkan *v, const void *args)
{
    const st_attend_args *a = args;
    st_vulkan_attend_push push = {.stride = (uint32_t)a->stride,
                                  .n_head = (uint32_t)a->n_head,
                                  .n_kv_head = (uint32_t)a->n_kv_head,
                                  .head_dim = (uint32_t)a->head_dim,
                                  .max_blocks = (uint32_t)v->batch->max_blocks,
                                  .window = (uint32_t)a->window,
                                  .causal = a->causal,
                                  .scale = a->scale,
                                  .softcap = a->softcap,
                                  .inv_softcap = a->softcap > 0.0f ? 1.0f / a->softcap : 0.0f};
    st_vulkan_binding binding[] = {
        reads(a->qkv, f32_bytes(v->batch->n_token, a->stride)),
        writes(a->dst, f32_bytes((int64_t)v->batch->n_token * a->n_head, a->head_dim)),
        constant(v->batch->pos),
        constant(v->batch->seq),
        constant(v->batch->table),
        constant(v->batch->length),
        kv_plane(&a->kv, a->layer, 0, ST_VULKAN_READ, &push.key_skip),
        kv_plane(&a->kv, a->layer, 1, ST_VULKAN_READ, &push.value_skip)};
    const int32_t groups[2] = {a->n_head, v->batch->n_token};
    once(v, ST_VULKAN_SHADER_attend, &push, sizeof push, binding, sizeof binding / sizeof binding[0], groups);
}

void st_vulkan_topk_run(st_vulkan *v, const void *args)
{
    const st_topk_args *a = args;
    int64_t rows = v->batch->n_out;
    if (rows == 0)
        return;
    st_vulkan_binding binding[] = {reads(a->logits, f32_bytes(rows, a->n_vocab)),
                                   constant(a->adjust),
                                   constant(a->n_adjust),
                                   constant(a->want),
                                   constant(v->batch->out),
                                   writes(a->candidates, (size_t)rows * (size_t)a->k * sizeof(st_candidate)),
                                   writes(a->stats, (size_t)rows * sizeof(st_topk_stats))};
    st_vulkan_topk_push push = {
        .n_vocab = (uint32_t)a->n_vocab, .k = (uint32_t)a->k, .max_adjust = (uint32_t)a->max_adjust};
    const int32_t groups[2] = {rows, 1};
    once(v, ST_VULKAN_SHADER_topk, &push, sizeof push, binding, sizeof binding / sizeof binding[0], groups);
}

static st_vulkan_shader shader_by_name(const char *name, bool dot)
{
    char wanted[ST_MAX_NAME];
    strcpy(wanted, name); /* one of four names in linear.c */
    strcat(wanted, dot ? "_dot" : "");
    int i = 0;
    while (strcmp(st_vulkan_codes[i].name, wanted) != 0)
        i++;
    return (st_vulkan_shader)i;
}

void st_vulkan_linear_run(st_vulkan *v, st_vulkan_linear_variant variant, const st_linear_args *a)
{
    int32_t rows = row_count(v, a->rows);
    if (rows == 0)
        return;
    const st_vulkan_weight *w = (const st_vulkan_weight *)(const void *)a->weight;
    st_vulkan_linear_plan plan = st_vulkan_linear_make(&v->linear, variant, a, rows);
    const st_buf *input = a->quant ? a->quant->buf : a->src;
    size_t input_bytes = a->quant ? st_qact_planes(a->quant).bytes : f32_bytes(rows, w->base.cols);
    st_vulkan_binding binding[] = {
        constant(w->codes),
        constant(w->scales),
        constant(w->extras),
        reads(a->quant ? input : NULL, input_bytes),
        reads(input, input_bytes),
        {.buf = a->dst,
         .bytes = f32_bytes(rows, a->stride),
         .access = a->accumulate ? ST_VULKAN_READ | ST_VULKAN_WRITE : ST_VULKAN_WRITE}};
    st_vulkan_dispatch d = {.shader = shader_by_name(plan.shader, plan.dot),
                            .n_constant = plan.n_constant,
                            .push = &plan.push,
                            .push_bytes = sizeof plan.push};
    memcpy(d.constant, plan.constant, sizeof plan.constant);
    st_vulkan_order(v, binding, sizeof binding / sizeof binding[0]);
    for (int32_t first = 0; first < w->base.rows; first += w->split_rows) {
        st_vulkan_linear_split split = st_vulkan_linear_cut(&plan, w, first);
        binding[0].offset = split.codes_offset;
        binding[0].bytes = split.codes_bytes;
        binding[1].offset = split.scales_offset;
        binding[1].bytes = split.scales_bytes;
        d.x = split.groups_x;
        d.y = split.groups_y;
        st_vulkan_enqueue(v, &d, binding, sizeof binding / sizeof binding[0]);
    }
}
