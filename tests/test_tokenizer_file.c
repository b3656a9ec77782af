/* Tokenizers from files: the keys, what is refused and with which words, and the demo model's ids. */
#include "tests/support/small_vocab.h"

#include <criterion/criterion.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#if STERNA_TEXT
#include <jansson.h>

/* ---- broken vocabularies ---- */

static small_vocab vocab;

static void duplicate(void)
{
    vocab.token[SMALL_MERGED + 2] = vocab.token[SMALL_MERGED];
}
static void missing_byte(void)
{
    vocab.token[small_byte('x')] = (st_gguf_string){"<0x78>", 6};
}
static void not_byte_level(void)
{
    vocab.source.n_token = vocab.source.n_type = SMALL_BYTE;
}
static void byte_is_control(void)
{
    vocab.type[small_byte(0xe4)] = ST_TOKEN_CONTROL;
}
static void type_0(void)
{
    vocab.type[17] = 0;
}
static void type_7(void)
{
    vocab.type[17] = 7;
}
static void few_types(void)
{
    vocab.source.n_type--;
}
static void merge_left(void)
{
    vocab.merge[3] = (st_gguf_string){"hx e", 4};
}
static void merge_right(void)
{
    vocab.merge[3] = (st_gguf_string){"h xe", 4};
}
static void merge_result(void)
{
    vocab.merge[3] = (st_gguf_string){"x y", 3};
}
static void merge_without_gap(void)
{
    vocab.merge[3] = (st_gguf_string){"he", 2};
}
static void merge_empty(void)
{
    vocab.merge[3] = (st_gguf_string){"", 0};
}
static void merge_half(void)
{
    vocab.merge[3] = (st_gguf_string){"he ", 3};
}
static void eos_outside(void)
{
    vocab.source.duty[ST_DUTY_EOS] = (int64_t)vocab.source.n_token;
}
static void bos_negative(void)
{
    vocab.source.duty[ST_DUTY_BOS] = -2;
}
static void no_tokens(void)
{
    vocab.source.n_token = 0;
}
static void many_tokens(void)
{
    vocab.source.n_token = ST_MAX_TOKEN + 1;
}
static void many_merges(void)
{
    vocab.source.n_merge = ST_MAX_MERGE + 1;
}
static void long_token(void)
{
    vocab.token[9].length = ST_MAX_TOKEN_BYTES + 1;
}
static void unknown_pre(void)
{
    vocab.source.pre = (st_gguf_string){"gpt-5", 5};
}

Test(tokenizer_file, broken_vocabularies_are_refused)
{
    static const struct {
        void (*bend)(void);
        sterna_status status;
        const char *message;
    } cases[] = {
        {duplicate, STERNA_E_FORMAT, "tokens 263 and 265 are both \"he\""},
        {missing_byte, STERNA_E_FORMAT, "1 bytes have no token, the first is 0x78"},
        {not_byte_level, STERNA_E_FORMAT,
         "of 7 tokens is not byte-level: 243 bytes have no token, the first is 0x00"},
        {byte_is_control, STERNA_E_FORMAT, "1 bytes have no token, the first is 0xe4"},
        {type_0, STERNA_E_FORMAT, "token 17 has type 0"},
        {type_7, STERNA_E_FORMAT, "token 17 has type 7"},
        {few_types, STERNA_E_FORMAT, "tokenizer.ggml.token_type has 287 elements for 288 tokens"},
        {merge_left, STERNA_E_FORMAT,
         "merge 3, \"hx e\": its left part is not in the vocabulary of 288 tokens"},
        {merge_right, STERNA_E_FORMAT, "merge 3, \"h xe\": its right part is not"},
        {merge_result, STERNA_E_FORMAT, "merge 3, \"x y\": its result is not"},
        {merge_without_gap, STERNA_E_FORMAT, "merge 3, \"he\", is not two texts"},
        {merge_empty, STERNA_E_FORMAT, "merge 3, \"\", is not two texts"},
        {merge_half, STERNA_E_FORMAT, "merge 3, \"he \", is not two texts"},
        {eos_outside, STERNA_E_FORMAT, "tokenizer.ggml.eos_token_id is 288 in a vocabulary of 288 tokens"},
        {bos_negative, STERNA_E_FORMAT, "tokenizer.ggml.bos_token_id is -2"},
        {no_tokens, STERNA_E_LIMIT, "has 0 tokens, 1 to 1048576 are possible"},
        {many_tokens, STERNA_E_LIMIT, "has 1048577 tokens"},
        {many_merges, STERNA_E_LIMIT, "has 4194305 merges, at most 4194304"},
        {long_token, STERNA_E_LIMIT, "token 9 has 16385 bytes, at most 16384"},
        {unknown_pre, STERNA_E_UNSUPPORTED, "unknown pre-tokenizer \"gpt-5\"; known are: llama-bpe"},
    };
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        small_vocab_init(&vocab, "gpt-2");
        cases[i].bend();
        st_tokenizer *tokenizer = NULL;
        sterna_error error = {0};
        cr_assert_eq(st_tokenizer_build(&vocab.source, NULL, &tokenizer, &error), cases[i].status,
                     "case %zu: %s", i, error.message);
        cr_assert_null(tokenizer);
        cr_assert_not_null(strstr(error.message, cases[i].message), "case %zu: %s", i, error.message);
    }
}

