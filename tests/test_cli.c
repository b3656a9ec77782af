/* The built tool, run as its users run it: exit codes and messages to the letter. */
#include "host/cli/text.h"
#include "tests/support/spawn.h"
#include "tests/support/tiny_model.h"

#include <criterion/criterion.h>
#include <jansson.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

static char model[TINY_PATH]; /* of the test at hand; NULL-terminated argument lists name it */

static void make_model(int32_t n_context)
{
    tiny_spec spec;
    tiny_defaults(&spec);
    spec.n_context = n_context;
    tiny_write(&spec, model);
}

static void remove_model(void)
{
    unlink(model);
}

#define RUN(options, ...) spawn((const char *const[]){STERNA_BINARY, __VA_ARGS__, NULL}, options)

/* Code and standard error of a command that must fail before it writes anything. */
static void expect_failure(spawned s, int code, const char *message)
{
    cr_expect_eq(s.code, code, "code %d instead of %d: %s", s.code, code, s.err);
    cr_expect_str_eq(s.err, message);
    cr_expect_eq(s.out_size, 0u, "output: %s", s.out);
    spawned_free(&s);
}

static void expect_output(spawned s, int code, const char *part)
{
    cr_expect_eq(s.code, code, "code %d instead of %d: %s", s.code, code, s.err);
    cr_expect(strstr(s.out, part), "'%s' is not in: %s", part, s.out);
    spawned_free(&s);
}

static void write_file(char path[64], const char *data, size_t size)
{
    strcpy(path, "/tmp/sterna-cli-XXXXXX");
    int fd = mkstemp(path);
    cr_assert(fd >= 0 && write(fd, data, size) == (ssize_t)size);
    close(fd);
}

/* ---- the frame ---- */

Test(cli, frame)
{
    expect_output(RUN(NULL, "--version"), 0, "sterna 0.1.0\n");
    expect_output(RUN(NULL, "--help"), 0, "  run        Generate text from a model.\n");
    expect_output(RUN(NULL, "run", "--help"), 0, "-n, --predict N");
    expect_output(RUN(NULL, "run", "--help"), 0, "temperature; 0 = always the likeliest token (default 0.8)");
    expect_output(RUN(NULL, "info", "-h"), 0, "--metadata");
    expect_failure(RUN(NULL, "fly"), 2, "sterna: unknown command 'fly' (try sterna --help)\n");
    spawned s = spawn((const char *const[]){STERNA_BINARY, NULL}, NULL);
    cr_expect(s.code == 2 && s.out_size == 0 && strncmp(s.err, "usage: sterna COMMAND", 21) == 0);
    spawned_free(&s);
    spawn_options full = {.out_path = "/dev/full"};
    expect_failure(RUN(&full, "--version"), 1,
                   "sterna --version: cannot write to standard output: No space left on device\n");
}

Test(cli, option_errors)
{
    expect_failure(RUN(NULL, "run", "--wings"), 2,
                   "sterna run: unknown option '--wings' (try sterna run --help)\n");
    expect_failure(RUN(NULL, "run", "text"), 2,
                   "sterna run: unexpected argument 'text' (try sterna run --help)\n");
    expect_failure(RUN(NULL, "run", "-m"), 2, "sterna run: --model needs a value (FILE)\n");
    expect_failure(RUN(NULL, "run", "--ignore-eos=1"), 2, "sterna run: --ignore-eos takes no value\n");
    expect_failure(RUN(NULL, "run", "-n", "many"), 2,
                   "sterna run: --predict: 'many' is not a whole number\n");
    expect_failure(RUN(NULL, "run", "-n", "7x"), 2, "sterna run: --predict: '7x' is not a whole number\n");
    expect_failure(RUN(NULL, "run", "-n", "-2"), 2,
                   "sterna run: --predict: -2 is out of range (-1 ... 1048576)\n");
    expect_failure(RUN(NULL, "run", "-t", "99999999999999999999"), 2,
                   "sterna run: --threads: 99999999999999999999 is out of range (0 ... 256)\n");
    expect_failure(RUN(NULL, "run", "--temp=warm"), 2, "sterna run: --temp: 'warm' is not a number\n");
    expect_failure(RUN(NULL, "run", "--temp", "nan"), 2, "sterna run: --temp: 'nan' is not a number\n");
    expect_failure(RUN(NULL, "run", "--top-p", "1.5"), 2,
                   "sterna run: --top-p: 1.5 is out of range (0 ... 1)\n");
    expect_failure(RUN(NULL, "run", "-s", "-1"), 2,
                   "sterna run: --seed: '-1' is not a whole number from 0\n");
    expect_failure(RUN(NULL, "run", "-s", "18446744073709551616"), 2,
                   "sterna run: --seed: 18446744073709551616 is out of range (0 ... 18446744073709551615)\n");
    expect_failure(RUN(NULL, "run", "--\x1b[2J"), 2,
                   "sterna run: unknown option '--?[2J' (try sterna run --help)\n");
    expect_failure(RUN(NULL, "devices", "--jsn"), 2,
                   "sterna devices: unknown option '--jsn' (try sterna devices --help)\n");
}

