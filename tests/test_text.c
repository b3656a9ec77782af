/* Stop strings and characters across the borders of tokens. */
#include "host/engine/text.h"

#include <criterion/criterion.h>
#include <stdio.h>
#include <string.h>

static void set(st_stops *stops, const char *const *stop, int32_t n)
{
    sterna_request r = {.stop = stop, .n_stop = n};
    sterna_error error;
    cr_assert_eq(st_stops_set(stops, &r, 100, &error), STERNA_OK, "%s", error.message);
}

/* Adds pieces as an engine does; returns which stop string ended it, -1 if none. `shown` gets what was shown,
 * and at the end what was held; `steps`, if not NULL, what was shown with each piece, separated by '|'. */
static int32_t run(const st_stops *stops, const char *const *piece, int32_t n, char *shown, char *steps)
{
    st_held held = {0};
    int32_t stop = -1;
    shown[0] = 0;
    if (steps)
        steps[0] = 0;
    for (int32_t i = 0; i < n && stop < 0; i++) {
        char text[ST_MAX_HELD + 1024];
        memcpy(text, held.byte, (size_t)held.n);
        memcpy(text + held.n, piece[i], strlen(piece[i]));
        int32_t count = st_text_show(stops, &held, text, (int32_t)strlen(piece[i]), &stop);
        strncat(shown, text, (size_t)count);
        if (steps) {
            strncat(steps, text, (size_t)count);
            strcat(steps, "|");
        }
    }
    if (stop < 0)
        strncat(shown, held.byte, (size_t)held.n);
    return stop;
}

#define LIST(...)                                                                                            \
    (const char *const[]){__VA_ARGS__}, (int32_t)(sizeof((const char *[]){__VA_ARGS__}) / sizeof(char *))

Test(text, without_stops_characters_come_whole)
{
    st_stops stops;
    char shown[256], steps[256];
    set(&stops, NULL, 0);
    cr_assert_eq(
        run(&stops, LIST("a", "\xe2\x82", "\xac", "\xf0\x9f", "\x98", "\x80z", "\xc3"), shown, steps), -1);
    cr_assert_str_eq(steps, "a||\xe2\x82\xac|||\xf0\x9f\x98\x80z||");
    cr_assert_str_eq(shown, "a\xe2\x82\xac\xf0\x9f\x98\x80z\xc3"); /* the end comes out as it is */
    /* What cannot become a character is not held. */
    cr_assert_eq(run(&stops, LIST("\x80", "\xff", "\xbf\xbf\xbf\xbf", "a\xf8"), shown, steps), -1);
    cr_assert_str_eq(steps, "\x80|\xff|\xbf\xbf\xbf\xbf|a\xf8|");
}

Test(text, a_stop_string_ends_wherever_tokens_begin)
{
    st_stops stops;
    char shown[256], steps[256];
    set(&stops, LIST("\nUser:", "END"));
    cr_assert_eq(run(&stops, LIST("Hello", "\n", "Us", "er", ": hi"), shown, steps), 0);
    cr_assert_str_eq(steps, "Hello|||||");
    cr_assert_eq(run(&stops, LIST("x\nUser", "y", "EN", "DE", "N"), shown, steps), 1);
    cr_assert_str_eq(steps, "x|\nUsery|||");
    cr_assert_eq(run(&stops, LIST("x", "EEN", "E"), shown, steps), -1);
    cr_assert_str_eq(steps, "x|E|EN|");
    cr_assert_str_eq(shown, "xEENE");
    cr_assert_eq(run(&stops, LIST("aENDb\nUser:"), shown, NULL), 1);
    cr_assert_str_eq(shown, "a");
    cr_assert_eq(run(&stops, LIST("END"), shown, NULL), 1);
    cr_assert_str_eq(shown, "");
}

