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

/* Four columns to each step. */
static void upload_q8_row(const upload *u, int32_t r)
{
    st_cpu_weight *w = u->w;
    unsigned char *to = w->data + (size_t)(r / ST_CPU_TILE) * w->row_bytes + (size_t)(r % ST_CPU_TILE) * 4;
    const unsigned char *from = NULL;
    int32_t n = r < w->base.rows ? w->base.cols : 0, row;
    if (n > 0) {
        const st_matrix *part = part_of(u, r, &row);
        from = (const unsigned char *)part->data + (size_t)row * part->row_bytes;
    }
    for (int32_t step = 0; step < w->n_step; step++, to += ST_CPU_STEP_BYTES) {
        unsigned char four[4] = {0};
        for (int32_t k = 4 * step; k < n && k < 4 * step + 4; k++)
            four[k % 4] = from[k];
        memcpy(to, four, sizeof four);
    }
}

static void upload_row(const upload *u, int32_t r)
{
    st_cpu_weight *w = u->w;
    if (w->base.type == ST_TERNARY) {
        upload_ternary_row(u, r);
    } else if (w->base.type == ST_Q8) {
        upload_q8_row(u, r);
    } else if (r < w->base.rows) {
        int32_t row;
        const st_matrix *part = part_of(u, r, &row);
        size_t used = st_row_bytes(w->base.type, w->base.cols);
        unsigned char *to = w->data + (size_t)r * w->row_bytes;
        memcpy(to, (const unsigned char *)part->data + (size_t)row * part->row_bytes, used);
        memset(to + used, 0, w->row_bytes - used);
    }
    if (!w->scale)
        return;
    size_t size = scale_size(w);
    for (int32_t g = 0; g < w->n_group; g++) {
        size_t at = ((size_t)(r / ST_CPU_TILE) * (size_t)w->n_group + (size_t)g) * ST_CPU_TILE;
        unsigned char *to = (unsigned char *)w->scale + (at + (size_t)(r % ST_CPU_TILE)) * size;
        if (r >= w->base.rows) {
            memset(to, 0, size);
            continue;
        }
        int32_t row;
        const st_matrix *part = part_of(u, r, &row);
        size_t from = (size_t)row * (size_t)w->n_group + (size_t)g;
        memcpy(to, (const unsigned char *)part->scale + from * size, size);
    }
}

static void upload_tiles(void *context, int64_t first, int64_t count)
{
    for (int64_t r = first * ST_CPU_TILE; r < (first + count) * ST_CPU_TILE; r++)
        upload_row(context, (int32_t)r);
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

/* Dense rows that lie as ours do need no copy if they last. Kernels load them at any alignment of elements.
 */
static bool is_usable(const st_cpu_weight *w, const st_matrix *parts, int n_part)
{
    return !is_scaled(parts->type) && n_part == 1 && parts->lasting && parts->row_bytes == w->row_bytes &&
           st_row_bytes(parts->type, parts->cols) == w->row_bytes;
}

/* Fills in the shape; returns bytes of codes and scales a full pass reads. */
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
    size_t n_scale = (size_t)w->n_tile * ST_CPU_TILE * (size_t)w->n_group;
    if (m->type == ST_Q8)
        w->n_step = (int32_t)st_ceil_div(m->cols, 32) * 8; /* of 4 columns */
    if (is_scaled(m->type)) {
        w->row_bytes = (size_t)w->n_step * ST_CPU_STEP_BYTES;
        return (size_t)w->n_tile * w->row_bytes + n_scale * scale_size(w);
    }
    w->row_bytes = st_align_up(st_row_bytes(m->type, m->cols), 64);
    return (size_t)rows * w->row_bytes;
}

sterna_status st_cpu_weight_create(st_device *dev, const st_matrix *parts, int n_part, const float *bias,
                                   float out_scale, const st_outliers *outliers, st_weight **weight,
                                   sterna_error *error)
{
    st_cpu_weight *w = st_calloc(1, sizeof *w);
    if (!w)
        return st_fail(error, STERNA_E_MEMORY, "no memory for a weight");
    w->base.bytes = 0;
    size_t bytes = shape(w, parts, n_part);
    size_t padded = (size_t)w->n_tile * ST_CPU_TILE, n_scale = padded * (size_t)w->n_group;
    w->out_scale = out_scale;
    w->in_place = is_usable(w, parts, n_part);
    w->data =
        w->in_place ? (unsigned char *)(uintptr_t)parts->data : st_alloc(bytes - n_scale * scale_size(w));
    w->scale = n_scale ? st_alloc(n_scale * scale_size(w)) : NULL;
    w->bias = bias ? st_calloc(padded, sizeof(float)) : NULL;
    if (!w->data || (n_scale && !w->scale) || (bias && !w->bias)) {
        st_fail(error, STERNA_E_MEMORY, "no memory for a %s matrix of %d x %d (%zu bytes)",
                st_type_name(parts->type), w->base.rows, w->base.cols, bytes);
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
    if (!w->in_place)
        st_pool_loop_once(((st_cpu *)dev)->pool, w->n_tile, 16, upload_tiles, &u);
    w->base.has_bias = bias != NULL;
    w->base.bytes = bytes + (bias ? padded * sizeof(float) : 0) +
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
    if (!w->in_place)
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
    size_t at = ((size_t)(row / ST_CPU_TILE) * (size_t)w->n_group + (size_t)group) * ST_CPU_TILE +
                (size_t)(row % ST_CPU_TILE);
    if (w->scale_type == ST_F32)
        return ((const float *)w->scale)[at];
    uint16_t stored = ((const uint16_t *)w->scale)[at];
    return w->scale_type == ST_F16 ? st_f16_to_f32(stored) : st_bf16_to_f32(stored);
}

static void q8_row(const st_cpu_weight *w, int32_t row, float *dst)
{
    const int8_t *from = (const int8_t *)w->data + (size_t)(row / ST_CPU_TILE) * w->row_bytes +
                         (size_t)(row % ST_CPU_TILE) * 4;
    for (int32_t k = 0; k < w->base.cols; k++)
        dst[k] = (float)from[(size_t)(k / 4) * ST_CPU_STEP_BYTES + (size_t)(k % 4)];
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
        q8_row(w, row, dst);
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
