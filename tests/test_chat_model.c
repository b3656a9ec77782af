/* Chat formats of models behind the public interface. */
#include "tests/support/edit_model.h"

#include <criterion/criterion.h>
#include <string.h>

#define MESSAGE(role, text)                                                                                  \
    {                                                                                                        \
        role, text, sizeof(text) - 1                                                                         \
    }
#define COUNT(list) (sizeof(list) / sizeof(list)[0])

#if STERNA_TEXT

static sterna_model *model_with(const char *key, const char *text)
{
    tiny_spec spec;
    tiny_defaults(&spec);
    const edit e = {key ? EDIT_SET_TEXT : EDIT_NOTHING, key ? key : "", text, 0};
    sterna_model *model = NULL;
    sterna_error error = {0};
    cr_assert_eq(edit_open(&spec, &e, NULL, &model, &error), STERNA_OK, "%s", error.message);
    return model;
}

Test(chat_model, own_format)
{
    static const struct {
        const char *key, *text, *format, *message;
    } cases[] = {
        {NULL, NULL, "plain", NULL},
        {"tokenizer.chat_template", "", "plain", NULL},
        {"tokenizer.chat_template", "{{ 'BITNETAssistant: ' }}", "bitnet", NULL},
        {"tokenizer.chat_template", "<|im_start|><|im_end|>", NULL,
         ": chat format chatml needs the control token <|im_start|>, which the vocabulary of 272 tokens does "
         "not "
         "have"},
        {"tokenizer.chat_template", "[INST]", NULL,
         ": the chat template (6 bytes) is none of the known ones"},
        {"tokenizer.chat_template.tool_use", "<|eot_id|>", NULL,
         ": the file has tokenizer.chat_template.tool_use, but no tokenizer.chat_template; choose a chat "
         "format "
         "by name"},
    };
    for (size_t i = 0; i < COUNT(cases); i++) {
        sterna_model *model = model_with(cases[i].key, cases[i].text);
        const char *format = "";
        sterna_error error = {0};
        sterna_status status = sterna_chat_detect(model, &format, &error);
        cr_assert_eq(status, cases[i].format ? STERNA_OK : STERNA_E_UNSUPPORTED, "case %zu: %s", i,
                     error.message);
        if (cases[i].format) {
            cr_assert_str_eq(format, cases[i].format);
        } else {
            cr_assert_null(format);
            cr_assert_not_null(strstr(error.message, cases[i].message), "case %zu: %s", i, error.message);
            const sterna_message hello[] = {MESSAGE("user", "hello")};
            sterna_error again = {0};
            cr_assert_eq(sterna_chat_tokenize(model, NULL, hello, 1, true, NULL, 0, &again),
                         STERNA_E_UNSUPPORTED);
            cr_assert_str_eq(again.message, error.message);
            cr_assert_gt(sterna_chat_tokenize(model, "plain", hello, 1, true, NULL, 0, &again), 0);
        }
        sterna_model_close(&model);
    }
}