/* ---- sterna run: what cannot run ---- */

Test(cli, run_usage_errors)
{
    expect_failure(RUN(NULL, "run", "-p", "x"), 2, "sterna run: no model: give one with --model FILE\n");
    expect_failure(RUN(NULL, "run", "-m", "a", "-p", "x", "-f", "y"), 2,
                   "sterna run: --prompt and --file exclude each other\n");
    expect_failure(RUN(NULL, "run", "-m", "a", "-p", "x", "--batch", "y"), 2,
                   "sterna run: --batch and --prompt exclude each other\n");
    expect_failure(RUN(NULL, "run", "-m", "a", "-p", ""), 2, "sterna run: --prompt: the prompt is empty\n");
    spawn_options terminal = {.input_terminal = true};
    expect_failure(RUN(&terminal, "run", "-m", "a"), 2,
                   "sterna run: no prompt: give --prompt, --file or --batch, or text on standard input\n");
}

Test(cli, run_failures, .timeout = 60)
{
    make_model(128);
    expect_failure(RUN(NULL, "run", "-m", "/nowhere/x.gguf", "-p", "x"), 1,
                   "sterna run: /nowhere/x.gguf: cannot open: No such file or directory\n");
    expect_failure(RUN(NULL, "run", "-m", model, "-f", "/nowhere/x"), 1,
                   "sterna run: cannot read /nowhere/x: No such file or directory\n");
    expect_failure(RUN(NULL, "run", "-m", model, "-f", "/tmp"), 1,
                   "sterna run: cannot read /tmp: Is a directory\n");
    expect_failure(RUN(NULL, "run", "-m", model), 1, "sterna run: standard input: the prompt is empty\n");
    expect_failure(RUN(NULL, "run", "-m", model, "-p", "x", "-o", "/nowhere/x"), 1,
                   "sterna run: cannot write to /nowhere/x: No such file or directory\n");
    expect_failure(RUN(NULL, "run", "-m", model, "-p", "x", "-c", "129"), 2,
                   "sterna run: --ctx-size: 129, but the model was made for 128 positions\n");
    spawned s = RUN(NULL, "run", "-m", model, "-p", "x", "--device", "abacus");
    cr_expect(s.code == 1 && strstr(s.err, "sterna run: ") == s.err && strstr(s.err, "'abacus'"), "%s",
              s.err);
    spawned_free(&s);
    char long_prompt[201];
    memset(long_prompt, 'x', 200);
    long_prompt[200] = '\0';
    expect_failure(RUN(NULL, "run", "-m", model, "-p", long_prompt), 1,
                   "sterna run: the prompt has 201 tokens, but the context holds 128 (see --ctx-size)\n");
    s = RUN(NULL, "run", "-m", model, "-p", "x", "-n", "3", "-o", "/dev/full");
    cr_expect_eq(s.code, 1);
    cr_expect(strstr(s.err, "sterna run: cannot write to /dev/full: No space left on device\n"), "%s", s.err);
    spawned_free(&s);
    remove_model();
}

static void expect_contents(const char *path, const char *expected)
{
    char text[256] = "";
    FILE *file = fopen(path, "rb");
    cr_assert_not_null(file);
    size_t n = fread(text, 1, sizeof text - 1, file);
    fclose(file);
    cr_expect(n == strlen(expected) && strcmp(text, expected) == 0, "%s holds: %s", path, text);
}

