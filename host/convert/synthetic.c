#include "host/convert/synthetic.h"

#include "host/base/numerics.h"
#include "host/model/gguf_write.h"
#include "host/model/roles.h"
#include "host/model/ternary_encode.h"

#include <inttypes.h>
#include <stdio.h>

enum {
    QUADS = 81,     /* four ternary digits */
    NORMALS = 4096, /* quantiles of the normal distribution that dense weights are drawn from */
    CHUNK = 1 << 16 /* dense values encoded at a time */
};
#define NORM_SPREAD 0.25f /* standard deviation of norm weights, around 1 */

/* ---- shapes ---- */

/* Of published models; "tiny" is for tests. */
/* clang-format off */
static const st_synthetic shapes[] = {
    /*                              vocab context  embd layers heads width     ff   rope base   tied */
    {"tiny",        "bitnet-b1.58",    512,    512,   256,  2,  4,  2,  64,    512,       1e4f, true,  "I2_S", "F16", 1},
    {"trilm-99m",   "llama",         50432,   2048,   512, 16,  8,  8,  64,   1280,       1e4f, false, "I2_S", "F16", 1},
    {"trilm-390m",  "llama",         50432,   2048,  1024, 24, 16, 16,  64,   2560,       1e4f, false, "I2_S", "F16", 1},
    {"bitnet-0.7b", "bitnet",        32002,   2048,  1536, 24, 16, 16,  96,   4096,       1e4f, true,  "I2_S", "F16", 1},
    {"trilm-1.1b",  "llama",         50432,   2048,  1792, 24, 28, 28,  64,   5120,       1e4f, false, "I2_S", "F16", 1},
    {"falcon3-1b",  "llama",        131072,   8192,  2048, 18,  8,  4, 256,   8192, 1000042.0f, false, "I2_S", "F16", 1},
    {"bitnet-2b",   "bitnet-b1.58", 128256,   4096,  2560, 30, 20,  5, 128,   6912,       5e5f, true,  "I2_S", "F16", 1},
    {"falcon3-3b",  "llama",        131072,  32768,  3072, 22, 12,  4, 256,   9216, 1000042.0f, false, "I2_S", "F16", 1},
    {"bitnet-3b",   "bitnet",        32002,   2048,  3200, 26, 32, 32, 100,   8640,       1e4f, true,  "I2_S", "F16", 1},
    {"trilm-3.9b",  "llama",         50432,   2048,  3072, 30, 24, 24, 128,   9216,       1e4f, false, "I2_S", "F16", 1},
    {"falcon3-7b",  "llama",        131072,  32768,  3072, 28, 12,  4, 256,  23040, 1000042.0f, false, "I2_S", "F16", 1},
    {"llama3-8b",   "llama",        128256,   8192,  4096, 32, 32,  8, 128,  14336,       5e5f, false, "I2_S", "F16", 1},
    {"falcon3-10b", "llama",        131072,  32768,  3072, 40, 12,  4, 256,  23040, 1000042.0f, false, "I2_S", "F16", 1},
};
/* clang-format on */

const st_synthetic *st_synthetic_shape(int index)
{
    int n = (int)(sizeof shapes / sizeof shapes[0]);
    return index >= 0 && index < n ? &shapes[index] : NULL;
}

const st_synthetic *st_synthetic_find(const char *name)
{
    for (int i = 0; st_synthetic_shape(i); i++)
        if (strcmp(shapes[i].name, name) == 0)
            return &shapes[i];
    return NULL;
}

/* ---- random weights ---- */

typedef struct build {
    const st_synthetic *model;
    const st_encoding_info *matrix, *embedding;
    st_gguf_writer *writer;
    uint64_t random;
    bool filling, stopped; /* stopped: by the progress callback or a failure */
    uint64_t done, total;  /* bytes of tensors */
    sterna_progress_fn progress;
    void *user;
    sterna_error *error;
    uint32_t quad[QUADS]; /* four codes, one to a byte */
    float normal[NORMALS];
    uint8_t *code; /* of the largest ternary matrix */
    float *scale;
    unsigned char *bytes;         /* the same, encoded; also chunks of dense ones */
    float chunk[CHUNK];           /* dense values */
    size_t max_code, max_encoded; /* what the pointers need */
    int32_t max_rows;
} build;

