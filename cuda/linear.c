/* Launchers of linear's variants, and their predicates. */
#include "cuda/device.h"

static int32_t rows_of(const st_cuda *c, const st_linear_args *a)
{
    return a->rows == ST_ROWS_TOKEN ? c->batch->n_token : c->batch->n_out;
}

/* Of a power of two. */
static int32_t log2_of(int32_t x)
{
    int32_t log = 0;
    while (x >> log > 1)
        log++;
    return log;
}

static st_cuda_linear arguments(const st_cuda *c, const st_linear_args *a)
{
    const st_cuda_matrix *w = &((const st_cuda_weight *)(const void *)a->weight)->view;
    st_cuda_linear k = {.w = *w,
                        .src = st_cuda_pointer(a->src),
                        .dst = (float *)st_cuda_pointer(a->dst) + a->column,
                        .stride = a->stride,
                        .n_row = rows_of(c, a),
                        .accumulate = a->accumulate};
    if (!a->quant)
        return k;
    k.q = st_cuda_planes(a->quant);
    int32_t act_group = a->quant->act_group ? a->quant->act_group : w->cols;
    k.segment = (int32_t)st_min(st_min(w->group, act_group), w->cols);
    k.n_segment = (int32_t)st_ceil_div(w->cols, k.segment);
    /* A group of the whole row is that of every segment. */
    k.weight_shift = w->n_group > 1 ? log2_of(w->group / k.segment) : 31;
    k.act_shift = k.q.n_scale > 1 ? log2_of(act_group / k.segment) : 31;
    k.plane_shift = k.n_segment > 1 ? log2_of(k.segment / 32) : 0;
    return k;
}

void st_cuda_linear_generic(st_cuda *c, const void *args)
{
    st_cuda_linear k = arguments(c, args);
    enum { WARPS = ST_CUDA_BLOCK / 32, TOKENS = 4 };
    st_cuda_grid grid;
    if (k.src)
        grid = (st_cuda_grid){(unsigned)st_ceil_div(k.w.rows, WARPS), (unsigned)st_ceil_div(k.n_row, TOKENS)};
    else
        grid = (st_cuda_grid){(unsigned)st_ceil_div((int64_t)k.w.rows * k.n_row, WARPS), 1};
    st_cuda_launch(c, k.src ? ST_CUDA_linear_floats : ST_CUDA_linear_codes, grid, ST_CUDA_BLOCK, 1, 0, &k);
}

/* Ternary codes by int8. */
bool st_cuda_linear_is_ternary(const st_cuda *c, const void *args)
{
    const st_linear_args *a = args;
    (void)c;
    return a->quant && a->weight->type == ST_TERNARY;
}

/* ---- gemv ---- */

/* A multiprocessor of an H100 is sent a tile, 512 bytes, in 35 clocks. dp4a for four tokens takes it 32, and
 * decoding and activations' loads come on top: gemv is for two there. */
bool st_cuda_linear_gemv_pays(const st_cuda *c, const void *args)
{
    const bool much_bandwidth = c->arch >= 90 && c->arch < 120;
    return rows_of(c, args) <= (much_bandwidth ? 2 : 4);
}

void st_cuda_linear_gemv(st_cuda *c, const void *args)
{
    static const st_cuda_kernel kernels[2][3] = {
        {ST_CUDA_linear_gemv_1, ST_CUDA_linear_gemv_2, ST_CUDA_linear_gemv_4},
        {ST_CUDA_linear_gemv_groups_1, ST_CUDA_linear_gemv_groups_2, ST_CUDA_linear_gemv_groups_4}};
    st_cuda_linear k = arguments(c, args);
    const bool groups = k.n_segment > 1;
    const int32_t log = k.n_row > 2 ? 2 : k.n_row > 1, tokens = 1 << log;
    /* What warps have each for themselves: tiles, or blocks of 1024 columns. As few warps as need not do
     * more. */
    const int64_t unit = groups ? ST_K_BLOCK : ST_CUDA_K_TILE, n_unit = st_ceil_div(k.w.cols, unit);
    const int64_t warps = st_ceil_div(n_unit, st_ceil_div(n_unit, ST_CUDA_GEMV_WARPS));
    const size_t sums = (size_t)(groups ? n_unit : warps) * (size_t)tokens * ST_CUDA_ROW_TILE;
    const st_cuda_grid grid = {(unsigned)st_ceil_div(k.w.rows, ST_CUDA_ROW_TILE),
                               (unsigned)st_ceil_div(k.n_row, tokens)};
    st_cuda_launch(c, kernels[groups][log], grid, 32, (unsigned)warps, sums * 4, &k);
}

/* ---- mma ---- */

/* As many octets as there are tokens for; but fewer rows and tokens a block where that leaves multiprocessors
 * without one, since codes that several blocks read come from L2. */
static int mma_choice(const st_cuda *c, const st_cuda_linear *k)
{
    int log = 0;
    while (log < 3 && 8 << log < k->n_row)
        log++;
    while (log > 0 && st_ceil_div(k->w.rows, 16 << log) * st_ceil_div(k->n_row, 8 << log) < c->n_sm)
        log--;
    return log;
}

void st_cuda_linear_mma(st_cuda *c, const void *args)
{
#define ROW(octets)                                                                                          \
    {                                                                                                        \
        {ST_CUDA_linear_mma_##octets, ST_CUDA_MMA_THREADS(octets, 0),                                        \
         ST_CUDA_MMA_STAGES(octets, 0) * ST_CUDA_MMA_STAGE_BYTES(octets, 0)},                                \
            {ST_CUDA_linear_mma_groups_##octets, ST_CUDA_MMA_THREADS(octets, 1),                             \
             ST_CUDA_MMA_STAGES(octets, 1) * ST_CUDA_MMA_STAGE_BYTES(octets, 1)},                            \
    }
    static const struct {
        st_cuda_kernel kernel;
        unsigned threads, shared;
    } shapes[4][2] = {ROW(1), ROW(2), ROW(4), ROW(8)};
#undef ROW
    st_cuda_linear k = arguments(c, args);
    const int log = mma_choice(c, &k), groups = k.n_segment > 1;
    const st_cuda_grid grid = {(unsigned)st_ceil_div(k.w.rows, 16 << log),
                               (unsigned)st_ceil_div(k.n_row, 8 << log)};
    st_cuda_launch(c, shapes[log][groups].kernel, grid, shapes[log][groups].threads, 1,
                   shapes[log][groups].shared, &k);
}
