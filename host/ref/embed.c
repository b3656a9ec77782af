#include "host/ref/ref.h"

void st_ref_embed(st_ref_device *d, const st_embed_args *a)
{
    const st_matrix *table = &((const st_ref_weight *)(const void *)a->table)->matrix;
    const int32_t *token = st_ref_data(d->batch->token);
    const float *sign = a->rotation.sign ? st_ref_data(a->rotation.sign) : NULL;
    for (int32_t r = 0; r < d->batch->n_token; r++) {
        if (st_ref_token_row(d, ST_ROWS_TOKEN, r) < 0)
            continue;
        assert(token[r] >= 0 && token[r] < table->rows);
        float *y = (float *)st_ref_data(a->dst) + (size_t)r * (size_t)table->cols;
        for (int32_t k = 0; k < table->cols; k++)
            y[k] = st_matrix_value(table, token[r], k) * a->scale;
        if (a->rotation.block)
            st_hadamard(y, table->cols, a->rotation.block);
        for (int32_t k = 0; a->rotation.block && sign && k < table->cols; k++)
            y[k] = sign[k] * y[k];
    }
}
