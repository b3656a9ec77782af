#include "host/model/tokenizer_parts.h"

#include <string.h>

/* White space is spelled out because engines differ in what their \s is (PCRE2's has U+180E). These are the
 * characters with Unicode's White_Space property, as in the engines the models were trained with. */
#define SPACE                                                                                                \
    "\\x{9}-\\x{d}\\x{20}\\x{85}\\x{a0}\\x{1680}\\x{2000}-\\x{200a}\\x{2028}\\x{2029}\\x{202f}\\x{205f}\\x{" \
    "3000}"

/* The family of expressions that began with cl100k: `letter` is one letter, `other` the classes that are not
 * "other characters", `digits` how numbers are cut. */
#define CL100K(letter, other, digits)                                                                        \
    "(?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\\r\\n\\p{L}\\p{N}]?" letter "+|" digits "| ?[^" SPACE other             \
    "]+[\\r\\n]*|[" SPACE "]*[\\r\\n]+|[" SPACE "]+(?![^" SPACE "])|[" SPACE "]+"
#define GPT2                                                                                                 \
    "'s|'t|'re|'ve|'m|'ll|'d| ?\\p{L}+| ?\\p{N}+| ?[^" SPACE "\\p{L}\\p{N}]+|[" SPACE "]+(?![^" SPACE        \
    "])|[" SPACE "]+"
#define LLAMA3      CL100K("\\p{L}", "\\p{L}\\p{N}", "\\p{N}{1,3}")
#define QWEN2       CL100K("\\p{L}", "\\p{L}\\p{N}", "\\p{N}")
#define QWEN35      CL100K("[\\p{L}\\p{M}]", "\\p{L}\\p{M}\\p{N}", "\\p{N}")
#define PUNCTUATION "\\p{P}$+<=>^~|"

enum { MAX_STAGE = 4 };

typedef struct scheme {
    const char *names;            /* separated by spaces, the usual one first */
    const char *stage[MAX_STAGE]; /* each splits what the one before left whole or cut out */
    bool add_bos, whole_pieces;
} scheme;

static const scheme schemes[] = {
    {"llama-bpe llama3 llama-v3 falcon3 falcon-h1 pixtral midm-2.0 lfm2", {LLAMA3}, true, true},
    {"dbrx smaug-bpe", {LLAMA3}, false, false},
    {"qwen2 deepseek-r1-qwen stablelm2 hunyuan", {QWEN2}, false, false},
    {"qwen35", {QWEN35}, false, false},
    {"gpt-2 phi-2 mpt olmo jais trillion", {GPT2}, false, false},
    {"smollm starcoder refact command-r exaone minerva-7b codeshell", {"\\p{N}", GPT2}, false, false},
    {"falcon", {"[" PUNCTUATION "`]+", GPT2, "[0-9][0-9][0-9]"}, false, false},
    {"default", {"[" PUNCTUATION "]+", GPT2, "\\p{N}+", "[0-9][0-9][0-9]"}, false, false},
};
enum { N_SCHEME = sizeof schemes / sizeof schemes[0] };

/* Copies the next name of a list to `name`; returns the list's rest, NULL past the last. */
static const char *next_name(const char *list, char name[ST_MAX_NAME])
{
    size_t length = strcspn(list, " ");
    if (length == 0)
        return NULL;
    assert(length < ST_MAX_NAME);
    memcpy(name, list, length);
    name[length] = '\0';
    return list + length + (list[length] == ' ');
}

/* Finds the scheme of a name, which is copied to `name`. */
static const scheme *find_scheme(st_gguf_string pre, char name[ST_MAX_NAME])
{
    for (int i = 0; i < N_SCHEME; i++)
        for (const char *list = schemes[i].names; (list = next_name(list, name)) != NULL;)
            if (st_gguf_string_is(pre, name))
                return &schemes[i];
    return NULL;
}

