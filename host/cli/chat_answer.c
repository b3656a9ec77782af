/* A conversation with a model: messages, their tokens, answers. */
#include "host/cli/chat.h"

#include <inttypes.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

enum { MAX_SYSTEM_BYTES = 64 << 20 };

/* ---- messages ---- */

bool st_chat_add(st_chat *chat, const char *role, const char *content, size_t size)
{
    if (chat->n_message == chat->capacity) {
        size_t capacity = chat->capacity ? 2 * chat->capacity : 16;
        sterna_message *grown = realloc(chat->message, capacity * sizeof *grown);
        if (!grown)
            return false;
        chat->message = grown;
        chat->capacity = capacity;
    }
    char *copy = malloc(size + 1);
    if (!copy)
        return false;
    if (size > 0)
        memcpy(copy, content, size);
    chat->message[chat->n_message++] = (sterna_message){role, copy, size};
    return true;
}

void st_chat_truncate(st_chat *chat, size_t first)
{
    while (chat->n_message > first)
        free((void *)chat->message[--chat->n_message].content);
}

/* ---- opening ---- */

static int choose_format(st_chat *chat)
{
    const char *wanted = chat->params->format, *name;
    sterna_error error;
    char known[256] = "";
    if (!wanted) {
        if (sterna_chat_detect(chat->session.model, &chat->format, &error) != STERNA_OK)
            return st_cli_fail("chat", ST_EXIT_FAILURE, "%s (see --chat-template)", error.message);
        if (strcmp(chat->format, "plain") == 0)
            st_cli_warn("chat", "the model has no chat template: turns are marked by plain words (User:, "
                                "Assistant:), and it may not answer at all");
        return ST_EXIT_OK;
    }
    for (int i = 0; (name = sterna_chat_format(i)) != NULL; i++) {
        if (strcmp(name, wanted) == 0) {
            chat->format = name;
            return ST_EXIT_OK;
        }
        size_t used = strlen(known);
        snprintf(known + used, sizeof known - used, "%s%s", i ? ", " : "", name);
    }
    return st_cli_fail("chat", ST_EXIT_USAGE, "--chat-template: '%s' is not one of %s", wanted, known);
}

static int add_system(st_chat *chat)
{
    const st_chat_params *p = chat->params;
    st_bytes text = {0};
    char why[128];
    bool done = true;
    if (p->system_file && !st_bytes_read(&text, p->system_file, MAX_SYSTEM_BYTES, why))
        return st_cli_fail("chat", ST_EXIT_FAILURE, "cannot read %s: %s", p->system_file, why);
    if (text.size > 0 && text.data[text.size - 1] == '\n')
        text.size--;
    if (p->system)
        done = st_bytes_append(&text, p->system, strlen(p->system));
    if (p->system || p->system_file)
        done = done && st_chat_add(chat, "system", text.data, text.size);
    chat->n_system = chat->n_message;
    st_bytes_free(&text);
    return done ? ST_EXIT_OK : st_cli_fail("chat", ST_EXIT_FAILURE, "out of memory for the system message");
}

/* The conversation's tokens, ready for an answer; NULL and an error on failure. */
static sterna_token *tokenize(const st_chat *chat, int32_t *n, sterna_error *error)
{
    int64_t needed = sterna_chat_tokenize(chat->session.model, chat->format, chat->message, chat->n_message,
                                          true, NULL, 0, error);
    if (needed < 0)
        return NULL;
    sterna_token *token = needed <= INT32_MAX ? malloc(((size_t)needed + 1) * sizeof *token) : NULL;
    if (!token) {
        error->status = STERNA_E_MEMORY;
        snprintf(error->message, sizeof error->message, "out of memory for %" PRId64 " tokens", needed);
        return NULL;
    }
    sterna_chat_tokenize(chat->session.model, chat->format, chat->message, chat->n_message, true, token,
                         (size_t)needed, error);
    *n = (int32_t)needed;
    return token;
}

/* A format that the vocabulary cannot write should not wait for the first question. */
static int try_format(st_chat *chat)
{
    sterna_error error;
    int32_t n;
    size_t before = chat->n_message;
    if (!st_chat_add(chat, "user", "?", 1))
        return st_cli_fail("chat", ST_EXIT_FAILURE, "out of memory for messages");
    sterna_token *token = tokenize(chat, &n, &error);
    st_chat_truncate(chat, before);
    free(token);
    return token ? ST_EXIT_OK : st_cli_fail("chat", ST_EXIT_FAILURE, "%s", error.message);
}

static int prepare_request(st_chat *chat)
{
    int32_t n;
    const char *const *stops = sterna_chat_stops(chat->format, &n);
    chat->request = st_sampling_request(&chat->params->sampling);
    st_lists_set(&chat->lists, &chat->request);
    int32_t n_own = chat->request.n_stop, n_all = n + n_own;
    if (n_all > STERNA_MAX_STOP)
        return st_cli_fail("chat", ST_EXIT_USAGE,
                           "--stop: %d texts, but at most %d are possible beside those of the format %s",
                           n_own, STERNA_MAX_STOP - n, chat->format);
    chat->stop = calloc((size_t)n_all + 1, sizeof *chat->stop);
    if (!chat->stop)
        return st_cli_fail("chat", ST_EXIT_FAILURE, "out of memory for the options");
    for (int32_t i = 0; i < n_all; i++)
        chat->stop[i] = i < n ? stops[i] : chat->request.stop[i - n];
    chat->request.stop = chat->stop;
    chat->request.n_stop = n_all;
    return ST_EXIT_OK;
}

