/* Models that are refused, and damage that must be harmless. */
#include "host/model/model_private.h"
#include "host/model/roles.h"
#include "tests/support/edit_model.h"
#include "tests/support/model_input.h"

#include <criterion/criterion.h>
#include <dirent.h>
#include <stdio.h>
#include <string.h>

/* ---- refusals ---- */

static const struct {
    const char *arch;
    edit edit;
    sterna_status status;
    const char *message;
} bad_models[] = {
    {"llama",
     {EDIT_DROP_KEY, "general.architecture", NULL, 0},
     STERNA_E_FORMAT,
     "key 'general.architecture' is missing"},
    {"llama",
     {EDIT_SET_TEXT, "general.architecture", "qwen35", 0},
     STERNA_E_UNSUPPORTED,
     "architecture 'qwen35' is not supported (supported: bitnet-b1.58, bitnet-25, bitnet, llama)"},
    {"llama",
     {EDIT_DROP_KEY, "llama.context_length", NULL, 0},
     STERNA_E_FORMAT,
     "key 'llama.context_length' is missing"},
    {"llama",
     {EDIT_DROP_KEY, "llama.block_count", NULL, 0},
     STERNA_E_FORMAT,
     "key 'llama.block_count' is missing"},
    {"llama",
     {EDIT_DROP_KEY, "llama.embedding_length", NULL, 0},
     STERNA_E_FORMAT,
     "'llama.embedding_length' is missing"},
    {"llama", {EDIT_DROP_KEY, "llama.vocab_size", NULL, 0}, STERNA_E_FORMAT, "no vocabulary size"},
    {"llama",
     {EDIT_DROP_KEY, "llama.attention.layer_norm_rms_epsilon", NULL, 0},
     STERNA_E_FORMAT,
     "key 'llama.attention.layer_norm_rms_epsilon' is missing"},
    {"llama",
     {EDIT_SET_FLOAT, "llama.attention.layer_norm_rms_epsilon", NULL, -1},
     STERNA_E_FORMAT,
     "is -1, not positive"},
    {"llama",
     {EDIT_SET_INT, "llama.block_count", NULL, 513},
     STERNA_E_FORMAT,
     "is 513, allowed are 1 to 512"},
    {"llama",
     {EDIT_SET_INT, "llama.context_length", NULL, 0},
     STERNA_E_FORMAT,
     "is 0, allowed are 1 to 1048576"},
    {"llama",
     {EDIT_SET_INT, "llama.attention.head_count", NULL, 5},
     STERNA_E_FORMAT,
     "5 attention heads cannot share 2 key heads evenly"},
    {"llama",
     {EDIT_SET_PAIR, "llama.attention.head_count", NULL, 4},
     STERNA_E_UNSUPPORTED,
     "key 'llama.attention.head_count' differs between layers (4 in layer 0, 5 in layer 1)"},
    {"llama",
     {EDIT_SET_INT, "llama.attention.value_length", NULL, 32},
     STERNA_E_UNSUPPORTED,
     "heads of 64 key and 32 value dimensions"},
    {"llama",
     {EDIT_SET_INT, "llama.rope.dimension_count", NULL, 63},
     STERNA_E_FORMAT,
     "key 'llama.rope.dimension_count' is 63, but heads of 64 dimensions need an even number up to that"},
    {"llama",
     {EDIT_SET_INT, "llama.rope.dimension_count", NULL, 128},
     STERNA_E_FORMAT,
     "is 128, but heads of 64"},
    {"bitnet-b1.58",
     {EDIT_SET_INT, "bitnet-b1.58.rope.dimension_count", NULL, 32},
     STERNA_E_FORMAT,
     "is 32, but heads of 64 dimensions need the same number"},
    {"llama",
     {EDIT_SET_FLOAT, "llama.rope.freq_base", NULL, 0},
     STERNA_E_FORMAT,
     "freq_base' is 0, not positive"},
    {"llama",
     {EDIT_SET_TEXT, "llama.rope.scaling.type", "yarn", 0},
     STERNA_E_UNSUPPORTED,
     "key 'llama.rope.scaling.type' is 'yarn'; supported are 'none' and 'linear'"},
    {"llama",
     {EDIT_SET_FLOAT, "llama.rope.scaling.factor", NULL, -2},
     STERNA_E_FORMAT,
     "is -2, not positive"},
    {"llama",
     {EDIT_SET_INT, "llama.expert_count", NULL, 8},
     STERNA_E_UNSUPPORTED,
     "key 'llama.expert_count' is 8, which architecture 'llama' does not support (only 0)"},
    {"llama",
     {EDIT_SET_FLOAT, "llama.logit_scale", NULL, 0.5},
     STERNA_E_UNSUPPORTED,
     "'llama.logit_scale' is 0.5"},
    {"llama", {EDIT_SET_BOOL, "llama.attention.causal", NULL, 0}, STERNA_E_UNSUPPORTED, "causal' is false"},
    {"llama",
     {EDIT_SET_INT, "llama.attention.sliding_window", NULL, 64},
     STERNA_E_UNSUPPORTED,
     "sliding_window' is 64"},
    {"llama",
     {EDIT_SET_INT, "prism.hadamard.version", NULL, 1},
     STERNA_E_UNSUPPORTED,
     "stored in a rotated basis"},
    {"llama",
     {EDIT_SET_INT, "llama.vocab_size", NULL, 273},
     STERNA_E_FORMAT,
     "tensor 'token_embd.weight' has shape 256 x 272 x 1 x 1, but the metadata asks for 256 x 273"},
    {"llama",
     {EDIT_SET_INT, "llama.feed_forward_length", NULL, 768},
     STERNA_E_FORMAT,
     "tensor 'blk.0.ffn_gate.weight' has shape 256 x 512 x 1 x 1, but the metadata asks for 256 x 768"},
    {"llama",
     {EDIT_SET_INT, "llama.block_count", NULL, 3},
     STERNA_E_FORMAT,
     "tensor 'blk.2.attn_norm.weight' is missing (architecture 'llama', 3 layers)"},
    {"llama",
     {EDIT_DROP_TENSOR, "token_embd.weight", NULL, 0},
     STERNA_E_FORMAT,
     "'token_embd.weight' is missing"},
    {"llama",
     {EDIT_DROP_TENSOR, "blk.1.ffn_down.weight", NULL, 0},
     STERNA_E_FORMAT,
     "'blk.1.ffn_down.weight' is missing"},
    {"bitnet",
     {EDIT_DROP_TENSOR, "blk.1.attn_sub_norm.weight", NULL, 0},
     STERNA_E_FORMAT,
     "tensor 'blk.1.attn_sub_norm.weight' is missing"},
    {"llama",
     {EDIT_RENAME_TENSOR, "blk.0.attn_k.weight", "blk.0.attn_kk.weight", 0},
     STERNA_E_FORMAT,
     "tensor 'blk.0.attn_k.weight' is missing"},
    {"llama",
     {EDIT_RENAME_TENSOR, "blk.0.attn_k.weight", "blk.00.attn_k.weight", 0},
     STERNA_E_FORMAT,
     "tensor 'blk.0.attn_k.weight' is missing"},
    {"llama",
     {EDIT_RESIZE_TENSOR, "blk.1.ffn_norm.weight", NULL, 255},
     STERNA_E_FORMAT,
     "tensor 'blk.1.ffn_norm.weight' has shape 255 x 1 x 1 x 1, but the metadata asks for 256 x 1"},
    {"llama",
     {EDIT_RETYPE_TENSOR, "blk.1.ffn_norm.weight", NULL, 35},
     STERNA_E_UNSUPPORTED,
     "tensor 'blk.1.ffn_norm.weight' is TQ2_0, but must be F32, F16 or BF16"},
    {"llama",
     {EDIT_RETYPE_TENSOR, "blk.1.attn_q.weight", NULL, 1},
     STERNA_E_UNSUPPORTED,
     "tensor 'blk.1.attn_q.weight' is F16, but layers run on ternary matrices only: quantise"},
    {"llama",
     {EDIT_RETYPE_TENSOR, "blk.1.attn_q.weight", NULL, 8},
     STERNA_E_UNSUPPORTED,
     "is Q8_0, but layers run on"},
    {"llama",
     {EDIT_RETYPE_TENSOR, "blk.1.attn_q.weight", NULL, 41},
     STERNA_E_UNSUPPORTED,
     "tensor 'blk.1.attn_q.weight' is Q1_0, which this version cannot decode; it runs TQ1_0, TQ2_0 and I2_S"},
    {"llama",
     {EDIT_RETYPE_TENSOR, "token_embd.weight", NULL, 14},
     STERNA_E_UNSUPPORTED,
     "tensor 'token_embd.weight' is Q6_K; embeddings and heads are supported as F32"},
};

