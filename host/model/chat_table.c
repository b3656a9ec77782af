/* The built-in chat formats, and how a file's template is known to be one of them. */
#include "host/model/chat.h"

#include <stdio.h>
#include <string.h>

#define CHATML(generation_prompt)                                                                            \
    .turn = {{"<|im_start|>system\n", "<|im_end|>\n", NULL, false},                                          \
             {"<|im_start|>user\n", "<|im_end|>\n", NULL, false},                                            \
             {"<|im_start|>assistant\n", "<|im_end|>\n", NULL, false}},                                      \
    .token = {"<|im_start|>", "<|im_end|>"}, .generation = "<|im_start|>assistant\n" generation_prompt
/* Templates that use the same two tokens otherwise (Phi-4, SmolVLM). */
#define NOT_CHATML "!<|im_sep|>", "!<end_of_utterance>"

/* Detection takes the first row that fits, so the special ones come before the general one. */
static const st_chat_format formats[] = {
    {
        /* The converter of the official GGUF files wrote a placeholder ("BITNETAssistant") that the model was
         * not trained on. */
        .name = "bitnet",
        .turn = {{"System: ", "<|eot_id|>", NULL, true},
                 {"User: ", "<|eot_id|>", NULL, true},
                 {"Assistant: ", "<|eot_id|>", NULL, true}},
        .generation = "Assistant: ",
        .bos = true,
        .token = {"<|eot_id|>"},
        .signs = {{"<|eot_id|>", "capitalize+':'"},
                  {"<|eot_id|>", "'User:'", "'Assistant:'"},
                  {"BITNETAssistant:"}},
    },
    {
        .name = "llama3",
        .turn = {{"<|start_header_id|>system<|end_header_id|>\n\n", "<|eot_id|>", NULL, true},
                 {"<|start_header_id|>user<|end_header_id|>\n\n", "<|eot_id|>", NULL, true},
                 {"<|start_header_id|>assistant<|end_header_id|>\n\n", "<|eot_id|>", NULL, true}},
        .generation = "<|start_header_id|>assistant<|end_header_id|>\n\n",
        .bos = true,
        .token = {"<|start_header_id|>", "<|end_header_id|>", "<|eot_id|>"},
        .signs = {{"<|start_header_id|>", "<|end_header_id|>", "<|eot_id|>"}},
    },
    {
        .name = "qwen3-nothink",
        CHATML("<think>\n\n</think>\n\n"),
        .drop_reasoning = true,
        .signs = {{"<|im_start|>", "<think></think>", "enable_thinkingisdefinedandenable_thinkingistrue"},
                  {"<|im_start|>assistant<think></think>"}},
    },
    {
        .name = "qwen3-think",
        CHATML("<think>\n"),
        .drop_reasoning = true,
        .signs = {{"<|im_start|>", "'<think>'}}", "enable_thinkingisdefinedandenable_thinkingisfalse"},
                  {"<|im_start|>assistant<think>'}}"}},
    },
    {
        .name = "qwen3",
        CHATML(""),
        .drop_reasoning = true,
        .signs = {{"<|im_start|>", "<|im_end|>", "</think>", NOT_CHATML}},
    },
    {
        .name = "chatml",
        CHATML(""),
        .signs = {{"<|im_start|>", "<|im_end|>", NOT_CHATML}},
    },
    {
        .name = "falcon3",
        .turn = {{"<|system|>\n", "\n", NULL, false},
                 {"<|user|>\n", "\n", NULL, false},
                 {"<|assistant|>\n", "<|endoftext|>", "\n", false}},
        .generation = "<|assistant|>\n",
        .token = {"<|endoftext|>", "?<|system|>", "?<|user|>", "?<|assistant|>"},
        .signs = {{"<|user|>", "<|user|>'+message['content']+''",
                   "<|assistant|>'+message['content']+eos_token"}},
    },
    {
        .name = "falcon-e",
        .turn = {{"System: ", "\n", NULL, true},
                 {"User: ", "\n", NULL, true},
                 {"Falcon: ", "\n", NULL, true}},
        .generation = "Falcon:",
        .transcript = true,
        .stops = {"\nUser:", "\nFalcon:", "\nSystem:"},
        .signs = {{"'Falcon:", "'User:"}},
    },
    {
        .name = "gemma",
        .turn = {{NULL, NULL, NULL, false},
                 {"<start_of_turn>user\n", "<end_of_turn>\n", NULL, true},
                 {"<start_of_turn>model\n", "<end_of_turn>\n", NULL, true}},
        .generation = "<start_of_turn>model\n",
        .fold = "\n\n",
        .bos = true,
        .alternate = true,
        .token = {"<start_of_turn>", "<end_of_turn>"},
        .signs = {{"<start_of_turn>", "<end_of_turn>"}},
    },
    {
        .name = "plain",
        .turn = {{"System: ", "\n", NULL, true},
                 {"User: ", "\n", NULL, true},
                 {"Assistant: ", "\n", NULL, true}},
        .generation = "Assistant:", /* a space would be a token of its own, which no text has there */
        .transcript = true,
        .stops = {"\nUser:", "\nAssistant:", "\nSystem:"},
    },
};
enum { N_FORMAT = sizeof formats / sizeof formats[0] };

