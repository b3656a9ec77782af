/* The int8 head: what it holds, what it refuses, and who gets one. */
#include "host/engine/head.h"
#include "tests/support/tiny_model.h"

#include <criterion/criterion.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum { ROWS = 131, COLS = 77 };

/* Halves of every kind: each row another range, subnormals and zeros of both signs among them. */
static void fill(uint16_t *half)
{
    uint64_t state = 5;
    for (int i = 0; i < ROWS * COLS; i++) {
        uint16_t exponent = (uint16_t)(tiny_random(&state) % (unsigned)(i / COLS % 30 + 1));
        half[i] = (uint16_t)((tiny_random(&state) & 0x83ff) | exponent << 10);
    }
    memset(half, 0, COLS * sizeof *half); /* a row of nothing */
}

/* The rows as this type; what has no exact form takes the nearest below. */
static void store(st_type type, const uint16_t *half, void *to)
{
    for (int i = 0; i < ROWS * COLS; i++) {
        float x = st_f16_to_f32(half[i]);
        uint32_t bits;
        memcpy(&bits, &x, sizeof bits);
        if (type == ST_F16)
            ((uint16_t *)to)[i] = half[i];
        else if (type == ST_BF16)
            ((uint16_t *)to)[i] = (uint16_t)(bits >> 16);
        else
            ((float *)to)[i] = x;
    }
}

static st_matrix matrix_of(st_type type, const void *data)
{
    return (st_matrix){
        .type = type, .rows = ROWS, .cols = COLS, .row_bytes = st_row_bytes(type, COLS), .data = data};
}

static void expect_rows(const st_matrix *from, st_pool *pool)
{
    st_decoded d = {.matrix = *from, .out_scale = 0.5f}, head;
    sterna_error error;
    cr_assert_eq(st_head_quantise(&d, pool, &head, &error), STERNA_OK, "%s", error.message);
    const st_matrix *m = &head.matrix;
    cr_assert(m->type == ST_Q8 && m->group == 0 && m->scale_type == ST_F32 && m->rows == ROWS &&
              m->cols == from->cols);
    cr_assert_eq(st_matrix_check(m, &error), STERNA_OK, "%s", error.message);
    cr_expect_eq(head.out_scale, 0.5f);
    for (int32_t row = 0; row < ROWS; row++) {
        float value[96];
        int8_t code[96];
        size_t cols = (size_t)from->cols;
        for (int32_t k = 0; k < from->cols; k++)
            value[k] = st_matrix_value(from, row, k);
        st_quantised q = st_quantise(value, from->cols, code);
        cr_assert(memcmp(code, (const int8_t *)m->data + (size_t)row * m->row_bytes, cols) == 0, "row %d",
                  row);
        cr_assert(memcmp(&q.scale, (const float *)m->scale + row, sizeof(float)) == 0, "row %d", row);
    }
    st_decoded_free(&head);
}

Test(head, rows_are_rounded_as_activations_are)
{
    static uint16_t half[ROWS * COLS];
    static float data[ROWS * COLS];
    fill(half);
    static const st_type types[] = {ST_F16, ST_BF16, ST_F32};
    for (int n_thread = 1; n_thread <= 2; n_thread++) {
        st_pool *pool = st_pool_create(n_thread);
        for (int i = 0; i < 3; i++) {
            store(types[i], half, data);
            st_matrix m = matrix_of(types[i], data);
            expect_rows(&m, n_thread == 1 ? NULL : pool);
        }
        st_pool_destroy(pool);
    }
}

/* Codes in blocks as a file has them, and in groups of which the last is short. */
Test(head, codes_with_scales_of_groups_get_one_of_their_row)
{
    static unsigned char block[ROWS * 3 * ST_BLOCK_BYTES];
    static int8_t code[ROWS * COLS];
    static uint16_t scale[ROWS * 2];
    uint64_t state = 6;
    for (size_t i = 0; i < sizeof block; i++) /* scales of exponents 12 to 15 */
        block[i] = (unsigned char)(i % ST_BLOCK_BYTES == 1 ? 0x30 | (tiny_random(&state) & 0x8f)
                                                           : tiny_random(&state));
    for (int i = 0; i < ROWS * COLS; i++)
        code[i] = (int8_t)tiny_random(&state);
    for (int i = 0; i < ROWS * 2; i++)
        scale[i] = (uint16_t)(0x3000 | (tiny_random(&state) & 0x8fff));
    st_matrix m = {
        .type = ST_Q8, .scale_type = ST_F16, .rows = ROWS, .cols = COLS, .group = 64, .row_bytes = COLS};
    m.data = code;
    m.scale = scale;
    expect_rows(&m, NULL);
    m = (st_matrix){.type = ST_Q8,
                    .scale_type = ST_F16,
                    .rows = ROWS,
                    .cols = 96,
                    .group = 32,
                    .blocks = true,
                    .row_bytes = sizeof block / ROWS,
                    .data = block};
    expect_rows(&m, NULL);
}

