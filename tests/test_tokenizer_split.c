/* Where each pre-tokenizer cuts. A case is the list of pieces; the text is all of them together. */
#include "host/model/tokenizer_parts.h"

#include <criterion/criterion.h>
#include <string.h>

#if STERNA_TEXT

typedef struct split_case {
    const char *pre;
    const char *piece[24];
} split_case;

#define E_ACUTE   "e\xcc\x81"                /* e and a combining acute accent */
#define ZHONGWEN  "\xe4\xb8\xad\xe6\x96\x87" /* two Chinese characters */
#define SMILE     "\xf0\x9f\x99\x82"         /* U+1F642 */
#define NBSP      "\xc2\xa0"                 /* white space */
#define NEXT_LINE "\xc2\x85"                 /* U+0085, white space */
#define MVS       "\xe1\xa0\x8e"             /* U+180E, not white space since Unicode 6.3 */
#define LONG_S    "\xc5\xbf"                 /* U+017F, an s where case does not count */
#define ARABIC_3  "\xd9\xa3"                 /* a digit */
#define ONE_HALF  "\xc2\xbd"                 /* a number, no digit */

static const split_case cases[] = {
    /* words take a space in front */
    {"llama-bpe", {"Hello", " world", "!"}},
    {"qwen2", {"Hello", " world", "!"}},
    {"gpt-2", {"Hello", " world", "!"}},
    {"smollm", {"Hello", " world", "!"}},
    {"falcon", {"Hello", " world", "!"}},
    {"default", {"Hello", " world", "!"}},
    /* and in the newer ones any other character */
    {"llama-bpe", {"(a", "()", "\tb", ".c", "..-", "d"}},
    {"gpt-2", {"(", "a", "()", "\t", "b", ".", "c", "...-", "d"}},
    /* contractions: in both cases, or in lower case only */
    {"llama-bpe", {"I", "'ll", " don", "'t", " WE", "'RE", " it", "'S", " o", "'clock", "'D"}},
    {"llama-bpe", {"x", "'" LONG_S, "y"}},
    {"qwen2", {"I", "'Ll", " don", "'T", "'ve", "'M", "'d"}},
    {"gpt-2", {"I", "'ll", " don", "'t", " WE", "'", "RE", " it", "'", "S"}},
    {"smollm", {"we", "'re", " WE", "'", "VE"}},
    {"falcon", {"I", "'", "ll", " don", "'", "t"}},
    {"default", {"I", "'", "ll", " don", "'", "t"}},
    /* numbers: groups of three, single digits, whole, groups of three once more */
    {"llama-bpe", {"x", "123", "456", "7", " ", "12", "x"}},
    {"qwen2", {"x", "1", "2", "3", " ", "4", ".", "5"}},
    {"qwen35", {"x", "1", "2", ARABIC_3, ONE_HALF}},
    {"gpt-2", {"x", "1234567", " 12", "x"}},
    {"smollm", {"x", "1", "2", " ", "3", ARABIC_3}},
    {"falcon", {"x", "123", "456", "7", " ", "123", "4", " 12"}},
    {"default", {"x", "123", "4", " ", "12", " ", "345", " ", ARABIC_3 "1"}},
    {"llama-bpe", {"1" ARABIC_3 ONE_HALF, "4"}},
    /* a run of white space leaves its last character to the word behind it */
    {"llama-bpe", {"a", "  ", " b", "   "}},
    {"qwen2", {"a", "\t", "\tb", " ", "\tc"}},
    {"gpt-2", {"a", "  ", " b", " ", "\t", "c", "   "}},
    {"smollm", {"a", "  ", " b", "   "}},
    {"falcon", {"a", "  ", " b", "   ", "!", "  "}},
    {"default", {"a", "  ", " b", "  "}},
    {"llama-bpe", {"a", "  ", " ", "1"}}, /* but not to a number */
    {"gpt-2", {"a", "  ", " 1"}},
    {"llama-bpe", {" ", " !", " ", "1"}},
    /* newlines: end a run; stay with punctuation; are white space like any other */
    {"llama-bpe", {"a", " \n\n", "b", "\r\n", "  ", " c", "\n \n", " d"}},
    {"llama-bpe", {"a", ".\n\n", "b", "!\r\n", " c", " ;\n", " \n"}},
    {"qwen2", {"a", ".\n", " \n\n", "\tb"}},
    {"gpt-2", {"a", ".", "\n", "\n", "b", "\r", "\n", "c", " \n", " d", "\n\n"}},
    {"smollm", {"a", ".", "\n", "\n", "b"}},
    {"falcon", {"a", ".", "\n", "\n", "b"}},
    {"default", {"a", ".", "\n", "\n", "b"}},
    /* what is white space */
    {"llama-bpe", {"a", NBSP "b", " ", NBSP "c", NEXT_LINE, " d", " " MVS}},
    {"gpt-2", {"a", NBSP, "b", " " NBSP, " c", " " MVS, "d", NEXT_LINE}},
    /* punctuation runs, and the signs that only falcon and default take for punctuation */
    {"gpt-2", {"a", "+=", "b", " ++$#@"}},
    {"falcon", {"a", "+=", "b", " ", "++$#@`"}},
    {"falcon", {"`", "\xc2\xb4", "|"}},
    {"default", {"`", "|", "\xc2\xb4", "$", " `"}},
    /* letters of all scripts; marks are letters only for qwen35 */
    {"llama-bpe", {ZHONGWEN, " " ZHONGWEN "a", "1", ZHONGWEN}},
    {"gpt-2", {"a" ZHONGWEN, "1", ZHONGWEN, " " ZHONGWEN}},
    {"llama-bpe", {"cafe", "\xcc\x81", " x"}},
    {"qwen2", {"cafe", "\xcc\x81", " x"}},
    {"qwen35",
     {"caf" E_ACUTE, " x"
                     "\xcc\x81"
                     "y"}},
    {"gpt-2", {"cafe", "\xcc\x81", " x"}},
    /* emoji: other characters, together with a joiner or a selector */
    {"llama-bpe", {"a", " " SMILE SMILE "\xe2\x80\x8d" SMILE "!", "b"}},
    {"qwen35",
     {"a", " " SMILE,
      "\xef\xb8\x8f"
      "b"}},
    {"gpt-2", {"a", SMILE, " " SMILE, "b"}},
    {"falcon", {"a", SMILE, "!", SMILE}},
    /* bytes that are no character stand alone; beside them is the end of a text */
    {"llama-bpe", {"a", "\xff", "\xfe", "b", "  ", "\x80", "  ", " c", "\xe4", "\xb8"}},
    {"gpt-2", {"\xed", "\xa0", "\x80", "  ", "\xc0"}},
};

