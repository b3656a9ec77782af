#include "vulkan/linear.h"

const char *const st_vulkan_linear_names[ST_VULKAN_LINEAR_COUNT] = {"gemv", "gemv_dot", "tile", "tile_dot",
                                                                    "coopmat"};

enum {
    FLOAT_TEAM = 32,  /* invocations of a sum in linear_float */
    MATRIX_SIDE = 64, /* rows of W and of activations of a workgroup of linear_coopmat */
    TILE_ROWS = 64,
    TILE_SIDE = 4, /* results of an invocation of linear_tile in each direction */
    MAX_PARTS = 8,
    MAX_LANES = 256, /* of linear_gemv: 8 KiB of shared memory */
    MAX_COLUMNS = 8, /* rows of activations that linear_gemv meets at once */
    /* From so many rows of activations on a tile has enough of them; below, more workgroups of linear_gemv
     * are under way: at 33 rows and 2560 rows of W it has 400, linear_tile has 80. */
    TILE_FROM = 33,
    /* And from so many on workgroups are plenty without several parts to a row of W. */
    WHOLE_FROM = 65
};

static int32_t segment_of(const st_linear_args *a)
{
    int32_t group = a->weight->group ? a->weight->group : a->weight->cols;
    int32_t act_group = a->quant->act_group ? a->quant->act_group : a->weight->cols;
    return (int32_t)st_min(st_min(group, act_group), a->weight->cols);
}

bool st_vulkan_linear_exists(const st_vulkan_linear_device *d, st_vulkan_linear_variant variant)
{
    switch (variant) {
    case ST_VULKAN_LINEAR_GEMV_DOT:
    case ST_VULKAN_LINEAR_TILE_DOT:
        return d->dot;
    case ST_VULKAN_LINEAR_COOPMAT: /* four full subgroups; shapes that divide a quarter of the tile */
        return d->matrix[0] && d->subgroup && 4 * d->subgroup <= d->max_invocation &&
               MATRIX_SIDE / 2 % d->matrix[0] == 0 && MATRIX_SIDE / 2 % d->matrix[1] == 0 &&
               MATRIX_SIDE % d->matrix[2] == 0;
    default:
        return true;
    }
}

bool st_vulkan_linear_takes(st_vulkan_linear_variant variant, const st_linear_args *a)
{
    return variant < ST_VULKAN_LINEAR_TILE || (a->quant && segment_of(a) == a->weight->cols);
}

st_vulkan_linear_variant st_vulkan_linear_choose(const st_vulkan_linear_device *d, const st_linear_args *a,
                                                 int32_t n_row)
{
    bool whole = st_vulkan_linear_takes(ST_VULKAN_LINEAR_TILE, a);
    if (n_row >= TILE_FROM && whole) {
        if (st_vulkan_linear_exists(d, ST_VULKAN_LINEAR_COOPMAT))
            return ST_VULKAN_LINEAR_COOPMAT;
        return d->dot ? ST_VULKAN_LINEAR_TILE_DOT : ST_VULKAN_LINEAR_TILE;
    }
    return d->dot ? ST_VULKAN_LINEAR_GEMV_DOT : ST_VULKAN_LINEAR_GEMV;
}

static void set_constants(st_vulkan_linear_plan *p, const uint32_t *constant, uint32_t n)
{
    memcpy(p->constant, constant, n * sizeof *constant);
    p->n_constant = n;
}

/* Rows of W are a multiple of 32 and, where subgroups are known, of their size. */
static void plan_gemv(st_vulkan_linear_plan *p, const st_vulkan_linear_device *d, const st_linear_args *a,
                      int32_t n_row)
{
    int32_t segment = segment_of(a);
    bool full = d->subgroup > 0 && d->subgroup <= d->max_invocation;
    uint32_t rows = full && d->subgroup > ST_VULKAN_TILE ? d->subgroup : ST_VULKAN_TILE;
    uint32_t columns = 1, parts = 1;
    while ((int32_t)columns < n_row && columns < MAX_COLUMNS)
        columns *= 2;
    uint32_t most = (uint32_t)st_min(d->max_invocation, MAX_LANES);
    while (n_row < WHOLE_FROM && parts < MAX_PARTS && 2 * parts * rows <= most)
        parts *= 2;
    p->shader = "linear_gemv";
    p->group_rows = rows;
    p->group_batch = columns;
    const uint32_t constant[] = {rows * parts,
                                 rows,
                                 parts,
                                 columns,
                                 a->weight->type,
                                 segment == a->weight->cols ? 0 : (uint32_t)segment,
                                 full};
    set_constants(p, constant, 7);
}

static void plan_tile(st_vulkan_linear_plan *p, const st_vulkan_linear_device *d, const st_linear_args *a)
{
    uint32_t batch = d->max_invocation >= 256 ? 64 : 32;
    p->shader = "linear_tile";
    p->group_rows = TILE_ROWS;
    p->group_batch = batch;
    const uint32_t constant[] = {TILE_ROWS / TILE_SIDE * (batch / TILE_SIDE), batch, a->weight->type};
    set_constants(p, constant, 3);
}

