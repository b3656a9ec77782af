/* Uploading weights: planes in buffers of their own, packed and written a piece at a time. */
#include "vulkan/weight.h"

/* Host memory that a piece is packed in. */
#define PIECE_BYTES ((size_t)4 << 20)

typedef void (*pack_fn)(const st_vulkan_weight *w, const st_matrix *parts, int32_t first, int32_t count,
                        unsigned char *dst);

/* Packs `rows` rows of row_bytes each and writes them; a piece is whole tiles. */
static sterna_status write_rows(st_device *dev, const st_vulkan_weight *w, const st_matrix *parts,
                                size_t row_bytes, pack_fn pack, st_buf *buf, sterna_error *error)
{
    int32_t rows = st_vulkan_padded_rows(w);
    int64_t fit = (int64_t)(PIECE_BYTES / row_bytes / ST_VULKAN_TILE) * ST_VULKAN_TILE;
    int32_t piece = (int32_t)st_min(rows, st_max(fit, ST_VULKAN_TILE));
    unsigned char *packed = st_alloc((size_t)piece * row_bytes);
    if (!packed)
        return st_fail(error, STERNA_E_MEMORY, "no memory to pack %d rows of %d columns", piece,
                       w->base.cols);
    for (int32_t first = 0; first < rows; first += piece) {
        int32_t count = (int32_t)st_min(piece, rows - first);
        pack(w, parts, first, count, packed);
        dev->backend->write(dev, buf, (size_t)first * row_bytes, packed, (size_t)count * row_bytes);
    }
    st_free(packed);
    return STERNA_OK;
}

/* Words of bias and outliers, in the order that weight.h states; sets where they begin. */
static size_t place_extras(st_vulkan_weight *w)
{
    size_t rows = (size_t)w->base.rows, count = (size_t)w->base.n_outlier, words = 0;
    if (w->base.has_bias) {
        w->bias = 0;
        words = rows;
    }
    if (count > 0) {
        w->outlier_start = (uint32_t)words;
        w->outlier_col = (uint32_t)(words += rows + 1);
        w->outlier_value = (uint32_t)(words += count);
        words += count;
    }
    return words;
}

static sterna_status write_extras(st_device *dev, st_vulkan_weight *w, const float *bias,
                                  const st_outliers *outliers, size_t words, sterna_error *error)
{
    uint32_t *extras = st_calloc(words, sizeof *extras);
    if (!extras)
        return st_fail(error, STERNA_E_MEMORY, "no memory for %d outliers of %d rows", w->base.n_outlier,
                       w->base.rows);
    size_t rows = (size_t)w->base.rows;
    if (bias)
        memcpy(extras, bias, rows * sizeof *bias);
    for (int32_t i = 0; i < w->base.n_outlier; i++) {
        extras[w->outlier_start + (uint32_t)outliers->row[i] + 1]++;
        extras[w->outlier_col + (uint32_t)i] = (uint32_t)outliers->col[i];
        extras[w->outlier_value + (uint32_t)i] = st_bits(st_f16_to_f32(outliers->f16[i]));
    }
    if (w->base.n_outlier > 0)
        for (size_t r = 0; r < rows; r++)
            extras[w->outlier_start + r + 1] += extras[w->outlier_start + r];
    dev->backend->write(dev, w->extras, 0, extras, words * sizeof *extras);
    st_free(extras);
    return STERNA_OK;
}

static sterna_status upload(st_device *dev, st_vulkan_weight *w, const st_matrix *parts, const float *bias,
                            const st_outliers *outliers, sterna_error *error)
{
    const st_backend *backend = dev->backend;
    size_t rows = (size_t)st_vulkan_padded_rows(w), words = place_extras(w);
    size_t codes = st_vulkan_code_bytes(w), scales = st_vulkan_scale_bytes(w);
    w->base.bytes = rows * (codes + scales) + words * sizeof(uint32_t);
    sterna_status status = backend->buf_create(dev, rows * codes, &w->codes, error);
    if (status == STERNA_OK && scales > 0)
        status = backend->buf_create(dev, rows * scales, &w->scales, error);
    if (status == STERNA_OK && words > 0)
        status = backend->buf_create(dev, words * sizeof(uint32_t), &w->extras, error);
    if (status == STERNA_OK)
        status = write_rows(dev, w, parts, codes, st_vulkan_pack_codes, w->codes, error);
    if (status == STERNA_OK && scales > 0)
        status = write_rows(dev, w, parts, scales, st_vulkan_pack_scales, w->scales, error);
    if (status == STERNA_OK && words > 0)
        status = write_extras(dev, w, bias, outliers, words, error);
    return status;
}

sterna_status st_vulkan_weight_upload(st_device *dev, size_t max_range, const st_matrix *parts, int n_part,
                                      const float *bias, float out_scale, const st_outliers *outliers,
                                      st_weight **weight, sterna_error *error)
{
    st_vulkan_weight *w = st_calloc(1, sizeof *w);
    if (!w)
        return st_fail(error, STERNA_E_MEMORY, "no memory for a weight");
    sterna_status status = st_vulkan_weight_shape(parts, n_part, max_range, w, error);
    if (status == STERNA_OK) {
        w->out_scale = out_scale;
        w->base.has_bias = bias != NULL;
        w->base.n_outlier = outliers ? outliers->count : 0;
        status = upload(dev, w, parts, bias, outliers, error);
    }
    if (status != STERNA_OK) {
        st_vulkan_weight_destroy(dev, &w->base);
        return status;
    }
    *weight = &w->base;
    return STERNA_OK;
}

void st_vulkan_weight_destroy(st_device *dev, st_weight *weight)
{
    st_vulkan_weight *w = (st_vulkan_weight *)weight;
    if (!w)
        return;
    dev->backend->buf_destroy(dev, w->codes);
    dev->backend->buf_destroy(dev, w->scales);
    dev->backend->buf_destroy(dev, w->extras);
    st_free(w);
}