/* Bytes that UTF-8 never has may be missing; the text that has one is refused, not changed. */
Test(tokenizer_file, bytes_outside_utf8_may_be_missing)
{
    small_vocab_init(&vocab, "gpt-2");
    vocab.token[small_byte(0xf5)] = (st_gguf_string){"<0xf5>", 6};
    st_tokenizer *tokenizer = NULL;
    sterna_error error = {0};
    cr_assert_eq(st_tokenizer_build(&vocab.source, NULL, &tokenizer, &error), STERNA_OK, "%s", error.message);
    sterna_token ids[4];
    cr_assert_eq(st_tokenizer_encode(tokenizer, "a\xf6", 2, ids, 4, false, false, &error), 2);
    cr_assert_eq(st_tokenizer_encode(tokenizer, "a\xf5", 2, ids, 4, false, false, &error),
                 STERNA_E_UNSUPPORTED);
    cr_assert_not_null(strstr(error.message, "byte 0xf5"), "%s", error.message);
    st_tokenizer_destroy(&tokenizer);
}

/* A merge listed twice has its first rank. */
Test(tokenizer_file, first_of_equal_merges_counts)
{
    small_vocab_init(&vocab, "gpt-2");
    vocab.merge[vocab.source.n_merge++] = vocab.merge[0]; /* "h e" again, behind "t h" */
    st_tokenizer *tokenizer = NULL;
    cr_assert_eq(st_tokenizer_build(&vocab.source, NULL, &tokenizer, NULL), STERNA_OK);
    sterna_token ids[4];
    cr_assert_eq(st_tokenizer_encode(tokenizer, "the", 3, ids, 4, false, false, NULL), 1);
    st_tokenizer_destroy(&tokenizer);
}

Test(tokenizer_file, text_over_the_limit)
{
    small_vocab_init(&vocab, "gpt-2");
    st_tokenizer *tokenizer = NULL;
    sterna_error error = {0};
    cr_assert_eq(st_tokenizer_build(&vocab.source, NULL, &tokenizer, NULL), STERNA_OK);
    cr_assert_eq(
        st_tokenizer_encode(tokenizer, "", (size_t)ST_MAX_TEXT_BYTES + 1, NULL, 0, false, false, &error),
        STERNA_E_LIMIT);
    cr_assert_not_null(strstr(error.message, "1073741825 bytes"), "%s", error.message);
    st_tokenizer_destroy(&tokenizer);
}

/* ---- files in memory ---- */

typedef struct file {
    unsigned char *data; /* [capacity] */
    size_t size, capacity;
} file;

static void put(file *f, const void *data, size_t size)
{
    if (f->size + size > f->capacity) {
        f->capacity = 2 * (f->size + size);
        f->data = realloc(f->data, f->capacity);
    }
    if (size > 0)
        memcpy(f->data + f->size, data, size);
    f->size += size;
}

static void put_u32(file *f, uint32_t value)
{
    put(f, &value, sizeof value);
}

static void put_string(file *f, const char *text, size_t length)
{
    uint64_t n = length;
    put(f, &n, sizeof n);
    put(f, text, length);
}

