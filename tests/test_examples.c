/* The programs of docs/examples do what they say. */
#include "tests/support/spawn.h"

#include <criterion/criterion.h>
#include <string.h>

#define MODEL STERNA_SOURCE_DIR "/models/sterna-demo.gguf"

Test(examples, batch, .timeout = 60)
{
    spawned s = spawn((const char *const[]){EXAMPLE_FOLDER "/example_batch", MODEL, NULL}, NULL);
    cr_assert_eq(s.code, 0, "%s", s.err);
    static const char *const begin[] = {"The LORD is my", "Elinor could not", "He was a young man of"};
    const char *line = s.out;
    for (int i = 0; i < 3; i++) {
        const char *end = strchr(line, '\n');
        cr_assert_not_null(end);
        size_t n = strlen(begin[i]);
        cr_assert(strncmp(line, begin[i], n) == 0 && (size_t)(end - line) > n + 20, "%s", s.out);
        line = end + 1;
    }
    cr_assert_eq(*line, '\0');
    spawned_free(&s);
    s = spawn((const char *const[]){EXAMPLE_FOLDER "/example_batch", "no such file", NULL}, NULL);
    cr_assert_eq(s.code, 1);
    cr_assert(strstr(s.err, "no such file"), "%s", s.err);
    spawned_free(&s);
}

/* It compares its two results itself. */
Test(examples, linear, .timeout = 60)
{
    static const char *const devices[] = {"cpu", "ref"};
    char first[4096] = "";
    for (int i = 0; i < 2; i++) {
        spawned s = spawn((const char *const[]){EXAMPLE_FOLDER "/example_linear", devices[i], NULL}, NULL);
        cr_assert_eq(s.code, 0, "%s", s.err);
        cr_assert(s.out_size > 20 && s.out_size < sizeof first);
        char *verdict = strstr(s.out, devices[i]); /* the last line names the device */
        cr_assert(verdict && strstr(verdict, ": host and device memory agree\n"), "%s", s.out);
        *verdict = '\0';
        cr_assert(i == 0 || strcmp(s.out, first) == 0, "%s and %s", s.out, first);
        strcpy(first, s.out);
        spawned_free(&s);
    }
    spawned s = spawn((const char *const[]){EXAMPLE_FOLDER "/example_linear", "abacus", NULL}, NULL);
    cr_assert(s.code == 1 && strstr(s.err, "abacus"), "%s", s.err);
    spawned_free(&s);
}