Test(model_bad, bad_models_are_refused_with_the_reason)
{
    for (size_t i = 0; i < sizeof bad_models / sizeof bad_models[0]; i++) {
        tiny_spec spec = edit_base(bad_models[i].arch);
        sterna_model *model;
        sterna_error error = {0};
        sterna_status status = edit_open(&spec, &bad_models[i].edit, NULL, &model, &error);
        cr_expect_eq(status, bad_models[i].status, "%s: status %d, \"%s\"", bad_models[i].message, status,
                     error.message);
        cr_expect_null(model);
        cr_expect(strstr(error.message, bad_models[i].message), "\"%s\" lacks \"%s\"", error.message,
                  bad_models[i].message);
    }
}

Test(model_bad, vocabulary_and_tokens_must_agree)
{
    tiny_spec spec = edit_base("llama");
    spec.tokenizer = true;
    sterna_model *model;
    sterna_error error = {0};
    edit e = {EDIT_SET_INT, "llama.vocab_size", NULL, 300};
    cr_expect_eq(edit_open(&spec, &e, NULL, &model, &error), STERNA_E_FORMAT);
    cr_expect(strstr(error.message, "'llama.vocab_size' is 300, but 'tokenizer.ggml.tokens' lists 272"), "%s",
              error.message);
}

