/* Models: roles, shapes, flags, and what is refused. */
#include "host/model/config.h"
#include "host/model/model_private.h"
#include "host/model/roles.h"
#include "tests/support/tiny_model.h"

#include <criterion/criterion.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

/* ---- tiny models with one thing changed ---- */

typedef enum what {
    NOTHING,
    DROP_KEY,
    SET_INT,
    SET_FLOAT,
    SET_TEXT,
    SET_BOOL,
    SET_PAIR, /* an array of two integers: `number` and 1 more */
    DROP_TENSOR,
    RENAME_TENSOR, /* to `text` */
    RETYPE_TENSOR, /* to encoding `number`, zeros */
    RESIZE_TENSOR, /* shape[0] to `number`, as F32 */
    POISON_TENSOR  /* byte `number` becomes 0xff, and the one before it */
} what;

typedef struct edit {
    what what;
    const char *target, *text;
    double number;
} edit;

static void put_edited_key(st_gguf_writer *w, const edit *e)
{
    switch (e->what) {
    case SET_INT:
        st_gguf_put_int(w, e->target, ST_GGUF_I32, (int64_t)e->number);
        break;
    case SET_FLOAT:
        st_gguf_put_f32(w, e->target, (float)e->number);
        break;
    case SET_TEXT:
        st_gguf_put_string(w, e->target, e->text);
        break;
    case SET_BOOL:
        st_gguf_put_bool(w, e->target, e->number != 0);
        break;
    case SET_PAIR:
        st_gguf_put_array(w, e->target, ST_GGUF_I32,
                          (const int32_t[]){(int32_t)e->number, (int32_t)e->number + 1}, 2);
        break;
    default:
        break;
    }
}

static void put_edited_tensor(st_gguf_writer *w, const edit *e, const st_gguf_tensor *t, bool data)
{
    bool mine = strcmp(t->name, e->target) == 0;
    if (mine && e->what == DROP_TENSOR)
        return;
    const st_encoding_info *encoding = t->encoding;
    int64_t shape[4];
    memcpy(shape, t->shape, sizeof shape);
    bool resize = mine && e->what == RESIZE_TENSOR, retype = mine && e->what == RETYPE_TENSOR;
    if (resize)
        shape[0] = (int64_t)e->number;
    if (resize)
        encoding = st_encoding_get(ST_ENC_F32);
    if (retype)
        encoding = st_encoding_candidate((uint32_t)e->number, 0);
    if (!data) {
        st_gguf_put_tensor(w, mine && e->what == RENAME_TENSOR ? e->text : t->name, encoding, t->n_dim,
                           shape);
        return;
    }
    size_t bytes;
    cr_assert(st_encoding_bytes(encoding, shape[0], shape[0] * shape[1], &bytes));
    unsigned char *copy = st_calloc(1, bytes);
    if (!resize && !retype)
        memcpy(copy, t->data, bytes);
    if (mine && e->what == POISON_TENSOR)
        memset(copy + (size_t)e->number - 1, 0xff, 2);
    st_gguf_put_data(w, copy, bytes);
    st_free(copy);
}

static void rewrite(const st_gguf *g, const edit *e, const char *path)
{
    st_gguf_writer *w;
    sterna_error error = {0};
    cr_assert_eq(st_gguf_writer_open(path, ST_GGUF_ALIGNMENT, &w, &error), STERNA_OK, "%s", error.message);
    bool touched = e->what == NOTHING || (e->what >= SET_INT && e->what <= SET_PAIR);
    for (int i = 0; i < st_gguf_kv_count(g); i++) {
        const st_gguf_kv *kv = st_gguf_kv_at(g, i);
        bool mine = strcmp(kv->key, e->target) == 0;
        touched = touched || mine;
        if (!mine)
            st_gguf_put_copy(w, kv);
    }
    put_edited_key(w, e);
    touched = touched || st_gguf_find_tensor(g, e->target);
    cr_assert(touched, "there is no '%s' to change", e->target);
    for (int pass = 0; pass < 2; pass++)
        for (int i = 0; i < st_gguf_tensor_count(g); i++)
            put_edited_tensor(w, e, st_gguf_tensor_at(g, i), pass == 1);
    cr_assert_eq(st_gguf_writer_close(&w, &error), STERNA_OK, "%s", error.message);
}