static void put_key(file *f, const char *key, uint32_t type)
{
    uint64_t n_kv;
    memcpy(&n_kv, f->data + 16, sizeof n_kv);
    n_kv++;
    memcpy(f->data + 16, &n_kv, sizeof n_kv);
    put_string(f, key, strlen(key));
    put_u32(f, type);
}

static file start_file(const char *architecture, const char *model)
{
    file f = {0};
    uint64_t count = 0;
    put(&f, "GGUF", 4);
    put_u32(&f, 3);
    put(&f, &count, sizeof count);
    put(&f, &count, sizeof count);
    put_key(&f, "general.architecture", ST_GGUF_STRING);
    put_string(&f, architecture, strlen(architecture));
    if (model) {
        put_key(&f, "tokenizer.ggml.model", ST_GGUF_STRING);
        put_string(&f, model, strlen(model));
    }
    return f;
}

static void put_strings(file *f, const char *key, const st_gguf_string *strings, size_t n, size_t n_filler)
{
    uint64_t count = n + n_filler;
    put_key(f, key, ST_GGUF_ARRAY);
    put_u32(f, ST_GGUF_STRING);
    put(f, &count, sizeof count);
    for (size_t i = 0; i < n; i++)
        put_string(f, strings[i].data, strings[i].length);
    for (size_t i = 0; i < n_filler; i++) {
        char text[24];
        put_string(f, text, (size_t)snprintf(text, sizeof text, "[FILL%zu]", i));
    }
}

static void put_vocab(file *f, const char *pre, size_t n_filler)
{
    small_vocab_init(&vocab, "gpt-2");
    if (pre) {
        put_key(f, "tokenizer.ggml.pre", ST_GGUF_STRING);
        put_string(f, pre, strlen(pre));
    }
    put_strings(f, "tokenizer.ggml.tokens", vocab.token, vocab.source.n_token, n_filler);
    put_strings(f, "tokenizer.ggml.merges", vocab.merge, vocab.source.n_merge, 0);
    uint64_t count = vocab.source.n_token + n_filler;
    put_key(f, "tokenizer.ggml.token_type", ST_GGUF_ARRAY);
    put_u32(f, ST_GGUF_I32);
    put(f, &count, sizeof count);
    for (size_t i = 0; i < count; i++)
        put_u32(f, i < vocab.source.n_token ? (uint32_t)vocab.type[i] : ST_TOKEN_NORMAL);
}

static void put_u32_key(file *f, const char *key, uint32_t value)
{
    put_key(f, key, ST_GGUF_U32);
    put_u32(f, value);
}

static void put_bool_key(file *f, const char *key, bool value)
{
    unsigned char byte = value;
    put_key(f, key, ST_GGUF_BOOL);
    put(f, &byte, 1);
}

static char logged[512];
static int logged_level;

static void keep_line(void *user, sterna_log_level level, const char *line)
{
    (void)user;
    logged_level = (int)level;
    snprintf(logged, sizeof logged, "%s", line);
}

/* Ends the file, reads it back and frees it. */
static sterna_status create(file *f, const char *pre_override, st_tokenizer **tokenizer, sterna_error *error)
{
    static const st_log log = {keep_line, NULL};
    st_gguf *gguf = NULL;
    static const unsigned char padding[32];
    put(f, padding, (32 - f->size % 32) % 32);
    logged[0] = '\0';
    logged_level = -1;
    sterna_status status = st_gguf_open_memory("memory.gguf", f->data, f->size, &gguf, error);
    cr_assert_eq(status, STERNA_OK, "%s", error->message);
    status = st_tokenizer_create(gguf, pre_override, &log, tokenizer, error);
    st_gguf_close(&gguf);
    free(f->data);
    return status;
}

