/* Upload: canonical rows to the device layout that cpu.h describes, and back to f32 rows for lookups. */
#include "host/cpu/cpu.h"

/* Sizes and addresses of one upload; the planes of a weight live in one allocation. */
typedef struct upload {
    st_cpu_weight *w;
    const st_matrix *parts;
    int n_part;
} upload;

static bool is_scaled(st_type type)
{
    return type == ST_TERNARY || type == ST_Q8;
}

static size_t scale_size(const st_cpu_weight *w)
{
    return w->scale_type == ST_F32 ? sizeof(float) : sizeof(uint16_t);
}

/* The part that row r of the stack is in; *row becomes the row within it. */
static const st_matrix *part_of(const upload *u, int32_t r, int32_t *row)
{
    const st_matrix *part = u->parts;
    while (r >= part->rows)
        r -= (part++)->rows;
    *row = r;
    return part;
}

/* 4 x 4 transposition of 2-bit fields: canonical bytes hold columns 4 j ... 4 j + 3, ours j, j + 4, j + 8 ...
 */
static uint32_t transpose_codes(uint32_t x)
{
    uint32_t t = (x ^ x >> 6) & 0x00cc00ccu;
    x ^= t ^ t << 6;
    t = (x ^ x >> 12) & 0x0000f0f0u;
    return x ^ t ^ t << 12;
}

static void upload_ternary_row(const upload *u, int32_t r)
{
    st_cpu_weight *w = u->w;
    unsigned char *to = w->data + (size_t)(r / ST_CPU_TILE) * w->row_bytes + (size_t)(r % ST_CPU_TILE) * 4;
    const uint32_t zero = 0x55555555u;
    if (r >= w->base.rows) {
        for (int32_t step = 0; step < w->n_step; step++)
            memcpy(to + (size_t)step * ST_CPU_STEP_BYTES, &zero, sizeof zero);
        return;
    }
    int32_t row;
    const st_matrix *part = part_of(u, r, &row);
    const unsigned char *from = (const unsigned char *)part->data + (size_t)row * part->row_bytes;
    for (int32_t step = 0; step < w->n_step; step++) { /* rows are padded to 16 bytes: whole words exist */
        uint32_t word = (uint32_t)from[4 * step] | (uint32_t)from[4 * step + 1] << 8 |
                        (uint32_t)from[4 * step + 2] << 16 | (uint32_t)from[4 * step + 3] << 24;
        word = transpose_codes(word);
        unsigned char bytes[4] = {word & 255, word >> 8 & 255, word >> 16 & 255, word >> 24};
        memcpy(to + (size_t)step * ST_CPU_STEP_BYTES, bytes, 4);
    }
}

/* Four columns to each step; eight steps of all rows at a time, whose lines stay in the first-level cache. */
static void upload_q8_tile(const upload *u, int32_t tile)
{
    st_cpu_weight *w = u->w;
    unsigned char *to = w->data + (size_t)tile * w->row_bytes;
    for (int32_t k = 0; k < 4 * w->n_step; k += 32)
        for (int i = 0; i < ST_CPU_TILE; i++) {
            int32_t r = tile * ST_CPU_TILE + i, row, n = (int32_t)st_min(32, w->base.cols - k);
            int8_t codes[32] = {0};
            if (r < w->base.rows) {
                const st_matrix *part = part_of(u, r, &row);
                memcpy(codes, st_matrix_q8(part, row, k), (size_t)n);
            }
            for (int step = 0; step < 8; step++)
                memcpy(to + ((size_t)(k / 4 + step)) * ST_CPU_STEP_BYTES + 4 * i, codes + 4 * step, 4);
        }
}

static void upload_dense_row(const upload *u, int32_t r)
{
    st_cpu_weight *w = u->w;
    int32_t row;
    const st_matrix *part = part_of(u, r, &row);
    size_t used = st_row_bytes(w->base.type, w->base.cols);
    unsigned char *to = w->data + (size_t)r * w->row_bytes;
    memcpy(to, (const unsigned char *)part->data + (size_t)row * part->row_bytes, used);
    memset(to + used, 0, w->row_bytes - used);
}

static void upload_scales(const upload *u, int32_t tile)
{
    st_cpu_weight *w = u->w;
    size_t size = scale_size(w);
    unsigned char *to = (unsigned char *)w->scale + (size_t)tile * (size_t)w->n_group * ST_CPU_TILE * size;
    for (int32_t g = 0; g < w->n_group; g++)
        for (int i = 0; i < ST_CPU_TILE; i++, to += size) {
            int32_t r = tile * ST_CPU_TILE + i, row;
            if (r < w->base.rows) {
                const st_matrix *part = part_of(u, r, &row);
                memcpy(to, st_matrix_scale_at(part, row, g), size);
            } else {
                memset(to, 0, size);
            }
        }
}

