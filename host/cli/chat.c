/* sterna chat: a conversation, typed or from a script. */
#include "host/cli/chat.h"

#include <errno.h>
#include <inttypes.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

enum { MAX_READ_BYTES = 64 << 20 }; /* of a file for /read */

typedef struct dialogue {
    st_chat chat;
    st_input input;
    st_bytes message;  /* begun by /read or by lines that end in a backslash */
    bool continued;    /* the last line ended in a backslash */
    bool interrupted;  /* by SIGINT, and nothing was entered since */
    bool colour, done; /* the prompt's; the conversation is over */
} dialogue;

/* ---- commands ---- */

static int command_help(dialogue *d, const char *argument)
{
    (void)argument;
    fprintf(d->chat.notice,
            "/regen       answer the last message again, with the next seed\n"
            "/clear       forget the conversation, but for the system message\n"
            "/read FILE   begin the next message with a file\n"
            "/stats       what the last answer cost\n"
            "/help        this text\n"
            "/exit        end, like the end of the input\n"
            "A backslash at the end of a line continues the message. Ctrl-C stops an answer.\n");
    return ST_EXIT_OK;
}

static int command_exit(dialogue *d, const char *argument)
{
    (void)argument;
    d->message.size = 0; /* begun, but not sent */
    d->done = true;
    return ST_EXIT_OK;
}

static int command_clear(dialogue *d, const char *argument)
{
    (void)argument;
    st_chat_truncate(&d->chat, d->chat.n_system);
    d->message.size = 0;
    return ST_EXIT_OK;
}

static int command_regen(dialogue *d, const char *argument)
{
    st_chat *chat = &d->chat;
    bool full;
    (void)argument;
    if (chat->n_message == chat->n_system)
        return st_chat_mistake(chat, "/regen: nothing has been asked yet");
    if (strcmp(chat->message[chat->n_message - 1].role, "assistant") == 0)
        st_chat_truncate(chat, chat->n_message - 1);
    return st_chat_answer(chat, &full);
}

static int command_read(dialogue *d, const char *argument)
{
    char why[128];
    st_bytes text = {0};
    if (!*argument)
        return st_chat_mistake(&d->chat, "/read needs the name of a file");
    if (!st_bytes_read(&text, argument, MAX_READ_BYTES, why))
        return st_chat_mistake(&d->chat, "cannot read %s: %s", argument, why);
    bool done = st_bytes_append(&d->message, text.data, text.size) &&
                (text.size == 0 || text.data[text.size - 1] == '\n' || st_bytes_append(&d->message, "\n", 1));
    if (done && d->chat.terminal)
        fprintf(d->chat.notice, "[%zu bytes of %s: your next message goes on after them]\n", text.size,
                argument);
    st_bytes_free(&text);
    return done ? ST_EXIT_OK : st_cli_fail("chat", ST_EXIT_FAILURE, "out of memory for %s", argument);
}

static int command_stats(dialogue *d, const char *argument)
{
    const st_answer *a = &d->chat.last;
    (void)argument;
    if (d->chat.n_answer == 0)
        return st_chat_mistake(&d->chat, "/stats: there was no answer yet");
    fprintf(d->chat.notice, "prompt: %d tokens, %d of them cached, %.3f s\n", a->n_prompt, a->n_cached,
            a->seconds_prompt);
    fprintf(d->chat.notice, "answer: %d tokens in %.3f s", a->n_generated, a->seconds_decode);
    if (a->n_generated > 1 && a->seconds_decode > 0.0)
        fprintf(d->chat.notice, ", %.1f tok/s", (a->n_generated - 1) / a->seconds_decode);
    fprintf(d->chat.notice, "\ncontext: %d of %d positions\n", a->n_prompt + a->n_generated,
            d->chat.session.n_context);
    return ST_EXIT_OK;
}

static const struct {
    const char *name;
    int (*run)(dialogue *, const char *argument);
} commands[] = {{"/help", command_help},   {"/exit", command_exit}, {"/clear", command_clear},
                {"/regen", command_regen}, {"/read", command_read}, {"/stats", command_stats}};

