/* Chat formats: rendered texts and tokens by hand from the published templates, detection, and what a
 * message's content can never do. */
#include "host/model/chat.h"
#include "tests/support/edit_model.h"
#include "tests/support/small_vocab.h"

#include <criterion/criterion.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define MESSAGE(role, text)                                                                                  \
    {                                                                                                        \
        role, text, sizeof(text) - 1                                                                         \
    }
#define COUNT(list) (sizeof(list) / sizeof(list)[0])

static const st_chat_format *format_of(const char *name)
{
    const st_chat_format *format = NULL;
    sterna_error error = {0};
    cr_assert_eq(st_chat_find(name, &format, &error), STERNA_OK, "%s", error.message);
    return format;
}

static void expect_text(const char *name, const sterna_message *message, size_t n, bool add_generation,
                        const char *want, size_t length)
{
    st_chat_text text;
    sterna_error error = {0};
    cr_assert_eq(st_chat_render(format_of(name), message, n, add_generation, &text, &error), STERNA_OK,
                 "%s: %s", name, error.message);
    cr_assert(text.length == length && memcmp(text.text, want, length) == 0, "%s: got\n%.*s\nnot\n%s", name,
              (int)text.length, text.text, want);
    st_chat_text_free(&text);
}

static void expect_refusal(const char *name, const sterna_message *message, size_t n, bool add_generation,
                           const char *want)
{
    st_chat_text text;
    sterna_error error = {0};
    cr_assert_eq(st_chat_render(format_of(name), message, n, add_generation, &text, &error),
                 STERNA_E_ARGUMENT, "%s: not refused: %s", name, want);
    cr_assert_str_eq(error.message, want);
    cr_assert(!text.text && !text.span);
}

/* ---- the formats ---- */

/* White space at the ends shows who trims; the reasoning who drops it. */
static const sterna_message talk[] = {
    MESSAGE("system", " Be brief. "),
    MESSAGE("user", "\n Hi\t"),
    MESSAGE("assistant", "<think>\nhm\n</think>\n\nYes. "),
    MESSAGE("user", "Why?"),
};
enum { TALK = COUNT(talk) };

static const struct {
    const char *name, *text, *generation;
} rendered[] = {
    {"bitnet",
     "System: Be brief.<|eot_id|>User: Hi<|eot_id|>Assistant: <think>\nhm\n</think>\n\nYes.<|eot_id|>"
     "User: Why?<|eot_id|>",
     "Assistant: "},
    {"llama3",
     "<|start_header_id|>system<|end_header_id|>\n\nBe brief.<|eot_id|>"
     "<|start_header_id|>user<|end_header_id|>\n\nHi<|eot_id|>"
     "<|start_header_id|>assistant<|end_header_id|>\n\n<think>\nhm\n</think>\n\nYes.<|eot_id|>"
     "<|start_header_id|>user<|end_header_id|>\n\nWhy?<|eot_id|>",
     "<|start_header_id|>assistant<|end_header_id|>\n\n"},
    {"chatml",
     "<|im_start|>system\n Be brief. <|im_end|>\n<|im_start|>user\n\n Hi\t<|im_end|>\n"
     "<|im_start|>assistant\n<think>\nhm\n</think>\n\nYes. <|im_end|>\n<|im_start|>user\nWhy?<|im_end|>\n",
     "<|im_start|>assistant\n"},
    {"qwen3",
     "<|im_start|>system\n Be brief. <|im_end|>\n<|im_start|>user\n\n Hi\t<|im_end|>\n"
     "<|im_start|>assistant\nYes. <|im_end|>\n<|im_start|>user\nWhy?<|im_end|>\n",
     "<|im_start|>assistant\n"},
    {"qwen3-think",
     "<|im_start|>system\n Be brief. <|im_end|>\n<|im_start|>user\n\n Hi\t<|im_end|>\n"
     "<|im_start|>assistant\nYes. <|im_end|>\n<|im_start|>user\nWhy?<|im_end|>\n",
     "<|im_start|>assistant\n<think>\n"},
    {"qwen3-nothink",
     "<|im_start|>system\n Be brief. <|im_end|>\n<|im_start|>user\n\n Hi\t<|im_end|>\n"
     "<|im_start|>assistant\nYes. <|im_end|>\n<|im_start|>user\nWhy?<|im_end|>\n",
     "<|im_start|>assistant\n<think>\n\n</think>\n\n"},
    {"falcon3",
     "<|system|>\n Be brief. \n<|user|>\n\n Hi\t\n<|assistant|>\n<think>\nhm\n</think>\n\nYes. "
     "<|endoftext|>\n"
     "<|user|>\nWhy?\n",
     "<|assistant|>\n"},
    {"falcon-e", "System: Be brief.\nUser: Hi\nFalcon: <think>\nhm\n</think>\n\nYes.\nUser: Why?\n",
     "Falcon:"},
    {"gemma",
     "<start_of_turn>user\n Be brief. \n\nHi<end_of_turn>\n"
     "<start_of_turn>model\n<think>\nhm\n</"
     "think>\n\nYes.<end_of_turn>\n<start_of_turn>user\nWhy?<end_of_turn>\n",
     "<start_of_turn>model\n"},
    {"plain", "System: Be brief.\nUser: Hi\nAssistant: <think>\nhm\n</think>\n\nYes.\nUser: Why?\n",
     "Assistant:"},
};

