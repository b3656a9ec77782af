/* sterna chat, from outside: as a filter, and typed on a terminal. */
#include "tests/support/cli_rig.h"

#include <signal.h>

#define CHAT "chat", "-m", DEMO_MODEL, "--temp", "0", "-n", "12"

static spawned filter(const char *script)
{
    spawn_options input = {.input = script, .input_size = strlen(script)};
    return RUN(&input, CHAT);
}

/* What `sterna run` answers to this text in the format "plain". */
static void answer_to(const char *prompt, char *answer, size_t size)
{
    json_t *list =
        results_of(RUN(NULL, "run", "-m", DEMO_MODEL, "-p", prompt, "--temp", "0", "-n", "12", "--json",
                       "--stop", "\\nUser:", "--stop", "\\nAssistant:", "--stop", "\\nSystem:"));
    snprintf(answer, size, "%s", text_of(json_array_get(list, 0), "text"));
    json_decref(list);
}

static const char *trimmed(char *text)
{
    while (*text && strchr(" \n", *text))
        text++;
    for (size_t n = strlen(text); n > 0 && strchr(" \n", text[n - 1]); n--)
        text[n - 1] = '\0';
    return text;
}

static const char warning[] =
    "sterna chat: warning: the model has no chat template: turns are marked by plain words "
    "(User:, Assistant:), and it may not answer at all\n";

/* Each turn is the conversation so far, continued. */
Test(cli_chat, turns, .timeout = 60)
{
    char first[256], second[256], prompt[1024], expected[1024];
    answer_to("System: Be a bird.\nUser: Hello there\nAssistant:", first, sizeof first);
    snprintf(expected, sizeof expected, "%s\n", first);
    snprintf(
        prompt, sizeof prompt,
        "System: Be a bird.\nUser: Hello there\nAssistant: %s\nUser: Two\nlines\nAssistant:", trimmed(first));
    answer_to(prompt, second, sizeof second);
    snprintf(expected + strlen(expected), sizeof expected - strlen(expected), "%s\n", second);
    static const char script[] = "Hello there\n\nTwo\\\nlines\n"; /* the empty line says nothing */
    spawn_options input = {.input = script, .input_size = sizeof script - 1};
    spawned s = RUN(&input, CHAT, "--system", "Be a bird.");
    cr_expect(s.code == 0 && strcmp(s.out, expected) == 0, "%s instead of %s", s.out, expected);
    cr_expect_str_eq(s.err, warning);
    spawned_free(&s);
    char path[64];
    write_file(path, "Be a bird.\n", 11);
    s = RUN(&input, CHAT, "--system-file", path, "--chat-template", "plain");
    cr_expect(s.code == 0 && strcmp(s.out, expected) == 0 && s.err[0] == '\0', "%s%s", s.out, s.err);
    spawned_free(&s);
    unlink(path);
}

Test(cli_chat, commands, .timeout = 60)
{
    char path[64], script[256], one[256];
    spawned a = filter("Hello"), b = filter("Good day\n/clear\nHello\r\n"), c = filter("Hello\n/regen\n");
    snprintf(one, sizeof one, "%s", a.out);
    cr_assert(a.code == 0 && b.code == 0 && c.code == 0, "%s%s%s", a.err, b.err, c.err);
    size_t n = strlen(one);
    cr_expect(b.out_size > n && strcmp(b.out + b.out_size - n, one) == 0, "/clear: %s, %s", b.out, one);
    cr_expect(c.out_size == 2 * n && strncmp(c.out, one, n) == 0 && strcmp(c.out + n, one) == 0, "/regen: %s",
              c.out);
    spawned_free(&b);
    spawned_free(&c);
    b = filter("Hello\n/read " STERNA_SOURCE_DIR "/models/prompts.jsonl\n/exit\nmore\n");
    cr_expect(b.code == 0 && strcmp(b.out, one) == 0, "%s", b.out);
    spawned_free(&b);
    write_file(path, "And the LORD spake unto Moses,", 29);
    snprintf(script, sizeof script, "/read  %s \nsaying\n", path);
    b = filter(script);
    c = filter("And the LORD spake unto Moses,\\\nsaying\n");
    cr_expect(b.code == 0 && strcmp(b.out, c.out) == 0 && strcmp(b.out, one) != 0, "%s, %s", b.out, c.out);
    spawned_free(&b);
    spawned_free(&c);
    b = filter("Hello\n/stats\n");
    cr_expect(b.code == 0 && strcmp(b.out, one) == 0 && strstr(b.err, " of them cached, ") &&
                  strstr(b.err, "answer: 12 tokens in ") && strstr(b.err, " of 512 positions\n"),
              "%s", b.err);
    spawned_free(&b);
    b = filter("/help\n");
    cr_expect(b.code == 0 && b.out_size == 0 && strstr(b.err, "/regen       answer the last message again"),
              "%s", b.err);
    spawned_free(&b);
    spawned_free(&a);
    unlink(path);
}

