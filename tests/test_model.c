/* Models: roles, shapes, flags, defaults, parameters. */
#include "tests/support/edit_model.h"

#include <criterion/criterion.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

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
                cr_assert_eq(st_model_matrix(model, ST_ROLE_TOKEN_EMBD, 0, NULL, &d, &error), STERNA_OK, "%s",
                             error.message);
                cr_assert_eq(st_matrix_check(&d.matrix, &error), STERNA_OK, "%s", error.message);
                st_decoded_free(&d);
                cr_assert_eq(st_model_matrix(model, ST_ROLE_FFN_DOWN, 1, NULL, &d, &error), STERNA_OK, "%s",
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
        tiny_spec spec = edit_base(flags[i].arch);
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
    tiny_spec spec = edit_base("llama");
    spec.biases = spec.tensor_scales = spec.rope_freqs = true;
    spec.tied = false;
    spec.output = ST_ENC_Q8_0;
    spec.n_kv_head = 1;
    spec.head_dim = 128;
    spec.n_rot = 96;
    sterna_model *model = tiny_open(&spec);
    sterna_error error = {0};
    st_decoded d;
    cr_assert_eq(st_model_matrix(model, ST_ROLE_ATTN_K, 1, NULL, &d, &error), STERNA_OK, "%s", error.message);
    cr_expect(d.matrix.rows == 128 && d.matrix.cols == 256 && d.bias);
    cr_expect(d.out_scale > 0.7f && d.out_scale < 1.3f && d.out_scale != 1.0f);
    cr_expect(d.bias[0] != 0 && d.bias[127] != 0 && fabsf(d.bias[127]) <= 0.25f);
    st_decoded_free(&d);
    cr_expect(!d.memory && !d.bias);
    cr_assert_eq(st_model_matrix(model, ST_ROLE_FFN_UP, 0, NULL, &d, &error), STERNA_OK, "%s", error.message);
    cr_expect(d.matrix.rows == 512 && !d.bias && d.out_scale != 1.0f);
    st_decoded_free(&d);
    cr_assert_eq(st_model_matrix(model, ST_ROLE_OUTPUT, 1, NULL, &d, &error), STERNA_OK, "%s", error.message);
    cr_expect(d.matrix.type == ST_Q8 && d.matrix.rows == 272 && d.out_scale == 1.0f);
    st_decoded_free(&d);
    float freqs[48];
    cr_assert_eq(st_model_vector(model, ST_ROLE_ROPE_FREQS, 0, freqs, 48, &error), STERNA_OK, "%s",
                 error.message);
    cr_expect(freqs[47] >= 1.0f && freqs[47] <= 3.0f);
    cr_expect_eq(st_model_bytes(model, ST_ROLE_ROPE_FREQS, 0), 48 * 4);
    cr_expect_eq(st_model_bytes(model, ST_ROLE_ATTN_Q, 0), 4 * 128 * 66);
    cr_expect_eq(st_model_bytes(model, ST_ROLE_ATTN_SUB_NORM, 0), 0);
    cr_expect_eq(st_model_matrix(model, ST_ROLE_ATTN_Q, 0, NULL, &d, NULL), STERNA_OK);
    st_decoded_free(&d);
    sterna_model_close(&model);
}

