#define _DEFAULT_SOURCE /* madvise: posix_madvise does not drop pages */
#include "host/model/gguf.h"
#include "host/model/gguf_place.h"

#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

#if defined(__BYTE_ORDER__) && __BYTE_ORDER__ != __ORDER_LITTLE_ENDIAN__
#error "GGUF data is used in place and needs a little-endian machine"
#endif

enum {
    MIN_KV_BYTES = 8 + 1 + 4 + 1,             /* key of one byte, type, one byte of value */
    MIN_TENSOR_BYTES = 8 + 1 + 4 + 8 + 4 + 8, /* name of one byte, one dimension, type, offset */
    CONTEXT = 320                             /* bytes of "tensor 'name' at byte n" with a long key */
};

struct st_gguf {
    char label[ST_GGUF_LABEL];
    const unsigned char *base;
    size_t size;
    void *mapping; /* NULL when the memory is the caller's */
    uint32_t version;
    size_t alignment;
    int n_kv, n_tensor;
    st_gguf_kv *kv;
    st_gguf_tensor *tensor;
    const st_gguf_kv **kv_by_key; /* sorted */
    const st_gguf_tensor **tensor_by_name;
    char *text; /* NUL-terminated keys and names */
    size_t text_used;
};

/* Position in the file while it is parsed. */
typedef struct reader {
    st_gguf *g;
    size_t at;
    char context[CONTEXT]; /* what is being read */
    sterna_error *error;
} reader;

/* ---- primitives ---- */

static sterna_status truncated(const reader *r, const char *what, uint64_t need)
{
    return st_fail(r->error, STERNA_E_FORMAT,
                   "%s: %s: the file ends in its %s: %" PRIu64 " bytes needed at byte %zu, %zu left",
                   r->g->label, r->context, what, need, r->at, r->g->size - r->at);
}

static sterna_status take(reader *r, void *dst, size_t bytes, const char *what)
{
    if (bytes > r->g->size - r->at)
        return truncated(r, what, bytes);
    memcpy(dst, r->g->base + r->at, bytes);
    r->at += bytes;
    return STERNA_OK;
}

static sterna_status take_string(reader *r, uint64_t max, const char *what, st_gguf_string *out)
{
    uint64_t length = 0;
    size_t start = r->at;
    sterna_status status = take(r, &length, sizeof length, what);
    if (status)
        return status;
    if (length > max) {
        return st_fail(r->error, STERNA_E_LIMIT,
                       "%s: %s: %s at byte %zu has %" PRIu64 " bytes, at most %" PRIu64 " are allowed",
                       r->g->label, r->context, what, start, length, max);
    }
    if (length > r->g->size - r->at)
        return truncated(r, what, length);
    *out = (st_gguf_string){(const char *)r->g->base + r->at, (size_t)length};
    r->at += (size_t)length;
    return STERNA_OK;
}

/* A key or tensor name: limited, not empty, printable; copied and terminated. */
static sterna_status take_name(reader *r, uint64_t max, const char *what, const char **out)
{
    size_t start = r->at;
    st_gguf_string raw = {"", 0};
    sterna_status status = take_string(r, max, what, &raw);
    if (status)
        return status;
    if (raw.length == 0)
        return st_fail(r->error, STERNA_E_FORMAT, "%s: %s: %s at byte %zu is empty", r->g->label, r->context,
                       what, start);
    for (size_t i = 0; i < raw.length; i++) {
        unsigned char c = (unsigned char)raw.data[i];
        if (c < 0x20 || c == 0x7f)
            return st_fail(r->error, STERNA_E_FORMAT, "%s: %s: %s at byte %zu contains control byte 0x%02x",
                           r->g->label, r->context, what, start, c);
    }
    char *copy = r->g->text + r->g->text_used;
    memcpy(copy, raw.data, raw.length);
    copy[raw.length] = '\0';
    r->g->text_used += raw.length + 1;
    *out = copy;
    return STERNA_OK;
}

/* ---- header ---- */