Test(tokenizer_file, keys)
{
    file f = start_file("llama", "gpt2");
    put_vocab(&f, "qwen2", 3);
    put_u32_key(&f, "tokenizer.ggml.bos_token_id", SMALL_BOS);
    put_u32_key(&f, "tokenizer.ggml.eos_token_id", SMALL_EOT);
    put_u32_key(&f, "tokenizer.ggml.fim_pad_token_id", SMALL_THINK);
    put_bool_key(&f, "tokenizer.ggml.add_bos_token", true);
    put_bool_key(&f, "tokenizer.ggml.add_eos_token", true);
    st_tokenizer *tokenizer = NULL;
    sterna_error error = {0};
    cr_assert_eq(create(&f, NULL, &tokenizer, &error), STERNA_OK, "%s", error.message);
    cr_assert_eq(logged_level, -1, "%s", logged);
    cr_assert_str_eq(st_tokenizer_pre(tokenizer), "qwen2");
    cr_assert_eq(st_tokenizer_size(tokenizer), (int32_t)vocab.source.n_token + 3);
    cr_assert(st_tokenizer_is_end(tokenizer, SMALL_THINK) && st_tokenizer_is_end(tokenizer, SMALL_EOT));
    sterna_token ids[8];
    /* The file is closed by now: nothing may point into it. */
    cr_assert_eq(st_tokenizer_encode(tokenizer, "the<|begin|>", 12, ids, 8, true, true, &error), 4);
    cr_assert(ids[0] == SMALL_BOS && ids[1] == small_merged("the") && ids[2] == SMALL_BOS &&
              ids[3] == SMALL_EOT);
    st_tokenizer_destroy(&tokenizer);
}

Test(tokenizer_file, pre_is_overridden)
{
    file f = start_file("llama", "gpt2");
    put_vocab(&f, "gpt-99", 0);
    st_tokenizer *tokenizer = NULL;
    sterna_error error = {0};
    cr_assert_eq(create(&f, "smollm", &tokenizer, &error), STERNA_OK, "%s", error.message);
    cr_assert_str_eq(st_tokenizer_pre(tokenizer), "smollm");
    st_tokenizer_destroy(&tokenizer);
}

Test(tokenizer_file, missing_pre)
{
    enum { LLAMA3 = 128256 };
    static const struct {
        const char *architecture;
        size_t n_token;
        const char *pre;
        sterna_log_level level;
    } cases[] = {
        {"bitnet-b1.58", LLAMA3, "llama-bpe", STERNA_LOG_INFO},
        {"bitnet-25", LLAMA3, "llama-bpe", STERNA_LOG_INFO},
        {"llama", LLAMA3, "default", STERNA_LOG_WARN},
        {"bitnet-b1.58", LLAMA3 + 1, "default", STERNA_LOG_WARN},
        {"bitnet-b1.58", 300, "default", STERNA_LOG_WARN},
    };
    small_vocab_init(&vocab, "gpt-2");
    size_t n_small = vocab.source.n_token;
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        file f = start_file(cases[i].architecture, "gpt2");
        put_vocab(&f, NULL, cases[i].n_token - n_small);
        st_tokenizer *tokenizer = NULL;
        sterna_error error = {0};
        cr_assert_eq(create(&f, NULL, &tokenizer, &error), STERNA_OK, "%s", error.message);
        cr_assert_str_eq(st_tokenizer_pre(tokenizer), cases[i].pre, "case %zu", i);
        cr_assert_eq(logged_level, (int)cases[i].level, "case %zu: %s", i, logged);
        cr_assert_not_null(strstr(logged, cases[i].pre), "case %zu: %s", i, logged);
        st_tokenizer_destroy(&tokenizer);
    }
}

static void expect_refusal(file *f, sterna_status want, const char *message)
{
    st_tokenizer *tokenizer = NULL;
    sterna_error error = {0};
    cr_assert_eq(create(f, NULL, &tokenizer, &error), want, "%s: %s", message, error.message);
    cr_assert_null(tokenizer);
    cr_assert(want == STERNA_OK || strstr(error.message, message), "%s: %s", message, error.message);
}

