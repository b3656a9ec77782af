/* Each way in which a GGUF file can be wrong. */
#include "tests/support/image.h"
#include "tests/support/model_input.h"

#include <criterion/criterion.h>
#include <stdlib.h>
#include <string.h>

/* Opens exactly these bytes, in memory that ends where they end. */
static sterna_status open_image(const void *data, size_t size, st_gguf **gguf, void **copy,
                                sterna_error *error)
{
    *copy = malloc(size ? size : 1);
    cr_assert_not_null(*copy);
    memcpy(*copy, data, size);
    return st_gguf_open_memory("test.gguf", *copy, size, gguf, error);
}

/* ---- bad files: one line per check ---- */

static void one_vector(image *m, uint64_t length, uint32_t type, uint64_t offset, size_t data)
{
    image_header(m, 1, 0);
    image_vector(m, "v", length, type, offset);
    image_align(m, 32);
    image_zero(m, data);
}

static void two_vectors(image *m, const char *second, uint64_t offset, size_t data)
{
    image_header(m, 2, 0);
    image_vector(m, "v", 8, 0, 0);
    image_vector(m, second, 8, 0, offset);
    image_align(m, 32);
    image_zero(m, data);
}

static void no_gguf(image *m)
{
    image_bytes(m, "GGML", 4);
    image_zero(m, 60);
}
static void version_of(image *m, uint32_t version)
{
    image_bytes(m, "GGUF", 4);
    image_u32(m, version);
    image_zero(m, 16);
}
static void version_1(image *m)
{
    version_of(m, 1);
}
static void version_4(image *m)
{
    version_of(m, 4);
}
static void big_endian(image *m)
{
    version_of(m, 0x03000000);
}
static void empty(image *m)
{
    m->used = 0;
}
static void many_tensors(image *m)
{
    image_header(m, ST_GGUF_MAX_TENSOR + 1, 0);
}
static void many_keys(image *m)
{
    image_header(m, 0, ST_GGUF_MAX_KV + 1);
}
static void counts_beyond_file(image *m)
{
    image_header(m, 2, 3);
    image_zero(m, 2 * 33 + 3 * 14 - 1);
}
static void long_key(image *m)
{
    image_header(m, 0, 1);
    image_u64(m, ST_GGUF_MAX_KEY + 1);
    image_zero(m, 300);
}
static void key_beyond_file(image *m)
{
    image_header(m, 0, 1);
    image_u64(m, 200);
    image_zero(m, 199);
}
static void empty_key(image *m)
{
    image_header(m, 0, 1);
    image_key(m, "", 4);
    image_zero(m, 20);
}
static void control_key(image *m)
{
    image_header(m, 0, 1);
    image_key_u32(m, "a\nb", 4);
}
static void unknown_value_type(image *m)
{
    image_header(m, 0, 1);
    image_key(m, "k", 13);
    image_zero(m, 8);
}
static void bool_of_two(image *m)
{
    image_header(m, 0, 1);
    image_key(m, "k", ST_GGUF_BOOL);
    image_u8(m, 2);
}
static void array_bool_of_two(image *m)
{
    image_header(m, 0, 1);
    image_array(m, "k", ST_GGUF_BOOL, 3);
    image_bytes(m, "\0\1\2", 3);
}
static void long_string(image *m)
{
    image_header(m, 0, 1);
    image_key(m, "k", ST_GGUF_STRING);
    image_u64(m, ST_GGUF_MAX_STRING + 1);
}
static void endless_string(image *m)
{
    image_header(m, 0, 1);
    image_key(m, "k", ST_GGUF_STRING);
    image_u64(m, 10);
    image_zero(m, 9);
}
static void array_of_arrays(image *m)
{
    image_header(m, 0, 1);
    image_array(m, "k", ST_GGUF_ARRAY, 1);
    image_zero(m, 16);
}
static void array_of_unknown(image *m)
{
    image_header(m, 0, 1);
    image_array(m, "k", 99, 1);
}
static void long_array(image *m)
{
    image_header(m, 0, 1);
    image_array(m, "k", ST_GGUF_U8, ST_GGUF_MAX_ARRAY + 1);
}
static void endless_array(image *m)
{
    image_header(m, 0, 1);
    image_array(m, "k", ST_GGUF_U32, 5);
    image_zero(m, 19);
}
static void endless_strings(image *m)
{
    image_header(m, 0, 1);
    image_array(m, "k", ST_GGUF_STRING, 2);
    image_string(m, "one");
    image_u64(m, 4);
    image_zero(m, 3);
}
static void duplicate_key(image *m)
{
    image_header(m, 0, 3);
    image_key_u32(m, "k", 1);
    image_key_u32(m, "j", 1);
    image_key_u32(m, "k", 1);
}
static void alignment_of(image *m, uint32_t alignment)
{
    image_header(m, 0, 1);
    image_key_u32(m, "general.alignment", alignment);
}
static void alignment_0(image *m)
{
    alignment_of(m, 0);
}
static void alignment_48(image *m)
{
    alignment_of(m, 48);
}
static void alignment_huge(image *m)
{
    alignment_of(m, 2 * ST_GGUF_MAX_ALIGNMENT);
}
static void alignment_text(image *m)
{
    image_header(m, 0, 1);
    image_key(m, "general.alignment", ST_GGUF_STRING);
    image_string(m, "32");
}
static void split_file(image *m)
{
    image_header(m, 0, 2);
    image_key(m, "split.no", ST_GGUF_U16);
    image_bytes(m, "\1\0", 2);
    image_key(m, "split.count", ST_GGUF_U16);
    image_bytes(m, "\3\0", 2);
}
static void long_name(image *m)
{
    char name[ST_GGUF_MAX_NAME + 2];
    memset(name, 'n', sizeof name);
    name[ST_GGUF_MAX_NAME + 1] = '\0';
    image_header(m, 1, 0);
    image_vector(m, name, 8, 0, 0);
    image_zero(m, 64);
}
static void empty_name(image *m)
{
    image_header(m, 1, 0);
    image_vector(m, "", 8, 0, 0);
    image_zero(m, 64);
}
static void duplicate_name(image *m)
{
    two_vectors(m, "v", 32, 64);
}
static void no_dimension(image *m)
{
    image_header(m, 1, 0);
    image_tensor(m, "v", 0, NULL, 0, 0);
    image_zero(m, 64);
}
static void five_dimensions(image *m)
{
    image_header(m, 1, 0);
    image_tensor(m, "v", 5, (const uint64_t[]){1, 1, 1, 1, 1}, 0, 0);
    image_zero(m, 64);
}
static void zero_dimension(image *m)
{
    one_vector(m, 0, 0, 0, 32);
}
static void huge_product(image *m)
{
    image_header(m, 1, 0);
    image_tensor(m, "v", 2, (const uint64_t[]){UINT64_C(1) << 32, UINT64_C(1) << 31}, 0, 0);
    image_zero(m, 64);
}
static void huge_size(image *m)
{
    one_vector(m, UINT64_C(1) << 62, 28, 0, 32);
}
static void tl1(image *m)
{
    one_vector(m, 128, 38, 0, 32);
}
static void future_type(image *m)
{
    one_vector(m, 128, 77, 0, 32);
}
static void misaligned(image *m)
{
    two_vectors(m, "w", 40, 96);
}
static void overlapping(image *m)
{
    image_header(m, 2, 0);
    image_vector(m, "v", 9, 0, 0);
    image_vector(m, "w", 8, 0, 32);
    image_align(m, 32);
    image_zero(m, 64);
}
static void same_place(image *m)
{
    two_vectors(m, "w", 0, 64);
}
static void hole(image *m)
{
    two_vectors(m, "w", 64, 96);
}
static void late_start(image *m)
{
    one_vector(m, 8, 0, 32, 64);
}
static void beyond_file(image *m)
{
    two_vectors(m, "w", 64, 64);
}
static void short_data(image *m)
{
    two_vectors(m, "w", 32, 63);
}
static void trailing(image *m)
{
    two_vectors(m, "w", 32, 65);
}
static void partial_block(image *m)
{
    one_vector(m, 100, 35, 0, 66);
}
static void partial_run(image *m)
{
    one_vector(m, 100, 36, 0, 64);
}
static void neither_q2_0(image *m)
{
    one_vector(m, 256, 42, 0, 40);
}
static void tl2(image *m)
{
    one_vector(m, 96, 39, 0, 20);
}
static void no_data_section(image *m)
{
    image_header(m, 1, 0);
    image_vector(m, "v", 8, 0, 0);
}