/* Opens the model of `spec` after an edit. */
static sterna_status open_edited(const tiny_spec *spec, const edit *e, const sterna_model_params *params,
                                 sterna_model **model, sterna_error *error)
{
    size_t size;
    unsigned char *bytes = tiny_bytes(spec, &size);
    st_gguf *g;
    cr_assert_eq(st_gguf_open_memory("tiny", bytes, size, &g, error), STERNA_OK, "%s", error->message);
    char path[] = "/tmp/sterna-edit-XXXXXX";
    int file = mkstemp(path);
    cr_assert(file >= 0);
    close(file);
    rewrite(g, e, path);
    st_gguf_close(&g);
    st_free(bytes);
    sterna_status status = sterna_model_open(path, params, model, error);
    cr_assert(status == STERNA_OK || strstr(error->message, path), "\"%s\" does not name the file",
              error->message);
    unlink(path);
    return status;
}

static tiny_spec small(const char *arch)
{
    tiny_spec spec;
    tiny_defaults(&spec);
    spec.arch = arch;
    spec.tokenizer = false;
    return spec;
}

/* ---- good models ---- */

Test(model, tiny_files_of_every_kind_open_and_decode)
{
    static const char *const archs[] = {"bitnet-b1.58", "bitnet-25", "bitnet", "llama"};
    static const st_encoding matrices[] = {ST_ENC_TQ1_0, ST_ENC_TQ2_0, ST_ENC_I2_S};
    for (size_t a = 0; a < 4; a++)
        for (size_t i = 0; i < 3; i++)
            for (int embedding = 0; embedding < ST_ENC_DECODED; embedding++) {
                tiny_spec spec;
                tiny_defaults(&spec);
                spec.arch = archs[a];
                spec.matrix = matrices[i];
                spec.embedding = (st_encoding)embedding;
                spec.scales = (tiny_scales)(embedding % 3);
                sterna_model *model = tiny_open(&spec);
                sterna_token tokens[8];
                sterna_error error = {0};
                int64_t n = sterna_tokenize(model, "hi!", 3, tokens, 8, true, false, &error);
                cr_assert_eq(n, STERNA_TEXT ? 4 : STERNA_E_UNSUPPORTED, "%s", error.message);
                st_decoded d;
                cr_assert_eq(st_model_matrix(model, ST_ROLE_TOKEN_EMBD, 0, &d, &error), STERNA_OK, "%s",
                             error.message);
                cr_assert_eq(st_matrix_check(&d.matrix, &error), STERNA_OK, "%s", error.message);
                st_decoded_free(&d);
                cr_assert_eq(st_model_matrix(model, ST_ROLE_FFN_DOWN, 1, &d, &error), STERNA_OK, "%s",
                             error.message);
                cr_assert_eq(d.matrix.type, ST_TERNARY);
                cr_assert_eq(d.matrix.group, i < 2 && spec.scales == TINY_SCALE_GROUP ? 256 : 0);
                st_decoded_free(&d);
                sterna_model_close(&model);
                cr_assert_null(model);
            }
}

Test(model, architectures_have_their_flags)
{
    static const struct {
        const char *arch;
        st_pairing pairing;
        st_act act;
        bool sub_norm;
    } flags[] = {
        {"bitnet-b1.58", ST_PAIR_HALF, ST_ACT_RELU2, true},
        {"bitnet-25", ST_PAIR_HALF, ST_ACT_RELU2, true},
        {"bitnet", ST_PAIR_HALF, ST_ACT_SILU, true},
        {"llama", ST_PAIR_ADJACENT, ST_ACT_SILU, false},
    };
    for (size_t i = 0; i < 4; i++) {
        tiny_spec spec = small(flags[i].arch);
        sterna_model *model = tiny_open(&spec);
        const st_config *c = st_model_config(model);
        cr_expect_eq(c->pairing, flags[i].pairing);
        cr_expect_eq(c->act, flags[i].act);
        cr_expect_eq(st_model_has(model, ST_ROLE_ATTN_SUB_NORM, 1), flags[i].sub_norm);
        cr_expect_eq(st_model_has(model, ST_ROLE_FFN_SUB_NORM, 0), flags[i].sub_norm);
        cr_expect(c->act_group == 0 && c->embed_scale == 1 && c->residual_scale == 1 && c->logit_scale == 1);
        cr_expect(c->window == 0 && c->attn_softcap == 0 && c->attn_scale == 0.125f);
        cr_expect(c->n_vocab == 272 && c->n_context == 256 && c->n_embd == 256 && c->n_layer == 2);
        cr_expect(c->n_head == 4 && c->n_kv_head == 2 && c->head_dim == 64 && c->n_ff == 512 &&
                  c->n_rot == 64);
        cr_expect(c->norm_eps == 1e-5f && c->rope_base == 10000.0f && c->rope_scale == 1.0f);
        sterna_model_close(&model);
    }
}

