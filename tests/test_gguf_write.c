/* The GGUF writer: what it writes comes back, and what cannot be written is said. */
#include "host/model/gguf_write.h"

#include <criterion/criterion.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <unistd.h>

static void temporary(char path[32])
{
    strcpy(path, "/tmp/sterna-write-XXXXXX");
    int file = mkstemp(path);
    cr_assert(file >= 0);
    close(file);
}

static st_gguf_writer *open_writer(const char *path, uint32_t alignment)
{
    st_gguf_writer *w;
    sterna_error error = {0};
    cr_assert_eq(st_gguf_writer_open(path, alignment, &w, &error), STERNA_OK, "%s", error.message);
    return w;
}

static st_gguf *read_back(const char *path)
{
    st_gguf *g;
    sterna_error error = {0};
    cr_assert_eq(st_gguf_open(path, &g, &error), STERNA_OK, "%s", error.message);
    return g;
}

static void put_all_types(st_gguf_writer *w)
{
    st_gguf_put_int(w, "u8", ST_GGUF_U8, 255);
    st_gguf_put_int(w, "i8", ST_GGUF_I8, -128);
    st_gguf_put_int(w, "u16", ST_GGUF_U16, 65535);
    st_gguf_put_int(w, "i16", ST_GGUF_I16, -32768);
    st_gguf_put_u32(w, "u32", UINT32_MAX);
    st_gguf_put_int(w, "i32", ST_GGUF_I32, INT32_MIN);
    st_gguf_put_u64(w, "u64", UINT64_MAX);
    st_gguf_put_int(w, "i64", ST_GGUF_I64, INT64_MIN);
    st_gguf_put_f32(w, "f32", 0.1f);
    st_gguf_put_f64(w, "f64", 0.1);
    st_gguf_put_bool(w, "bool", true);
    st_gguf_put_string(w, "string", "text");
    st_gguf_put_bytes(w, "bytes", "a\0b", 3);
    st_gguf_put_array(w, "floats", ST_GGUF_F32, (const float[]){1, 2, 3}, 3);
    const st_gguf_string list[] = {{"one", 3}, {"", 0}, {"three", 5}};
    st_gguf_put_strings(w, "strings", list, 3);
}

static const char *const texts[] = {
    "255",
    "-128",
    "65535",
    "-32768",
    "4294967295",
    "-2147483648",
    "18446744073709551615",
    "-9223372036854775808",
    "0.100000001",
    "0.10000000000000001",
    "true",
    "text",
    "a?b",
    "f32[3] 1, 2, 3",
    "string[3] \"one\", \"\", \"three\"",
};

static void expect_all_types(const st_gguf *g, int first)
{
    cr_assert_eq(st_gguf_kv_count(g), first + 15);
    for (int i = 0; i < 15; i++) {
        char text[80];
        st_gguf_print(st_gguf_kv_at(g, first + i), text, sizeof text);
        cr_expect_str_eq(text, texts[i]);
    }
}

Test(gguf_write, all_types_and_copies_come_back)
{
    char path[32], copy[32];
    temporary(path);
    temporary(copy);
    sterna_error error = {0};
    st_gguf_writer *w = open_writer(path, ST_GGUF_ALIGNMENT);
    put_all_types(w);
    cr_assert_eq(st_gguf_writer_close(&w, &error), STERNA_OK, "%s", error.message);
    cr_expect_null(w);
    st_gguf *g = read_back(path);
    expect_all_types(g, 0);
    w = open_writer(copy, 128);
    for (int i = 0; i < st_gguf_kv_count(g); i++)
        st_gguf_put_copy(w, st_gguf_kv_at(g, i));
    cr_assert_eq(st_gguf_writer_close(&w, &error), STERNA_OK, "%s", error.message);
    st_gguf_close(&g);
    g = read_back(copy);
    expect_all_types(g, 1); /* behind general.alignment */
    st_gguf_close(&g);
    unlink(path);
    unlink(copy);
}

