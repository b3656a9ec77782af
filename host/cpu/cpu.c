/* The fast CPU backend: table of variants, device, buffers and dispatch. Ops run at once, in the caller and
 * its pool; a step therefore is never recorded and begin() always returns true. */
#include "host/cpu/cpu.h"

#include <stdatomic.h>
#include <stdio.h>
#include <unistd.h>

/* Per op from the most general to the most special: the last one that takes a call runs it. */
static const st_cpu_variant table[] = {
    {ST_OP_EMBED, "portable", 0, NULL, st_cpu_embed_portable},
    {ST_OP_NORM, "portable", 0, NULL, st_cpu_norm_portable},
    {ST_OP_NORM_QUANT, "portable", 0, NULL, st_cpu_norm_quant_portable},
    {ST_OP_LINEAR, "portable", 0, NULL, st_cpu_linear_portable},
    {ST_OP_ROPE_STORE, "portable", 0, NULL, st_cpu_rope_store_portable},
    {ST_OP_ATTEND, "portable", 0, NULL, st_cpu_attend_portable},
    {ST_OP_GLU_NORM_QUANT, "portable", 0, NULL, st_cpu_glu_norm_quant_portable},
    {ST_OP_TOPK, "portable", 0, NULL, st_cpu_topk_portable},
#if ST_CPU_X86
    {ST_OP_EMBED, "avx2", ST_ISA_AVX2, NULL, st_cpu_embed_avx2},
    {ST_OP_NORM, "avx2", ST_ISA_AVX2, NULL, st_cpu_norm_avx2},
    {ST_OP_NORM_QUANT, "avx2", ST_ISA_AVX2, NULL, st_cpu_norm_quant_avx2},
    {ST_OP_LINEAR, "avx2", ST_ISA_AVX2, st_cpu_linear_avx2_takes, st_cpu_linear_avx2},
    {ST_OP_LINEAR, "avx2_order", ST_ISA_AVX2, st_cpu_linear_avx2_order_takes, st_cpu_linear_avx2_order},
    {ST_OP_LINEAR, "avx2_q8", ST_ISA_AVX2, st_cpu_linear_q8_avx2_takes, st_cpu_linear_q8_avx2},
    {ST_OP_LINEAR, "avx2_q8_order", ST_ISA_AVX2, st_cpu_linear_q8_avx2_order_takes,
     st_cpu_linear_q8_avx2_order},
    {ST_OP_LINEAR, "avx2_dense", ST_ISA_AVX2, st_cpu_linear_dense_avx2_takes, st_cpu_linear_dense_avx2},
    {ST_OP_LINEAR, "avx2_float", ST_ISA_AVX2, st_cpu_linear_float_avx2_takes, st_cpu_linear_float_avx2},
    {ST_OP_ROPE_STORE, "avx2", ST_ISA_AVX2, NULL, st_cpu_rope_store_avx2},
    {ST_OP_ATTEND, "avx2", ST_ISA_AVX2, NULL, st_cpu_attend_avx2},
    {ST_OP_GLU_NORM_QUANT, "avx2", ST_ISA_AVX2, NULL, st_cpu_glu_norm_quant_avx2},
    {ST_OP_TOPK, "avx2", ST_ISA_AVX2, NULL, st_cpu_topk_avx2},
#endif
#if ST_CPU_X86 && ST_CC_AVXVNNI
    {ST_OP_LINEAR, "avxvnni", ST_ISA_AVXVNNI, st_cpu_linear_avxvnni_takes, st_cpu_linear_avxvnni},
#endif
#if ST_CPU_X86 && ST_CC_AVX512
    {ST_OP_EMBED, "avx512", ST_ISA_AVX512, NULL, st_cpu_embed_avx512},
    {ST_OP_NORM, "avx512", ST_ISA_AVX512, NULL, st_cpu_norm_avx512},
    {ST_OP_NORM_QUANT, "avx512", ST_ISA_AVX512, NULL, st_cpu_norm_quant_avx512},
    {ST_OP_LINEAR, "avx512_dense", ST_ISA_AVX512, st_cpu_linear_dense_avx512_takes,
     st_cpu_linear_dense_avx512},
    {ST_OP_LINEAR, "avx512_float", ST_ISA_AVX512, st_cpu_linear_float_avx512_takes,
     st_cpu_linear_float_avx512},
    {ST_OP_ROPE_STORE, "avx512", ST_ISA_AVX512, NULL, st_cpu_rope_store_avx512},
    {ST_OP_ATTEND, "avx512", ST_ISA_AVX512, NULL, st_cpu_attend_avx512},
    {ST_OP_GLU_NORM_QUANT, "avx512", ST_ISA_AVX512, NULL, st_cpu_glu_norm_quant_avx512},
    {ST_OP_TOPK, "avx512", ST_ISA_AVX512, NULL, st_cpu_topk_avx512},
#endif
#if ST_CPU_X86 && ST_CC_AVX512VNNI
    {ST_OP_LINEAR, "avx512vnni", ST_ISA_AVX512VNNI, st_cpu_linear_avx512vnni_takes, st_cpu_linear_avx512vnni},
    {ST_OP_LINEAR, "avx512vnni_order", ST_ISA_AVX512VNNI, st_cpu_linear_avx512vnni_order_takes,
     st_cpu_linear_avx512vnni_order},
    {ST_OP_LINEAR, "avx512vnni_q8", ST_ISA_AVX512VNNI, st_cpu_linear_q8_avx512vnni_takes,
     st_cpu_linear_q8_avx512vnni},
    {ST_OP_LINEAR, "avx512vnni_q8_order", ST_ISA_AVX512VNNI, st_cpu_linear_q8_avx512vnni_order_takes,
     st_cpu_linear_q8_avx512vnni_order},
#endif
#if ST_CPU_ARM
    {ST_OP_EMBED, "neon", ST_ISA_NEON, NULL, st_cpu_embed_neon},
    {ST_OP_NORM, "neon", ST_ISA_NEON, NULL, st_cpu_norm_neon},
    {ST_OP_NORM_QUANT, "neon", ST_ISA_NEON, NULL, st_cpu_norm_quant_neon},
    {ST_OP_LINEAR, "neon", ST_ISA_NEON, st_cpu_linear_neon_takes, st_cpu_linear_neon},
    {ST_OP_LINEAR, "neon_q8", ST_ISA_NEON, st_cpu_linear_q8_neon_takes, st_cpu_linear_q8_neon},
    {ST_OP_LINEAR, "neon_dense", ST_ISA_NEON, st_cpu_linear_dense_neon_takes, st_cpu_linear_dense_neon},
    {ST_OP_LINEAR, "neon_float", ST_ISA_NEON, st_cpu_linear_float_neon_takes, st_cpu_linear_float_neon},
    {ST_OP_ROPE_STORE, "neon", ST_ISA_NEON, NULL, st_cpu_rope_store_neon},
    {ST_OP_ATTEND, "neon", ST_ISA_NEON, NULL, st_cpu_attend_neon},
    {ST_OP_GLU_NORM_QUANT, "neon", ST_ISA_NEON, NULL, st_cpu_glu_norm_quant_neon},
    {ST_OP_TOPK, "neon", ST_ISA_NEON, NULL, st_cpu_topk_neon},
#endif
#if ST_CPU_ARM && ST_CC_NEONDOT
    {ST_OP_LINEAR, "neondot", ST_ISA_NEONDOT, st_cpu_linear_neondot_takes, st_cpu_linear_neondot},
    {ST_OP_LINEAR, "neondot_q8", ST_ISA_NEONDOT, st_cpu_linear_q8_neondot_takes, st_cpu_linear_q8_neondot},
#endif
};
enum { N_VARIANT = sizeof table / sizeof table[0] };

