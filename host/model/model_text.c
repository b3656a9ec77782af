/* The public text functions: a model's tokenizer behind its handle. */
#include "host/model/model_private.h"
#include "host/model/tokenizer.h"

int64_t sterna_tokenize(const sterna_model *model, const char *text, size_t length, sterna_token *tokens,
                        size_t max, bool add_special, bool parse_special, sterna_error *error)
{
    if (!model || (!text && length > 0) || (!tokens && max > 0))
        return st_fail(error, STERNA_E_ARGUMENT, "sterna_tokenize: %s is NULL",
                       !model  ? "model"
                       : !text ? "text"
                               : "tokens");
    if (!model->tokenizer)
        return st_fail(error, STERNA_E_UNSUPPORTED, "%s", model->tokenizer_error.message);
    return st_tokenizer_encode(model->tokenizer, text, length, tokens, max, add_special, parse_special,
                               error);
}

int sterna_token_text(const sterna_model *model, sterna_token token, char *text, size_t max, bool special)
{
    if (!model || (!text && max > 0))
        return STERNA_E_ARGUMENT;
    if (!model->tokenizer)
        return STERNA_E_UNSUPPORTED;
    return st_tokenizer_piece(model->tokenizer, token, text, max, special);
}

bool sterna_token_is_end(const sterna_model *model, sterna_token token)
{
    if (!model)
        return false;
    if (!model->tokenizer)
        return token >= 0 && token == st_model_special(model, "tokenizer.ggml.eos_token_id");
    return st_tokenizer_is_end(model->tokenizer, token);
}
