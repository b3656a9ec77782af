#include "tests/support/fault_backend.h"

#include "host/cpu/cpu.h"

static st_backend table;
static fault_kind fault;
static const st_batch *batch;

static void flip(st_buf *buf, size_t at)
{
    ((unsigned char *)st_cpu_data(buf))[at] ^= 1;
}

/* The last live row of a step, and the bytes before element `col` of row `row`. */
static int32_t last_row(st_rows rows)
{
    bool out = rows == ST_ROWS_OUT;
    const int32_t *live = st_cpu_data(out ? batch->out : batch->pos);
    int32_t row = (out ? batch->n_out : batch->n_token) - 1;
    while (row > 0 && live[row] < 0)
        row--;
    return row;
}

static size_t at(int32_t row, int64_t stride, int64_t col)
{
    return ((size_t)row * (size_t)stride + (size_t)col) * sizeof(float);
}

/* Plants the fault in a result of f32 [rows][stride], columns [first, first + n), and an input of f32. */
static void plant(st_buf *dst, st_rows rows, int64_t stride, int64_t first, int64_t n, const st_buf *input)
{
    int32_t count = rows == ST_ROWS_OUT ? batch->n_out : batch->n_token;
    if (fault == FAULT_RESULT)
        flip(dst, at(last_row(rows), stride, first + n - 1));
    else if (fault == FAULT_INPUT)
        flip((st_buf *)(uintptr_t)input, 0);
    else
        flip(dst, at(count, stride, 0));
}

static bool begin(st_device *dev, const st_batch *b)
{
    batch = b;
    return st_backend_cpu.begin(dev, b);
}

static sterna_status open_device(int index, const st_device_params *params, st_device **dev,
                                 sterna_error *error)
{
    sterna_status status = st_backend_cpu.open(index, params, dev, error);
    if (status == STERNA_OK)
        (*dev)->backend = &table;
    return status;
}

static void embed(st_device *dev, const st_embed_args *a)
{
    st_backend_cpu.embed(dev, a);
    plant(a->dst, ST_ROWS_TOKEN, a->table->cols, 0, a->table->cols, batch->token);
}

static void norm(st_device *dev, const st_norm_args *a)
{
    st_backend_cpu.norm(dev, a);
    plant(a->dst, a->rows, a->dim, 0, a->dim, a->weight);
}

/* The last scale, or one past the sums. */
static void plant_quantised(const st_qact *q, st_rows rows, const st_buf *input)
{
    st_qact_layout layout = st_qact_planes(q);
    if (fault == FAULT_RESULT)
        flip(q->buf, layout.scale_offset + at(last_row(rows), layout.n_scale, layout.n_scale - 1));
    else if (fault == FAULT_INPUT)
        flip((st_buf *)(uintptr_t)input, 0);
    else
        flip(q->buf, layout.bytes);
}

static void norm_quant(st_device *dev, const st_norm_quant_args *a)
{
    st_backend_cpu.norm_quant(dev, a);
    plant_quantised(&a->dst, a->rows, a->src);
}

static void glu_norm_quant(st_device *dev, const st_glu_norm_quant_args *a)
{
    st_backend_cpu.glu_norm_quant(dev, a);
    plant_quantised(&a->dst, ST_ROWS_TOKEN, a->src);
}

static void linear(st_device *dev, const st_linear_args *a)
{
    st_backend_cpu.linear(dev, a);
    plant(a->dst, a->rows, a->stride, a->column, a->weight->rows, a->quant ? a->quant->buf : a->src);
}

static void rope_store(st_device *dev, const st_rope_store_args *a)
{
    st_backend_cpu.rope_store(dev, a);
    if (fault == FAULT_KEY) {
        int32_t slot = ((const int32_t *)st_cpu_data(batch->slot))[last_row(ST_ROWS_TOKEN)];
        st_cpu_kv_block(&a->kv, slot / ST_KV_PAGE, a->layer, a->n_kv_head - 1)[slot % ST_KV_PAGE] ^= 1;
        return;
    }
    plant(a->qkv, ST_ROWS_TOKEN, a->stride, 0, (int64_t)a->n_head * a->head_dim, a->cos_sin);
}

static void attend(st_device *dev, const st_attend_args *a)
{
    st_backend_cpu.attend(dev, a);
    int64_t n = (int64_t)a->n_head * a->head_dim;
    plant(a->dst, ST_ROWS_TOKEN, n, 0, n, a->qkv);
}

static void topk(st_device *dev, const st_topk_args *a)
{
    st_backend_cpu.topk(dev, a);
    int64_t n = sizeof(st_candidate) / sizeof(float) * (size_t)a->k;
    plant(a->candidates, ST_ROWS_OUT, n, 0, n, a->logits);
}

const st_backend *fault_backend(st_op op, fault_kind kind)
{
    fault = kind;
    table = st_backend_cpu;
    table.open = open_device;
    table.begin = begin;
    switch (op) {
    case ST_OP_EMBED:
        table.embed = embed;
        break;
    case ST_OP_NORM:
        table.norm = norm;
        break;
    case ST_OP_NORM_QUANT:
        table.norm_quant = norm_quant;
        break;
    case ST_OP_LINEAR:
        table.linear = linear;
        break;
    case ST_OP_ROPE_STORE:
        table.rope_store = rope_store;
        break;
    case ST_OP_ATTEND:
        table.attend = attend;
        break;
    case ST_OP_GLU_NORM_QUANT:
        table.glu_norm_quant = glu_norm_quant;
        break;
    case ST_OP_TOPK:
        table.topk = topk;
        break;
    case ST_OP_COUNT:
        break;
    }
    return &table;
}
