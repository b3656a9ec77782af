/* Weights: canonical rows go through staging memory to the device, where kernels put ternary codes and scales
 * into the layout of ternary.cuh. */
#include "cuda/device.h"

#include <string.h>

/* The matrix that the parts make, by rows. */
typedef struct stack {
    const st_matrix *parts;
    int n_part, part;  /* the part that has the next row, */
    int32_t row, rows; /* which is this one of it; rows of all parts */
} stack;

/* Next row's codes or elements, or its scales. */
static void next_row(stack *s, bool scales, unsigned char *to, size_t bytes)
{
    while (s->row == s->parts[s->part].rows) {
        s->part++;
        s->row = 0;
    }
    const st_matrix *m = &s->parts[s->part];
    int32_t row = s->row++;
    if (!m->blocks) {
        const unsigned char *data = (const unsigned char *)m->data + (size_t)row * m->row_bytes;
        memcpy(to, scales ? st_matrix_scale_at(m, row, 0) : data, bytes);
        return;
    }
    size_t share = scales ? sizeof(uint16_t) : ST_BLOCK_COLS;
    for (int32_t g = 0; g < m->cols / ST_BLOCK_COLS; g++, to += share)
        memcpy(to,
               scales ? (const void *)st_matrix_scale_at(m, row, g) : st_matrix_q8(m, row, ST_BLOCK_COLS * g),
               share);
}

/* Copies rows into staging memory, `row_bytes` apart, and enqueues their way to `to`. Scales instead of
 * elements if `scales`. */
static bool copy_rows(st_cuda *c, stack *s, int32_t n, size_t bytes, size_t row_bytes, bool scales,
                      CUdeviceptr to)
{
    unsigned char *stage = st_cuda_stage(c, (size_t)n * row_bytes);
    for (int32_t i = 0; stage && i < n; i++, stage += row_bytes) {
        next_row(s, scales, stage, bytes);
        memset(stage + bytes, 0, row_bytes - bytes);
    }
    size_t total = (size_t)n * row_bytes;
    return stage && ST_CUDA_CALL(c, memcpy_htod_async, to, stage - total, total, c->stream);
}

/* Whole row tiles that fit into staging memory and scratch. */
static int32_t tile_rows(size_t row_bytes)
{
    int32_t rows = (int32_t)(ST_CUDA_STAGING / row_bytes) / ST_CUDA_ROW_TILE * ST_CUDA_ROW_TILE;
    assert(rows > 0);
    return rows;
}

/* Codes or scales by way of scratch into the layout of tiles. */
static bool upload_packed(st_cuda *c, const st_cuda_weight *w, stack s, bool scales, size_t bytes)
{
    int32_t share = tile_rows(bytes), unit_bytes = w->view.scale_type == ST_F32 ? 4 : 2;
    int32_t tiles = (int32_t)st_ceil_div(w->view.cols, ST_CUDA_K_TILE);
    for (int32_t first = 0; first < s.rows; first += share) {
        int32_t n = (int32_t)st_min(share, s.rows - first);
        if (!copy_rows(c, &s, n, bytes, bytes, scales, c->scratch))
            return false;
        st_cuda_pack pack = {.src = (const void *)(uintptr_t)c->scratch,
                             .dst = (void *)(uintptr_t)(scales ? w->view.scale : w->view.data),
                             .src_row_bytes = (int64_t)bytes,
                             .first_row = first,
                             .n_row = n,
                             .n_unit = scales ? w->view.n_group : tiles,
                             .unit_bytes = unit_bytes};
        int64_t row_tiles = st_ceil_div(n, ST_CUDA_ROW_TILE);
        int64_t threads = row_tiles * pack.n_unit * (scales ? ST_CUDA_ROW_TILE : ST_CUDA_TILE_BYTES / 4);
        st_cuda_grid grid = {(unsigned)st_ceil_div(threads, ST_CUDA_BLOCK), 1};
        st_cuda_launch(c, scales ? ST_CUDA_pack_scales : ST_CUDA_pack_codes, grid, ST_CUDA_BLOCK, 1, 0,
                       &pack);
        if (c->failure.status != STERNA_OK)
            return false;
    }
    return true;
}

