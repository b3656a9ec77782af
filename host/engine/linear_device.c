/* Devices and device memory of the kernel library. */
#include "host/base/parallel.h"
#include "host/engine/linear.h"

#include <stdio.h>
#include <stdlib.h>

/* ---- opening ---- */

void sterna_device_defaults(sterna_device_params *params)
{
    *params = (sterna_device_params){.struct_size = sizeof *params};
}

/* The name in sterna_device_describe of the device that `asked` led to. */
static void find_name(sterna_device *d, const char *asked)
{
    const st_backend *backend = d->dev->backend;
    const char *colon = strchr(asked, ':'), *why = NULL;
    int n = backend->count(&why), index = colon ? atoi(colon + 1) : 0;
    bool automatic = strcmp(asked, "auto") == 0;
    snprintf(d->name, sizeof d->name, "%s", backend->name);
    for (int i = 0; i < n; i++) {
        sterna_device_info info = {.available = true};
        backend->info(i, &info);
        if (automatic ? !info.software : i == index) {
            snprintf(d->name, sizeof d->name, "%s", info.name);
            return;
        }
    }
}

static sterna_status create_arrays(sterna_device *d, sterna_error *error)
{
    const st_backend *backend = d->dev->backend;
    sterna_status status = backend->buf_create(d->dev, ST_MAX_BATCH * sizeof(int32_t), &d->zero, error);
    if (status == STERNA_OK)
        status = backend->buf_create(d->dev, sizeof(int32_t), &d->one, error);
    if (status != STERNA_OK)
        return status;
    backend->fill(d->dev, d->zero, 0);
    backend->fill(d->dev, d->one, 1);
    d->batch = (st_batch){.n_seq = 1,
                          .max_blocks = 1,
                          .token = d->zero,
                          .pos = d->zero,
                          .seq = d->zero,
                          .slot = d->zero,
                          .table = d->zero,
                          .length = d->one,
                          .out = d->zero};
    return st_device_failure(d, error);
}

sterna_status sterna_device_open(const char *name, const sterna_device_params *params, sterna_device **device,
                                 sterna_error *error)
{
    if (!device)
        return st_fail(error, STERNA_E_ARGUMENT, "no place for the device");
    *device = NULL;
    sterna_device_params p;
    sterna_device_defaults(&p);
    sterna_status status = params ? st_struct_read(&p, sizeof p, sizeof p, params, "device parameters",
                                                   "sterna_device_defaults", error)
                                  : STERNA_OK;
    if (status != STERNA_OK)
        return status;
    if (p.n_thread < 0 || p.n_thread > ST_MAX_THREAD)
        return st_fail(error, STERNA_E_ARGUMENT, "n_thread is %d, not 0 ... %d", p.n_thread, ST_MAX_THREAD);
    st_log log = {p.log, p.user};
    int cpus = st_usable_cpus();
    if (p.n_thread > cpus)
        st_log_write(&log, STERNA_LOG_WARN,
                     "n_thread is %d, but this process may use %d processors: %d threads run", p.n_thread,
                     cpus, cpus);
    sterna_device *d = st_calloc(1, sizeof *d);
    if (!d)
        return st_fail(error, STERNA_E_MEMORY, "out of memory for a device");
    *d = (sterna_device){.check = p.check, .log = log};
    st_device_params inner = {
        .n_thread = (int32_t)st_min(p.n_thread, cpus), .trace = p.trace, .check = p.check, .log = log};
    name = name ? name : "auto";
    status = st_device_open(name, &inner, &d->dev, error);
    if (status == STERNA_OK) {
        find_name(d, name);
        status = create_arrays(d, error);
    }
    if (status != STERNA_OK)
        sterna_device_close(&d);
    *device = d;
    return status;
}

void st_device_unref(sterna_device *d)
{
    if (!d->closed || d->n_object > 0)
        return;
    if (d->dev) {
        d->dev->backend->buf_destroy(d->dev, d->zero);
        d->dev->backend->buf_destroy(d->dev, d->one);
        st_device_close(&d->dev);
    }
    st_free(d);
}

void sterna_device_close(sterna_device **device)
{
    sterna_device *d = device ? *device : NULL;
    if (!d)
        return;
    *device = NULL;
    d->closed = true;
    st_device_unref(d);
}

const char *sterna_device_name(const sterna_device *device)
{
    return device ? device->name : "";
}

/* ---- variants and the trace ---- */

/* ST_OP_COUNT for ops that this library does not use. */
static st_op op_of(const char *name)
{
    st_op op = name ? st_op_by_name(name) : ST_OP_COUNT;
    return op == ST_OP_NORM_QUANT || op == ST_OP_LINEAR ? op : ST_OP_COUNT;
}

const char *sterna_device_variant(const sterna_device *device, const char *op, int index)
{
    st_op number = op_of(op);
    if (!device || number == ST_OP_COUNT || index < 0)
        return NULL;
    const char *const *names;
    int n = device->dev->backend->variants(device->dev, number, &names);
    return index < n ? names[index] : NULL;
}

sterna_status sterna_device_force(sterna_device *device, const char *op, const char *variant,
                                  sterna_error *error)
{
    if (!device)
        return st_fail(error, STERNA_E_ARGUMENT, "no device");
    st_op number = op_of(op);
    if (number == ST_OP_COUNT)
        return st_fail(error, STERNA_E_ARGUMENT, "there is no op \"%s\" here, only norm_quant and linear",
                       op ? op : "");
    return device->dev->backend->force(device->dev, number, variant, error);
}