Test(model, optional_tensors_reach_their_roles)
{
    tiny_spec spec = small("llama");
    spec.biases = spec.tensor_scales = spec.rope_freqs = true;
    spec.tied = false;
    spec.output = ST_ENC_Q8_0;
    spec.n_kv_head = 1;
    spec.head_dim = 128;
    spec.n_rot = 96;
    sterna_model *model = tiny_open(&spec);
    sterna_error error = {0};
    st_decoded d;
    cr_assert_eq(st_model_matrix(model, ST_ROLE_ATTN_K, 1, &d, &error), STERNA_OK, "%s", error.message);
    cr_expect(d.matrix.rows == 128 && d.matrix.cols == 256 && d.bias);
    cr_expect(d.out_scale > 0.7f && d.out_scale < 1.3f && d.out_scale != 1.0f);
    cr_expect(d.bias[0] != 0 && d.bias[127] != 0 && fabsf(d.bias[127]) <= 0.25f);
    st_decoded_free(&d);
    cr_expect(!d.memory && !d.bias);
    cr_assert_eq(st_model_matrix(model, ST_ROLE_FFN_UP, 0, &d, &error), STERNA_OK, "%s", error.message);
    cr_expect(d.matrix.rows == 512 && !d.bias && d.out_scale != 1.0f);
    st_decoded_free(&d);
    cr_assert_eq(st_model_matrix(model, ST_ROLE_OUTPUT, 1, &d, &error), STERNA_OK, "%s", error.message);
    cr_expect(d.matrix.type == ST_Q8 && d.matrix.rows == 272 && d.out_scale == 1.0f);
    st_decoded_free(&d);
    float freqs[48];
    cr_assert_eq(st_model_vector(model, ST_ROLE_ROPE_FREQS, 0, freqs, 48, &error), STERNA_OK, "%s",
                 error.message);
    cr_expect(freqs[47] >= 1.0f && freqs[47] <= 3.0f);
    cr_expect_eq(st_model_bytes(model, ST_ROLE_ROPE_FREQS, 0), 48 * 4);
    cr_expect_eq(st_model_bytes(model, ST_ROLE_ATTN_Q, 0), 4 * 128 * 66);
    cr_expect_eq(st_model_bytes(model, ST_ROLE_ATTN_SUB_NORM, 0), 0);
    cr_expect_eq(st_model_matrix(model, ST_ROLE_ATTN_Q, 0, &d, NULL), STERNA_OK);
    st_decoded_free(&d);
    sterna_model_close(&model);
}

/* All encodings hold the same weights, so a role decodes to the same values from each. */
Test(model, encodings_agree)
{
    static const st_encoding matrices[] = {ST_ENC_TQ1_0, ST_ENC_TQ2_0, ST_ENC_I2_S};
    st_decoded d[3];
    for (int i = 0; i < 3; i++) {
        tiny_spec spec = small("bitnet-b1.58");
        spec.matrix = matrices[i];
        sterna_model *model = tiny_open(&spec);
        sterna_error error = {0};
        cr_assert_eq(st_model_matrix(model, ST_ROLE_ATTN_V, 1, &d[i], &error), STERNA_OK, "%s",
                     error.message);
        sterna_model_close(&model);
        for (int64_t at = 0; at < 128 * 256; at++)
            cr_assert_eq(st_matrix_value(&d[i].matrix, at / 256, at % 256),
                         st_matrix_value(&d[0].matrix, at / 256, at % 256), "encoding %d, weight %lld", i,
                         (long long)at);
    }
    for (int i = 0; i < 3; i++)
        st_decoded_free(&d[i]);
}

