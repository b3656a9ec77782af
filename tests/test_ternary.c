/* Encodings: golden vectors both ways, every byte value, scale rules, random round trips in guarded memory.
 */
#include "host/base/numerics.h"
#include "host/model/ternary.h"
#include "host/model/ternary_encode.h"
#include "tests/support/guard.h"
#include "tests/support/tiny_model.h"

#include <criterion/criterion.h>
#include <stdio.h>
#include <string.h>

/* Vectors made by ggml's reference quantisers (TQ1_0, TQ2_0) and from the published layout (I2_S) for the
 * pattern below with scale 0.5. */
static const char golden_tq1_0[] =
    "3298558220b4d732c156f8961d4c92c1c906b74702b124c9103371810b3b48108f1e49d804097b8f486a4e670ae4b948ab39b543"
    "0038";
static const char golden_tq2_0[] =
    "2419a8954482962462012a890428496206401258008284069064a1551008589006401258008284069064a155100858908906aa25"
    "11a0258918004a62010a12180038";
static const char golden_i2_s[] = "18642a56118296188940a86210286189900184250082129006194a5504202506";

static int pattern(int j)
{
    return (j * j + 3 * j + (j >> 3)) % 7 % 3 - 1;
}

static size_t from_hex(const char *hex, unsigned char *bytes)
{
    size_t n = strlen(hex) / 2;
    for (size_t i = 0; i < n; i++) {
        unsigned value;
        cr_assert_eq(sscanf(hex + 2 * i, "%2x", &value), 1);
        bytes[i] = (unsigned char)value;
    }
    return n;
}

static st_packed packed(st_encoding encoding, int32_t rows, int32_t cols, const void *data)
{
    st_packed p = {.encoding = st_encoding_get(encoding),
                   .rows = rows,
                   .cols = cols,
                   .data = data,
                   .label = "file",
                   .name = "t"};
    cr_assert(st_encoding_bytes(p.encoding, cols, (int64_t)rows * cols, &p.bytes));
    return p;
}

static st_decoded decode(st_encoding encoding, int32_t rows, int32_t cols, const void *data)
{
    st_packed p = packed(encoding, rows, cols, data);
    st_decoded d;
    sterna_error error = {0};
    cr_assert_eq(st_ternary_decode(&p, &d, &error), STERNA_OK, "%s", error.message);
    cr_assert_eq(st_matrix_check(&d.matrix, &error), STERNA_OK, "%s", error.message);
    cr_assert(d.out_scale == 1.0f && !d.bias);
    return d;
}

/* ---- golden vectors ---- */

static void check_golden(const char *hex, st_encoding encoding, int32_t cols)
{
    unsigned char file[96] = {0}, made[96] = {0};
    size_t bytes = from_hex(hex, file);
    float scale = 0.5f;
    if (encoding == ST_ENC_I2_S) {
        memcpy(file + bytes, &scale, sizeof scale);
        bytes += 32;
    }
    uint8_t code[256];
    st_decoded d = decode(encoding, 1, cols, file);
    cr_expect(d.matrix.group == 0 && !d.matrix.has_code3 && st_matrix_scale(&d.matrix, 0, 0) == 0.5f);
    for (int j = 0; j < cols; j++) {
        code[j] = (uint8_t)(pattern(j) + 1);
        cr_expect_eq(st_matrix_code(&d.matrix, 0, j), code[j], "%s: element %d",
                     d.matrix.data ? "decode" : "", j);
    }
    st_decoded_free(&d);
    sterna_error error = {0};
    st_codes codes = {.code = code, .rows = 1, .cols = cols, .scale = &scale};
    cr_assert_eq(st_ternary_encode(encoding, &codes, made, "t", &error), STERNA_OK, "%s", error.message);
    cr_expect_eq(memcmp(made, file, bytes), 0, "encoding %d does not reproduce its golden vector", encoding);
}

Test(ternary, golden_vectors_both_ways)
{
    check_golden(golden_tq1_0, ST_ENC_TQ1_0, 256);
    check_golden(golden_tq2_0, ST_ENC_TQ2_0, 256);
    check_golden(golden_i2_s, ST_ENC_I2_S, 128);
}

/* ---- every byte value at every place, against the layout written as formulas ---- */

