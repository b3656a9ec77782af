/* The kernel library: a matrix on a device, with operands in host or device memory. One call is one step of
 * the seam whose rows all are position 0 of one sequence. */
#include "host/engine/linear.h"

struct sterna_linear {
    sterna_device *device;
    st_weight *weight;
    uint64_t number;
    int32_t max_tok, act_group, sum_group;
    bool int8; /* the matrix takes int8 input */
    bool device_only;
    st_buf *planes;         /* of max_tok rows, if int8 */
    st_buf *x, *y;          /* f32 [max_tok][K] and [max_tok][N], for operands in host memory */
    unsigned char *staging; /* planes of max_tok rows in host memory: given on the host, or to be verified */
    uint64_t scratch_bytes;
};

/* What one step computes. */
typedef struct step {
    sterna_linear *linear;
    int32_t n_tok;
    sterna_input input;
    const st_buf *x; /* f32, unless the input is INT8 */
    st_qact q;       /* where to quantise, or the given planes */
    st_buf *y;       /* NULL: only quantise */
    int32_t column, stride;
    bool accumulate;
    uint64_t x_number, y_number, q_number; /* of the caller's buffers; 0 = the linear's own */
} step;

/* ---- creation ---- */

void sterna_linear_defaults(sterna_linear_params *params)
{
    *params = (sterna_linear_params){.struct_size = sizeof *params, .max_tok = 1};
}

/* The activations of `n_row` rows; buf NULL. */
static st_qact planes_of(const sterna_linear *l, int32_t n_row)
{
    return (st_qact){
        .max_row = n_row, .cols = l->weight->cols, .act_group = l->act_group, .sum_group = l->sum_group};
}

static sterna_status create_scratch(sterna_linear *l, sterna_error *error)
{
    st_qact q = planes_of(l, l->max_tok);
    size_t rows = (size_t)l->max_tok, planes = l->int8 ? st_qact_planes(&q).bytes : 0;
    bool host = !l->device_only;
    const struct {
        st_buf **buf;
        size_t bytes;
    } bufs[] = {{&l->planes, planes},
                {&l->x, host ? rows * (size_t)l->weight->cols * sizeof(float) : 0},
                {&l->y, host ? rows * (size_t)l->weight->rows * sizeof(float) : 0}};
    st_device *dev = l->device->dev;
    for (size_t i = 0; i < sizeof bufs / sizeof bufs[0]; i++) {
        if (bufs[i].bytes == 0)
            continue;
        sterna_status status = dev->backend->buf_create(dev, bufs[i].bytes, bufs[i].buf, error);
        if (status != STERNA_OK)
            return status;
        l->scratch_bytes += bufs[i].bytes;
    }
    if (planes > 0 && (host || l->device->check)) {
        l->staging = st_calloc(planes, 1); /* what is between the planes is written, too */
        if (!l->staging)
            return st_fail(error, STERNA_E_MEMORY, "out of memory for %d rows of %d activations", l->max_tok,
                           l->weight->cols);
    }
    return STERNA_OK;
}

static sterna_status check_params(const sterna_linear_params *p, sterna_error *error)
{
    if (p->max_tok < 1 || p->max_tok > ST_MAX_BATCH)
        return st_fail(error, STERNA_E_LIMIT, "max_tok is %d, not 1 ... %d", p->max_tok, ST_MAX_BATCH);
    if (!st_group_is_legal(p->act_group))
        return st_fail(error, STERNA_E_ARGUMENT, "act_group is %d, not 0, 32, 64, 128 or 256", p->act_group);
    return STERNA_OK;
}