Test(model, describe_lists_the_file)
{
    tiny_spec spec;
    tiny_defaults(&spec);
    sterna_model *model = tiny_open(&spec);
    sterna_model_info info = {.struct_size = sizeof info};
    cr_assert_eq(sterna_model_describe(model, &info), STERNA_OK);
    cr_expect_str_eq(info.name, "tiny");
    cr_expect_str_eq(info.architecture, "bitnet-b1.58");
    uint64_t ternary = 2 * (2 * 256 * 256 + 2 * 128 * 256 + 3 * 512 * 256);
    cr_expect_eq(info.n_ternary_parameter, ternary);
    cr_expect_eq(info.n_parameter, ternary + 272 * 256 + 256 + 2 * (3 * 256 + 512));
    cr_expect(info.n_vocab == 272 && info.n_ff == 512 && info.head_dim == 64 && info.n_kv_head == 2);
    cr_expect(info.bos == TINY_BOS && info.eos == TINY_EOS && info.add_bos);
    cr_expect_gt(info.file_bytes, ternary / 4);
    cr_expect(sterna_token_is_end(model, TINY_EOS) && !sterna_token_is_end(model, TINY_BYTE));
    cr_expect_eq(sterna_token_is_end(model, TINY_EOT), STERNA_TEXT != 0);
    const char *name, *type, *key;
    int64_t shape[4];
    uint64_t bytes;
    cr_assert(sterna_model_tensor(model, 0, &name, &type, shape, &bytes));
    cr_expect_str_eq(name, "token_embd.weight");
    cr_expect_str_eq(type, "F16");
    cr_expect(shape[0] == 256 && shape[1] == 272 && shape[2] == 1 && bytes == 256 * 272 * 2);
    cr_expect(sterna_model_tensor(model, 23, NULL, NULL, NULL, NULL));
    cr_expect(!sterna_model_tensor(model, 24, NULL, NULL, NULL, NULL));
    cr_expect(!sterna_model_tensor(model, -1, NULL, NULL, NULL, NULL));
    char value[8];
    cr_assert(sterna_model_metadata(model, 0, &key, value, sizeof value));
    cr_expect_str_eq(key, "general.architecture");
    cr_expect_str_eq(value, "bitnet-");
    cr_expect(!sterna_model_metadata(model, 1000, &key, value, sizeof value));
    struct {
        size_t struct_size;
        const char *name;
    } older = {.struct_size = sizeof older}; /* a caller that knows only the first member */
    cr_expect_eq(sterna_model_describe(model, (sterna_model_info *)(void *)&older), STERNA_OK);
    cr_expect_str_eq(older.name, "tiny");
    sterna_model_close(&model);
}

/* ---- keys with defaults ---- */

static st_config config_after(const char *arch, edit e)
{
    tiny_spec spec = small(arch);
    sterna_model *model;
    sterna_error error = {0};
    cr_assert_eq(open_edited(&spec, &e, NULL, &model, &error), STERNA_OK, "%s", error.message);
    st_config c = *st_model_config(model);
    sterna_model_close(&model);
    return c;
}

Test(model, absent_keys_have_defaults)
{
    cr_expect_eq(config_after("llama", (edit){DROP_KEY, "llama.attention.key_length", NULL, 0}).head_dim, 64);
    cr_expect_eq(config_after("llama", (edit){DROP_KEY, "llama.attention.value_length", NULL, 0}).head_dim,
                 64);
    cr_expect_eq(config_after("llama", (edit){DROP_KEY, "llama.rope.dimension_count", NULL, 0}).n_rot, 64);
    cr_expect_eq(config_after("llama", (edit){DROP_KEY, "llama.rope.freq_base", NULL, 0}).rope_base,
                 10000.0f);
    tiny_spec spec = small("llama");
    spec.n_kv_head = 4;
    sterna_model *model;
    sterna_error error = {0};
    edit e = {DROP_KEY, "llama.attention.head_count_kv", NULL, 0};
    cr_assert_eq(open_edited(&spec, &e, NULL, &model, &error), STERNA_OK, "%s", error.message);
    cr_expect_eq(st_model_config(model)->n_kv_head, 4);
    sterna_model_close(&model);
    spec.tokenizer = true;
    e.target = "llama.vocab_size";
    cr_assert_eq(open_edited(&spec, &e, NULL, &model, &error), STERNA_OK, "%s", error.message);
    cr_expect_eq(st_model_config(model)->n_vocab, 272, "from the list of tokens");
    sterna_model_close(&model);
}

Test(model, keys_that_are_understood_change_the_configuration)
{
    cr_expect_eq(config_after("bitnet", (edit){SET_FLOAT, "bitnet.rope.scaling.factor", NULL, 4}).rope_scale,
                 0.25f);
    cr_expect_eq(config_after("bitnet", (edit){SET_FLOAT, "bitnet.rope.scaling.factor", NULL, 0}).rope_scale,
                 1.0f);
    cr_expect_eq(config_after("llama", (edit){SET_FLOAT, "llama.rope.scale_linear", NULL, 2}).rope_scale,
                 0.5f);
    cr_expect_eq(config_after("llama", (edit){SET_TEXT, "llama.rope.scaling.type", "none", 0}).rope_scale,
                 1.0f);
    cr_expect_eq(config_after("llama", (edit){SET_FLOAT, "llama.rope.freq_base", NULL, 500000}).rope_base,
                 5e5f);
    cr_expect_eq(config_after("llama", (edit){SET_FLOAT, "llama.attention.scale", NULL, 0.5}).attn_scale,
                 0.5f);
    cr_expect_eq(config_after("llama", (edit){SET_FLOAT, "llama.attention.scale", NULL, 0}).attn_scale,
                 0.125f);
    cr_expect_eq(config_after("llama", (edit){SET_INT, "llama.rope.dimension_count", NULL, 32}).n_rot, 32);
    cr_expect_eq(config_after("llama", (edit){SET_INT, "llama.expert_count", NULL, 0}).n_layer, 2, "neutral");
    cr_expect_eq(config_after("llama", (edit){SET_BOOL, "llama.attention.causal", NULL, 1}).n_layer, 2,
                 "neutral");
}