/* Code of element j of a TQ2_0 block. */
static int tq2_code(const uint8_t *block, int j)
{
    return block[j / 128 * 32 + j % 32] >> 2 * (j % 128 / 32) & 3;
}

/* Trit n of a TQ1_0 byte, by division. */
static int trit_of(uint8_t byte, int n)
{
    static const int power[] = {81, 27, 9, 3, 1};
    int q = byte * 243 >> 8;
    return q / power[n] % 3;
}

/* Code of element j of a TQ1_0 block. */
static int tq1_code(const uint8_t *block, int j)
{
    if (j < 160)
        return trit_of(block[j % 32], j / 32);
    if (j < 240)
        return trit_of(block[32 + (j - 160) % 16], (j - 160) / 16);
    return trit_of(block[48 + (j - 240) % 4], (j - 240) / 4);
}

static int i2_s_code(const uint8_t *run, int j)
{
    int code = run[j % 32] >> (6 - 2 * (j / 32)) & 3;
    return code == 3 ? 1 : code;
}

static void check_all_bytes(st_encoding encoding, int32_t cols, int code_bytes,
                            int (*expected)(const uint8_t *, int))
{
    for (int value = 0; value < 256; value++) {
        unsigned char file[96] = {0};
        for (int i = 0; i < code_bytes; i++)
            file[i] = (uint8_t)(value + 37 * i); /* 37 is odd: every place takes every value */
        file[code_bytes + 1] = 0x38;             /* f16 0.5, or a small f32 */
        st_decoded d = decode(encoding, 1, cols, file);
        bool code3 = false;
        for (int j = 0; j < cols; j++) {
            int want = expected(file, j);
            code3 = code3 || want == 3;
            cr_assert_eq(st_matrix_code(&d.matrix, 0, j), want, "byte + %d, element %d", value, j);
        }
        cr_assert_eq(d.matrix.has_code3, code3);
        st_decoded_free(&d);
    }
}

Test(ternary, all_bytes_at_all_places)
{
    check_all_bytes(ST_ENC_TQ2_0, 256, 64, tq2_code);
    check_all_bytes(ST_ENC_I2_S, 128, 32, i2_s_code);
    check_all_bytes(ST_ENC_TQ1_0, 256, 52, tq1_code);
}

/* All 243 groups of five trits, through the encoder's bytes. */
Test(ternary, all_groups_of_five_trits)
{
    float scale = 1.0f;
    for (int q = 0; q < 243; q++) {
        uint8_t code[256];
        int digit[5] = {q / 81, q / 27 % 3, q / 9 % 3, q / 3 % 3, q % 3};
        for (int j = 0; j < 256; j++)
            code[j] = (uint8_t)(j < 160   ? digit[j / 32]
                                : j < 240 ? digit[(j - 160) / 16]
                                          : digit[(j - 240) / 4]);
        unsigned char file[54];
        sterna_error error = {0};
        st_codes codes = {.code = code, .rows = 1, .cols = 256, .scale = &scale};
        cr_assert_eq(st_ternary_encode(ST_ENC_TQ1_0, &codes, file, "t", &error), STERNA_OK, "%s",
                     error.message);
        cr_assert_eq(file[0], (q * 256 + 242) / 243);
        st_decoded d = decode(ST_ENC_TQ1_0, 1, 256, file);
        for (int j = 0; j < 256; j++)
            cr_assert_eq(st_matrix_code(&d.matrix, 0, j), code[j], "q %d, element %d", q, j);
        st_decoded_free(&d);
    }
}

/* ---- scales ---- */

enum { GROUPS = 3, COLS = 256 * GROUPS };

/* Rows of three groups: a list of scales, negative entries of `zero` meaning groups of zeros. */
static st_decoded scaled(int32_t rows, const float *scale, const bool *zero)
{
    static uint8_t code[4 * COLS];
    static unsigned char file[4 * GROUPS * 66];
    cr_assert(rows <= 4);
    for (int i = 0; i < rows * COLS; i++)
        code[i] = zero[i / 256] ? 1 : (uint8_t)(pattern(i % 256) + 1);
    sterna_error error = {0};
    st_codes codes = {.code = code, .rows = rows, .cols = COLS, .group = 256, .scale = scale};
    cr_assert_eq(st_ternary_encode(ST_ENC_TQ2_0, &codes, file, "t", &error), STERNA_OK, "%s", error.message);
    return decode(ST_ENC_TQ2_0, rows, COLS, file);
}

