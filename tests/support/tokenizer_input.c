#include "tests/support/tokenizer_input.h"
#include "tests/support/small_vocab.h"

#include <stdlib.h>
#include <string.h>

static const char *const pres[8] = {"llama-bpe", "dbrx",   "qwen2",  "qwen35",
                                    "gpt-2",     "smollm", "falcon", "default"};

/* Made once and kept: making one takes far longer than an input. */
static const st_tokenizer *tokenizer_of(int pre)
{
    static st_tokenizer *made[8];
    static small_vocab vocab;
    if (!made[pre]) {
        small_vocab_init(&vocab, pres[pre]);
        st_tokenizer_build(&vocab.source, NULL, &made[pre], NULL);
    }
    return made[pre];
}

static bool is_control(sterna_token id)
{
    return id == SMALL_BOS || id == SMALL_EOS || id == SMALL_EOT || id == SMALL_UNKNOWN;
}

/* Takes the bytes 0x01 out of the text, which becomes *length long, and makes spans of what every second one
 * of them has before it. Returns their number. */
static size_t take_spans(char *text, size_t *length, st_span *span)
{
    size_t n = 0, to = 0, from = 0;
    bool inside = false;
    for (size_t i = 0; i <= *length; i++) {
        if (i < *length && text[i] != 1) {
            text[to++] = text[i];
            continue;
        }
        if (inside && to > from)
            span[n++] = (st_span){from, to};
        inside = !inside;
        from = to;
    }
    *length = to;
    return n;
}

static bool touches(const st_span *span, size_t n_span, size_t from, size_t to)
{
    for (size_t i = 0; i < n_span; i++)
        if (from < span[i].to && to > span[i].from)
            return true;
    return false;
}

static const char *compare_quoted(const st_tokenizer *tokenizer, char *text, size_t length, bool bos,
                                  sterna_token *ids, char *back, st_span *span)
{
    size_t n_span = take_spans(text, &length, span), at = 0;
    const st_quotes quotes = {span, n_span, NULL, 0};
    ids[length + bos] = -7;
    int64_t n = st_tokenizer_encode_quoted(tokenizer, text, length, &quotes, bos, ids, length + bos, NULL);
    if (n < bos || (size_t)n > length + bos || ids[length + bos] != -7)
        return "the number of tokens is out of bounds";
    for (int64_t i = bos; i < n; i++) {
        int piece = st_tokenizer_piece(tokenizer, ids[i], back + at, length - at, true);
        if (piece <= 0 || (size_t)piece > length - at)
            return "a token is longer than the rest of the text";
        if (is_control(ids[i]) && touches(span, n_span, at, at + (size_t)piece))
            return "quoted text became a control token";
        at += (size_t)piece;
    }
    return at == length && memcmp(back, text, length) == 0 ? NULL : "the text came back changed";
}

/* `ids` and `back` have room for one more element than needed, which must stay as it is. */
static const char *compare(const st_tokenizer *tokenizer, const char *text, size_t length, bool add_special,
                           bool parse_special, sterna_token *ids, char *back)
{
    const size_t max = length + 1; /* a token has at least one byte, except BOS */
    ids[max] = -7;
    int64_t n = st_tokenizer_encode(tokenizer, text, length, ids, max, add_special, parse_special, NULL);
    if (n < 0 || (size_t)n > max)
        return "the number of tokens is out of bounds";
    if (ids[max] != -7)
        return "ids were written out of bounds";
    size_t first = add_special && st_tokenizer_add_bos(tokenizer), at = 0;
    if (first && ids[0] != SMALL_BOS)
        return "BOS is missing";
    for (size_t i = first; i < (size_t)n; i++) {
        if (ids[i] < 0 || ids[i] >= st_tokenizer_size(tokenizer))
            return "an id is out of range";
        if (!parse_special && (ids[i] == SMALL_BOS || ids[i] == SMALL_EOS || ids[i] == SMALL_EOT))
            return "text became a control token unasked";
        int piece = st_tokenizer_piece(tokenizer, ids[i], back + at, length - at, true);
        if (piece <= 0 || (size_t)piece > length - at)
            return "a token is longer than the rest of the text";
        at += (size_t)piece;
    }
    return at == length && memcmp(back, text, length) == 0 ? NULL : "the text came back changed";
}

const char *tokenizer_try_input(const uint8_t *data, size_t size)
{
    if (size < 1)
        return NULL;
    const st_tokenizer *tokenizer = tokenizer_of(data[0] & 7);
    if (!tokenizer)
        return "the tokenizer was not made";
    size_t length = size - 1;
    char *text = malloc(length + 1), *back = malloc(length + 1);
    sterna_token *ids = malloc((length + 2) * sizeof *ids);
    st_span *span = malloc((length + 1) * sizeof *span);
    const char *wrong = "no memory";
    if (text && back && ids && span) {
        memcpy(text, data + 1, length);
        wrong = data[0] & 32 ? compare_quoted(tokenizer, text, length, data[0] & 8, ids, back, span)
                             : compare(tokenizer, text, length, data[0] & 8, data[0] & 16, ids, back);
    }
    free(text);
    free(back);
    free(ids);
    free(span);
    return wrong;
}