/* ---- refusals ---- */

static const struct {
    const char *arch;
    edit edit;
    sterna_status status;
    const char *message;
} bad_models[] = {
    {"llama",
     {DROP_KEY, "general.architecture", NULL, 0},
     STERNA_E_FORMAT,
     "key 'general.architecture' is missing"},
    {"llama",
     {SET_TEXT, "general.architecture", "qwen35", 0},
     STERNA_E_UNSUPPORTED,
     "architecture 'qwen35' is not supported (supported: bitnet-b1.58, bitnet-25, bitnet, llama)"},
    {"llama",
     {DROP_KEY, "llama.context_length", NULL, 0},
     STERNA_E_FORMAT,
     "key 'llama.context_length' is missing"},
    {"llama",
     {DROP_KEY, "llama.block_count", NULL, 0},
     STERNA_E_FORMAT,
     "key 'llama.block_count' is missing"},
    {"llama",
     {DROP_KEY, "llama.embedding_length", NULL, 0},
     STERNA_E_FORMAT,
     "'llama.embedding_length' is missing"},
    {"llama", {DROP_KEY, "llama.vocab_size", NULL, 0}, STERNA_E_FORMAT, "no vocabulary size"},
    {"llama",
     {DROP_KEY, "llama.attention.layer_norm_rms_epsilon", NULL, 0},
     STERNA_E_FORMAT,
     "key 'llama.attention.layer_norm_rms_epsilon' is missing"},
    {"llama",
     {SET_FLOAT, "llama.attention.layer_norm_rms_epsilon", NULL, -1},
     STERNA_E_FORMAT,
     "is -1, not positive"},
    {"llama", {SET_INT, "llama.block_count", NULL, 513}, STERNA_E_FORMAT, "is 513, allowed are 1 to 512"},
    {"llama", {SET_INT, "llama.context_length", NULL, 0}, STERNA_E_FORMAT, "is 0, allowed are 1 to 1048576"},
    {"llama",
     {SET_INT, "llama.attention.head_count", NULL, 5},
     STERNA_E_FORMAT,
     "5 attention heads cannot share 2 key heads evenly"},
    {"llama",
     {SET_PAIR, "llama.attention.head_count", NULL, 4},
     STERNA_E_UNSUPPORTED,
     "key 'llama.attention.head_count' differs between layers (4 in layer 0, 5 in layer 1)"},
    {"llama",
     {SET_INT, "llama.attention.value_length", NULL, 32},
     STERNA_E_UNSUPPORTED,
     "heads of 64 key and 32 value dimensions"},
    {"llama",
     {SET_INT, "llama.rope.dimension_count", NULL, 63},
     STERNA_E_FORMAT,
     "key 'llama.rope.dimension_count' is 63, but heads of 64 dimensions need an even number up to that"},
    {"llama", {SET_INT, "llama.rope.dimension_count", NULL, 128}, STERNA_E_FORMAT, "is 128, but heads of 64"},
    {"bitnet-b1.58",
     {SET_INT, "bitnet-b1.58.rope.dimension_count", NULL, 32},
     STERNA_E_FORMAT,
     "is 32, but heads of 64 dimensions need the same number"},
    {"llama", {SET_FLOAT, "llama.rope.freq_base", NULL, 0}, STERNA_E_FORMAT, "freq_base' is 0, not positive"},
    {"llama",
     {SET_TEXT, "llama.rope.scaling.type", "yarn", 0},
     STERNA_E_UNSUPPORTED,
     "key 'llama.rope.scaling.type' is 'yarn'; supported are 'none' and 'linear'"},
    {"llama", {SET_FLOAT, "llama.rope.scaling.factor", NULL, -2}, STERNA_E_FORMAT, "is -2, not positive"},
    {"llama",
     {SET_INT, "llama.expert_count", NULL, 8},
     STERNA_E_UNSUPPORTED,
     "key 'llama.expert_count' is 8, which architecture 'llama' does not support (only 0)"},
    {"llama",
     {SET_FLOAT, "llama.logit_scale", NULL, 0.5},
     STERNA_E_UNSUPPORTED,
     "'llama.logit_scale' is 0.5"},
    {"llama", {SET_BOOL, "llama.attention.causal", NULL, 0}, STERNA_E_UNSUPPORTED, "causal' is false"},
    {"llama",
     {SET_INT, "llama.attention.sliding_window", NULL, 64},
     STERNA_E_UNSUPPORTED,
     "sliding_window' is 64"},
    {"llama",
     {SET_INT, "prism.hadamard.version", NULL, 1},
     STERNA_E_UNSUPPORTED,
     "stored in a rotated basis"},
    {"llama",
     {SET_INT, "llama.vocab_size", NULL, 273},
     STERNA_E_FORMAT,
     "tensor 'token_embd.weight' has shape 256 x 272 x 1 x 1, but the metadata asks for 256 x 273"},
    {"llama",
     {SET_INT, "llama.feed_forward_length", NULL, 768},
     STERNA_E_FORMAT,
     "tensor 'blk.0.ffn_gate.weight' has shape 256 x 512 x 1 x 1, but the metadata asks for 256 x 768"},
    {"llama",
     {SET_INT, "llama.block_count", NULL, 3},
     STERNA_E_FORMAT,
     "tensor 'blk.2.attn_norm.weight' is missing (architecture 'llama', 3 layers)"},
    {"llama", {DROP_TENSOR, "token_embd.weight", NULL, 0}, STERNA_E_FORMAT, "'token_embd.weight' is missing"},
    {"llama",
     {DROP_TENSOR, "blk.1.ffn_down.weight", NULL, 0},
     STERNA_E_FORMAT,
     "'blk.1.ffn_down.weight' is missing"},
    {"bitnet",
     {DROP_TENSOR, "blk.1.attn_sub_norm.weight", NULL, 0},
     STERNA_E_FORMAT,
     "tensor 'blk.1.attn_sub_norm.weight' is missing"},
    {"llama",
     {RENAME_TENSOR, "blk.0.attn_k.weight", "blk.0.attn_kk.weight", 0},
     STERNA_E_FORMAT,
     "tensor 'blk.0.attn_k.weight' is missing"},
    {"llama",
     {RENAME_TENSOR, "blk.0.attn_k.weight", "blk.00.attn_k.weight", 0},
     STERNA_E_FORMAT,
     "tensor 'blk.0.attn_k.weight' is missing"},
    {"llama",
     {RESIZE_TENSOR, "blk.1.ffn_norm.weight", NULL, 255},
     STERNA_E_FORMAT,
     "tensor 'blk.1.ffn_norm.weight' has shape 255 x 1 x 1 x 1, but the metadata asks for 256 x 1"},
    {"llama",
     {RETYPE_TENSOR, "blk.1.ffn_norm.weight", NULL, 35},
     STERNA_E_UNSUPPORTED,
     "tensor 'blk.1.ffn_norm.weight' is TQ2_0, but must be F32, F16 or BF16"},
    {"llama",
     {RETYPE_TENSOR, "blk.1.attn_q.weight", NULL, 1},
     STERNA_E_UNSUPPORTED,
     "tensor 'blk.1.attn_q.weight' is F16, but layers run on ternary matrices only: quantise"},
    {"llama",
     {RETYPE_TENSOR, "blk.1.attn_q.weight", NULL, 8},
     STERNA_E_UNSUPPORTED,
     "is Q8_0, but layers run on"},
    {"llama",
     {RETYPE_TENSOR, "blk.1.attn_q.weight", NULL, 41},
     STERNA_E_UNSUPPORTED,
     "tensor 'blk.1.attn_q.weight' is Q1_0, which this version cannot decode; it runs TQ1_0, TQ2_0 and I2_S"},
    {"llama",
     {RETYPE_TENSOR, "token_embd.weight", NULL, 14},
     STERNA_E_UNSUPPORTED,
     "tensor 'token_embd.weight' is Q6_K; embeddings and heads are supported as F32"},
};