Test(ternary, equal_scales_collapse_to_rows)
{
    const float scale[] = {0.5f, 0.5f, 0.5f, -0.25f, -0.25f, -0.25f, 0, 0, 0};
    const bool zero[9] = {false};
    st_decoded d = scaled(3, scale, zero);
    cr_expect_eq(d.matrix.group, 0);
    cr_expect_eq(d.matrix.scale_type, ST_F32);
    cr_expect_eq(st_matrix_scale(&d.matrix, 0, 0), 0.5f);
    cr_expect_eq(st_matrix_scale(&d.matrix, 1, 0), -0.25f, "negative scales are kept");
    cr_expect_eq(st_matrix_scale(&d.matrix, 2, 0), 0.0f, "zero scales are kept");
    st_decoded_free(&d);
}

Test(ternary, groups_of_zeros_take_the_row_scale)
{
    const float scale[] = {0, 0.5f, 0.5f, 0.25f, 7, 0.25f, 0, 3, 4, 0, 1, 0};
    const bool zero[] = {true, false, false, false, true, false, true, true, true, true, false, true};
    st_decoded d = scaled(4, scale, zero);
    cr_expect_eq(d.matrix.group, 0);
    cr_expect_eq(st_matrix_scale(&d.matrix, 0, 0), 0.5f);
    cr_expect_eq(st_matrix_scale(&d.matrix, 1, 0), 0.25f);
    cr_expect_eq(st_matrix_scale(&d.matrix, 2, 0), 0.0f, "a row of zeros has its first group's scale");
    cr_expect_eq(st_matrix_scale(&d.matrix, 3, 0), 1.0f);
    for (int j = 0; j < COLS; j++)
        cr_assert_eq(st_matrix_value(&d.matrix, 2, j), 0.0f);
    st_decoded_free(&d);
}

/* A zero scale over nonzero codes is no group of zeros: it must not take another scale. */
Test(ternary, one_uneven_row_keeps_all_group_scales)
{
    const bool zero[9] = {false};
    for (int uneven = 0; uneven < 3; uneven++) {
        float scale[9] = {0.5f, 0.5f, 0.5f, 0.5f, 0.5f, 0.5f, 0.5f, 0.5f, 0.5f};
        scale[3 * uneven + 1] = 0.0f;
        st_decoded d = scaled(3, scale, zero);
        cr_expect_eq(d.matrix.group, 256, "row %d", uneven);
        cr_expect_eq(d.matrix.scale_type, ST_F16);
        for (int i = 0; i < 9; i++)
            cr_expect_eq(st_matrix_scale(&d.matrix, i / 3, i % 3), scale[i]);
        cr_expect_eq(st_matrix_value(&d.matrix, uneven, 256), 0.0f);
        st_decoded_free(&d);
    }
}

Test(ternary, a_single_code_3_is_seen_anywhere)
{
    static const int places[] = {0, 255, 256, 511, 700, 767};
    for (size_t i = 0; i < sizeof places / sizeof places[0]; i++) {
        unsigned char file[3 * 66] = {0};
        file[places[i] / 256 * 66 + places[i] % 256 / 128 * 32 + places[i] % 32] =
            (unsigned char)(3 << 2 * (places[i] % 128 / 32));
        st_decoded d = decode(ST_ENC_TQ2_0, 3, 256, file);
        cr_expect(d.matrix.has_code3, "element %d", places[i]);
        cr_expect_eq(st_matrix_code(&d.matrix, places[i] / 256, places[i] % 256), 3);
        st_decoded_free(&d);
    }
}

static void expect_refused(st_encoding encoding, int32_t rows, int32_t cols, const void *data,
                           const char *part)
{
    st_packed p = packed(encoding, rows, cols, data);
    st_decoded d;
    sterna_error error = {0};
    cr_expect_eq(st_ternary_decode(&p, &d, &error), STERNA_E_FORMAT, "%s", part);
    cr_expect(strstr(error.message, part), "\"%s\" lacks \"%s\"", error.message, part);
    cr_expect(!d.memory && !d.matrix.data, "nothing is left after a failure");
}

