#include "host/ref/ref.h"

void st_ref_glu_norm_quant(st_ref_device *d, const st_glu_norm_quant_args *a)
{
    size_t cols = (size_t)a->dst.cols;
    for (int32_t r = 0; r < d->batch->n_token; r++) {
        if (st_ref_token_row(d, ST_ROWS_TOKEN, r) < 0)
            continue;
        const float *gate = (const float *)st_ref_data(a->src) + (size_t)r * 2 * cols;
        const float *up = gate + cols;
        for (size_t k = 0; k < cols; k++)
            d->scratch[k] = st_activate(a->act, gate[k]) * up[k];
        st_ref_finish_quantised(d->scratch, a->weight, a->eps, &a->rotation, &a->dst, r);
    }
}