static sterna_status unknown_pre(st_gguf_string pre, sterna_error *error)
{
    char known[400] = "";
    size_t length = 0;
    for (int i = 0; i < N_SCHEME; i++) {
        size_t n = strlen(schemes[i].names);
        assert(length + n + 2 < sizeof known);
        memcpy(known + length, schemes[i].names, n);
        known[length + n] = ' ';
        length += n + 1;
    }
    known[length - 1] = '\0';
    int shown = pre.length < 40 ? (int)pre.length : 40;
    return st_fail(error, STERNA_E_UNSUPPORTED, "unknown pre-tokenizer \"%.*s\"; known are: %s", shown,
                   pre.data, known);
}

#if STERNA_TEXT

#define PCRE2_CODE_UNIT_WIDTH 8
#include <pcre2.h>

struct st_split {
    const scheme *scheme;
    char name[ST_MAX_NAME];
    int n_stage;
    pcre2_code *code[MAX_STAGE];
    pcre2_match_context *limits;
};

static sterna_status compile(const char *expression, pcre2_code **code, sterna_error *error)
{
    int number;
    PCRE2_SIZE at;
    *code = pcre2_compile((PCRE2_SPTR)expression, PCRE2_ZERO_TERMINATED, PCRE2_UTF | PCRE2_UCP, &number, &at,
                          NULL);
    if (!*code) {
        PCRE2_UCHAR text[160];
        pcre2_get_error_message(number, text, sizeof text);
        return st_fail(error, number == PCRE2_ERROR_NOMEMORY ? STERNA_E_MEMORY : STERNA_E_UNSUPPORTED,
                       "PCRE2 does not compile a pre-tokenizer expression: %s at %zu", (char *)text,
                       (size_t)at);
    }
    /* Where there is no JIT (processor, or a system that forbids writable code) pcre2_match interprets. */
    (void)pcre2_jit_compile(*code, PCRE2_JIT_COMPLETE);
    return STERNA_OK;
}

sterna_status st_split_create(st_gguf_string pre, st_split **out, sterna_error *error)
{
    *out = NULL;
    char name[ST_MAX_NAME];
    const scheme *found = find_scheme(pre, name);
    if (!found)
        return unknown_pre(pre, error);
    st_split *split = st_calloc(1, sizeof *split);
    if (!split)
        return st_fail(error, STERNA_E_MEMORY, "no memory for the pre-tokenizer");
    split->scheme = found;
    memcpy(split->name, name, sizeof name);
    sterna_status status = STERNA_OK;
    while (!status && split->n_stage < MAX_STAGE && found->stage[split->n_stage]) {
        status = compile(found->stage[split->n_stage], &split->code[split->n_stage], error);
        split->n_stage++;
    }
    if (!status && !(split->limits = pcre2_match_context_create(NULL)))
        status = st_fail(error, STERNA_E_MEMORY, "no memory for the pre-tokenizer");
    if (status) {
        st_split_destroy(split);
        return status;
    }
    /* The expressions backtrack at most once over a run, so that a long text is no runaway match. */
    pcre2_set_match_limit(split->limits, UINT32_MAX);
    pcre2_set_depth_limit(split->limits, UINT32_MAX);
    *out = split;
    return STERNA_OK;
}

void st_split_destroy(st_split *split)
{
    if (!split)
        return;
    for (int i = 0; i < split->n_stage; i++)
        pcre2_code_free(split->code[i]);
    pcre2_match_context_free(split->limits);
    st_free(split);
}

/* One call of st_split_text. */
typedef struct walk {
    const st_split *split;
    pcre2_match_data *match;
    st_piece_fn fn;
    void *context;
    sterna_error *error;
} walk;

