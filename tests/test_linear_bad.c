/* The kernel library's refusals, to the letter; and what stands next to them: names, variants, buffers. */
#include "tests/support/linear_scene.h"

#include <criterion/criterion.h>
#include <math.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>

/* ---- devices ---- */

Test(linear_bad, refuses_bad_devices)
{
    sterna_device *device = (sterna_device *)1;
    sterna_device_params p;
    REFUSED(sterna_device_open("cpu", NULL, NULL, error), STERNA_E_ARGUMENT, "no place for the device");
    sterna_device_defaults(&p);
    p.struct_size = 8;
    REFUSED(sterna_device_open("cpu", &p, &device, error), STERNA_E_ARGUMENT,
            "device parameters of 8 bytes instead of 32: sterna_device_defaults sets the size");
    cr_assert_null(device);
    sterna_device_defaults(&p);
    p.n_thread = 257;
    REFUSED(sterna_device_open("cpu", &p, &device, error), STERNA_E_ARGUMENT,
            "n_thread is 257, not 0 ... 256");
    p.n_thread = -1;
    REFUSED(sterna_device_open("cpu", &p, &device, error), STERNA_E_ARGUMENT,
            "n_thread is -1, not 0 ... 256");
    REFUSED(sterna_device_open("abacus", NULL, &device, error), STERNA_E_ARGUMENT,
            "unknown device 'abacus' (known: auto, cpu, ref, cuda[:N], vulkan[:N])");
    REFUSED(sterna_device_open("ref:1", NULL, &device, error), STERNA_E_DEVICE,
            "device 'ref:1': this machine has 1 ref device");
    cr_assert_null(device);
    cr_assert_eq(sterna_device_open("abacus", NULL, &device, NULL), STERNA_E_ARGUMENT);
    sterna_device_close(&device);
    sterna_device_close(NULL);
    cr_assert_str_eq(sterna_device_name(NULL), "");
}

static void count_lines(void *user, sterna_log_level level, const char *line)
{
    int *n = user;
    *n += level == STERNA_LOG_WARN && strncmp(line, "n_thread is 256, but this process may use ", 42) == 0;
}

Test(linear_bad, devices_have_names_and_logs)
{
    sterna_device *device;
    static const char *const names[][2] = {
        {"ref", "ref"}, {"cpu", "cpu"}, {"cpu:0", "cpu"}, {"auto", "cpu"}, {NULL, "cpu"}};
    for (size_t i = 0; i < sizeof names / sizeof names[0]; i++) {
        OK(sterna_device_open(names[i][0], NULL, &device, error));
        cr_expect_str_eq(sterna_device_name(device), names[i][1]);
        sterna_device_close(&device);
    }
    int n_line = 0;
    sterna_device_params p;
    sterna_device_defaults(&p);
    p.n_thread = 256;
    p.log = count_lines;
    p.user = &n_line;
    OK(sterna_device_open("cpu", &p, &device, error));
    cr_expect_eq(n_line, 1);
    sterna_device_close(&device);
}

Test(linear_bad, variants_are_listed_and_forced)
{
    scene s;
    scene_open(&s, "cpu", false);
    cr_assert_str_eq(sterna_device_variant(s.device, "linear", 0), "portable");
    cr_assert_str_eq(sterna_device_variant(s.device, "norm_quant", 0), "portable");
    cr_assert_null(sterna_device_variant(s.device, "linear", 99));
    cr_assert_null(sterna_device_variant(s.device, "linear", -1));
    cr_assert_null(sterna_device_variant(s.device, "attend", 0));
    cr_assert_null(sterna_device_variant(s.device, NULL, 0));
    cr_assert_null(sterna_device_variant(NULL, "linear", 0));
    scene r;
    scene_open(&r, "ref", false);
    cr_assert_null(sterna_device_variant(r.device, "linear", -1));
    cr_assert_null(sterna_device_variant(r.device, "linear", 1));
    sterna_device_close(&r.device);
    REFUSED(sterna_device_force(NULL, "linear", NULL, error), STERNA_E_ARGUMENT, "no device");
    REFUSED(sterna_device_force(s.device, "attend", NULL, error), STERNA_E_ARGUMENT,
            "there is no op \"attend\" here, only norm_quant and linear");
    REFUSED(sterna_device_force(s.device, NULL, NULL, error), STERNA_E_ARGUMENT,
            "there is no op \"\" here, only norm_quant and linear");
    REFUSED(sterna_device_force(s.device, "linear", "abacus", error), STERNA_E_ARGUMENT,
            "linear has no variant \"abacus\" on cpu");
    OK(sterna_device_force(s.device, "linear", "portable", error));
    OK(sterna_device_force(s.device, "linear", NULL, error));
    cr_assert(!sterna_device_trace(s.device, 0, NULL, NULL, NULL, NULL));
    cr_assert(!sterna_device_trace(NULL, 0, NULL, NULL, NULL, NULL));
    sterna_device_close(&s.device);
}

/* ---- buffers ---- */

