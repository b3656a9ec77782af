/* The GGUF reader: what a good file gives, and look-ups. */
#include "tests/support/image.h"

#include <criterion/criterion.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

/* ---- good files ---- */

Test(gguf, good_file_gives_all_values)
{
    static image m;
    image_good(&m);
    st_gguf *g;
    sterna_error error = {0};
    cr_assert_eq(st_gguf_open_memory("good", m.data, m.used, &g, &error), STERNA_OK, "%s", error.message);
    cr_assert_eq(st_gguf_kv_count(g), 24);
    cr_assert_eq(st_gguf_bytes(g), m.used);
    int64_t integer = 0;
    float number = 0;
    bool flag = false;
    st_gguf_string string;
    st_gguf_array array;
    for (const char *type = "abcdefkl"; *type; type++) {
        char key[] = "value.a";
        key[6] = *type;
        if (*type == 'g' || *type == 'h')
            continue;
        cr_expect_eq(st_gguf_get_int(g, key, 1, 1, &integer, &error), STERNA_OK, "%s", error.message);
    }
    cr_expect_eq(st_gguf_get_f32(g, "value.g", &number, &error), STERNA_OK);
    cr_expect_eq(number, 0x1p-149f);
    cr_expect_eq(st_gguf_get_f32(g, "value.m", &number, &error), STERNA_OK);
    cr_expect_eq(number, 0.0f, "the least f64 rounds to 0");
    cr_expect_eq(st_gguf_get_bool(g, "value.h", &flag, &error), STERNA_OK);
    cr_expect(flag);
    cr_expect_eq(st_gguf_get_string(g, "value.i", &string, &error), STERNA_OK);
    cr_expect(st_gguf_string_is(string, "text") && !st_gguf_string_is(string, "tex"));
    cr_assert_eq(st_gguf_get_array(g, "array.i", ST_GGUF_STRING, &array, &error), STERNA_OK);
    cr_expect(array.count == 2 && st_gguf_next_string(&array, &string) && st_gguf_string_is(string, "first"));
    cr_expect(st_gguf_next_string(&array, &string) && st_gguf_string_is(string, "second"));
    cr_expect(!st_gguf_next_string(&array, &string));
    cr_assert_eq(st_gguf_get_array(g, "array.f", ST_GGUF_I32, &array, &error), STERNA_OK);
    cr_expect(array.count == 2 && st_gguf_array_i32(&array, 1) == 1);
    cr_assert_eq(st_gguf_get_array(g, "array.g", ST_GGUF_F32, &array, &error), STERNA_OK);
    cr_expect_eq(st_gguf_array_f32(&array, 1), 0x1p-149f);
    cr_expect_eq(st_gguf_find(g, "array.g")->data, array.data);
    cr_expect_null(st_gguf_find(g, "value.z"));
    st_gguf_close(&g);
    cr_expect_null(g);
}

Test(gguf, good_file_gives_tensors)
{
    static image m;
    image_good(&m);
    m.data[m.used - 1] = 0x77;
    st_gguf *g;
    sterna_error error = {0};
    cr_assert_eq(st_gguf_open_memory("good", m.data, m.used, &g, &error), STERNA_OK, "%s", error.message);
    cr_assert_eq(st_gguf_tensor_count(g), 3);
    const st_gguf_tensor *t = st_gguf_find_tensor(g, "ternary");
    cr_assert_not_null(t);
    cr_expect(t->shape[0] == 256 && t->shape[1] == 2 && t->shape[2] == 1 && t->shape[3] == 1);
    cr_expect_eq(t->n_element, 512);
    cr_expect_eq(t->bytes, 132);
    cr_expect_eq(t->encoding, st_encoding_get(ST_ENC_TQ2_0));
    cr_expect_eq(t->data[131], 0x77);
    cr_expect_eq(t->offset + 132, m.used);
    cr_expect_eq(st_gguf_find_tensor(g, "half")->bytes, 10);
    cr_expect_null(st_gguf_find_tensor(g, "other"));
    st_gguf_close(&g);
}