/* With another seed for each answer a second attempt is another one; the whole is the same every time. */
Test(cli_chat, seeds, .timeout = 60)
{
    static const char script[] = "Hello\n/regen\n";
    spawn_options input = {.input = script, .input_size = sizeof script - 1},
                  once = {.input = "Hello", .input_size = 5};
#define WARM "chat", "-m", DEMO_MODEL, "--temp", "1.5", "-n", "12", "--seed"
    spawned a = RUN(&input, WARM, "5"), b = RUN(&input, WARM, "5", "--draft", "3"), c = RUN(&once, WARM, "6");
    cr_assert(a.code == 0 && b.code == 0 && c.code == 0);
    cr_expect_str_eq(a.out, b.out);
    cr_expect(a.out_size > c.out_size && strcmp(a.out + a.out_size - c.out_size, c.out) == 0, "%s, %s", a.out,
              c.out);
    cr_expect(strncmp(a.out, c.out, c.out_size) != 0);
    spawned_free(&a);
    spawned_free(&b);
    spawned_free(&c);
}

static void expect_mistake(const char *script, const char *message)
{
    spawned s = filter(script);
    char expected[512];
    snprintf(expected, sizeof expected, "%ssterna chat: %s\n", warning, message);
    cr_expect(s.code == 1 && strcmp(s.err, expected) == 0, "%d: %s", s.code, s.err);
    spawned_free(&s);
}

Test(cli_chat, mistakes, .timeout = 60)
{
    expect_mistake("/fly away\n",
                   "unknown command '/fly' (/help lists them; a space before it sends it to the model)");
    expect_mistake("/regen\n", "/regen: nothing has been asked yet");
    expect_mistake("/stats\n", "/stats: there was no answer yet");
    expect_mistake("/read\n", "/read needs the name of a file");
    expect_mistake("/read /nowhere/x\n", "cannot read /nowhere/x: No such file or directory");
    expect_failure(RUN(NULL, "chat"), 2, "sterna chat: no model: give one with --model FILE\n");
    expect_failure(RUN(NULL, CHAT, "--system", "a", "--system-file", "b"), 2,
                   "sterna chat: --system and --system-file exclude each other\n");
    expect_failure(RUN(NULL, CHAT, "--system-file", "-"), 2,
                   "sterna chat: --system-file: standard input is for the conversation\n");
    expect_failure(
        RUN(NULL, CHAT, "--chat-template", "klingon"), 2,
        "sterna chat: --chat-template: 'klingon' is not one of bitnet, llama3, qwen3-nothink, qwen3-think, "
        "qwen3, chatml, falcon3, falcon-e, gemma, plain\n");
    spawned s = RUN(NULL, CHAT, "--chat-template", "chatml"); /* the vocabulary has no <|im_start|> */
    cr_expect(s.code == 1 && strncmp(s.err, "sterna chat: ", 13) == 0 && strstr(s.err, "<|im_start|>"), "%s",
              s.err);
    spawned_free(&s);
    s = RUN(NULL, CHAT, "--stop", "1", "--stop", "2", "--stop", "3", "--stop", "4", "--stop", "5", "--stop",
            "6", "--stop", "7", "--stop", "8", "--stop", "9", "--stop", "10", "--stop", "11", "--stop", "12",
            "--stop", "13", "--stop", "14");
    cr_expect(s.code == 2 &&
                  strstr(s.err, "sterna chat: --stop: 14 texts, but at most 13 are possible beside those of "
                                "the format plain\n"),
              "%s", s.err);
    spawned_free(&s);
}

Test(cli_chat, full_context, .timeout = 60)
{
    char path[TINY_PATH];
    make_model(64, path);
    static const char script[] = "Hello\nHello again, and a few words more\n";
    spawn_options input = {.input = script, .input_size = sizeof script - 1};
    spawned s = RUN(&input, "chat", "-m", path, "--ignore-eos", "--chat-template", "plain", "--temp", "0");
    cr_expect_eq(s.code, 1);
    cr_expect(
        strstr(s.err,
               "sterna chat: warning: the answer ended because the context of 64 tokens is full: /clear "
               "starts anew\n"),
        "%s", s.err);
    cr_expect(strstr(s.err, " tokens, but the context holds 64: /clear starts anew (see --ctx-size)\n"), "%s",
              s.err);
    spawned_free(&s);
    unlink(path);
}

