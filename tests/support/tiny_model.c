#include "tests/support/tiny_model.h"

#include "host/base/numerics.h"
#include "host/model/ternary_encode.h"
#include "tests/support/small_vocab.h"

#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

void tiny_defaults(tiny_spec *spec)
{
    *spec = (tiny_spec){.arch = "bitnet-b1.58",
                        .n_vocab = 272,
                        .n_context = 256,
                        .n_embd = 256,
                        .n_layer = 2,
                        .n_head = 4,
                        .n_kv_head = 2,
                        .head_dim = 64,
                        .n_ff = 512,
                        .n_rot = 64,
                        .matrix = ST_ENC_TQ2_0,
                        .embedding = ST_ENC_F16,
                        .output = ST_ENC_F16,
                        .tied = true,
                        .tokenizer = true,
                        .alignment = ST_GGUF_ALIGNMENT,
                        .seed = 1};
}

void tiny_small(tiny_spec *spec)
{
    tiny_defaults(spec);
    spec->n_embd = 128;
    spec->head_dim = 32;
    spec->n_rot = 32;
    spec->n_ff = 128;
    spec->matrix = ST_ENC_I2_S;
}

/* splitmix64 */
uint64_t tiny_random(uint64_t *state)
{
    uint64_t z = *state += UINT64_C(0x9e3779b97f4a7c15);
    z = (z ^ z >> 30) * UINT64_C(0xbf58476d1ce4e5b9);
    z = (z ^ z >> 27) * UINT64_C(0x94d049bb133111eb);
    return z ^ z >> 31;
}

float tiny_uniform(uint64_t *state)
{
    return (float)(tiny_random(state) >> 40) * 0x1p-23f - 1.0f;
}

void tiny_check(bool good, const char *what)
{
    if (good)
        return;
    fprintf(stderr, "tiny model: %s\n", what);
    abort();
}

static void *take(size_t bytes)
{
    void *memory = st_calloc(1, bytes);
    tiny_check(memory != NULL, "out of memory");
    return memory;
}

/* ---- tensors: described in a first pass, filled in a second one ---- */

typedef struct build {
    const tiny_spec *spec;
    st_gguf_writer *writer;
    uint64_t random;
    bool filling;
} build;

static unsigned char *ternary_bytes(build *b, st_encoding encoding, int32_t rows, int32_t cols, size_t bytes)
{
    const tiny_spec *s = b->spec;
    size_t n = (size_t)rows * (size_t)cols;
    int32_t group = s->scales == TINY_SCALE_GROUP && encoding != ST_ENC_I2_S ? 256 : 0;
    int32_t n_group = group ? cols / group : 1;
    uint8_t *code = take(n);
    float *scale = take((size_t)rows * (size_t)n_group * sizeof *scale);
    for (size_t i = 0; i < n; i++)
        code[i] = (uint8_t)(tiny_random(&b->random) % 3);
    /* products of unit inputs have about unit size; f16-exact, so that every encoding holds the same weights
     */
    float common = sqrtf(1.5f / (float)cols) * (1.0f + 0.25f * tiny_uniform(&b->random));
    bool one = s->scales == TINY_SCALE_TENSOR || encoding == ST_ENC_I2_S;
    for (int32_t i = 0; i < rows * n_group; i++) {
        float factor = one ? 1.0f : 1.0f + 0.5f * tiny_uniform(&b->random);
        scale[i] = st_f16_to_f32(st_f32_to_f16(common * factor));
    }
    unsigned char *data = take(bytes);
    sterna_error error;
    sterna_status status =
        st_ternary_encode(encoding, &(st_codes){code, rows, cols, group, scale}, data, "tiny", &error);
    tiny_check(status == STERNA_OK, error.message);
    st_free(code);
    st_free(scale);
    return data;
}

static unsigned char *dense_bytes(build *b, st_encoding encoding, size_t n, float centre, float spread,
                                  size_t bytes)
{
    float *value = take(n * sizeof *value);
    for (size_t i = 0; i < n; i++)
        value[i] = centre + spread * tiny_uniform(&b->random);
    unsigned char *data = take(bytes);
    for (size_t i = 0; i < n && (encoding == ST_ENC_F16 || encoding == ST_ENC_BF16); i++) {
        uint16_t half =
            encoding == ST_ENC_F16 ? st_f32_to_f16(value[i]) : (uint16_t)(st_bits(value[i]) >> 16);
        memcpy(data + 2 * i, &half, sizeof half);
    }
    if (encoding == ST_ENC_F32)
        memcpy(data, value, bytes);
    if (encoding == ST_ENC_Q8_0)
        st_q8_0_encode(value, (int64_t)n, data);
    st_free(value);
    return data;
}