static void try_buffers(const char *name, bool check)
{
    scene s;
    scene_open(&s, name, check);
    uint32_t memory[4] = {1, 2, 3, 4}, back[4] = {0};
    sterna_buffer *b = (sterna_buffer *)1;
    REFUSED(sterna_buffer_create(NULL, 4, &b, error), STERNA_E_ARGUMENT, "no device");
    cr_assert_null(b);
    REFUSED(sterna_buffer_create(s.device, 4, NULL, error), STERNA_E_ARGUMENT, "no place for the buffer");
    REFUSED(sterna_buffer_create(s.device, 0, &b, error), STERNA_E_ARGUMENT, "a buffer of 0 bytes");
    REFUSED(sterna_buffer_wrap(s.device, memory, 0, &b, error), STERNA_E_ARGUMENT, "a buffer of 0 bytes");
    REFUSED(sterna_buffer_wrap(s.device, NULL, 4, &b, error), STERNA_E_ARGUMENT, "no memory to wrap");
    char message[80];
    unsigned char *odd = (unsigned char *)memory + 2;
    snprintf(message, sizeof message, "memory at %p is not aligned to 4 bytes", (void *)odd);
    REFUSED(sterna_buffer_wrap(s.device, odd, 4, &b, error), STERNA_E_ARGUMENT, message);
    cr_assert_null(b);
    REFUSED(sterna_buffer_write(NULL, 0, back, 4, error), STERNA_E_ARGUMENT, "no buffer");
    REFUSED(sterna_buffer_fill(NULL, 0, error), STERNA_E_ARGUMENT, "no buffer");
    cr_assert_eq(sterna_buffer_bytes(NULL), 0);

    OK(sterna_buffer_wrap(s.device, memory, 16, &b, error));
    cr_assert_eq(sterna_buffer_bytes(b), 16);
    REFUSED(sterna_buffer_read(b, 13, back, 4, error), STERNA_E_ARGUMENT,
            "4 bytes at offset 13 of a buffer of 16");
    REFUSED(sterna_buffer_write(b, SIZE_MAX, back, 4, error), STERNA_E_ARGUMENT,
            "4 bytes at offset 18446744073709551615 of a buffer of 16");
    REFUSED(sterna_buffer_write(b, 0, NULL, 4, error), STERNA_E_ARGUMENT, "no host memory for 4 bytes");
    OK(sterna_buffer_write(b, 16, NULL, 0, error));
    OK(sterna_buffer_write(b, 4, &(uint32_t){7}, 4, error));
    memory[2] = 9; /* the owner's right */
    OK(sterna_buffer_read(b, 4, back, 8, error));
    cr_assert(back[0] == 7 && back[1] == 9 && memory[1] == 7);
    sterna_buffer_destroy(&b);
    cr_assert_null(b);
    cr_assert_eq(memory[0], 1);

    b = scene_buffer(&s, 10);
    OK(sterna_buffer_fill(b, 0x04030201, error));
    unsigned char bytes[10];
    OK(sterna_buffer_read(b, 0, bytes, 10, error));
    cr_assert(bytes[4] == bytes[8] && bytes[9] != bytes[8] && bytes[0] + bytes[3] == 5);
    sterna_buffer_destroy(&b);
    sterna_buffer_destroy(&b);
    sterna_buffer_destroy(NULL);
    sterna_device_close(&s.device);
}

Test(linear_bad, buffers_read_write_and_refuse)
{
    try_buffers("ref", false);
    try_buffers("cpu", false);
    try_buffers("cpu", true);
}

/* ---- matrices ---- */

/* One change to a good matrix, and what is said of it. */
#define BAD(change, expected_status, expected_message)                                                       \
    do {                                                                                                     \
        scene s;                                                                                             \
        scene_open(&s, "ref", false);                                                                        \
        sterna_matrix *m = &s.m;                                                                             \
        OK(sterna_matrix_check(m, error));                                                                   \
        change;                                                                                              \
        sterna_linear *linear = (sterna_linear *)1;                                                          \
        REFUSED(sterna_matrix_check(m, error), expected_status, expected_message);                           \
        REFUSED(sterna_linear_create(s.device, m, NULL, &linear, error), expected_status, expected_message); \
        cr_assert_null(linear);                                                                              \
        sterna_device_close(&s.device);                                                                      \
    } while (0)

static const uint16_t halves[9] = {0, 0, 0, 0, 0x7c00, 0, 0, 0, 0};
static const float floats[SCENE_N * SCENE_K] = {[75] = INFINITY};
static const int8_t bytes[SCENE_N * SCENE_K] = {[75] = 5};

static void be(sterna_matrix *m, sterna_matrix_type type, const void *data)
{
    m->type = type;
    m->data = data;
    if (type != STERNA_TYPE_Q8)
        m->scale = NULL;
}