/* All encodings hold the same weights, so a role decodes to the same values from each. */
Test(model, encodings_agree)
{
    static const st_encoding matrices[] = {ST_ENC_TQ1_0, ST_ENC_TQ2_0, ST_ENC_I2_S};
    st_decoded d[3];
    for (int i = 0; i < 3; i++) {
        tiny_spec spec = edit_base("bitnet-b1.58");
        spec.matrix = matrices[i];
        sterna_model *model = tiny_open(&spec);
        sterna_error error = {0};
        cr_assert_eq(st_model_matrix(model, ST_ROLE_ATTN_V, 1, NULL, &d[i], &error), STERNA_OK, "%s",
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
    tiny_spec spec = edit_base(arch);
    sterna_model *model;
    sterna_error error = {0};
    cr_assert_eq(edit_open(&spec, &e, NULL, &model, &error), STERNA_OK, "%s", error.message);
    st_config c = *st_model_config(model);
    sterna_model_close(&model);
    return c;
}

Test(model, absent_keys_have_defaults)
{
    cr_expect_eq(config_after("llama", (edit){EDIT_DROP_KEY, "llama.attention.key_length", NULL, 0}).head_dim,
                 64);
    cr_expect_eq(
        config_after("llama", (edit){EDIT_DROP_KEY, "llama.attention.value_length", NULL, 0}).head_dim, 64);
    cr_expect_eq(config_after("llama", (edit){EDIT_DROP_KEY, "llama.rope.dimension_count", NULL, 0}).n_rot,
                 64);
    cr_expect_eq(config_after("llama", (edit){EDIT_DROP_KEY, "llama.rope.freq_base", NULL, 0}).rope_base,
                 10000.0f);
    tiny_spec spec = edit_base("llama");
    spec.n_kv_head = 4;
    sterna_model *model;
    sterna_error error = {0};
    edit e = {EDIT_DROP_KEY, "llama.attention.head_count_kv", NULL, 0};
    cr_assert_eq(edit_open(&spec, &e, NULL, &model, &error), STERNA_OK, "%s", error.message);
    cr_expect_eq(st_model_config(model)->n_kv_head, 4);
    sterna_model_close(&model);
    spec.tokenizer = true;
    e.target = "llama.vocab_size";
    cr_assert_eq(edit_open(&spec, &e, NULL, &model, &error), STERNA_OK, "%s", error.message);
    cr_expect_eq(st_model_config(model)->n_vocab, 272, "from the list of tokens");
    sterna_model_close(&model);
}

Test(model, keys_that_are_understood_change_the_configuration)
{
    cr_expect_eq(
        config_after("bitnet", (edit){EDIT_SET_FLOAT, "bitnet.rope.scaling.factor", NULL, 4}).rope_scale,
        0.25f);
    cr_expect_eq(
        config_after("bitnet", (edit){EDIT_SET_FLOAT, "bitnet.rope.scaling.factor", NULL, 0}).rope_scale,
        1.0f);
    cr_expect_eq(config_after("llama", (edit){EDIT_SET_FLOAT, "llama.rope.scale_linear", NULL, 2}).rope_scale,
                 0.5f);
    cr_expect_eq(
        config_after("llama", (edit){EDIT_SET_TEXT, "llama.rope.scaling.type", "none", 0}).rope_scale, 1.0f);
    cr_expect_eq(
        config_after("llama", (edit){EDIT_SET_FLOAT, "llama.rope.freq_base", NULL, 500000}).rope_base, 5e5f);
    cr_expect_eq(config_after("llama", (edit){EDIT_SET_FLOAT, "llama.attention.scale", NULL, 0.5}).attn_scale,
                 0.5f);
    cr_expect_eq(config_after("llama", (edit){EDIT_SET_FLOAT, "llama.attention.scale", NULL, 0}).attn_scale,
                 0.125f);
    cr_expect_eq(config_after("llama", (edit){EDIT_SET_INT, "llama.rope.dimension_count", NULL, 32}).n_rot,
                 32);
    cr_expect_eq(config_after("llama", (edit){EDIT_SET_INT, "llama.expert_count", NULL, 0}).n_layer, 2,
                 "neutral");
    cr_expect_eq(config_after("llama", (edit){EDIT_SET_BOOL, "llama.attention.causal", NULL, 1}).n_layer, 2,
                 "neutral");
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

Test(model, names_are_safe_to_print)
{
    tiny_spec spec = edit_base("llama");
    sterna_model *model;
    sterna_error error = {0};
    edit e = {EDIT_SET_TEXT, "general.name", "a\x1b[2J\nb", 0};
    cr_assert_eq(edit_open(&spec, &e, NULL, &model, &error), STERNA_OK, "%s", error.message);
    sterna_model_info info = {.struct_size = sizeof info};
    cr_expect_eq(sterna_model_describe(model, &info), STERNA_OK);
    cr_expect_str_eq(info.name, "a?[2J?b");
    sterna_model_close(&model);
}

Test(model, unused_tensors_are_reported)
{
    heard h = {.go_on = true};
    sterna_model_params params;
    sterna_model_defaults(&params);
    params.log = hear;
    params.user = &h;
    tiny_spec spec = edit_base("bitnet"); /* its head is always the embedding */
    spec.tied = false;
    spec.tokenizer = true;
    sterna_model *model;
    sterna_error error = {0};
    edit nothing = {EDIT_NOTHING, "", NULL, 0};
    cr_assert_eq(edit_open(&spec, &nothing, &params, &model, &error), STERNA_OK, "%s", error.message);
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
    tiny_spec spec = edit_base("llama");
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
    tiny_spec spec = edit_base("llama");
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
    cr_expect_str_eq(error.message,
                     "model parameters of 0 bytes instead of 48: sterna_model_defaults sets the size");
    cr_expect_eq(sterna_model_open(NULL, NULL, &model, &error), STERNA_E_ARGUMENT);
    cr_expect_eq(sterna_model_open(path, NULL, NULL, &error), STERNA_E_ARGUMENT);
    cr_expect_eq(sterna_model_open("/nonexistent", NULL, &model, &error), STERNA_E_IO);
    sterna_model_close(&model);
    sterna_model_close(NULL);
    unlink(path);
}