static sterna_status read_header(reader *r, uint64_t *n_tensor, uint64_t *n_kv)
{
    st_gguf *g = r->g;
    unsigned char magic[4];
    snprintf(r->context, CONTEXT, "header");
    sterna_status status = take(r, magic, sizeof magic, "magic");
    if (status)
        return status;
    if (memcmp(magic, "GGUF", 4) != 0)
        return st_fail(r->error, STERNA_E_FORMAT,
                       "%s: not a GGUF file: begins with bytes %02x %02x %02x %02x instead of \"GGUF\"",
                       g->label, magic[0], magic[1], magic[2], magic[3]);
    if ((status = take(r, &g->version, sizeof g->version, "version")))
        return status;
    if ((g->version & 0xffff) == 0 && g->version != 0)
        return st_fail(r->error, STERNA_E_UNSUPPORTED,
                       "%s: big-endian GGUF (version reads as 0x%08" PRIx32 "); convert it to little-endian",
                       g->label, g->version);
    if (g->version != 2 && g->version != 3)
        return st_fail(r->error, STERNA_E_UNSUPPORTED,
                       "%s: GGUF version %" PRIu32 ", but 2 and 3 are supported", g->label, g->version);
    if ((status = take(r, n_tensor, sizeof *n_tensor, "tensor count")) ||
        (status = take(r, n_kv, sizeof *n_kv, "metadata count")))
        return status;
    if (*n_tensor > ST_GGUF_MAX_TENSOR || *n_kv > ST_GGUF_MAX_KV)
        return st_fail(r->error, STERNA_E_LIMIT,
                       "%s: header: %" PRIu64 " tensors and %" PRIu64
                       " metadata entries, at most %d and %d are "
                       "allowed",
                       g->label, *n_tensor, *n_kv, ST_GGUF_MAX_TENSOR, ST_GGUF_MAX_KV);
    uint64_t need = *n_tensor * MIN_TENSOR_BYTES + *n_kv * MIN_KV_BYTES;
    if (need > g->size - r->at)
        return st_fail(r->error, STERNA_E_FORMAT,
                       "%s: header: %" PRIu64 " tensors and %" PRIu64
                       " metadata entries need at least %" PRIu64 " bytes, %zu are left",
                       g->label, *n_tensor, *n_kv, need, g->size - r->at);
    return STERNA_OK;
}

static sterna_status allocate(reader *r, uint64_t n_tensor, uint64_t n_kv)
{
    st_gguf *g = r->g;
    g->kv = st_calloc((size_t)n_kv + 1, sizeof *g->kv);
    g->tensor = st_calloc((size_t)n_tensor + 1, sizeof *g->tensor);
    g->kv_by_key = st_calloc((size_t)n_kv + 1, sizeof *g->kv_by_key);
    g->tensor_by_name = st_calloc((size_t)n_tensor + 1, sizeof *g->tensor_by_name);
    g->text = st_alloc((size_t)n_kv * (ST_GGUF_MAX_KEY + 1) + (size_t)n_tensor * (ST_GGUF_MAX_NAME + 1) + 1);
    if (!g->kv || !g->tensor || !g->kv_by_key || !g->tensor_by_name || !g->text)
        return st_fail(r->error, STERNA_E_MEMORY,
                       "%s: out of memory for the directory of %" PRIu64 " tensors and %" PRIu64
                       " metadata entries",
                       g->label, n_tensor, n_kv);
    return STERNA_OK;
}

/* ---- metadata ---- */

static sterna_status check_bools(const reader *r, const unsigned char *data, size_t count)
{
    for (size_t i = 0; i < count; i++)
        if (data[i] > 1)
            return st_fail(r->error, STERNA_E_FORMAT, "%s: %s: bool %zu at byte %zu is %u, not 0 or 1",
                           r->g->label, r->context, i, (size_t)(data - r->g->base) + i, data[i]);
    return STERNA_OK;
}