sterna_status sterna_linear_create(sterna_device *device, const sterna_matrix *matrix,
                                   const sterna_linear_params *params, sterna_linear **linear,
                                   sterna_error *error)
{
    if (!linear)
        return st_fail(error, STERNA_E_ARGUMENT, "no place for the linear");
    *linear = NULL;
    if (!device)
        return st_fail(error, STERNA_E_ARGUMENT, "no device");
    sterna_linear_params p;
    sterna_linear_defaults(&p);
    sterna_matrix u;
    st_matrix m;
    st_outliers o;
    sterna_status status = params ? st_struct_read(&p, sizeof p, sizeof p, params, "linear parameters",
                                                   "sterna_linear_defaults", error)
                                  : STERNA_OK;
    if (status == STERNA_OK)
        status = check_params(&p, error);
    if (status == STERNA_OK)
        status = st_matrix_of(matrix, &u, &m, &o, error);
    if (status != STERNA_OK)
        return status;
    sterna_linear *l = st_calloc(1, sizeof *l);
    if (!l)
        return st_fail(error, STERNA_E_MEMORY, "out of memory for a linear");
    int32_t sum_group =
        m.group && p.act_group ? (int32_t)st_min(m.group, p.act_group) : m.group + p.act_group;
    *l = (sterna_linear){.device = device,
                         .number = ++device->n_made,
                         .max_tok = p.max_tok,
                         .act_group = p.act_group,
                         .sum_group = sum_group,
                         .int8 = m.type == ST_TERNARY || m.type == ST_Q8,
                         .device_only = p.device_only};
    device->n_object++;
    status = device->dev->backend->weight_create(device->dev, &m, 1, u.bias, u.out_scale, o.count ? &o : NULL,
                                                 &l->weight, error);
    if (status == STERNA_OK)
        status = create_scratch(l, error);
    if (status == STERNA_OK)
        status = st_device_failure(device, error);
    if (status != STERNA_OK)
        sterna_linear_destroy(&l);
    *linear = l;
    return status;
}

void sterna_linear_destroy(sterna_linear **linear)
{
    sterna_linear *l = linear ? *linear : NULL;
    if (!l)
        return;
    *linear = NULL;
    sterna_device *device = l->device;
    const st_backend *backend = device->dev->backend;
    backend->buf_destroy(device->dev, l->planes);
    backend->buf_destroy(device->dev, l->x);
    backend->buf_destroy(device->dev, l->y);
    backend->weight_destroy(device->dev, l->weight);
    st_free(l->staging);
    st_free(l);
    device->n_object--;
    st_device_unref(device);
}

sterna_status sterna_linear_describe(const sterna_linear *linear, sterna_linear_info *info)
{
    if (!linear || !info)
        return STERNA_E_ARGUMENT;
    const st_weight *w = linear->weight;
    sterna_linear_info found = {.type = (sterna_matrix_type)w->type,
                                .rows = w->rows,
                                .cols = w->cols,
                                .group = w->group,
                                .act_group = linear->act_group,
                                .max_tok = linear->max_tok,
                                .weight_bytes = w->bytes,
                                .scratch_bytes = linear->scratch_bytes};
    return st_struct_write(info, &found, sizeof found);
}

static sterna_status check_int8(const sterna_linear *l, sterna_error *error)
{
    if (!l->int8)
        return st_fail(error, STERNA_E_UNSUPPORTED,
                       "a matrix of type %s takes f32 input as it is (STERNA_INPUT_F32), not as int8",
                       st_type_name(l->weight->type));
    return STERNA_OK;
}

sterna_status sterna_linear_planes(const sterna_linear *linear, int32_t n_row, sterna_planes *planes,
                                   sterna_error *error)
{
    if (!linear || !planes)
        return st_fail(error, STERNA_E_ARGUMENT, "no linear or no place for the planes");
    if (n_row < 1 || n_row > ST_MAX_BATCH)
        return st_fail(error, STERNA_E_LIMIT, "planes of %d rows, not 1 ... %d", n_row, ST_MAX_BATCH);
    sterna_status status = check_int8(linear, error);
    if (status != STERNA_OK)
        return status;
    st_qact q = planes_of(linear, n_row);
    st_qact_layout at = st_qact_planes(&q);
    sterna_planes found = {.code_stride = at.stride,
                           .scale_offset = at.scale_offset,
                           .sum_offset = at.sum_offset,
                           .bytes = at.bytes,
                           .n_scale = at.n_scale,
                           .n_sum = at.n_sum,
                           .act_group = q.act_group,
                           .sum_group = q.sum_group};
    size_t given = planes->struct_size;
    return st_struct_write(planes, &found, sizeof found) == STERNA_OK
               ? STERNA_OK
               : st_fail(error, STERNA_E_ARGUMENT, "planes of %zu bytes instead of %zu: set struct_size",
                         given, sizeof found);
}