static void upload_tiles(void *context, int64_t first, int64_t count)
{
    const upload *u = context;
    for (int32_t tile = (int32_t)first; tile < first + count; tile++) {
        int32_t r = tile * ST_CPU_TILE, end = r + ST_CPU_TILE;
        if (u->w->base.type == ST_Q8)
            upload_q8_tile(u, tile);
        else if (u->w->base.type == ST_TERNARY)
            for (; r < end; r++)
                upload_ternary_row(u, r);
        else
            for (; r < end && r < u->w->base.rows; r++)
                upload_dense_row(u, r);
        if (u->w->scale)
            upload_scales(u, tile);
    }
}

static sterna_status upload_outliers(st_cpu_weight *w, const st_outliers *o, sterna_error *error)
{
    size_t count = (size_t)o->count, rows = (size_t)w->base.rows;
    w->outlier_start = st_calloc(rows + 1, sizeof(int32_t));
    w->outlier_col = st_alloc(count * sizeof(int32_t));
    w->outlier = st_alloc(count * sizeof(float));
    if (!w->outlier_start || !w->outlier_col || !w->outlier)
        return st_fail(error, STERNA_E_MEMORY, "no memory for %d outliers of %d rows", o->count,
                       w->base.rows);
    for (size_t i = 0; i < count; i++) {
        w->outlier_start[o->row[i] + 1]++;
        w->outlier_col[i] = o->col[i];
        w->outlier[i] = st_f16_to_f32(o->f16[i]);
    }
    for (size_t r = 0; r < rows; r++)
        w->outlier_start[r + 1] += w->outlier_start[r];
    return STERNA_OK;
}

/* Dense rows that lie as ours do, and blocks, need no copy if they last. Kernels load them at any alignment.
 */
static bool is_usable(const st_matrix *m, int n_part)
{
    size_t used = st_row_bytes(m->type, m->cols);
    bool dense = !is_scaled(m->type) && m->row_bytes == used && used % 64 == 0;
    return n_part == 1 && m->lasting && (m->blocks || dense);
}

/* Fills in the shape; returns the bytes of `data`. */
static size_t shape(st_cpu_weight *w, const st_matrix *parts, int n_part)
{
    const st_matrix *m = parts;
    int64_t rows = 0;
    for (int i = 0; i < n_part; i++) {
        rows += parts[i].rows;
        w->has_code3 = w->has_code3 || (parts[i].type == ST_TERNARY && parts[i].has_code3);
    }
    assert(rows <= ST_MAX_ROWS);
    w->base = (st_weight){
        .type = m->type, .rows = (int32_t)rows, .cols = m->cols, .group = is_scaled(m->type) ? m->group : 0};
    w->scale_type = m->scale_type;
    w->n_tile = (int32_t)st_ceil_div(rows, ST_CPU_TILE);
    w->n_step = (int32_t)st_ceil_div(m->cols, ST_CPU_STEP);
    w->n_group = is_scaled(m->type) ? st_matrix_groups(m) : 0;
    w->base.in_place = is_usable(parts, n_part);
    if (m->type == ST_Q8)
        w->n_step = (int32_t)st_ceil_div(m->cols, 32) * 8; /* of 4 columns */
    if (st_cpu_is_tiled(w)) {
        w->row_bytes = (size_t)w->n_step * ST_CPU_STEP_BYTES;
        return (size_t)w->n_tile * w->row_bytes;
    }
    w->row_bytes = w->base.in_place ? m->row_bytes : st_align_up(st_row_bytes(m->type, m->cols), 64);
    return (size_t)rows * w->row_bytes;
}

