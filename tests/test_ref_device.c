#include "tests/support/op_case.h"
#include "tests/support/random_matrix.h"

#include <criterion/criterion.h>
#include <stdlib.h>

static const st_backend *const ref = &st_backend_ref;

Test(device, is_listed_and_described)
{
    const char *why = NULL;
    cr_assert_eq(ref->count(&why), 1);
    sterna_device_info info;
    memset(&info, 0xff, sizeof info);
    ref->info(0, &info);
    cr_assert_str_eq(info.name, "ref");
    cr_assert_str_eq(info.description, "reference, plain C, one thread");
    cr_assert_str_eq(info.isa, "");
    cr_assert(info.available && !info.software);
    cr_assert_gt(info.memory_bytes, 1 << 20);
}

Test(device, there_is_only_number_zero)
{
    sterna_error error;
    st_device *dev = NULL;
    cr_assert_eq(ref->open(1, &(st_device_params){0}, &dev, &error), STERNA_E_DEVICE);
    cr_assert_not_null(strstr(error.message, "1"));
    cr_assert_null(dev);
}

Test(device, one_variant_of_every_op)
{
    op_case c;
    case_open(&c, false);
    for (int op = 0; op < ST_OP_COUNT; op++) {
        const char *const *names = NULL;
        sterna_error error;
        cr_assert_eq(ref->variants(c.dev, (st_op)op, &names), 1);
        cr_assert_str_eq(names[0], "ref");
        cr_assert_eq(ref->force(c.dev, (st_op)op, "ref", &error), STERNA_OK);
        cr_assert_eq(ref->force(c.dev, (st_op)op, NULL, &error), STERNA_OK);
        cr_assert_eq(ref->force(c.dev, (st_op)op, "avx2", &error), STERNA_E_UNSUPPORTED);
        cr_assert_not_null(strstr(error.message, "\"avx2\""));
        cr_assert_not_null(strstr(error.message, st_op_name((st_op)op)));
    }
    case_close(&c);
}

Test(device, buffers_hold_what_is_written)
{
    op_case c;
    case_open(&c, false);
    st_buf *buf;
    cr_assert_eq(ref->buf_create(c.dev, 11, &buf, NULL), STERNA_OK);
    cr_assert_eq(buf->bytes, 11);
    ref->fill(c.dev, buf, 0x04030201);
    unsigned char bytes[11];
    ref->read(c.dev, buf, 0, bytes, 11);
    for (int i = 0; i < 11; i++)
        cr_assert_eq(bytes[i], i % 4 + 1);
    ref->write(c.dev, buf, 5, "xyz", 3);
    ref->read(c.dev, buf, 4, bytes, 5);
    cr_assert_arr_eq(bytes, "\1xyz\1", 5);
    ref->buf_destroy(c.dev, buf);
    ref->buf_destroy(c.dev, NULL);
    case_close(&c);
}

Test(device, wrapped_memory_stays_the_callers)
{
    op_case c;
    case_open(&c, false);
    uint32_t memory[3] = {1, 2, 3};
    st_buf *buf;
    cr_assert_eq(ref->buf_wrap(c.dev, memory, sizeof memory, &buf, NULL), STERNA_OK);
    cr_assert_eq(buf->bytes, sizeof memory);
    ref->write(c.dev, buf, 4, &(uint32_t){7}, 4);
    cr_assert_eq(memory[1], 7);
    memory[2] = 9;
    uint32_t back;
    ref->read(c.dev, buf, 8, &back, 4);
    cr_assert_eq(back, 9);
    ref->buf_destroy(c.dev, buf);
    cr_assert_eq(memory[0], 1);
    case_close(&c);
}

Test(device, what_cannot_be_allocated_is_an_error)
{
    op_case c;
    case_open(&c, false);
    sterna_error error;
    st_buf *buf = NULL;
    cr_assert_eq(ref->buf_create(c.dev, SIZE_MAX, &buf, &error), STERNA_E_MEMORY);
    cr_assert_not_null(strstr(error.message, "18446744073709551615"), "%s", error.message);
    cr_assert_null(buf);
    case_close(&c);
}