/* A run that fails must not have touched its output file, and no input may be the output. */
Test(cli, output_files_are_safe, .timeout = 60)
{
    static const char good[] = "{\"prompt\":\"ab\",\"n\":1}\n", bad[] = "{\"n\":1}\n";
    char path[64], bad_path[64], message[256];
    make_model(128);
    write_file(path, good, sizeof good - 1);
    write_file(bad_path, bad, sizeof bad - 1);
    snprintf(message, sizeof message, "sterna run: --output: %s is also an input\n", path);
    expect_failure(RUN(NULL, "run", "-m", model, "--batch", path, "-o", path), 1, message);
    expect_contents(path, good);
    expect_failure(RUN(NULL, "run", "-m", "/nowhere/x.gguf", "-p", "x", "-o", path), 1,
                   "sterna run: /nowhere/x.gguf: cannot open: No such file or directory\n");
    expect_contents(path, good);
    snprintf(message, sizeof message, "sterna run: %s:1: there is no \"prompt\"\n", bad_path);
    expect_failure(RUN(NULL, "run", "-m", model, "--batch", bad_path, "-o", path), 1, message);
    expect_contents(path, good);
    unlink(path);
    unlink(bad_path);
    remove_model();
}

/* More requests than the engine's queue holds at once: they wait their turn. */
Test(cli, batch_longer_than_the_queue, .timeout = 60)
{
    static char lines[1100 * 32];
    size_t size = 0;
    for (int i = 0; i < 1100; i++)
        size += (size_t)sprintf(lines + size, "{\"prompt\":\"ab\",\"n\":1}\n");
    make_model(128);
    spawn_options options = {.input = lines, .input_size = size};
    spawned s = RUN(&options, "run", "-m", model, "--batch", "-", "-np", "1000", "-b", "1000");
    cr_expect_eq(s.code, 0, "%s", s.err);
    int n = 0;
    for (const char *at = s.out; (at = strchr(at, '\n')); at++)
        n++;
    cr_expect_eq(n, 1100);
    spawned_free(&s);
    remove_model();
}

/* ---- sterna run: one prompt ---- */

#define HOT "--temp", "9", "--top-k", "0", "--top-p", "1", "--min-p", "0"

Test(cli, run_prompt_from_anywhere, .timeout = 60)
{
    make_model(256);
    char path[64];
    write_file(path, "Tern a\n", 7);
    spawn_options piped = {.input = "Tern a\n", .input_size = 7};
    spawned a = RUN(NULL, "run", "-m", model, "-p", "Tern a", "-n", "20", "--ignore-eos", HOT),
            b = RUN(NULL, "run", "-m", model, "-f", path, "-n", "20", "--ignore-eos", HOT),
            c = RUN(&piped, "run", "-m", model, "-n", "20", "--ignore-eos", HOT),
            d = RUN(NULL, "run", "-m", model, "-p", "Tern a", "-n", "20", "--ignore-eos",
                    "--no-display-prompt", "-t", "2", "--device", "ref", "-b", "2", "--check", HOT),
            e = RUN(NULL, "run", "-m", model, "-p", "Tern a", "-n", "20", "--ignore-eos", "-s", "1", HOT);
    cr_assert(a.code == 0 && b.code == 0 && c.code == 0 && d.code == 0 && e.code == 0, "%s%s", a.err, d.err);
    cr_expect(strncmp(a.out, "Tern a", 6) == 0 && a.out[a.out_size - 1] == '\n');
    cr_expect(a.out_size == b.out_size && memcmp(a.out, b.out, a.out_size) == 0);
    cr_expect(a.out_size == c.out_size && memcmp(a.out, c.out, a.out_size) == 0);
    cr_expect(a.out_size == d.out_size + 6 && memcmp(a.out + 6, d.out, d.out_size) == 0);
    cr_expect(a.out_size != e.out_size || memcmp(a.out, e.out, a.out_size) != 0, "the seed has no effect");
    char *hash = strstr(a.err, "logits: 20 rows, hash ");
    cr_assert(hash && strlen(hash) == 22 + 16 + 1, "%s", a.err);
    cr_expect(strstr(d.err, hash), "another hash: %s%s", a.err, d.err);
    cr_expect(strstr(a.err, "prompt: 7 tokens in ") && strstr(a.err, "decode: 19 tokens in "), "%s", a.err);
    cr_expect(strstr(a.err, " tok/s, ") && strstr(a.err, " GB/s\n") && strstr(a.err, " per token"), "%s",
              a.err);
    cr_expect(!strchr(a.err, '\r'), "progress although standard error is no terminal");
    spawned_free(&a);
    spawned_free(&b);
    spawned_free(&c);
    spawned_free(&d);
    spawned_free(&e);
    spawned f = RUN(NULL, "run", "-m", model, "-p", "Tern", "-n", "4", "-o", path, "--no-hash");
    cr_expect(f.code == 0 && f.out_size == 0 && !strstr(f.err, "hash"), "%s", f.err);
    spawned_free(&f);
    FILE *file = fopen(path, "rb");
    char start[4];
    cr_expect(file && fread(start, 1, 4, file) == 4 && memcmp(start, "Tern", 4) == 0);
    if (file)
        fclose(file);
    unlink(path);
    remove_model();
}

