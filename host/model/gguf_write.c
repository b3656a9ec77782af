#include "host/model/gguf_write.h"

#include <errno.h>
#include <inttypes.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>

/* Bytes that grow. */
typedef struct bytes {
    unsigned char *data;
    size_t used, room;
} bytes;

struct st_gguf_writer {
    FILE *file;
    char *path;
    size_t alignment;
    bytes kv, info;
    uint64_t n_kv, n_tensor;
    size_t *tensor_bytes; /* [n_tensor] */
    size_t tensor_room;
    size_t offset;      /* of the next tensor in the data section */
    bool writing;       /* header and directory are in the file */
    uint64_t at_tensor; /* whose data comes next */
    size_t at_byte;     /* within it */
    sterna_error error; /* the first one; status 0 if none */
};

/* ---- buffers and failures ---- */

static bool failed(const st_gguf_writer *w)
{
    return w->error.status != STERNA_OK;
}

static void fail_memory(st_gguf_writer *w, size_t size)
{
    st_fail(&w->error, STERNA_E_MEMORY, "%s: out of memory (%zu bytes)", w->path, size);
}

/* A larger copy of `old`, or NULL with `old` untouched. */
static void *grow(void *old, size_t used, size_t need, size_t *room)
{
    size_t larger = *room ? *room : 4096;
    while (larger < need)
        if (!st_mul_size(larger, 2, &larger))
            return NULL;
    void *memory = st_alloc(larger);
    if (!memory)
        return NULL;
    if (used)
        memcpy(memory, old, used);
    st_free(old);
    *room = larger;
    return memory;
}

static void append(st_gguf_writer *w, bytes *b, const void *data, size_t size)
{
    size_t need;
    if (failed(w) || size == 0)
        return;
    if (!st_add_size(b->used, size, &need)) {
        fail_memory(w, size);
        return;
    }
    if (need > b->room) {
        void *memory = grow(b->data, b->used, need, &b->room);
        if (!memory) {
            fail_memory(w, need);
            return;
        }
        b->data = memory;
    }
    memcpy(b->data + b->used, data, size);
    b->used = need;
}

static void append_string(st_gguf_writer *w, bytes *b, const char *data, size_t length)
{
    uint64_t wide = length;
    append(w, b, &wide, sizeof wide);
    append(w, b, data, length);
}

static void write_file(st_gguf_writer *w, const void *data, size_t size)
{
    if (!failed(w) && size > 0 && fwrite(data, 1, size, w->file) != size)
        st_fail(&w->error, STERNA_E_IO, "%s: cannot write %zu bytes: %s", w->path, size, strerror(errno));
}

static void pad_file(st_gguf_writer *w, size_t at)
{
    static const unsigned char zero[256];
    size_t missing = st_align_up(at, w->alignment) - at;
    while (missing > 0) {
        size_t piece = missing < sizeof zero ? missing : sizeof zero;
        write_file(w, zero, piece);
        missing -= piece;
    }
}

/* ---- metadata ---- */

static void begin_kv(st_gguf_writer *w, const char *key, st_gguf_type type)
{
    uint32_t number = (uint32_t)type;
    assert(!w->writing && w->n_tensor == 0 && *key && strlen(key) <= ST_GGUF_MAX_KEY);
    append_string(w, &w->kv, key, strlen(key));
    append(w, &w->kv, &number, sizeof number);
    w->n_kv++;
}

void st_gguf_put_int(st_gguf_writer *w, const char *key, st_gguf_type type, int64_t value)
{
    assert(type <= ST_GGUF_I32 || type == ST_GGUF_U64 || type == ST_GGUF_I64);
    begin_kv(w, key, type);
    append(w, &w->kv, &value, st_gguf_type_size(type)); /* little-endian: the low bytes come first */
}

void st_gguf_put_u32(st_gguf_writer *w, const char *key, uint32_t value)
{
    st_gguf_put_int(w, key, ST_GGUF_U32, value);
}

void st_gguf_put_u64(st_gguf_writer *w, const char *key, uint64_t value)
{
    begin_kv(w, key, ST_GGUF_U64);
    append(w, &w->kv, &value, sizeof value);
}