sterna_status sterna_quantise_row(const float *x, int32_t cols, int32_t act_group, int8_t *codes,
                                  float *scales, sterna_error *error)
{
    if (!x || !codes || !scales)
        return st_fail(error, STERNA_E_ARGUMENT, "no row, or no place for its codes or scales");
    if (cols < 1 || cols > ST_MAX_COLS)
        return st_fail(error, STERNA_E_LIMIT, "a row of %d columns, not 1 ... %d", cols, ST_MAX_COLS);
    if (!st_group_is_legal(act_group))
        return st_fail(error, STERNA_E_ARGUMENT, "act_group is %d, not 0, 32, 64, 128 or 256", act_group);
    int32_t group = act_group ? act_group : cols;
    for (int32_t k = 0; k < cols; k += group)
        scales[k / group] = st_quantise(x + k, st_min(group, cols - k), codes + k).scale;
    return STERNA_OK;
}

/* ---- steps ---- */

static void issue(void *context)
{
    const step *s = context;
    st_device *dev = s->linear->device->dev;
    if (s->input == STERNA_INPUT_QUANTISE)
        dev->backend->norm_quant(dev, &(st_norm_quant_args){.src = s->x, .dst = s->q, .rows = ST_ROWS_TOKEN});
    if (s->y)
        dev->backend->linear(dev, &(st_linear_args){.weight = s->linear->weight,
                                                    .quant = s->input == STERNA_INPUT_F32 ? NULL : &s->q,
                                                    .src = s->input == STERNA_INPUT_F32 ? s->x : NULL,
                                                    .dst = s->y,
                                                    .column = s->column,
                                                    .stride = s->stride,
                                                    .accumulate = s->accumulate,
                                                    .rows = ST_ROWS_TOKEN});
}

/* Steps of the same number of rows whose words here are equal issue the same ops with the same arguments. */
static sterna_status run(step *s, sterna_error *error)
{
    const uint64_t words[] = {s->linear->number, (uint64_t)s->input,  s->x_number,
                              s->y_number,       s->q_number,         (uint64_t)s->q.max_row,
                              s->accumulate,     (uint64_t)s->column, (uint64_t)s->stride};
    return st_device_step(s->linear->device, s->n_tok, st_hash(ST_HASH_SEED, words, sizeof words), issue, s,
                          error);
}

static sterna_status check_call(const sterna_linear *l, int32_t n_tok, sterna_input input,
                                sterna_error *error)
{
    if (n_tok < 1 || n_tok > l->max_tok)
        return st_fail(error, STERNA_E_LIMIT, "n_tok is %d, not 1 ... %d (max_tok)", n_tok, l->max_tok);
    if ((unsigned)input > (unsigned)STERNA_INPUT_F32)
        return st_fail(error, STERNA_E_ARGUMENT, "there is no input %d", (int)input);
    return input == STERNA_INPUT_F32 ? STERNA_OK : check_int8(l, error);
}

/* ---- operands in host memory ---- */

void sterna_linear_host_defaults(sterna_linear_host_args *host)
{
    *host = (sterna_linear_host_args){.struct_size = sizeof *host};
}

/* The stride of n_tok rows of n elements, or 0 if it is too small or the rows would not fit an address space.
 */
static size_t stride_of(size_t stride, int32_t n_tok, int32_t n)
{
    size_t bytes;
    stride = stride ? stride : (size_t)n;
    return stride >= (size_t)n && st_mul_size(stride, (size_t)n_tok * sizeof(float), &bytes) ? stride : 0;
}

static sterna_status check_host(const sterna_linear *l, const sterna_linear_host_args *h, sterna_error *error)
{
    if (l->device_only)
        return st_fail(error, STERNA_E_ARGUMENT, "this linear was created with device_only");
    sterna_status status = check_call(l, h->n_tok, h->input, error);
    if (status != STERNA_OK)
        return status;
    bool int8 = h->input == STERNA_INPUT_INT8;
    if (int8 ? !h->codes || !h->scales || h->x : !h->x || h->codes || h->scales)
        return st_fail(error, STERNA_E_ARGUMENT, "%s input needs %s", int8 ? "int8" : "f32",
                       int8 ? "codes and scales, and x to be NULL" : "x, and codes and scales to be NULL");
    if (!h->y)
        return st_fail(error, STERNA_E_ARGUMENT, "no place for y");
    if (!stride_of(h->x_stride, h->n_tok, l->weight->cols))
        return st_fail(error, STERNA_E_ARGUMENT, "x_stride is %zu for rows of %d", h->x_stride,
                       l->weight->cols);
    if (!stride_of(h->y_stride, h->n_tok, l->weight->rows))
        return st_fail(error, STERNA_E_ARGUMENT, "y_stride is %zu for rows of %d", h->y_stride,
                       l->weight->rows);
    return STERNA_OK;
}

