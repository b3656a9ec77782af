#include "tests/support/op_case.h"

#include <stdlib.h>
#include <string.h>

static void must(bool ok)
{
    if (!ok)
        abort(); /* the test binary reports a crash; what the tests check is asserted there */
}

void case_open(op_case *c, bool trace)
{
    memset(c, 0, sizeof *c);
    c->backend = &st_backend_ref;
    st_device_params params = {.trace = trace};
    must(c->backend->open(0, &params, &c->dev, NULL) == STERNA_OK);
}

void case_close(op_case *c)
{
    for (int i = 0; i < c->n_item; i++) {
        c->backend->buf_destroy(c->dev, c->item[i].buf);
        guard_free(&c->item[i].memory);
        free(c->item[i].before);
    }
    c->backend->close(c->dev);
}

st_buf *case_output(op_case *c, size_t bytes)
{
    must(c->n_item < CASE_MAX_BUF);
    int i = c->n_item++;
    c->item[i].memory = guard_alloc(bytes);
    c->item[i].before = NULL;
    must(c->backend->buf_wrap(c->dev, c->item[i].memory.data, bytes, &c->item[i].buf, NULL) == STERNA_OK);
    return c->item[i].buf;
}

st_buf *case_input(op_case *c, const void *data, size_t bytes)
{
    st_buf *buf = case_output(c, bytes);
    int i = c->n_item - 1;
    c->item[i].before = malloc(bytes);
    must(c->item[i].before != NULL);
    memcpy(c->item[i].before, data, bytes);
    memcpy(c->item[i].memory.data, data, bytes);
    return buf;
}

void *case_data(const op_case *c, const st_buf *buf)
{
    for (int i = 0; i < c->n_item; i++)
        if (c->item[i].buf == buf)
            return c->item[i].memory.data;
    must(false);
    return NULL;
}

void case_rows(op_case *c, const int32_t *pos, int32_t n_token, const int32_t *out, int32_t n_out)
{
    int32_t length = 1;
    for (int32_t r = 0; r < n_token; r++)
        length = pos[r] >= length ? pos[r] + 1 : length;
    int32_t blocks = (length + ST_KV_PAGE - 1) / ST_KV_PAGE;
    size_t most = (size_t)(n_token > blocks ? n_token : blocks);
    int32_t *zero = calloc(most, sizeof *zero), *page = calloc(most, sizeof *page);
    must(zero && page);
    for (int32_t b = 0; b < blocks; b++)
        page[b] = b;
    size_t token_bytes = (size_t)n_token * sizeof(int32_t);
    c->batch = (st_batch){.n_token = n_token, .n_seq = 1, .n_out = n_out, .max_blocks = blocks};
    c->batch.token = case_input(c, zero, token_bytes);
    c->batch.pos = case_input(c, pos, token_bytes);
    c->batch.seq = case_input(c, zero, token_bytes);
    c->batch.slot = case_input(c, pos, token_bytes); /* page b at b: slot = position */
    c->batch.table = case_input(c, page, (size_t)blocks * sizeof(int32_t));
    c->batch.length = case_input(c, &length, sizeof length);
    c->batch.out = n_out ? case_input(c, out, (size_t)n_out * sizeof(int32_t)) : NULL;
    free(zero);
    free(page);
}

void case_begin(op_case *c)
{
    must(c->backend->begin(c->dev, &c->batch));
}

const char *case_end(op_case *c)
{
    static sterna_error error;
    if (c->backend->end(c->dev, &error) != STERNA_OK)
        return error.message;
    for (int i = 0; i < c->n_item; i++) {
        if (!guard_intact(&c->item[i].memory))
            return "a write outside of a buffer";
        if (c->item[i].before &&
            memcmp(c->item[i].before, c->item[i].memory.data, c->item[i].memory.bytes) != 0)
            return "an input was changed";
    }
    return NULL;
}

bool case_untouched(const float *x, int64_t n)
{
    for (int64_t i = 0; i < n; i++)
        if (st_bits(x[i]) != 0xffffffff)
            return false;
    return true;
}

uint32_t case_random(uint32_t *state)
{
    *state = *state * 1664525u + 1013904223u;
    uint32_t x = *state; /* the low bits of the generator are weak: mix */
    x ^= x >> 16;
    x *= 0x7feb352du;
    return x ^ x >> 15;
}

float case_uniform(uint32_t *state, float range)
{
    return ((float)(case_random(state) >> 8) * 0x1p-23f - 1.0f) * range;
}