void st_gguf_put_f32(st_gguf_writer *w, const char *key, float value)
{
    begin_kv(w, key, ST_GGUF_F32);
    append(w, &w->kv, &value, sizeof value);
}

void st_gguf_put_f64(st_gguf_writer *w, const char *key, double value)
{
    begin_kv(w, key, ST_GGUF_F64);
    append(w, &w->kv, &value, sizeof value);
}

void st_gguf_put_bool(st_gguf_writer *w, const char *key, bool value)
{
    unsigned char byte = value;
    begin_kv(w, key, ST_GGUF_BOOL);
    append(w, &w->kv, &byte, 1);
}

void st_gguf_put_bytes(st_gguf_writer *w, const char *key, const char *value, size_t length)
{
    begin_kv(w, key, ST_GGUF_STRING);
    append_string(w, &w->kv, value, length);
}

void st_gguf_put_string(st_gguf_writer *w, const char *key, const char *value)
{
    st_gguf_put_bytes(w, key, value, strlen(value));
}

static void begin_array(st_gguf_writer *w, const char *key, st_gguf_type type, size_t count)
{
    uint32_t number = (uint32_t)type;
    uint64_t wide = count;
    begin_kv(w, key, ST_GGUF_ARRAY);
    append(w, &w->kv, &number, sizeof number);
    append(w, &w->kv, &wide, sizeof wide);
}

void st_gguf_put_array(st_gguf_writer *w, const char *key, st_gguf_type type, const void *data, size_t count)
{
    size_t size = 0;
    assert(st_gguf_type_size(type) > 0);
    begin_array(w, key, type, count);
    if (!st_mul_size(count, st_gguf_type_size(type), &size))
        fail_memory(w, count);
    append(w, &w->kv, data, size);
}

void st_gguf_put_strings(st_gguf_writer *w, const char *key, const st_gguf_string *list, size_t count)
{
    begin_array(w, key, ST_GGUF_STRING, count);
    for (size_t i = 0; i < count; i++)
        append_string(w, &w->kv, list[i].data, list[i].length);
}

void st_gguf_put_copy(st_gguf_writer *w, const st_gguf_kv *kv)
{
    if (kv->type == ST_GGUF_STRING) {
        st_gguf_put_bytes(w, kv->key, kv->u.string.data, kv->u.string.length);
    } else if (kv->type == ST_GGUF_ARRAY) {
        begin_array(w, kv->key, kv->u.array.type, kv->u.array.count);
        append(w, &w->kv, kv->u.array.data, (size_t)(kv->u.array.end - kv->u.array.data));
    } else {
        begin_kv(w, kv->key, kv->type);
        append(w, &w->kv, kv->data, st_gguf_type_size(kv->type));
    }
}

/* ---- tensors ---- */

void st_gguf_put_tensor(st_gguf_writer *w, const char *name, const st_encoding_info *encoding, int32_t n_dim,
                        const int64_t *shape)
{
    assert(!w->writing && *name && strlen(name) <= ST_GGUF_MAX_NAME && n_dim >= 1 && n_dim <= 4);
    int64_t n_element = 1;
    for (int32_t d = 0; d < n_dim; d++)
        n_element *= shape[d];
    size_t size, end;
    if (failed(w))
        return;
    if (!st_encoding_bytes(encoding, shape[0], n_element, &size) || !st_add_size(w->offset, size, &end) ||
        end > SIZE_MAX - w->alignment) {
        st_fail(&w->error, STERNA_E_ARGUMENT,
                "%s: tensor '%s': %" PRId64 " elements in rows of %" PRId64
                " cannot be stored as %s (blocks of %" PRIu32 ")",
                w->path, name, n_element, shape[0], encoding->name, encoding->block);
        return;
    }
    size_t used = (size_t)w->n_tensor * sizeof *w->tensor_bytes, need = used + sizeof *w->tensor_bytes;
    if (need > w->tensor_room) {
        void *memory = grow(w->tensor_bytes, used, need, &w->tensor_room);
        if (!memory) {
            fail_memory(w, need);
            return;
        }
        w->tensor_bytes = memory;
    }
    w->tensor_bytes[w->n_tensor++] = size;
    uint32_t dims = (uint32_t)n_dim;
    uint64_t offset = w->offset;
    append_string(w, &w->info, name, strlen(name));
    append(w, &w->info, &dims, sizeof dims);
    append(w, &w->info, shape, (size_t)n_dim * sizeof *shape);
    append(w, &w->info, &encoding->type_id, sizeof encoding->type_id);
    append(w, &w->info, &offset, sizeof offset);
    w->offset = st_align_up(end, w->alignment);
}