/* Sums of segments of one row of codes. False at a code of -128, whose column is then *k. */
static bool sum_codes(const int8_t *code, int32_t cols, int32_t sum_group, int32_t *sum, int32_t *k)
{
    int32_t group = sum_group ? sum_group : cols;
    for (int32_t from = 0; from < cols; from += group) {
        int32_t end = (int32_t)st_min(from + group, cols), total = 0, least = 0;
        for (int32_t i = from; i < end; i++) {
            total += code[i];
            least = code[i] < least ? code[i] : least;
        }
        sum[from / group] = total;
        if (least == INT8_MIN) {
            for (*k = from; code[*k] != INT8_MIN;)
                ++*k;
            return false;
        }
    }
    return true;
}

/* Codes and scales of the caller's -> planes of n_tok rows on the device. */
static sterna_status give_codes(sterna_linear *l, const sterna_linear_host_args *h, sterna_error *error)
{
    st_qact q = planes_of(l, h->n_tok);
    st_qact_layout at = st_qact_planes(&q);
    size_t cols = (size_t)q.cols, stride = stride_of(h->x_stride, h->n_tok, q.cols);
    int32_t *sum = (int32_t *)(void *)(l->staging + at.sum_offset), k = 0;
    for (int32_t t = 0; t < h->n_tok; t++) {
        const int8_t *from = h->codes + (size_t)t * stride;
        int8_t *to = (int8_t *)l->staging + (size_t)t * at.stride;
        if (!sum_codes(from, q.cols, q.sum_group, sum + (size_t)t * (size_t)at.n_sum, &k))
            return st_fail(error, STERNA_E_ARGUMENT,
                           "the code of row %d, column %d is -128, not -127 ... 127", t, k);
        memcpy(to, from, cols);
        memset(to + cols, 0, at.stride - cols);
    }
    size_t scales = (size_t)h->n_tok * (size_t)at.n_scale * sizeof(float);
    memcpy(l->staging + at.scale_offset, h->scales, scales);
    size_t sums = at.sum_offset + (size_t)h->n_tok * (size_t)at.n_sum * sizeof(int32_t);
    l->device->dev->backend->write(l->device->dev, l->planes, 0, l->staging, sums);
    return STERNA_OK;
}

/* Rows of n floats, `stride` apart on the host and packed on the device. */
static void write_rows(st_device *dev, st_buf *buf, const float *x, int32_t n_tok, size_t n, size_t stride)
{
    int32_t rows = stride == n ? n_tok : 1;
    for (int32_t t = 0; t < n_tok; t += rows)
        dev->backend->write(dev, buf, (size_t)t * n * sizeof *x, x + (size_t)t * stride,
                            (size_t)rows * n * sizeof *x);
}

static void read_rows(st_device *dev, const st_buf *buf, float *y, int32_t n_tok, size_t n, size_t stride)
{
    int32_t rows = stride == n ? n_tok : 1;
    for (int32_t t = 0; t < n_tok; t += rows)
        dev->backend->read(dev, buf, (size_t)t * n * sizeof *y, y + (size_t)t * stride,
                           (size_t)rows * n * sizeof *y);
}

sterna_status sterna_linear_run(sterna_linear *l, const sterna_linear_host_args *theirs, sterna_error *error)
{
    if (!l || !theirs)
        return st_fail(error, STERNA_E_ARGUMENT, "no linear or no operands");
    sterna_linear_host_args ours, *h = &ours;
    sterna_linear_host_defaults(h);
    sterna_status status =
        st_struct_read(h, sizeof *h, sizeof *h, theirs, "operands", "sterna_linear_host_defaults", error);
    if (status == STERNA_OK)
        status = check_host(l, h, error);
    if (status != STERNA_OK)
        return status;
    st_device *dev = l->device->dev;
    int32_t n = l->weight->rows, k = l->weight->cols;
    size_t y_stride = stride_of(h->y_stride, h->n_tok, n);
    if (h->input == STERNA_INPUT_INT8)
        status = give_codes(l, h, error);
    else
        write_rows(dev, l->x, h->x, h->n_tok, (size_t)k, stride_of(h->x_stride, h->n_tok, k));
    if (status != STERNA_OK)
        return status;
    if (h->accumulate)
        write_rows(dev, l->y, h->y, h->n_tok, (size_t)n, y_stride);
    step s = {.linear = l,
              .n_tok = h->n_tok,
              .input = h->input,
              .x = l->x,
              .q = planes_of(l, h->n_tok),
              .y = l->y,
              .stride = n,
              .accumulate = h->accumulate};
    s.q.buf = l->planes;
    status = run(&s, error);
    if (status != STERNA_OK)
        return status;
    read_rows(dev, l->y, h->y, h->n_tok, (size_t)n, y_stride);
    return st_device_failure(l->device, error);
}