static bool upload_plain(st_cuda *c, const st_cuda_weight *w, stack s, size_t bytes)
{
    size_t row_bytes = (size_t)w->view.row_bytes;
    int32_t share = (int32_t)(ST_CUDA_STAGING / row_bytes);
    CUdeviceptr to = (CUdeviceptr)(uintptr_t)w->view.data;
    for (int32_t first = 0; first < s.rows; first += share) {
        int32_t n = (int32_t)st_min(share, s.rows - first);
        if (!copy_rows(c, &s, n, bytes, row_bytes, false, to + (size_t)first * row_bytes))
            return false;
    }
    return true;
}

static bool upload_array(st_cuda *c, const void *to, const void *src, size_t bytes)
{
    for (size_t at = 0; at < bytes;) {
        size_t part = bytes - at < ST_CUDA_STAGING ? bytes - at : ST_CUDA_STAGING;
        void *stage = st_cuda_stage(c, part);
        if (!stage)
            return false;
        memcpy(stage, (const unsigned char *)src + at, part);
        if (!ST_CUDA_CALL(c, memcpy_htod_async, (CUdeviceptr)(uintptr_t)to + at, stage, part, c->stream))
            return false;
        at += part;
    }
    return true;
}

/* Where the outliers of each row begin, i32 [rows + 1]; NULL when out of memory. */
static int32_t *outlier_starts(const st_outliers *o, int32_t rows)
{
    int32_t *start = st_alloc(((size_t)rows + 1) * sizeof *start);
    int32_t next = 0;
    for (int32_t n = 0; start && n <= rows; n++) {
        while (next < o->count && o->row[next] < n)
            next++;
        start[n] = next;
    }
    return start;
}

/* A plane of the weight's memory: aligned for any load. */
static const void *plane(size_t *end, size_t bytes)
{
    size_t at = *end;
    *end = st_align_up(at + bytes, 256);
    return (const void *)(uintptr_t)(bytes ? at : 0);
}

/* Planes as offsets, to which the address of the memory is added once there is one. Returns the total. */
static size_t lay_out(st_cuda_matrix *v, bool bias, int32_t n_outlier)
{
    size_t row_tiles = (size_t)st_ceil_div(v->rows, ST_CUDA_ROW_TILE), end = 256; /* offset 0 means none */
    size_t k_tiles = (size_t)st_ceil_div(v->cols, ST_CUDA_K_TILE), rows = (size_t)v->rows;
    bool ternary = v->type == ST_TERNARY, scaled = ternary || v->type == ST_Q8;
    /* Kernels read 8 elements at a time, 32 bytes of f32. */
    v->row_bytes = (int64_t)st_align_up(st_row_bytes((st_type)v->type, v->cols), 32);
    v->data = plane(&end, ternary ? row_tiles * k_tiles * ST_CUDA_TILE_BYTES : rows * (size_t)v->row_bytes);
    size_t scales = row_tiles * ST_CUDA_ROW_TILE * (size_t)v->n_group;
    v->scale = plane(&end, scaled ? scales * st_row_bytes((st_type)v->scale_type, 1) : 0);
    v->bias = plane(&end, bias ? rows * sizeof(float) : 0);
    v->outlier_start = plane(&end, n_outlier ? (rows + 1) * sizeof(int32_t) : 0);
    v->outlier_col = plane(&end, (size_t)n_outlier * sizeof(int32_t));
    v->outlier = plane(&end, (size_t)n_outlier * sizeof(uint16_t));
    return end;
}

static const void *placed(const void *offset, CUdeviceptr memory)
{
    return offset ? (const void *)((uintptr_t)offset + (uintptr_t)memory) : NULL;
}