Test(ternary, scales_that_are_no_numbers_are_refused)
{
    static unsigned char file[4096];
    uint16_t f16 = 0x7c00;
    float f32 = -INFINITY;
    memcpy(file + (2 * 2 + 1) * 66 + 64, &f16, 2); /* row 2, group 1 */
    expect_refused(ST_ENC_TQ2_0, 3, 512, file,
                   "file: tensor 't' (TQ2_0): the scale of row 2, group 1 is inf");
    memset(file, 0, sizeof file);
    f16 = 0xfe01;
    memcpy(file + 54 + 52, &f16, 2);
    expect_refused(ST_ENC_TQ1_0, 2, 256, file, "tensor 't' (TQ1_0): the scale of row 1, group 0 is nan");
    memset(file, 0, sizeof file);
    memcpy(file + 5 * 34, &f16, 2);
    expect_refused(ST_ENC_Q8_0, 2, 128, file, "tensor 't' (Q8_0): the scale of row 1, group 1 is nan");
    memset(file, 0, sizeof file);
    memcpy(file + 64, &f32, 4);
    expect_refused(ST_ENC_I2_S, 2, 128, file, "tensor 't' (I2_S): the scale of row 0, group 0 is -inf");
}

/* ---- round trips ---- */

typedef struct trip {
    st_encoding encoding;
    int32_t rows, cols, group;
} trip;

static void round_trip(const trip *t, uint64_t *random)
{
    size_t n = (size_t)t->rows * (size_t)t->cols, bytes;
    int32_t n_group = t->group ? t->cols / t->group : 1;
    cr_assert(st_encoding_bytes(st_encoding_get(t->encoding), t->cols, (int64_t)n, &bytes));
    guarded code = guard_alloc(n), file = guard_alloc(bytes);
    float *scale = st_calloc((size_t)t->rows * (size_t)n_group, sizeof *scale);
    int levels = t->encoding == ST_ENC_TQ2_0 && t->rows % 2 == 0 ? 4 : 3;
    bool code3 = false;
    for (size_t i = 0; i < n; i++) {
        code.data[i] = (uint8_t)(tiny_random(random) % (unsigned)levels);
        code3 = code3 || code.data[i] == 3;
    }
    for (int32_t i = 0; i < t->rows * n_group; i++)
        scale[i] = t->encoding == ST_ENC_I2_S ? 0.1f : st_f16_to_f32(st_f32_to_f16(tiny_uniform(random)));
    sterna_error error = {0};
    st_codes codes = {code.data, t->rows, t->cols, t->group, scale};
    cr_assert_eq(st_ternary_encode(t->encoding, &codes, file.data, "t", &error), STERNA_OK, "%s",
                 error.message);
    cr_expect(guard_intact(&code) && guard_intact(&file));
    st_decoded d = decode(t->encoding, t->rows, t->cols, file.data);
    cr_expect_eq(d.matrix.has_code3, code3);
    for (int32_t row = 0; row < t->rows; row++) {
        for (int32_t col = 0; col < t->cols; col++) {
            size_t at = (size_t)row * (size_t)t->cols + (size_t)col;
            cr_assert_eq(st_matrix_code(&d.matrix, row, col), code.data[at], "encoding %d, %d x %d: %d, %d",
                         t->encoding, t->rows, t->cols, row, col);
            float s = scale[t->group ? row * n_group + col / t->group : row];
            cr_assert_eq(st_matrix_value(&d.matrix, row, col), (float)(code.data[at] - 1) * s);
        }
        for (size_t col = (size_t)t->cols; col < 4 * d.matrix.row_bytes; col++)
            cr_assert_eq(st_matrix_code(&d.matrix, row, (int64_t)col), 1, "padding of row %d", row);
    }
    cr_expect(guard_intact(&file));
    st_decoded_free(&d);
    st_free(scale);
    guard_free(&code);
    guard_free(&file);
}

Test(ternary, random_round_trips)
{
    static const trip trips[] = {
        {ST_ENC_TQ2_0, 1, 256, 0},   {ST_ENC_TQ2_0, 7, 768, 256}, {ST_ENC_TQ2_0, 8, 1024, 256},
        {ST_ENC_TQ2_0, 33, 512, 0},  {ST_ENC_TQ1_0, 1, 256, 0},   {ST_ENC_TQ1_0, 5, 512, 256},
        {ST_ENC_TQ1_0, 19, 1280, 0}, {ST_ENC_I2_S, 1, 128, 0},    {ST_ENC_I2_S, 3, 384, 0},
        {ST_ENC_I2_S, 2, 64, 0},     {ST_ENC_I2_S, 128, 3, 0},    {ST_ENC_I2_S, 64, 70, 0},
        {ST_ENC_I2_S, 32, 100, 0},
    };
    uint64_t random = 5;
    for (size_t i = 0; i < sizeof trips / sizeof trips[0]; i++)
        round_trip(&trips[i], &random);
}