#define CASE(make, status, message)                                                                          \
    {                                                                                                        \
#make, make, status, message                                                                         \
    }
static const struct {
    const char *name;
    void (*make)(image *m);
    sterna_status status;
    const char *message;
} bad_files[] = {
    CASE(empty, STERNA_E_FORMAT, "header: the file ends in its magic: 4 bytes needed at byte 0, 0 left"),
    CASE(no_gguf, STERNA_E_FORMAT, "not a GGUF file: begins with bytes 47 47 4d 4c"),
    CASE(version_1, STERNA_E_UNSUPPORTED, "GGUF version 1, but 2 and 3 are supported"),
    CASE(version_4, STERNA_E_UNSUPPORTED, "GGUF version 4, but 2 and 3 are supported"),
    CASE(big_endian, STERNA_E_UNSUPPORTED, "big-endian GGUF (version reads as 0x03000000)"),
    CASE(many_tensors, STERNA_E_LIMIT, "32769 tensors and 0 metadata entries, at most 32768 and 4096"),
    CASE(many_keys, STERNA_E_LIMIT, "0 tensors and 4097 metadata entries, at most 32768 and 4096"),
    CASE(counts_beyond_file, STERNA_E_FORMAT, "need at least 108 bytes, 107 are left"),
    CASE(long_key, STERNA_E_LIMIT, "metadata entry 0: key at byte 24 has 256 bytes, at most 255"),
    CASE(key_beyond_file, STERNA_E_FORMAT, "the file ends in its key: 200 bytes needed at byte 32, 199 left"),
    CASE(empty_key, STERNA_E_FORMAT, "metadata entry 0: key at byte 24 is empty"),
    CASE(control_key, STERNA_E_FORMAT, "key at byte 24 contains control byte 0x0a"),
    CASE(unknown_value_type, STERNA_E_FORMAT, "key 'k' at byte 24: unknown value type 13"),
    CASE(bool_of_two, STERNA_E_FORMAT, "key 'k': bool 0 at byte 37 is 2, not 0 or 1"),
    CASE(array_bool_of_two, STERNA_E_FORMAT, "key 'k': bool 2 at byte 51 is 2, not 0 or 1"),
    CASE(long_string, STERNA_E_LIMIT, "key 'k': value at byte 37 has 67108865 bytes, at most 67108864"),
    CASE(endless_string, STERNA_E_FORMAT,
         "key 'k': the file ends in its value: 10 bytes needed at byte 45, 9"),
    CASE(array_of_arrays, STERNA_E_FORMAT, "key 'k': element type 9 at byte 37"),
    CASE(array_of_unknown, STERNA_E_FORMAT, "key 'k': element type 99 at byte 37"),
    CASE(long_array, STERNA_E_LIMIT, "key 'k': 16777217 elements at byte 37, at most 16777216"),
    CASE(endless_array, STERNA_E_FORMAT,
         "key 'k': the file ends in its elements: 20 bytes needed at byte 49, 19"),
    CASE(endless_strings, STERNA_E_FORMAT, "ends in its string element: 4 bytes needed at byte 68, 3 left"),
    CASE(duplicate_key, STERNA_E_FORMAT, "key 'k' occurs twice (values at bytes 37 and 71)"),
    CASE(alignment_0, STERNA_E_FORMAT, "key 'general.alignment' is 0, allowed are 1 to 65536"),
    CASE(alignment_48, STERNA_E_FORMAT, "key 'general.alignment' is 48, not a power of two"),
    CASE(alignment_huge, STERNA_E_FORMAT, "key 'general.alignment' is 131072, allowed are 1 to 65536"),
    CASE(alignment_text, STERNA_E_FORMAT, "key 'general.alignment' is of type string, not an integer"),
    CASE(split_file, STERNA_E_UNSUPPORTED, "part 2 of a model split into 3 files"),
    CASE(long_name, STERNA_E_LIMIT, "tensor 0: name at byte 24 has 64 bytes, at most 63"),
    CASE(empty_name, STERNA_E_FORMAT, "tensor 0: name at byte 24 is empty"),
    CASE(duplicate_name, STERNA_E_FORMAT, "two tensors have the name 'v'"),
    CASE(no_dimension, STERNA_E_FORMAT, "tensor 'v' (described at byte 24): 0 dimensions at byte 33"),
    CASE(five_dimensions, STERNA_E_FORMAT, "5 dimensions at byte 33 (allowed: 1 to 4)"),
    CASE(zero_dimension, STERNA_E_FORMAT, "dimension 0 at byte 37 is 0, which makes the tensor empty"),
    CASE(huge_product, STERNA_E_FORMAT, "dimension 1 at byte 45 is 2147483648"),
    CASE(huge_size, STERNA_E_FORMAT, "tensor 'v': the size of 4611686018427387904 elements overflows"),
    CASE(tl1, STERNA_E_UNSUPPORTED, "tensor 'v': unknown type number 38 (TL1 of bitnet.cpp"),
    CASE(future_type, STERNA_E_UNSUPPORTED, "tensor 'v': unknown type number 77 (a newer ggml"),
    CASE(misaligned, STERNA_E_FORMAT, "tensor 'w': offset 40 is not a multiple of the alignment 32"),
    CASE(overlapping, STERNA_E_FORMAT,
         "F32 of shape 9 x 1 x 1 x 1 takes 36 bytes (aligned to 32), but tensor 'w' "
         "follows after 32"),
    CASE(same_place, STERNA_E_FORMAT, "takes 32 bytes (aligned to 32), but tensor 'w' follows after 0"),
    CASE(hole, STERNA_E_FORMAT, "takes 32 bytes (aligned to 32), but tensor 'w' follows after 64"),
    CASE(late_start, STERNA_E_FORMAT, "first tensor 'v' begins at offset 32 of the data section, not at 0"),
    CASE(beyond_file, STERNA_E_FORMAT,
         "tensor 'w' begins at offset 64 of the data section, which has 64 bytes"),
    CASE(short_data, STERNA_E_FORMAT, "takes 32 bytes (aligned to 32), but the file ends after 31"),
    CASE(trailing, STERNA_E_FORMAT, "takes 32 bytes (aligned to 32), but the file ends after 33"),
    CASE(partial_block, STERNA_E_FORMAT, "rows of 100 elements, not a multiple of the 256 of a TQ2_0 block"),
    CASE(partial_run, STERNA_E_FORMAT, "a tensor of 100 elements, not a multiple of the 128 of a I2_S block"),
    CASE(neither_q2_0, STERNA_E_FORMAT,
         "; no known reading of type 42 fits (it may be I1_M of vlut.cpp or TL2 of newer bitnet.cpp)"),
    CASE(tl2, STERNA_E_FORMAT,
         "MXFP4 of shape 96 x 1 x 1 x 1 takes 51 bytes (aligned to 32), but the file ends "
         "after 20; no known reading of type 39 fits (it may be TL2 of bitnet.cpp"),
    CASE(no_data_section, STERNA_E_FORMAT, "the file ends at byte 57, before its data section at byte 64"),
};