Test(chat, every_format_renders_as_published)
{
    int n_format = 0;
    while (sterna_chat_format(n_format))
        n_format++;
    cr_assert_eq(n_format, (int)COUNT(rendered), "a format is not tested");
    cr_assert_null(sterna_chat_format(-1));
    for (size_t i = 0; i < COUNT(rendered); i++) {
        char all[600];
        int n = snprintf(all, sizeof all, "%s%s", rendered[i].text, rendered[i].generation);
        expect_text(rendered[i].name, talk, TALK, false, all, strlen(rendered[i].text));
        expect_text(rendered[i].name, talk, TALK, true, all, (size_t)n);
    }
}

Test(chat, without_a_system_message)
{
    const sterna_message hello[] = {MESSAGE("user", "hello")};
#define EXPECT(name, text) expect_text(name, hello, 1, true, text, sizeof(text) - 1)
    EXPECT("bitnet", "User: hello<|eot_id|>Assistant: ");
    EXPECT("chatml", "<|im_start|>user\nhello<|im_end|>\n<|im_start|>assistant\n");
    EXPECT("gemma", "<start_of_turn>user\nhello<end_of_turn>\n<start_of_turn>model\n");
    EXPECT("plain", "User: hello\nAssistant:");
}

/* The newline behind an answer of falcon3 stands only before another message. */
Test(chat, falcon3_ends_with_its_end_token)
{
    const sterna_message messages[] = {MESSAGE("user", "a"), MESSAGE("assistant", "b"), MESSAGE("user", "c")};
    static const char two[] = "<|user|>\na\n<|assistant|>\nb<|endoftext|>";
    static const char three[] = "<|user|>\na\n<|assistant|>\nb<|endoftext|>\n<|user|>\nc\n";
    expect_text("falcon3", messages, 2, false, two, sizeof two - 1);
    expect_text("falcon3", messages, 3, false, three, sizeof three - 1);
    static const char again[] = "<|assistant|>\nb<|endoftext|><|assistant|>\n";
    expect_text("falcon3", messages + 1, 1, true, again, sizeof again - 1);
}

Test(chat, empty_contents)
{
    const sterna_message none[] = {{"system", NULL, 0}, {"user", "  ", 2}, {"assistant", "", 0}};
#define EXPECT_NONE(name, text) expect_text(name, none, 3, false, text, sizeof(text) - 1)
    EXPECT_NONE("bitnet", "System: <|eot_id|>User: <|eot_id|>Assistant: <|eot_id|>");
    EXPECT_NONE("qwen3", "<|im_start|>system\n<|im_end|>\n<|im_start|>user\n  <|im_end|>\n"
                         "<|im_start|>assistant\n<|im_end|>\n");
    EXPECT_NONE("gemma", "<start_of_turn>user\n\n\n<end_of_turn>\n<start_of_turn>model\n<end_of_turn>\n");
    EXPECT_NONE("plain", "System:\nUser:\nAssistant:\n");
}