static int run_command(dialogue *d, char *line)
{
    size_t length = strcspn(line, " \t");
    char *argument = line + length + strspn(line + length, " \t");
    for (size_t n = strlen(argument); n > 0 && strchr(" \t\r", argument[n - 1]); n--)
        argument[n - 1] = '\0';
    for (size_t i = 0; i < sizeof commands / sizeof commands[0]; i++)
        if (strlen(commands[i].name) == length && memcmp(commands[i].name, line, length) == 0)
            return commands[i].run(d, argument);
    return st_chat_mistake(
        &d->chat, "unknown command '%.*s' (/help lists them; a space before it sends it to the model)",
        (int)length, line);
}

/* ---- lines ---- */

static int send_message(dialogue *d)
{
    st_chat *chat = &d->chat;
    size_t before = chat->n_message;
    bool full;
    bool added = st_chat_add(chat, "user", d->message.data, d->message.size);
    d->message.size = 0;
    if (!added)
        return st_cli_fail("chat", ST_EXIT_FAILURE, "out of memory for messages");
    int code = st_chat_answer(chat, &full);
    if (full)
        st_chat_truncate(chat, before);
    return code;
}

/* `line` is NUL-terminated. */
static int take_line(dialogue *d, char *line, size_t size)
{
    bool begun = d->continued;
    if (size > 0 && line[size - 1] == '\r')
        line[--size] = '\0';
    d->continued = size > 0 && line[size - 1] == '\\';
    if (!begun && !d->continued && size == 0 && d->message.size == 0)
        return ST_EXIT_OK;
    if (!begun && line[0] == '/') {
        d->continued = false;
        return run_command(d, line);
    }
    if (d->continued)
        line[size - 1] = '\n'; /* in place of the backslash */
    if (!st_bytes_append(&d->message, line, size))
        return st_cli_fail("chat", ST_EXIT_FAILURE, "out of memory for the message");
    return d->continued ? ST_EXIT_OK : send_message(d);
}

static void show_prompt(const dialogue *d)
{
    if (!d->chat.terminal)
        return;
    fprintf(d->chat.notice, "%s%s", d->colour ? "\x1b[32m" : "", d->continued ? ". " : "> ");
    fflush(d->chat.notice);
}

/* SIGINT while nothing is computed: the first one drops what was begun, the second leaves. */
static int take_interrupt(dialogue *d)
{
    if (!d->chat.terminal || d->interrupted)
        return ST_EXIT_INTERRUPTED;
    fprintf(d->chat.notice, "\n[once more to leave]\n");
    d->interrupted = true;
    d->continued = false;
    d->message.size = 0;
    return ST_EXIT_OK;
}

/* One line of input and what it leads to. */
static int turn(dialogue *d)
{
    st_bytes line = {0};
    int code = ST_EXIT_OK;
    show_prompt(d);
    st_interrupt_reset();
    st_input_state state = st_input_line(&d->input, &line);
    if (d->colour)
        fprintf(d->chat.notice, "\x1b[0m");
    if (state == ST_INPUT_FAILED)
        code = st_cli_fail("chat", ST_EXIT_FAILURE, "cannot read standard input: %s", strerror(errno));
    else if (state == ST_INPUT_INTERRUPTED)
        code = take_interrupt(d);
    else if (state == ST_INPUT_END)
        d->done = true;
    else if (!st_bytes_append(&line, "", 1))
        code = st_cli_fail("chat", ST_EXIT_FAILURE, "out of memory for a line");
    else {
        code = take_line(d, line.data, line.size - 1);
        d->interrupted = st_interrupted();
        if (d->interrupted && code == ST_EXIT_OK && !d->chat.terminal)
            code = ST_EXIT_INTERRUPTED;
    }
    if (state == ST_INPUT_END && d->chat.terminal)
        fputc('\n', d->chat.notice);
    st_bytes_free(&line);
    return code;
}

/* ---- the command ---- */