Test(gguf, version_2_and_files_without_tensors_open)
{
    static image m;
    image_header(&m, 0, 0);
    m.data[4] = 2;
    st_gguf *g;
    sterna_error error = {0};
    cr_assert_eq(st_gguf_open_memory("v2", m.data, m.used, &g, &error), STERNA_OK, "%s", error.message);
    cr_expect_eq(st_gguf_tensor_count(g), 0);
    cr_expect_null(st_gguf_find(g, "a"));
    cr_expect_null(st_gguf_find_tensor(g, "a"));
    st_gguf_close(&g);
    st_gguf_close(&g);
}

/* Two tensors of type 42 with 34 bytes for 128 weights are PrismML's; with 18 for 64 they are ggml's. */
Test(gguf, type_42_is_read_by_the_space_it_takes)
{
    static const struct {
        uint64_t bytes;
        const char *name;
    } readings[] = {{144, "Q2_0"}, {136, "Q2_0 in groups of 128 (PrismML)"}};
    for (int i = 0; i < 2; i++) {
        static image m;
        m.used = 0;
        uint64_t padded = st_align_up(readings[i].bytes, 32);
        image_header(&m, 2, 0);
        image_vector(&m, "a", 512, 42, 0);
        image_vector(&m, "b", 512, 42, padded);
        image_align(&m, 32);
        image_zero(&m, padded + readings[i].bytes);
        st_gguf *g;
        sterna_error error = {0};
        cr_assert_eq(st_gguf_open_memory("q2", m.data, m.used, &g, &error), STERNA_OK, "%s", error.message);
        cr_expect_str_eq(st_gguf_tensor_at(g, 0)->encoding->name, readings[i].name);
        cr_expect_str_eq(st_gguf_tensor_at(g, 1)->encoding->name, readings[i].name);
        st_gguf_close(&g);
    }
}

Test(gguf, i2_s_takes_32_bytes_more)
{
    static image m;
    image_header(&m, 2, 0);
    image_tensor(&m, "a", 2, (const uint64_t[]){64, 6}, 36, 0); /* rows that end inside a block of 128 */
    image_vector(&m, "b", 1, 0, 128);
    image_align(&m, 32);
    image_zero(&m, 128 + 4);
    st_gguf *g;
    sterna_error error = {0};
    cr_assert_eq(st_gguf_open_memory("i2s", m.data, m.used, &g, &error), STERNA_OK, "%s", error.message);
    cr_expect_eq(st_gguf_tensor_at(g, 0)->bytes, 96 + 32);
    st_gguf_close(&g);
}

/* ---- look-ups ---- */

static void expect_message(sterna_status status, const sterna_error *error, const char *part)
{
    cr_expect_eq(status, STERNA_E_FORMAT, "\"%s\"", part);
    cr_expect(strstr(error->message, part), "\"%s\" lacks \"%s\"", error->message, part);
}