/* ---- operands in device memory ---- */

void sterna_linear_device_defaults(sterna_linear_device_args *operands)
{
    *operands = (sterna_linear_device_args){.struct_size = sizeof *operands};
}

static sterna_status check_buffer(const sterna_linear *l, const sterna_buffer *b, const char *name,
                                  uint64_t rows, uint64_t row_bytes, sterna_error *error)
{
    if (!b)
        return st_fail(error, STERNA_E_ARGUMENT, "no buffer for %s", name);
    if (b->device != l->device)
        return st_fail(error, STERNA_E_ARGUMENT, "%s is a buffer of another device", name);
    if (b->buf->bytes < rows * row_bytes) /* both are below 2^33 */
        return st_fail(error, STERNA_E_ARGUMENT, "%s holds %zu bytes; %llu rows of %llu bytes are needed",
                       name, b->buf->bytes, (unsigned long long)rows, (unsigned long long)row_bytes);
    return STERNA_OK;
}

/* A buffer of planes laid out for *rows rows (0 = n_tok). `given`: they must have contents. */
static sterna_status check_planes(const sterna_linear *l, const sterna_buffer *b, const char *name,
                                  int32_t n_tok, int32_t *rows, bool given, sterna_error *error)
{
    *rows = *rows ? *rows : n_tok;
    if (*rows < n_tok || *rows > ST_MAX_BATCH)
        return st_fail(error, STERNA_E_ARGUMENT, "planes laid out for %d rows, not %d ... %d", *rows, n_tok,
                       ST_MAX_BATCH);
    st_qact q = planes_of(l, *rows);
    sterna_status status = check_buffer(l, b, name, 1, st_qact_planes(&q).bytes, error);
    if (status != STERNA_OK || !given || b->wrapped || b->as.cols == 0)
        return status;
    const st_qact *as = &b->as;
    if (as->cols != q.cols || as->max_row != q.max_row || as->act_group != q.act_group ||
        as->sum_group != q.sum_group)
        return st_fail(
            error, STERNA_E_ARGUMENT,
            "%s was quantised for %d rows of %d columns, act_group %d and sum_group %d, not for %d of "
            "%d, %d and %d",
            name, as->max_row, as->cols, as->act_group, as->sum_group, q.max_row, q.cols, q.act_group,
            q.sum_group);
    return STERNA_OK;
}

/* Reads planes of q->max_row rows back, as many rows as are used, and looks at what a kernel wrote. */
static sterna_status verify_planes(const sterna_linear *l, const sterna_buffer *b, const st_qact *q,
                                   int32_t n_tok, sterna_error *error)
{
    st_device *dev = l->device->dev;
    st_qact_layout at = st_qact_planes(q);
    size_t codes = (size_t)n_tok * at.stride, n_sum = (size_t)at.n_sum;
    dev->backend->read(dev, b->buf, 0, l->staging, codes);
    int32_t *sum = (int32_t *)(void *)(l->staging + st_align_up(codes, 64)), k = 0;
    dev->backend->read(dev, b->buf, at.sum_offset, sum, (size_t)n_tok * n_sum * sizeof *sum);
    sterna_status status = st_device_failure(l->device, error);
    for (int32_t t = 0; t < n_tok && status == STERNA_OK; t++) {
        const int8_t *code = (const int8_t *)l->staging + (size_t)t * at.stride;
        int32_t segment = q->sum_group ? q->sum_group : q->cols;
        for (k = q->cols; k < (int32_t)at.stride; k++)
            if (code[k] != 0)
                return st_fail(error, STERNA_E_ARGUMENT,
                               "planes: the code of row %d, column %d is %d, but it is padding (%d columns) "
                               "and must be 0",
                               t, k, code[k], q->cols);
        for (int32_t s = 0; s < at.n_sum; s++) {
            int32_t from = s * segment, n = (int32_t)st_min(segment, q->cols - from), expected;
            if (!sum_codes(code + from, n, 0, &expected, &k))
                return st_fail(error, STERNA_E_ARGUMENT,
                               "planes: the code of row %d, column %d is -128, not -127 ... 127", t,
                               from + k);
            if (sum[(size_t)t * n_sum + (size_t)s] != expected)
                return st_fail(
                    error, STERNA_E_ARGUMENT,
                    "planes: the codes of row %d, columns %d ... %d add up to %d, but the sum is %d", t, from,
                    from + n - 1, expected, sum[(size_t)t * n_sum + (size_t)s]);
        }
    }
    return status;
}

