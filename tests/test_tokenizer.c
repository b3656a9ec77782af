#include "tests/support/small_vocab.h"
#include "tests/support/tokenizer_input.h"

#include <criterion/criterion.h>
#include <dirent.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#if STERNA_TEXT

static const char *const pres[] = {"llama-bpe", "dbrx",   "qwen2",  "qwen35",
                                   "gpt-2",     "smollm", "falcon", "default"};
enum { N_PRE = sizeof pres / sizeof pres[0] };

static st_tokenizer *small_tokenizer(const char *pre)
{
    static small_vocab vocab;
    small_vocab_init(&vocab, pre);
    st_tokenizer *tokenizer = NULL;
    sterna_error error = {0};
    cr_assert_eq(st_tokenizer_build(&vocab.source, NULL, &tokenizer, &error), STERNA_OK, "%s", error.message);
    return tokenizer;
}

static void expect_ids(const st_tokenizer *tokenizer, const char *text, size_t length, bool add_special,
                       bool parse_special, const sterna_token *want, size_t n_want)
{
    sterna_token got[64];
    sterna_error error = {0};
    int64_t n = st_tokenizer_encode(tokenizer, text, length, got, 64, add_special, parse_special, &error);
    cr_assert_eq(n, (int64_t)n_want, "\"%s\": %lld tokens, not %zu %s", text, (long long)n, n_want,
                 error.message);
    for (size_t i = 0; i < n_want; i++)
        cr_assert_eq(got[i], want[i], "\"%s\": token %zu is %d, not %d", text, i, got[i], want[i]);
}

#define EXPECT(text, add_special, parse_special, ...)                                                        \
    expect_ids(tokenizer, text, sizeof(text) - 1, add_special, parse_special,                                \
               (const sterna_token[]){__VA_ARGS__},                                                          \
               sizeof((const sterna_token[]){__VA_ARGS__}) / sizeof(sterna_token))

Test(tokenizer, byte_alphabet_is_a_bijection)
{
    bool seen[256] = {0};
    for (uint32_t c = 0; c <= 0x10ffff; c++) {
        int byte = st_byte_of_char(c);
        if (byte < 0)
            continue;
        cr_assert(byte < 256 && !seen[byte], "byte %d has a second character U+%04X", byte, c);
        seen[byte] = true;
        char spelled[2], one = (char)byte;
        size_t n = small_spell(&one, 1, spelled);
        uint32_t back = 0;
        cr_assert_eq(st_utf8_char(spelled, n, &back), n);
        cr_assert_eq(back, c, "byte %d is U+%04X, not U+%04X", byte, c, back);
    }
    for (int b = 0; b < 256; b++)
        cr_assert(seen[b], "byte %d has no character", b);
    cr_assert(st_byte_of_char(0x120) == ' ' && st_byte_of_char(0x10a) == '\n' &&
              st_byte_of_char(0x143) == 0xad);
}

Test(tokenizer, utf8_is_strict)
{
    static const struct {
        const char *text;
        size_t size, want;
    } cases[] = {
        {"a", 1, 1},
        {"\0", 1, 1},
        {"\xc2\x80", 2, 2},
        {"\xdf\xbf", 2, 2},
        {"\xe0\xa0\x80", 3, 3},
        {"\xed\x9f\xbf", 3, 3},
        {"\xee\x80\x80", 3, 3},
        {"\xf0\x90\x80\x80", 4, 4},
        {"\xf4\x8f\xbf\xbf", 4, 4},
        {"\x80", 1, 0},
        {"\xc1\xbf", 2, 0},
        {"\xe0\x9f\xbf", 3, 0},
        {"\xed\xa0\x80", 3, 0},
        {"\xf0\x8f\xbf\xbf", 4, 0},
        {"\xf4\x90\x80\x80", 4, 0},
        {"\xf8\x88\x80\x80\x80", 5, 0},
        {"\xff", 1, 0},
        {"\xe4\xb8", 2, 0},
        {"\xc3", 1, 0},
        {"\xe4\xb8 ", 3, 0},
    };
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++)
        cr_assert_eq(st_utf8_char(cases[i].text, cases[i].size, NULL), cases[i].want, "case %zu", i);
}

