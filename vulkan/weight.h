/* Weights on a Vulkan device.
 *
 * TERNARY and Q8: rows in tiles of 32, [tile][step][row of tile] of 16 bytes. A step is 64 columns of codes
 * (shaders/ternary.glsl) or 16 columns of int8. Others: [row][step], a step being 16 bytes of the plain
 * array. Rows are padded to 256 columns with zeros (TERNARY: with code 1 to 64 columns, then with code 0)
 * and, in tiles, to 32 rows. Scales: as stored, [tile][group][row of tile]. Extras: bias f32 [rows];
 * outliers: first of each row u32 [rows + 1], column u32, value f32.
 *
 * No binding may be larger than the device's limit: a weight is cut into splits of `split_rows` rows, each of
 * which is a dispatch of its own. */
#ifndef ST_VULKAN_WEIGHT_H
#define ST_VULKAN_WEIGHT_H

#include "host/backend/backend.h"

enum { ST_VULKAN_TILE = 32, ST_VULKAN_PAD = 256 };
#define ST_VULKAN_NONE UINT32_MAX

typedef struct st_vulkan_weight {
    st_weight base;
    st_type scale_type;
    float out_scale;
    int32_t n_step, n_used; /* steps from row to row, and those with columns in them */
    int32_t n_group;        /* 0 = dense */
    int32_t split_rows;     /* a multiple of 256, so that every split begins at a multiple of 256 bytes */
    st_buf *codes, *scales, *extras; /* scales, extras: NULL = none */
    /* Words of extras where these begin, or ST_VULKAN_NONE. */
    uint32_t bias, outlier_start, outlier_col, outlier_value;
} st_vulkan_weight;

/* Shape and sizes of the stack of parts, given the largest binding; fails if one row exceeds it. */
sterna_status st_vulkan_weight_shape(const st_matrix *parts, int n_part, size_t max_range,
                                     st_vulkan_weight *w, sterna_error *error);
/* Bytes of codes and of scales from row to row. */
size_t st_vulkan_code_bytes(const st_vulkan_weight *w);
size_t st_vulkan_scale_bytes(const st_vulkan_weight *w);
/* Rows with those that pad the last tile. */
int32_t st_vulkan_padded_rows(const st_vulkan_weight *w);
/* As shaders know them: the kind of the stored scales, and the logarithm of a group that is a power of two.
 */
static inline uint32_t st_vulkan_scale_kind(const st_vulkan_weight *w)
{
    return w->scale_type == ST_F32 ? 0 : w->scale_type == ST_F16 ? 1 : 2;
}
static inline uint32_t st_vulkan_log2(int32_t power)
{
    uint32_t log = 0;
    while (power > 1 << log)
        log++;
    return log;
}
/* Packs rows first ... first + count - 1, both multiples of 32 or up to the end. */
void st_vulkan_pack_codes(const st_vulkan_weight *w, const st_matrix *parts, int32_t first, int32_t count,
                          unsigned char *dst);
void st_vulkan_pack_scales(const st_vulkan_weight *w, const st_matrix *parts, int32_t first, int32_t count,
                           unsigned char *dst);

/* Creates and fills the buffers through the device's own table, outside of a step. */
sterna_status st_vulkan_weight_upload(st_device *dev, size_t max_range, const st_matrix *parts, int n_part,
                                      const float *bias, float out_scale, const st_outliers *outliers,
                                      st_weight **weight, sterna_error *error);
void st_vulkan_weight_destroy(st_device *dev, st_weight *weight); /* NULL is fine */

#endif