Test(head, the_first_row_that_is_not_finite_is_named)
{
    static uint16_t half[ROWS * COLS];
    fill(half);
    static const uint16_t bad[] = {0x7c00, 0xfc00, 0x7e01};
    for (int i = 0; i < 3; i++) {
        half[97 * COLS + 76] = bad[i];
        half[130 * COLS] = bad[i];
        st_decoded d = {.matrix = matrix_of(ST_F16, half)}, head;
        sterna_error error;
        cr_expect_eq(st_head_quantise(&d, NULL, &head, &error), STERNA_E_FORMAT);
        cr_expect_str_eq(error.message,
                         "row 97 of the head has a value that is not finite: int8 cannot hold it");
    }
}

/* ---- engines ---- */

static char warning[256];

static void keep_warning(void *user, sterna_log_level level, const char *line)
{
    (void)user;
    if (level == STERNA_LOG_WARN && strstr(line, "head"))
        snprintf(warning, sizeof warning, "%s", line);
}

/* Log-probabilities of a fixed text, and the likeliest tokens. */
static void score(const sterna_model *model, sterna_head head, float logprob[31], sterna_token top[31])
{
    sterna_engine *engine;
    sterna_error error;
    sterna_engine_params params;
    sterna_token token[32];
    for (int i = 0; i < 32; i++)
        token[i] = (i * 29 + 3) % 256;
    sterna_engine_defaults(&params);
    params.device = "cpu";
    params.n_context = 64;
    params.n_sequence = 1;
    params.head = head;
    params.log = keep_warning;
    warning[0] = '\0';
    cr_assert_eq(sterna_engine_open(model, &params, &engine, &error), STERNA_OK, "%s", error.message);
    cr_assert_eq(sterna_score_top(engine, token, 32, 1, logprob, top, &error), STERNA_OK, "%s",
                 error.message);
    float again[31];
    cr_assert_eq(sterna_score(engine, token, 32, 1, again, &error), STERNA_OK, "%s", error.message);
    cr_expect(memcmp(again, logprob, sizeof again) == 0);
    cr_expect_eq(sterna_score_top(engine, token, 32, 1, logprob, NULL, &error), STERNA_E_ARGUMENT);
    sterna_engine_close(&engine);
}

Test(head, floats_change_and_ternary_codes_do_not)
{
    static const st_encoding outputs[] = {ST_ENC_F16, ST_ENC_F32, ST_ENC_Q8_0, ST_ENC_TQ2_0};
    for (int i = 0; i < 4; i++) {
        tiny_spec spec;
        tiny_defaults(&spec);
        spec.tied = false;
        spec.output = outputs[i];
        sterna_model *model = tiny_open(&spec);
        float f16[31], q8[31], most = 0.0f;
        sterna_token top[31];
        score(model, STERNA_HEAD_F16, f16, top);
        cr_expect_str_eq(warning, "");
        score(model, STERNA_HEAD_Q8, q8, top);
        for (int t = 0; t < 31; t++) {
            cr_expect(top[t] >= 0 && top[t] < spec.n_vocab);
            most = fmaxf(most, fabsf(f16[t] - q8[t]));
        }
        if (outputs[i] == ST_ENC_TQ2_0) {
            cr_expect_eq(most, 0.0f);
            cr_expect_str_eq(
                warning, "head q8: this model's head is ternary with int8 activations already, and stays so");
        } else {
            cr_expect(most > 0.0f && most < 0.5f, "%g", (double)most);
            cr_expect_str_eq(warning, "");
        }
        sterna_model_close(&model);
    }
}

Test(head, a_head_that_there_is_not)
{
    tiny_spec spec;
    tiny_defaults(&spec);
    sterna_model *model = tiny_open(&spec);
    sterna_engine *engine = NULL;
    sterna_error error;
    sterna_engine_params params;
    sterna_engine_defaults(&params);
    params.head = (sterna_head)2;
    cr_expect_eq(sterna_engine_open(model, &params, &engine, &error), STERNA_E_ARGUMENT);
    cr_expect_str_eq(error.message, "head is 2, not f16 (0) or q8 (1)");
    cr_expect_null(engine);
    sterna_model_close(&model);
}