Test(linear_bad, refuses_bad_fields)
{
    BAD(m->struct_size = 16, STERNA_E_ARGUMENT,
        "a matrix of 16 bytes instead of 112: sterna_matrix_defaults sets the size");
    BAD(m->type = (sterna_matrix_type)5, STERNA_E_ARGUMENT, "there is no matrix type 5");
    BAD(m->type = (sterna_matrix_type)-1, STERNA_E_ARGUMENT, "there is no matrix type -1");
    BAD(m->rows = 0, STERNA_E_LIMIT, "a matrix of 0 x 70: rows are 1 ... 1048576 and columns 1 ... 131072");
    BAD(m->cols = 131073, STERNA_E_LIMIT,
        "a matrix of 3 x 131073: rows are 1 ... 1048576 and columns 1 ... 131072");
    BAD(m->rows = 1048577, STERNA_E_LIMIT,
        "a matrix of 1048577 x 70: rows are 1 ... 1048576 and columns 1 ... 131072");
    BAD(m->cols = -1, STERNA_E_LIMIT, "a matrix of 3 x -1: rows are 1 ... 1048576 and columns 1 ... 131072");
    BAD(m->data = NULL, STERNA_E_ARGUMENT, "no data for a matrix of 3 x 70");
    BAD(m->row_bytes = 16, STERNA_E_ARGUMENT,
        "row_bytes is 16; 70 ternary columns need at least 32, and a multiple of 16");
    BAD(m->row_bytes = 40, STERNA_E_ARGUMENT,
        "row_bytes is 40; 70 ternary columns need at least 32, and a multiple of 16");
    BAD(m->row_bytes = SIZE_MAX - 15, STERNA_E_ARGUMENT,
        "row_bytes is 18446744073709551600; 70 ternary columns need at least 32, and a multiple of 16");
    BAD((be(m, STERNA_TYPE_F16, halves), m->row_bytes = 141), STERNA_E_ARGUMENT,
        "row_bytes is 141; 70 f16 columns need at least 140, and a multiple of 2");
    BAD((be(m, STERNA_TYPE_Q8, bytes), m->four_levels = true), STERNA_E_ARGUMENT,
        "four_levels is set for a q8 matrix");
    BAD(m->out_scale = NAN, STERNA_E_ARGUMENT, "out_scale is nan");
    BAD(m->scale = NULL, STERNA_E_ARGUMENT, "no scales for a ternary matrix");
    BAD(m->group = 16, STERNA_E_ARGUMENT, "group is 16, not 0, 32, 64, 128 or 256");
    BAD(m->scale_type = STERNA_TYPE_F16, STERNA_E_ARGUMENT, "scale_type is 2, not F32 (scales of rows)");
    BAD((m->group = 32, m->scale_type = STERNA_TYPE_Q8), STERNA_E_ARGUMENT,
        "scale_type is 1, not F16, BF16 or F32");
    BAD((m->group = 32, m->scale_type = (sterna_matrix_type)9), STERNA_E_ARGUMENT,
        "scale_type is 9, not F16, BF16 or F32");
    BAD((be(m, STERNA_TYPE_F32, floats), m->group = 32), STERNA_E_ARGUMENT,
        "f32 matrices have no scales and no groups (group is 32)");
    BAD((be(m, STERNA_TYPE_F32, floats), m->scale = floats), STERNA_E_ARGUMENT,
        "f32 matrices have no scales and no groups (group is 0)");
    REFUSED(sterna_matrix_check(NULL, error), STERNA_E_ARGUMENT, "no matrix");
    char message[80];
    const void *odd = (const char *)floats + 1;
    snprintf(message, sizeof message, "the data at %p is not aligned to 4 bytes", odd);
    BAD(be(m, STERNA_TYPE_F32, odd), STERNA_E_ARGUMENT, message);
    snprintf(message, sizeof message, "the scales at %p are not aligned to 4 bytes", odd);
    BAD(m->scale = odd, STERNA_E_ARGUMENT, message);
}

static void outliers(sterna_matrix *m, const int32_t *row, const int32_t *col, const uint16_t *f16)
{
    m->n_outlier = 2;
    m->outlier_row = row;
    m->outlier_col = col;
    m->outlier_f16 = f16;
}

