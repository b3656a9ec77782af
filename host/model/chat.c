#include "host/model/chat.h"
#include "host/model/tokenizer_parts.h"

#include <string.h>

static const char *const role_names[ST_CHAT_ROLE_COUNT] = {"system", "user", "assistant"};

/* ST_CHAT_ROLE_COUNT if it is none. */
static st_chat_role role_of(const sterna_message *message)
{
    st_chat_role role = ST_CHAT_SYSTEM;
    while (role < ST_CHAT_ROLE_COUNT && strcmp(role_names[role], message->role) != 0)
        role++;
    return role;
}

/* ---- what a conversation may be ---- */

static sterna_status unknown_role(const sterna_message *message, size_t index, sterna_error *error)
{
    char shown[24] = ""; /* it may hold anything, but messages are one line */
    for (size_t i = 0; i + 1 < sizeof shown && message->role[i]; i++)
        shown[i] = message->role[i] >= ' ' && message->role[i] <= '~' ? message->role[i] : '?';
    return st_fail(error, STERNA_E_ARGUMENT,
                   "message %zu has the role \"%s\"; roles are system, user and assistant", index, shown);
}

static sterna_status check_message(const sterna_message *message, size_t index, sterna_error *error)
{
    if (!message->role || (!message->content && message->length > 0))
        return st_fail(error, STERNA_E_ARGUMENT, "message %zu: the %s is NULL", index,
                       message->role ? "content" : "role");
    st_chat_role role = role_of(message);
    if (role == ST_CHAT_ROLE_COUNT)
        return unknown_role(message, index, error);
    if (role == ST_CHAT_SYSTEM && index > 0)
        return st_fail(error, STERNA_E_ARGUMENT,
                       "message %zu is a system message; only the first one, message 0, can be", index);
    return STERNA_OK;
}

static sterna_status check_conversation(const st_chat_format *format, const sterna_message *message,
                                        size_t n_message, bool add_generation, sterna_error *error)
{
    if (n_message == 0)
        return st_fail(error, STERNA_E_ARGUMENT, "a conversation of no messages");
    st_chat_role expected = ST_CHAT_USER;
    for (size_t i = 0; i < n_message; i++) {
        sterna_status status = check_message(&message[i], i, error);
        if (status)
            return status;
        st_chat_role role = role_of(&message[i]);
        if (role == ST_CHAT_SYSTEM)
            continue;
        if (format->alternate && role != expected)
            return st_fail(error, STERNA_E_ARGUMENT,
                           "message %zu is the %s's, but in chat format %s the %s's is due", i,
                           role_names[role], format->name, role_names[expected]);
        expected = role == ST_CHAT_USER ? ST_CHAT_ASSISTANT : ST_CHAT_USER;
    }
    bool only_system = n_message == 1 && role_of(message) == ST_CHAT_SYSTEM;
    if (format->fold && only_system)
        return st_fail(
            error, STERNA_E_ARGUMENT,
            "chat format %s puts the system message into the first user message, and there is none",
            format->name);
    if (format->alternate && add_generation && expected != ST_CHAT_ASSISTANT)
        return st_fail(
            error, STERNA_E_ARGUMENT,
            "message %zu, the last, is the assistant's; in chat format %s the user's is due, not an "
            "answer",
            n_message - 1, format->name);
    return STERNA_OK;
}

/* ---- contents ---- */

/* What Python's str.strip() removes, because the templates' `trim` is that. */
static bool is_space(uint32_t c)
{
    return (c >= 0x09 && c <= 0x0d) || (c >= 0x1c && c <= 0x20) || c == 0x85 || c == 0xa0 || c == 0x1680 ||
           (c >= 0x2000 && c <= 0x200a) || c == 0x2028 || c == 0x2029 || c == 0x202f || c == 0x205f ||
           c == 0x3000;
}

/* Length of the white space character that ends the text, 0 if none does. */
static size_t last_space(const char *text, size_t length)
{
    for (size_t n = 1; n <= 3 && n <= length; n++) {
        uint32_t c = 0;
        if (st_utf8_char(text + length - n, n, &c) == n)
            return is_space(c) ? n : 0;
    }
    return 0;
}

static st_gguf_string trimmed(st_gguf_string text)
{
    uint32_t c = 0;
    for (size_t n; (n = st_utf8_char(text.data, text.length, &c)) > 0 && is_space(c);)
        text = (st_gguf_string){text.data + n, text.length - n};
    for (size_t n; (n = last_space(text.data, text.length)) > 0;)
        text.length -= n;
    return text;
}

/* What follows the last "</think>" and its newlines; all if there is none. */
static st_gguf_string without_reasoning(st_gguf_string text)
{
    static const char end[] = "</think>";
    enum { N_END = sizeof end - 1 };
    for (size_t at = text.length; at >= N_END; at--)
        if (memcmp(text.data + at - N_END, end, N_END) == 0) {
            for (; at < text.length && text.data[at] == '\n';)
                at++;
            return (st_gguf_string){text.data + at, text.length - at};
        }
    return text;
}

static st_gguf_string words_of(const st_chat_format *format, const sterna_message *message)
{
    st_chat_role role = role_of(message);
    st_gguf_string words = {message->content ? message->content : "", message->length};
    if (format->drop_reasoning && role == ST_CHAT_ASSISTANT)
        words = without_reasoning(words);
    return format->turn[role].trim ? trimmed(words) : words;
}