const st_chat_format *st_chat_format_at(int index)
{
    return index >= 0 && index < N_FORMAT ? &formats[index] : NULL;
}

/* Appends to a list of NUL-terminated text; what does not fit is a mistake in the table. */
static void append(char *list, size_t size, const char *item)
{
    size_t length = strlen(list);
    int n = snprintf(list + length, size - length, "%s%s", length ? ", " : "", item);
    assert(n >= 0 && (size_t)n < size - length);
    (void)n;
}

enum { LIST = 160 };

static void list_names(char list[LIST])
{
    list[0] = '\0';
    for (int i = 0; i < N_FORMAT; i++)
        append(list, LIST, formats[i].name);
}

/* The first sign of each format. */
static void list_signs(char list[LIST])
{
    list[0] = '\0';
    for (int i = 0; i < N_FORMAT; i++) {
        const char *sign = formats[i].signs[0][0];
        if (sign && !strstr(list, sign))
            append(list, LIST, sign);
    }
}

sterna_status st_chat_find(const char *name, const st_chat_format **format, sterna_error *error)
{
    for (int i = 0; i < N_FORMAT; i++)
        if (strcmp(formats[i].name, name) == 0) {
            *format = &formats[i];
            return STERNA_OK;
        }
    char names[LIST];
    list_names(names);
    return st_fail(error, STERNA_E_ARGUMENT, "no chat format is named \"%.40s\"; known are: %s", name, names);
}

/* ---- detection ---- */

/* Writers of templates differ in white space, quotes and in how they spell a newline; signs do without. */
static size_t strip(const char *text, size_t length, char *stripped)
{
    size_t n = 0;
    for (size_t i = 0; i < length; i++) {
        char c = text[i];
        if (c == '\\' && i + 1 < length && text[i + 1] == 'n')
            i++;
        else if (c != '\0' && !strchr(" \t\r\n-", c))
            stripped[n++] = c == '"' ? '\'' : c;
    }
    return n;
}

static bool contains(const char *text, size_t length, const char *sign)
{
    size_t n = strlen(sign);
    const char *end = text + length;
    for (const char *at = text; (size_t)(end - at) >= n; at++) {
        at = memchr(at, sign[0], (size_t)(end - at) - n + 1);
        if (!at)
            return false;
        if (memcmp(at, sign, n) == 0)
            return true;
    }
    return false;
}

static bool fits(const char *const *signs, size_t n_sign, const char *text, size_t length)
{
    if (!signs[0])
        return false;
    for (size_t i = 0; i < n_sign && signs[i]; i++) {
        bool absent = signs[i][0] == '!';
        if (contains(text, length, signs[i] + absent) == absent)
            return false;
    }
    return true;
}

static const st_chat_format *match(const char *text, size_t length)
{
    enum { N_LINE = sizeof formats[0].signs / sizeof formats[0].signs[0] };
    enum { N_SIGN = sizeof formats[0].signs[0] / sizeof formats[0].signs[0][0] };
    for (int i = 0; i < N_FORMAT; i++)
        for (int line = 0; line < N_LINE; line++)
            if (fits(formats[i].signs[line], N_SIGN, text, length))
                return &formats[i];
    return NULL;
}

sterna_status st_chat_detect(const char *template_text, size_t length, const st_chat_format **format,
                             sterna_error *error)
{
    char names[LIST], signs[LIST];
    list_names(names);
    list_signs(signs);
    if (length > ST_CHAT_MAX_TEMPLATE)
        return st_fail(error, STERNA_E_UNSUPPORTED,
                       "a chat template of %zu bytes, at most %d are looked at; choose a format by name: %s",
                       length, ST_CHAT_MAX_TEMPLATE, names);
    char *stripped = st_alloc(length + 1);
    if (!stripped)
        return st_fail(error, STERNA_E_MEMORY, "no memory for a chat template of %zu bytes", length);
    const st_chat_format *found = match(stripped, strip(template_text, length, stripped));
    st_free(stripped);
    if (!found)
        return st_fail(error, STERNA_E_UNSUPPORTED,
                       "the chat template (%zu bytes) is none of the known ones (looked for %s); choose a "
                       "format by name: %s",
                       length, signs, names);
    *format = found;
    return STERNA_OK;
}
