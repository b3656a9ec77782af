/* The CUDA backend: table of variants, devices and dispatch. */
#include "cuda/device.h"

#include <stdio.h>
#include <string.h>

/* Per op from the most general to the most special: the last one that takes a call, and pays, runs it. */
static const st_cuda_variant table[] = {
    {ST_OP_EMBED, "generic", 75, NULL, NULL, st_cuda_embed_run},
    {ST_OP_NORM, "generic", 75, NULL, NULL, st_cuda_norm_run},
    {ST_OP_NORM_QUANT, "generic", 75, NULL, NULL, st_cuda_norm_quant_run},
    {ST_OP_LINEAR, "generic", 75, NULL, NULL, st_cuda_linear_generic},
    {ST_OP_LINEAR, "mma", 75, st_cuda_linear_is_ternary, NULL, st_cuda_linear_mma},
    {ST_OP_LINEAR, "gemv", 75, st_cuda_linear_is_ternary, st_cuda_linear_gemv_pays, st_cuda_linear_gemv},
    {ST_OP_ROPE_STORE, "generic", 75, NULL, NULL, st_cuda_rope_store_run},
    {ST_OP_ATTEND, "generic", 75, NULL, NULL, st_cuda_attend_run},
    {ST_OP_GLU_NORM_QUANT, "generic", 75, NULL, NULL, st_cuda_glu_norm_quant_run},
    {ST_OP_TOPK, "generic", 75, NULL, NULL, st_cuda_topk_run},
};
enum { N_VARIANT = sizeof table / sizeof table[0] };

static st_cuda *cuda(st_device *dev)
{
    return (st_cuda *)(void *)dev;
}

/* ---- failures ---- */

bool st_cuda_check(st_cuda *c, const char *call, CUresult result)
{
    char text[32];
    if (result != CUDA_SUCCESS && c->failure.status == STERNA_OK)
        st_fail(&c->failure, STERNA_E_DEVICE, "%s: %s: %s", c->name, call,
                st_cuda_error_name(c->cu, result, text));
    return c->failure.status == STERNA_OK;
}

bool st_cuda_enter(st_cuda *c)
{
    return c->failure.status == STERNA_OK && ST_CUDA_CALL(c, ctx_set_current, c->context);
}

/* ---- devices ---- */

static int device_count(const char **why_not)
{
    const st_cuda_driver *cu = st_cuda_driver_get();
    if (cu->n_device == 0)
        *why_not = cu->why_not;
    return cu->n_device;
}

static int attribute(const st_cuda_driver *cu, CUdevice device, CUdevice_attribute what)
{
    int value = 0;
    return cu->device_get_attribute(&value, what, device) == CUDA_SUCCESS ? value : 0;
}

static int arch_of(const st_cuda_driver *cu, CUdevice device)
{
    return 10 * attribute(cu, device, CU_DEVICE_ATTRIBUTE_COMPUTE_CAPABILITY_MAJOR) +
           attribute(cu, device, CU_DEVICE_ATTRIBUTE_COMPUTE_CAPABILITY_MINOR);
}

static void device_info(int index, sterna_device_info *info)
{
    const st_cuda_driver *cu = st_cuda_driver_get();
    CUdevice device = 0;
    char name[128] = "";
    size_t bytes = 0;
    *info = (sterna_device_info){.available = true};
    snprintf(info->name, sizeof info->name, "cuda:%d", index);
    if (cu->device_get(&device, index) != CUDA_SUCCESS ||
        cu->device_get_name(name, (int)sizeof name, device) != CUDA_SUCCESS) {
        snprintf(info->description, sizeof info->description, "the driver tells nothing about this device");
        return;
    }
    if (cu->device_total_mem(&bytes, device) == CUDA_SUCCESS)
        info->memory_bytes = bytes;
    /* Drivers that compute on the CPU say so in the device's name. */
    info->software = strstr(name, "software") != NULL;
    snprintf(info->description, sizeof info->description, "%s, %d multiprocessors, driver for CUDA %d.%d",
             name, attribute(cu, device, CU_DEVICE_ATTRIBUTE_MULTIPROCESSOR_COUNT), cu->version / 1000,
             cu->version % 1000 / 10);
    snprintf(info->isa, sizeof info->isa, "sm_%d", arch_of(cu, device));
}