/* Rows of trace: far above what a step of the deepest model enqueues (a dozen ops per layer). */
enum { MAX_TRACE = 16 * ST_MAX_LAYER + 64 };

/* ---- device ---- */

static int device_count(const char **why_not)
{
    (void)why_not;
    return 1;
}

static void device_info(int index, sterna_device_info *info)
{
    (void)index;
    *info = (sterna_device_info){.name = "cpu", .available = true};
    st_cpu_describe(info->description, sizeof info->description);
    st_cpu_isa_text(st_cpu_isa(), info->isa, sizeof info->isa);
    long pages = sysconf(_SC_PHYS_PAGES), page = sysconf(_SC_PAGESIZE);
    info->memory_bytes = pages > 0 && page > 0 ? (uint64_t)pages * (uint64_t)page : 0;
}

static void device_close(st_device *dev)
{
    st_cpu *cpu = (st_cpu *)dev;
    if (!cpu)
        return;
    st_pool_destroy(cpu->pool);
    st_free(cpu->scratch);
    st_free(cpu->packed);
    st_free(cpu->trace);
    st_free(cpu);
}

static void list_names(st_cpu *cpu)
{
    for (int i = 0; i < N_VARIANT; i++)
        if ((table[i].isa & ~cpu->isa) == 0) {
            assert(cpu->n_name[table[i].op] < ST_CPU_MAX_VARIANT);
            cpu->name[table[i].op][cpu->n_name[table[i].op]++] = table[i].name;
        }
}