Test(chat, reasoning_ends_at_its_last_mark)
{
    static const struct {
        const char *content, *kept;
    } cases[] = {
        {"a</think>b</think>\n\n\nc\n", "c\n"},
        {"</think>", ""},
        {"</think", "</think"},
        {"</think>\n", ""},
        {"x</think> y", " y"},
        {"<think>x", "<think>x"},
    };
    for (size_t i = 0; i < COUNT(cases); i++) {
        char want[80];
        int n = snprintf(want, sizeof want, "<|im_start|>assistant\n%s<|im_end|>\n", cases[i].kept);
        const sterna_message answer = {"assistant", cases[i].content, strlen(cases[i].content)};
        expect_text("qwen3", &answer, 1, false, want, (size_t)n);
    }
    const sterna_message user = MESSAGE("user", "a</think>b");
    static const char whole[] = "<|im_start|>user\na</think>b<|im_end|>\n";
    expect_text("qwen3", &user, 1, false, whole, sizeof whole - 1);
}

/* As Python's str.strip(): Unicode's white space and the four separators; nothing else, nothing inside. */
Test(chat, trimming)
{
    static const struct {
        const char *content, *want;
    } cases[] = {
        {"\t\n\v\f\r x\x1c\x1d\x1e\x1f", "x"},
        {"\xc2\xa0\xe3\x80\x80x y\xe2\x80\xa8\xc2\x85", "x y"},
        {"\xe1\x9a\x80\xe2\x80\x80\xe2\x80\x8ax\xe2\x80\xa9\xe2\x80\xaf\xe2\x81\x9f", "x"},
        {"\xe2\x80\x8bx\xe1\xa0\x8e", "\xe2\x80\x8bx\xe1\xa0\x8e"}, /* zero width: no white space */
        {" \x80 x \xe3\x80", "\x80 x \xe3\x80"},
        {"\x08x\x7f", "\x08x\x7f"},
        {" \xc2\xa0 ", ""},
    };
    for (size_t i = 0; i < COUNT(cases); i++) {
        char want[64];
        int n = snprintf(want, sizeof want, "User: %s<|eot_id|>", cases[i].want);
        const sterna_message user = {"user", cases[i].content, strlen(cases[i].content)};
        expect_text("bitnet", &user, 1, false, want, (size_t)n);
    }
    const sterna_message nul = MESSAGE("user", " \0 a\0b ");
    static const char kept[] = "User: \0 a\0b<|eot_id|>";
    expect_text("bitnet", &nul, 1, false, kept, sizeof kept - 1);
}

Test(chat, conversations_that_are_none)
{
    const sterna_message tool[] = {MESSAGE("user", "a"), MESSAGE("tool\n", "b")};
    const sterna_message capital[] = {MESSAGE("User", "a")};
    const sterna_message late[] = {MESSAGE("user", "a"), MESSAGE("system", "b")};
    const sterna_message twice[] = {MESSAGE("system", "a"), MESSAGE("system", "b"), MESSAGE("user", "c")};
    const sterna_message no_role[] = {{NULL, "a", 1}};
    const sterna_message no_content[] = {MESSAGE("user", "a"), {"assistant", NULL, 1}};
    static const char *const names[] = {"bitnet", "qwen3", "gemma", "plain"};
    for (size_t i = 0; i < COUNT(names); i++) {
        expect_refusal(names[i], tool, 2, true,
                       "message 1 has the role \"tool?\"; roles are system, user and assistant");
        expect_refusal(names[i], capital, 1, true,
                       "message 0 has the role \"User\"; roles are system, user and assistant");
        expect_refusal(names[i], late, 2, true,
                       "message 1 is a system message; only the first one, message 0, can be");
        expect_refusal(names[i], twice, 3, true,
                       "message 1 is a system message; only the first one, message 0, can be");
        expect_refusal(names[i], no_role, 1, true, "message 0: the role is NULL");
        expect_refusal(names[i], no_content, 2, true, "message 1: the content is NULL");
        expect_refusal(names[i], NULL, 0, true, "a conversation of no messages");
    }
}