static sterna_status read_array(reader *r, st_gguf_array *array)
{
    uint32_t type = 0;
    uint64_t count = 0;
    size_t start = r->at;
    sterna_status status;
    if ((status = take(r, &type, sizeof type, "element type")) ||
        (status = take(r, &count, sizeof count, "element count")))
        return status;
    if (type >= ST_GGUF_TYPE_COUNT || type == ST_GGUF_ARRAY)
        return st_fail(r->error, STERNA_E_FORMAT,
                       "%s: %s: element type %" PRIu32 " at byte %zu (arrays hold types 0 to 12 except 9)",
                       r->g->label, r->context, type, start);
    if (count > ST_GGUF_MAX_ARRAY)
        return st_fail(r->error, STERNA_E_LIMIT,
                       "%s: %s: %" PRIu64 " elements at byte %zu, at most %d are allowed", r->g->label,
                       r->context, count, start, ST_GGUF_MAX_ARRAY);
    *array = (st_gguf_array){.type = (st_gguf_type)type, .count = (size_t)count, .data = r->g->base + r->at};
    if (type == ST_GGUF_STRING) {
        for (uint64_t i = 0; i < count; i++) {
            st_gguf_string string;
            if ((status = take_string(r, ST_GGUF_MAX_STRING, "string element", &string)))
                return status;
        }
    } else {
        size_t bytes = (size_t)count * st_gguf_type_size((st_gguf_type)type); /* < 2^27: no overflow */
        if (bytes > r->g->size - r->at)
            return truncated(r, "elements", bytes);
        r->at += bytes;
        if (type == ST_GGUF_BOOL && (status = check_bools(r, array->data, array->count)))
            return status;
    }
    array->end = r->g->base + r->at;
    return STERNA_OK;
}

static sterna_status read_kv(reader *r, int index)
{
    st_gguf_kv *kv = &r->g->kv[index];
    sterna_status status;
    snprintf(r->context, CONTEXT, "metadata entry %d", index);
    size_t start = r->at;
    if ((status = take_name(r, ST_GGUF_MAX_KEY, "key", &kv->key)))
        return status;
    snprintf(r->context, CONTEXT, "key '%s'", kv->key);
    uint32_t type = 0;
    if ((status = take(r, &type, sizeof type, "value type")))
        return status;
    if (type >= ST_GGUF_TYPE_COUNT)
        return st_fail(r->error, STERNA_E_FORMAT,
                       "%s: key '%s' at byte %zu: unknown value type %" PRIu32 " (known: 0 to 12)",
                       r->g->label, kv->key, start, type);
    kv->type = (st_gguf_type)type;
    kv->data = r->g->base + r->at;
    if (kv->type == ST_GGUF_STRING)
        return take_string(r, ST_GGUF_MAX_STRING, "value", &kv->u.string);
    if (kv->type == ST_GGUF_ARRAY) {
        status = read_array(r, &kv->u.array);
        kv->data = kv->u.array.data;
        return status;
    }
    size_t bytes = st_gguf_type_size(kv->type);
    if (bytes > r->g->size - r->at)
        return truncated(r, "value", bytes);
    r->at += bytes;
    return kv->type == ST_GGUF_BOOL ? check_bools(r, kv->data, 1) : STERNA_OK;
}

static int compare_keys(const void *a, const void *b)
{
    const st_gguf_kv *const *x = a, *const *y = b;
    return strcmp((*x)->key, (*y)->key);
}

static sterna_status read_metadata(reader *r, int n_kv)
{
    st_gguf *g = r->g;
    for (int i = 0; i < n_kv; i++) {
        sterna_status status = read_kv(r, i);
        if (status)
            return status;
        g->kv_by_key[i] = &g->kv[i];
    }
    g->n_kv = n_kv;
    if (n_kv > 0)
        qsort(g->kv_by_key, (size_t)n_kv, sizeof *g->kv_by_key, compare_keys);
    for (int i = 1; i < n_kv; i++)
        if (strcmp(g->kv_by_key[i - 1]->key, g->kv_by_key[i]->key) == 0)
            return st_fail(r->error, STERNA_E_FORMAT,
                           "%s: key '%s' occurs twice (values at bytes %zu and %zu)", g->label,
                           g->kv_by_key[i]->key, (size_t)(g->kv_by_key[i - 1]->data - g->base),
                           (size_t)(g->kv_by_key[i]->data - g->base));
    return STERNA_OK;
}