/* ---- sterna run: ended from outside ---- */

Test(cli, run_interrupted, .timeout = 60)
{
    make_model(16384);
    spawn_options interrupt = {.signal = SIGINT};
    spawned s = RUN(&interrupt, "run", "-m", model, "-p", "Tern", "-c", "0", "--ignore-eos");
    cr_expect_eq(s.code, 130, "%d: %s", s.code, s.err);
    cr_expect(strncmp(s.out, "Tern", 4) == 0 && strstr(s.err, "prompt: 5 tokens"), "%s", s.err);
    spawned_free(&s);
    const char lines[] = "{\"prompt\":\"a\",\"n\":1}\n{\"prompt\":\"b\"}\n{\"prompt\":\"c\"}\n";
    interrupt.input = lines;
    interrupt.input_size = sizeof lines - 1;
    s = RUN(&interrupt, "run", "-m", model, "--batch", "-", "-c", "0", "--ignore-eos", "-np", "2");
    cr_expect_eq(s.code, 130, "%d: %s", s.code, s.err);
    int n_line = 0, n_cancel = 0;
    for (char *line = strtok(s.out, "\n"); line; line = strtok(NULL, "\n"), n_line++) {
        json_t *result = json_loads(line, 0, NULL);
        cr_assert_not_null(result, "%s", line);
        n_cancel += strcmp(json_string_value(json_object_get(result, "finish")), "cancel") == 0;
        json_decref(result);
    }
    cr_expect(n_line == 3 && n_cancel == 2, "%d lines, %d cancelled", n_line, n_cancel);
    cr_expect(strstr(s.err, "logits: "));
    spawned_free(&s);
    remove_model();
}

Test(cli, run_without_a_reader, .timeout = 60)
{
    make_model(16384);
    spawn_options leave = {.stop_reading = true};
    spawned s = RUN(&leave, "run", "-m", model, "-p", "Tern", "-c", "0", "--ignore-eos");
    cr_expect_eq(s.code, 141, "%d: %s", s.code, s.err);
    cr_expect(!strstr(s.err, "sterna run:"), "%s", s.err);
    spawned_free(&s);
    remove_model();
}

/* ---- sterna run --batch ---- */

static spawned run_batch(const char *lines, size_t size, const char *parallel)
{
    spawn_options options = {.input = lines, .input_size = size};
    return RUN(&options, "run", "-m", model, "--batch", "-", "-np", parallel, "--ignore-eos", "-n", "9");
}

static void expect_bad_line(const char *line, const char *message)
{
    char lines[512], expected[512];
    int size = snprintf(lines, sizeof lines, "{\"prompt\":\"fine\"}\n\n%s\n", line);
    snprintf(expected, sizeof expected, "sterna run: standard input:3: %s\n", message);
    expect_failure(run_batch(lines, (size_t)size, "4"), 1, expected);
}