Test(linear_bad, refuses_bad_contents)
{
    static const int32_t r01[] = {0, 1}, r10[] = {1, 0}, r11[] = {1, 1}, r03[] = {0, 3}, rm[] = {-1, 0};
    static const int32_t c50[] = {5, 0}, c55[] = {5, 5}, c56[] = {5, 6}, c570[] = {5, 70}, cm[] = {5, -1};
    static const uint16_t one[] = {0x3c00, 0x3c00}, nan[] = {0x3c00, 0xfe00};
    static const float bias[SCENE_N] = {0, 0, -INFINITY};
    BAD(s.scale[2] = NAN, STERNA_E_ARGUMENT, "the scale of row 2, group 0 is nan");
    BAD((m->group = 32, m->scale_type = STERNA_TYPE_F16, m->scale = halves), STERNA_E_ARGUMENT,
        "the scale of row 1, group 1 is inf");
    BAD((m->group = 64, s.scale[5] = -INFINITY), STERNA_E_ARGUMENT, "the scale of row 2, group 1 is -inf");
    BAD(m->bias = bias, STERNA_E_ARGUMENT, "bias 2 is -inf");
    BAD(s.data[64 + 17] = 0x95, STERNA_E_ARGUMENT,
        "row 2 has code 2 in column 71, which is padding (70 columns) and must be 1");
    BAD(s.data[32 + 31] = 0x15, STERNA_E_ARGUMENT,
        "row 1 has code 0 in column 127, which is padding (70 columns) and must be 1");
    BAD((m->four_levels = true, s.data[17] = 0xd5), STERNA_E_ARGUMENT,
        "row 0 has code 3 in column 71, which is padding (70 columns) and must be 1");
    BAD(s.data[32 + 17] = 0x5d, STERNA_E_ARGUMENT,
        "row 1, column 69 has code 3 (+2), but four_levels is not set");
    BAD(s.data[15] = 0xd5, STERNA_E_ARGUMENT, "row 0, column 63 has code 3 (+2), but four_levels is not set");
    BAD(s.data[0] = 0x57, STERNA_E_ARGUMENT, "row 0, column 0 has code 3 (+2), but four_levels is not set");
    BAD(be(m, STERNA_TYPE_F32, floats), STERNA_E_ARGUMENT, "row 1, column 5 is inf");
    BAD((be(m, STERNA_TYPE_BF16, floats), m->rows = 1, m->cols = 152), STERNA_E_ARGUMENT,
        "row 0, column 151 is inf"); /* the upper half of infinity */
    BAD(m->n_outlier = -1, STERNA_E_LIMIT, "n_outlier is -1, not 0 ... 65536");
    BAD(m->n_outlier = 65537, STERNA_E_LIMIT, "n_outlier is 65537, not 0 ... 65536");
    BAD(outliers(m, r01, NULL, one), STERNA_E_ARGUMENT, "2 outliers, but not all three of their arrays");
    BAD(outliers(m, r03, c55, one), STERNA_E_ARGUMENT,
        "outlier 1 is in row 3, column 5 of a matrix of 3 x 70");
    BAD(outliers(m, rm, c55, one), STERNA_E_ARGUMENT,
        "outlier 0 is in row -1, column 5 of a matrix of 3 x 70");
    BAD(outliers(m, r01, c570, one), STERNA_E_ARGUMENT,
        "outlier 1 is in row 1, column 70 of a matrix of 3 x 70");
    BAD(outliers(m, r01, cm, one), STERNA_E_ARGUMENT,
        "outlier 1 is in row 1, column -1 of a matrix of 3 x 70");
    BAD(outliers(m, r10, c56, one), STERNA_E_ARGUMENT,
        "outlier 1 (row 0, column 6) does not come after outlier 0 (row 1, column 5)");
    BAD(outliers(m, r11, c55, one), STERNA_E_ARGUMENT,
        "outlier 1 (row 1, column 5) does not come after outlier 0 (row 1, column 5)");
    BAD(outliers(m, r11, c50, one), STERNA_E_ARGUMENT,
        "outlier 1 (row 1, column 0) does not come after outlier 0 (row 1, column 5)");
    BAD(outliers(m, r01, c55, nan), STERNA_E_ARGUMENT, "outlier 1 (row 1, column 5) is nan");
    BAD((outliers(m, r01, c55, one), s.data[33] = 0x59), STERNA_E_ARGUMENT,
        "outlier 1 replaces row 1, column 5, which is not zero");
    BAD((be(m, STERNA_TYPE_Q8, bytes), outliers(m, r01, c55, one)), STERNA_E_ARGUMENT,
        "outlier 1 replaces row 1, column 5, which is not zero");
}