Test(gguf, lookups_name_missing_and_mistyped_keys)
{
    static image m;
    image_header(&m, 0, 6);
    image_key_u32(&m, "u32", 70000);
    image_key(&m, "u64", ST_GGUF_U64);
    image_u64(&m, UINT64_MAX);
    image_key(&m, "nan", ST_GGUF_F32);
    image_u32(&m, 0x7fc00000);
    image_key(&m, "wide", ST_GGUF_F64);
    image_u64(&m, UINT64_C(0x7fe0000000000000));
    image_key(&m, "text", ST_GGUF_STRING);
    image_string(&m, "a\tb");
    image_array(&m, "list", ST_GGUF_STRING, 0);
    st_gguf *g;
    sterna_error e = {0};
    cr_assert_eq(st_gguf_open_memory("test.gguf", m.data, m.used, &g, &e), STERNA_OK, "%s", e.message);
    uint32_t u = 7;
    int64_t n = 7;
    float f = 7;
    bool b = true;
    st_gguf_string s;
    st_gguf_array a;
    expect_message(st_gguf_get_u32(g, "none", 0, 1, &u, &e), &e, "test.gguf: key 'none' is missing");
    expect_message(st_gguf_get_u32(g, "u32", 1, 65536, &u, &e), &e,
                   "key 'u32' is 70000, allowed are 1 to 65536");
    expect_message(st_gguf_get_int(g, "u64", 0, INT64_MAX, &n, &e), &e,
                   "key 'u64' is above 9223372036854775807");
    expect_message(st_gguf_get_int(g, "text", 0, 1, &n, &e), &e,
                   "key 'text' is of type string, not an integer");
    expect_message(st_gguf_get_f32(g, "nan", &f, &e), &e, "key 'nan' is not a finite number: nan");
    expect_message(st_gguf_get_f32(g, "wide", &f, &e), &e, "key 'wide' is not a finite number: inf");
    expect_message(st_gguf_get_f32(g, "u32", &f, &e), &e, "key 'u32' is of type u32, not f32");
    expect_message(st_gguf_get_bool(g, "u32", &b, &e), &e, "key 'u32' is of type u32, not bool");
    expect_message(st_gguf_get_string(g, "list", &s, &e), &e,
                   "key 'list' is of type array of string, not string");
    expect_message(st_gguf_get_array(g, "list", ST_GGUF_I32, &a, &e), &e,
                   "key 'list' is of type array of string, not array of i32");
    expect_message(st_gguf_get_array(g, "u32", ST_GGUF_I32, &a, &e), &e, "of type u32, not array of i32");
    cr_expect(u == 7 && n == 7 && f == 7.0f && b, "refused look-ups leave the result alone");
    char text[8];
    st_gguf_print(st_gguf_find(g, "u64"), text, sizeof text);
    cr_expect_str_eq(text, "1844674", "cut to fit");
    st_gguf_print(st_gguf_find(g, "text"), text, sizeof text);
    cr_expect_str_eq(text, "a?b");
    st_gguf_close(&g);
}

/* ---- files ---- */

Test(gguf, files_that_cannot_be_mapped_are_refused)
{
    st_gguf *g;
    sterna_error error = {0};
    cr_expect_eq(st_gguf_open("/nonexistent/x.gguf", &g, &error), STERNA_E_IO);
    cr_expect(strstr(error.message, "/nonexistent/x.gguf: cannot open: No such file"), "%s", error.message);
    cr_expect_eq(st_gguf_open("/tmp", &g, &error), STERNA_E_IO);
    cr_expect(strstr(error.message, "/tmp: not a regular file"), "%s", error.message);
    char path[] = "/tmp/sterna-empty-XXXXXX";
    int file = mkstemp(path);
    cr_assert(file >= 0);
    close(file);
    cr_expect_eq(st_gguf_open(path, &g, &error), STERNA_E_FORMAT);
    cr_expect(strstr(error.message, ": the file is empty"), "%s", error.message);
    unlink(path);
    cr_assert_eq(mkfifo(path, 0600), 0);
    cr_expect_eq(st_gguf_open(path, &g, &error), STERNA_E_IO, "a pipe is refused, not waited for");
    cr_expect(strstr(error.message, ": not a regular file"), "%s", error.message);
    unlink(path);
    cr_expect_null(g);
}

Test(gguf, long_paths_are_shortened_in_messages)
{
    char path[400];
    memset(path, 'd', sizeof path);
    strcpy(path + 390, "end.gguf");
    st_gguf *g;
    sterna_error error = {0};
    cr_expect_eq(st_gguf_open_memory(path, "GGML", 4, &g, &error), STERNA_E_FORMAT);
    cr_expect(strstr(error.message, "dddend.gguf: not a GGUF file"), "%s", error.message);
    cr_expect_eq(strncmp(error.message, "...ddd", 6), 0, "%s", error.message);
    cr_expect_eq(st_gguf_open(path, &g, &error), STERNA_E_IO);
    cr_expect(strstr(error.message, "dddend.gguf: cannot open: File name too long"), "%s", error.message);
}