/* Keys that decide how the rest of the file is read. */
static sterna_status read_layout_keys(reader *r)
{
    st_gguf *g = r->g;
    g->alignment = ST_GGUF_ALIGNMENT;
    if (st_gguf_find(g, "general.alignment")) {
        uint32_t alignment;
        sterna_status status =
            st_gguf_get_u32(g, "general.alignment", 1, ST_GGUF_MAX_ALIGNMENT, &alignment, r->error);
        if (status)
            return status;
        if (alignment & (alignment - 1))
            return st_fail(r->error, STERNA_E_FORMAT,
                           "%s: key 'general.alignment' is %" PRIu32 ", not a power of two", g->label,
                           alignment);
        g->alignment = alignment;
    }
    if (st_gguf_find(g, "split.count")) {
        uint32_t count, part = 0;
        sterna_status status = st_gguf_get_u32(g, "split.count", 0, UINT16_MAX, &count, r->error);
        if (!status && count > 1 && st_gguf_find(g, "split.no"))
            status = st_gguf_get_u32(g, "split.no", 0, UINT16_MAX, &part, r->error);
        if (status)
            return status;
        if (count > 1)
            return st_fail(r->error, STERNA_E_UNSUPPORTED,
                           "%s: part %" PRIu32 " of a model split into %" PRIu32
                           " files; join the parts into one file first (llama-gguf-split --merge)",
                           g->label, part + 1, count);
    }
    return STERNA_OK;
}

/* ---- tensor directory ---- */

static sterna_status read_shape(reader *r, st_gguf_tensor *t)
{
    uint32_t n_dim = 0;
    size_t start = r->at;
    sterna_status status = take(r, &n_dim, sizeof n_dim, "number of dimensions");
    if (status)
        return status;
    if (n_dim < 1 || n_dim > 4)
        return st_fail(r->error, STERNA_E_FORMAT,
                       "%s: %s: %" PRIu32 " dimensions at byte %zu (allowed: 1 to 4)", r->g->label,
                       r->context, n_dim, start);
    t->n_dim = (int32_t)n_dim;
    t->n_element = 1;
    for (int d = 0; d < 4; d++)
        t->shape[d] = 1;
    for (uint32_t d = 0; d < n_dim; d++) {
        uint64_t length = 0;
        start = r->at;
        if ((status = take(r, &length, sizeof length, "shape")))
            return status;
        if (length < 1 || length > (uint64_t)INT64_MAX / (uint64_t)t->n_element)
            return st_fail(r->error, STERNA_E_FORMAT,
                           "%s: %s: dimension %" PRIu32 " at byte %zu is %" PRIu64
                           ", which makes the tensor empty or too large",
                           r->g->label, r->context, d, start, length);
        t->shape[d] = (int64_t)length;
        t->n_element *= (int64_t)length;
    }
    return STERNA_OK;
}

/* Leaves the offset relative to the data section and the first reading of the type number. */
static sterna_status read_tensor_info(reader *r, int index)
{
    st_gguf_tensor *t = &r->g->tensor[index];
    sterna_status status;
    snprintf(r->context, CONTEXT, "tensor %d", index);
    size_t start = r->at;
    if ((status = take_name(r, ST_GGUF_MAX_NAME, "name", &t->name)))
        return status;
    snprintf(r->context, CONTEXT, "tensor '%s' (described at byte %zu)", t->name, start);
    uint32_t type_id = 0;
    if ((status = read_shape(r, t)) || (status = take(r, &type_id, sizeof type_id, "type")) ||
        (status = take(r, &t->offset, sizeof t->offset, "offset")))
        return status;
    t->encoding = st_encoding_candidate(type_id, 0);
    if (!t->encoding) {
        const char *fork = st_encoding_fork(type_id);
        return st_fail(r->error, STERNA_E_UNSUPPORTED,
                       "%s: tensor '%s': unknown type number %" PRIu32 " (%s)", r->g->label, t->name, type_id,
                       fork ? fork : "a newer ggml or an unknown fork");
    }
    if (t->offset % r->g->alignment != 0)
        return st_fail(r->error, STERNA_E_FORMAT,
                       "%s: tensor '%s': offset %" PRIu64 " is not a multiple of the alignment %zu",
                       r->g->label, t->name, t->offset, r->g->alignment);
    return STERNA_OK;
}