Test(chat, turns)
{
    const sterna_message users[] = {MESSAGE("user", "a"), MESSAGE("user", "b")};
    const sterna_message greeting[] = {MESSAGE("assistant", "a"), MESSAGE("user", "b")};
    const sterna_message answered[] = {MESSAGE("user", "a"), MESSAGE("assistant", "b")};
    const sterna_message system[] = {MESSAGE("system", "a"), MESSAGE("assistant", "b")};
    expect_text("plain", users, 2, true, "User: a\nUser: b\nAssistant:", 26);
    expect_text("bitnet", greeting, 2, false, "Assistant: a<|eot_id|>User: b<|eot_id|>", 39);
    expect_text("plain", answered, 2, true, "User: a\nAssistant: b\nAssistant:", 31);
    expect_refusal("gemma", users, 2, true,
                   "message 1 is the user's, but in chat format gemma the assistant's is due");
    expect_refusal("gemma", greeting, 2, true,
                   "message 0 is the assistant's, but in chat format gemma the user's is due");
    expect_refusal("gemma", system, 2, false,
                   "message 1 is the assistant's, but in chat format gemma the user's is due");
    expect_refusal(
        "gemma", answered, 2, true,
        "message 1, the last, is the assistant's; in chat format gemma the user's is due, not an answer");
    expect_refusal(
        "gemma", system, 1, false,
        "chat format gemma puts the system message into the first user message, and there is none");
}

Test(chat, more_than_can_be_tokenized)
{
    const sterna_message much[] = {{"user", "a", (size_t)ST_MAX_TEXT_BYTES}, {"user", "b", SIZE_MAX}};
    st_chat_text text;
    sterna_error error = {0};
    cr_assert_eq(st_chat_render(format_of("chatml"), much, 1, false, &text, &error), STERNA_E_LIMIT);
    cr_assert_str_eq(error.message,
                     "a conversation of 1 messages has more than the 1073741824 bytes that can "
                     "be tokenized at once");
    cr_assert_eq(st_chat_render(format_of("chatml"), much + 1, 1, false, &text, &error), STERNA_E_LIMIT);
    cr_assert_null(text.text);
}

Test(chat, stop_strings)
{
    int32_t n = 9;
    const char *const *stops = sterna_chat_stops("plain", &n);
    cr_assert(n == 3 && strcmp(stops[0], "\nUser:") == 0 && strcmp(stops[1], "\nAssistant:") == 0 &&
              strcmp(stops[2], "\nSystem:") == 0);
    stops = sterna_chat_stops("falcon-e", &n);
    cr_assert(n == 3 && strcmp(stops[1], "\nFalcon:") == 0);
    for (int i = 0; i < 2; i++) {
        n = 9;
        cr_assert_null(sterna_chat_stops(i ? "llama3" : "no such", &n));
        cr_assert_eq(n, 0);
    }
    cr_assert_null(sterna_chat_stops(NULL, NULL));
}

/* ---- detection: the essence of published templates ---- */

#define QWEN3_TURNS                                                                                          \
    "{%- if messages[0].role == 'system' %}{{- '<|im_start|>system\\n' + messages[0].content + "             \
    "'<|im_end|>\\n' }}{%- endif %}\n{%- for message in messages %}\n{%- if message.role == \"user\" %}"     \
    "{{- '<|im_start|>' + message.role + '\\n' + message.content + '<|im_end|>' + '\\n' }}"                  \
    "{%- elif message.role == \"assistant\" %}{%- set content = "                                            \
    "message.content.split('</think>')[-1].lstrip('\\n') %}{%- set reasoning_content = "                     \
    "message.content.split('</think>')[0].rstrip('\\n').split('<think>')[-1].lstrip('\\n') %}"               \
    "{{- '<|im_start|>' + message.role + '\\n<think>\\n' + reasoning_content.strip('\\n') + "                \
    "'\\n</think>\\n\\n' + content.lstrip('\\n') }}{{- '<|im_end|>\\n' }}{%- endif %}{%- endfor %}\n"

