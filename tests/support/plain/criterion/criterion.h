/* A stand-in for Criterion's header where Criterion cannot run: its memory arena and ThreadSanitizer claim
 * the same addresses. The same suites compile against it; tests run one after the other in one process. Only
 * what the suites use is here. */
#ifndef PLAIN_CRITERION_H
#define PLAIN_CRITERION_H

#include <assert.h>
#include <math.h>
#include <signal.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

typedef struct plain_test {
    const char *suite, *name;
    void (*run)(void);
    struct plain_test *next;
} plain_test;

void plain_register(plain_test *test);
/* Notes a failure; a fatal one leaves the test and does not return. */
void plain_fail(bool fatal, const char *file, int line, const char *condition, const char *format, ...)
    __attribute__((format(printf, 5, 6)));
_Noreturn void plain_skip(const char *format, ...) __attribute__((format(printf, 1, 2)));

#define Test(suite_, name_, ...)                                                                             \
    static void suite_##_##name_(void);                                                                      \
    __attribute__((constructor)) static void suite_##_##name_##_register(void)                               \
    {                                                                                                        \
        static plain_test test = {#suite_, #name_, suite_##_##name_, NULL};                                  \
        plain_register(&test);                                                                               \
    }                                                                                                        \
    static void suite_##_##name_(void)

#define PLAIN_CHECK(fatal, condition, ...)                                                                   \
    do {                                                                                                     \
        if (!(condition))                                                                                    \
            plain_fail(fatal, __FILE__, __LINE__, #condition, " " __VA_ARGS__);                              \
    } while (0)

#define cr_assert(condition, ...)         PLAIN_CHECK(true, condition, __VA_ARGS__)
#define cr_assert_not(condition, ...)     PLAIN_CHECK(true, !(condition), __VA_ARGS__)
#define cr_assert_fail(...)               plain_fail(true, __FILE__, __LINE__, "", " " __VA_ARGS__)
#define cr_assert_eq(a, b, ...)           PLAIN_CHECK(true, (a) == (b), __VA_ARGS__)
#define cr_assert_neq(a, b, ...)          PLAIN_CHECK(true, (a) != (b), __VA_ARGS__)
#define cr_assert_lt(a, b, ...)           PLAIN_CHECK(true, (a) < (b), __VA_ARGS__)
#define cr_assert_leq(a, b, ...)          PLAIN_CHECK(true, (a) <= (b), __VA_ARGS__)
#define cr_assert_gt(a, b, ...)           PLAIN_CHECK(true, (a) > (b), __VA_ARGS__)
#define cr_assert_geq(a, b, ...)          PLAIN_CHECK(true, (a) >= (b), __VA_ARGS__)
#define cr_assert_null(a, ...)            PLAIN_CHECK(true, (a) == NULL, __VA_ARGS__)
#define cr_assert_not_null(a, ...)        PLAIN_CHECK(true, (a) != NULL, __VA_ARGS__)
#define cr_assert_str_eq(a, b, ...)       PLAIN_CHECK(true, strcmp((a), (b)) == 0, __VA_ARGS__)
#define cr_assert_arr_eq(a, b, size, ...) PLAIN_CHECK(true, memcmp((a), (b), (size)) == 0, __VA_ARGS__)
#define cr_assert_float_eq(a, b, epsilon, ...)                                                               \
    PLAIN_CHECK(true, fabs((double)(a) - (double)(b)) <= (double)(epsilon), __VA_ARGS__)
#define cr_expect_arr_eq(a, b, size, ...) PLAIN_CHECK(false, memcmp((a), (b), (size)) == 0, __VA_ARGS__)
#define cr_expect_lt(a, b, ...)           PLAIN_CHECK(false, (a) < (b), __VA_ARGS__)
#define cr_expect_leq(a, b, ...)          PLAIN_CHECK(false, (a) <= (b), __VA_ARGS__)
#define cr_expect_neq(a, b, ...)          PLAIN_CHECK(false, (a) != (b), __VA_ARGS__)
#define cr_expect(condition, ...)         PLAIN_CHECK(false, condition, __VA_ARGS__)
#define cr_expect_eq(a, b, ...)           PLAIN_CHECK(false, (a) == (b), __VA_ARGS__)
#define cr_expect_geq(a, b, ...)          PLAIN_CHECK(false, (a) >= (b), __VA_ARGS__)
#define cr_expect_gt(a, b, ...)           PLAIN_CHECK(false, (a) > (b), __VA_ARGS__)
#define cr_expect_null(a, ...)            PLAIN_CHECK(false, (a) == NULL, __VA_ARGS__)
#define cr_expect_str_eq(a, b, ...)       PLAIN_CHECK(false, strcmp((a), (b)) == 0, __VA_ARGS__)
#define cr_skip_test(...)                 plain_skip(" " __VA_ARGS__)
#define cr_log_info(...)                  ((void)fprintf(stderr, __VA_ARGS__), (void)fputc('\n', stderr))

#endif