Test(gguf_bad, bad_files_are_refused_with_the_reason)
{
    for (size_t i = 0; i < sizeof bad_files / sizeof bad_files[0]; i++) {
        static image m;
        m.used = 0;
        bad_files[i].make(&m);
        st_gguf *g;
        void *copy;
        sterna_error error = {0};
        sterna_status status = open_image(m.data, m.used, &g, &copy, &error);
        cr_expect_eq(status, bad_files[i].status, "%s: status %d", bad_files[i].name, status);
        cr_expect_eq(error.status, status, "%s", bad_files[i].name);
        cr_expect_null(g, "%s", bad_files[i].name);
        cr_expect(strstr(error.message, bad_files[i].message), "%s: \"%s\" lacks \"%s\"", bad_files[i].name,
                  error.message, bad_files[i].message);
        cr_expect_eq(strncmp(error.message, "test.gguf: ", 11), 0, "%s", error.message);
        st_gguf_close(&g);
        free(copy);
    }
}

Test(gguf_bad, every_truncation_is_an_error)
{
    static image m;
    image_good(&m);
    for (size_t size = 0; size < m.used; size++) {
        st_gguf *g;
        void *copy;
        sterna_error error = {0};
        sterna_status status = open_image(m.data, size, &g, &copy, &error);
        cr_assert_lt(status, 0, "a file cut to %zu of %zu bytes opened", size, m.used);
        cr_assert(strlen(error.message) > 20, "cut to %zu bytes: \"%s\"", size, error.message);
        free(copy);
    }
}

/* No flipped bit may crash; what still opens must be safe to read. */
Test(gguf_bad, bit_flips_are_safe)
{
    static image m;
    image_good(&m);
    int opened = 0, refused = 0;
    for (size_t bit = 0; bit < 8 * m.used; bit++) {
        m.data[bit / 8] ^= (unsigned char)(1 << bit % 8);
        st_gguf *g;
        void *copy;
        sterna_error error = {0};
        if (open_image(m.data, m.used, &g, &copy, &error) == STERNA_OK) {
            cr_assert_null(model_try_input(copy, m.used), "bit %zu", bit);
            opened++;
        } else {
            refused++;
        }
        st_gguf_close(&g);
        free(copy);
        m.data[bit / 8] ^= (unsigned char)(1 << bit % 8);
    }
    cr_expect(opened > 1000 && refused > 1000, "%d opened, %d refused", opened, refused);
}
