/* sterna run --resume, from outside: killed runs, and files that do not fit their input. */
#include "tests/support/cli_rig.h"

#include <signal.h>
#include <sys/stat.h>

static char model[TINY_PATH]; /* of the test at hand */

/* Resuming `results` for `requests`; the files are written anew. */
static spawned resume(const char *requests, const char *results, char input[64], char output[64])
{
    write_file(input, requests, strlen(requests));
    write_file(output, results, strlen(results));
    return RUN(NULL, "run", "-m", model, "--batch", input, "-o", output, "--resume", "--ignore-eos", "-n",
               "3", "--no-hash");
}

static void remove_files(const char *input, const char *output)
{
    unlink(input);
    unlink(output);
}

/* What a fresh run of the requests writes; free it. */
static char *fresh(const char *requests)
{
    spawn_options options = {.input = requests, .input_size = strlen(requests)};
    spawned s = RUN(&options, "run", "-m", model, "--batch", "-", "--ignore-eos", "-n", "3", "--no-hash");
    cr_assert_eq(s.code, 0, "%s", s.err);
    free(s.err);
    return s.out;
}

/* "tokens" by index and sample; NULL where there is no result. Exactly one result each. */
static void take_tokens(const char *text, char *tokens[], int n_request, int n_sample)
{
    json_t *list = parse_lines(text);
    for (size_t i = 0; i < json_array_size(list); i++) {
        json_t *r = json_array_get(list, i);
        json_int_t at = number_of(r, "index") * n_sample + number_of(r, "sample");
        cr_assert(at < n_request * n_sample && !tokens[at], "twice: %d", (int)at);
        tokens[at] = json_dumps(json_object_get(r, "tokens"), JSON_COMPACT);
    }
    json_decref(list);
}

static void expect_same_tokens(const char *a, const char *b, int n_request, int n_sample)
{
    char *first[512] = {NULL}, *second[512] = {NULL};
    cr_assert(n_request * n_sample <= 512);
    take_tokens(a, first, n_request, n_sample);
    take_tokens(b, second, n_request, n_sample);
    for (int i = 0; i < n_request * n_sample; i++) {
        cr_expect(first[i] && second[i] && strcmp(first[i], second[i]) == 0, "%d: %s, %s", i, first[i],
                  second[i]);
        free(first[i]);
        free(second[i]);
    }
}

Test(cli_resume, after_a_kill, .timeout = 120)
{
    enum { N = 60 };
    char requests[N * 48] = "", input[64], output[64], expected[64];
    size_t size = 0;
    for (int i = 0; i < N; i++)
        size += (size_t)sprintf(requests + size, "{\"prompt\":\"request %d\",\"seed\":%d,\"id\":%d}\n", i, i,
                                1000 + i);
    make_model(128, model);
    write_file(input, requests, size);
    write_file(output, "", 0);
#define ALL "run", "-m", model, "--batch", input, "--ignore-eos", "-n", "40", "-np", "3"
    spawned whole = RUN(NULL, ALL);
    spawn_options kill_it = {.signal = SIGKILL, .watch = output, .watch_size = 4000};
    spawned s = RUN(&kill_it, ALL, "-o", output);
    cr_assert_eq(s.code, 1000 + SIGKILL, "not killed in time: %d", s.code);
    spawned_free(&s);
    /* as a run does that is killed while it writes */
    FILE *file = fopen(output, "ab");
    cr_assert_not_null(file);
    fputs("{\"index\":59,\"id\":1059,\"text\":\"", file);
    fclose(file);
    char *before = read_file(output);
    int kept = 0;
    for (const char *at = before; (at = strchr(at, '\n')); at++)
        kept++;
    cr_assert(kept > 5 && kept < N, "%d lines", kept);
    s = RUN(NULL, ALL, "-o", output, "--resume");
    cr_assert_eq(s.code, 0, "%s", s.err);
    snprintf(expected, sizeof expected, "resuming: %d of %d requests are done already\n", kept, N);
    cr_expect(strstr(s.err, expected), "%s in %s", expected, s.err);
    spawned_free(&s);
    char *after = read_file(output);
    size_t whole_lines = (size_t)(strrchr(before, '\n') - before) + 1;
    cr_expect(strncmp(after, before, whole_lines) == 0, "earlier results were changed");
    expect_same_tokens(after, whole.out, N, 1);
    /* and once more: nothing is left to do, the file stays as it is */
    s = RUN(NULL, ALL, "-o", output, "--resume");
    cr_expect(s.code == 0 && strcmp(s.err, "resuming: 60 of 60 requests are done already\n") == 0, "%s",
              s.err);
    expect_contents(output, after);
    spawned_free(&s);
    free(before);
    free(after);
    spawned_free(&whole);
    remove_files(input, output);
    unlink(model);
}

