/* sterna profile, run as its users run it. */
#include "tests/support/cli_rig.h"

static char model[TINY_PATH];

Test(cli_profile, usage_errors)
{
    expect_failure(RUN(NULL, "profile"), 2, "sterna profile: no model: give one with --model FILE\n");
    expect_failure(RUN(NULL, "profile", "-m", "a", "-o", "csv"), 2,
                   "sterna profile: --output: 'csv' is not one of table|json\n");
    expect_failure(RUN(NULL, "profile", "-m", "a", "-n", "0"), 2,
                   "sterna profile: --n-gen: 0 is out of range (1 ... 1048576)\n");
    expect_failure(RUN(NULL, "profile", "-m", "a", "-b", "1025"), 2,
                   "sterna profile: --parallel: 1025 is out of range (1 ... 1024)\n");
    expect_failure(RUN(NULL, "profile", "-m", "a", "--html", "x", "--trace", "x"), 2,
                   "sterna profile: --trace and --html name the same file\n");
    expect_failure(RUN(NULL, "profile", "-m", "/nowhere/a.gguf"), 1,
                   "sterna profile: /nowhere/a.gguf: cannot open: No such file or directory\n");
}

Test(cli_profile, failures, .timeout = 60)
{
    make_model(128, model);
    expect_failure(
        RUN(NULL, "profile", "-m", model, "-p", "200"), 1,
        "sterna profile: 200 prompt tokens, up to 1 generated before all prompts are computed, and 64 "
        "decode steps need 265 positions; the model was made for 128\n");
    expect_failure(RUN(NULL, "profile", "-m", model, "-b", "3", "--batch-size", "2"), 2,
                   "sterna profile: 3 sequences, not 1 ... 2 (a step has 2 rows)\n");
    expect_failure(RUN(NULL, "profile", "-m", model, "--html", "/nowhere/x.html"), 1,
                   "sterna profile: cannot write to /nowhere/x.html: No such file or directory\n");
    spawn_options full = {.out_path = "/dev/full"};
    expect_failure(RUN(&full, "profile", "-m", model, "-p", "3", "-n", "2", "-t", "1"), 1,
                   "sterna profile: cannot write to standard output: No space left on device\n");
    /* Nothing is left of a report that failed. */
    char page[] = "/tmp/sterna-page-XXXXXX";
    close(mkstemp(page));
    expect_failure(
        RUN(NULL, "profile", "-m", model, "-p", "200", "--html", page), 1,
        "sterna profile: 200 prompt tokens, up to 1 generated before all prompts are computed, and 64 "
        "decode steps need 265 positions; the model was made for 128\n");
    cr_expect_neq(access(page, F_OK), 0);
    unlink(model);
}

Test(cli_profile, reports, .timeout = 120)
{
    make_model(128, model);
    char page[] = "/tmp/sterna-page-XXXXXX", trace[] = "/tmp/sterna-trace-XXXXXX";
    close(mkstemp(page));
    close(mkstemp(trace));
    spawned s = RUN(NULL, "profile", "-m", model, "-p", "9", "-n", "4", "-b", "2", "-t", "1", "-o", "json",
                    "--html", page, "--trace", trace);
    cr_assert_eq(s.code, 0, "%s", s.err);
    json_error_t error;
    json_t *root = json_loads(s.out, 0, &error);
    cr_assert_not_null(root, "%s", error.text);
    const json_t *settings = json_object_get(root, "settings");
    cr_expect(number_of(settings, "n_prompt") == 9 && number_of(settings, "n_generate") == 4);
    cr_expect_eq(number_of(json_array_get(json_object_get(root, "phases"), 1), "n_token"), 8);
    json_decref(root);
    spawned_free(&s);
    char *text = read_file(page), *events = read_file(trace);
    cr_expect(strncmp(text, "<!DOCTYPE html>", 15) == 0 && strstr(text, "</html>\n"));
    root = json_loads(events, 0, &error);
    cr_expect(json_array_size(json_object_get(root, "traceEvents")) > 50);
    json_decref(root);
    free(text);
    free(events);
    unlink(page);
    unlink(trace);
    expect_output(
        RUN(NULL, "profile", "-m", model, "-p", "3", "-n", "2", "-t", "1", "--device", "ref", "--check"), 0,
        "\nprefill: 3 tokens in 1 step, ");
    unlink(model);
}