static int compare_names(const void *a, const void *b)
{
    const st_gguf_tensor *const *x = a, *const *y = b;
    return strcmp((*x)->name, (*y)->name);
}

static sterna_status read_directory(reader *r, int n_tensor)
{
    st_gguf *g = r->g;
    for (int i = 0; i < n_tensor; i++) {
        sterna_status status = read_tensor_info(r, i);
        if (status)
            return status;
        g->tensor_by_name[i] = &g->tensor[i];
    }
    g->n_tensor = n_tensor;
    if (n_tensor > 0)
        qsort(g->tensor_by_name, (size_t)n_tensor, sizeof *g->tensor_by_name, compare_names);
    for (int i = 1; i < n_tensor; i++)
        if (strcmp(g->tensor_by_name[i - 1]->name, g->tensor_by_name[i]->name) == 0)
            return st_fail(r->error, STERNA_E_FORMAT, "%s: two tensors have the name '%s'", g->label,
                           g->tensor_by_name[i]->name);
    return STERNA_OK;
}

static sterna_status parse(reader *r)
{
    uint64_t n_tensor = 0, n_kv = 0;
    sterna_status status;
    if ((status = read_header(r, &n_tensor, &n_kv)) || (status = allocate(r, n_tensor, n_kv)) ||
        (status = read_metadata(r, (int)n_kv)) || (status = read_layout_keys(r)) ||
        (status = read_directory(r, (int)n_tensor)))
        return status;
    size_t data = st_align_up(r->at, r->g->alignment);
    if (n_tensor > 0 && data > r->g->size)
        return st_fail(r->error, STERNA_E_FORMAT,
                       "%s: the file ends at byte %zu, before its data section at byte %zu", r->g->label,
                       r->g->size, data);
    st_gguf_region region = {r->g->label, r->g->base, r->g->size, data, r->g->alignment};
    return st_gguf_place(&region, r->g->tensor, r->g->n_tensor, r->error);
}

/* ---- open and close ---- */

/* Keeps the end of a long path, so that messages keep their reason. */
static void shorten(const char *path, char label[ST_GGUF_LABEL])
{
    size_t length = strlen(path);
    if (length < ST_GGUF_LABEL)
        memcpy(label, path, length + 1);
    else
        snprintf(label, ST_GGUF_LABEL, "...%s", path + length - (ST_GGUF_LABEL - 4));
}

sterna_status st_gguf_open_memory(const char *label, const void *data, size_t size, st_gguf **gguf,
                                  sterna_error *error)
{
    *gguf = NULL;
    st_gguf *g = st_calloc(1, sizeof *g);
    if (!g)
        return st_fail(error, STERNA_E_MEMORY, "out of memory for a model's directory");
    shorten(label, g->label);
    g->base = data;
    g->size = size;
    reader r = {.g = g, .error = error};
    sterna_status status = parse(&r);
    if (status) {
        st_gguf_close(&g);
        return status;
    }
    *gguf = g;
    return STERNA_OK;
}