static void device_close(st_device *dev)
{
    st_cuda *c = cuda(dev);
    if (c->context) {
        c->cu->ctx_set_current(c->context);
        st_cuda_forget(c);
        for (int i = 0; i < c->n_event; i++)
            c->cu->event_destroy(c->event[i]);
        st_cuda_unload(c);
        st_cuda_staging_close(c);
        if (c->scratch)
            c->cu->mem_free(c->scratch);
        if (c->stream)
            c->cu->stream_destroy(c->stream);
        c->cu->primary_ctx_release(c->device);
    }
    st_free(c->rows);
    st_free(c->event);
    st_free(c->trace);
    st_free(c);
}

/* Everything that the device itself has: context, stream, staging memory and scratch. */
static sterna_status start(st_cuda *c, int index, sterna_error *error)
{
    if (ST_CUDA_CALL(c, device_get, &c->device, index)) {
        c->arch = arch_of(c->cu, c->device);
        c->n_sm = attribute(c->cu, c->device, CU_DEVICE_ATTRIBUTE_MULTIPROCESSOR_COUNT);
        if (c->arch < 75)
            return st_fail(error, STERNA_E_UNSUPPORTED, "%s is sm_%d; Sterna needs sm_75 (Turing) or newer",
                           c->name, c->arch);
        if (ST_CUDA_CALL(c, primary_ctx_retain, &c->context, c->device) && st_cuda_enter(c))
            ST_CUDA_CALL(c, stream_create, &c->stream, CU_STREAM_NON_BLOCKING);
    }
    if (c->failure.status != STERNA_OK) {
        if (error)
            *error = c->failure;
        return c->failure.status;
    }
    sterna_status status = st_cuda_staging_open(c, error);
    return status == STERNA_OK ? st_cuda_alloc(c, ST_CUDA_STAGING, "scratch", &c->scratch, error) : status;
}

static void list_names(st_cuda *c)
{
    for (int i = 0; i < N_VARIANT; i++)
        if (c->arch >= table[i].arch) {
            assert(c->n_name[table[i].op] < ST_CUDA_MAX_VARIANT);
            c->names[table[i].op][c->n_name[table[i].op]++] = table[i].name;
        }
}

static sterna_status device_open(int index, const st_device_params *params, st_device **dev,
                                 sterna_error *error)
{
    const st_cuda_driver *cu = st_cuda_driver_get();
    if (index < 0 || index >= cu->n_device)
        return st_fail(error, STERNA_E_DEVICE, "there is no CUDA device %d (%d found%s%s)", index,
                       cu->n_device, cu->n_device ? "" : ": ", cu->n_device ? "" : cu->why_not);
    st_cuda *c = st_calloc(1, sizeof *c);
    if (!c)
        return st_fail(error, STERNA_E_MEMORY, "no host memory for a CUDA device");
    c->base.backend = &st_backend_cuda;
    c->cu = cu;
    c->strict = params->strict;
    snprintf(c->name, sizeof c->name, "cuda:%d", index);
    sterna_status status = STERNA_OK;
    if (params->trace) {
        c->trace = st_calloc(ST_CUDA_MAX_TRACE, sizeof *c->trace);
        c->event = st_calloc(ST_CUDA_MAX_TRACE + 1, sizeof *c->event);
        c->rows = st_calloc(1, sizeof *c->rows);
        if (!c->trace || !c->event || !c->rows)
            status = st_fail(error, STERNA_E_MEMORY, "%s: no host memory for a trace", c->name);
    }
    if (status == STERNA_OK)
        status = start(c, index, error);
    if (status != STERNA_OK) {
        device_close(&c->base);
        return status;
    }
    list_names(c);
    *dev = &c->base;
    return STERNA_OK;
}

/* ---- variants ---- */

static int variants(const st_device *dev, st_op op, const char *const **names)
{
    const st_cuda *c = (const st_cuda *)(const void *)dev;
    *names = c->names[op];
    return c->n_name[op];
}

