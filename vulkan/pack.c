/* Canonical rows to the device layout that weight.h describes: the C twin of shaders/ternary.glsl. */
#include "vulkan/weight.h"

static bool is_tiled(st_type type)
{
    return type == ST_TERNARY || type == ST_Q8;
}

static size_t scale_size(const st_vulkan_weight *w)
{
    return w->scale_type == ST_F32 ? sizeof(float) : sizeof(uint16_t);
}

size_t st_vulkan_code_bytes(const st_vulkan_weight *w)
{
    return (size_t)w->n_step * 16;
}

size_t st_vulkan_scale_bytes(const st_vulkan_weight *w)
{
    return (size_t)w->n_group * scale_size(w);
}

int32_t st_vulkan_padded_rows(const st_vulkan_weight *w)
{
    return is_tiled(w->base.type) ? (int32_t)st_align_up((size_t)w->base.rows, ST_VULKAN_TILE) : w->base.rows;
}

/* Columns in 16 bytes. */
static int32_t step_columns(st_type type)
{
    static const int32_t columns[] = {
        [ST_TERNARY] = 64, [ST_Q8] = 16, [ST_F16] = 8, [ST_BF16] = 8, [ST_F32] = 4};
    return columns[type];
}

sterna_status st_vulkan_weight_shape(const st_matrix *parts, int n_part, size_t max_range,
                                     st_vulkan_weight *w, sterna_error *error)
{
    int64_t rows = 0;
    for (int i = 0; i < n_part; i++)
        rows += parts[i].rows;
    assert(rows <= ST_MAX_ROWS);
    int32_t columns = step_columns(parts->type);
    *w = (st_vulkan_weight){.base = {.type = parts->type,
                                     .rows = (int32_t)rows,
                                     .cols = parts->cols,
                                     .group = is_tiled(parts->type) ? parts->group : 0},
                            .scale_type = parts->scale_type,
                            .out_scale = 1.0f,
                            .n_step = (int32_t)st_align_up((size_t)parts->cols, ST_VULKAN_PAD) / columns,
                            .n_used = (int32_t)st_ceil_div(parts->cols, columns),
                            .n_group = is_tiled(parts->type) ? st_matrix_groups(parts) : 0,
                            .bias = ST_VULKAN_NONE,
                            .outlier_start = ST_VULKAN_NONE,
                            .outlier_col = ST_VULKAN_NONE,
                            .outlier_value = ST_VULKAN_NONE};
    size_t row = st_vulkan_code_bytes(w);
    if (row < st_vulkan_scale_bytes(w))
        row = st_vulkan_scale_bytes(w);
    size_t most = max_range / row / ST_VULKAN_PAD * ST_VULKAN_PAD;
    size_t padded = (size_t)st_vulkan_padded_rows(w);
    if (most == 0 && padded * row > max_range)
        return st_fail(error, STERNA_E_UNSUPPORTED,
                       "256 rows of %d columns in %s are %zu bytes, and the device binds at most %zu",
                       w->base.cols, st_type_name(w->base.type), ST_VULKAN_PAD * row, max_range);
    w->split_rows = (int32_t)(most == 0 || most > padded ? st_align_up(padded, ST_VULKAN_PAD) : most);
    return STERNA_OK;
}

/* The part that row r of the stack is in; *row becomes the row within it. */
static const st_matrix *part_of(const st_matrix *parts, int32_t r, int32_t *row)
{
    while (r >= parts->rows)
        r -= (parts++)->rows;
    *row = r;
    return parts;
}

/* 4 x 4 transposition of 2-bit fields: canonical bytes hold columns 4 f ... 4 f + 3, ours b, b + 4, b + 8 ...
 */
static uint32_t transpose_codes(uint32_t x)
{
    uint32_t t = (x ^ x >> 6) & 0x00cc00ccu;
    x ^= t ^ t << 6;
    t = (x ^ x >> 12) & 0x0000f0f0u;
    return x ^ t ^ t << 12;
}

/* 16 bytes of a canonical ternary row: 64 columns. */
static void pack_ternary_step(const unsigned char *from, unsigned char *to)
{
    for (int i = 0; i < 16; i += 4) {
        uint32_t word = (uint32_t)from[i] | (uint32_t)from[i + 1] << 8 | (uint32_t)from[i + 2] << 16 |
                        (uint32_t)from[i + 3] << 24;
        word = transpose_codes(word);
        for (int b = 0; b < 4; b++)
            to[i + b] = (unsigned char)(word >> 8 * b);
    }
}

/* One row of a part; its steps are `distance` bytes apart in dst. */
static void pack_row(const st_vulkan_weight *w, const st_matrix *part, int32_t row, size_t distance,
                     unsigned char *dst)
{
    size_t used = st_row_bytes(w->base.type, w->base.cols);
    const unsigned char *from = (const unsigned char *)part->data + (size_t)row * part->row_bytes;
    for (int32_t step = 0; step < w->n_used; step++, dst += distance, from += 16) {
        if (part->blocks)
            from = (const unsigned char *)st_matrix_q8(part, row, 16 * step);
        if (w->base.type == ST_TERNARY) { /* canonical rows are padded to 16 bytes */
            pack_ternary_step(from, dst);
            continue;
        }
        size_t count = (size_t)st_min(16, (int64_t)used - 16 * (int64_t)step);
        memcpy(dst, from, count);
        memset(dst + count, 0, 16 - count);
    }
    for (int32_t step = w->n_used; step < w->n_step; step++, dst += distance)
        memset(dst, 0, 16);
}

void st_vulkan_pack_codes(const st_vulkan_weight *w, const st_matrix *parts, int32_t first, int32_t count,
                          unsigned char *dst)
{
    size_t row_bytes = st_vulkan_code_bytes(w);
    bool tiled = is_tiled(w->base.type);
    for (int32_t i = 0; i < count; i++) {
        size_t in_tile = (size_t)(i % ST_VULKAN_TILE), tile = (size_t)(i / ST_VULKAN_TILE);
        unsigned char *to =
            tiled ? dst + tile * ST_VULKAN_TILE * row_bytes + in_tile * 16 : dst + (size_t)i * row_bytes;
        size_t distance = tiled ? (size_t)ST_VULKAN_TILE * 16 : 16;
        if (first + i >= w->base.rows) {
            for (int32_t step = 0; step < w->n_step; step++)
                memset(to + (size_t)step * distance, 0, 16);
            continue;
        }
        int32_t row;
        const st_matrix *part = part_of(parts, first + i, &row);
        pack_row(w, part, row, distance, to);
    }
}

void st_vulkan_pack_scales(const st_vulkan_weight *w, const st_matrix *parts, int32_t first, int32_t count,
                           unsigned char *dst)
{
    size_t size = scale_size(w), groups = (size_t)w->n_group;
    for (int32_t i = 0; i < count; i++) {
        int32_t row = 0;
        bool live = first + i < w->base.rows;
        const st_matrix *part = live ? part_of(parts, first + i, &row) : NULL;
        for (size_t g = 0; g < groups; g++) {
            size_t at = ((size_t)(i / ST_VULKAN_TILE) * groups + g) * ST_VULKAN_TILE;
            unsigned char *to = dst + (at + (size_t)(i % ST_VULKAN_TILE)) * size;
            if (live)
                memcpy(to, st_matrix_scale_at(part, row, (int64_t)g), size);
            else
                memset(to, 0, size);
        }
    }
}
