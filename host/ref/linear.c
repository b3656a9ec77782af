#include "host/ref/ref.h"

/* One row of the input: exactly one of the two forms. */
typedef struct input {
    const float *x;         /* f32 [cols], or NULL */
    const int8_t *code;     /* i8 [cols] */
    const float *act_scale; /* f32 [n_scale] */
    int32_t act_group;      /* columns per act_scale, never 0 */
} input;

/* The integer sum of columns [from, to) of W[n] . code. */
static int32_t integer_sum(const st_matrix *w, int32_t n, const int8_t *code, int32_t from, int32_t to)
{
    int32_t sum = 0;
    for (int32_t k = from; k < to; k++) {
        int32_t weight = w->type == ST_TERNARY ? st_matrix_code(w, n, k) - 1 : *st_matrix_q8(w, n, k);
        sum += weight * code[k];
    }
    return sum;
}

static float product_of_codes(const st_matrix *w, int32_t n, const input *in)
{
    int32_t weight_group = w->group ? w->group : w->cols;
    int32_t segment = (int32_t)st_min(st_min(weight_group, in->act_group), w->cols);
    float y = 0.0f, block = 0.0f;
    for (int32_t k = 0; k < w->cols; k += segment) {
        int32_t end = (int32_t)st_min(k + segment, w->cols);
        float scale = st_matrix_scale(w, n, k / weight_group) * in->act_scale[k / in->act_group];
        float term = (float)integer_sum(w, n, in->code, k, end) * scale;
        if (segment == w->cols)
            return term; /* not +0 + term, which would turn -0 to +0 */
        block += term;
        if (end % ST_K_BLOCK == 0 || end == w->cols) {
            y += block;
            block = 0.0f;
        }
    }
    return y;
}

static float product_of_floats(const st_matrix *w, int32_t n, const float *x)
{
    float lane[ST_LANES] = {0};
    for (int32_t k = 0; k < w->cols; k++)
        lane[k % ST_LANES] += st_matrix_value(w, n, k) * x[k];
    return st_fold_lanes(lane);
}

static void linear_row(const st_ref_weight *weight, const input *in, bool accumulate, float *dst)
{
    int32_t next = 0; /* outlier: they are sorted by row, then column */
    for (int32_t n = 0; n < weight->matrix.rows; n++) {
        float y =
            in->x ? product_of_floats(&weight->matrix, n, in->x) : product_of_codes(&weight->matrix, n, in);
        if (weight->out_scale != 1.0f)
            y = y * weight->out_scale;
        if (weight->bias)
            y = y + weight->bias[n];
        if (accumulate)
            y = y + dst[n];
        for (; next < weight->base.n_outlier && weight->outlier_row[next] == n; next++) {
            int32_t k = weight->outlier_col[next];
            float o = st_f16_to_f32(weight->outlier[next]);
            y = y + (in->x ? o * in->x[k] : (o * (float)in->code[k]) * in->act_scale[k / in->act_group]);
        }
        dst[n] = y;
    }
}

void st_ref_linear(st_ref_device *d, const st_linear_args *a)
{
    const st_ref_weight *weight = (const void *)a->weight;
    assert(!a->src != !a->quant);
    assert(!a->quant || weight->matrix.type == ST_TERNARY || weight->matrix.type == ST_Q8);
    for (int32_t r = 0; r < st_ref_row_count(d, a->rows); r++) {
        if (st_ref_token_row(d, a->rows, r) < 0)
            continue;
        input in = {0};
        if (a->quant) {
            st_ref_qrow row = st_ref_qact_row(a->quant, r);
            in.code = row.code;
            in.act_scale = row.scale;
            in.act_group = a->quant->act_group ? a->quant->act_group : a->quant->cols;
        } else {
            in.x = (const float *)st_ref_data(a->src) + (size_t)r * (size_t)weight->matrix.cols;
        }
        float *dst = (float *)st_ref_data(a->dst) + (size_t)r * (size_t)a->stride + a->column;
        linear_row(weight, &in, a->accumulate, dst);
    }
}
