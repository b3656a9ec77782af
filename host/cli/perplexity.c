/* sterna perplexity: how well a model predicts a text, by llama-perplexity's protocol. */
#include "host/cli/session.h"
#include "host/cli/text.h"

#include <inttypes.h>
#include <jansson.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>

enum {
    MAX_TEXT_BYTES = 1 << 30,
    MIN_CHUNK = 8 /* the error of the estimate needs more than one scored token */
};

typedef struct perplexity_params {
    st_session_params session;
    const char *file;
    int32_t ctx_size, chunks;
    int32_t against; /* 0, or the sterna_head of a second pass + 1 */
    bool json;
} perplexity_params;

typedef struct estimate {
    double sum, squares; /* of -ln p */
    int64_t n;           /* scored tokens */
} estimate;

/* What one head makes of the text. */
typedef struct pass {
    estimate total;
    sterna_token *top; /* [n_chunk][scored tokens of a chunk] the likeliest ones; NULL: nobody asks */
    double seconds;
} pass;

typedef struct scoring {
    const perplexity_params *params;
    st_session session;
    sterna_token *token;
    float *logprob; /* [n_context] */
    int32_t n_token, n_chunk;
    pass own, other; /* other: with the head of --against, after the first engine is gone */
    json_t *running; /* perplexity after each chunk; with --json */
} scoring;

static double perplexity_of(const estimate *e)
{
    return exp(e->sum / (double)e->n);
}

/* Standard error of the perplexity: that of the mean of -ln p, times the slope of exp there. */
static double error_of(const estimate *e)
{
    double mean = e->sum / (double)e->n, variance = e->squares / (double)e->n - mean * mean;
    return variance > 0.0 ? sqrt(variance / (double)(e->n - 1)) * exp(mean) : 0.0;
}

/* ---- text and chunks ---- */

static int read_tokens(scoring *s)
{
    const char *path = s->params->file, *name = strcmp(path, "-") == 0 ? "standard input" : path;
    int32_t n_context = s->session.n_context;
    st_bytes text = {0};
    sterna_error error;
    char why[128];
    if (!st_bytes_read(&text, path, MAX_TEXT_BYTES, why))
        return st_cli_fail("perplexity", ST_EXIT_FAILURE, "cannot read %s: %s", name, why);
    fprintf(stderr, "perplexity: tokenizing the input ..\n");
    double start = st_clock();
    s->token =
        st_session_tokenize(&s->session, text.data ? text.data : "", text.size, false, &s->n_token, &error);
    st_bytes_free(&text);
    if (!s->token)
        return st_cli_fail("perplexity", ST_EXIT_FAILURE, "%s: %s", name, error.message);
    fprintf(stderr, "perplexity: tokenization took %g ms\n", 1e3 * (st_clock() - start));
    if (s->n_token < 2 * (int64_t)n_context)
        return st_cli_fail("perplexity", ST_EXIT_FAILURE,
                           "%s has %d tokens, but chunks of %d need at least %" PRId64
                           " (a smaller --ctx-size needs fewer)",
                           name, s->n_token, n_context, 2 * (int64_t)n_context);
    s->n_chunk = s->n_token / n_context;
    if (s->params->chunks > 0 && s->params->chunks < s->n_chunk)
        s->n_chunk = s->params->chunks;
    return ST_EXIT_OK;
}

static void add_to(estimate *e, const float *logprob, int32_t n)
{
    for (int32_t i = 0; i < n; i++) {
        double nll = -(double)logprob[i];
        e->sum += nll;
        e->squares += nll * nll;
    }
    e->n += n;
}

/* The first token gives way to the model's begin of text, if it wants one; the second half is scored. */
static sterna_status score_chunk(scoring *s, pass *p, int32_t chunk, sterna_error *error)
{
    int32_t n = s->session.n_context, first = n / 2 + 1, n_scored = n - first;
    sterna_token *token = s->token + (size_t)chunk * (size_t)n, kept = token[0];
    sterna_engine *engine = s->session.engine;
    if (s->session.info.add_bos)
        token[0] = s->session.info.bos;
    sterna_status status = p->top ? sterna_score_top(engine, token, n, first, s->logprob,
                                                     p->top + (size_t)chunk * (size_t)n_scored, error)
                                  : sterna_score(engine, token, n, first, s->logprob, error);
    if (status == STERNA_OK)
        add_to(&p->total, s->logprob, n_scored);
    token[0] = kept;
    return status;
}

/* ---- output ---- */

static void show_eta(double seconds, int32_t n_chunk)
{
    int total = (int)(seconds * n_chunk);
    fprintf(stderr, "perplexity: %.2f seconds per pass - ETA ", seconds);
    if (total >= 3600)
        fprintf(stderr, "%d hours ", total / 3600);
    fprintf(stderr, "%.2f minutes\n", (double)(total % 3600) / 60.0);
}

