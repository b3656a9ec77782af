#include <criterion/criterion.h>
#include <setjmp.h>
#include <stdarg.h>

static plain_test *tests;
static jmp_buf leave;
static bool failed, skipped;

void plain_register(plain_test *test)
{
    test->next = tests;
    tests = test;
}

void plain_fail(bool fatal, const char *file, int line, const char *condition, const char *format, ...)
{
    va_list args;
    va_start(args, format);
    fprintf(stderr, "%s:%d: %s:", file, line, condition);
    vfprintf(stderr, format, args);
    fputc('\n', stderr);
    va_end(args);
    failed = true;
    if (fatal)
        longjmp(leave, 1);
}

_Noreturn void plain_skip(const char *format, ...)
{
    va_list args;
    va_start(args, format);
    vfprintf(stderr, format, args);
    fputc('\n', stderr);
    va_end(args);
    skipped = true;
    longjmp(leave, 1);
}

/* Takes and ignores Criterion's options; prints its closing line. */
int main(void)
{
    static int n_tested, n_failed; /* static: what longjmp must not lose */
    static plain_test *test;
    for (test = tests; test; test = test->next) {
        failed = skipped = false;
        if (setjmp(leave) == 0)
            test->run();
        n_tested += !skipped;
        n_failed += failed;
        if (failed)
            fprintf(stderr, "[FAIL] %s::%s\n", test->suite, test->name);
    }
    fprintf(stderr, "[====] Synthesis: Tested: %d | Passing: %d | Failing: %d | Crashing: 0\n", n_tested,
            n_tested - n_failed, n_failed);
    return n_failed > 0;
}