Test(tokenizer, merges_by_rank_then_leftmost)
{
    st_tokenizer *tokenizer = small_tokenizer("gpt-2");
    int32_t a = small_byte('a'), a2 = small_merged("aa"), a4 = small_merged("aaaa"),
            a8 = small_merged("aaaaaaaa");
    EXPECT("a", false, false, a);
    EXPECT("aaa", false, false, a2, a);
    EXPECT("aaaaaaa", false, false, a4, a2, a);
    EXPECT("aaaaaaaaaaaaa", false, false, a8, a4, a);
    EXPECT("hello", false, false, small_merged("hello"));
    EXPECT("hellllo", false, false, small_merged("hell"), small_merged("ll"), small_byte('o'));
    /* "he" before "th": t he -> the; " t" has a higher rank than "the", so it comes too late. */
    EXPECT("the", false, false, small_merged("the"));
    EXPECT(" the", false, false, small_byte(' '), small_merged("the"));
    EXPECT("a th t", false, false, a, small_byte(' '), small_merged("th"), small_merged(" t"));
    /* "el" begins at a byte that "he" has taken: it must not take the l, which "low" needs. */
    EXPECT("helow", false, false, small_merged("he"), small_merged("low"));
    EXPECT("\xe4\xb8\xad", false, false, small_merged("\xe4\xb8\xad"));
    /* A merge never crosses pieces: "\xff\xfe" are two pieces, being no characters. */
    EXPECT("\xff\xfe", false, false, small_byte(0xff), small_byte(0xfe));
    st_tokenizer_destroy(&tokenizer);
    cr_assert_null(tokenizer);
}

Test(tokenizer, whole_pieces_only_in_the_llama3_group)
{
    st_tokenizer *tokenizer = small_tokenizer("llama-bpe");
    EXPECT("whole", false, false, small_merged("whole"));
    st_tokenizer_destroy(&tokenizer);
    tokenizer = small_tokenizer("dbrx");
    EXPECT("whole", false, false, small_byte('w'), small_byte('h'), small_byte('o'), small_byte('l'),
           small_byte('e'));
    st_tokenizer_destroy(&tokenizer);
}

Test(tokenizer, special_tokens)
{
    st_tokenizer *tokenizer = small_tokenizer("llama-bpe");
    EXPECT("<|end|>", false, true, SMALL_EOS);
    EXPECT("<|end|>now", false, true, SMALL_EOT);
    EXPECT("<|end|>no<|begin|><|begin|>", false, true, SMALL_EOS, small_byte('n'), small_byte('o'), SMALL_BOS,
           SMALL_BOS);
    EXPECT("he<|end|>\xff<think>", false, true, small_merged("he"), SMALL_EOS, small_byte(0xff), SMALL_THINK);
    EXPECT("<unk>[PAD0]", false, true, SMALL_UNKNOWN, small_byte('['), small_byte('P'), small_byte('A'),
           small_byte('D'), small_byte('0'), small_byte(']'));
    /* Without parse_special control tokens are text; user-defined tokens are not. */
    EXPECT("<|end|>", false, false, small_byte('<'), small_byte('|'), small_byte('e'), small_byte('n'),
           small_byte('d'), small_byte('|'), small_byte('>'));
    EXPECT("<think>", false, false, SMALL_THINK);
    /* BOS by the group's habit, EOS not. */
    EXPECT("he", true, false, SMALL_BOS, small_merged("he"));
    EXPECT("", true, false, SMALL_BOS);
    st_tokenizer_destroy(&tokenizer);
}