Test(linear_bad, packs_and_counts_bytes)
{
    cr_assert_eq(sterna_matrix_row_bytes(STERNA_TYPE_TERNARY, 1), 16);
    cr_assert_eq(sterna_matrix_row_bytes(STERNA_TYPE_TERNARY, 64), 16);
    cr_assert_eq(sterna_matrix_row_bytes(STERNA_TYPE_TERNARY, 65), 32);
    cr_assert_eq(sterna_matrix_row_bytes(STERNA_TYPE_Q8, 65), 65);
    cr_assert_eq(sterna_matrix_row_bytes(STERNA_TYPE_BF16, 65), 130);
    cr_assert_eq(sterna_matrix_bytes(STERNA_TYPE_F32, 3, 65), 780);
    cr_assert_eq(sterna_matrix_row_bytes(STERNA_TYPE_F32, 0), 0);
    cr_assert_eq(sterna_matrix_row_bytes(STERNA_TYPE_F32, 131073), 0);
    cr_assert_eq(sterna_matrix_row_bytes((sterna_matrix_type)5, 1), 0);
    cr_assert_eq(sterna_matrix_bytes(STERNA_TYPE_F32, 0, 1), 0);
    cr_assert_eq(sterna_matrix_bytes(STERNA_TYPE_F32, 1048577, 1), 0);

    int8_t values[12] = {-1, 0, 1, 2, 1, 0, 1, -1, -1, 0, 0, 0};
    unsigned char data[33], want[33];
    memset(data, 0xee, sizeof data);
    memset(want, 0x55, 32);
    want[0] = 0xe4; /* 3 2 1 0 */
    want[1] = 0x56;
    want[16] = 0x02; /* 0 0 0 2 */
    want[17] = 0x55;
    want[32] = 0xee;
    memcpy(values + 5, (int8_t[]){1, -1, -1, -1, 0}, 5);
    OK(sterna_matrix_pack(values, 2, 5, data, 32, error));
    cr_assert(memcmp(data, want, 33) == 0);
    values[8] = 3;
    REFUSED(sterna_matrix_pack(values, 2, 5, data, 32, error), STERNA_E_ARGUMENT,
            "row 1, column 3 is 3, not -1, 0, +1 or +2");
    values[8] = -2;
    REFUSED(sterna_matrix_pack(values, 2, 5, data, 32, error), STERNA_E_ARGUMENT,
            "row 1, column 3 is -2, not -1, 0, +1 or +2");
    REFUSED(sterna_matrix_pack(values, 2, 5, data, 31, error), STERNA_E_ARGUMENT,
            "2 x 5 codes need 32 bytes, not 31");
    REFUSED(sterna_matrix_pack(values, 2, 0, data, 32, error), STERNA_E_LIMIT,
            "a matrix of 2 x 0: rows are 1 ... 1048576 and columns 1 ... 131072");
    REFUSED(sterna_matrix_pack(NULL, 2, 5, data, 32, error), STERNA_E_ARGUMENT,
            "no values or no place for the rows");
}

/* ---- linears ---- */

Test(linear_bad, refuses_bad_linears)
{
    scene s;
    scene_open(&s, "ref", false);
    sterna_linear *linear = (sterna_linear *)1;
    sterna_linear_params p;
    sterna_linear_defaults(&p);
    p.struct_size = 4;
    REFUSED(sterna_linear_create(s.device, &s.m, &p, &linear, error), STERNA_E_ARGUMENT,
            "linear parameters of 4 bytes instead of 24: sterna_linear_defaults sets the size");
    cr_assert_null(linear);
    sterna_linear_defaults(&p);
    p.max_tok = 0;
    REFUSED(sterna_linear_create(s.device, &s.m, &p, &linear, error), STERNA_E_LIMIT,
            "max_tok is 0, not 1 ... 8192");
    p.max_tok = 8193;
    REFUSED(sterna_linear_create(s.device, &s.m, &p, &linear, error), STERNA_E_LIMIT,
            "max_tok is 8193, not 1 ... 8192");
    sterna_linear_defaults(&p);
    p.act_group = 512;
    REFUSED(sterna_linear_create(s.device, &s.m, &p, &linear, error), STERNA_E_ARGUMENT,
            "act_group is 512, not 0, 32, 64, 128 or 256");
    REFUSED(sterna_linear_create(NULL, &s.m, NULL, &linear, error), STERNA_E_ARGUMENT, "no device");
    REFUSED(sterna_linear_create(s.device, NULL, NULL, &linear, error), STERNA_E_ARGUMENT, "no matrix");
    REFUSED(sterna_linear_create(s.device, &s.m, NULL, NULL, error), STERNA_E_ARGUMENT,
            "no place for the linear");
    sterna_linear_destroy(&linear);
    sterna_linear_destroy(NULL);

    linear = scene_linear(&s, 2, 0);
    sterna_planes planes = {.struct_size = 1};
    sterna_linear_info info = {.struct_size = 1};
    cr_assert_eq(sterna_linear_describe(linear, &info), STERNA_E_ARGUMENT);
    cr_assert_eq(sterna_linear_describe(NULL, &info), STERNA_E_ARGUMENT);
    cr_assert_eq(sterna_linear_describe(linear, NULL), STERNA_E_ARGUMENT);
    REFUSED(sterna_linear_planes(linear, 1, &planes, error), STERNA_E_ARGUMENT,
            "planes of 1 bytes instead of 56: set struct_size");
    planes.struct_size = sizeof planes;
    REFUSED(sterna_linear_planes(linear, 0, &planes, error), STERNA_E_LIMIT,
            "planes of 0 rows, not 1 ... 8192");
    REFUSED(sterna_linear_planes(linear, 8193, &planes, error), STERNA_E_LIMIT,
            "planes of 8193 rows, not 1 ... 8192");
    REFUSED(sterna_linear_planes(NULL, 1, &planes, error), STERNA_E_ARGUMENT,
            "no linear or no place for the planes");
    REFUSED(sterna_linear_planes(linear, 1, NULL, error), STERNA_E_ARGUMENT,
            "no linear or no place for the planes");
    sterna_linear_destroy(&linear);
    sterna_device_close(&s.device);
}