sterna_status st_cpu_weight_create(st_device *dev, const st_matrix *parts, int n_part, const float *bias,
                                   float out_scale, const st_outliers *outliers, st_weight **weight,
                                   sterna_error *error)
{
    st_cpu_weight *w = st_calloc(1, sizeof *w);
    if (!w)
        return st_fail(error, STERNA_E_MEMORY, "no memory for a weight");
    size_t bytes = shape(w, parts, n_part), padded = (size_t)w->n_tile * ST_CPU_TILE;
    size_t scales = st_cpu_is_tiled(w) ? padded * (size_t)w->n_group * scale_size(w) : 0;
    w->out_scale = out_scale;
    w->data = w->base.in_place ? (unsigned char *)(uintptr_t)parts->data : st_alloc(bytes);
    w->scale = scales ? st_alloc(scales) : NULL;
    w->bias = bias ? st_calloc(padded, sizeof(float)) : NULL;
    if (!w->data || (scales && !w->scale) || (bias && !w->bias)) {
        st_fail(error, STERNA_E_MEMORY, "no memory for a %s matrix of %d x %d (%zu bytes)",
                st_type_name(parts->type), w->base.rows, w->base.cols, bytes + scales);
        st_cpu_weight_destroy(dev, &w->base);
        return STERNA_E_MEMORY;
    }
    if (bias)
        memcpy(w->bias, bias, (size_t)w->base.rows * sizeof(float));
    if (outliers && outliers->count > 0) {
        sterna_status status = upload_outliers(w, outliers, error);
        if (status != STERNA_OK) {
            st_cpu_weight_destroy(dev, &w->base);
            return status;
        }
        w->base.n_outlier = outliers->count;
    }
    upload u = {w, parts, n_part};
    if (!w->base.in_place)
        st_pool_loop_once(((st_cpu *)dev)->pool, w->n_tile, 16, upload_tiles, &u);
    w->base.has_bias = bias != NULL;
    w->base.bytes = bytes + scales + (bias ? padded * sizeof(float) : 0) +
                    (size_t)w->base.n_outlier * (sizeof(int32_t) + sizeof(float)) +
                    (w->base.n_outlier ? ((size_t)w->base.rows + 1) * sizeof(int32_t) : 0);
    *weight = &w->base;
    return STERNA_OK;
}

void st_cpu_weight_destroy(st_device *dev, st_weight *weight)
{
    (void)dev;
    st_cpu_weight *w = (st_cpu_weight *)weight;
    if (!w)
        return;
    if (!w->base.in_place)
        st_free(w->data);
    st_free(w->scale);
    st_free(w->bias);
    st_free(w->outlier_start);
    st_free(w->outlier_col);
    st_free(w->outlier);
    st_free(w);
}

float st_cpu_weight_scale(const st_cpu_weight *w, int32_t row, int32_t group)
{
    if (!st_cpu_is_tiled(w)) {
        uint16_t f16;
        memcpy(&f16, w->data + (size_t)row * w->row_bytes + (size_t)group * ST_BLOCK_BYTES, sizeof f16);
        return st_f16_to_f32(f16);
    }
    size_t at = ((size_t)(row / ST_CPU_TILE) * (size_t)w->n_group + (size_t)group) * ST_CPU_TILE +
                (size_t)(row % ST_CPU_TILE);
    if (w->scale_type == ST_F32)
        return ((const float *)w->scale)[at];
    uint16_t stored = ((const uint16_t *)w->scale)[at];
    return w->scale_type == ST_F16 ? st_f16_to_f32(stored) : st_bf16_to_f32(stored);
}

static void ternary_row(const st_cpu_weight *w, int32_t row, float *dst)
{
    const unsigned char *from =
        w->data + (size_t)(row / ST_CPU_TILE) * w->row_bytes + (size_t)(row % ST_CPU_TILE) * 4;
    for (int32_t k = 0; k < w->base.cols; k++) {
        unsigned char byte = from[(size_t)(k / ST_CPU_STEP) * ST_CPU_STEP_BYTES + (size_t)(k & 3)];
        dst[k] = (float)((byte >> 2 * (k >> 2 & 3) & 3) - 1);
    }
}

void st_cpu_weight_row(const st_cpu_weight *w, int32_t row, float *dst)
{
    const unsigned char *data = w->data + (size_t)row * w->row_bytes;
    int32_t cols = w->base.cols;
    switch (w->base.type) {
    case ST_F32:
        memcpy(dst, data, (size_t)cols * sizeof(float));
        return;
    case ST_F16:
        for (int32_t k = 0; k < cols; k++)
            dst[k] = st_f16_to_f32(((const uint16_t *)data)[k]);
        return;
    case ST_BF16:
        for (int32_t k = 0; k < cols; k++)
            dst[k] = st_bf16_to_f32(((const uint16_t *)data)[k]);
        return;
    case ST_Q8:
        for (int32_t k = 0; k < cols; k++)
            dst[k] = (float)st_cpu_weight_q8(w, row, k / 4 * 4)[k % 4];
        break;
    case ST_TERNARY:
        ternary_row(w, row, dst);
        break;
    }
    int32_t group = w->base.group ? w->base.group : cols;
    for (int32_t g = 0; g < w->n_group; g++) {
        float scale = st_cpu_weight_scale(w, row, g);
        int32_t end = (int32_t)st_min(cols, (int64_t)(g + 1) * group);
        for (int32_t k = g * group; k < end; k++)
            dst[k] *= scale;
    }
}