typedef struct pieces {
    const char *text;
    size_t at, n;
    size_t end[64];
} pieces;

static sterna_status collect(void *context, const char *piece, size_t size)
{
    pieces *p = context;
    cr_assert(piece == p->text + p->at && size > 0 && p->n < 64);
    p->at += size;
    p->end[p->n++] = p->at;
    return STERNA_OK;
}

static st_split *open_split(const char *pre)
{
    st_split *split = NULL;
    sterna_error error = {0};
    cr_assert_eq(st_split_create((st_gguf_string){pre, strlen(pre)}, &split, &error), STERNA_OK, "%s",
                 error.message);
    cr_assert_str_eq(st_split_name(split), pre);
    return split;
}

Test(tokenizer_split, hand_made_pieces)
{
    for (size_t c = 0; c < sizeof cases / sizeof cases[0]; c++) {
        char text[512] = "";
        for (int i = 0; cases[c].piece[i]; i++)
            strcat(text, cases[c].piece[i]);
        pieces got = {.text = text};
        st_split *split = open_split(cases[c].pre);
        cr_assert_eq(st_split_text(split, text, strlen(text), collect, &got, NULL), STERNA_OK);
        cr_assert_eq(got.at, strlen(text));
        size_t end = 0;
        for (size_t i = 0; i < got.n; i++) {
            const char *want = cases[c].piece[i];
            cr_assert_not_null(want, "case %zu: more than %zu pieces of \"%s\"", c, i, text);
            size_t start = i ? got.end[i - 1] : 0;
            end += strlen(want);
            cr_assert_eq(got.end[i], end, "case %zu, %s: piece %zu is \"%.*s\", not \"%s\"", c, cases[c].pre,
                         i, (int)(got.end[i] - start), text + start, want);
        }
        cr_assert_null(cases[c].piece[got.n], "case %zu: only %zu pieces of \"%s\"", c, got.n, text);
        st_split_destroy(split);
    }
}