/* rows == 0: a vector of `cols` values around `centre`. */
static void tensor(build *b, const char *name, st_encoding encoding, int32_t rows, int32_t cols, float centre,
                   float spread)
{
    const st_encoding_info *e = st_encoding_get(encoding);
    int64_t shape[2] = {cols, rows}, n = (int64_t)cols * (rows ? rows : 1);
    size_t bytes;
    tiny_check(st_encoding_bytes(e, cols, n, &bytes), "a shape does not fit its encoding");
    if (!b->filling) {
        st_gguf_put_tensor(b->writer, name, e, rows ? 2 : 1, shape);
        return;
    }
    unsigned char *data = e->ternary ? ternary_bytes(b, encoding, rows, cols, bytes)
                                     : dense_bytes(b, encoding, (size_t)n, centre, spread, bytes);
    st_gguf_put_data(b->writer, data, bytes);
    st_free(data);
}

static void vector(build *b, const char *name, int32_t n, float centre, float spread)
{
    tensor(b, name, ST_ENC_F32, 0, n, centre, spread);
}

static void block_matrix(build *b, int32_t layer, const char *role, int32_t rows, int32_t cols, bool may_bias)
{
    char name[64];
    snprintf(name, sizeof name, "blk.%d.%s.weight", layer, role);
    tensor(b, name, b->spec->matrix, rows, cols, 0, 0);
    snprintf(name, sizeof name, "blk.%d.%s.bias", layer, role);
    if (b->spec->biases && may_bias)
        vector(b, name, rows, 0.0f, 0.25f);
    snprintf(name, sizeof name, "blk.%d.%s.scale", layer, role);
    if (b->spec->tensor_scales)
        vector(b, name, 1, 1.0f, 0.25f);
}

static void block_norm(build *b, int32_t layer, const char *role, int32_t n)
{
    char name[64];
    snprintf(name, sizeof name, "blk.%d.%s.weight", layer, role);
    vector(b, name, n, 1.0f, 0.25f);
}

static void block(build *b, int32_t layer)
{
    const tiny_spec *s = b->spec;
    int32_t q = s->n_head * s->head_dim, kv = s->n_kv_head * s->head_dim;
    bool sub_norm = strcmp(s->arch, "llama") != 0;
    block_norm(b, layer, "attn_norm", s->n_embd);
    block_matrix(b, layer, "attn_q", q, s->n_embd, true);
    block_matrix(b, layer, "attn_k", kv, s->n_embd, true);
    block_matrix(b, layer, "attn_v", kv, s->n_embd, true);
    if (sub_norm)
        block_norm(b, layer, "attn_sub_norm", q);
    block_matrix(b, layer, "attn_output", s->n_embd, q, true);
    block_norm(b, layer, "ffn_norm", s->n_embd);
    block_matrix(b, layer, "ffn_gate", s->n_ff, s->n_embd, false);
    block_matrix(b, layer, "ffn_up", s->n_ff, s->n_embd, false);
    if (sub_norm)
        block_norm(b, layer, "ffn_sub_norm", s->n_ff);
    block_matrix(b, layer, "ffn_down", s->n_embd, s->n_ff, false);
}

static void all_tensors(build *b)
{
    const tiny_spec *s = b->spec;
    tensor(b, "token_embd.weight", s->embedding, s->n_vocab, s->n_embd, 0.0f, 1.0f);
    for (int32_t layer = 0; layer < s->n_layer; layer++)
        block(b, layer);
    if (s->rope_freqs)
        vector(b, "rope_freqs.weight", s->n_rot / 2, 2.0f, 1.0f);
    vector(b, "output_norm.weight", s->n_embd, 1.0f, 0.25f);
    if (!s->tied)
        tensor(b, "output.weight", s->output, s->n_vocab, s->n_embd, 0.0f, 0.25f);
}

/* ---- metadata ---- */

static void key_int(build *b, const char *suffix, int32_t value)
{
    char key[96];
    snprintf(key, sizeof key, "%s.%s", b->spec->arch, suffix);
    st_gguf_put_u32(b->writer, key, (uint32_t)value);
}

static void key_float(build *b, const char *suffix, float value)
{
    char key[96];
    snprintf(key, sizeof key, "%s.%s", b->spec->arch, suffix);
    st_gguf_put_f32(b->writer, key, value);
}