/* splitmix64 */
static uint64_t next_random(build *b)
{
    uint64_t z = b->random += UINT64_C(0x9e3779b97f4a7c15);
    z = (z ^ z >> 30) * UINT64_C(0xbf58476d1ce4e5b9);
    z = (z ^ z >> 27) * UINT64_C(0x94d049bb133111eb);
    return z ^ z >> 31;
}

/* The tables that make a draw cheap: 16 bits give four codes, 12 bits a normal value. */
static void fill_tables(build *b)
{
    for (uint32_t i = 0; i < QUADS; i++) {
        uint8_t code[4] = {(uint8_t)(i % 3), (uint8_t)(i / 3 % 3), (uint8_t)(i / 9 % 3), (uint8_t)(i / 27)};
        memcpy(&b->quad[i], code, sizeof code);
    }
    /* quantiles by bisection of the distribution function */
    for (int i = 0; i < NORMALS / 2; i++) {
        double low = 0.0, high = 6.0, p = 0.5 + (i + 0.5) / NORMALS;
        for (int step = 0; step < 40; step++) {
            double middle = 0.5 * (low + high);
            if (0.5 * erfc(-middle / sqrt(2.0)) < p)
                low = middle;
            else
                high = middle;
        }
        b->normal[NORMALS / 2 + i] = (float)low;
        b->normal[NORMALS / 2 - 1 - i] = (float)-low;
    }
}

/* n % 16 == 0, as of every encoding's block */
static void random_codes(build *b, uint8_t *code, size_t n)
{
    for (size_t i = 0; i < n; i += 16) {
        uint64_t draw = next_random(b);
        for (int j = 0; j < 4; j++, draw >>= 16)
            memcpy(code + i + 4 * j, &b->quad[(draw & 0xffff) * QUADS >> 16], 4);
    }
}

static void random_normals(build *b, float *value, size_t n, float spread)
{
    for (size_t i = 0; i < n;) {
        uint64_t draw = next_random(b);
        for (int j = 0; j < 5 && i < n; j++, i++, draw >>= 12)
            value[i] = b->normal[draw % NORMALS] * spread;
    }
}

/* ---- tensors: described in a first pass, which also finds the largest, and filled in a second one ---- */

static void put(build *b, const void *data, size_t bytes)
{
    st_gguf_put_data(b->writer, data, bytes);
    b->done += bytes;
    if (st_gguf_writer_failed(b->writer) || (b->progress && !b->progress(b->user, b->done, b->total)))
        b->stopped = true;
}

static void fill_ternary(build *b, int32_t rows, int32_t cols, size_t bytes)
{
    size_t n = (size_t)rows * (size_t)cols;
    /* products of unit inputs have about unit size; exact in f16, so that every encoding holds the same
     * weights */
    float scale = st_f16_to_f32(st_f32_to_f16(sqrtf(1.5f / (float)cols)));
    random_codes(b, b->code, n);
    for (int32_t row = 0; row < rows; row++)
        b->scale[row] = scale;
    st_codes codes = {b->code, rows, cols, 0, b->scale};
    sterna_status status = st_ternary_encode(b->matrix->encoding, &codes, b->bytes, b->model->name, b->error);
    assert(status == STERNA_OK); /* shapes were checked when they were described */
    (void)status;
    put(b, b->bytes, bytes);
}

/* `value` as `e` into b->bytes; returns their number. */
static size_t encode_dense(build *b, const st_encoding_info *e, const float *value, size_t n)
{
    unsigned char *dst = b->bytes;
    if (e->encoding == ST_ENC_Q8_0) {
        st_q8_0_encode(value, (int64_t)n, dst);
        return n / e->block * e->bytes;
    }
    if (e->encoding == ST_ENC_F32) {
        memcpy(dst, value, n * sizeof *value);
        return n * sizeof *value;
    }
    for (size_t i = 0; i < n; i++) {
        uint16_t half =
            e->encoding == ST_ENC_F16 ? st_f32_to_f16(value[i]) : (uint16_t)(st_bits(value[i]) >> 16);
        memcpy(dst + 2 * i, &half, sizeof half);
    }
    return 2 * n;
}