/* ---- on a terminal ---- */

#define HEARS(d, text) cr_assert(dialogue_expect(d, text), "'%s' is not in: %s", text, dialogue_heard(d))
#define TALK(...)      dialogue_open((const char *const[]){STERNA_BINARY, __VA_ARGS__, NULL})

Test(cli_chat, typed, .timeout = 90)
{
    setenv("NO_COLOR", "1", 1);
    spawned s = filter("Hello");
    cr_assert_eq(s.code, 0);
    char answer[32];
    snprintf(answer, sizeof answer, "%.20s", s.out); /* without its line's end */
    spawned_free(&s);
    dialogue *d = TALK(CHAT);
    HEARS(d, "sterna chat: warning: the model has no chat template");
    HEARS(d, "format plain, context of 512 tokens; /help lists the commands\r\n> ");
    dialogue_say(d, "Hello\n");
    HEARS(d, "Hello\r\n");
    HEARS(d, answer);
    HEARS(d, "[ended after 12 tokens: --predict]\r\n> ");
    dialogue_say(d, "/fly\n");
    HEARS(d, "sterna chat: unknown command '/fly'");
    HEARS(d, "> ");
    dialogue_say(d, "one \\\n");
    HEARS(d, "\r\n. ");
    dialogue_say(d, "two\n");
    HEARS(d, "[ended after 12 tokens: --predict]\r\n> ");
    dialogue_say(d, "/stats\n");
    HEARS(d, "answer: 12 tokens in ");
    HEARS(d, "> ");
    cr_expect(!strstr(dialogue_heard(d), "\x1b["), "colours although NO_COLOR is set");
    dialogue_say(d, "\x04");
    cr_expect_eq(dialogue_close(&d), 0);
}

Test(cli_chat, interrupts, .timeout = 120)
{
    char path[TINY_PATH];
    make_model(16384, path);
    setenv("NO_COLOR", "1", 1);
    /* an endless row of a's: token 100 of the tiny vocabulary */
#define ENDLESS                                                                                              \
    "chat", "-m", path, "-c", "0", "--chat-template", "plain", "--ignore-eos", "--logit-bias", "100+1000"
    dialogue *d = TALK(ENDLESS);
    HEARS(d, "> ");
    /* an answer is stopped; the conversation goes on */
    dialogue_say(d, "Hello\n");
    HEARS(d, "Hello\r\n");
    HEARS(d, "aaa");
    dialogue_say(d, "\x03");
    HEARS(d, "[stopped; once more to leave]\r\n> ");
    dialogue_say(d, "/stats\n");
    HEARS(d, "answer: ");
    HEARS(d, "> ");
    /* at the prompt, once: what was begun is dropped */
    dialogue_say(d, "begun \\\n");
    HEARS(d, ". ");
    dialogue_say(d, "\x03");
    HEARS(d, "[once more to leave]\r\n> ");
    dialogue_say(d, "/clear\n");
    HEARS(d, "> ");
    dialogue_say(d, "\x03");
    HEARS(d, "[once more to leave]\r\n> ");
    dialogue_say(d, "\x03");
    cr_expect_eq(dialogue_close(&d), 130);
    /* after an answer was stopped, once more is enough */
    d = TALK(ENDLESS);
    HEARS(d, "> ");
    dialogue_say(d, "Hello\n");
    HEARS(d, "Hello\r\n");
    HEARS(d, "aaa");
    dialogue_say(d, "\x03");
    HEARS(d, "[stopped; once more to leave]\r\n> ");
    dialogue_say(d, "\x03");
    cr_expect_eq(dialogue_close(&d), 130);
    /* a script is ended at once */
    spawn_options interrupt = {.input = "Hello\nmore\n", .input_size = 11, .signal = SIGINT};
    spawned s = RUN(&interrupt, ENDLESS);
    cr_expect_eq(s.code, 130, "%d: %s", s.code, s.err);
    spawned_free(&s);
    unlink(path);
}

Test(cli_chat, colours, .timeout = 60)
{
    unsetenv("NO_COLOR");
    setenv("TERM", "xterm", 1);
    dialogue *d = TALK(CHAT);
    HEARS(d, "\x1b[32m> ");
    dialogue_say(d, "/exit\n");
    HEARS(d, "/exit\r\n\x1b[0m");
    cr_expect_eq(dialogue_close(&d), 0);
}