Test(tokenizer_file, files_without_a_usable_vocabulary)
{
    file f = start_file("llama", NULL);
    expect_refusal(&f, STERNA_OK, "");
    f = start_file("llama", "no_vocab");
    expect_refusal(&f, STERNA_OK, "");
    f = start_file("llama", "llama");
    expect_refusal(&f, STERNA_E_UNSUPPORTED, "memory.gguf: tokenizer model \"llama\"; only \"gpt2\"");
    f = start_file("llama", "gpt2");
    expect_refusal(&f, STERNA_E_FORMAT, "tokenizer.ggml.tokens");
    f = start_file("llama", "gpt2");
    put_strings(&f, "tokenizer.ggml.tokens", NULL, 0, 300);
    expect_refusal(&f, STERNA_E_FORMAT, "tokenizer.ggml.merges");
    f = start_file("llama", "gpt2");
    put_vocab(&f, "qwen2", 0);
    put_u32_key(&f, "tokenizer.ggml.eot_token_id", (uint32_t)vocab.source.n_token);
    expect_refusal(&f, STERNA_E_FORMAT, "tokenizer.ggml.eot_token_id");
    f = start_file("llama", "gpt2");
    put_vocab(&f, "qwen2", 0);
    put_u32_key(&f, "tokenizer.ggml.add_bos_token", 1);
    expect_refusal(&f, STERNA_E_FORMAT, "tokenizer.ggml.add_bos_token");
    f = start_file("llama", "gpt2");
    put_vocab(&f, "gpt-99", 0);
    expect_refusal(&f, STERNA_E_UNSUPPORTED, "gpt-99");
}

/* ---- the demo model: ids that another implementation computed (one {"text", "ids"} per line) ---- */

static void expect_line(const sterna_model *model, const char *line, int number)
{
    json_error_t why;
    json_t *object = json_loads(line, JSON_ALLOW_NUL, &why);
    cr_assert_not_null(object, "line %d: %s", number, why.text);
    const json_t *text = json_object_get(object, "text"), *ids = json_object_get(object, "ids");
    cr_assert(json_is_string(text) && json_is_array(ids), "line %d", number);
    size_t n_want = json_array_size(ids);
    sterna_token *got = malloc((n_want + 1) * sizeof *got);
    sterna_error error = {0};
    int64_t n = sterna_tokenize(model, json_string_value(text), json_string_length(text), got, n_want, false,
                                true, &error);
    cr_assert_eq(n, (int64_t)n_want, "line %d: %lld tokens, not %zu %s", number, (long long)n, n_want,
                 error.message);
    for (size_t i = 0; i < n_want; i++)
        cr_assert_eq(got[i], json_integer_value(json_array_get(ids, i)), "line %d: token %zu is %d", number,
                     i, got[i]);
    free(got);
    json_decref(object);
}

Test(tokenizer_file, demo_model_agrees_with_its_trainer)
{
    static const char path[] = STERNA_SOURCE_DIR "/models/sterna-demo.gguf";
    sterna_model *model = NULL;
    sterna_error error = {0};
    sterna_status status = sterna_model_open(path, NULL, &model, &error);
    cr_assert_eq(status, STERNA_OK, "%s", error.message);
    FILE *lines = fopen(STERNA_SOURCE_DIR "/tests/data/tokenizer_demo.jsonl", "r");
    cr_assert_not_null(lines);
    static char line[1 << 16];
    int number = 0;
    while (fgets(line, sizeof line, lines))
        expect_line(model, line, ++number);
    fclose(lines);
    cr_assert_geq(number, 400);

    char text[32] = "";
    sterna_token eos = -1;
    cr_assert_eq(sterna_tokenize(model, "<|end_of_text|>", 15, &eos, 1, false, true, &error), 1);
    cr_assert(sterna_token_is_end(model, eos) && !sterna_token_is_end(model, eos + 1));
    cr_assert_eq(sterna_token_text(model, eos, text, sizeof text, true), 15);
    cr_assert_eq(sterna_token_text(model, eos, text, sizeof text, false), 0);
    cr_assert_eq(sterna_tokenize(model, NULL, 1, &eos, 1, false, true, &error), STERNA_E_ARGUMENT);
    cr_assert_eq(sterna_tokenize(NULL, "", 0, &eos, 1, false, true, &error), STERNA_E_ARGUMENT);
    sterna_model_close(&model);
}

#else
Test(tokenizer_file, none_in_this_build)
{
    st_tokenizer *tokenizer = NULL;
    cr_assert_eq(st_tokenizer_create(NULL, NULL, NULL, &tokenizer, NULL), STERNA_OK);
    cr_assert_null(tokenizer);
}
#endif