bool sterna_device_trace(const sterna_device *device, int index, const char **op, const char **variant,
                         double *seconds, uint64_t *bytes)
{
    if (!device || index < 0 || index >= device->n_trace)
        return false;
    const st_trace_row *row = &device->trace[index];
    if (op)
        *op = st_op_name(row->op);
    if (variant)
        *variant = row->variant;
    if (seconds)
        *seconds = row->seconds;
    if (bytes)
        *bytes = row->bytes;
    return true;
}

/* ---- steps ---- */

sterna_status st_device_step(sterna_device *d, int32_t n_row, uint64_t stream, st_step_fn ops, void *context,
                             sterna_error *error)
{
    const st_backend *backend = d->dev->backend;
    d->batch.n_token = n_row;
    d->batch.stream = stream;
    /* False means that a recording will be replayed and the ops are ignored; naming them again keeps one
     * path. */
    backend->begin(d->dev, &d->batch);
    if (ops)
        ops(context);
    sterna_status status = backend->end(d->dev, error);
    if (ops)
        d->n_trace = (int)st_min(backend->trace(d->dev, d->trace, ST_LINEAR_MAX_OP), ST_LINEAR_MAX_OP);
    return status;
}

/* ---- buffers ---- */

/* Gives the seam's buffer, if there is one, to a new object. */
static sterna_status own(sterna_device *device, st_buf *buf, bool wrapped, sterna_buffer **buffer,
                         sterna_error *error)
{
    sterna_buffer *b = st_calloc(1, sizeof *b);
    if (!b) {
        device->dev->backend->buf_destroy(device->dev, buf);
        return st_fail(error, STERNA_E_MEMORY, "out of memory for a buffer");
    }
    *b = (sterna_buffer){.device = device, .buf = buf, .number = ++device->n_made, .wrapped = wrapped};
    device->n_object++;
    *buffer = b;
    return STERNA_OK;
}

static sterna_status check_new(const sterna_device *device, sterna_buffer **buffer, size_t bytes,
                               sterna_error *error)
{
    if (!buffer)
        return st_fail(error, STERNA_E_ARGUMENT, "no place for the buffer");
    *buffer = NULL;
    if (!device)
        return st_fail(error, STERNA_E_ARGUMENT, "no device");
    if (bytes == 0)
        return st_fail(error, STERNA_E_ARGUMENT, "a buffer of 0 bytes");
    return STERNA_OK;
}

sterna_status sterna_buffer_create(sterna_device *device, size_t bytes, sterna_buffer **buffer,
                                   sterna_error *error)
{
    sterna_status status = check_new(device, buffer, bytes, error);
    st_buf *buf = NULL;
    if (status == STERNA_OK)
        status = device->dev->backend->buf_create(device->dev, bytes, &buf, error);
    return status == STERNA_OK ? own(device, buf, false, buffer, error) : status;
}

sterna_status sterna_buffer_wrap(sterna_device *device, void *native, size_t bytes, sterna_buffer **buffer,
                                 sterna_error *error)
{
    sterna_status status = check_new(device, buffer, bytes, error);
    if (status == STERNA_OK && !native)
        status = st_fail(error, STERNA_E_ARGUMENT, "no memory to wrap");
    st_buf *buf = NULL;
    if (status == STERNA_OK)
        status = device->dev->backend->buf_wrap(device->dev, native, bytes, &buf, error);
    return status == STERNA_OK ? own(device, buf, true, buffer, error) : status;
}

void sterna_buffer_destroy(sterna_buffer **buffer)
{
    sterna_buffer *b = buffer ? *buffer : NULL;
    if (!b)
        return;
    *buffer = NULL;
    sterna_device *device = b->device;
    device->dev->backend->buf_destroy(device->dev, b->buf);
    st_free(b);
    device->n_object--;
    st_device_unref(device);
}

size_t sterna_buffer_bytes(const sterna_buffer *buffer)
{
    return buffer ? buffer->buf->bytes : 0;
}

static sterna_status check_range(const sterna_buffer *b, size_t offset, const void *host, size_t bytes,
                                 sterna_error *error)
{
    if (!b)
        return st_fail(error, STERNA_E_ARGUMENT, "no buffer");
    if (offset > b->buf->bytes || bytes > b->buf->bytes - offset)
        return st_fail(error, STERNA_E_ARGUMENT, "%zu bytes at offset %zu of a buffer of %zu", bytes, offset,
                       b->buf->bytes);
    if (bytes > 0 && !host)
        return st_fail(error, STERNA_E_ARGUMENT, "no host memory for %zu bytes", bytes);
    return STERNA_OK;
}

sterna_status sterna_buffer_write(sterna_buffer *buffer, size_t offset, const void *src, size_t bytes,
                                  sterna_error *error)
{
    sterna_status status = check_range(buffer, offset, src, bytes, error);
    if (status != STERNA_OK || bytes == 0)
        return status;
    st_device *dev = buffer->device->dev;
    dev->backend->write(dev, buffer->buf, offset, src, bytes);
    buffer->as.cols = 0;
    return st_device_failure(buffer->device, error);
}

sterna_status sterna_buffer_read(const sterna_buffer *buffer, size_t offset, void *dst, size_t bytes,
                                 sterna_error *error)
{
    sterna_status status = check_range(buffer, offset, dst, bytes, error);
    if (status != STERNA_OK || bytes == 0)
        return status;
    st_device *dev = buffer->device->dev;
    dev->backend->read(dev, buffer->buf, offset, dst, bytes);
    return st_device_failure(buffer->device, error);
}

sterna_status sterna_buffer_fill(sterna_buffer *buffer, uint32_t word, sterna_error *error)
{
    if (!buffer)
        return st_fail(error, STERNA_E_ARGUMENT, "no buffer");
    st_device *dev = buffer->device->dev;
    dev->backend->fill(dev, buffer->buf, word);
    buffer->as.cols = 0;
    return st_device_failure(buffer->device, error);
}