Test(linear_bad, refuses_bad_rows_to_quantise)
{
    float x[4] = {0}, scale;
    int8_t codes[4];
    REFUSED(sterna_quantise_row(NULL, 4, 0, codes, &scale, error), STERNA_E_ARGUMENT,
            "no row, or no place for its codes or scales");
    REFUSED(sterna_quantise_row(x, 0, 0, codes, &scale, error), STERNA_E_LIMIT,
            "a row of 0 columns, not 1 ... 131072");
    REFUSED(sterna_quantise_row(x, 131073, 0, codes, &scale, error), STERNA_E_LIMIT,
            "a row of 131073 columns, not 1 ... 131072");
    REFUSED(sterna_quantise_row(x, 4, 4, codes, &scale, error), STERNA_E_ARGUMENT,
            "act_group is 4, not 0, 32, 64, 128 or 256");
}

/* ---- calls ---- */

/* One change to good operands in host memory; afterwards the good ones still run. */
#define BAD_HOST(change, expected_status, expected_message)                                                  \
    do {                                                                                                     \
        sterna_linear_host_args good_, *h = &good_;                                                          \
        sterna_linear_host_defaults(h);                                                                      \
        h->n_tok = 2;                                                                                        \
        h->x = x;                                                                                            \
        h->y = y;                                                                                            \
        OK(sterna_linear_run(linear, h, error));                                                             \
        change;                                                                                              \
        REFUSED(sterna_linear_run(linear, h, error), expected_status, expected_message);                     \
    } while (0)

Test(linear_bad, refuses_bad_operands_in_host_memory)
{
    scene s;
    scene_open(&s, "cpu", true);
    sterna_linear *linear = scene_linear(&s, 2, 0);
    static float x[2 * SCENE_K], y[2 * SCENE_N], scales[2];
    static int8_t codes[2 * SCENE_K];
    codes[SCENE_K + 41] = -128;
    BAD_HOST(h->struct_size = 0, STERNA_E_ARGUMENT,
             "operands of 0 bytes instead of 72: sterna_linear_host_defaults sets the size");
    BAD_HOST(h->n_tok = 0, STERNA_E_LIMIT, "n_tok is 0, not 1 ... 2 (max_tok)");
    BAD_HOST(h->n_tok = 3, STERNA_E_LIMIT, "n_tok is 3, not 1 ... 2 (max_tok)");
    BAD_HOST(h->input = (sterna_input)3, STERNA_E_ARGUMENT, "there is no input 3");
    BAD_HOST(h->x = NULL, STERNA_E_ARGUMENT, "f32 input needs x, and codes and scales to be NULL");
    BAD_HOST(h->scales = scales, STERNA_E_ARGUMENT, "f32 input needs x, and codes and scales to be NULL");
    BAD_HOST((h->input = STERNA_INPUT_INT8, h->codes = codes, h->scales = scales), STERNA_E_ARGUMENT,
             "int8 input needs codes and scales, and x to be NULL");
    BAD_HOST((h->input = STERNA_INPUT_INT8, h->x = NULL, h->codes = codes), STERNA_E_ARGUMENT,
             "int8 input needs codes and scales, and x to be NULL");
    BAD_HOST((h->input = STERNA_INPUT_INT8, h->x = NULL, h->codes = codes, h->scales = scales),
             STERNA_E_ARGUMENT, "the code of row 1, column 41 is -128, not -127 ... 127");
    BAD_HOST(h->y = NULL, STERNA_E_ARGUMENT, "no place for y");
    BAD_HOST(h->x_stride = 69, STERNA_E_ARGUMENT, "x_stride is 69 for rows of 70");
    BAD_HOST(h->y_stride = 2, STERNA_E_ARGUMENT, "y_stride is 2 for rows of 3");
    BAD_HOST(h->y_stride = SIZE_MAX / 4, STERNA_E_ARGUMENT, "y_stride is 4611686018427387903 for rows of 3");
    BAD_HOST(h = NULL, STERNA_E_ARGUMENT, "no linear or no operands");
    sterna_linear_destroy(&linear);

    linear = scene_linear(&s, 2, 32);
    codes[SCENE_K + 41] = 0;
    codes[69] = -128;
    BAD_HOST((h->input = STERNA_INPUT_INT8, h->x = NULL, h->codes = codes, h->scales = scales),
             STERNA_E_ARGUMENT, "the code of row 0, column 69 is -128, not -127 ... 127");
    sterna_linear_destroy(&linear);
    sterna_linear_params p;
    sterna_linear_defaults(&p);
    p.device_only = true;
    OK(sterna_linear_create(s.device, &s.m, &p, &linear, error));
    sterna_linear_host_args h;
    sterna_linear_host_defaults(&h);
    REFUSED(sterna_linear_run(linear, &h, error), STERNA_E_ARGUMENT,
            "this linear was created with device_only");
    sterna_linear_destroy(&linear);
    sterna_device_close(&s.device);
}

