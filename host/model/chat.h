/* Chat formats: what a model was trained to see around the messages of a conversation.
 *
 * A format is one row of a table (chat.c): the text before and after each role's content, the prompt that
 * asks for an answer, and the signs by which a file's template is known. Rendering gives one text in which
 * every content is a span, and the tokenizer keeps control tokens out of spans: so the tokens are those of
 * the whole text, and no message can end its own turn or speak for another role.
 *
 * Every message is rendered by itself, whatever follows, so that the text of a longer conversation begins
 * with the text of a shorter one. So do the tokens where a turn ends in a control token, and in "plain" and
 * "falcon-e", whose turns end in one newline before a letter: no pre-tokenizer joins these. In "falcon3" a
 * user's turn ends in a newline before "<|assistant|>"; where the vocabulary has no such token, and the
 * pre-tokenizer is gpt-2 or smollm (which leave the last white space of a run to what follows), the tokens of
 * a content that ends in white space depend on whether something follows. Falcon3's own pre-tokenizer is none
 * of these.
 *
 * A generation prompt that ends in a space or in an empty "<think>" block (bitnet, qwen3-nothink) is not what
 * the finished answer is rendered with, as in the published templates: a prefix cache is of use up to there.
 */
#ifndef ST_CHAT_H
#define ST_CHAT_H

#include "host/model/tokenizer.h"

enum {
    ST_CHAT_MAX_TEMPLATE =
        1 << 20,           /* bytes of a template that is looked at; published ones have up to 20,000 */
    ST_CHAT_MAX_TOKEN = 4, /* control tokens of a format */
};

typedef enum st_chat_role {
    ST_CHAT_SYSTEM,
    ST_CHAT_USER,
    ST_CHAT_ASSISTANT,
    ST_CHAT_ROLE_COUNT
} st_chat_role;

typedef struct st_chat_turn {
    const char *before, *after;
    const char *next; /* behind `after`, but only where a message follows; or NULL */
    bool trim;        /* white space at both ends of the content goes */
} st_chat_turn;

typedef struct st_chat_format {
    const char *name;
    st_chat_turn turn[ST_CHAT_ROLE_COUNT];
    const char *generation; /* asks for an answer */
    const char *fold;    /* not NULL: no system turn; its content and this stand before the user's content */
    bool bos;            /* always begins with BOS; else where the model's texts do */
    bool alternate;      /* user and assistant take turns, the user first */
    bool drop_reasoning; /* of an assistant's content only what follows "</think>" is kept */
    bool transcript; /* words are the only marks: no space stands before an empty content, where it would be
                        one piece with the newline, or not, by what follows */
    /* The format's own tokens, which no content may hold; a "?" before it: where the vocabulary has it, else
     * the format cannot be used without. */
    const char *token[ST_CHAT_MAX_TOKEN];
    const char *stops[4]; /* texts that end an answer besides end tokens, to a NULL */
    /* A template is known by having all texts of one line and none of those with "!". They are compared
     * without white space, "\n" and "-", and with ' for ". */
    const char *signs[3][6];
} st_chat_format;

/* By position; NULL past the last. */
const st_chat_format *st_chat_format_at(int index);
/* By name; STERNA_E_ARGUMENT lists the names. */
sterna_status st_chat_find(const char *name, const st_chat_format **format, sterna_error *error);
/* By a file's template. STERNA_E_UNSUPPORTED says what was looked for. */
sterna_status st_chat_detect(const char *template_text, size_t length, const st_chat_format **format,
                             sterna_error *error);
/* Whether the vocabulary has what the format needs; STERNA_E_UNSUPPORTED names the first missing token. */
sterna_status st_chat_check(const st_chat_format *format, const st_tokenizer *tokenizer, sterna_error *error);

typedef struct st_chat_text {
    char *text; /* [length] owned, no NUL at the end */
    size_t length;
    st_span *span; /* [n_span] owned; the contents that are not empty */
    size_t n_span;
} st_chat_text;
/* BOS is not part of the text. On failure `out` is empty. */
sterna_status st_chat_render(const st_chat_format *format, const sterna_message *message, size_t n_message,
                             bool add_generation, st_chat_text *out, sterna_error *error);
void st_chat_text_free(st_chat_text *text); /* leaves it zeroed */

/* Renders and tokenizes, as sterna_chat_tokenize. The format was checked. */
int64_t st_chat_encode(const st_chat_format *format, const st_tokenizer *tokenizer,
                       const sterna_message *message, size_t n_message, bool add_generation,
                       sterna_token *tokens, size_t max, sterna_error *error);

#endif