static void architecture(build *b)
{
    const tiny_spec *s = b->spec;
    st_gguf_put_string(b->writer, "general.architecture", s->arch);
    st_gguf_put_string(b->writer, "general.name", "tiny");
    key_int(b, "vocab_size", s->n_vocab);
    key_int(b, "context_length", s->n_context);
    key_int(b, "embedding_length", s->n_embd);
    key_int(b, "block_count", s->n_layer);
    key_int(b, "feed_forward_length", s->n_ff);
    key_int(b, "attention.head_count", s->n_head);
    key_int(b, "attention.head_count_kv", s->n_kv_head);
    key_int(b, "attention.key_length", s->head_dim);
    key_int(b, "attention.value_length", s->head_dim);
    key_int(b, "rope.dimension_count", s->n_rot);
    key_float(b, "rope.freq_base", 10000.0f);
    key_float(b, "attention.layer_norm_rms_epsilon", 1e-5f);
}

static void tokenizer(build *b)
{
    enum { WIDTH = 16 };
    int32_t n = b->spec->n_vocab;
    char *text = take((size_t)n * WIDTH);
    int32_t *type = take((size_t)n * sizeof *type);
    st_gguf_string *token = take((size_t)n * sizeof *token);
    static const char *const special[] = {"<|begin|>", "<|end|>", "<|eot_id|>"};
    tiny_check(n >= TINY_VOCAB, "the vocabulary is smaller than TINY_VOCAB");
    for (int32_t id = 0; id < n; id++) {
        char *at = text + (size_t)id * WIDTH;
        size_t length;
        if (id < TINY_BYTE)
            length = (size_t)snprintf(at, WIDTH, "%s", special[id]);
        else if (id >= TINY_VOCAB)
            length = (size_t)snprintf(at, WIDTH, "[PAD%d]", id);
        else
            length = small_spell(&(char){(char)(id - TINY_BYTE)}, 1, at);
        type[id] = id < TINY_BYTE ? 3 : id >= TINY_VOCAB ? 5 : 1; /* control, unused, normal */
        token[id] = (st_gguf_string){at, length};
    }
    st_gguf_put_string(b->writer, "tokenizer.ggml.model", "gpt2");
    st_gguf_put_string(b->writer, "tokenizer.ggml.pre", "llama-bpe");
    st_gguf_put_strings(b->writer, "tokenizer.ggml.tokens", token, (size_t)n);
    st_gguf_put_array(b->writer, "tokenizer.ggml.token_type", ST_GGUF_I32, type, (size_t)n);
    st_gguf_put_strings(b->writer, "tokenizer.ggml.merges", NULL, 0);
    st_gguf_put_u32(b->writer, "tokenizer.ggml.bos_token_id", TINY_BOS);
    st_gguf_put_u32(b->writer, "tokenizer.ggml.eos_token_id", TINY_EOS);
    st_gguf_put_u32(b->writer, "tokenizer.ggml.eot_token_id", TINY_EOT);
    st_gguf_put_bool(b->writer, "tokenizer.ggml.add_bos_token", true);
    st_free(text);
    st_free(type);
    st_free(token);
}

void tiny_write(const tiny_spec *spec, char path[TINY_PATH])
{
    snprintf(path, TINY_PATH, "/tmp/sterna-tiny-XXXXXX");
    int file = mkstemp(path);
    tiny_check(file >= 0, "no temporary file");
    close(file);
    sterna_error error;
    build b = {.spec = spec, .random = spec->seed};
    tiny_check(st_gguf_writer_open(path, spec->alignment, &b.writer, &error) == STERNA_OK, error.message);
    architecture(&b);
    if (spec->tokenizer)
        tokenizer(&b);
    all_tensors(&b);
    b.filling = true;
    all_tensors(&b);
    tiny_check(st_gguf_writer_close(&b.writer, &error) == STERNA_OK, error.message);
}

sterna_model *tiny_open(const tiny_spec *spec)
{
    char path[TINY_PATH];
    tiny_write(spec, path);
    sterna_model *model;
    sterna_error error;
    sterna_status status = sterna_model_open(path, NULL, &model, &error);
    unlink(path);
    tiny_check(status == STERNA_OK, error.message);
    return model;
}

unsigned char *tiny_bytes(const tiny_spec *spec, size_t *size)
{
    char path[TINY_PATH];
    tiny_write(spec, path);
    FILE *file = fopen(path, "rb");
    tiny_check(file != NULL && fseek(file, 0, SEEK_END) == 0, "cannot read the model back");
    long length = ftell(file);
    tiny_check(length > 0, "cannot read the model back");
    rewind(file);
    *size = (size_t)length;
    unsigned char *data = take(*size);
    tiny_check(fread(data, 1, *size, file) == *size, "cannot read the model back");
    fclose(file);
    unlink(path);
    return data;
}
