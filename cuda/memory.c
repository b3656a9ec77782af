/* Device memory, and copies through pinned staging memory. */
#include "cuda/device.h"

#include <string.h>

static st_cuda *cuda(st_device *dev)
{
    return (st_cuda *)(void *)dev;
}

/* ---- staging ---- */

sterna_status st_cuda_staging_open(st_cuda *c, sterna_error *error)
{
    char text[32];
    void *memory = NULL;
    CUresult result = c->cu->mem_host_alloc(&memory, 2 * (size_t)ST_CUDA_STAGING, 0);
    if (result != CUDA_SUCCESS)
        return st_fail(error, result == CUDA_ERROR_OUT_OF_MEMORY ? STERNA_E_MEMORY : STERNA_E_DEVICE,
                       "%s: cuMemHostAlloc of %d bytes of staging memory: %s", c->name, 2 * ST_CUDA_STAGING,
                       st_cuda_error_name(c->cu, result, text));
    c->staging.memory = memory;
    for (int half = 0; half < 2; half++)
        if (!ST_CUDA_CALL(c, event_create, &c->staging.drained[half], CU_EVENT_DISABLE_TIMING)) {
            if (error)
                *error = c->failure;
            return c->failure.status;
        }
    return STERNA_OK;
}

void st_cuda_staging_close(st_cuda *c)
{
    for (int half = 0; half < 2; half++)
        if (c->staging.drained[half])
            c->cu->event_destroy(c->staging.drained[half]);
    if (c->staging.memory)
        c->cu->mem_free_host(c->staging.memory);
}

void *st_cuda_stage(st_cuda *c, size_t bytes)
{
    st_cuda_staging *s = &c->staging;
    assert(bytes <= ST_CUDA_STAGING);
    if (bytes > ST_CUDA_STAGING - s->used) {
        if (!ST_CUDA_CALL(c, event_record, s->drained[s->half], c->stream))
            return NULL;
        s->half = !s->half;
        s->used = 0;
        /* An event that was never recorded counts as reached. */
        if (!ST_CUDA_CALL(c, event_synchronize, s->drained[s->half]))
            return NULL;
    }
    unsigned char *at = s->memory + (size_t)s->half * ST_CUDA_STAGING + s->used;
    s->used += st_align_up(bytes, 64);
    s->used = s->used < ST_CUDA_STAGING ? s->used : ST_CUDA_STAGING;
    return at;
}

/* ---- buffers ---- */

sterna_status st_cuda_alloc(st_cuda *c, size_t bytes, const char *what, CUdeviceptr *memory,
                            sterna_error *error)
{
    char text[32];
    if (!st_cuda_enter(c)) {
        if (error)
            *error = c->failure;
        return c->failure.status;
    }
    CUresult result = c->cu->mem_alloc(memory, bytes);
    if (result == CUDA_SUCCESS)
        return STERNA_OK;
    *memory = 0;
    size_t left = 0, total = 0;
    if (result != CUDA_ERROR_OUT_OF_MEMORY || c->cu->mem_get_info(&left, &total) != CUDA_SUCCESS)
        return st_fail(error, result == CUDA_ERROR_OUT_OF_MEMORY ? STERNA_E_MEMORY : STERNA_E_DEVICE,
                       "%s: cuMemAlloc of %zu bytes for %s: %s", c->name, bytes, what,
                       st_cuda_error_name(c->cu, result, text));
    return st_fail(error, STERNA_E_MEMORY, "%s: no memory for %s of %zu bytes (%zu of %zu bytes are free)",
                   c->name, what, bytes, left, total);
}

static sterna_status buf_new(CUdeviceptr data, bool wrapped, size_t bytes, st_buf **buf, sterna_error *error)
{
    st_cuda_buf *b = st_calloc(1, sizeof *b);
    if (!b)
        return st_fail(error, STERNA_E_MEMORY, "no host memory for a buffer of %zu bytes", bytes);
    *b = (st_cuda_buf){.base.bytes = bytes, .data = data, .wrapped = wrapped};
    *buf = &b->base;
    return STERNA_OK;
}