Test(cli, batch_bad_lines, .timeout = 60)
{
    make_model(128);
    expect_bad_line("[]", "not a JSON object");
    expect_bad_line("{}", "there is no \"prompt\"");
    expect_bad_line("{\"prompt\":5}", "\"prompt\" is not a string");
    expect_bad_line("{\"prompt\":\"\"}", "the prompt is empty");
    expect_bad_line("{\"prompt\":\"a\",\"temprature\":1}", "unknown key \"temprature\"");
    expect_bad_line("{\"prompt\":\"a\",\"n\":-2}", "\"n\" is not an integer from -1 to 1048576");
    expect_bad_line("{\"prompt\":\"a\",\"n\":1.5}", "\"n\" is not an integer from -1 to 1048576");
    expect_bad_line("{\"prompt\":\"a\",\"temperature\":-1}",
                    "\"temperature\" is not a number from 0 to 1000");
    expect_bad_line("{\"prompt\":\"a\",\"top_p\":2}", "\"top_p\" is not a number from 0 to 1");
    expect_bad_line("{\"prompt\":\"a\",\"min_p\":\"x\"}", "\"min_p\" is not a number from 0 to 1");
    expect_bad_line("{\"prompt\":\"a\",\"top_k\":-1}", "\"top_k\" is not an integer from 0 to 1048576");
    expect_bad_line("{\"prompt\":\"a\",\"id\":[]}", "\"id\" is not a string or an integer");
    char prompt[300] = "{\"prompt\":\"";
    memset(prompt + 11, 'x', 200);
    strcpy(prompt + 211, "\"}");
    expect_bad_line(prompt, "the prompt has 201 tokens, but the context holds 128 (see --ctx-size)");
    /* jansson says what is wrong with the JSON itself */
    static const char *const broken[] = {"{\"prompt\":\"a\"", "{\"prompt\":\"\xff\"}",
                                         "{\"prompt\":\"a\",\"prompt\":\"b\"}", "{\"prompt\":\"\\ud800\"}"};
    for (size_t i = 0; i < sizeof broken / sizeof broken[0]; i++) {
        char lines[100];
        int size = snprintf(lines, sizeof lines, "%s\n", broken[i]);
        spawned s = run_batch(lines, (size_t)size, "4");
        cr_expect(s.code == 1 && s.out_size == 0, "%s", broken[i]);
        cr_expect(strncmp(s.err, "sterna run: standard input:1: invalid JSON at byte ", 51) == 0, "%s",
                  s.err);
        cr_expect(strchr(s.err, '\n') == s.err + strlen(s.err) - 1, "one line: %s", s.err);
        spawned_free(&s);
    }
    expect_failure(run_batch("\n \n", 3, "4"), 1, "sterna run: standard input: there are no requests\n");
    expect_failure(RUN(NULL, "run", "-m", model, "--batch", "/nowhere/x"), 1,
                   "sterna run: cannot read /nowhere/x: No such file or directory\n");
    remove_model();
}

/* Results by index: the tokens as text. */
static void collect(spawned s, char *tokens[], int n)
{
    int seen = 0;
    cr_assert_eq(s.code, 0, "%s", s.err);
    for (char *line = strtok(s.out, "\n"); line; line = strtok(NULL, "\n"), seen++) {
        json_t *result = json_loads(line, 0, NULL);
        cr_assert_not_null(result, "%s", line);
        json_int_t index = json_integer_value(json_object_get(result, "index"));
        cr_assert(index >= 0 && index < n && !tokens[index]);
        json_t *list = json_object_get(result, "tokens");
        cr_expect_eq((json_int_t)json_array_size(list),
                     json_integer_value(json_object_get(result, "n_generated")));
        cr_expect_str_eq(json_string_value(json_object_get(result, "finish")), "length");
        cr_expect(json_is_string(json_object_get(result, "text")));
        cr_expect(json_is_real(json_object_get(result, "seconds_queued")));
        json_t *id = json_object_get(result, "id");
        cr_expect(index == 0   ? json_integer_value(id) == 77
                  : index == 1 ? strcmp(json_string_value(id), "b") == 0
                               : !id);
        tokens[index] = json_dumps(list, JSON_COMPACT);
        json_decref(result);
    }
    cr_assert_eq(seen, n);
}

Test(cli, batch_results_do_not_depend_on_company, .timeout = 60)
{
    enum { N = 5 };
    static const char lines[] =
        "{\"prompt\":\"The tern\",\"id\":77,\"temperature\":0}\n"
        "{\"id\":\"b\",\"prompt\":\"nul \\u0000 inside\",\"n\":3}\r\n"
        "{\"prompt\":\"\\u20ac\",\"seed\":5,\"top_k\":3,\"top_p\":0.5,\"min_p\":0.1}\n"
        "{\"prompt\":\"x\",\"n\":1}\n"
        "{\"prompt\":\"The tern\",\"n\":12}";
    make_model(256);
    char *together[N] = {NULL}, *alone[N] = {NULL};
    spawned a = run_batch(lines, sizeof lines - 1, "8"), b = run_batch(lines, sizeof lines - 1, "1");
    char *hash = strstr(a.err, "hash ");
    cr_assert(hash && strstr(b.err, hash), "%s%s", a.err, b.err);
    collect(a, together, N);
    collect(b, alone, N);
    for (int i = 0; i < N; i++) {
        cr_expect_str_eq(together[i], alone[i]);
        free(together[i]);
        free(alone[i]);
    }
    spawned_free(&a);
    spawned_free(&b);
    remove_model();
}