Test(tokenizer_split, every_known_name)
{
    static const struct {
        const char *pre, *like;
        bool add_bos, whole_pieces;
    } names[] = {
        {"llama3", "123", true, true},      {"llama-v3", "123", true, true},
        {"llama-bpe", "123", true, true},   {"falcon3", "123", true, true},
        {"falcon-h1", "123", true, true},   {"pixtral", "123", true, true},
        {"midm-2.0", "123", true, true},    {"lfm2", "123", true, true},
        {"dbrx", "123", false, false},      {"smaug-bpe", "123", false, false},
        {"qwen2", "1", false, false},       {"deepseek-r1-qwen", "1", false, false},
        {"stablelm2", "1", false, false},   {"hunyuan", "1", false, false},
        {"qwen35", "1", false, false},      {"gpt-2", "1234", false, false},
        {"phi-2", "1234", false, false},    {"mpt", "1234", false, false},
        {"olmo", "1234", false, false},     {"jais", "1234", false, false},
        {"trillion", "1234", false, false}, {"smollm", "1", false, false},
        {"starcoder", "1", false, false},   {"refact", "1", false, false},
        {"command-r", "1", false, false},   {"exaone", "1", false, false},
        {"minerva-7b", "1", false, false},  {"codeshell", "1", false, false},
        {"falcon", "123", false, false},    {"default", "123", false, false},
    };
    for (size_t i = 0; i < sizeof names / sizeof names[0]; i++) {
        st_split *split = open_split(names[i].pre);
        cr_assert_eq(st_split_add_bos(split), names[i].add_bos, "%s", names[i].pre);
        cr_assert_eq(st_split_whole_pieces(split), names[i].whole_pieces, "%s", names[i].pre);
        pieces got = {.text = "1234"};
        cr_assert_eq(st_split_text(split, got.text, 4, collect, &got, NULL), STERNA_OK);
        cr_assert_eq(got.end[0], strlen(names[i].like), "%s", names[i].pre);
        st_split_destroy(split);
    }
}

static sterna_status refuse(void *context, const char *piece, size_t size)
{
    (void)piece, (void)size;
    return --*(int *)context ? STERNA_OK : STERNA_E_ABORTED;
}

Test(tokenizer_split, ends_at_the_first_failure)
{
    st_split *split = open_split("smollm");
    for (int calls = 1; calls < 6; calls++) {
        int left = calls;
        cr_assert_eq(st_split_text(split, "a 12\xff", 5, refuse, &left, NULL), STERNA_E_ABORTED);
        cr_assert_eq(left, 0);
    }
    int left = 6;
    cr_assert_eq(st_split_text(split, "a 12\xff", 5, refuse, &left, NULL), STERNA_OK);
    st_split_destroy(split);
}
#endif

Test(tokenizer_split, unknown_names_are_refused)
{
    static const char *const unknown[] = {
        "",
        "gpt-4o",
        "llama",
        "gpt-2 ",
        "gpt-2 phi-2",
        "Qwen2",
        "a-name-of-a-pre-tokenizer-that-is-much-longer-than-any-known-name"};
    for (size_t i = 0; i < sizeof unknown / sizeof unknown[0]; i++) {
        st_split *split = NULL;
        sterna_error error = {0};
        cr_assert_eq(st_split_create((st_gguf_string){unknown[i], strlen(unknown[i])}, &split, &error),
                     STERNA_E_UNSUPPORTED);
        cr_assert_null(split);
        cr_assert_not_null(strstr(error.message, "known are: llama-bpe llama3"), "%s", error.message);
        cr_assert_not_null(strstr(error.message, " default"), "%s", error.message);
    }
}