sterna_status st_cuda_buf_create(st_device *dev, size_t bytes, st_buf **buf, sterna_error *error)
{
    st_cuda *c = cuda(dev);
    CUdeviceptr data = 0;
    sterna_status status = st_cuda_alloc(c, bytes, "a buffer", &data, error);
    if (status == STERNA_OK && (status = buf_new(data, false, bytes, buf, error)) != STERNA_OK)
        c->cu->mem_free(data);
    return status;
}

sterna_status st_cuda_buf_wrap(st_device *dev, void *native, size_t bytes, st_buf **buf, sterna_error *error)
{
    (void)dev;
    if ((uintptr_t)native % 16 != 0)
        return st_fail(error, STERNA_E_ARGUMENT, "device memory at %p is not aligned to 16 bytes", native);
    return buf_new((CUdeviceptr)(uintptr_t)native, true, bytes, buf, error);
}

void st_cuda_buf_destroy(st_device *dev, st_buf *buf)
{
    st_cuda *c = cuda(dev);
    if (!buf)
        return;
    st_cuda_forget(c);
    /* Also after a failure: the context may still be able to free. */
    c->cu->ctx_set_current(c->context);
    if (!((st_cuda_buf *)(void *)buf)->wrapped)
        c->cu->mem_free(st_cuda_address(buf));
    st_free(buf);
}

/* The caller's own kernels may look at wrapped memory as soon as a call returns; work on ours is in order. */
static void settle(st_cuda *c, const st_buf *buf)
{
    if (((const st_cuda_buf *)(const void *)buf)->wrapped)
        ST_CUDA_CALL(c, stream_synchronize, c->stream);
}

void st_cuda_write(st_device *dev, st_buf *buf, size_t offset, const void *src, size_t bytes)
{
    st_cuda *c = cuda(dev);
    assert(!c->batch && offset <= buf->bytes && bytes <= buf->bytes - offset);
    if (!st_cuda_enter(c))
        return;
    for (size_t at = 0; at < bytes;) {
        size_t part = bytes - at < ST_CUDA_STAGING ? bytes - at : ST_CUDA_STAGING;
        void *stage = st_cuda_stage(c, part);
        if (!stage)
            return;
        memcpy(stage, (const unsigned char *)src + at, part);
        if (!ST_CUDA_CALL(c, memcpy_htod_async, st_cuda_address(buf) + offset + at, stage, part, c->stream))
            return;
        at += part;
    }
    settle(c, buf);
}

void st_cuda_read(st_device *dev, const st_buf *buf, size_t offset, void *dst, size_t bytes)
{
    st_cuda *c = cuda(dev);
    assert(!c->batch && offset <= buf->bytes && bytes <= buf->bytes - offset);
    if (!st_cuda_enter(c))
        return;
    for (size_t at = 0; at < bytes;) {
        size_t part = bytes - at < ST_CUDA_STAGING ? bytes - at : ST_CUDA_STAGING;
        void *stage = st_cuda_stage(c, part);
        if (!stage ||
            !ST_CUDA_CALL(c, memcpy_dtoh_async, stage, st_cuda_address(buf) + offset + at, part, c->stream) ||
            !ST_CUDA_CALL(c, stream_synchronize, c->stream))
            return;
        memcpy((unsigned char *)dst + at, stage, part);
        at += part;
    }
}

void st_cuda_fill(st_device *dev, st_buf *buf, uint32_t word)
{
    st_cuda *c = cuda(dev);
    size_t words = buf->bytes / sizeof word, rest = buf->bytes % sizeof word;
    assert(!c->batch);
    if (!st_cuda_enter(c) ||
        (words && !ST_CUDA_CALL(c, memset_d32_async, st_cuda_address(buf), word, words, c->stream)))
        return;
    if (rest)
        st_cuda_write(dev, buf, words * sizeof word, &word, rest);
    settle(c, buf);
}
