/* What the variants of attend share: which positions a row sees, and the loop over rows and heads. */
#include "host/cpu/cpu.h"

void st_cpu_visible(const st_cpu *cpu, const st_attend_args *a, int32_t row, int32_t *first, int32_t *end)
{
    int32_t pos = ((const int32_t *)st_cpu_data(cpu->batch->pos))[row];
    *first = *end = 0;
    if (pos < 0)
        return;
    int32_t seq = ((const int32_t *)st_cpu_data(cpu->batch->seq))[row];
    int64_t last = ((const int32_t *)st_cpu_data(cpu->batch->length))[seq];
    if (a->causal)
        last = st_min(last, (int64_t)pos + 1);
    if (a->window > 0) {
        *first = (int32_t)st_max(0, (int64_t)pos - a->window + 1);
        if (!a->causal)
            last = st_min(last, (int64_t)pos + a->window);
    }
    *end = (int32_t)st_max(last, *first);
}

bool st_cpu_view_open(const st_cpu *cpu, const st_attend_args *a, int32_t row, int32_t head, st_cpu_view *v)
{
    if (st_cpu_source_row(cpu, ST_ROWS_TOKEN, row) < 0)
        return false;
    int32_t seq = ((const int32_t *)st_cpu_data(cpu->batch->seq))[row];
    size_t column = (size_t)head * (size_t)a->head_dim;
    *v = (st_cpu_view){
        .row = row,
        .head = head,
        .kv_head = head / (a->n_head / a->n_kv_head),
        .table =
            (const int32_t *)st_cpu_data(cpu->batch->table) + (size_t)seq * (size_t)cpu->batch->max_blocks,
        .query = (const float *)st_cpu_data(a->qkv) + (size_t)row * (size_t)a->stride + column,
        .dst = (float *)st_cpu_data(a->dst) + (size_t)row * (size_t)(a->n_head * a->head_dim) + column};
    st_cpu_visible(cpu, a, row, &v->first, &v->end);
    return true;
}

typedef struct attend_loop {
    const st_cpu *cpu;
    const st_attend_args *args;
    st_cpu_view_fn fn;
} attend_loop;

static void run_items(void *context, int64_t first, int64_t count)
{
    const attend_loop *l = context;
    for (int64_t i = first; i < first + count; i++) {
        st_cpu_view view;
        int32_t n_head = l->args->n_head;
        if (st_cpu_view_open(l->cpu, l->args, (int32_t)(i / n_head), (int32_t)(i % n_head), &view))
            l->fn(l->args, &view);
    }
}

void st_cpu_attend_loop(st_cpu *cpu, const st_attend_args *args, st_cpu_view_fn fn)
{
    attend_loop l = {cpu, args, fn};
    int64_t n = (int64_t)cpu->batch->n_token * args->n_head, work = 0;
    for (int32_t row = 0; row < cpu->batch->n_token && work < ST_CPU_SERIAL_WORK; row++) {
        int32_t first, end;
        st_cpu_visible(cpu, args, row, &first, &end);
        work += (int64_t)(end - first) * args->n_head * args->head_dim / 4;
    }
    if (work < ST_CPU_SERIAL_WORK)
        run_items(&l, 0, n);
    else
        st_pool_loop(cpu->pool, n, st_max(1, args->n_head / args->n_kv_head), run_items, &l);
}