/* False when out of memory. */
static bool show_chunk(scoring *s, int32_t chunk)
{
    double value = perplexity_of(&s->own.total);
    if (s->running)
        return json_array_append_new(s->running, json_real(value)) == 0;
    printf("[%d]%.4f,", chunk + 1, value);
    st_cli_flush(stdout);
    return true;
}

static int score_all(scoring *s, pass *p)
{
    sterna_error error;
    double start = st_clock();
    for (int32_t i = 0; i < s->n_chunk; i++) {
        sterna_status status = score_chunk(s, p, i, &error);
        p->seconds = st_clock() - start;
        if (status == STERNA_E_ABORTED || st_interrupted())
            return st_cli_fail("perplexity", ST_EXIT_INTERRUPTED, "interrupted after %d of %d chunks", i,
                               s->n_chunk);
        if (status != STERNA_OK)
            return st_cli_fail("perplexity", ST_EXIT_FAILURE, "chunk %d: %s", i + 1, error.message);
        if (i == 0)
            show_eta(p->seconds, s->n_chunk);
        if (p == &s->own && !show_chunk(s, i))
            return st_cli_fail("perplexity", ST_EXIT_FAILURE, "out of memory");
        if (ferror(stdout))
            return ST_EXIT_FAILURE; /* st_cli_finish says why */
    }
    return ST_EXIT_OK;
}

/* ---- --against ---- */

static const char *other_name(const scoring *s)
{
    static const char *const names[] = {"f16", "q8"};
    return names[s->params->against - 1];
}

/* How far the perplexity lies above that of the other head, in %. */
static double change_of(const scoring *s)
{
    return 100.0 * (perplexity_of(&s->own.total) / perplexity_of(&s->other.total) - 1.0);
}

static int64_t same_top_of(const scoring *s)
{
    int64_t same = 0;
    for (int64_t i = 0; i < s->own.total.n; i++)
        same += s->own.top[i] == s->other.top[i];
    return same;
}

static void print_comparison(const scoring *s)
{
    int64_t same = same_top_of(s), n = s->own.total.n;
    printf("Head %s: PPL = %.4f; against it PPL %+.4f %%, same top token %.3f %% (%" PRId64 " of %" PRId64
           ")\n",
           other_name(s), perplexity_of(&s->other.total), change_of(s), 100.0 * (double)same / (double)n,
           same, n);
}

static bool add_comparison(const scoring *s, json_t *root)
{
    int64_t same = same_top_of(s);
    json_t *against =
        json_pack("{s:s, s:f, s:f, s:f, s:I}", "head", other_name(s), "perplexity",
                  perplexity_of(&s->other.total), "change_percent", change_of(s), "same_top_percent",
                  100.0 * (double)same / (double)s->own.total.n, "same_top", (json_int_t)same);
    return json_object_set_new(root, "against", against) == 0;
}

/* ---- result ---- */

static bool print_json(scoring *s)
{
    json_t *root = json_pack("{s:f, s:f, s:f, s:i, s:i, s:I, s:i, s:f, s:O}", "perplexity",
                             perplexity_of(&s->own.total), "error", error_of(&s->own.total), "nll",
                             s->own.total.sum, "n_ctx", (int)s->session.n_context, "n_chunk", (int)s->n_chunk,
                             "n_scored", (json_int_t)s->own.total.n, "n_token", (int)s->n_token, "seconds",
                             s->own.seconds, "running", s->running);
    bool done = root && (!s->params->against || add_comparison(s, root)) &&
                json_dumpf(root, stdout, JSON_INDENT(2) | JSON_REAL_PRECISION(17)) == 0;
    json_decref(root);
    putchar('\n');
    return done;
}

static int show_result(scoring *s)
{
    if (!s->running)
        printf("\nFinal estimate: PPL = %.4f +/- %.5f\n", perplexity_of(&s->own.total),
               error_of(&s->own.total));
    if (!s->running && s->params->against)
        print_comparison(s);
    if (s->running && !print_json(s) && !ferror(stdout))
        return st_cli_fail("perplexity", ST_EXIT_FAILURE, "out of memory");
    return ST_EXIT_OK;
}

/* ---- the command ---- */

static int open_engine(scoring *s, int32_t head)
{
    sterna_engine_params params = st_session_engine_params(&s->session, NULL);
    params.n_context = s->session.n_context;
    params.n_sequence = 1;
    params.head = (sterna_head)head;
    st_interrupt_catch(false);
    return st_session_open_engine(&s->session, &params);
}

static int allocate(scoring *s)
{
    size_t n_context = (size_t)s->session.n_context, n_top = n_context * (size_t)s->n_chunk;
    s->logprob = malloc(n_context * sizeof *s->logprob);
    s->running = s->params->json ? json_array() : NULL;
    if (s->params->against) {
        s->own.top = malloc(n_top * sizeof *s->own.top);
        s->other.top = malloc(n_top * sizeof *s->other.top);
    }
    if (!s->logprob || (s->params->json && !s->running) ||
        (s->params->against && (!s->own.top || !s->other.top)))
        return st_cli_fail("perplexity", ST_EXIT_FAILURE, "out of memory");
    return ST_EXIT_OK;
}