static sterna_status device_open(int index, const st_device_params *params, st_device **dev,
                                 sterna_error *error)
{
    (void)index;
    if (params->n_thread < 0 || params->n_thread > ST_MAX_THREAD)
        return st_fail(error, STERNA_E_ARGUMENT, "%d threads asked for (0 ... %d)", params->n_thread,
                       ST_MAX_THREAD);
    st_cpu *cpu = st_calloc(1, sizeof *cpu);
    if (!cpu)
        return st_fail(error, STERNA_E_MEMORY, "no memory for the CPU device");
    cpu->base.backend = &st_backend_cpu;
    cpu->n_slot = params->n_thread ? params->n_thread : (int32_t)st_min(st_physical_cores(), ST_MAX_THREAD);
    cpu->isa = st_cpu_isa();
    cpu->reads_in_order = st_cpu_reads_in_order();
    cpu->strict = params->strict;
    cpu->abort = params->abort;
    cpu->abort_user = params->abort_user;
    list_names(cpu);
    size_t scratch = (size_t)cpu->n_slot * ST_CPU_SCRATCH_BYTES;
    cpu->scratch = st_alloc(scratch);
    cpu->packed = st_alloc(ST_CPU_PACKED_BYTES);
    cpu->pool = st_pool_create(cpu->n_slot);
    if (params->trace)
        cpu->trace = st_calloc(MAX_TRACE, sizeof *cpu->trace);
    if (!cpu->scratch || !cpu->packed || !cpu->pool || (params->trace && !cpu->trace)) {
        int32_t n_thread = cpu->n_slot;
        device_close(&cpu->base);
        return st_fail(error, STERNA_E_MEMORY, "cannot start %d threads with %zu bytes of scratch", n_thread,
                       scratch + ST_CPU_PACKED_BYTES);
    }
    *dev = &cpu->base;
    return STERNA_OK;
}

static int variants(const st_device *dev, st_op op, const char *const **names)
{
    const st_cpu *cpu = (const st_cpu *)dev;
    *names = cpu->name[op];
    return cpu->n_name[op];
}

static sterna_status force(st_device *dev, st_op op, const char *name, sterna_error *error)
{
    st_cpu *cpu = (st_cpu *)dev;
    if (!name) {
        cpu->forced[op] = NULL;
        return STERNA_OK;
    }
    for (int i = 0; i < N_VARIANT; i++)
        if (table[i].op == op && strcmp(table[i].name, name) == 0) {
            if (table[i].isa & ~cpu->isa)
                return st_fail(error, STERNA_E_UNSUPPORTED,
                               "variant %s of %s needs what this processor lacks", name, st_op_name(op));
            cpu->forced[op] = &table[i];
            return STERNA_OK;
        }
    return st_fail(error, STERNA_E_ARGUMENT, "%s has no variant \"%s\" on cpu", st_op_name(op), name);
}

static int trace(const st_device *dev, st_trace_row *rows, int max)
{
    const st_cpu *cpu = (const st_cpu *)dev;
    for (int i = 0; i < cpu->n_trace && i < max; i++)
        rows[i] = cpu->trace[i];
    return cpu->n_trace;
}

/* ---- buffers ---- */

static sterna_status buf_make(void *data, size_t bytes, bool owned, st_buf **buf, sterna_error *error)
{
    st_cpu_buf *b = st_calloc(1, sizeof *b);
    if (!b || !data) {
        st_free(b);
        if (owned)
            st_free(data);
        return st_fail(error, STERNA_E_MEMORY, "no memory for a buffer of %zu bytes", bytes);
    }
    *b = (st_cpu_buf){.base.bytes = bytes, .data = data, .owned = owned};
    *buf = &b->base;
    return STERNA_OK;
}

static sterna_status buf_create(st_device *dev, size_t bytes, st_buf **buf, sterna_error *error)
{
    (void)dev;
    return buf_make(st_alloc(bytes), bytes, true, buf, error);
}

static sterna_status buf_wrap(st_device *dev, void *native, size_t bytes, st_buf **buf, sterna_error *error)
{
    (void)dev;
    assert(native);
    if ((uintptr_t)native % sizeof(uint32_t) != 0)
        return st_fail(error, STERNA_E_ARGUMENT, "memory at %p is not aligned to 4 bytes", native);
    return buf_make(native, bytes, false, buf, error);
}