Test(text, the_first_to_begin_counts_then_the_first_in_the_list)
{
    st_stops stops;
    char shown[256];
    set(&stops, LIST("bc", "abcd", "ab"));
    cr_assert_eq(run(&stops, LIST("xabcd"), shown, NULL), 1);
    cr_assert_eq(run(&stops, LIST("xab"), shown, NULL), 2);
    cr_assert_eq(run(&stops, LIST("xbc"), shown, NULL), 0);
    /* Which is found depends on where tokens end: what may end now ends now. */
    cr_assert_eq(run(&stops, LIST("xab", "cd"), shown, NULL), 2);
}

/* Every way to cut a text into pieces shows the same in the end, and never a part of the stop string. */
Test(text, cuts_do_not_matter)
{
    static const char text[] = "aab\xc3\xa4"
                               "abaabaac\xe2\x82\xac";
    enum { N = sizeof text - 1 };
    st_stops stops;
    set(&stops, LIST("abaac"));
    for (unsigned cut = 0; cut < 1u << (N - 1); cut++) {
        char storage[N][N + 1], shown[64];
        const char *piece[N];
        int32_t n = 0, length = 0;
        for (int i = 0; i < N; i++) {
            storage[n][length++] = text[i];
            if (i == N - 1 || cut >> i & 1) {
                storage[n][length] = 0;
                piece[n] = storage[n];
                n++;
                length = 0;
            }
        }
        cr_assert_eq(run(&stops, piece, n, shown, NULL), 0);
        cr_assert_str_eq(shown,
                         "aab\xc3\xa4"
                         "aba",
                         "cut %x: %s", cut, shown);
    }
}

Test(text, the_longest_is_held_whole)
{
    st_stops stops;
    char longest[STERNA_MAX_STOP_BYTES + 1], shown[1024];
    memset(longest, 'x', STERNA_MAX_STOP_BYTES);
    longest[STERNA_MAX_STOP_BYTES - 1] = 'y';
    longest[STERNA_MAX_STOP_BYTES] = 0;
    const char *stop = longest, *piece[600];
    set(&stops, &stop, 1);
    for (int i = 0; i < 600; i++)
        piece[i] = "x";
    cr_assert_eq(run(&stops, piece, 600, shown, NULL), -1);
    cr_assert_eq(strlen(shown), 600u);
    piece[400] = "y";
    cr_assert_eq(run(&stops, piece, 600, shown, NULL), 0);
    cr_assert_eq(strlen(shown), 400u - (STERNA_MAX_STOP_BYTES - 1));
}

Test(text, refusals)
{
    st_stops stops;
    sterna_error error;
    sterna_token token[2] = {5, 100};
    static char longest[STERNA_MAX_STOP_BYTES + 2];
    memset(longest, 'x', STERNA_MAX_STOP_BYTES + 1);
    const char *stop[3] = {"a", longest, ""};
#define REFUSED(expected, ...)                                                                               \
    cr_assert_eq(st_stops_set(&stops, &(sterna_request){__VA_ARGS__}, 100, &error), STERNA_E_ARGUMENT);      \
    cr_assert_str_eq(error.message, expected)
    REFUSED("stop token 1 is 100, not 0 ... 99", .stop_token = token, .n_stop_token = 2);
    REFUSED("n_stop_token is 17, not 0 ... 16", .stop_token = token, .n_stop_token = 17);
    REFUSED("stop_token is NULL", .n_stop_token = 1);
    REFUSED("n_stop is -1, not 0 ... 16", .n_stop = -1);
    REFUSED("stop is NULL", .n_stop = 2);
    REFUSED("stop string 1 has 257 bytes, not 1 ... 256", .stop = stop, .n_stop = 2);
    stop[1] = "b";
    REFUSED("stop string 2 has 0 bytes, not 1 ... 256", .stop = stop, .n_stop = 3);
    stop[2] = NULL;
    REFUSED("stop string 2 has 0 bytes, not 1 ... 256", .stop = stop, .n_stop = 3);
    token[1] = 99;
    cr_assert_eq(st_stops_set(&stops, &(sterna_request){.stop_token = token, .n_stop_token = 2}, 100, &error),
                 STERNA_OK);
    cr_assert(st_stops_at(&stops, 99) && st_stops_at(&stops, 5) && !st_stops_at(&stops, 6));
}
