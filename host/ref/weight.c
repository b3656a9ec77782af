/* Weights of the reference backend: a deep canonical copy. */
#include "host/ref/ref.h"

void st_ref_weight_destroy(st_device *dev, st_weight *weight)
{
    (void)dev;
    st_ref_weight *w = (st_ref_weight *)(void *)weight;
    if (!w)
        return;
    st_free((void *)w->matrix.data);
    st_free((void *)w->matrix.scale);
    st_free(w->bias);
    st_free(w->outlier_row);
    st_free(w->outlier_col);
    st_free(w->outlier);
    st_free(w);
}

/* A copy of `bytes` bytes; NULL when out of memory. */
static void *copy_of(const void *src, size_t bytes)
{
    void *memory = st_alloc(bytes);
    if (memory)
        memcpy(memory, src, bytes);
    return memory;
}

/* Stacks the parts' rows. `stacked` has the total of rows and the parts' other fields. */
static bool copy_parts(const st_matrix *parts, int n_part, st_matrix *stacked)
{
    size_t rows = (size_t)stacked->rows;
    size_t scale_bytes =
        parts[0].scale ? (size_t)st_matrix_groups(stacked) * st_row_bytes(stacked->scale_type, 1) : 0;
    unsigned char *data = st_alloc(rows * stacked->row_bytes), *scale = st_alloc(rows * scale_bytes);
    stacked->data = data;
    stacked->scale = scale;
    if (!data || (scale_bytes && !scale))
        return false;
    for (int p = 0; p < n_part; p++) {
        const unsigned char *from = parts[p].data;
        for (int32_t n = 0; n < parts[p].rows; n++, data += stacked->row_bytes)
            memcpy(data, from + (size_t)n * parts[p].row_bytes, stacked->row_bytes);
        if (scale_bytes) {
            memcpy(scale, parts[p].scale, (size_t)parts[p].rows * scale_bytes);
            scale += (size_t)parts[p].rows * scale_bytes;
        }
        stacked->has_code3 |= parts[p].has_code3;
    }
    return true;
}

static bool copy_outliers(const st_outliers *outliers, st_ref_weight *w)
{
    size_t n = (size_t)outliers->count;
    w->outlier_row = copy_of(outliers->row, n * sizeof(int32_t));
    w->outlier_col = copy_of(outliers->col, n * sizeof(int32_t));
    w->outlier = copy_of(outliers->f16, n * sizeof(uint16_t));
    w->base.n_outlier = outliers->count;
    return w->outlier_row && w->outlier_col && w->outlier;
}

sterna_status st_ref_weight_create(st_device *dev, const st_matrix *parts, int n_part, const float *bias,
                                   float out_scale, const st_outliers *outliers, st_weight **weight,
                                   sterna_error *error)
{
    st_matrix stacked = parts[0];
    stacked.row_bytes = stacked.blocks ? (size_t)stacked.cols / ST_BLOCK_COLS * ST_BLOCK_BYTES
                                       : st_row_bytes(stacked.type, stacked.cols);
    stacked.has_code3 = false;
    stacked.rows = 0;
    for (int p = 0; p < n_part; p++) {
        assert(parts[p].type == stacked.type && parts[p].cols == stacked.cols);
        assert(parts[p].group == stacked.group && parts[p].scale_type == stacked.scale_type);
        assert(parts[p].blocks == stacked.blocks);
        stacked.rows += parts[p].rows;
    }
    st_ref_weight *w = st_calloc(1, sizeof *w);
    bool complete = w && copy_parts(parts, n_part, &stacked);
    if (w) {
        w->matrix = stacked;
        w->out_scale = out_scale;
    }
    size_t rows = (size_t)stacked.rows;
    if (complete && bias)
        complete = (w->bias = copy_of(bias, rows * sizeof(float))) != NULL;
    if (complete && outliers && outliers->count > 0)
        complete = copy_outliers(outliers, w);
    if (!complete) {
        if (w)
            st_ref_weight_destroy(dev, &w->base);
        return st_fail(error, STERNA_E_MEMORY, "reference device: no memory for a %s matrix of %d x %d",
                       st_type_name(stacked.type), stacked.rows, stacked.cols);
    }
    w->base.type = stacked.type;
    w->base.rows = stacked.rows;
    w->base.cols = stacked.cols;
    w->base.group = stacked.group;
    w->base.has_bias = bias != NULL;
    w->base.bytes = rows * stacked.row_bytes + (bias ? rows * sizeof(float) : 0);
    if (stacked.scale)
        w->base.bytes += rows * (size_t)st_matrix_groups(&stacked) * st_row_bytes(stacked.scale_type, 1);
    w->base.bytes += (size_t)w->base.n_outlier * (2 * sizeof(int32_t) + sizeof(uint16_t));
    *weight = &w->base;
    return STERNA_OK;
}