Test(model, bad_models_are_refused_with_the_reason)
{
    for (size_t i = 0; i < sizeof bad_models / sizeof bad_models[0]; i++) {
        tiny_spec spec = small(bad_models[i].arch);
        sterna_model *model;
        sterna_error error = {0};
        sterna_status status = open_edited(&spec, &bad_models[i].edit, NULL, &model, &error);
        cr_expect_eq(status, bad_models[i].status, "%s: status %d, \"%s\"", bad_models[i].message, status,
                     error.message);
        cr_expect_null(model);
        cr_expect(strstr(error.message, bad_models[i].message), "\"%s\" lacks \"%s\"", error.message,
                  bad_models[i].message);
    }
}

Test(model, vocabulary_and_tokens_must_agree)
{
    tiny_spec spec = small("llama");
    spec.tokenizer = true;
    sterna_model *model;
    sterna_error error = {0};
    edit e = {SET_INT, "llama.vocab_size", NULL, 300};
    cr_expect_eq(open_edited(&spec, &e, NULL, &model, &error), STERNA_E_FORMAT);
    cr_expect(strstr(error.message, "'llama.vocab_size' is 300, but 'tokenizer.ggml.tokens' lists 272"), "%s",
              error.message);
}

/* Numbers that are no numbers are found when the tensor is asked for. */
Test(model, poisoned_tensors_are_refused_when_decoded)
{
    tiny_spec spec = small("llama");
    spec.biases = spec.tensor_scales = true;
    static const struct {
        edit edit;
        st_role role;
        const char *message;
    } cases[] = {
        {{POISON_TENSOR, "blk.1.attn_q.weight", NULL, 65},
         ST_ROLE_ATTN_Q,
         "tensor 'blk.1.attn_q.weight' (TQ2_0): the scale of row 0, group 0 is nan"},
        {{POISON_TENSOR, "blk.1.attn_q.bias", NULL, 11},
         ST_ROLE_ATTN_Q,
         "tensor 'blk.1.attn_q.bias': value 2 is"},
        {{POISON_TENSOR, "blk.1.attn_q.scale", NULL, 3},
         ST_ROLE_ATTN_Q,
         "tensor 'blk.1.attn_q.scale': value 0 is"},
        {{POISON_TENSOR, "blk.1.ffn_norm.weight", NULL, 1023},
         ST_ROLE_FFN_NORM,
         "tensor 'blk.1.ffn_norm.weight': value 255 is"},
    };
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        sterna_model *model;
        sterna_error error = {0};
        cr_assert_eq(open_edited(&spec, &cases[i].edit, NULL, &model, &error), STERNA_OK, "%s",
                     error.message);
        float vector[256];
        st_decoded d;
        sterna_status status = st_role_is_vector(cases[i].role)
                                   ? st_model_vector(model, cases[i].role, 1, vector, 256, &error)
                                   : st_model_matrix(model, cases[i].role, 1, &d, &error);
        cr_expect_eq(status, STERNA_E_FORMAT);
        cr_expect(strstr(error.message, cases[i].message), "\"%s\" lacks \"%s\"", error.message,
                  cases[i].message);
        sterna_model_close(&model);
    }
}