static void fill_dense(build *b, const st_encoding_info *e, size_t n, float centre, float spread)
{
    while (n > 0 && !b->stopped) {
        size_t piece = n < CHUNK ? n : CHUNK;
        random_normals(b, b->chunk, piece, spread);
        for (size_t i = 0; i < piece && centre != 0.0f; i++)
            b->chunk[i] += centre;
        put(b, b->bytes, encode_dense(b, e, b->chunk, piece));
        n -= piece;
    }
}

static void describe(build *b, const char *name, const st_encoding_info *e, int32_t rows, int32_t cols,
                     bool vector)
{
    int64_t shape[2] = {cols, rows};
    size_t n = (size_t)rows * (size_t)cols, bytes;
    st_gguf_put_tensor(b->writer, name, e, vector ? 1 : 2, shape);
    if (!st_encoding_bytes(e, cols, (int64_t)n, &bytes))
        return; /* the writer remembers and says why */
    b->total += bytes;
    if (!e->ternary)
        return;
    b->max_code = n > b->max_code ? n : b->max_code;
    b->max_encoded = bytes > b->max_encoded ? bytes : b->max_encoded;
    b->max_rows = rows > b->max_rows ? rows : b->max_rows;
}

static void tensor(build *b, const st_config *config, st_role role, int32_t layer)
{
    char name[ST_MAX_NAME];
    int32_t rows, cols;
    bool vector = st_role_is_vector(role);
    const st_encoding_info *e = vector                     ? st_encoding_get(ST_ENC_F32)
                                : st_role_is_ternary(role) ? b->matrix
                                                           : b->embedding;
    st_role_shape(config, role, &rows, &cols);
    st_role_tensor_name(role, layer, name);
    size_t n = (size_t)rows * (size_t)cols, bytes;
    if (!b->filling)
        describe(b, name, e, rows, cols, vector);
    else if (b->stopped)
        return;
    else if (e->ternary && st_encoding_bytes(e, cols, (int64_t)n, &bytes))
        fill_ternary(b, rows, cols, bytes);
    else if (vector)
        fill_dense(b, e, n, 1.0f, NORM_SPREAD);
    else
        fill_dense(b, e, n, 0.0f, 1.0f / sqrtf((float)cols));
}

static void all_tensors(build *b, const st_arch *arch)
{
    const st_synthetic *m = b->model;
    st_config config = {.n_vocab = m->n_vocab,
                        .n_embd = m->n_embd,
                        .n_head = m->n_head,
                        .n_kv_head = m->n_kv_head,
                        .head_dim = m->head_dim,
                        .n_ff = m->n_ff,
                        .n_rot = m->head_dim};
    for (int32_t layer = 0; layer < m->n_layer; layer++)
        for (int r = 0; r < ST_ROLE_COUNT; r++) {
            st_role role = (st_role)r;
            bool wanted = st_role_is_required(arch, role) || (role == ST_ROLE_OUTPUT && !m->tied);
            if (wanted && (layer == 0 || !st_role_is_global(role)))
                tensor(b, &config, role, layer);
        }
}

/* ---- metadata ---- */

static void put_count(build *b, const char *suffix, int32_t value)
{
    char key[96];
    snprintf(key, sizeof key, "%s.%s", b->model->arch, suffix);
    st_gguf_put_u32(b->writer, key, (uint32_t)value);
}

static void put_real(build *b, const char *suffix, float value)
{
    char key[96];
    snprintf(key, sizeof key, "%s.%s", b->model->arch, suffix);
    st_gguf_put_f32(b->writer, key, value);
}

