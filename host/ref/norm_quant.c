#include "host/ref/ref.h"

st_ref_qrow st_ref_qact_row(const st_qact *q, int32_t row)
{
    assert(row < q->max_row);
    st_qact_layout at = st_qact_planes(q);
    unsigned char *data = st_ref_data(q->buf);
    return (st_ref_qrow){.code = (int8_t *)data + (size_t)row * at.stride,
                         .scale =
                             (float *)(void *)(data + at.scale_offset) + (size_t)row * (size_t)at.n_scale,
                         .sum = (int32_t *)(void *)(data + at.sum_offset) + (size_t)row * (size_t)at.n_sum,
                         .padding = at.stride - (size_t)q->cols};
}

static void quantise_row(const float *x, const st_qact *q, int32_t row)
{
    st_ref_qrow to = st_ref_qact_row(q, row);
    int32_t act_group = q->act_group ? q->act_group : q->cols;
    for (int32_t k = 0; k < q->cols; k += act_group)
        to.scale[k / act_group] = st_quantise(x + k, st_min(act_group, q->cols - k), to.code + k).scale;
    memset(to.code + q->cols, 0, to.padding);

    int32_t sum_group = q->sum_group ? q->sum_group : q->cols;
    for (int32_t k = 0; k < q->cols; k++) {
        if (k % sum_group == 0)
            to.sum[k / sum_group] = 0;
        to.sum[k / sum_group] += to.code[k];
    }
}

void st_ref_finish_quantised(float *x, const st_buf *weight, float eps, const st_rotation *rotation,
                             const st_qact *dst, int32_t row)
{
    if (weight)
        st_ref_rms_norm(x, st_ref_data(weight), dst->cols, eps, x);
    if (rotation->block) {
        const float *sign = rotation->sign ? st_ref_data(rotation->sign) : NULL;
        for (int32_t k = 0; sign && k < dst->cols; k++)
            x[k] = sign[k] * x[k];
        st_hadamard(x, dst->cols, rotation->block);
    }
    quantise_row(x, dst, row);
}

void st_ref_norm_quant(st_ref_device *d, const st_norm_quant_args *a)
{
    size_t cols = (size_t)a->dst.cols;
    for (int32_t r = 0; r < st_ref_row_count(d, a->rows); r++) {
        int32_t source = st_ref_token_row(d, a->rows, r);
        if (source < 0)
            continue;
        memcpy(d->scratch, (const float *)st_ref_data(a->src) + (size_t)source * cols, cols * sizeof(float));
        st_ref_finish_quantised(d->scratch, a->weight, a->eps, &a->rotation, &a->dst, r);
    }
}