/* The first match of a stage's expression at or after `at`: *from ... *to, both `size` if there is none. */
static sterna_status find(const walk *w, int stage, const char *text, size_t size, size_t at, size_t *from,
                          size_t *to)
{
    const pcre2_code *code = w->split->code[stage];
    PCRE2_SPTR subject = (PCRE2_SPTR)text;
    int n = pcre2_match(code, subject, size, at, PCRE2_NO_UTF_CHECK, w->match, w->split->limits);
    if (n == PCRE2_ERROR_JIT_STACKLIMIT)
        n = pcre2_match(code, subject, size, at, PCRE2_NO_UTF_CHECK | PCRE2_NO_JIT, w->match,
                        w->split->limits);
    if (n == PCRE2_ERROR_NOMATCH) {
        *from = *to = size;
        return STERNA_OK;
    }
    if (n < 0) {
        PCRE2_UCHAR message[160];
        pcre2_get_error_message(n, message, sizeof message);
        return st_fail(w->error, n == PCRE2_ERROR_NOMEMORY ? STERNA_E_MEMORY : STERNA_E_LIMIT,
                       "pre-tokenizer %s: %s (%d) at byte %zu of a text of %zu", w->split->name,
                       (char *)message, n, at, size);
    }
    const PCRE2_SIZE *range = pcre2_get_ovector_pointer(w->match);
    *from = range[0];
    *to = range[1];
    assert(*to > *from); /* no expression matches nothing */
    return STERNA_OK;
}

/* Cuts the text at the matches of this stage, and the parts by the stages after it. Recursion is as deep as
 * there are stages. */
static sterna_status split_stage(const walk *w, int stage, const char *text, size_t size)
{
    if (size == 0)
        return STERNA_OK;
    if (stage == w->split->n_stage)
        return w->fn(w->context, text, size);
    sterna_status status = STERNA_OK;
    for (size_t at = 0; at < size && !status;) {
        size_t from = 0, to = 0;
        status = find(w, stage, text, size, at, &from, &to);
        if (!status)
            status = split_stage(w, stage + 1, text + at, from - at);
        if (!status)
            status = split_stage(w, stage + 1, text + from, to - from);
        at = to;
    }
    return status;
}

static size_t utf8_run(const char *text, size_t size)
{
    size_t run = 0;
    for (size_t length; run < size && (length = st_utf8_char(text + run, size - run, NULL)) > 0;)
        run += length;
    return run;
}

sterna_status st_split_text(const st_split *split, const char *text, size_t size, st_piece_fn fn,
                            void *context, sterna_error *error)
{
    walk w = {split, pcre2_match_data_create(1, NULL), fn, context, error};
    if (!w.match)
        return st_fail(error, STERNA_E_MEMORY, "no memory for the pre-tokenizer");
    sterna_status status = STERNA_OK;
    for (size_t at = 0; at < size && !status;) {
        size_t run = utf8_run(text + at, size - at);
        if (run > 0) {
            status = split_stage(&w, 0, text + at, run);
        } else {
            run = 1;
            status = fn(context, text + at, 1);
        }
        at += run;
    }
    pcre2_match_data_free(w.match);
    return status;
}

#else /* no PCRE2: nothing makes a splitter, so that the others are never called */

struct st_split {
    const scheme *scheme;
    char name[ST_MAX_NAME];
};

sterna_status st_split_create(st_gguf_string pre, st_split **out, sterna_error *error)
{
    char name[ST_MAX_NAME];
    *out = NULL;
    if (!find_scheme(pre, name))
        return unknown_pre(pre, error);
    return st_fail(error, STERNA_E_UNSUPPORTED, "this build has no tokenizer (STERNA_TEXT is off)");
}

void st_split_destroy(st_split *split)
{
    assert(!split);
    (void)split;
}

sterna_status st_split_text(const st_split *split, const char *text, size_t size, st_piece_fn fn,
                            void *context, sterna_error *error)
{
    (void)split, (void)text, (void)size, (void)fn, (void)context;
    return st_fail(error, STERNA_E_UNSUPPORTED, "this build has no tokenizer (STERNA_TEXT is off)");
}

#endif

const char *st_split_name(const st_split *split)
{
    return split->name;
}

bool st_split_add_bos(const st_split *split)
{
    return split->scheme->add_bos;
}

bool st_split_whole_pieces(const st_split *split)
{
    return split->scheme->whole_pieces;
}
