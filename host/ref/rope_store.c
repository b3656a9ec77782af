#include "host/ref/ref.h"

/* Norm (if any) and rotation of one head; y may be x. */
static void norm_rotate(const st_rope_store_args *a, const st_buf *norm, int32_t pos, const float *x,
                        float *y)
{
    if (norm)
        st_ref_rms_norm(x, st_ref_data(norm), a->head_dim, a->eps, y);
    else
        memmove(y, x, (size_t)a->head_dim * sizeof(float));

    if (a->n_rot == 0) /* then cos_sin may be NULL */
        return;
    int32_t half = a->n_rot / 2;
    const float *cos_sin = (const float *)st_ref_data(a->cos_sin) + (size_t)pos * (size_t)a->n_rot;
    for (int32_t i = 0; i < half; i++) {
        int32_t first = a->pairing == ST_PAIR_HALF ? i : 2 * i;
        int32_t second = a->pairing == ST_PAIR_HALF ? i + half : 2 * i + 1;
        float c = cos_sin[2 * i], s = cos_sin[2 * i + 1];
        float p = y[first], q = y[second];
        y[first] = p * c - q * s;
        y[second] = p * s + q * c;
    }
}

void st_ref_rope_store(st_ref_device *d, const st_rope_store_args *a)
{
    const int32_t *pos = st_ref_data(d->batch->pos), *slot = st_ref_data(d->batch->slot);
    float key[ST_MAX_HEAD_DIM];
    for (int32_t r = 0; r < d->batch->n_token; r++) {
        if (st_ref_token_row(d, ST_ROWS_TOKEN, r) < 0)
            continue;
        float *q = (float *)st_ref_data(a->qkv) + (size_t)r * (size_t)a->stride;
        const float *k = q + (size_t)a->n_head * (size_t)a->head_dim;
        const float *v = k + (size_t)a->n_kv_head * (size_t)a->head_dim;
        for (int32_t h = 0; h < a->n_head; h++)
            norm_rotate(a, a->q_norm, pos[r], q + (size_t)h * (size_t)a->head_dim,
                        q + (size_t)h * (size_t)a->head_dim);

        assert(slot[r] >= 0 && slot[r] < a->kv.n_page * ST_KV_PAGE);
        for (int32_t h = 0; h < a->n_kv_head; h++) {
            norm_rotate(a, a->k_norm, pos[r], k + (size_t)h * (size_t)a->head_dim, key);
            uint16_t *to_k = st_ref_kv(&a->kv, a->layer, slot[r], 0, h);
            uint16_t *to_v = st_ref_kv(&a->kv, a->layer, slot[r], 1, h);
            for (int32_t i = 0; i < a->head_dim; i++) {
                to_k[i] = st_f32_to_f16(key[i]);
                to_v[i] = st_f32_to_f16(v[(size_t)h * (size_t)a->head_dim + (size_t)i]);
            }
        }
    }
}
