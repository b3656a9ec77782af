/* Typed look-ups of metadata. */
#include "host/model/gguf.h"

#include <inttypes.h>
#include <math.h>
#include <stdio.h>
#include <string.h>

static const struct {
    const char *name;
    unsigned char size;
} types[ST_GGUF_TYPE_COUNT] = {
    {"u8", 1},   {"i8", 1},     {"u16", 2},   {"i16", 2}, {"u32", 4}, {"i32", 4}, {"f32", 4},
    {"bool", 1}, {"string", 0}, {"array", 0}, {"u64", 8}, {"i64", 8}, {"f64", 8},
};

const char *st_gguf_type_name(st_gguf_type type)
{
    assert(type < ST_GGUF_TYPE_COUNT);
    return types[type].name;
}

size_t st_gguf_type_size(st_gguf_type type)
{
    assert(type < ST_GGUF_TYPE_COUNT);
    return types[type].size;
}

/* The key's entry, or NULL with the error stored. */
static const st_gguf_kv *require(const st_gguf *gguf, const char *key, sterna_error *error)
{
    const st_gguf_kv *kv = st_gguf_find(gguf, key);
    if (!kv)
        st_fail(error, STERNA_E_FORMAT, "%s: key '%s' is missing", st_gguf_label(gguf), key);
    return kv;
}

static sterna_status mistyped(const st_gguf *gguf, const st_gguf_kv *kv, const char *wanted,
                              sterna_error *error)
{
    bool array = kv->type == ST_GGUF_ARRAY;
    return st_fail(error, STERNA_E_FORMAT, "%s: key '%s' is of type %s%s, not %s", st_gguf_label(gguf),
                   kv->key, array ? "array of " : "", st_gguf_type_name(array ? kv->u.array.type : kv->type),
                   wanted);
}

/* Reads an integer of any width. */
static bool read_int(st_gguf_type type, const unsigned char *data, int64_t *out)
{
    union {
        uint8_t u8;
        int8_t i8;
        uint16_t u16;
        int16_t i16;
        uint32_t u32;
        int32_t i32;
        uint64_t u64;
        int64_t i64;
    } v;
    memcpy(&v, data, st_gguf_type_size(type));
    switch (type) {
    case ST_GGUF_U8:
        *out = v.u8;
        return true;
    case ST_GGUF_I8:
        *out = v.i8;
        return true;
    case ST_GGUF_U16:
        *out = v.u16;
        return true;
    case ST_GGUF_I16:
        *out = v.i16;
        return true;
    case ST_GGUF_U32:
        *out = v.u32;
        return true;
    case ST_GGUF_I32:
        *out = v.i32;
        return true;
    case ST_GGUF_I64:
        *out = v.i64;
        return true;
    case ST_GGUF_U64:
        *out = v.u64 <= (uint64_t)INT64_MAX ? (int64_t)v.u64 : INT64_MAX;
        return v.u64 <= (uint64_t)INT64_MAX;
    default:
        return false;
    }
}

static bool is_integer(st_gguf_type type)
{
    return type <= ST_GGUF_I32 || type == ST_GGUF_U64 || type == ST_GGUF_I64;
}

sterna_status st_gguf_get_int(const st_gguf *gguf, const char *key, int64_t min, int64_t max, int64_t *out,
                              sterna_error *error)
{
    const st_gguf_kv *kv = require(gguf, key, error);
    if (!kv)
        return STERNA_E_FORMAT;
    if (!is_integer(kv->type))
        return mistyped(gguf, kv, "an integer", error);
    int64_t value = 0;
    bool exact = read_int(kv->type, kv->data, &value);
    if (!exact || value < min || value > max)
        return st_fail(error, STERNA_E_FORMAT,
                       "%s: key '%s' is %s%" PRId64 ", allowed are %" PRId64 " to %" PRId64,
                       st_gguf_label(gguf), key, exact ? "" : "above ", value, min, max);
    *out = value;
    return STERNA_OK;
}

sterna_status st_gguf_get_u32(const st_gguf *gguf, const char *key, uint32_t min, uint32_t max, uint32_t *out,
                              sterna_error *error)
{
    int64_t value = 0;
    sterna_status status = st_gguf_get_int(gguf, key, min, max, &value, error);
    if (!status)
        *out = (uint32_t)value;
    return status;
}

sterna_status st_gguf_get_f32(const st_gguf *gguf, const char *key, float *out, sterna_error *error)
{
    const st_gguf_kv *kv = require(gguf, key, error);
    if (!kv)
        return STERNA_E_FORMAT;
    float value = 0.0f;
    if (kv->type == ST_GGUF_F32) {
        memcpy(&value, kv->data, sizeof value);
    } else if (kv->type == ST_GGUF_F64) {
        double wide;
        memcpy(&wide, kv->data, sizeof wide);
        value = fabs(wide) <= 0x1.fffffep127 ? (float)wide : INFINITY;
    } else {
        return mistyped(gguf, kv, "f32", error);
    }
    if (!isfinite(value))
        return st_fail(error, STERNA_E_FORMAT, "%s: key '%s' is not a finite number: %g", st_gguf_label(gguf),
                       key, (double)value);
    *out = value;
    return STERNA_OK;
}

