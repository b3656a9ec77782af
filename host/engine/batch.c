#include "host/engine/batch.h"

#include <string.h>

int32_t st_bucket(int32_t n, int32_t most)
{
    int32_t step = 1;
    while (8 * step < n)
        step *= 2;
    return (int32_t)st_min(st_ceil_div(n, step) * step, most);
}

sterna_status st_step_arrays_create(st_step_arrays *a, st_device *dev, int32_t max_token, int32_t max_seq,
                                    int32_t max_out, int32_t max_page, sterna_error *error)
{
    size_t rows = (size_t)max_token, table = (size_t)max_seq * (size_t)max_page;
    size_t total = 4 * rows + table + (size_t)max_seq + (size_t)max_out;
    *a = (st_step_arrays){
        .max_token = max_token, .max_seq = max_seq, .max_out = max_out, .max_page = max_page};
    a->memory = st_calloc(total, sizeof *a->memory);
    if (!a->memory)
        return st_fail(error, STERNA_E_MEMORY, "out of memory for a step of %d rows and %d sequences",
                       max_token, max_seq);
    const struct {
        int32_t **host;
        st_buf **dev;
        size_t n;
    } arrays[] = {{&a->token, &a->batch.token, rows},       {&a->pos, &a->batch.pos, rows},
                  {&a->seq, &a->batch.seq, rows},           {&a->slot, &a->batch.slot, rows},
                  {&a->table, &a->batch.table, table},      {&a->length, &a->batch.length, (size_t)max_seq},
                  {&a->out, &a->batch.out, (size_t)max_out}};
    int32_t *at = a->memory;
    for (size_t i = 0; i < sizeof arrays / sizeof arrays[0]; i++) {
        size_t bytes = arrays[i].n * sizeof *at;
        *arrays[i].host = at;
        at += arrays[i].n;
        sterna_status status = dev->backend->buf_create(dev, bytes, arrays[i].dev, error);
        if (status != STERNA_OK)
            return status;
        a->bytes += bytes;
    }
    return STERNA_OK;
}

void st_step_arrays_destroy(st_step_arrays *a, st_device *dev)
{
    st_buf *bufs[] = {a->batch.token, a->batch.pos,    a->batch.seq, a->batch.slot,
                      a->batch.table, a->batch.length, a->batch.out};
    for (size_t i = 0; i < sizeof bufs / sizeof bufs[0]; i++)
        dev->backend->buf_destroy(dev, bufs[i]);
    st_free(a->memory);
    *a = (st_step_arrays){0};
}

void st_step_clear(st_step_arrays *a)
{
    a->n_token = a->n_seq = a->n_out = a->n_block = 0;
}

void st_step_add(st_step_arrays *a, const int32_t *token, const int32_t *page, int32_t first, int32_t count,
                 int32_t n_want)
{
    int32_t blocks = st_pages_for(first + count);
    assert(a->n_token + count <= a->max_token && a->n_seq < a->max_seq && n_want <= count &&
           a->n_out + n_want <= a->max_out && blocks <= a->max_page);
    for (int32_t i = 0; i < count; i++) {
        int32_t row = a->n_token++, pos = first + i;
        a->token[row] = token[pos];
        a->pos[row] = pos;
        a->seq[row] = a->n_seq;
        a->slot[row] = page[pos / ST_KV_PAGE] * ST_KV_PAGE + pos % ST_KV_PAGE;
        if (i >= count - n_want)
            a->out[a->n_out++] = row;
    }
    /* Rows of the table get their final distance in st_step_write, when the longest sequence is known. */
    int32_t *table = a->table + (size_t)a->n_seq * (size_t)a->max_page;
    memcpy(table, page, (size_t)blocks * sizeof *page);
    memset(table + blocks, 0, (size_t)(a->max_page - blocks) * sizeof *table);
    a->length[a->n_seq++] = first + count;
    a->n_block = (int32_t)st_max(a->n_block, blocks);
}

static void pad(int32_t *array, int32_t n, int32_t padded, int32_t value)
{
    for (int32_t i = n; i < padded; i++)
        array[i] = value;
}

void st_step_write(st_step_arrays *a, st_device *dev)
{
    st_batch *b = &a->batch;
    b->n_token = st_bucket(a->n_token, a->max_token);
    b->n_seq = st_bucket(a->n_seq, a->max_seq);
    b->n_out = a->n_out ? st_bucket(a->n_out, a->max_out) : 0;
    b->max_blocks = st_bucket(a->n_block, a->max_page);
    pad(a->token, a->n_token, b->n_token, 0);
    pad(a->pos, a->n_token, b->n_token, -1);
    pad(a->seq, a->n_token, b->n_token, 0);
    pad(a->slot, a->n_token, b->n_token, 0);
    pad(a->length, a->n_seq, b->n_seq, 0);
    pad(a->out, a->n_out, b->n_out, -1);
    size_t width = (size_t)b->max_blocks;
    for (int32_t s = 1; s < a->n_seq; s++)
        memmove(a->table + (size_t)s * width, a->table + (size_t)s * (size_t)a->max_page,
                width * sizeof *a->table);
    memset(a->table + (size_t)a->n_seq * width, 0, (size_t)(b->n_seq - a->n_seq) * width * sizeof *a->table);
    const struct {
        st_buf *buf;
        const int32_t *host;
        size_t n;
    } arrays[] = {{b->token, a->token, (size_t)b->n_token}, {b->pos, a->pos, (size_t)b->n_token},
                  {b->seq, a->seq, (size_t)b->n_token},     {b->slot, a->slot, (size_t)b->n_token},
                  {b->length, a->length, (size_t)b->n_seq}, {b->table, a->table, (size_t)b->n_seq * width},
                  {b->out, a->out, (size_t)b->n_out}};
    for (size_t i = 0; i < sizeof arrays / sizeof arrays[0]; i++)
        if (arrays[i].n > 0)
            dev->backend->write(dev, arrays[i].buf, 0, arrays[i].host, arrays[i].n * sizeof(int32_t));
}