static const struct {
    const char *name, *text;
} templates[] = {
    {"bitnet",
     "{% set loop_messages = messages %}{% for message in loop_messages %}{% set content = message['role'] | "
     "capitalize + ': '+ message['content'] | trim + '<|eot_id|>' %}{% if loop.index0 == 0 %}{% set content "
     "= "
     "bos_token + content %}{% endif %}{{ content }}{% endfor %}{% if add_generation_prompt %}{{ 'Assistant: "
     "' "
     "}}{% endif %}"},
    {"bitnet",
     "{% for message in messages %}{% if message['role'] == 'user' %}{{ 'User: ' + "
     "message['content'] + '<|eot_id|>' }}{% elif message['role'] == 'assistant' %}{{ 'Assistant: ' "
     "+ message['content'] + '<|eot_id|>' }}{% endif %}{% endfor %}"},
    {"bitnet", "{% for message in messages %}{% if loop.first %}{{ bos_token }}{% endif %}{% if "
               "message['role'] == 'user' %}{{ 'Human: ' + message['content'] + '\\n\\nBITNETAssistant: ' + "
               "eos_token }}{% elif message['role'] == 'assistant' %}{{ message['content'] + eos_token }}"
               "{% endif %}{% endfor %}"},
    {"llama3",
     "{% set loop_messages = messages %}{% for message in loop_messages %}{% set content = "
     "'<|start_header_id|>' + message['role'] + '<|end_header_id|>\n\n'+ message['content'] | trim + "
     "'<|eot_id|>' %}{% if loop.index0 == 0 %}{% set content = bos_token + content %}{% endif %}{{ content "
     "}}{% endfor %}{% if add_generation_prompt %}{{ '<|start_header_id|>assistant<|end_header_id|>\n\n' "
     "}}{% "
     "endif %}"},
    {"chatml",
     "{% for message in messages %}{{'<|im_start|>' + message['role'] + '\n' + message['content'] + "
     "'<|im_end|>' + '\n'}}{% endfor %}{% if add_generation_prompt %}{{ '<|im_start|>assistant\n' "
     "}}{% endif %}"},
    {"qwen3",
     QWEN3_TURNS "{%- if add_generation_prompt %}\n    {{- '<|im_start|>assistant\\n' }}\n    {%- if "
                 "enable_thinking is defined and enable_thinking is false %}\n        {{- "
                 "'<think>\\n\\n</think>\\n\\n' }}\n    {%- endif %}\n{%- endif %}"},
    {"qwen3-think", QWEN3_TURNS "{%- if add_generation_prompt %}{{- '<|im_start|>assistant\\n' }}{%- if "
                                "enable_thinking is defined and enable_thinking is false %}{{- "
                                "'<think>\\n\\n</think>\\n\\n' }}{%- else %}{{- '<think>\\n' }}{%- endif %}"
                                "{%- endif %}"},
    {"qwen3-think", QWEN3_TURNS "{%- if add_generation_prompt %}{{- \"<|im_start|>assistant\\n<think>\\n\" "
                                "}}{%- endif %}"},
    {"qwen3-nothink",
     QWEN3_TURNS "{%- if add_generation_prompt %}{{- '<|im_start|>assistant\\n' }}{%- if "
                 "enable_thinking is defined and enable_thinking is true %}{{- '<think>\\n' "
                 "}}{%- else %}{{- '<think>\\n\\n</think>\\n\\n' }}{%- endif %}{%- endif %}"},
    {"qwen3-nothink", QWEN3_TURNS "{%- if add_generation_prompt %}{{- "
                                  "'<|im_start|>assistant\\n<think>\\n\\n</think>\\n\\n' }}{%- endif %}"},
    {"falcon3",
     "{% for message in messages %}{% if message['role'] == 'system' %}{{ '<|system|>\n' + "
     "message['content'] + '\n' }}{% elif message['role'] == 'user' %}{{ '<|user|>\n' + message['content'] + "
     "'\n' }}{% elif message['role'] == 'assistant' %}{% if not loop.last %}{{ '<|assistant|>\n'  + "
     "message['content'] + eos_token + '\n' }}{% else %}{{ '<|assistant|>\n'  + message['content'] + "
     "eos_token }}{% endif %}{% endif %}{% if loop.last and add_generation_prompt %}{{ '<|assistant|>\n' "
     "}}{% "
     "endif %}{% endfor %}"},
    {"falcon-e",
     "{% for message in messages %}\n{% if message['role'] == 'user' %}\n{{ 'User: \n' + message['content'] "
     "}}\n{% elif message['role'] == 'system' %}\n{{ 'System: ' + message['content'] }}\n{% elif "
     "message['role'] == 'assistant' %}\n{{ 'Falcon:\n'  + message['content']}}\n{% endif %}\n{% endfor %}"},
    {"gemma",
     "{{ bos_token }}{% if messages[0]['role'] == 'system' %}{{ raise_exception('System role not supported') "
     "}}{% endif %}{% for message in messages %}{% if (message['role'] == 'assistant') %}{% set role = "
     "'model' "
     "%}{% else %}{% set role = message['role'] %}{% endif %}{{ '<start_of_turn>' + role + '\n' + "
     "message['content'] | trim + '<end_of_turn>\n' }}{% endfor %}{% if add_generation_prompt "
     "%}{{'<start_of_turn>model\n'}}{% endif %}"},
};