Test(device, weights_know_their_bytes)
{
    op_case c;
    case_open(&c, false);
    const struct {
        st_type type;
        int32_t group;
        st_type scale_type;
        size_t row; /* codes and scales of 100 columns */
    } cases[] = {{ST_TERNARY, 0, ST_F32, 32 + 4},  {ST_TERNARY, 64, ST_BF16, 32 + 2 * 2},
                 {ST_Q8, 32, ST_F16, 100 + 4 * 2}, {ST_F16, 0, ST_F32, 200},
                 {ST_BF16, 0, ST_F32, 200},        {ST_F32, 0, ST_F32, 400}};
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        random_matrix m =
            random_matrix_create(cases[i].type, 7, 100, cases[i].group, cases[i].scale_type, false, 1);
        const float bias[7] = {0};
        const int32_t at[2] = {3, 4};
        const uint16_t f16[2] = {0, 0};
        const st_outliers outliers = {.count = 2, .row = at, .col = at, .f16 = f16};
        st_weight *plain, *full;
        cr_assert_eq(ref->weight_create(c.dev, &m.m, 1, NULL, 1, NULL, &plain, NULL), STERNA_OK);
        cr_assert_eq(ref->weight_create(c.dev, &m.m, 1, bias, 1, &outliers, &full, NULL), STERNA_OK);
        cr_assert_eq(plain->bytes, 7 * cases[i].row);
        cr_assert_eq(full->bytes, 7 * cases[i].row + 7 * 4 + 2 * 10);
        cr_assert(!plain->has_bias && full->has_bias && plain->n_outlier == 0 && full->n_outlier == 2);
        cr_assert(full->type == cases[i].type && full->rows == 7 && full->cols == 100 &&
                  full->group == cases[i].group);
        ref->weight_destroy(c.dev, plain);
        ref->weight_destroy(c.dev, full);
        ref->weight_destroy(c.dev, NULL);
        random_matrix_free(&m);
    }
    case_close(&c);
}

/* ---- trace ---- */

static void run_norms(op_case *c, int count)
{
    const float x[3] = {1, 2, 3}, weight[1] = {1};
    st_norm_args args = {.src = case_input(c, x, sizeof x),
                         .dst = case_output(c, sizeof x),
                         .weight = case_input(c, weight, sizeof weight),
                         .dim = 1,
                         .eps = 1};
    case_begin(c);
    for (int i = 0; i < count; i++)
        c->backend->norm(c->dev, &args);
}

Test(device, trace_counts_rows_that_are_not_padding)
{
    op_case c;
    case_open(&c, true);
    case_rows(&c, (const int32_t[]){0, -1, 1}, 3, NULL, 0);
    for (int step = 0; step < 2; step++) {
        run_norms(&c, 3 - step);
        const char *wrong = case_end(&c);
        cr_assert(!wrong, "%s", wrong);
        st_trace_row rows[3] = {0};
        cr_assert_eq(c.backend->trace(c.dev, rows, 2), 3 - step);
        for (int i = 0; i < 2; i++) {
            cr_assert_eq(rows[i].op, ST_OP_NORM);
            cr_assert_str_eq(rows[i].variant, "ref");
            cr_assert(rows[i].seconds >= 0 && rows[i].seconds < 1);
            cr_assert_eq(rows[i].bytes, 2 * 2 * 4 + 4); /* two rows read and written, one weight */
        }
        cr_assert_null(rows[2].variant); /* no more than asked for */
    }
    case_close(&c);
}

Test(device, trace_sums_the_visible_keys)
{
    op_case c;
    case_open(&c, true);
    case_rows(&c, (const int32_t[]){0, 1, 69, -1}, 4, NULL, 0);
    st_attend_args args = {.qkv = case_output(&c, 4 * 6 * 4),
                           .stride = 6,
                           .dst = case_output(&c, 4 * 2 * 4),
                           .n_head = 1,
                           .n_kv_head = 1,
                           .head_dim = 2,
                           .causal = true,
                           .window = 10,
                           .kv = {.n_page = 2, .n_layer = 1, .n_kv_head = 1, .head_dim = 2}};
    args.kv.buf = case_output(&c, st_kv_bytes(2, 1, 1, 2));
    CASE_RUN(&c, attend, &args);
    st_trace_row row;
    cr_assert_eq(c.backend->trace(c.dev, &row, 1), 1);
    cr_assert_eq(row.bytes, st_bytes_attend(&args, 3, 1 + 2 + 10));
    case_close(&c);
}