static void buf_destroy(st_device *dev, st_buf *buf)
{
    (void)dev;
    st_cpu_buf *b = (st_cpu_buf *)buf;
    if (!b)
        return;
    if (b->owned)
        st_free(b->data);
    st_free(b);
}

static void buf_write(st_device *dev, st_buf *buf, size_t offset, const void *src, size_t bytes)
{
    (void)dev;
    assert(offset <= buf->bytes && bytes <= buf->bytes - offset);
    memcpy((unsigned char *)st_cpu_data(buf) + offset, src, bytes);
}

static void buf_read(st_device *dev, const st_buf *buf, size_t offset, void *dst, size_t bytes)
{
    (void)dev;
    assert(offset <= buf->bytes && bytes <= buf->bytes - offset);
    memcpy(dst, (const unsigned char *)st_cpu_data(buf) + offset, bytes);
}

static void buf_fill(st_device *dev, st_buf *buf, uint32_t word)
{
    (void)dev;
    unsigned char *data = st_cpu_data(buf);
    for (size_t at = 0; at < buf->bytes; at += sizeof word)
        memcpy(data + at, &word, (size_t)st_min((int64_t)sizeof word, (int64_t)(buf->bytes - at)));
}

/* ---- rows in parallel ---- */

typedef struct row_loop {
    const st_cpu *cpu;
    const void *args;
    st_cpu_row_fn fn;
    int32_t n_row, share;
    atomic_int next;
} row_loop;

/* A slot is one thread's while it runs, so its scratch is private; it takes consecutive rows, `share` at a
 * time, until none are left. */
static void run_slots(void *context, int64_t first, int64_t count)
{
    row_loop *l = context;
    for (int64_t slot = first; slot < first + count; slot++)
        for (int32_t row; (row = atomic_fetch_add(&l->next, l->share)) < l->n_row;)
            for (int32_t end = (int32_t)st_min(l->n_row, row + l->share); row < end; row++)
                l->fn(l->cpu, l->args, row, l->cpu->scratch + slot * ST_MAX_COLS);
}

void st_cpu_rows(st_cpu *cpu, int32_t n_row, int64_t work, st_cpu_row_fn fn, const void *args)
{
    row_loop l = {.cpu = cpu, .args = args, .fn = fn, .n_row = n_row, .share = n_row};
    int32_t n_slot = (int32_t)st_min(cpu->n_slot, n_row);
    if (n_row * work < ST_CPU_SERIAL_WORK)
        n_slot = 1;
    else
        l.share = (int32_t)st_max(1, n_row / (8 * n_slot)); /* eight pieces a thread, for balance */
    st_pool_loop(cpu->pool, n_slot, 1, run_slots, &l);
}

st_cpu_qact st_cpu_planes(const st_qact *q)
{
    st_qact_layout layout = st_qact_planes(q);
    unsigned char *data = st_cpu_data(q->buf);
    return (st_cpu_qact){.code = (int8_t *)data,
                         .scale = (float *)(data + layout.scale_offset),
                         .sum = (int32_t *)(data + layout.sum_offset),
                         .stride = layout.stride,
                         .n_scale = layout.n_scale,
                         .n_sum = layout.n_sum};
}

/* ---- step ---- */

static bool begin(st_device *dev, const st_batch *batch)
{
    st_cpu *cpu = (st_cpu *)dev;
    assert(!cpu->batch);
    cpu->batch = batch;
    cpu->aborted = false;
    cpu->n_trace = 0;
    cpu->begun = cpu->trace ? st_seconds() : 0;
    return true;
}

static sterna_status end(st_device *dev, sterna_error *error)
{
    st_cpu *cpu = (st_cpu *)dev;
    cpu->batch = NULL;
    return cpu->aborted ? st_fail(error, STERNA_E_ABORTED, "aborted in the middle of a step") : STERNA_OK;
}

static bool fits(const st_cpu *cpu, const st_cpu_variant *v, const void *args)
{
    return (v->isa & ~cpu->isa) == 0 && (!v->takes || v->takes(cpu, args));
}

/* The forced variant if it takes the call, else the generic one, or if strict NULL; without force the most
 * special. */
static const st_cpu_variant *choose(const st_cpu *cpu, st_op op, const void *args)
{
    const st_cpu_variant *best = NULL, *forced = cpu->forced[op];
    if (forced && fits(cpu, forced, args))
        return forced;
    if (forced && cpu->strict)
        return NULL;
    for (int i = 0; i < N_VARIANT; i++)
        if (table[i].op == op && fits(cpu, &table[i], args)) {
            best = &table[i];
            if (forced)
                break;
        }
    return best;
}