/* Counts first, writes no more than there is room for. */
Test(chat_model, tokenize)
{
    sterna_model *model = model_with("tokenizer.chat_template", "BITNETAssistant:");
    const sterna_message messages[] = {MESSAGE("user", "a<|eot_id|>"), MESSAGE("assistant", "b")};
    static const char want[] = "User: a<|eot_id|>\1Assistant: b\1Assistant: "; /* 1: the end of a turn */
    sterna_token got[80];
    sterna_error error = {0};
    cr_assert_eq(sterna_chat_tokenize(model, NULL, messages, 2, true, NULL, 0, &error), (int64_t)sizeof want);
    got[5] = -7;
    cr_assert_eq(sterna_chat_tokenize(model, NULL, messages, 2, true, got, 5, &error), (int64_t)sizeof want);
    cr_assert_eq(got[5], -7);
    cr_assert_eq(sterna_chat_tokenize(model, "bitnet", messages, 2, true, got, 80, &error),
                 (int64_t)sizeof want);
    cr_assert_eq(got[0], TINY_BOS);
    for (size_t i = 0; want[i]; i++)
        cr_assert_eq(got[i + 1], want[i] == 1 ? TINY_EOT : TINY_BYTE + want[i], "token %zu is %d", i + 1,
                     got[i + 1]);
    cr_assert_eq(sterna_chat_tokenize(model, "chatml", messages, 2, true, got, 80, &error),
                 STERNA_E_UNSUPPORTED);
    cr_assert_eq(sterna_chat_tokenize(model, "nonsense", messages, 2, true, got, 80, &error),
                 STERNA_E_ARGUMENT);
    cr_assert_eq(sterna_chat_tokenize(NULL, "plain", messages, 2, true, got, 80, &error), STERNA_E_ARGUMENT);
    cr_assert_eq(sterna_chat_tokenize(model, "plain", NULL, 2, true, got, 80, &error), STERNA_E_ARGUMENT);
    cr_assert_str_eq(error.message, "sterna_chat_tokenize: messages is NULL");
    cr_assert_eq(sterna_chat_tokenize(model, "plain", messages, 2, true, NULL, 80, &error),
                 STERNA_E_ARGUMENT);
    cr_assert_eq(sterna_chat_tokenize(model, "plain", NULL, 0, true, got, 80, &error), STERNA_E_ARGUMENT);
    cr_assert_str_eq(error.message, "a conversation of no messages");
    const char *format;
    cr_assert_eq(sterna_chat_detect(NULL, &format, &error), STERNA_E_ARGUMENT);
    cr_assert_eq(sterna_chat_detect(model, NULL, &error), STERNA_E_ARGUMENT);
    sterna_model_close(&model);
}

Test(chat_model, demo_model_has_no_template)
{
    sterna_model *model = NULL;
    sterna_error error = {0};
    cr_assert_eq(sterna_model_open(STERNA_SOURCE_DIR "/models/sterna-demo.gguf", NULL, &model, &error),
                 STERNA_OK, "%s", error.message);
    const char *format = NULL;
    cr_assert_eq(sterna_chat_detect(model, &format, &error), STERNA_OK, "%s", error.message);
    cr_assert_str_eq(format, "plain");
    static const char text[] = "System: Be kind.\nUser: Once upon a time\nAssistant:";
    const sterna_message messages[] = {MESSAGE("system", "Be kind."), MESSAGE("user", " Once upon a time\n")};
    sterna_token got[80], want[80];
    int64_t n = sterna_chat_tokenize(model, NULL, messages, 2, true, got, 80, &error);
    cr_assert_eq(n, sterna_tokenize(model, text, sizeof text - 1, want, 80, true, false, &error));
    cr_assert(n > 0 && memcmp(got, want, (size_t)n * sizeof *got) == 0);
    sterna_model_close(&model);
}

#endif

/* Also in builds without text: the reason is the one that sterna_tokenize gives. */
Test(chat_model, without_a_tokenizer)
{
    tiny_spec spec = edit_base("llama");
    sterna_model *model = tiny_open(&spec);
    const sterna_message hello[] = {MESSAGE("user", "hello")};
    sterna_token ids[8];
    sterna_error why = {0}, error = {0};
    cr_assert_eq(sterna_tokenize(model, "hello", 5, ids, 8, false, false, &why), STERNA_E_UNSUPPORTED);
    const char *format = "";
    cr_assert_eq(sterna_chat_detect(model, &format, &error), STERNA_E_UNSUPPORTED);
    cr_assert_null(format);
    cr_assert_str_eq(error.message, why.message);
    cr_assert_eq(sterna_chat_tokenize(model, "plain", hello, 1, true, ids, 8, &error), STERNA_E_UNSUPPORTED);
    cr_assert_str_eq(error.message, why.message);
    sterna_model_close(&model);
}