Test(chat, templates_are_known_by_their_marks)
{
    for (size_t i = 0; i < COUNT(templates); i++) {
        const st_chat_format *format = NULL;
        sterna_error error = {0};
        sterna_status status = st_chat_detect(templates[i].text, strlen(templates[i].text), &format, &error);
        cr_assert_eq(status, STERNA_OK, "template %zu: %s", i, error.message);
        cr_assert_str_eq(format->name, templates[i].name, "template %zu is taken for %s", i, format->name);
    }
}

Test(chat, unknown_templates_are_not_guessed)
{
    static const char *const unknown[] = {
        "{{ messages[0]['content'] }}",
        /* Mistral, Phi-3, Phi-4, Zephyr, Openchat, SmolVLM */
        "{{ bos_token }}{% for message in messages %}{{ '[INST] ' + message['content'] + ' [/INST]' }}{% "
        "endfor %}",
        "{% for message in messages %}{{ '<|user|>\n' + message['content'] + '<|end|>\n<|assistant|>\n' }}{% "
        "endfor %}",
        "{% for message in messages %}{{ '<|im_start|>user<|im_sep|>' + message['content'] + '<|im_end|>' "
        "}}{% "
        "endfor %}",
        "{% for message in messages %}{% if message['role'] == 'user' %}{{ '<|user|>\n' + message['content'] "
        "+ "
        "eos_token }}{% else %}{{ '<|assistant|>\n'  + message['content'] + eos_token }}{% endif %}{% endfor "
        "%}",
        "{% for message in messages %}{{ 'GPT4 Correct ' + message['role'] | capitalize + ': ' + "
        "message['content'] + '<|end_of_turn|>' }}{% endfor %}",
        "<|im_start|>{% for message in messages %}{{message['role'] | capitalize + ': ' + "
        "message['content']}}"
        "<end_of_utterance>\n{% endfor %}<|im_end|></think>",
        "<|start_header_id|>",
    };
    for (size_t i = 0; i < COUNT(unknown); i++) {
        const st_chat_format *format = NULL;
        sterna_error error = {0};
        cr_assert_eq(st_chat_detect(unknown[i], strlen(unknown[i]), &format, &error), STERNA_E_UNSUPPORTED,
                     "template %zu is taken for %s", i, format ? format->name : "none");
        char want[400];
        snprintf(
            want, sizeof want,
            "the chat template (%zu bytes) is none of the known ones (looked for <|eot_id|>, "
            "<|start_header_id|>, <|im_start|>, <|user|>, 'Falcon:, <start_of_turn>); choose a format by "
            "name: bitnet, llama3, qwen3-nothink, qwen3-think, qwen3, chatml, falcon3, falcon-e, gemma, "
            "plain",
            strlen(unknown[i]));
        cr_assert_str_eq(error.message, want);
    }
    sterna_error error = {0};
    const st_chat_format *format = NULL;
    size_t size = (size_t)ST_CHAT_MAX_TEMPLATE + 1;
    char *large = calloc(1, size);
    cr_assert_eq(st_chat_detect(large, size, &format, &error), STERNA_E_UNSUPPORTED);
    cr_assert_not_null(strstr(error.message, "a chat template of 1048577 bytes, at most 1048576"));
    free(large);
    cr_assert_eq(st_chat_find("llama4", &format, &error), STERNA_E_ARGUMENT);
    cr_assert_str_eq(error.message,
                     "no chat format is named \"llama4\"; known are: bitnet, llama3, qwen3-nothink, "
                     "qwen3-think, qwen3, chatml, falcon3, falcon-e, gemma, plain");
}