Test(ternary, encoders_refuse_what_does_not_fit)
{
    static uint8_t code[512];
    unsigned char file[160];
    float scale[2] = {1.0f, 2.0f};
    const struct {
        st_encoding encoding;
        st_codes codes;
        uint8_t first;
        const char *message;
    } cases[] = {
        {ST_ENC_F32, {code, 1, 256, 0, scale}, 0, "F32 is not a ternary encoding"},
        {ST_ENC_TQ2_0, {code, 2, 128, 0, scale}, 0, "2 rows of 128 columns do not fill TQ2_0 blocks of 256"},
        {ST_ENC_I2_S, {code, 1, 100, 0, scale}, 0, "1 rows of 100 columns do not fill I2_S blocks of 128"},
        {ST_ENC_TQ2_0, {code, 1, 256, 128, scale}, 0, "scales of 128 columns"},
        {ST_ENC_TQ2_0, {code, 1, 256, 0, scale}, 4, "code 4 at element 0, TQ2_0 has codes up to 3"},
        {ST_ENC_TQ1_0, {code, 1, 256, 0, scale}, 3, "code 3 at element 0, TQ1_0 has codes up to 2"},
        {ST_ENC_I2_S, {code, 2, 128, 0, scale}, 0, "scale 0 is 1 and scale 1 is 2"},
    };
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        sterna_error error = {0};
        code[0] = cases[i].first;
        cr_expect_eq(st_ternary_encode(cases[i].encoding, &cases[i].codes, file, "t", &error),
                     STERNA_E_ARGUMENT, "%s", cases[i].message);
        cr_expect(strstr(error.message, cases[i].message), "\"%s\" lacks \"%s\"", error.message,
                  cases[i].message);
    }
    scale[0] = 1e6f;
    sterna_error error = {0};
    st_codes codes = {code, 1, 256, 0, scale};
    cr_expect_eq(st_ternary_encode(ST_ENC_TQ2_0, &codes, file, "t", &error), STERNA_E_ARGUMENT);
    cr_expect(strstr(error.message, "scale 1e+06 of row 0 does not fit f16"), "%s", error.message);
}

Test(ternary, ternarise_is_exact_for_ternary_values)
{
    float x[9] = {0, 0.3f, -0.3f, 0.15f, -0.15f, 0.149f, -0.149f, 0.3f, 0};
    const uint8_t want[9] = {1, 2, 0, 2, 0, 1, 1, 2, 1};
    uint8_t code[9];
    cr_expect_eq(st_ternarise(x, 9, code), 0.3f);
    cr_expect_eq(memcmp(code, want, 9), 0);
    cr_expect_eq(st_ternarise(x, 1, code), 0.0f);
    cr_expect_eq(code[0], 1);
}

/* ---- dense and int8 ---- */

Test(ternary, q8_0_keeps_values_to_half_a_step)
{
    enum { ROWS = 3, Q8_COLS = 160 };
    float x[ROWS * Q8_COLS];
    unsigned char memory[1 + ROWS * Q8_COLS / 32 * 34], *file = memory + 1; /* any alignment will do */
    uint64_t random = 9;
    for (int i = 0; i < ROWS * Q8_COLS; i++)
        x[i] = i / 32 == 4 ? 0.0f : tiny_uniform(&random);
    st_q8_0_encode(x, ROWS * Q8_COLS, file);
    st_decoded d = decode(ST_ENC_Q8_0, ROWS, Q8_COLS, file);
    cr_expect(d.matrix.type == ST_Q8 && d.matrix.group == 32 && d.matrix.scale_type == ST_F16);
    cr_expect(d.matrix.blocks && d.matrix.lasting && d.matrix.data == file && !d.memory, "no copy");
    for (int i = 0; i < ROWS * Q8_COLS; i++) {
        float step = st_matrix_scale(&d.matrix, i / Q8_COLS, i % Q8_COLS / 32);
        float got = st_matrix_value(&d.matrix, i / Q8_COLS, i % Q8_COLS);
        cr_assert(fabsf(got - x[i]) <= 0.51f * step + 127.0f * step * 0x1p-11f, "%d: %g for %g", i,
                  (double)got, (double)x[i]);
        int8_t raw = (int8_t)file[i / 32 * 34 + 2 + i % 32];
        cr_assert_eq(got, (float)raw * step);
    }
    st_decoded_free(&d);
}