/* Cancelled results and errors are removed and run again; the file keeps its mode and stays a link's target.
 */
Test(cli_resume, cancelled_and_failed_results, .timeout = 60)
{
    static const char requests[] = "{\"prompt\":\"a\"}\n{\"prompt\":\"b\"}\n{\"prompt\":\"c\"}\n";
    char input[64], output[64], link[80], mixed[4096];
    make_model(128, model);
    char *whole = fresh(requests);
    json_t *list = parse_lines(whole);
    int size = 0;
    for (size_t i = 0; i < 3; i++) {
        json_t *r = json_array_get(list, i);
        json_int_t index = number_of(r, "index");
        if (index != 1)
            json_object_set_new(r, "finish", json_string(index == 0 ? "cancel" : "error"));
        char *text = json_dumps(r, JSON_COMPACT);
        size += snprintf(mixed + size, sizeof mixed - (size_t)size, "%s\n", text);
        free(text);
    }
    json_decref(list);
    write_file(input, requests, strlen(requests));
    write_file(output, mixed, strlen(mixed));
    snprintf(link, sizeof link, "%s-link", output);
    cr_assert(chmod(output, 0640) == 0 && symlink(output, link) == 0);
    spawned s =
        RUN(NULL, "run", "-m", model, "--batch", input, "-o", link, "--resume", "--ignore-eos", "-n", "3");
    cr_expect_eq(s.code, 0, "%s", s.err);
    cr_expect(strstr(s.err, "resuming: 1 of 3 requests are done already\n"), "%s", s.err);
    char *after = read_file(output);
    struct stat facts;
    cr_expect(stat(output, &facts) == 0 && (facts.st_mode & 0777) == 0640);
    cr_expect(lstat(link, &facts) == 0 && S_ISLNK(facts.st_mode));
    cr_expect(!strstr(after, "\"cancel\"") && !strstr(after, "\"error\""), "%s", after);
    expect_same_tokens(after, whole, 3, 1);
    unlink(link);
    free(after);
    free(whole);
    spawned_free(&s);
    remove_files(input, output);
    unlink(model);
}

/* Of a request with missing samples only these are added. */
Test(cli_resume, missing_samples, .timeout = 60)
{
    static const char requests[] = "{\"prompt\":\"a\",\"n_samples\":3}\n{\"prompt\":\"b\",\"n_samples\":3}\n";
    char input[64], output[64];
    make_model(128, model);
    char *whole = fresh(requests), *second_line = strchr(whole, '\n') + 1;
    char *third_line = strchr(second_line, '\n') + 1, some[4096];
    snprintf(some, sizeof some, "%.*s", (int)(third_line - second_line), second_line);
    spawned s = resume(requests, some, input, output);
    cr_expect(s.code == 0 && strstr(s.err, "resuming: 0 of 2 requests are done already\n"), "%s", s.err);
    char *after = read_file(output);
    cr_expect(strncmp(after, some, strlen(some)) == 0);
    expect_same_tokens(after, whole, 2, 3);
    free(after);
    free(whole);
    spawned_free(&s);
    remove_files(input, output);
    unlink(model);
}

/* `message` follows the output's name. The files stay as they are. */
static void expect_refusal(const char *requests, const char *results, const char *message)
{
    char input[64], output[64], text[512], expected[600];
    spawned s = resume(requests, results, input, output);
    snprintf(text, sizeof text, message, input);
    snprintf(expected, sizeof expected, "sterna run: %s:%s\n", output, text);
    expect_failure(s, 1, expected);
    expect_contents(output, results);
    remove_files(input, output);
}