/* Numbers that are no numbers are found when the tensor is asked for. */
Test(model_bad, poisoned_tensors_are_refused_when_decoded)
{
    tiny_spec spec = edit_base("llama");
    spec.biases = spec.tensor_scales = true;
    static const struct {
        edit edit;
        st_role role;
        const char *message;
    } cases[] = {
        {{EDIT_POISON_TENSOR, "blk.1.attn_q.weight", NULL, 65},
         ST_ROLE_ATTN_Q,
         "tensor 'blk.1.attn_q.weight' (TQ2_0): the scale of row 0, group 0 is nan"},
        {{EDIT_POISON_TENSOR, "blk.1.attn_q.bias", NULL, 11},
         ST_ROLE_ATTN_Q,
         "tensor 'blk.1.attn_q.bias': value 2 is"},
        {{EDIT_POISON_TENSOR, "blk.1.attn_q.scale", NULL, 3},
         ST_ROLE_ATTN_Q,
         "tensor 'blk.1.attn_q.scale': value 0 is"},
        {{EDIT_POISON_TENSOR, "blk.1.ffn_norm.weight", NULL, 1023},
         ST_ROLE_FFN_NORM,
         "tensor 'blk.1.ffn_norm.weight': value 255 is"},
    };
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        sterna_model *model;
        sterna_error error = {0};
        cr_assert_eq(edit_open(&spec, &cases[i].edit, NULL, &model, &error), STERNA_OK, "%s", error.message);
        float vector[256];
        st_decoded d;
        sterna_status status = st_role_is_vector(cases[i].role)
                                   ? st_model_vector(model, cases[i].role, 1, vector, 256, &error)
                                   : st_model_matrix(model, cases[i].role, 1, NULL, &d, &error);
        cr_expect_eq(status, STERNA_E_FORMAT);
        cr_expect(strstr(error.message, cases[i].message), "\"%s\" lacks \"%s\"", error.message,
                  cases[i].message);
        sterna_model_close(&model);
    }
}

Test(model_bad, absent_roles_are_named)
{
    tiny_spec spec = edit_base("llama");
    sterna_model *model = tiny_open(&spec);
    sterna_error error = {0};
    st_decoded d;
    float vector[256];
    cr_expect_eq(st_model_matrix(model, ST_ROLE_OUTPUT, 0, NULL, &d, &error), STERNA_E_ARGUMENT);
    cr_expect(strstr(error.message, "the model has no tensor 'output'"), "%s", error.message);
    cr_expect_eq(st_model_vector(model, ST_ROLE_ATTN_SUB_NORM, 1, vector, 256, &error), STERNA_E_ARGUMENT);
    cr_expect(strstr(error.message, "the model has no tensor 'attn_sub_norm' (layer 1)"), "%s",
              error.message);
    sterna_model_close(&model);
}

/* ---- damage ---- */

/* Flipped bits in a model's directory: an error or a model that decodes without harm. */
Test(model_bad, bit_flips_are_safe)
{
    tiny_spec spec = edit_base("bitnet-b1.58");
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
                st_model_matrix(model, (st_role)role, 0, NULL, &d, &error) == STERNA_OK)
                st_decoded_free(&d);
        }
        sterna_model_close(&model);
        bytes[bit / 8] ^= (unsigned char)(1 << bit % 8);
    }
    cr_expect(opened > 100 && refused > 1000, "%d opened, %d refused", opened, refused);
    st_free(bytes);
}

Test(model_bad, fuzzer_corpus)
{
    static const char folder[] = STERNA_SOURCE_DIR "/tests/fuzz/corpus_gguf";
    DIR *list = opendir(folder);
    cr_assert_not_null(list, "%s", folder);
    int n = 0, models = 0;
    for (const struct dirent *entry; (entry = readdir(list)) != NULL;) {
        static uint8_t data[1 << 16];
        char path[1024];
        if (entry->d_name[0] == '.')
            continue;
        snprintf(path, sizeof path, "%s/%s", folder, entry->d_name);
        FILE *file = fopen(path, "rb");
        cr_assert_not_null(file, "%s", path);
        size_t size = fread(data, 1, sizeof data, file);
        fclose(file);
        const char *wrong = model_try_input(data, size);
        cr_assert_null(wrong, "%s: %s", entry->d_name, wrong);
        sterna_model *model;
        models += sterna_model_open(path, NULL, &model, NULL) == STERNA_OK;
        sterna_model_close(&model);
        n++;
    }
    closedir(list);
    cr_assert_geq(n, 5);
    cr_assert_geq(models, 4, "%d of the corpus open", models);
}
