/* GGUF files, version 2 and 3, read-only: metadata and tensor directory of a mapped file. Everything is
 * checked when the file is opened, so that accessors cannot fail on a damaged file; they only report keys
 * that are missing or of another type. Messages begin with the file's name and say where and which numbers.
 */
#ifndef ST_GGUF_H
#define ST_GGUF_H

#include "host/base/base.h"
#include "host/model/gguf_types.h"

enum {
    ST_GGUF_MAX_KV = 4096,
    ST_GGUF_MAX_TENSOR = 32768, /* ST_MAX_LAYER blocks of up to 60 tensors */
    ST_GGUF_MAX_KEY = 255,      /* bytes of a key */
    ST_GGUF_MAX_NAME = 63,      /* bytes of a tensor name, as in ggml */
    ST_GGUF_MAX_STRING = 1 << 26,
    ST_GGUF_MAX_ARRAY = 1 << 24, /* elements; the largest published merge list has 514,906 */
    ST_GGUF_MAX_ALIGNMENT = 1 << 16,
    ST_GGUF_ALIGNMENT = 32, /* where general.alignment is absent */
    ST_GGUF_LABEL = 160     /* bytes of the file's name in messages, with NUL */
};

typedef enum st_gguf_type {
    ST_GGUF_U8,
    ST_GGUF_I8,
    ST_GGUF_U16,
    ST_GGUF_I16,
    ST_GGUF_U32,
    ST_GGUF_I32,
    ST_GGUF_F32,
    ST_GGUF_BOOL,
    ST_GGUF_STRING,
    ST_GGUF_ARRAY,
    ST_GGUF_U64,
    ST_GGUF_I64,
    ST_GGUF_F64,
    ST_GGUF_TYPE_COUNT
} st_gguf_type;
const char *st_gguf_type_name(st_gguf_type type); /* "u32", "string" */
/* Bytes of a value of fixed size; 0 for strings and arrays. */
size_t st_gguf_type_size(st_gguf_type type);

/* Bytes inside the file, not NUL-terminated; may hold any bytes. */
typedef struct st_gguf_string {
    const char *data;
    size_t length;
} st_gguf_string;

/* Elements inside the file, at any alignment: use the accessors below. */
typedef struct st_gguf_array {
    st_gguf_type type; /* never ST_GGUF_ARRAY */
    size_t count;
    const unsigned char *data, *end;
} st_gguf_array;

typedef struct st_gguf_kv {
    const char *key; /* NUL-terminated, printable */
    st_gguf_type type;
    const unsigned char
        *data; /* the value in the file; of strings: its length; of arrays: the first element */
    union {
        st_gguf_string string; /* ST_GGUF_STRING */
        st_gguf_array array;   /* ST_GGUF_ARRAY */
    } u;
} st_gguf_kv;

typedef struct st_gguf_tensor {
    const char *name; /* NUL-terminated, printable */
    const st_encoding_info *encoding;
    int32_t n_dim;
    int64_t shape[4]; /* shape[0] is contiguous (input features); 1 past n_dim */
    int64_t n_element;
    uint64_t offset; /* of `data` in the file */
    const unsigned char *data;
    size_t bytes; /* without padding */
} st_gguf_tensor;

typedef struct st_gguf st_gguf;

/* Maps the file, which must not shrink while it is open: pages that are gone raise SIGBUS. */
sterna_status st_gguf_open(const char *path, st_gguf **gguf, sterna_error *error);
/* The same from memory, which must stay; `label` names it in messages. */
sterna_status st_gguf_open_memory(const char *label, const void *data, size_t size, st_gguf **gguf,
                                  sterna_error *error);
void st_gguf_close(st_gguf **gguf);

/* Gives the tensor's pages back, as far as no other tensor has a part of them: they no longer count as memory
 * of this process, and are read from the file again where they are needed. Does nothing for a file in memory.
 */
void st_gguf_drop(const st_gguf *gguf, const st_gguf_tensor *tensor);

const char *st_gguf_label(const st_gguf *gguf); /* path, shortened from the left, for messages */
size_t st_gguf_bytes(const st_gguf *gguf);
int st_gguf_kv_count(const st_gguf *gguf);
const st_gguf_kv *st_gguf_kv_at(const st_gguf *gguf, int index); /* file order */
int st_gguf_tensor_count(const st_gguf *gguf);
const st_gguf_tensor *st_gguf_tensor_at(const st_gguf *gguf, int index); /* file order */
const st_gguf_kv *st_gguf_find(const st_gguf *gguf, const char *key);    /* NULL if absent */
const st_gguf_tensor *st_gguf_find_tensor(const st_gguf *gguf, const char *name);

/* ---- typed look-ups (gguf_value.c): STERNA_E_FORMAT naming the key when it is absent or of another type or
 * out of range; `out` is then untouched ---- */

/* Any integer type. */
sterna_status st_gguf_get_int(const st_gguf *gguf, const char *key, int64_t min, int64_t max, int64_t *out,
                              sterna_error *error);
/* Unsigned 32-bit range with bounds, from any integer type. */
sterna_status st_gguf_get_u32(const st_gguf *gguf, const char *key, uint32_t min, uint32_t max, uint32_t *out,
                              sterna_error *error);
/* f32 or f64 (rounded); non-finite numbers are refused. */
sterna_status st_gguf_get_f32(const st_gguf *gguf, const char *key, float *out, sterna_error *error);
sterna_status st_gguf_get_bool(const st_gguf *gguf, const char *key, bool *out, sterna_error *error);
sterna_status st_gguf_get_string(const st_gguf *gguf, const char *key, st_gguf_string *out,
                                 sterna_error *error);
/* An array of exactly this element type. */
sterna_status st_gguf_get_array(const st_gguf *gguf, const char *key, st_gguf_type type, st_gguf_array *out,
                                sterna_error *error);

/* Takes the next string of a string array (advances array->data); false past the last. */
bool st_gguf_next_string(st_gguf_array *array, st_gguf_string *out);
/* Element of an array of I32 or U32 (as int32_t bits) or F32; index < count. */
int32_t st_gguf_array_i32(const st_gguf_array *array, size_t index);
float st_gguf_array_f32(const st_gguf_array *array, size_t index);
/* Element of an array of any integer type; false if it is of another type or exceeds int64_t. */
bool st_gguf_array_int(const st_gguf_array *array, size_t index, int64_t *out);

bool st_gguf_string_is(st_gguf_string string, const char *text);
/* A value as one printable line: arrays abbreviated, strings cut to fit, control bytes as '?'. Always
 * NUL-terminated if size > 0. */
void st_gguf_print(const st_gguf_kv *kv, char *text, size_t size);

#endif