/* ---- rendering: once to count, once to write ---- */

/* False if the text becomes too long. */
static bool put(st_chat_text *out, const char *text, size_t length)
{
    if (length > ST_MAX_TEXT_BYTES - out->length)
        return false;
    if (out->text && length > 0)
        memcpy(out->text + out->length, text, length);
    out->length += length;
    return true;
}

static bool put_mark(st_chat_text *out, const char *text)
{
    return !text || put(out, text, strlen(text));
}

static bool put_words(st_chat_text *out, st_gguf_string words)
{
    size_t from = out->length;
    if (!put(out, words.data, words.length))
        return false;
    if (words.length > 0) {
        if (out->span)
            out->span[out->n_span] = (st_span){from, out->length};
        out->n_span++;
    }
    return true;
}

static bool put_before(const st_chat_format *format, const sterna_message *message, st_chat_text *out)
{
    const char *before = format->turn[role_of(message)].before;
    bool no_space = format->transcript && words_of(format, message).length == 0;
    assert(!no_space || before[strlen(before) - 1] == ' ');
    return put(out, before, strlen(before) - no_space);
}

static bool put_all(const st_chat_format *format, const sterna_message *message, size_t n_message,
                    bool add_generation, st_chat_text *out)
{
    const char *next = NULL; /* what the last turn has behind it if something follows */
    bool fits = true;
    for (size_t i = 0; i < n_message && fits; i++) {
        const st_chat_turn *turn = &format->turn[role_of(&message[i])];
        if (format->fold && role_of(&message[i]) == ST_CHAT_SYSTEM)
            continue;
        fits = put_mark(out, next) && put_before(format, &message[i], out);
        if (fits && format->fold && i == 1 && role_of(message) == ST_CHAT_SYSTEM)
            fits = put_words(out, words_of(format, message)) && put_mark(out, format->fold);
        fits = fits && put_words(out, words_of(format, &message[i])) && put_mark(out, turn->after);
        next = turn->next;
    }
    return fits && (!add_generation || put_mark(out, format->generation));
}

sterna_status st_chat_render(const st_chat_format *format, const sterna_message *message, size_t n_message,
                             bool add_generation, st_chat_text *out, sterna_error *error)
{
    *out = (st_chat_text){0};
    sterna_status status = check_conversation(format, message, n_message, add_generation, error);
    if (status)
        return status;
    st_chat_text size = {0};
    if (!put_all(format, message, n_message, add_generation, &size))
        return st_fail(
            error, STERNA_E_LIMIT,
            "a conversation of %zu messages has more than the %d bytes that can be tokenized at once",
            n_message, ST_MAX_TEXT_BYTES);
    out->text = st_alloc(size.length + 1);
    out->span = st_calloc(size.n_span + 1, sizeof *out->span);
    if (!out->text || !out->span) {
        st_chat_text_free(out);
        return st_fail(error, STERNA_E_MEMORY, "no memory for a conversation of %zu bytes", size.length);
    }
    put_all(format, message, n_message, add_generation, out);
    assert(out->length == size.length && out->n_span == size.n_span);
    return STERNA_OK;
}

void st_chat_text_free(st_chat_text *text)
{
    st_free(text->text);
    st_free(text->span);
    *text = (st_chat_text){0};
}

/* ---- tokens ---- */

sterna_status st_chat_check(const st_chat_format *format, const st_tokenizer *tokenizer, sterna_error *error)
{
    if (format->bos && st_tokenizer_bos(tokenizer) < 0)
        return st_fail(error, STERNA_E_UNSUPPORTED,
                       "chat format %s begins with the BOS token, and tokenizer.ggml.bos_token_id names none",
                       format->name);
    for (int i = 0; i < ST_CHAT_MAX_TOKEN && format->token[i]; i++) {
        const char *text = format->token[i];
        if (text[0] != '?' && st_tokenizer_special(tokenizer, text, strlen(text)) < 0)
            return st_fail(
                error, STERNA_E_UNSUPPORTED,
                "chat format %s needs the control token %s, which the vocabulary of %d tokens does "
                "not have",
                format->name, text, st_tokenizer_size(tokenizer));
    }
    return STERNA_OK;
}

int64_t st_chat_encode(const st_chat_format *format, const st_tokenizer *tokenizer,
                       const sterna_message *message, size_t n_message, bool add_generation,
                       sterna_token *tokens, size_t max, sterna_error *error)
{
    st_chat_text text;
    sterna_status status = st_chat_render(format, message, n_message, add_generation, &text, error);
    if (status)
        return status;
    /* A file may list the marks as user-defined tokens, which contents may hold otherwise. */
    sterna_token guard[ST_CHAT_MAX_TOKEN];
    st_quotes quotes = {text.span, text.n_span, guard, 0};
    for (int i = 0; i < ST_CHAT_MAX_TOKEN && format->token[i]; i++) {
        const char *mark = format->token[i] + (format->token[i][0] == '?');
        sterna_token token = st_tokenizer_special(tokenizer, mark, strlen(mark));
        if (token >= 0)
            guard[quotes.n_guard++] = token;
    }
    int64_t n =
        st_tokenizer_encode_quoted(tokenizer, text.text, text.length, &quotes,
                                   format->bos || st_tokenizer_add_bos(tokenizer), tokens, max, error);
    st_chat_text_free(&text);
    return n;
}