Test(tokenizer, bos_and_eos_as_stated)
{
    static const struct {
        const char *pre;
        st_tristate add_bos, add_eos;
        int64_t bos, eos;
        bool want_bos, want_eos;
    } cases[] = {
        {"llama-bpe", ST_UNSTATED, ST_UNSTATED, SMALL_BOS, SMALL_EOS, true, false},
        {"llama-bpe", ST_NO, ST_YES, SMALL_BOS, SMALL_EOS, false, true},
        {"llama-bpe", ST_YES, ST_YES, -1, -1, false, false},
        {"qwen2", ST_UNSTATED, ST_UNSTATED, SMALL_BOS, SMALL_EOS, false, false},
        {"qwen2", ST_YES, ST_NO, SMALL_BOS, SMALL_EOS, true, false},
    };
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        static small_vocab vocab;
        small_vocab_init(&vocab, cases[i].pre);
        vocab.source.add_bos = cases[i].add_bos;
        vocab.source.add_eos = cases[i].add_eos;
        vocab.source.duty[ST_DUTY_BOS] = cases[i].bos;
        vocab.source.duty[ST_DUTY_EOS] = cases[i].eos;
        st_tokenizer *tokenizer;
        cr_assert_eq(st_tokenizer_build(&vocab.source, NULL, &tokenizer, NULL), STERNA_OK);
        cr_assert_eq(st_tokenizer_add_bos(tokenizer), cases[i].want_bos, "case %zu", i);
        cr_assert_eq(st_tokenizer_add_eos(tokenizer), cases[i].want_eos, "case %zu", i);
        cr_assert_eq(st_tokenizer_bos(tokenizer), (sterna_token)cases[i].bos);
        cr_assert_eq(st_tokenizer_eos(tokenizer), (sterna_token)cases[i].eos);
        sterna_token got[4];
        cr_assert_eq(st_tokenizer_encode(tokenizer, "x", 1, got, 4, true, false, NULL),
                     1 + cases[i].want_bos + cases[i].want_eos);
        cr_assert(!cases[i].want_bos || got[0] == SMALL_BOS);
        cr_assert(!cases[i].want_eos || got[1 + cases[i].want_bos] == SMALL_EOS);
        st_tokenizer_destroy(&tokenizer);
    }
}

Test(tokenizer, pieces_of_tokens)
{
    st_tokenizer *tokenizer = small_tokenizer("gpt-2");
    char text[16] = "";
    cr_assert_eq(st_tokenizer_piece(tokenizer, small_merged("hello"), text, sizeof text, false), 5);
    cr_assert_eq(memcmp(text, "hello", 5), 0);
    memset(text, '#', sizeof text);
    cr_assert_eq(st_tokenizer_piece(tokenizer, small_merged("hello"), text, 3, false), 5);
    cr_assert_eq(memcmp(text, "hel#", 4), 0, "more than 3 bytes were written");
    cr_assert_eq(st_tokenizer_piece(tokenizer, small_merged("hello"), NULL, 0, false), 5);
    cr_assert_eq(st_tokenizer_piece(tokenizer, SMALL_PLAIN, text, sizeof text, false), 3);
    cr_assert_eq(memcmp(text, "a b", 3), 0);
    cr_assert_eq(st_tokenizer_piece(tokenizer, SMALL_THINK, text, sizeof text, false), 7);
    static const int32_t hidden[] = {SMALL_BOS, SMALL_EOT, SMALL_UNUSED, SMALL_UNKNOWN};
    static const int length[] = {9, 10, 6, 5};
    for (int i = 0; i < 4; i++) {
        cr_assert_eq(st_tokenizer_piece(tokenizer, hidden[i], text, sizeof text, false), 0);
        cr_assert_eq(st_tokenizer_piece(tokenizer, hidden[i], text, sizeof text, true), length[i]);
    }
    cr_assert_eq(st_tokenizer_piece(tokenizer, -1, text, sizeof text, true), STERNA_E_ARGUMENT);
    cr_assert_eq(st_tokenizer_piece(tokenizer, st_tokenizer_size(tokenizer), text, sizeof text, true),
                 STERNA_E_ARGUMENT);
    st_tokenizer_destroy(&tokenizer);
}

