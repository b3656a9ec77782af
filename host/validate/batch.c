/* The batch arrays of a case, and steps on a rig. */
#include "host/validate/runner.h"

static int32_t *integers(st_case *c, int32_t n)
{
    return st_case_alloc(c, (size_t)st_max(n, 1) * sizeof(int32_t));
}

static int add(st_case *c, const int32_t *values, int32_t n)
{
    return st_case_buf_add(c, values, (size_t)st_max(n, 1) * sizeof(int32_t));
}

st_case_batch st_case_rows(st_case *c, int32_t m, int32_t n_out, bool padding)
{
    int32_t blocks = (int32_t)st_ceil_div(m, ST_KV_PAGE);
    int32_t *pos = integers(c, m), *seq = integers(c, m), *slot = integers(c, m), *token = integers(c, m);
    int32_t *table = integers(c, blocks), *length = integers(c, 1), *out = integers(c, n_out);
    for (int32_t i = 0; i < blocks; i++)
        table[i] = blocks - 1 - i;
    for (int32_t i = 0; i < m; i++) {
        pos[i] = padding && i > 0 && st_random_below(c, 4) == 0 ? -1 : i;
        seq[i] = 0;
        slot[i] = table[i / ST_KV_PAGE] * ST_KV_PAGE + i % ST_KV_PAGE;
        token[i] = pos[i] < 0 ? 0 : st_random_below(c, c->op == ST_OP_EMBED ? c->n : 1000);
    }
    length[0] = m;
    out[0] = 0;
    for (int32_t i = 1; i < n_out; i++) {
        out[i] = st_random_below(c, m);
        if (pos[out[i]] < 0 || (padding && st_random_below(c, 4) == 0))
            out[i] = -1;
    }
    st_case_batch b = {
        .n_token = m, .n_seq = 1, .n_out = n_out, .max_blocks = blocks, .host_pos = pos, .host_out = out};
    b.token = add(c, token, m);
    b.pos = add(c, pos, m);
    b.seq = add(c, seq, m);
    b.slot = add(c, slot, m);
    b.table = add(c, table, blocks);
    b.length = add(c, length, 1);
    b.out = add(c, out, n_out);
    return b;
}

st_batch st_rig_batch(const st_case *c, const st_rig *rig, const st_case_batch *b)
{
    return (st_batch){.n_token = b->n_token,
                      .n_seq = b->n_seq,
                      .n_out = b->n_out,
                      .max_blocks = b->max_blocks,
                      .stream = c->suite->stream,
                      .token = rig->buf[b->token],
                      .pos = rig->buf[b->pos],
                      .seq = rig->buf[b->seq],
                      .slot = rig->buf[b->slot],
                      .table = rig->buf[b->table],
                      .length = rig->buf[b->length],
                      .out = rig->buf[b->out]};
}

void st_rig_begin(const st_rig *rig, const st_batch *batch)
{
    rig->dev->backend->begin(rig->dev, batch);
}

void st_rig_end(const st_case *c, const st_rig *rig)
{
    sterna_error error = {STERNA_OK, ""};
    sterna_status status = rig->dev->backend->end(rig->dev, &error);
    if (status != STERNA_OK)
        st_suite_fail(c->suite, status, "%s %dx%dx%d (%s) on %s: %s", st_op_name(c->op), c->m, c->n, c->k,
                      c->parameters, rig->dev->backend->name, error.message);
}
