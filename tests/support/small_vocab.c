#include "tests/support/small_vocab.h"

#include <string.h>

/* By rank: "he" comes before "th" and " t" after "the"; "aa" to "aaaaaaaa" build runs. */
static const char *const merges[][2] = {
    {"h", "e"},           {"l", "l"},       {"a", "a"},       {"aa", "aa"}, {"i", "n"},    {"t", "h"},
    {"t", "he"},          {" ", "t"},       {" t", "he"},     {"he", "ll"}, {"hell", "o"}, {"\xe4", "\xb8"},
    {"\xe4\xb8", "\xad"}, {"1", "2"},       {"12", "3"},      {"\n", "\n"}, {" ", " "},    {"\xf0", "\x9f"},
    {"\xff", "\xfe"},     {"\xc3", "\xa9"}, {"aaaa", "aaaa"}, {"e", "l"},   {"o", "w"},    {"l", "ow"},
};
enum { N_MERGE = sizeof merges / sizeof merges[0] };

int32_t small_byte(unsigned char byte)
{
    return SMALL_BYTE + (byte * 77 + 13) % 256;
}

int32_t small_merged(const char *bytes)
{
    for (int i = 0; i < N_MERGE; i++) {
        size_t n = strlen(merges[i][0]);
        if (strncmp(bytes, merges[i][0], n) == 0 && strcmp(bytes + n, merges[i][1]) == 0)
            return SMALL_MERGED + i;
    }
    return strcmp(bytes, "whole") == 0 ? SMALL_MERGED + N_MERGE : -1;
}

/* The published definition: printable Latin-1 stands for itself, every other byte for the next character
 * from U+0100 on. */
static unsigned char_of_byte(unsigned char byte)
{
    unsigned next = 0x100;
    for (unsigned b = 0; b < 256; b++) {
        bool printable = (b >= '!' && b <= '~') || (b >= 0xa1 && b <= 0xac) || b >= 0xae;
        if (b == byte)
            return printable ? b : next;
        next += !printable;
    }
    return 0;
}

size_t small_spell(const char *bytes, size_t size, char *spelled)
{
    size_t n = 0;
    for (size_t i = 0; i < size; i++) {
        unsigned c = char_of_byte((unsigned char)bytes[i]);
        if (c < 0x80) {
            spelled[n++] = (char)c;
        } else {
            spelled[n++] = (char)(0xc0 | c >> 6);
            spelled[n++] = (char)(0x80 | (c & 0x3f));
        }
    }
    return n;
}

static void set_token(small_vocab *vocab, int32_t id, const char *text, size_t length, int32_t type)
{
    memcpy(vocab->spelled[id], text, length);
    vocab->token[id] = (st_gguf_string){vocab->spelled[id], length};
    vocab->type[id] = type;
}

static void set_merges(small_vocab *vocab)
{
    for (int i = 0; i < N_MERGE; i++) {
        char *to = vocab->spelled_merge[i], both[SMALL_SPELLED];
        size_t n_left = small_spell(merges[i][0], strlen(merges[i][0]), to);
        memcpy(both, to, n_left);
        size_t n_right = small_spell(merges[i][1], strlen(merges[i][1]), to + n_left + 1);
        memcpy(both + n_left, to + n_left + 1, n_right);
        to[n_left] = ' ';
        vocab->merge[i] = (st_gguf_string){to, n_left + 1 + n_right};
        set_token(vocab, SMALL_MERGED + i, both, n_left + n_right, ST_TOKEN_NORMAL);
    }
    set_token(vocab, SMALL_MERGED + N_MERGE, "whole", 5, ST_TOKEN_NORMAL);
}

void small_vocab_init(small_vocab *vocab, const char *pre)
{
    memset(vocab, 0, sizeof *vocab);
    set_token(vocab, SMALL_BOS, "<|begin|>", 9, ST_TOKEN_CONTROL);
    set_token(vocab, SMALL_EOS, "<|end|>", 7, ST_TOKEN_CONTROL);
    set_token(vocab, SMALL_EOT, "<|end|>now", 10, ST_TOKEN_CONTROL);
    set_token(vocab, SMALL_THINK, "<think>", 7, ST_TOKEN_USER);
    set_token(vocab, SMALL_UNUSED, "[PAD0]", 6, ST_TOKEN_UNUSED);
    set_token(vocab, SMALL_UNKNOWN, "<unk>", 5, ST_TOKEN_UNKNOWN);
    set_token(vocab, SMALL_PLAIN, "a b", 3, ST_TOKEN_NORMAL);
    for (int b = 0; b < 256; b++) {
        char byte = (char)b, spelled[2];
        set_token(vocab, small_byte((unsigned char)b), spelled, small_spell(&byte, 1, spelled),
                  ST_TOKEN_NORMAL);
    }
    set_merges(vocab);
    vocab->source = (st_vocab_source){
        .pre = {pre, strlen(pre)},
        .n_token = SMALL_MERGED + N_MERGE + 1,
        .n_type = SMALL_MERGED + N_MERGE + 1,
        .n_merge = N_MERGE,
        .token = vocab->token,
        .type = vocab->type,
        .merge = vocab->merge,
        .add_bos = ST_UNSTATED,
        .add_eos = ST_UNSTATED,
    };
    for (int duty = 0; duty < ST_DUTY_COUNT; duty++)
        vocab->source.duty[duty] = -1;
    vocab->source.duty[ST_DUTY_BOS] = SMALL_BOS;
    vocab->source.duty[ST_DUTY_EOS] = SMALL_EOS;
    vocab->source.duty[ST_DUTY_EOT] = SMALL_EOT;
}

int32_t small_vocab_add(small_vocab *vocab, const char *text, int32_t type)
{
    int32_t id = (int32_t)vocab->source.n_token++;
    assert(id < SMALL_MAX_TOKEN && strlen(text) <= SMALL_SPELLED);
    set_token(vocab, id, text, strlen(text), type);
    vocab->source.n_type = vocab->source.n_token;
    return id;
}