/* The file's size and contents, or why not. */
static sterna_status map_file(const char *path, void **mapping, size_t *size, sterna_error *error)
{
    char label[ST_GGUF_LABEL];
    shorten(path, label);
    int file = open(path, O_RDONLY | O_CLOEXEC | O_NONBLOCK); /* a pipe must not block before it is refused */
    if (file < 0)
        return st_fail(error, STERNA_E_IO, "%s: cannot open: %s", label, strerror(errno));
    struct stat facts;
    sterna_status status = STERNA_OK;
    if (fstat(file, &facts) != 0)
        status = st_fail(error, STERNA_E_IO, "%s: cannot stat: %s", label, strerror(errno));
    else if (!S_ISREG(facts.st_mode))
        status = st_fail(error, STERNA_E_IO, "%s: not a regular file", label);
    else if (facts.st_size == 0)
        status = st_fail(error, STERNA_E_FORMAT, "%s: the file is empty", label);
    else if ((uintmax_t)facts.st_size > SIZE_MAX)
        status = st_fail(error, STERNA_E_LIMIT, "%s: %jd bytes do not fit the address space", label,
                         (intmax_t)facts.st_size);
    if (!status) {
        *size = (size_t)facts.st_size;
        *mapping = mmap(NULL, *size, PROT_READ, MAP_PRIVATE, file, 0);
        if (*mapping == MAP_FAILED)
            status =
                st_fail(error, STERNA_E_IO, "%s: cannot map %zu bytes: %s", label, *size, strerror(errno));
    }
    close(file);
    return status;
}

sterna_status st_gguf_open(const char *path, st_gguf **gguf, sterna_error *error)
{
    *gguf = NULL;
    void *mapping = NULL;
    size_t size = 0;
    sterna_status status = map_file(path, &mapping, &size, error);
    if (status)
        return status;
    status = st_gguf_open_memory(path, mapping, size, gguf, error);
    if (status)
        munmap(mapping, size);
    else
        (*gguf)->mapping = mapping;
    return status;
}

void st_gguf_drop(const st_gguf *g, const st_gguf_tensor *tensor)
{
    long page = sysconf(_SC_PAGESIZE);
    if (!g->mapping || page <= 0)
        return;
    uintptr_t unit = (uintptr_t)page, base = (uintptr_t)g->mapping;
    uintptr_t first = ((uintptr_t)tensor->offset + unit - 1) / unit * unit;
    uintptr_t end = ((uintptr_t)tensor->offset + tensor->bytes) / unit * unit;
    if (first < end)
        madvise((void *)(base + first), end - first, MADV_DONTNEED);
}

void st_gguf_close(st_gguf **gguf)
{
    st_gguf *g = *gguf;
    if (!g)
        return;
    if (g->mapping)
        munmap(g->mapping, g->size);
    st_free(g->kv);
    st_free(g->tensor);
    st_free(g->kv_by_key);
    st_free(g->tensor_by_name);
    st_free(g->text);
    st_free(g);
    *gguf = NULL;
}

/* ---- access ---- */

const char *st_gguf_label(const st_gguf *gguf)
{
    return gguf->label;
}

size_t st_gguf_bytes(const st_gguf *gguf)
{
    return gguf->size;
}

int st_gguf_kv_count(const st_gguf *gguf)
{
    return gguf->n_kv;
}

const st_gguf_kv *st_gguf_kv_at(const st_gguf *gguf, int index)
{
    assert(index >= 0 && index < gguf->n_kv);
    return &gguf->kv[index];
}

int st_gguf_tensor_count(const st_gguf *gguf)
{
    return gguf->n_tensor;
}

const st_gguf_tensor *st_gguf_tensor_at(const st_gguf *gguf, int index)
{
    assert(index >= 0 && index < gguf->n_tensor);
    return &gguf->tensor[index];
}

const st_gguf_kv *st_gguf_find(const st_gguf *gguf, const char *key)
{
    st_gguf_kv wanted = {.key = key};
    const st_gguf_kv *pointer = &wanted;
    const st_gguf_kv **found =
        gguf->n_kv ? bsearch(&pointer, gguf->kv_by_key, (size_t)gguf->n_kv, sizeof pointer, compare_keys)
                   : NULL;
    return found ? *found : NULL;
}

const st_gguf_tensor *st_gguf_find_tensor(const st_gguf *gguf, const char *name)
{
    st_gguf_tensor wanted = {.name = name};
    const st_gguf_tensor *pointer = &wanted;
    const st_gguf_tensor **found =
        gguf->n_tensor
            ? bsearch(&pointer, gguf->tensor_by_name, (size_t)gguf->n_tensor, sizeof pointer, compare_names)
            : NULL;
    return found ? *found : NULL;
}