/* One change to good operands in device memory. */
#define BAD_DEVICE(change, expected_status, expected_message)                                                \
    do {                                                                                                     \
        sterna_linear_device_args good_, *d = &good_;                                                        \
        sterna_linear_device_defaults(d);                                                                    \
        d->n_tok = 2;                                                                                        \
        d->x = x;                                                                                            \
        d->y = y;                                                                                            \
        OK(sterna_linear_run_device(linear, d, error));                                                      \
        change;                                                                                              \
        REFUSED(sterna_linear_run_device(linear, d, error), expected_status, expected_message);              \
    } while (0)

Test(linear_bad, refuses_bad_operands_in_device_memory)
{
    scene s, other;
    scene_open(&s, "cpu", true);
    scene_open(&other, "ref", false);
    sterna_linear *linear = scene_linear(&s, 2, 0), *grouped = scene_linear(&s, 2, 32);
    sterna_buffer *x = scene_buffer(&s, 2 * SCENE_K * 4), *y = scene_buffer(&s, 2 * 5 * 4);
    sterna_buffer *planes = scene_buffer(&s, 2 * 128 + 64 + 64), *strange = scene_buffer(&other, 4096);
    OK(sterna_buffer_fill(x, 0, error));
    BAD_DEVICE(d->struct_size = 9, STERNA_E_ARGUMENT,
               "operands of 9 bytes instead of 56: sterna_linear_device_defaults sets the size");
    BAD_DEVICE(d->n_tok = 3, STERNA_E_LIMIT, "n_tok is 3, not 1 ... 2 (max_tok)");
    BAD_DEVICE(d->input = (sterna_input)-1, STERNA_E_ARGUMENT, "there is no input -1");
    BAD_DEVICE(d->x = NULL, STERNA_E_ARGUMENT, "no buffer for x");
    BAD_DEVICE(d->y = NULL, STERNA_E_ARGUMENT, "no buffer for y");
    BAD_DEVICE(d->x = strange, STERNA_E_ARGUMENT, "x is a buffer of another device");
    BAD_DEVICE(d->y = strange, STERNA_E_ARGUMENT, "y is a buffer of another device");
    BAD_DEVICE(d->x = y, STERNA_E_ARGUMENT, "x holds 40 bytes; 2 rows of 280 bytes are needed");
    BAD_DEVICE(d->y_stride = 6, STERNA_E_ARGUMENT, "y holds 40 bytes; 2 rows of 24 bytes are needed");
    BAD_DEVICE(d->y = x, STERNA_E_ARGUMENT, "x and y are the same buffer");
    BAD_DEVICE(d->y_column = -1, STERNA_E_ARGUMENT, "3 results from column -1 of rows of 2 in y");
    BAD_DEVICE((d->y_column = 3, d->y_stride = 5), STERNA_E_ARGUMENT,
               "3 results from column 3 of rows of 5 in y");
    BAD_DEVICE(d->y_column = INT32_MAX, STERNA_E_ARGUMENT,
               "3 results from column 2147483647 of rows of 2147483650 in y");
    BAD_DEVICE(d->y_stride = -1, STERNA_E_ARGUMENT, "3 results from column 0 of rows of -1 in y");
    BAD_DEVICE(d->x_rows = 2, STERNA_E_ARGUMENT, "x_rows is 2, but x is f32");
    BAD_DEVICE((d->input = STERNA_INPUT_INT8, d->x_rows = 1), STERNA_E_ARGUMENT,
               "planes laid out for 1 rows, not 2 ... 8192");
    BAD_DEVICE((d->input = STERNA_INPUT_INT8, d->x_rows = 8193), STERNA_E_ARGUMENT,
               "planes laid out for 8193 rows, not 2 ... 8192");
    BAD_DEVICE((d->input = STERNA_INPUT_INT8, d->x = planes, d->x_rows = 3), STERNA_E_ARGUMENT,
               "x holds 384 bytes; 1 rows of 512 bytes are needed");
    BAD_DEVICE(d = NULL, STERNA_E_ARGUMENT, "no linear or no operands");

    REFUSED(sterna_linear_quantise(NULL, 1, x, planes, 0, error), STERNA_E_ARGUMENT, "no linear");
    REFUSED(sterna_linear_quantise(linear, 3, x, planes, 0, error), STERNA_E_LIMIT,
            "n_tok is 3, not 1 ... 2 (max_tok)");
    REFUSED(sterna_linear_quantise(linear, 2, y, planes, 0, error), STERNA_E_ARGUMENT,
            "x holds 40 bytes; 2 rows of 280 bytes are needed");
    REFUSED(sterna_linear_quantise(linear, 1, x, y, 0, error), STERNA_E_ARGUMENT,
            "planes holds 40 bytes; 1 rows of 256 bytes are needed");
    REFUSED(sterna_linear_quantise(linear, 2, x, planes, 1, error), STERNA_E_ARGUMENT,
            "planes laid out for 1 rows, not 2 ... 8192");
    REFUSED(sterna_linear_quantise(linear, 1, x, x, 0, error), STERNA_E_ARGUMENT,
            "x and planes are the same buffer");
    OK(sterna_linear_quantise(grouped, 2, x, planes, 0, error));
    BAD_DEVICE((d->input = STERNA_INPUT_INT8, d->x = planes), STERNA_E_ARGUMENT,
               "x was quantised for 2 rows of 70 columns, act_group 32 and sum_group 32, not for 2 of 70, 0 "
               "and 0");
    OK(sterna_linear_quantise(linear, 1, x, planes, 1, error));
    BAD_DEVICE(
        (d->input = STERNA_INPUT_INT8, d->x = planes), STERNA_E_ARGUMENT,
        "x was quantised for 1 rows of 70 columns, act_group 0 and sum_group 0, not for 2 of 70, 0 and "
        "0");
    sterna_buffer *all[] = {x, y, planes, strange};
    for (int i = 0; i < 4; i++)
        sterna_buffer_destroy(&all[i]);
    sterna_linear_destroy(&linear);
    sterna_linear_destroy(&grouped);
    sterna_device_close(&s.device);
    sterna_device_close(&other.device);
}