Test(gguf_write, tensors_come_back_aligned_from_any_pieces)
{
    static const uint32_t alignments[] = {8, 32, 1024};
    unsigned char data[3 * 4 + 66 + 34 + 2];
    for (size_t i = 0; i < sizeof data; i++)
        data[i] = (unsigned char)(i + 1);
    for (size_t a = 0; a < 3; a++)
        for (size_t piece = 1; piece <= sizeof data; piece += 16) {
            char path[32];
            temporary(path);
            sterna_error error = {0};
            st_gguf_writer *w = open_writer(path, alignments[a]);
            st_gguf_put_tensor(w, "f32", st_encoding_get(ST_ENC_F32), 2, (const int64_t[]){1, 3});
            st_gguf_put_tensor(w, "tq2", st_encoding_get(ST_ENC_TQ2_0), 1, (const int64_t[]){256});
            st_gguf_put_tensor(w, "q8", st_encoding_get(ST_ENC_Q8_0), 4, (const int64_t[]){32, 1, 1, 1});
            st_gguf_put_tensor(w, "f16", st_encoding_get(ST_ENC_F16), 1, (const int64_t[]){1});
            for (size_t at = 0; at < sizeof data; at += piece)
                st_gguf_put_data(w, data + at, piece < sizeof data - at ? piece : sizeof data - at);
            cr_assert_eq(st_gguf_writer_close(&w, &error), STERNA_OK, "%s", error.message);
            st_gguf *g = read_back(path);
            cr_assert_eq(st_gguf_tensor_count(g), 4);
            const unsigned char *want = data;
            for (int i = 0; i < 4; i++) {
                const st_gguf_tensor *t = st_gguf_tensor_at(g, i);
                cr_expect_eq(t->offset % alignments[a], 0);
                cr_expect_eq(memcmp(t->data, want, t->bytes), 0, "tensor %s in pieces of %zu", t->name,
                             piece);
                want += t->bytes;
            }
            st_gguf_close(&g);
            unlink(path);
        }
}

/* ---- failures ---- */

Test(gguf_write, unwritable_places_are_named)
{
    st_gguf_writer *w;
    sterna_error error = {0};
    cr_expect_eq(st_gguf_writer_open("/nonexistent/x.gguf", 32, &w, &error), STERNA_E_IO);
    cr_expect(strstr(error.message, "/nonexistent/x.gguf: cannot open for writing: No such file"), "%s",
              error.message);
    cr_expect_null(w);
    w = open_writer("/dev/full", 32);
    put_all_types(w);
    cr_expect_eq(st_gguf_writer_close(&w, &error), STERNA_E_IO);
    cr_expect(strstr(error.message, "/dev/full: cannot write"), "%s", error.message);
    cr_expect(strstr(error.message, "No space left on device"), "%s", error.message);
    cr_expect_eq(access("/dev/full", F_OK), 0, "a device is not removed");
}

/* A file that may not grow past 64 KiB stands for a disk that fills up in the middle. */
Test(gguf_write, a_disk_that_fills_up_leaves_no_file)
{
    char path[32];
    temporary(path);
    signal(SIGXFSZ, SIG_IGN);
    cr_assert_eq(setrlimit(RLIMIT_FSIZE, &(struct rlimit){65536, 65536}), 0);
    static unsigned char zeros[1 << 17];
    st_gguf_writer *w = open_writer(path, 32);
    st_gguf_put_tensor(w, "t", st_encoding_get(ST_ENC_F32), 1, (const int64_t[]){(int64_t)sizeof zeros / 4});
    st_gguf_put_data(w, zeros, sizeof zeros);
    sterna_error error = {0};
    cr_expect_eq(st_gguf_writer_close(&w, &error), STERNA_E_IO);
    cr_expect(strstr(error.message, "cannot write 131072 bytes: File too large"), "%s", error.message);
    cr_expect_neq(access(path, F_OK), 0, "the incomplete file is removed");
}

Test(gguf_write, missing_data_and_wrong_shapes_are_errors)
{
    char path[32];
    temporary(path);
    sterna_error error = {0};
    st_gguf_writer *w = open_writer(path, 32);
    st_gguf_put_tensor(w, "a", st_encoding_get(ST_ENC_F32), 1, (const int64_t[]){4});
    st_gguf_put_tensor(w, "b", st_encoding_get(ST_ENC_F32), 1, (const int64_t[]){4});
    st_gguf_put_data(w, "0123456789abcdef0123", 20);
    cr_expect_eq(st_gguf_writer_close(&w, &error), STERNA_E_ARGUMENT);
    cr_expect(strstr(error.message, "tensor 1 of 2 has 4 of its 16 bytes at the end"), "%s", error.message);
    cr_expect_neq(access(path, F_OK), 0);
    w = open_writer(path, 32);
    st_gguf_put_tensor(w, "a", st_encoding_get(ST_ENC_TQ1_0), 2, (const int64_t[]){100, 2});
    st_gguf_put_data(w, "ignored", 7); /* after a failure */
    cr_expect_eq(st_gguf_writer_close(&w, &error), STERNA_E_ARGUMENT);
    cr_expect(strstr(error.message, "tensor 'a': 200 elements in rows of 100 cannot be stored as TQ1_0"),
              "%s", error.message);
}