static void metadata(build *b)
{
    const st_synthetic *m = b->model;
    char name[128];
    snprintf(name, sizeof name, "%s (random weights, seed %" PRIu64 ")", m->name, m->seed);
    st_gguf_put_string(b->writer, "general.architecture", m->arch);
    st_gguf_put_string(b->writer, "general.name", name);
    put_count(b, "vocab_size", m->n_vocab);
    put_count(b, "context_length", m->n_context);
    put_count(b, "embedding_length", m->n_embd);
    put_count(b, "block_count", m->n_layer);
    put_count(b, "feed_forward_length", m->n_ff);
    put_count(b, "attention.head_count", m->n_head);
    put_count(b, "attention.head_count_kv", m->n_kv_head);
    put_count(b, "attention.key_length", m->head_dim);
    put_count(b, "attention.value_length", m->head_dim);
    put_count(b, "rope.dimension_count", m->head_dim);
    put_real(b, "rope.freq_base", m->rope_base);
    put_real(b, "attention.layer_norm_rms_epsilon", 1e-5f);
}

/* ---- the whole file ---- */

/* The encoding called `name`, if it may stand there. */
static sterna_status find_encoding(const char *name, bool ternary, const st_encoding_info **found,
                                   sterna_error *error)
{
    for (int i = 0; i < ST_ENC_DECODED; i++) {
        *found = st_encoding_get((st_encoding)i);
        if ((*found)->ternary == ternary && strcmp((*found)->name, name) == 0)
            return STERNA_OK;
    }
    return st_fail(error, STERNA_E_ARGUMENT, "%s encoding '%s' is not %s", ternary ? "matrix" : "embedding",
                   name, ternary ? "I2_S, TQ2_0 or TQ1_0" : "F16, Q8_0, BF16 or F32");
}

static sterna_status allocate(build *b)
{
    size_t dense = CHUNK * sizeof *b->chunk;
    size_t bytes = b->max_encoded > dense ? b->max_encoded : dense;
    b->code = st_alloc(b->max_code);
    b->scale = st_calloc((size_t)b->max_rows, sizeof *b->scale);
    b->bytes = st_alloc(bytes);
    if (b->code && b->scale && b->bytes)
        return STERNA_OK;
    return st_fail(b->error, STERNA_E_MEMORY, "out of memory for a matrix of %zu weights", b->max_code);
}

static sterna_status write_with(build *b, const st_arch *arch, const char *path)
{
    sterna_status status = st_gguf_writer_open(path, ST_GGUF_ALIGNMENT, &b->writer, b->error);
    if (status)
        return status;
    metadata(b);
    all_tensors(b, arch);
    b->filling = true;
    bool described = !st_gguf_writer_failed(b->writer);
    if (described)
        status = allocate(b);
    if (described && status == STERNA_OK)
        all_tensors(b, arch);
    if (b->stopped && status == STERNA_OK && !st_gguf_writer_failed(b->writer))
        status = st_fail(b->error, STERNA_E_ABORTED, "%s: stopped after %" PRIu64 " of %" PRIu64 " bytes",
                         path, b->done, b->total);
    /* the writer removes an incomplete file, and says so where nothing else is wrong */
    sterna_status closed = st_gguf_writer_close(&b->writer, status ? NULL : b->error);
    return status ? status : closed;
}

sterna_status st_synthetic_write(const st_synthetic *model, const char *path, sterna_progress_fn progress,
                                 void *user, sterna_error *error)
{
    const st_arch *arch = st_arch_find(model->arch);
    if (!arch)
        return st_fail(error, STERNA_E_UNSUPPORTED, "architecture '%s' is not supported", model->arch);
    build *b = st_calloc(1, sizeof *b);
    if (!b)
        return st_fail(error, STERNA_E_MEMORY, "out of memory");
    sterna_error ignored;
    b->model = model;
    b->random = model->seed;
    b->progress = progress;
    b->user = user;
    b->error = error ? error : &ignored;
    sterna_status status;
    if ((status = find_encoding(model->matrix, true, &b->matrix, b->error)) == STERNA_OK &&
        (status = find_encoding(model->embedding, false, &b->embedding, b->error)) == STERNA_OK) {
        fill_tables(b);
        status = write_with(b, arch, path);
    }
    st_free(b->code);
    st_free(b->scale);
    st_free(b->bytes);
    st_free(b);
    return status;
}
