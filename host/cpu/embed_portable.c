/* embed: rows of the table, decoded from the device layout. */
#include "host/cpu/cpu.h"

static void row(const st_cpu *cpu, const void *args, int32_t r, float *scratch)
{
    (void)scratch;
    const st_embed_args *a = args;
    if (st_cpu_source_row(cpu, ST_ROWS_TOKEN, r) < 0)
        return;
    const st_cpu_weight *table = (const st_cpu_weight *)a->table;
    int32_t cols = a->table->cols;
    float *dst = (float *)st_cpu_data(a->dst) + (size_t)r * (size_t)cols;
    st_cpu_weight_row(table, ((const int32_t *)st_cpu_data(cpu->batch->token))[r], dst);
    for (int32_t k = 0; k < cols; k++)
        dst[k] = dst[k] * a->scale;
    if (a->rotation.block == 0)
        return;
    st_hadamard(dst, cols, a->rotation.block);
    if (a->rotation.sign) {
        const float *sign = st_cpu_data(a->rotation.sign);
        for (int32_t k = 0; k < cols; k++)
            dst[k] = sign[k] * dst[k];
    }
}

void st_cpu_embed_portable(st_cpu *cpu, const void *args)
{
    const st_embed_args *a = args;
    st_cpu_rows(cpu, cpu->batch->n_token, 8 * ST_CPU_WORK_EMBED * (int64_t)a->table->cols, row, args);
}