Test(tokenizer, end_tokens)
{
    st_tokenizer *tokenizer = small_tokenizer("gpt-2");
    for (int32_t id = -2; id < st_tokenizer_size(tokenizer) + 2; id++)
        cr_assert_eq(st_tokenizer_is_end(tokenizer, id), id == SMALL_EOS || id == SMALL_EOT, "token %d", id);
    st_tokenizer_destroy(&tokenizer);
    /* By text, whatever the file says. */
    static small_vocab vocab;
    small_vocab_init(&vocab, "gpt-2");
    vocab.source.duty[ST_DUTY_EOS] = vocab.source.duty[ST_DUTY_EOT] = -1;
    vocab.source.duty[ST_DUTY_FIM_SEP] = SMALL_UNUSED;
    vocab.token[SMALL_THINK] = (st_gguf_string){"<|im_end|>", 10};
    cr_assert_eq(st_tokenizer_build(&vocab.source, NULL, &tokenizer, NULL), STERNA_OK);
    for (int32_t id = 0; id < st_tokenizer_size(tokenizer); id++)
        cr_assert_eq(st_tokenizer_is_end(tokenizer, id),
                     id == SMALL_EOS || id == SMALL_THINK || id == SMALL_UNUSED, "token %d", id);
    st_tokenizer_destroy(&tokenizer);
}

/* Encodes, decodes and compares; every token is in range, and a second call with room for only some of the
 * ids gives the same ones and writes no more. Returns the number of tokens. */
static int64_t round_trip(const st_tokenizer *tokenizer, const char *text, size_t length, bool parse_special)
{
    sterna_token *ids = malloc((length + 1) * sizeof *ids);
    char *back = malloc(length + 1);
    sterna_error error = {0};
    int64_t n = st_tokenizer_encode(tokenizer, text, length, ids, length, false, parse_special, &error);
    cr_assert(n >= 0 && n <= (int64_t)length, "%lld tokens of %zu bytes %s", (long long)n, length,
              error.message);
    size_t at = 0;
    for (int64_t i = 0; i < n; i++) {
        int piece = st_tokenizer_piece(tokenizer, ids[i], back + at, length - at, true);
        if (piece <= 0 || (size_t)piece > length - at) /* cr_assert is slow for a million tokens */
            cr_assert_fail("token %d has %d bytes, %zu are left", ids[i], piece, length - at);
        at += (size_t)piece;
    }
    cr_assert_eq(at, length);
    cr_assert(length == 0 || memcmp(back, text, length) == 0);
    sterna_token few[4] = {-7, -7, -7, -7};
    cr_assert_eq(st_tokenizer_encode(tokenizer, text, length, few, 3, false, parse_special, NULL), n);
    for (int i = 0; i < 4; i++)
        cr_assert_eq(few[i], i < 3 && i < n ? ids[i] : -7);
    free(ids);
    free(back);
    return n;
}

Test(tokenizer, all_bytes_round_trip)
{
    char all[512];
    for (int i = 0; i < 512; i++)
        all[i] = (char)(i < 256 ? i : 511 - i);
    for (int p = 0; p < N_PRE; p++) {
        st_tokenizer *tokenizer = small_tokenizer(pres[p]);
        round_trip(tokenizer, all, sizeof all, false);
        for (int b = 0; b < 256; b++)
            cr_assert_eq(round_trip(tokenizer, all + b, 1, false), 1);
        st_tokenizer_destroy(&tokenizer);
    }
}

static uint32_t next_random(uint32_t *state)
{
    *state = *state * 1664525u + 1013904223u;
    return *state >> 8;
}

/* Half random bytes, half characters and bits of tokens, so that valid and invalid text meet everywhere. */
static size_t random_text(uint32_t *state, char *text, size_t max)
{
    static const char *const bits[] = {
        " ",    "\n",      "the",     "\xe4\xb8\xad", "\xe4\xb8", "\xf0\x9f\x99\x82", "123", "'s",
        "\r\n", "<|end|>", "<think>", "\xed\xa0\x80", "\xc3\xa9", "e\xcc\x81",        "!?",  "<|"};
    size_t length = next_random(state) % (max - 16), at = 0;
    while (at < length) {
        if (next_random(state) % 2) {
            text[at++] = (char)next_random(state);
        } else {
            const char *bit = bits[next_random(state) % 16];
            memcpy(text + at, bit, strlen(bit));
            at += strlen(bit);
        }
    }
    return at;
}

Test(tokenizer, random_bytes_round_trip)
{
    uint32_t state = 1;
    char text[120];
    for (int p = 0; p < N_PRE; p++) {
        st_tokenizer *tokenizer = small_tokenizer(pres[p]);
        for (int i = 0; i < 2000; i++)
            round_trip(tokenizer, text, random_text(&state, text, sizeof text), i % 2);
        st_tokenizer_destroy(&tokenizer);
    }
}