sterna_status st_gguf_get_bool(const st_gguf *gguf, const char *key, bool *out, sterna_error *error)
{
    const st_gguf_kv *kv = require(gguf, key, error);
    if (!kv)
        return STERNA_E_FORMAT;
    if (kv->type != ST_GGUF_BOOL)
        return mistyped(gguf, kv, "bool", error);
    *out = *kv->data != 0;
    return STERNA_OK;
}

sterna_status st_gguf_get_string(const st_gguf *gguf, const char *key, st_gguf_string *out,
                                 sterna_error *error)
{
    const st_gguf_kv *kv = require(gguf, key, error);
    if (!kv)
        return STERNA_E_FORMAT;
    if (kv->type != ST_GGUF_STRING)
        return mistyped(gguf, kv, "string", error);
    *out = kv->u.string;
    return STERNA_OK;
}

sterna_status st_gguf_get_array(const st_gguf *gguf, const char *key, st_gguf_type type, st_gguf_array *out,
                                sterna_error *error)
{
    const st_gguf_kv *kv = require(gguf, key, error);
    if (!kv)
        return STERNA_E_FORMAT;
    if (kv->type != ST_GGUF_ARRAY || kv->u.array.type != type) {
        char wanted[32];
        snprintf(wanted, sizeof wanted, "array of %s", st_gguf_type_name(type));
        return mistyped(gguf, kv, wanted, error);
    }
    *out = kv->u.array;
    return STERNA_OK;
}

bool st_gguf_next_string(st_gguf_array *array, st_gguf_string *out)
{
    assert(array->type == ST_GGUF_STRING);
    if (array->data == array->end)
        return false;
    uint64_t length;
    memcpy(&length, array->data, sizeof length);
    *out = (st_gguf_string){(const char *)array->data + sizeof length, (size_t)length};
    array->data += sizeof length + (size_t)length;
    return true;
}

int32_t st_gguf_array_i32(const st_gguf_array *array, size_t index)
{
    assert((array->type == ST_GGUF_I32 || array->type == ST_GGUF_U32) && index < array->count);
    int32_t value;
    memcpy(&value, array->data + index * sizeof value, sizeof value);
    return value;
}

float st_gguf_array_f32(const st_gguf_array *array, size_t index)
{
    assert(array->type == ST_GGUF_F32 && index < array->count);
    float value;
    memcpy(&value, array->data + index * sizeof value, sizeof value);
    return value;
}

bool st_gguf_array_int(const st_gguf_array *array, size_t index, int64_t *out)
{
    assert(index < array->count);
    if (!is_integer(array->type))
        return false;
    return read_int(array->type, array->data + index * st_gguf_type_size(array->type), out);
}

bool st_gguf_string_is(st_gguf_string string, const char *text)
{
    return string.length == strlen(text) && memcmp(string.data, text, string.length) == 0;
}

/* ---- as text ---- */

/* Text that grows up to its buffer's end. */
typedef struct line {
    char *text;
    size_t size, used;
} line;

static void put(line *l, const char *data, size_t length)
{
    for (size_t i = 0; i < length && l->used + 1 < l->size; i++) {
        unsigned char c = (unsigned char)data[i];
        l->text[l->used++] = c < 0x20 || c == 0x7f ? '?' : (char)c;
    }
    l->text[l->used] = '\0';
}

static void put_number(line *l, st_gguf_type type, const unsigned char *data)
{
    char text[48];
    int64_t integer;
    uint64_t wide;
    float f32;
    double f64;
    if (type == ST_GGUF_F32) {
        memcpy(&f32, data, sizeof f32);
        snprintf(text, sizeof text, "%.9g", (double)f32);
    } else if (type == ST_GGUF_F64) {
        memcpy(&f64, data, sizeof f64);
        snprintf(text, sizeof text, "%.17g", f64);
    } else if (type == ST_GGUF_BOOL) {
        snprintf(text, sizeof text, "%s", *data ? "true" : "false");
    } else if (read_int(type, data, &integer)) {
        snprintf(text, sizeof text, "%" PRId64, integer);
    } else { /* a u64 above INT64_MAX */
        memcpy(&wide, data, sizeof wide);
        snprintf(text, sizeof text, "%" PRIu64, wide);
    }
    put(l, text, strlen(text));
}

static void put_array(line *l, st_gguf_array array)
{
    enum { SHOWN = 8 };
    char head[48];
    snprintf(head, sizeof head, "%s[%zu] ", st_gguf_type_name(array.type), array.count);
    put(l, head, strlen(head));
    for (size_t i = 0; i < array.count && i < SHOWN; i++) {
        if (i > 0)
            put(l, ", ", 2);
        st_gguf_string string;
        if (array.type != ST_GGUF_STRING) {
            put_number(l, array.type, array.data + i * st_gguf_type_size(array.type));
        } else if (st_gguf_next_string(&array, &string)) {
            put(l, "\"", 1);
            put(l, string.data, string.length < 40 ? string.length : 40);
            put(l, "\"", 1);
        }
    }
    if (array.count > SHOWN)
        put(l, ", ...", 5);
}

void st_gguf_print(const st_gguf_kv *kv, char *text, size_t size)
{
    if (size == 0)
        return;
    line l = {.text = text, .size = size};
    text[0] = '\0';
    if (kv->type == ST_GGUF_STRING)
        put(&l, kv->u.string.data, kv->u.string.length);
    else if (kv->type == ST_GGUF_ARRAY)
        put_array(&l, kv->u.array);
    else
        put_number(&l, kv->type, kv->data);
}