/* The second pass. One engine at a time: threads of two would wait for each other. */
static int score_other(scoring *s)
{
    sterna_engine_close(&s->session.engine);
    fprintf(stderr, "perplexity: the same with head %s\n", other_name(s));
    int code = open_engine(s, s->params->against - 1);
    return code == ST_EXIT_OK ? score_all(s, &s->other) : code;
}

static int score_file(scoring *s)
{
    int code = st_session_open_model(&s->session, s->params->ctx_size);
    if (code == ST_EXIT_OK && s->session.n_context < MIN_CHUNK)
        code = st_cli_fail("perplexity", ST_EXIT_USAGE, "--ctx-size: %d, but a chunk needs at least %d",
                           s->session.n_context, MIN_CHUNK);
    if (code == ST_EXIT_OK)
        code = read_tokens(s);
    if (code == ST_EXIT_OK)
        code = open_engine(s, s->params->session.head);
    if (code == ST_EXIT_OK)
        code = allocate(s);
    if (code == ST_EXIT_OK) {
        fprintf(stderr,
                "perplexity: calculating perplexity over %d chunks, n_ctx=%d, batch_size=%d, n_seq=1\n",
                s->n_chunk, s->session.n_context, s->params->session.batch_size);
        code = score_all(s, &s->own);
    }
    if (code == ST_EXIT_OK && s->params->against)
        code = score_other(s);
    return code == ST_EXIT_OK ? show_result(s) : code;
}

static int perplexity_run(const void *params)
{
    const perplexity_params *p = params;
    scoring s = {.params = p, .session = {.command = "perplexity", .params = &p->session}};
    if (!p->session.model)
        return st_cli_fail("perplexity", ST_EXIT_USAGE, "no model: give one with --model FILE");
    if (!p->file)
        return st_cli_fail("perplexity", ST_EXIT_USAGE, "no text: give one with --file FILE");
    if (p->against == p->session.head + 1)
        return st_cli_fail("perplexity", ST_EXIT_USAGE, "--against %s: that is --head itself",
                           other_name(&s));
    int code = score_file(&s);
    st_session_close(&s.session);
    free(s.token);
    free(s.logprob);
    free(s.own.top);
    free(s.other.top);
    json_decref(s.running);
    return st_cli_finish("perplexity", stdout, "standard output", code);
}

static void perplexity_defaults(void *params)
{
    perplexity_params *p = params;
    *p = (perplexity_params){.ctx_size = 512, .chunks = -1};
    st_session_defaults(&p->session);
}

#define AT(field) offsetof(perplexity_params, field)
static const st_option options[] = {
    {"--file", "-f", ST_OPTION_TEXT, AT(file), 0, 0, "FILE", "text to score (- = standard input)"},
    {"--ctx-size", "-c", ST_OPTION_INT, AT(ctx_size), 0, 1 << 20, "N",
     "tokens of a chunk; 0 = as many as the model was made for"},
    {"--chunks", NULL, ST_OPTION_INT, AT(chunks), -1, 1 << 30, "N",
     "score only the first N chunks; 0 or -1 = all"},
    {"--against", NULL, ST_OPTION_CHOICE, AT(against), 0, 0, "none|f16|q8",
     "score with this head, too, and compare with it"},
    {"--json", NULL, ST_OPTION_FLAG, AT(json), 0, 0, NULL, "print one JSON object instead of running values"},
};

static const st_option_table table = {"text and result", options, sizeof options / sizeof options[0]};
static const st_option_group groups[] = {{&st_session_options, AT(session)}, {&table, 0}};

const st_command st_command_perplexity = {
    .name = "perplexity",
    .summary = "Measure how well a model predicts a text.",
    .notes =
        "The protocol is llama-perplexity's, and so are the numbers' meaning: the text is cut into chunks "
        "of\n"
        "--ctx-size tokens; the first token of each is replaced by the model's begin of text, if it wants "
        "one;\n"
        "of each chunk the tokens past the first half are scored, given all before them. The perplexity is\n"
        "exp of the mean of -ln p, its error the standard error of that mean times the perplexity. The text\n"
        "has to fill at least two chunks. Names of control tokens in it are read as plain text.\n"
        "\n"
        "--against: what the other --head makes of the same tokens, by how many % the perplexity differs, "
        "and\n"
        "in how many of the scored places the likeliest token is the same.\n"
        "\n"
        "Standard output: [chunk]perplexity so far, and the final estimate; progress on standard error.\n"
        "--json: \"perplexity\", \"error\", \"nll\" (sum of -ln p), \"n_ctx\", \"n_chunk\", \"n_scored\", "
        "\"n_token\",\n"
        "\"seconds\", \"running\" (perplexity after each chunk), \"against\" (with --against).",
    .groups = groups,
    .n_group = sizeof groups / sizeof groups[0],
    .params_size = sizeof(perplexity_params),
    .defaults = perplexity_defaults,
    .run = perplexity_run,
};