Test(device, no_trace_unless_asked)
{
    op_case c;
    case_open(&c, false);
    case_rows(&c, (const int32_t[]){0, -1, 1}, 3, NULL, 0);
    run_norms(&c, 1);
    cr_assert(!case_end(&c));
    cr_assert_eq(c.backend->trace(c.dev, NULL, 0), 0);
    case_close(&c);
}

Test(device, the_first_failure_sticks)
{
    op_case c;
    case_open(&c, true);
    case_rows(&c, (const int32_t[]){0, -1, 1}, 3, NULL, 0);
    run_norms(&c, 16 * ST_MAX_LAYER + 1);
    sterna_error error;
    cr_assert_eq(c.backend->end(c.dev, &error), STERNA_E_LIMIT);
    cr_assert_not_null(strstr(error.message, "8192"), "%s", error.message);
    run_norms(&c, 1);
    memset(&error, 0, sizeof error);
    cr_assert_eq(c.backend->end(c.dev, &error), STERNA_E_LIMIT);
    cr_assert_eq(error.status, STERNA_E_LIMIT);
    case_close(&c);
}

/* A row that is padding in every op of a step: the batch of only padding writes nothing at all. */
Test(device, a_step_of_padding_writes_nothing)
{
    op_case c;
    case_open(&c, false);
    const int32_t none[2] = {-1, -1};
    case_rows(&c, none, 2, none, 2);
    const float one = 1;
    st_matrix m = {.type = ST_F32, .scale_type = ST_F32, .rows = 1, .cols = 1, .row_bytes = 4, .data = &one};
    st_weight *w;
    cr_assert_eq(ref->weight_create(c.dev, &m, 1, NULL, 1, NULL, &w, NULL), STERNA_OK);
    st_buf *in = case_output(&c, 64), *out = case_output(&c, 256), *weight = case_input(&c, &one, 4);
    st_qact q = {.buf = out, .max_row = 2, .cols = 1};
    st_kv kv = {.buf = out, .n_page = 1, .n_layer = 1, .n_kv_head = 1, .head_dim = 1};
    case_begin(&c);
    ref->embed(c.dev, &(st_embed_args){.table = w, .scale = 1, .dst = out});
    for (int rows = 0; rows < 2; rows++) {
        ref->norm(c.dev,
                  &(st_norm_args){.src = in, .dst = out, .weight = weight, .dim = 1, .rows = (st_rows)rows});
        ref->norm_quant(c.dev, &(st_norm_quant_args){.src = in, .dst = q, .rows = (st_rows)rows});
        ref->linear(
            c.dev, &(st_linear_args){.weight = w, .src = in, .dst = out, .stride = 1, .rows = (st_rows)rows});
    }
    ref->rope_store(c.dev, &(st_rope_store_args){
                               .qkv = in, .stride = 3, .n_head = 1, .n_kv_head = 1, .head_dim = 1, .kv = kv});
    ref->attend(
        c.dev, &(st_attend_args){
                   .qkv = in, .stride = 3, .dst = out, .n_head = 1, .n_kv_head = 1, .head_dim = 1, .kv = kv});
    ref->glu_norm_quant(c.dev, &(st_glu_norm_quant_args){.src = in, .dst = q});
    ref->topk(c.dev, &(st_topk_args){
                         .logits = in, .n_vocab = 1, .k = 1, .want = in, .candidates = out, .stats = out});
    const char *wrong = case_end(&c);
    cr_assert(!wrong, "%s", wrong);
    cr_assert(case_untouched(case_data(&c, in), 16) && case_untouched(case_data(&c, out), 64));
    ref->weight_destroy(c.dev, w);
    case_close(&c);
}