/* The checking layer reads planes that a kernel wrote. One byte or word is off; then all is well again. */
#define BAD_PLANES(offset, type, wrong, expected_message)                                                    \
    do {                                                                                                     \
        type value_ = wrong, old_;                                                                           \
        OK(sterna_buffer_read(x, offset, &old_, sizeof old_, error));                                        \
        OK(sterna_buffer_write(x, offset, &value_, sizeof value_, error));                                   \
        REFUSED(sterna_linear_run_device(linear, &d, error), STERNA_E_ARGUMENT, expected_message);           \
        OK(sterna_buffer_write(x, offset, &old_, sizeof old_, error));                                       \
        OK(sterna_linear_run_device(linear, &d, error));                                                     \
    } while (0)

Test(linear_bad, planes_are_verified_on_request)
{
    scene s;
    scene_open(&s, "cpu", true);
    sterna_linear *linear = scene_linear(&s, 2, 32);
    sterna_planes p = {.struct_size = sizeof p};
    OK(sterna_linear_planes(linear, 4, &p, error));
    sterna_buffer *x = scene_buffer(&s, p.bytes), *y = scene_buffer(&s, 2 * SCENE_N * 4);
    sterna_linear_device_args d;
    sterna_linear_device_defaults(&d);
    d.n_tok = 2;
    d.input = STERNA_INPUT_INT8;
    d.x = x;
    d.x_rows = 4;
    d.y = y;
    REFUSED(sterna_linear_run_device(linear, &d, error), STERNA_E_ARGUMENT, /* poisoned, not written yet */
            "planes: the code of row 0, column 70 is -1, but it is padding (70 columns) and must be 0");
    OK(sterna_buffer_fill(x, 0, error));
    OK(sterna_linear_run_device(linear, &d, error));
    BAD_PLANES(128 + 127, int8_t, 3,
               "planes: the code of row 1, column 127 is 3, but it is padding (70 columns) and must be 0");
    BAD_PLANES(128 + 40, int8_t, -128, "planes: the code of row 1, column 40 is -128, not -127 ... 127");
    BAD_PLANES(128 + 69, int8_t, 5,
               "planes: the codes of row 1, columns 64 ... 69 add up to 5, but the sum is 0");
    BAD_PLANES(p.sum_offset + 16, int32_t, -7,
               "planes: the codes of row 1, columns 32 ... 63 add up to 0, but the sum is -7");
    sterna_buffer_destroy(&x);
    sterna_buffer_destroy(&y);
    sterna_linear_destroy(&linear);
    sterna_device_close(&s.device);
}

Test(linear_bad, dense_matrices_take_no_int8)
{
    scene s;
    scene_open(&s, "ref", false);
    static const float zeros[SCENE_N * SCENE_K];
    be(&s.m, STERNA_TYPE_F32, zeros);
    sterna_linear *linear = scene_linear(&s, 1, 0);
    static const char message[] =
        "a matrix of type f32 takes f32 input as it is (STERNA_INPUT_F32), not as int8";
    float y[SCENE_N];
    sterna_linear_host_args h;
    sterna_linear_host_defaults(&h);
    h.n_tok = 1;
    h.x = zeros;
    h.y = y;
    REFUSED(sterna_linear_run(linear, &h, error), STERNA_E_UNSUPPORTED, message);
    h.input = STERNA_INPUT_F32;
    OK(sterna_linear_run(linear, &h, error));
    sterna_planes planes = {.struct_size = sizeof planes};
    REFUSED(sterna_linear_planes(linear, 1, &planes, error), STERNA_E_UNSUPPORTED, message);
    sterna_buffer *b = scene_buffer(&s, 4096);
    REFUSED(sterna_linear_quantise(linear, 1, b, b, 0, error), STERNA_E_UNSUPPORTED, message);
    sterna_buffer_destroy(&b);
    sterna_linear_destroy(&linear);
    sterna_device_close(&s.device);
}