Test(model, absent_roles_are_named)
{
    tiny_spec spec = small("llama");
    sterna_model *model = tiny_open(&spec);
    sterna_error error = {0};
    st_decoded d;
    float vector[256];
    cr_expect_eq(st_model_matrix(model, ST_ROLE_OUTPUT, 0, &d, &error), STERNA_E_ARGUMENT);
    cr_expect(strstr(error.message, "the model has no tensor 'output'"), "%s", error.message);
    cr_expect_eq(st_model_vector(model, ST_ROLE_ATTN_SUB_NORM, 1, vector, 256, &error), STERNA_E_ARGUMENT);
    cr_expect(strstr(error.message, "the model has no tensor 'attn_sub_norm' (layer 1)"), "%s",
              error.message);
    sterna_model_close(&model);
}

/* ---- parameters, log, progress ---- */

typedef struct heard {
    int warnings;
    char last[512];
    uint64_t done, total;
    bool go_on;
} heard;

static void hear(void *user, sterna_log_level level, const char *line)
{
    heard *h = user;
    if (level != STERNA_LOG_WARN)
        return;
    h->warnings++;
    snprintf(h->last, sizeof h->last, "%s", line);
}

static bool follow(void *user, uint64_t done, uint64_t total)
{
    heard *h = user;
    h->done = done;
    h->total = total;
    return h->go_on;
}

Test(model, unused_tensors_are_reported)
{
    heard h = {.go_on = true};
    sterna_model_params params;
    sterna_model_defaults(&params);
    params.log = hear;
    params.user = &h;
    tiny_spec spec = small("bitnet"); /* its head is always the embedding */
    spec.tied = false;
    spec.tokenizer = true;
    sterna_model *model;
    sterna_error error = {0};
    edit nothing = {NOTHING, "", NULL, 0};
    cr_assert_eq(open_edited(&spec, &nothing, &params, &model, &error), STERNA_OK, "%s", error.message);
    cr_expect(!st_model_has(model, ST_ROLE_OUTPUT, 0));
    cr_expect_eq(h.warnings, STERNA_TEXT ? 1 : 2);
    if (STERNA_TEXT)
        cr_expect(strstr(h.last,
                         "1 of 25 tensors have no place in architecture 'bitnet' and are ignored, first "
                         "'output.weight'"),
                  "%s", h.last);
    sterna_model_close(&model);
}

