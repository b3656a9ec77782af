#include "tests/support/qact_check.h"

#include <stdio.h>

typedef struct planes {
    const int8_t *code;
    const float *scale;
    const int32_t *sum;
    size_t stride;
    int32_t n_scale, n_sum;
} planes;

/* The header's comment, read again: planes in order, each at a multiple of 64 bytes. */
static planes planes_of_row(const st_qact *q, const unsigned char *data, int32_t row)
{
    planes p = {.stride = ((size_t)q->cols + 127) / 128 * 128,
                .n_scale = q->act_group ? (q->cols + q->act_group - 1) / q->act_group : 1,
                .n_sum = q->sum_group ? (q->cols + q->sum_group - 1) / q->sum_group : 1};
    size_t scale_at = (size_t)q->max_row * p.stride;
    size_t sum_at = scale_at + ((size_t)q->max_row * (size_t)p.n_scale * 4 + 63) / 64 * 64;
    p.code = (const int8_t *)data + (size_t)row * p.stride;
    p.scale = (const float *)(const void *)(data + scale_at) + row * p.n_scale;
    p.sum = (const int32_t *)(const void *)(data + sum_at) + row * p.n_sum;
    return p;
}

const char *qact_wrong(const st_qact *q, const unsigned char *data, int32_t row, const double *x,
                       double slack)
{
    static char text[160];
    planes p = planes_of_row(q, data, row);
    int32_t group = q->act_group ? q->act_group : q->cols;
    for (int32_t first = 0; first < q->cols; first += group) {
        int32_t end = first + group < q->cols ? first + group : q->cols;
        double top = 1e-5, scale = (double)p.scale[first / group];
        for (int32_t k = first; k < end; k++)
            top = fabs(x[k]) > top ? fabs(x[k]) : top;
        if (!(fabs(scale - top / 127) <= (slack + 2e-7) * top / 127)) {
            snprintf(text, sizeof text, "scale of column %d is %.9g, not %.9g", first, scale, top / 127);
            return text;
        }
        for (int32_t k = first; k < end; k++)
            if (!(fabs(p.code[k] - x[k] * (127 / top)) <= 0.5 + 127 * (slack + 2e-7))) {
                snprintf(text, sizeof text, "code of column %d is %d for %.9g", k, p.code[k],
                         x[k] * 127 / top);
                return text;
            }
    }
    for (size_t k = (size_t)q->cols; k < p.stride; k++)
        if (p.code[k] != 0) {
            snprintf(text, sizeof text, "code %d at column %zu, past the last", p.code[k], k);
            return text;
        }
    int32_t sum_group = q->sum_group ? q->sum_group : q->cols;
    for (int32_t first = 0; first < q->cols; first += sum_group) {
        int32_t sum = 0;
        for (int32_t k = first; k < first + sum_group && k < q->cols; k++)
            sum += p.code[k];
        if (p.sum[first / sum_group] != sum) {
            snprintf(text, sizeof text, "sum from column %d is %d, not %d", first, p.sum[first / sum_group],
                     sum);
            return text;
        }
    }
    return NULL;
}

bool qact_untouched(const st_qact *q, const unsigned char *data, int32_t row)
{
    planes p = planes_of_row(q, data, row);
    bool same = true;
    for (size_t k = 0; k < p.stride; k++)
        same &= p.code[k] == -1;
    for (int32_t g = 0; g < p.n_scale; g++)
        same &= st_bits(p.scale[g]) == 0xffffffff;
    for (int32_t g = 0; g < p.n_sum; g++)
        same &= p.sum[g] == -1;
    return same;
}
