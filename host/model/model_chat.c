/* The public chat functions: formats, and a model's own one behind its handle. */
#include "host/model/chat.h"
#include "host/model/model_private.h"

#include <string.h>

#define TEMPLATE "tokenizer.chat_template"

const char *sterna_chat_format(int index)
{
    const st_chat_format *format = st_chat_format_at(index);
    return format ? format->name : NULL;
}

const char *const *sterna_chat_stops(const char *format, int32_t *n)
{
    const st_chat_format *found = NULL;
    size_t count = 0;
    if (format && st_chat_find(format, &found, NULL) == STERNA_OK)
        while (count < sizeof found->stops / sizeof found->stops[0] && found->stops[count])
            count++;
    if (n)
        *n = (int32_t)count;
    return count > 0 ? found->stops : NULL;
}

/* A template under another name only is none that could be taken unasked, but a reason not to say "plain". */
static const char *named_template(const st_gguf *gguf)
{
    for (int i = 0; i < st_gguf_kv_count(gguf); i++) {
        const char *key = st_gguf_kv_at(gguf, i)->key;
        if (strncmp(key, TEMPLATE ".", sizeof TEMPLATE) == 0)
            return key;
    }
    return NULL;
}

static sterna_status detect(const sterna_model *model, const st_chat_format **format, sterna_error *error)
{
    const st_gguf *gguf = model->gguf;
    st_gguf_string text = {NULL, 0};
    sterna_status status = STERNA_OK;
    if (st_gguf_find(gguf, TEMPLATE))
        status = st_gguf_get_string(gguf, TEMPLATE, &text, error);
    if (status)
        return status;
    if (text.length == 0) {
        const char *other = named_template(gguf);
        if (other)
            return st_fail(error, STERNA_E_UNSUPPORTED,
                           "%s: the file has %.60s, but no " TEMPLATE "; choose a chat format by name",
                           st_gguf_label(gguf), other);
        return st_chat_find("plain", format, error);
    }
    sterna_error why = {0};
    status = st_chat_detect(text.data, text.length, format, &why);
    if (!status)
        status = st_chat_check(*format, model->tokenizer, &why);
    return status ? st_fail(error, status, "%s: %s", st_gguf_label(gguf), why.message) : STERNA_OK;
}

sterna_status sterna_chat_detect(const sterna_model *model, const char **format, sterna_error *error)
{
    if (!model || !format)
        return st_fail(error, STERNA_E_ARGUMENT, "sterna_chat_detect: %s is NULL",
                       model ? "format" : "model");
    *format = NULL;
    if (!model->tokenizer)
        return st_fail(error, STERNA_E_UNSUPPORTED, "%s", model->tokenizer_error.message);
    const st_chat_format *found;
    sterna_status status = detect(model, &found, error);
    if (!status)
        *format = found->name;
    return status;
}

int64_t sterna_chat_tokenize(const sterna_model *model, const char *format, const sterna_message *messages,
                             size_t n_message, bool add_generation, sterna_token *tokens, size_t max,
                             sterna_error *error)
{
    if (!model || (!messages && n_message > 0) || (!tokens && max > 0))
        return st_fail(error, STERNA_E_ARGUMENT, "sterna_chat_tokenize: %s is NULL",
                       !model                       ? "model"
                       : !messages && n_message > 0 ? "messages"
                                                    : "tokens");
    if (!model->tokenizer)
        return st_fail(error, STERNA_E_UNSUPPORTED, "%s", model->tokenizer_error.message);
    const st_chat_format *found;
    sterna_status status = format ? st_chat_find(format, &found, error) : detect(model, &found, error);
    if (!status && format)
        status = st_chat_check(found, model->tokenizer, error);
    return status ? (int64_t)status
                  : st_chat_encode(found, model->tokenizer, messages, n_message, add_generation, tokens, max,
                                   error);
}