static sterna_status force(st_device *dev, st_op op, const char *name, sterna_error *error)
{
    st_cuda *c = cuda(dev);
    const st_cuda_variant *found = NULL;
    for (int i = 0; name && i < N_VARIANT && !found; i++)
        if (table[i].op == op && strcmp(table[i].name, name) == 0)
            found = &table[i];
    if (name && !found)
        return st_fail(error, STERNA_E_ARGUMENT, "%s has no variant \"%s\" on cuda", st_op_name(op), name);
    if (found && c->arch < found->arch)
        return st_fail(error, STERNA_E_UNSUPPORTED, "variant %s of %s needs sm_%d, and %s is sm_%d", name,
                       st_op_name(op), found->arch, c->name, c->arch);
    if (c->forced[op] != found)
        st_cuda_forget(c);
    c->forced[op] = found;
    return STERNA_OK;
}

static int trace(const st_device *dev, st_trace_row *rows, int max)
{
    const st_cuda *c = (const st_cuda *)(const void *)dev;
    for (int i = 0; i < c->n_trace && i < max; i++)
        rows[i] = c->trace[i];
    return c->n_trace;
}

static bool fits(const st_cuda *c, const st_cuda_variant *v, const void *args)
{
    return c->arch >= v->arch && (!v->takes || v->takes(c, args));
}

/* The forced variant if it takes the call, else the generic one, or if strict NULL; without force the most
 * special. */
static const st_cuda_variant *choose(const st_cuda *c, st_op op, const void *args)
{
    const st_cuda_variant *best = NULL, *forced = c->forced[op];
    if (forced && fits(c, forced, args))
        return forced;
    if (forced && c->strict)
        return NULL;
    for (int i = 0; i < N_VARIANT; i++) {
        const st_cuda_variant *v = &table[i];
        if (v->op != op || !fits(c, v, args) || (v->pays && !v->pays(c, args)))
            continue;
        best = v;
        if (forced)
            break;
    }
    return best;
}

static void run(st_device *dev, st_op op, const void *args)
{
    st_cuda *c = cuda(dev);
    assert(c->batch);
    if (c->replaying || c->failure.status != STERNA_OK)
        return;
    const st_cuda_variant *variant = choose(c, op, args);
    if (!variant)
        return;
    variant->run(c, args);
    if (c->trace)
        st_cuda_trace_op(c, op, variant->name, st_bytes_of(op, args, c->rows));
}

/* ---- ops ---- */

#define OP(name, number)                                                                                     \
    static void op_##name(st_device *dev, const st_##name##_args *args)                                      \
    {                                                                                                        \
        run(dev, number, args);                                                                              \
    }

OP(embed, ST_OP_EMBED)
OP(norm, ST_OP_NORM)
OP(norm_quant, ST_OP_NORM_QUANT)
OP(linear, ST_OP_LINEAR)
OP(rope_store, ST_OP_ROPE_STORE)
OP(attend, ST_OP_ATTEND)
OP(glu_norm_quant, ST_OP_GLU_NORM_QUANT)
OP(topk, ST_OP_TOPK)

const st_backend st_backend_cuda = {
    .name = "cuda",
    .count = device_count,
    .info = device_info,
    .open = device_open,
    .close = device_close,
    .variants = variants,
    .force = force,
    .trace = trace,
    .buf_create = st_cuda_buf_create,
    .buf_destroy = st_cuda_buf_destroy,
    .buf_wrap = st_cuda_buf_wrap,
    .write = st_cuda_write,
    .read = st_cuda_read,
    .fill = st_cuda_fill,
    .weight_create = st_cuda_weight_create,
    .weight_destroy = st_cuda_weight_destroy,
    .begin = st_cuda_begin,
    .end = st_cuda_end,
    .embed = op_embed,
    .norm = op_norm,
    .norm_quant = op_norm_quant,
    .linear = op_linear,
    .rope_store = op_rope_store,
    .attend = op_attend,
    .glu_norm_quant = op_glu_norm_quant,
    .topk = op_topk,
};