static void plan_matrix(st_vulkan_linear_plan *p, const st_vulkan_linear_device *d, const st_linear_args *a)
{
    p->shader = "linear_coopmat";
    p->group_rows = MATRIX_SIDE;
    p->group_batch = MATRIX_SIDE;
    const uint32_t constant[] = {4 * d->subgroup, d->matrix[0], d->matrix[1], d->matrix[2], a->weight->type};
    set_constants(p, constant, 5);
}

/* Two teams; eight accumulators an invocation for each of four sums, or of eight. */
static void plan_float(st_vulkan_linear_plan *p, const st_linear_args *a, int32_t n_row)
{
    uint32_t teams = 2, rows = n_row == 1 ? 4 : 2, columns = n_row == 1 ? 1 : 4;
    p->shader = "linear_float";
    p->dot = false;
    p->group_rows = teams * rows;
    p->group_batch = columns;
    const uint32_t constant[] = {FLOAT_TEAM * teams, teams, rows, columns, a->weight->type};
    set_constants(p, constant, 5);
}

static st_vulkan_linear_push push_of(const st_linear_args *a, int32_t n_row)
{
    const st_vulkan_weight *w = (const st_vulkan_weight *)a->weight;
    st_vulkan_linear_push push = {.n_row = (uint32_t)n_row,
                                  .cols = (uint32_t)w->base.cols,
                                  .n_step = (uint32_t)w->n_step,
                                  .n_used = (uint32_t)w->n_used,
                                  .n_group = (uint32_t)w->n_group,
                                  .scale_type = st_vulkan_scale_kind(w),
                                  .weight_shift = w->base.group ? st_vulkan_log2(w->base.group) : 31,
                                  .act_shift = 31,
                                  .n_segment = 1,
                                  .dst_column = (uint32_t)a->column,
                                  .dst_stride = (uint32_t)a->stride,
                                  .accumulate = a->accumulate,
                                  .out_scale = w->out_scale,
                                  .bias = w->bias,
                                  .outlier_start = w->outlier_start,
                                  .outlier_col = w->outlier_col,
                                  .outlier_value = w->outlier_value,
                                  .act_group_shift = ST_VULKAN_NONE};
    if (!a->quant)
        return push;
    st_qact_layout planes = st_qact_planes(a->quant);
    int32_t segment = segment_of(a);
    bool whole = segment == w->base.cols;
    push.weight_shift = w->base.group && !whole ? st_vulkan_log2(w->base.group / segment) : 31;
    push.act_shift = a->quant->act_group && !whole ? st_vulkan_log2(a->quant->act_group / segment) : 31;
    push.n_segment = (uint32_t)st_ceil_div(w->base.cols, segment);
    push.act_stride = (uint32_t)planes.stride;
    push.act_scale = (uint32_t)(planes.scale_offset / 4);
    push.n_act_scale = (uint32_t)planes.n_scale;
    push.act_sum = (uint32_t)(planes.sum_offset / 4);
    push.n_act_sum = (uint32_t)planes.n_sum;
    push.act_group_shift = a->quant->act_group ? st_vulkan_log2(a->quant->act_group) : 31;
    return push;
}

st_vulkan_linear_plan st_vulkan_linear_make(const st_vulkan_linear_device *d,
                                            st_vulkan_linear_variant variant, const st_linear_args *a,
                                            int32_t n_row)
{
    st_vulkan_linear_plan plan = {.dot = variant == ST_VULKAN_LINEAR_GEMV_DOT ||
                                         variant == ST_VULKAN_LINEAR_TILE_DOT,
                                  .push = push_of(a, n_row)};
    if (!a->quant)
        plan_float(&plan, a, n_row);
    else if (variant == ST_VULKAN_LINEAR_COOPMAT)
        plan_matrix(&plan, d, a);
    else if (variant >= ST_VULKAN_LINEAR_TILE)
        plan_tile(&plan, d, a);
    else
        plan_gemv(&plan, d, a, n_row);
    return plan;
}

st_vulkan_linear_split st_vulkan_linear_cut(st_vulkan_linear_plan *plan, const st_vulkan_weight *w,
                                            int32_t first)
{
    int32_t rows = (int32_t)st_min(w->split_rows, w->base.rows - first);
    size_t stored = (size_t)st_min(w->split_rows, st_vulkan_padded_rows(w) - first);
    plan->push.first_row = (uint32_t)first;
    plan->push.rows = (uint32_t)rows;
    return (st_vulkan_linear_split){
        .codes_offset = (size_t)first * st_vulkan_code_bytes(w),
        .codes_bytes = stored * st_vulkan_code_bytes(w),
        .scales_offset = (size_t)first * st_vulkan_scale_bytes(w),
        .scales_bytes = stored * st_vulkan_scale_bytes(w),
        .groups_x = (uint32_t)st_ceil_div(rows, (int64_t)plan->group_rows),
        .groups_y = (uint32_t)st_ceil_div((int64_t)plan->push.n_row, (int64_t)plan->group_batch)};
}