/* Of the same size and shape, but trained to other weights. */
Test(cli_resume, another_model, .timeout = 60)
{
    static const char requests[] = "{\"prompt\":\"a\"}\n";
    char first[TINY_PATH], input[64], output[64];
    tiny_spec spec;
    tiny_defaults(&spec);
    spec.n_context = 128;
    tiny_write(&spec, model);
    char *whole = fresh(requests);
    strcpy(first, model);
    spec.seed++;
    tiny_write(&spec, model);
    spawned s = resume(requests, whole, input, output);
    cr_expect(s.code == 1 && strstr(s.err, "belongs to another prompt, model or options"), "%s", s.err);
    expect_contents(output, whole);
    spawned_free(&s);
    free(whole);
    remove_files(input, output);
    unlink(first);
    unlink(model);
}

Test(cli_resume, files_that_do_not_fit, .timeout = 60)
{
    static const char requests[] = "{\"prompt\":\"a\",\"id\":\"x\"}\n{\"prompt\":\"b\"}\n";
    make_model(128, model);
    char *good = fresh(requests), both[4096];
    char input[64], output[80], message[256];
    spawned s = resume(requests, "hello\n", input, output);
    snprintf(message, sizeof message,
             "sterna run: %s:1: not a result of sterna run --batch: invalid JSON at byte ", output);
    cr_expect(s.code == 1 && strncmp(s.err, message, strlen(message)) == 0, "%s",
              s.err); /* jansson says why */
    expect_contents(output, "hello\n");
    spawned_free(&s);
    remove_files(input, output);
    /* without a newline at its end, too: only the beginning of a result may have been cut off */
    expect_refusal(requests, "my notes", "1: not a result of sterna run --batch, nor the beginning of one");
    expect_refusal(requests, "{\"a\":1}", "1: not a result of sterna run --batch, nor the beginning of one");
    expect_refusal(requests, "[]\n", "1: not a result of sterna run --batch");
    expect_refusal(requests, "{\"index\":0,\"finish\":\"stop\"}\n", "1: not a result of sterna run --batch");
    snprintf(both, sizeof both, "%s%.*s", good, (int)(strchr(good, '\n') - good) + 1, good);
    bool first = strncmp(good, "{\"index\":0,", 11) == 0;
    expect_refusal(requests, both,
                   first ? "3: a second result of request 0" : "3: a second result of request 1");
    /* the input changed: another prompt, option, id, fewer requests */
    static const char changed[] = "{\"prompt\":\"a\",\"id\":\"x\"}\n{\"prompt\":\"B\"}\n";
    expect_refusal(changed, good,
                   first ? "2: the result of request 1 belongs to another prompt, model or options"
                         : "1: the result of request 1 belongs to another prompt, model or options");
    static const char hotter[] = "{\"prompt\":\"a\",\"id\":\"x\"}\n{\"prompt\":\"b\",\"temperature\":0.9}\n";
    expect_refusal(hotter, good,
                   first ? "2: the result of request 1 belongs to another prompt, model or options"
                         : "1: the result of request 1 belongs to another prompt, model or options");
    static const char named[] = "{\"prompt\":\"a\",\"id\":\"y\"}\n{\"prompt\":\"b\"}\n";
    expect_refusal(named, good,
                   first ? "1: the result of request 0 has another \"id\" than %s"
                         : "2: the result of request 0 has another \"id\" than %s");
    static const char shorter[] = "{\"prompt\":\"a\",\"id\":\"x\"}\n";
    expect_refusal(shorter, good,
                   first ? "2: a result of request 1, but the last one in %s is 0"
                         : "1: a result of request 1, but the last one in %s is 0");
    free(good);
    write_file(input, requests, strlen(requests));
    expect_failure(RUN(NULL, "run", "-m", model, "--batch", input, "-o", "/dev/null", "--resume"), 1,
                   "sterna run: --resume: /dev/null is not a regular file\n");
    snprintf(message, sizeof message, "sterna run: --output: %s is also an input\n", input);
    expect_failure(RUN(NULL, "run", "-m", model, "--batch", input, "-o", input, "--resume"), 1, message);
    /* no file yet: an ordinary run */
    snprintf(output, sizeof output, "%s-new", input);
    s = RUN(NULL, "run", "-m", model, "--batch", input, "-o", output, "--resume", "-n", "3");
    cr_expect(s.code == 0 && !strstr(s.err, "resuming"), "%s", s.err);
    spawned_free(&s);
    remove_files(input, output);
    unlink(model);
}