Test(ternary, dense_rows_point_into_the_file_where_they_can)
{
    static const st_encoding encodings[] = {ST_ENC_F32, ST_ENC_F16, ST_ENC_BF16};
    static const st_type types[] = {ST_F32, ST_F16, ST_BF16};
    static _Alignas(16) unsigned char file[64];
    for (int i = 0; i < 64; i++)
        file[i] = (unsigned char)(i * 5 % 61);
    for (int e = 0; e < 3; e++)
        for (int shift = 0; shift < 5; shift++) {
            st_decoded d = decode(encodings[e], 2, 5, file + shift);
            size_t unit = e ? 2 : 4;
            cr_expect_eq(d.matrix.type, types[e]);
            cr_expect_eq(d.memory == NULL, shift % unit == 0);
            cr_expect_eq(memcmp(d.matrix.data, file + shift, 10 * unit), 0);
            cr_expect_eq(d.matrix.row_bytes, 5 * unit);
            st_decoded_free(&d);
        }
}

Test(ternary, vectors_widen_exactly_and_must_be_finite)
{
    _Alignas(4) unsigned char file[16] = {0, 0x3c, 0, 0xc0, 1, 0, 0, 0x7c};
    float x[4] = {0};
    sterna_error error = {0};
    st_packed p = packed(ST_ENC_F16, 1, 3, file);
    cr_expect_eq(st_ternary_vector(&p, x, &error), STERNA_OK, "%s", error.message);
    cr_expect(x[0] == 1.0f && x[1] == -2.0f && x[2] == 0x1p-24f);
    p = packed(ST_ENC_F16, 1, 4, file);
    cr_expect_eq(st_ternary_vector(&p, x, &error), STERNA_E_FORMAT);
    cr_expect(strstr(error.message, "file: tensor 't': value 3 is inf"), "%s", error.message);
    file[2] = 0x80, file[3] = 0xbf;
    p = packed(ST_ENC_BF16, 1, 1, file + 2);
    cr_expect_eq(st_ternary_vector(&p, x, &error), STERNA_OK);
    cr_expect_eq(x[0], -1.0f);
    p = packed(ST_ENC_F32, 1, 1, file + 1); /* at an odd address */
    cr_expect_eq(st_ternary_vector(&p, x, &error), STERNA_OK);
    p = packed(ST_ENC_Q8_0, 1, 32, file);
    cr_expect_eq(st_ternary_vector(&p, x, &error), STERNA_E_UNSUPPORTED);
    cr_expect(strstr(error.message, "tensor 't' is Q8_0, but vectors must be"), "%s", error.message);
}

Test(ternary, encodings_without_a_decoder_and_wrong_sizes_are_refused)
{
    unsigned char file[144] = {0};
    st_packed p = {st_encoding_candidate(12, 0), 1, 256, file, 144, "file", "t", NULL};
    st_decoded d;
    sterna_error error = {0};
    cr_expect_eq(st_ternary_decode(&p, &d, &error), STERNA_E_UNSUPPORTED);
    cr_expect(strstr(error.message, "tensor 't' is Q4_K, which this version cannot decode"), "%s",
              error.message);
    p = packed(ST_ENC_TQ2_0, 1, 256, file);
    p.bytes--;
    cr_expect_eq(st_ternary_decode(&p, &d, &error), STERNA_E_FORMAT);
    cr_expect(strstr(error.message, "65 bytes do not hold 1 x 256 weights in TQ2_0"), "%s", error.message);
    p.rows = ST_MAX_ROWS + 1;
    cr_expect_eq(st_ternary_decode(&p, &d, &error), STERNA_E_LIMIT);
    cr_expect(strstr(error.message, "has 1048577 rows of 256 columns"), "%s", error.message);
}