static sterna_status check_device(const sterna_linear *l, const sterna_linear_device_args *d, step *s,
                                  sterna_error *error)
{
    sterna_status status = check_call(l, d->n_tok, d->input, error);
    if (status != STERNA_OK)
        return status;
    int32_t n = l->weight->rows, rows = d->x_rows;
    int64_t stride = d->y_stride ? d->y_stride : (int64_t)d->y_column + n;
    if (d->y_column < 0 || stride > INT32_MAX || stride < (int64_t)d->y_column + n)
        return st_fail(error, STERNA_E_ARGUMENT, "%d results from column %d of rows of %lld in y", n,
                       d->y_column, (long long)stride);
    if (d->input == STERNA_INPUT_INT8)
        status = check_planes(l, d->x, "x", d->n_tok, &rows, true, error);
    else if (rows != 0)
        status = st_fail(error, STERNA_E_ARGUMENT, "x_rows is %d, but x is f32", rows);
    else
        status =
            check_buffer(l, d->x, "x", (uint64_t)d->n_tok, (uint64_t)l->weight->cols * sizeof(float), error);
    if (status == STERNA_OK)
        status = check_buffer(l, d->y, "y", (uint64_t)d->n_tok, (uint64_t)stride * sizeof(float), error);
    if (status == STERNA_OK && d->x == d->y)
        status = st_fail(error, STERNA_E_ARGUMENT, "x and y are the same buffer");
    s->column = d->y_column;
    s->stride = (int32_t)stride;
    s->q = planes_of(l, d->input == STERNA_INPUT_INT8 ? rows : d->n_tok);
    return status;
}

sterna_status sterna_linear_run_device(sterna_linear *l, const sterna_linear_device_args *theirs,
                                       sterna_error *error)
{
    if (!l || !theirs)
        return st_fail(error, STERNA_E_ARGUMENT, "no linear or no operands");
    sterna_linear_device_args ours, *d = &ours;
    sterna_linear_device_defaults(d);
    sterna_status status =
        st_struct_read(d, sizeof *d, sizeof *d, theirs, "operands", "sterna_linear_device_defaults", error);
    if (status != STERNA_OK)
        return status;
    step s = {.linear = l, .n_tok = d->n_tok, .input = d->input, .accumulate = d->accumulate};
    status = check_device(l, d, &s, error);
    if (status != STERNA_OK)
        return status;
    bool int8 = d->input == STERNA_INPUT_INT8;
    if (int8 && l->device->check)
        status = verify_planes(l, d->x, &s.q, d->n_tok, error);
    if (status != STERNA_OK)
        return status;
    s.x = int8 ? NULL : d->x->buf;
    s.q.buf = int8 ? d->x->buf : l->planes;
    s.y = d->y->buf;
    s.x_number = d->x->number;
    s.y_number = d->y->number;
    d->y->as.cols = 0;
    return run(&s, error);
}

sterna_status sterna_linear_quantise(sterna_linear *l, int32_t n_tok, const sterna_buffer *x,
                                     sterna_buffer *planes, int32_t plane_rows, sterna_error *error)
{
    if (!l)
        return st_fail(error, STERNA_E_ARGUMENT, "no linear");
    sterna_status status = check_call(l, n_tok, STERNA_INPUT_QUANTISE, error);
    if (status == STERNA_OK)
        status = check_buffer(l, x, "x", (uint64_t)n_tok, (uint64_t)l->weight->cols * sizeof(float), error);
    if (status == STERNA_OK)
        status = check_planes(l, planes, "planes", n_tok, &plane_rows, false, error);
    if (status == STERNA_OK && x == planes)
        status = st_fail(error, STERNA_E_ARGUMENT, "x and planes are the same buffer");
    if (status != STERNA_OK)
        return status;
    step s = {.linear = l,
              .n_tok = n_tok,
              .input = STERNA_INPUT_QUANTISE,
              .x = x->buf,
              .q = planes_of(l, plane_rows),
              .x_number = x->number,
              .q_number = planes->number};
    s.q.buf = planes->buf;
    planes->as = s.q;
    return run(&s, error);
}
