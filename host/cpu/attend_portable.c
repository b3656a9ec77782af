#include "host/cpu/cpu.h"

/* A partition's, or the merged, maximum, denominator and weighted values. */
typedef struct part {
    float max, sum;
    float o[ST_MAX_HEAD_DIM];
} part;

static void load_key(const st_attend_args *a, const st_cpu_view *v, int32_t j, float *key)
{
    const uint16_t *from =
        st_cpu_kv_block(&a->kv, v->table[j / ST_KV_PAGE], a->layer, v->kv_head) + j % ST_KV_PAGE;
    for (int32_t d = 0; d < a->head_dim; d++)
        key[d] = st_f16_to_f32(from[d * ST_KV_PAGE]);
}

static void partition(const st_attend_args *a, const st_cpu_view *v, int32_t first, int32_t end, part *p)
{
    float s[ST_PARTITION], lane[ST_LANES] = {0}, key[ST_MAX_HEAD_DIM], inverse = 1.0f / a->softcap;
    for (int32_t j = first; j < end; j++) {
        load_key(a, v, j, key);
        float x = st_dot_qk(v->query, key, a->head_dim) * a->scale;
        s[j - first] = a->softcap > 0 ? a->softcap * st_tanh(x * inverse) : x;
    }
    p->max = -INFINITY;
    for (int32_t i = 0; i < end - first; i++)
        p->max = s[i] > p->max ? s[i] : p->max;
    for (int32_t d = 0; d < a->head_dim; d++)
        p->o[d] = 0.0f;
    for (int32_t j = first; j < end; j++) {
        float e = st_exp(s[j - first] - p->max);
        lane[j % ST_PARTITION] = e;
        const uint16_t *value = st_cpu_kv_block(&a->kv, v->table[j / ST_KV_PAGE], a->layer, v->kv_head) +
                                (size_t)(ST_KV_PAGE + j % ST_KV_PAGE) * (size_t)a->head_dim;
        for (int32_t d = 0; d < a->head_dim; d++)
            p->o[d] = p->o[d] + e * st_f16_to_f32(value[d]);
    }
    p->sum = st_fold_lanes(lane);
}

static void merge(part *into, const part *p, int32_t dim)
{
    float max = p->max > into->max ? p->max : into->max;
    float a = st_exp(into->max - max), b = st_exp(p->max - max);
    into->sum = into->sum * a + p->sum * b;
    for (int32_t d = 0; d < dim; d++)
        into->o[d] = into->o[d] * a + p->o[d] * b;
    into->max = max;
}

static void head(const st_attend_args *a, const st_cpu_view *v)
{
    part all, one;
    bool any = false;
    for (int32_t first = v->first; first < v->end;) {
        int32_t end = (int32_t)st_min(v->end, (first / ST_PARTITION + 1) * ST_PARTITION);
        partition(a, v, first, end, any ? &one : &all);
        if (any)
            merge(&all, &one, a->head_dim);
        any = true;
        first = end;
    }
    assert(any); /* a row sees at least itself */
    float inverse = 1.0f / all.sum;
    for (int32_t d = 0; d < a->head_dim; d++)
        v->dst[d] = all.o[d] * inverse;
}

void st_cpu_attend_portable(st_cpu *cpu, const void *args)
{
    st_cpu_attend_loop(cpu, args, head);
}