Test(model, files_without_tokenizer_run_on_ids)
{
    heard h = {.go_on = true};
    sterna_model_params params;
    sterna_model_defaults(&params);
    params.log = hear;
    params.progress = follow;
    params.user = &h;
    tiny_spec spec = small("llama");
    char path[TINY_PATH];
    tiny_write(&spec, path);
    sterna_model *model;
    sterna_error error = {0};
    cr_assert_eq(sterna_model_open(path, &params, &model, &error), STERNA_OK, "%s", error.message);
    cr_expect_eq(h.warnings, 1);
    cr_expect(strstr(h.last, "text cannot be converted to tokens"), "%s", h.last);
    cr_expect(h.total > 0 && h.done == h.total);
    sterna_token token;
    char text[8];
    cr_expect_eq(sterna_tokenize(model, "a", 1, &token, 1, true, false, &error), STERNA_E_UNSUPPORTED);
    cr_expect(strstr(error.message, path), "%s", error.message);
    cr_expect_eq(sterna_token_text(model, 1, text, sizeof text, false), STERNA_E_UNSUPPORTED);
    cr_expect(!sterna_token_is_end(model, 1));
    sterna_model_info info = {.struct_size = sizeof info};
    cr_expect_eq(sterna_model_describe(model, &info), STERNA_OK);
    cr_expect(info.bos == -1 && info.eos == -1 && !info.add_bos);
    sterna_model_close(&model);
    h.go_on = false;
    cr_expect_eq(sterna_model_open(path, &params, &model, &error), STERNA_E_ABORTED);
    cr_expect(strstr(error.message, "the caller aborted the load"), "%s", error.message);
    cr_expect_null(model);
    unlink(path);
}

Test(model, wrong_parameters_are_refused)
{
    tiny_spec spec = small("llama");
    char path[TINY_PATH];
    tiny_write(&spec, path);
    sterna_model *model;
    sterna_error error = {0};
    sterna_model_params params;
    sterna_model_defaults(&params);
    params.i2s_layout = "arm-64";
    cr_expect_eq(sterna_model_open(path, &params, &model, &error), STERNA_E_UNSUPPORTED);
    cr_expect(strstr(error.message, "I2_S layout 'arm-64' is not supported (supported: x86-128)"), "%s",
              error.message);
    params.struct_size = 0;
    cr_expect_eq(sterna_model_open(path, &params, &model, &error), STERNA_E_ARGUMENT);
    cr_expect(strstr(error.message, "struct_size is 0; initialise"), "%s", error.message);
    params.struct_size = offsetof(sterna_model_params, i2s_layout); /* an older caller */
    cr_expect_eq(sterna_model_open(path, &params, &model, &error), STERNA_OK, "%s", error.message);
    sterna_model_close(&model);
    cr_expect_eq(sterna_model_open(NULL, NULL, &model, &error), STERNA_E_ARGUMENT);
    cr_expect_eq(sterna_model_open(path, NULL, NULL, &error), STERNA_E_ARGUMENT);
    cr_expect_eq(sterna_model_open("/nonexistent", NULL, &model, &error), STERNA_E_IO);
    sterna_model_close(&model);
    sterna_model_close(NULL);
    unlink(path);
}

/* ---- damage ---- */

/* Flipped bits in a model's directory: an error or a model that decodes without harm. */
Test(model, bit_flips_are_safe)
{
    tiny_spec spec = small("bitnet-b1.58");
    spec.n_layer = 1;
    spec.tensor_scales = true;
    spec.matrix = ST_ENC_I2_S;
    size_t size;
    unsigned char *bytes = tiny_bytes(&spec, &size);
    int opened = 0, refused = 0;
    for (size_t bit = 0; bit < 8 * 2048; bit++) {
        bytes[bit / 8] ^= (unsigned char)(1 << bit % 8);
        st_gguf *g = NULL;
        sterna_model *model = NULL;
        sterna_error error = {0};
        sterna_status status = st_gguf_open_memory("flip", bytes, size, &g, &error);
        status = status ? status : st_model_open_gguf(&g, NULL, &model, &error);
        cr_assert_null(g);
        cr_assert_eq(status == STERNA_OK, model != NULL);
        opened += model != NULL;
        refused += model == NULL;
        for (int role = 0; model && role < ST_ROLE_COUNT; role++) {
            st_decoded d;
            if (!st_role_is_vector((st_role)role) && st_model_has(model, (st_role)role, 0) &&
                st_model_matrix(model, (st_role)role, 0, &d, &error) == STERNA_OK)
                st_decoded_free(&d);
        }
        sterna_model_close(&model);
        bytes[bit / 8] ^= (unsigned char)(1 << bit % 8);
    }
    cr_expect(opened > 100 && refused > 1000, "%d opened, %d refused", opened, refused);
    st_free(bytes);
}