static void write_directory(st_gguf_writer *w)
{
    const uint32_t version = 3;
    w->writing = true;
    write_file(w, "GGUF", 4);
    write_file(w, &version, sizeof version);
    write_file(w, &w->n_tensor, sizeof w->n_tensor);
    write_file(w, &w->n_kv, sizeof w->n_kv);
    write_file(w, w->kv.data, w->kv.used);
    write_file(w, w->info.data, w->info.used);
    if (w->n_tensor > 0)
        pad_file(w, 24 + w->kv.used + w->info.used);
}

void st_gguf_put_data(st_gguf_writer *w, const void *data, size_t size)
{
    if (!w->writing && !failed(w))
        write_directory(w);
    const unsigned char *at = data;
    while (size > 0 && !failed(w)) {
        assert(w->at_tensor < w->n_tensor);
        size_t whole = w->tensor_bytes[w->at_tensor], left = whole - w->at_byte;
        size_t piece = size < left ? size : left;
        write_file(w, at, piece);
        at += piece;
        size -= piece;
        w->at_byte += piece;
        if (w->at_byte == whole) {
            pad_file(w, whole);
            w->at_byte = 0;
            w->at_tensor++;
        }
    }
}

/* ---- open and close ---- */

sterna_status st_gguf_writer_open(const char *path, uint32_t alignment, st_gguf_writer **writer,
                                  sterna_error *error)
{
    assert(alignment > 0 && alignment <= ST_GGUF_MAX_ALIGNMENT && (alignment & (alignment - 1)) == 0);
    *writer = NULL;
    st_gguf_writer *w = st_calloc(1, sizeof *w);
    char *copy = st_alloc(strlen(path) + 1);
    if (!w || !copy) {
        st_free(w);
        st_free(copy);
        return st_fail(error, STERNA_E_MEMORY, "%s: out of memory", path);
    }
    strcpy(copy, path);
    w->path = copy;
    w->alignment = alignment;
    w->file = fopen(path, "wb");
    if (!w->file) {
        sterna_status status =
            st_fail(error, STERNA_E_IO, "%s: cannot open for writing: %s", path, strerror(errno));
        st_free(w->path);
        st_free(w);
        return status;
    }
    if (alignment != ST_GGUF_ALIGNMENT)
        st_gguf_put_u32(w, "general.alignment", alignment);
    *writer = w;
    return STERNA_OK;
}

/* Only a regular file: a device or a pipe is not ours to remove. */
static void remove_incomplete(const char *path)
{
    struct stat facts;
    if (stat(path, &facts) == 0 && S_ISREG(facts.st_mode))
        remove(path);
}

bool st_gguf_writer_failed(const st_gguf_writer *w)
{
    return failed(w);
}

sterna_status st_gguf_writer_close(st_gguf_writer **writer, sterna_error *error)
{
    st_gguf_writer *w = *writer;
    if (!w)
        return STERNA_OK;
    if (!w->writing && !failed(w))
        write_directory(w);
    if (!failed(w) && w->at_tensor != w->n_tensor)
        st_fail(&w->error, STERNA_E_ARGUMENT,
                "%s: tensor %" PRIu64 " of %" PRIu64 " has %zu of its %zu bytes at the end", w->path,
                w->at_tensor, w->n_tensor, w->at_byte, w->tensor_bytes[w->at_tensor]);
    if (fclose(w->file) != 0 && !failed(w))
        st_fail(&w->error, STERNA_E_IO, "%s: cannot write the last bytes: %s", w->path, strerror(errno));
    if (failed(w))
        remove_incomplete(w->path);
    sterna_status status = w->error.status;
    if (status && error)
        *error = w->error;
    st_free(w->path);
    st_free(w->kv.data);
    st_free(w->info.data);
    st_free(w->tensor_bytes);
    st_free(w);
    *writer = NULL;
    return status;
}