static int talk(dialogue *d)
{
    st_chat *chat = &d->chat;
    int code = st_chat_open(chat);
    if (code == ST_EXIT_OK && chat->terminal)
        fprintf(chat->notice, "format %s, context of %d tokens; /help lists the commands\n", chat->format,
                chat->session.n_context);
    while (code == ST_EXIT_OK && !d->done)
        code = turn(d);
    if (code == ST_EXIT_OK && d->message.size > 0) /* continued, and then the input ended */
        code = send_message(d);
    return code;
}

static int chat_run(const void *params)
{
    const st_chat_params *p = params;
    if (!p->session.model)
        return st_cli_fail("chat", ST_EXIT_USAGE, "no model: give one with --model FILE");
    if (p->system && p->system_file)
        return st_cli_fail("chat", ST_EXIT_USAGE, "--system and --system-file exclude each other");
    if (p->system_file && strcmp(p->system_file, "-") == 0)
        return st_cli_fail("chat", ST_EXIT_USAGE, "--system-file: standard input is for the conversation");
    dialogue d = {.chat = {.params = p, .session = {.command = "chat", .params = &p->session}}};
    const char *terminal = getenv("TERM");
    d.chat.terminal = isatty(STDIN_FILENO);
    d.chat.notice = d.chat.terminal && isatty(STDOUT_FILENO) ? stdout : stderr;
    d.colour = d.chat.terminal && isatty(fileno(d.chat.notice)) && !getenv("NO_COLOR") && terminal &&
               strcmp(terminal, "dumb") != 0;
    int code = talk(&d);
    st_chat_close(&d.chat);
    st_bytes_free(&d.message);
    st_bytes_free(&d.input.data);
    return st_cli_finish("chat", stdout, "standard output", code);
}

static void chat_defaults(void *params)
{
    st_chat_params *p = params;
    *p = (st_chat_params){.format = NULL};
    st_session_defaults(&p->session);
    st_context_defaults(&p->context);
    st_sampling_defaults(&p->sampling);
}

#define AT(field) offsetof(st_chat_params, field)
static const st_option options[] = {
    {"--system", "-sys", ST_OPTION_TEXT, AT(system), 0, 0, "TEXT", "system message"},
    {"--system-file", "-sysf", ST_OPTION_TEXT, AT(system_file), 0, 0, "FILE",
     "read the system message from a file"},
    {"--chat-template", NULL, ST_OPTION_TEXT, AT(format), 0, 0, "NAME",
     "format to use in place of the model's own"},
};

static const st_option_table table = {"conversation", options, sizeof options / sizeof options[0]};
static const st_option_group groups[] = {{&st_session_options, AT(session)},
                                         {&table, 0},
                                         {&st_sampling_options, AT(sampling)},
                                         {&st_context_options, AT(context)}};

const st_command st_command_chat = {
    .name = "chat",
    .summary = "Talk with a model.",
    .notes = "Each line of standard input is a message; a backslash at its end continues it on the next "
             "line. Lines\n"
             "that begin with a slash are commands:\n"
             "\n"
             "  /regen       answer the last message again, with the next seed\n"
             "  /clear       forget the conversation, but for the system message\n"
             "  /read FILE   begin the next message with a file\n"
             "  /stats       what the last answer cost\n"
             "  /help        list the commands\n"
             "  /exit        end, like the end of the input\n"
             "\n"
             "Formats: bitnet, llama3, chatml, qwen3, qwen3-think, qwen3-nothink, falcon3, falcon-e, gemma "
             "and plain.\n"
             "\n"
             "Ctrl-C stops an answer; at the prompt, it drops what was begun, and pressed once more it "
             "leaves. The\n"
             "k-th answer, from 0, is drawn with the seed --seed + k. What a turn has in common with the "
             "turn before\n"
             "is not computed again.\n"
             "\n"
             "Where standard input is not a terminal, there are no prompts, only the answers go to standard "
             "output,\n"
             "and the first mistake ends the command with 1.\n"
             "\n"
             "Exit codes: 0 done, 1 failed, 2 wrong usage, 130 interrupted, 141 nobody reads the output.",
    .groups = groups,
    .n_group = sizeof groups / sizeof groups[0],
    .params_size = sizeof(st_chat_params),
    .defaults = chat_defaults,
    .run = chat_run,
};