Test(tokenizer, fuzzer_corpus)
{
    static const char folder[] = STERNA_SOURCE_DIR "/tests/fuzz/corpus_tokenizer";
    DIR *list = opendir(folder);
    cr_assert_not_null(list, "%s", folder);
    int n = 0;
    for (const struct dirent *entry; (entry = readdir(list)) != NULL;) {
        static uint8_t data[1 << 16];
        char path[1024];
        if (entry->d_name[0] == '.')
            continue;
        snprintf(path, sizeof path, "%s/%s", folder, entry->d_name);
        FILE *file = fopen(path, "rb");
        cr_assert_not_null(file, "%s", path);
        size_t size = fread(data, 1, sizeof data, file);
        fclose(file);
        const char *wrong = tokenizer_try_input(data, size);
        cr_assert_null(wrong, "%s: %s", entry->d_name, wrong);
        n++;
    }
    closedir(list);
    cr_assert_geq(n, 10);
}

/* Quadratic behaviour would take hours here. */
Test(tokenizer, long_runs)
{
    enum { LENGTH = 1 << 20 };
    static const char *const units[] = {"a",    " ",     "\n",  "1", "!", "\xe4\xb8\xad",
                                        "\xff", "<|end", " \t", "'s"};
    char *text = malloc(LENGTH);
    for (int p = 0; p < N_PRE; p += 3) /* one of each kind */
        for (size_t u = 0; u < sizeof units / sizeof units[0]; u++) {
            st_tokenizer *tokenizer = small_tokenizer(pres[p]);
            size_t unit = strlen(units[u]), length = u == 0 ? LENGTH : LENGTH / 8;
            for (size_t i = 0; i < length; i++)
                text[i] = units[u][i % unit];
            int64_t n = round_trip(tokenizer, text, length, true);
            cr_assert(u != 0 || n == LENGTH / 8, "%lld tokens of eight a", (long long)n);
            st_tokenizer_destroy(&tokenizer);
        }
    free(text);
}

typedef struct worker {
    const st_tokenizer *tokenizer;
    int failures;
} worker;

static void *work(void *context)
{
    worker *w = context;
    uint32_t state = 5;
    char text[120];
    uint64_t hash = 0;
    for (int i = 0; i < 500; i++) {
        sterna_token ids[120];
        size_t length = random_text(&state, text, sizeof text);
        int64_t n = st_tokenizer_encode(w->tokenizer, text, length, ids, 120, true, i % 2, NULL);
        w->failures += n < 0;
        hash = st_hash(hash, ids, (size_t)(n < 0 ? 0 : n) * sizeof *ids);
    }
    w->failures += (int)(hash % 1000) * 1000; /* the same in all threads */
    return NULL;
}

Test(tokenizer, threads_share_one)
{
    enum { N_THREAD = 4 };
    st_tokenizer *tokenizer = small_tokenizer("llama-bpe");
    pthread_t thread[N_THREAD];
    worker workers[N_THREAD + 1];
    for (int i = 0; i <= N_THREAD; i++)
        workers[i] = (worker){tokenizer, 0};
    work(&workers[N_THREAD]);
    for (int i = 0; i < N_THREAD; i++)
        cr_assert_eq(pthread_create(&thread[i], NULL, work, &workers[i]), 0);
    for (int i = 0; i < N_THREAD; i++)
        pthread_join(thread[i], NULL);
    for (int i = 0; i < N_THREAD; i++)
        cr_assert_eq(workers[i].failures, workers[N_THREAD].failures);
    cr_assert_eq(workers[0].failures % 1000, 0);
    st_tokenizer_destroy(&tokenizer);
}
#else
Test(tokenizer, none_in_this_build)
{
    static small_vocab vocab;
    small_vocab_init(&vocab, "gpt-2");
    st_tokenizer *tokenizer = NULL;
    cr_assert_eq(st_tokenizer_build(&vocab.source, NULL, &tokenizer, NULL), STERNA_E_UNSUPPORTED);
    cr_assert_null(tokenizer);
}
#endif
