#include "host/ref/ref.h"

void st_ref_rms_norm(const float *x, const float *weight, int64_t n, float eps, float *y)
{
    float factor = st_rms_factor(x, n, eps);
    for (int64_t i = 0; i < n; i++)
        y[i] = (x[i] * factor) * weight[i];
}

void st_ref_norm(st_ref_device *d, const st_norm_args *a)
{
    float *y = d->scratch; /* dst may be src, and accumulate needs the old dst */
    for (int32_t r = 0; r < st_ref_row_count(d, a->rows); r++) {
        int32_t source = st_ref_token_row(d, a->rows, r);
        if (source < 0)
            continue;
        const float *x = (const float *)st_ref_data(a->src) + (size_t)source * (size_t)a->dim;
        float *dst = (float *)st_ref_data(a->dst) + (size_t)r * (size_t)a->dim;
        st_ref_rms_norm(x, st_ref_data(a->weight), a->dim, a->eps, y);
        for (int32_t i = 0; i < a->dim; i++)
            dst[i] = a->accumulate ? dst[i] + y[i] : y[i];
    }
}