static void run(st_cpu *cpu, st_op op, const void *args, uint64_t bytes)
{
    assert(cpu->batch);
    cpu->aborted = cpu->aborted || (cpu->abort && cpu->abort(cpu->abort_user));
    if (cpu->aborted)
        return;
    const st_cpu_variant *v = choose(cpu, op, args);
    if (!v)
        return;
    double start = cpu->trace ? st_seconds() : 0;
    v->run(cpu, args);
    if (cpu->trace && cpu->n_trace < MAX_TRACE)
        cpu->trace[cpu->n_trace++] =
            (st_trace_row){op, v->name, st_seconds() - start, bytes, start - cpu->begun};
}

/* Rows of the step that are not padding, for the bytes of a trace. */
static int32_t live_rows(const st_cpu *cpu, st_rows rows)
{
    int32_t n = 0;
    for (int32_t i = 0; i < st_cpu_row_count(cpu, rows); i++)
        n += st_cpu_source_row(cpu, rows, i) >= 0;
    return n;
}

static void op_embed(st_device *dev, const st_embed_args *args)
{
    st_cpu *cpu = (st_cpu *)dev;
    run(cpu, ST_OP_EMBED, args, cpu->trace ? st_bytes_embed(args, live_rows(cpu, ST_ROWS_TOKEN)) : 0);
}

static void op_norm(st_device *dev, const st_norm_args *args)
{
    st_cpu *cpu = (st_cpu *)dev;
    run(cpu, ST_OP_NORM, args, cpu->trace ? st_bytes_norm(args, live_rows(cpu, args->rows)) : 0);
}

static void op_norm_quant(st_device *dev, const st_norm_quant_args *args)
{
    st_cpu *cpu = (st_cpu *)dev;
    run(cpu, ST_OP_NORM_QUANT, args, cpu->trace ? st_bytes_norm_quant(args, live_rows(cpu, args->rows)) : 0);
}

static void op_linear(st_device *dev, const st_linear_args *args)
{
    st_cpu *cpu = (st_cpu *)dev;
    run(cpu, ST_OP_LINEAR, args, cpu->trace ? st_bytes_linear(args, live_rows(cpu, args->rows)) : 0);
}

static void op_rope_store(st_device *dev, const st_rope_store_args *args)
{
    st_cpu *cpu = (st_cpu *)dev;
    run(cpu, ST_OP_ROPE_STORE, args,
        cpu->trace ? st_bytes_rope_store(args, live_rows(cpu, ST_ROWS_TOKEN)) : 0);
}

static void op_attend(st_device *dev, const st_attend_args *args)
{
    st_cpu *cpu = (st_cpu *)dev;
    uint64_t n_key = 0;
    for (int32_t row = 0; cpu->trace && row < cpu->batch->n_token; row++) {
        int32_t first, last;
        st_cpu_visible(cpu, args, row, &first, &last);
        n_key += (uint64_t)(last - first);
    }
    run(cpu, ST_OP_ATTEND, args,
        cpu->trace ? st_bytes_attend(args, live_rows(cpu, ST_ROWS_TOKEN), n_key) : 0);
}

static void op_glu_norm_quant(st_device *dev, const st_glu_norm_quant_args *args)
{
    st_cpu *cpu = (st_cpu *)dev;
    run(cpu, ST_OP_GLU_NORM_QUANT, args,
        cpu->trace ? st_bytes_glu_norm_quant(args, live_rows(cpu, ST_ROWS_TOKEN)) : 0);
}

static void op_topk(st_device *dev, const st_topk_args *args)
{
    st_cpu *cpu = (st_cpu *)dev;
    run(cpu, ST_OP_TOPK, args, cpu->trace ? st_bytes_topk(args, live_rows(cpu, ST_ROWS_OUT)) : 0);
}

const st_backend st_backend_cpu = {
    .name = "cpu",
    .count = device_count,
    .info = device_info,
    .open = device_open,
    .close = device_close,
    .variants = variants,
    .force = force,
    .trace = trace,
    .buf_create = buf_create,
    .buf_destroy = buf_destroy,
    .buf_wrap = buf_wrap,
    .write = buf_write,
    .read = buf_read,
    .fill = buf_fill,
    .weight_create = st_cpu_weight_create,
    .weight_destroy = st_cpu_weight_destroy,
    .begin = begin,
    .end = end,
    .embed = op_embed,
    .norm = op_norm,
    .norm_quant = op_norm_quant,
    .linear = op_linear,
    .rope_store = op_rope_store,
    .attend = op_attend,
    .glu_norm_quant = op_glu_norm_quant,
    .topk = op_topk,
};