int st_chat_open(st_chat *chat)
{
    const st_chat_params *p = chat->params;
    int code = st_session_open_model(&chat->session, p->context.ctx_size);
    if (code == ST_EXIT_OK)
        code = st_lists_read(&chat->lists, "chat", &p->sampling, chat->session.info.n_vocab);
    if (code == ST_EXIT_OK)
        code = choose_format(chat);
    if (code == ST_EXIT_OK)
        code = add_system(chat);
    if (code == ST_EXIT_OK)
        code = try_format(chat);
    if (code == ST_EXIT_OK)
        code = prepare_request(chat);
    if (code != ST_EXIT_OK)
        return code;
    sterna_engine_params params = st_session_engine_params(&chat->session, &p->context);
    params.n_context = chat->session.n_context;
    params.n_sequence = 1;
    params.n_draft = p->sampling.draft;
    st_interrupt_catch(true);
    return st_session_open_engine(&chat->session, &params);
}

void st_chat_close(st_chat *chat)
{
    st_session_close(&chat->session);
    st_chat_truncate(chat, 0);
    free(chat->message);
    free(chat->stop);
    st_lists_free(&chat->lists);
}

int st_chat_mistake(const st_chat *chat, const char *format, ...)
{
    char line[768];
    va_list args;
    va_start(args, format);
    vsnprintf(line, sizeof line, format, args);
    va_end(args);
    return st_cli_fail("chat", chat->terminal ? ST_EXIT_OK : ST_EXIT_FAILURE, "%s", line);
}

/* ---- answers ---- */

/* Takes the events of a step: *end is the last one's finish. */
static int take_events(st_chat *chat, st_bytes *answer, sterna_finish *end)
{
    const sterna_event *event;
    while ((event = sterna_next(chat->session.engine)) != NULL) {
        fwrite(event->text, 1, (size_t)event->n_text, stdout);
        if (!st_bytes_append(answer, event->text, (size_t)event->n_text))
            return st_cli_fail("chat", ST_EXIT_FAILURE, "out of memory for the answer");
        if (event->finish == STERNA_FINISH_NONE)
            continue;
        *end = event->finish;
        chat->last = (st_answer){event->n_prompt, event->n_cached, event->n_generated, event->seconds_prompt,
                                 event->seconds_decode};
        if (event->finish == STERNA_FINISH_ERROR)
            return st_cli_fail("chat", ST_EXIT_FAILURE, "%s", event->error.message);
    }
    return st_cli_flush(stdout) ? ST_EXIT_OK : ST_EXIT_FAILURE; /* st_cli_finish says why */
}

static int generate(st_chat *chat, sterna_request_id id, st_bytes *answer, sterna_finish *end)
{
    sterna_engine *engine = chat->session.engine;
    sterna_error error;
    int code = ST_EXIT_OK;
    while (code == ST_EXIT_OK && *end == STERNA_FINISH_NONE) {
        int64_t left = sterna_step(engine, &error);
        code = left >= 0 || error.status == STERNA_E_ABORTED
                   ? take_events(chat, answer, end)
                   : st_cli_fail("chat", ST_EXIT_FAILURE, "%s", error.message);
        if (code == ST_EXIT_OK && *end == STERNA_FINISH_NONE && st_interrupted() &&
            sterna_cancel(engine, id, &error) == STERNA_OK)
            code = take_events(chat, answer, end);
    }
    return code;
}

/* Says why the answer ended, where it did not by itself. */
static void explain_end(const st_chat *chat, sterna_finish end)
{
    int32_t n = chat->last.n_prompt + chat->last.n_generated, n_context = chat->session.n_context;
    if (end == STERNA_FINISH_CANCEL && chat->terminal)
        fprintf(chat->notice, "[stopped; once more to leave]\n");
    if (end == STERNA_FINISH_LENGTH && n >= n_context)
        st_cli_warn("chat", "the answer ended because the context of %d tokens is full: /clear starts anew",
                    n_context);
    else if (end == STERNA_FINISH_LENGTH && chat->terminal)
        fprintf(chat->notice, "[ended after %d tokens: --predict]\n", chat->last.n_generated);
}

int st_chat_answer(st_chat *chat, bool *full)
{
    sterna_error error;
    int32_t n = 0, n_context = chat->session.n_context;
    sterna_token *token = tokenize(chat, &n, &error);
    *full = false;
    if (!token)
        return st_cli_fail("chat", ST_EXIT_FAILURE, "%s", error.message);
    if (n >= n_context) {
        free(token);
        *full = true;
        return st_chat_mistake(
            chat,
            "the conversation would have %d tokens, but the context holds %d: /clear starts "
            "anew (see --ctx-size)",
            n, n_context);
    }
    sterna_request request = chat->request;
    sterna_request_id id;
    request.prompt = token;
    request.n_prompt = n;
    request.seed += chat->n_answer++;
    sterna_status status = sterna_submit(chat->session.engine, &request, &id, &error);
    free(token);
    if (status != STERNA_OK)
        return st_cli_fail("chat", ST_EXIT_FAILURE, "%s", error.message);
    st_bytes answer = {0};
    sterna_finish end = STERNA_FINISH_NONE;
    int code = generate(chat, id, &answer, &end);
    putchar('\n');
    st_cli_flush(stdout);
    if (code == ST_EXIT_OK)
        explain_end(chat, end);
    if (code == ST_EXIT_OK && !st_chat_add(chat, "assistant", answer.data, answer.size))
        code = st_cli_fail("chat", ST_EXIT_FAILURE, "out of memory for messages");
    st_bytes_free(&answer);
    return code;
}