static bool upload(st_cuda *c, st_cuda_weight *w, const stack *s, const float *bias, const st_outliers *o,
                   const int32_t *starts)
{
    st_cuda_matrix *v = &w->view;
    st_type type = s->parts[0].type;
    size_t row_bytes = st_row_bytes(type, v->cols), n = (size_t)w->base.n_outlier;
    size_t scale_bytes = (size_t)v->n_group * st_row_bytes((st_type)v->scale_type, 1);
    if (type == ST_TERNARY ? !upload_packed(c, w, *s, false, row_bytes) : !upload_plain(c, w, *s, row_bytes))
        return false;
    if (v->scale && !upload_packed(c, w, *s, true, scale_bytes))
        return false;
    if (bias && !upload_array(c, v->bias, bias, (size_t)v->rows * sizeof *bias))
        return false;
    return !n || (upload_array(c, v->outlier_start, starts, ((size_t)v->rows + 1) * sizeof *starts) &&
                  upload_array(c, v->outlier_col, o->col, n * sizeof *o->col) &&
                  upload_array(c, v->outlier, o->f16, n * sizeof *o->f16));
}

static sterna_status create(st_cuda *c, st_cuda_weight *w, const stack *s, const float *bias,
                            const st_outliers *o, sterna_error *error)
{
    st_cuda_matrix *v = &w->view;
    size_t bytes = lay_out(v, bias != NULL, w->base.n_outlier);
    sterna_status status = st_cuda_alloc(c, bytes, "a weight", &w->memory, error);
    if (status != STERNA_OK)
        return status;
    w->base.bytes = bytes - 256;
    v->data = placed(v->data, w->memory);
    v->scale = placed(v->scale, w->memory);
    v->bias = placed(v->bias, w->memory);
    v->outlier_start = placed(v->outlier_start, w->memory);
    v->outlier_col = placed(v->outlier_col, w->memory);
    v->outlier = placed(v->outlier, w->memory);
    int32_t *starts = NULL;
    if (w->base.n_outlier && !(starts = outlier_starts(o, v->rows)))
        return st_fail(error, STERNA_E_MEMORY, "%s: no host memory for the outliers of %d rows", c->name,
                       v->rows);
    bool done = upload(c, w, s, bias, o, starts) && ST_CUDA_CALL(c, stream_synchronize, c->stream);
    st_free(starts);
    if (!done && error)
        *error = c->failure;
    return done ? STERNA_OK : c->failure.status;
}

sterna_status st_cuda_weight_create(st_device *dev, const st_matrix *parts, int n_part, const float *bias,
                                    float out_scale, const st_outliers *outliers, st_weight **weight,
                                    sterna_error *error)
{
    st_cuda *c = (st_cuda *)(void *)dev;
    stack s = {.parts = parts, .n_part = n_part};
    for (int p = 0; p < n_part; p++)
        s.rows += parts[p].rows;
    const st_matrix *m = &parts[0];
    st_cuda_weight *w = st_calloc(1, sizeof *w);
    if (!w)
        return st_fail(error, STERNA_E_MEMORY, "%s: no host memory for a weight", c->name);
    w->base = (st_weight){.type = m->type,
                          .rows = s.rows,
                          .cols = m->cols,
                          .group = m->group,
                          .has_bias = bias != NULL,
                          .n_outlier = outliers ? outliers->count : 0};
    w->view = (st_cuda_matrix){.type = (int32_t)m->type,
                               .scale_type = (int32_t)m->scale_type,
                               .rows = s.rows,
                               .cols = m->cols,
                               .group = m->group ? m->group : m->cols,
                               .n_group = st_matrix_groups(m),
                               .out_scale = out_scale};
    sterna_status status = create(c, w, &s, bias, outliers, error);
    if (status == STERNA_OK)
        *weight = &w->base;
    else
        st_cuda_weight_destroy(dev, &w->base);
    return status;
}

void st_cuda_weight_destroy(st_device *dev, st_weight *weight)
{
    st_cuda *c = (st_cuda *)(void *)dev;
    st_cuda_weight *w = (st_cuda_weight *)(void *)weight;
    if (!w)
        return;
    st_cuda_forget(c);
    c->cu->ctx_set_current(c->context);
    if (w->memory)
        c->cu->mem_free(w->memory);
    st_free(w);
}