/* ---- info and devices ---- */

Test(cli, info_and_devices, .timeout = 30)
{
    make_model(256);
    expect_output(RUN(NULL, "info", "-m", model), 0, "layers        2 of width 256, feed-forward 512\n");
    expect_output(RUN(NULL, "info", "-m", model, "--metadata"), 0, "general.architecture = bitnet-b1.58\n");
    expect_output(RUN(NULL, "info", "-m", model, "--tensors"), 0, "blk.1.ffn_down.weight            TQ2_0");
    expect_failure(RUN(NULL, "info"), 2, "sterna info: no model: give one with --model FILE\n");
    spawned s = RUN(NULL, "info", "-m", "/dev/null");
    cr_expect(s.code == 1 && strncmp(s.err, "sterna info: ", 13) == 0 && s.out_size == 0, "%s", s.err);
    spawned_free(&s);
    s = RUN(NULL, "info", "-m", model, "--tensors", "--metadata", "--json");
    json_t *info = json_loads(s.out, 0, NULL);
    cr_assert(s.code == 0 && info, "%s", s.out);
    cr_expect_eq(json_integer_value(json_object_get(info, "n_layer")), 2);
    cr_expect(json_array_size(json_object_get(info, "tensors")) > 20);
    cr_expect(json_is_object(json_object_get(info, "metadata")));
    json_decref(info);
    spawned_free(&s);
    expect_output(RUN(NULL, "devices"), 0, "ref        ready ");
    s = RUN(NULL, "devices", "--json");
    json_t *list = json_loads(s.out, 0, NULL);
    cr_assert(s.code == 0 && json_is_array(list), "%s", s.out);
    bool cpu = false;
    for (size_t i = 0; i < json_array_size(list); i++) {
        json_t *d = json_array_get(list, i);
        cpu = cpu || strcmp(json_string_value(json_object_get(d, "name")), "cpu") == 0;
        cr_expect(json_string_length(json_object_get(d, "description")) > 0);
    }
    cr_expect(cpu);
    json_decref(list);
    spawned_free(&s);
    remove_model();
}

/* ---- characters that tokens cut ---- */

Test(cli, characters_are_shown_whole)
{
    static const struct {
        const char *text;
        size_t size, showable;
    } cases[] = {{"abc", 3, 3},
                 {"a\xc3", 2, 1},            /* two bytes, one there */
                 {"a\xe2\x82", 3, 1},        /* three, two there */
                 {"\xf0\x9f\x98", 3, 0},     /* four, three there */
                 {"\xf0\x9f\x98\x80", 4, 4}, /* all there */
                 {"\xe2\x82\xac\xe2", 4, 3}, /* one whole, one begun */
                 {"\x80", 1, 1},             /* never a character */
                 {"\xe2\x41", 2, 2},         /* broken off */
                 {"\xed\xa0", 2, 2},         /* a surrogate is none */
                 {"\xf5", 1, 1},
                 {"\xc0", 1, 1}};
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++)
        cr_expect_eq(st_utf8_showable(cases[i].text, cases[i].size), cases[i].showable, "case %zu", i);
    st_bytes bytes = {0};
    cr_assert(st_utf8_append(&bytes,
                             "a\xff\xe2\x82\xac\xe2\x82"
                             "b\0c\xed\xa0\x80",
                             13));
    static const char expected[] = "a\xef\xbf\xbd\xe2\x82\xac\xef\xbf\xbd\xef\xbf\xbd"
                                   "b\0c\xef\xbf\xbd\xef\xbf\xbd\xef\xbf\xbd";
    cr_expect_eq(bytes.size, sizeof expected - 1);
    cr_expect_arr_eq(bytes.data, expected, sizeof expected - 1);
    st_bytes_free(&bytes);
}
