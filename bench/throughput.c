/* sterna-bench throughput: many sequences at a time, all from the start to the end. */
#include "bench/commands.h"
#include "bench/lists.h"
#include "bench/measure.h"
#include "bench/setup.h"

#include <inttypes.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>

enum { MAX_SEQUENCE = 1024, MAX_CONTEXT = 1 << 20, WARM_PROMPT = 16, WARM_PREDICT = 3 };

typedef struct throughput_params {
    st_setup_params setup;
    const char *sequences, *format;
    int32_t prompt, prefix, predict, repetitions;
    uint64_t seed;
} throughput_params;

/* One repetition. Steps and their tokens are sorted as in sterna_statistics: `prompt` or `decode`. */
typedef struct run {
    double seconds; /* from the first request to the last event */
    double seconds_prompt, seconds_decode, host_prompt, host_decode;
    uint64_t n_prompt_step, n_decode_step, bytes_prompt, bytes_decode;
    uint64_t n_prompt_row, n_decode_row; /* computed, drafts included */
    uint64_t n_prompt, n_generated;      /* tokens of the requests */
    uint64_t n_generated_decode;         /* those that came out of decode steps */
    uint64_t n_cached, n_draft, n_accepted;
    uint64_t hash; /* of the generated tokens, in the order of requests and positions */
} run;

/* What a count of sequences is measured with. */
typedef struct bench {
    const throughput_params *params;
    sterna_engine *engine;
    sterna_device_info device;
    sterna_model_info info;
    int32_t n_sequence, n_sent;
    sterna_token *tokens; /* [n_sequence][prompt] */
    sterna_request_id id[MAX_SEQUENCE];
    uint64_t hash[MAX_SEQUENCE];
} bench;

/* ---- running ---- */

static sterna_status submit(bench *b, int32_t n_prompt, int32_t n_predict, sterna_error *error)
{
    sterna_request request;
    sterna_request_defaults(&request);
    request.prompt = b->tokens + (size_t)b->n_sent * (size_t)b->params->prompt;
    request.n_prompt = n_prompt;
    request.n_predict = n_predict;
    request.n_draft = -1;
    request.temperature = 0.0f;
    request.ignore_end = true;
    b->hash[b->n_sent] = ST_TOKEN_HASH;
    sterna_status status = sterna_submit(b->engine, &request, &b->id[b->n_sent], error);
    b->n_sent += status == STERNA_OK;
    return status;
}

/* Takes the events of a step; returns how many tokens they carried, or a negative status. */
static int64_t take_events(bench *b, sterna_error *error)
{
    int64_t n_token = 0;
    const sterna_event *event;
    while ((event = sterna_next(b->engine))) {
        int32_t i = 0;
        while (i < b->n_sent && b->id[i] != event->id)
            i++;
        if (event->finish == STERNA_FINISH_ERROR) {
            *error = event->error;
            return event->error.status;
        }
        if (event->token < 0 || i == b->n_sent)
            continue;
        b->hash[i] = st_hash_token(b->hash[i], event->token);
        n_token++;
    }
    return n_token;
}

static void add_step(run *r, const sterna_statistics *before, const sterna_statistics *after, int64_t n_token)
{
    double host = after->seconds_host - before->seconds_host;
    bool decode = after->n_decode_token > before->n_decode_token;
    *(decode ? &r->host_decode : &r->host_prompt) += host;
    *(decode ? &r->n_decode_step : &r->n_prompt_step) += 1;
    r->n_generated += (uint64_t)n_token;
    r->n_generated_decode += decode ? (uint64_t)n_token : 0;
}

/* Runs n_sequence requests to their end. */
static sterna_status run_requests(bench *b, int32_t n_prompt, int32_t n_predict, run *r, sterna_error *error)
{
    sterna_statistics before = {.struct_size = sizeof before}, after = before;
    sterna_engine_statistics(b->engine, &before);
    const sterna_statistics start = before;
    sterna_status status = STERNA_OK;
    r->seconds = st_clock();
    b->n_sent = 0;
    for (int64_t left = 1; left > 0;) {
        while (b->n_sent < b->n_sequence && status == STERNA_OK)
            status = submit(b, n_prompt, n_predict, error);
        if (status != STERNA_OK && status != STERNA_E_BUSY) /* busy: the queue is full, steps make room */
            return status;
        status = STERNA_OK;
        if ((left = sterna_step(b->engine, error)) < 0)
            return (sterna_status)left;
        int64_t n_token = take_events(b, error);
        if (n_token < 0)
            return (sterna_status)n_token;
        sterna_engine_statistics(b->engine, &after);
        add_step(r, &before, &after, n_token);
        before = after;
    }
    r->seconds = st_clock() - r->seconds;
    r->seconds_prompt = after.seconds_prompt - start.seconds_prompt;
    r->seconds_decode = after.seconds_decode - start.seconds_decode;
    r->bytes_prompt = after.bytes_prompt - start.bytes_prompt;
    r->bytes_decode = after.bytes_decode - start.bytes_decode;
    r->n_prompt_row = after.n_prompt_token - start.n_prompt_token;
    r->n_decode_row = after.n_decode_token - start.n_decode_token;
    r->n_cached = after.n_cached - start.n_cached;
    r->n_draft = after.n_draft - start.n_draft;
    r->n_accepted = after.n_accepted - start.n_accepted;
    r->n_prompt = (uint64_t)b->n_sequence * (uint64_t)n_prompt;
    r->hash = ST_TOKEN_HASH;
    for (int32_t i = 0; i < b->n_sequence; i++)
        r->hash = st_hash_token(st_hash_token(r->hash, (int32_t)b->hash[i]), (int32_t)(b->hash[i] >> 32));
    return STERNA_OK;
}

/* New prompts for each repetition, so that no pages are left of them; the common prefix is the same within
 * one. */
static void make_prompts(bench *b, int32_t repetition)
{
    const throughput_params *p = b->params;
    uint64_t base = st_stream(p->seed, (uint64_t)repetition);
    for (int32_t i = 0; i < b->n_sequence; i++) {
        sterna_token *at = b->tokens + (size_t)i * (size_t)p->prompt;
        uint64_t common = st_stream(base, 0), own = st_stream(base, 1 + (uint64_t)i);
        st_draw_tokens(&common, b->info.n_vocab, at, p->prefix);
        st_draw_tokens(&own, b->info.n_vocab, at + p->prefix, p->prompt - p->prefix);
    }
}

/* ---- results ---- */

typedef enum figure {
    PROMPT_RATE,
    DECODE_RATE,
    TOTAL_RATE,
    STEP_MS,
    HOST_US,
    HOST_PERCENT,
    DECODE_HOST_PERCENT,
    TOKEN_BYTES,
    BANDWIDTH,
    ACCEPTED,
    N_FIGURE
} figure;

static void figures_of(const run *r, bool software, double f[N_FIGURE])
{
    f[PROMPT_RATE] = (double)r->n_prompt_row / r->seconds_prompt;
    f[DECODE_RATE] = (double)r->n_generated_decode / r->seconds_decode;
    f[TOTAL_RATE] = (double)(r->n_prompt + r->n_generated) / r->seconds;
    f[STEP_MS] = 1e3 * r->seconds_decode / (double)r->n_decode_step;
    f[HOST_US] = 1e6 * r->host_decode / (double)r->n_decode_step;
    f[HOST_PERCENT] = 100.0 * (r->host_prompt + r->host_decode) / (r->seconds_prompt + r->seconds_decode);
    f[DECODE_HOST_PERCENT] = 100.0 * r->host_decode / r->seconds_decode;
    f[TOKEN_BYTES] = (double)r->bytes_decode / (double)r->n_generated_decode;
    f[BANDWIDTH] = software ? NAN : 1e-9 * (double)r->bytes_decode / r->seconds_decode;
    f[ACCEPTED] = r->n_draft ? 100.0 * (double)r->n_accepted / (double)r->n_draft : NAN;
}

enum { FIRST_FIGURE = 3 };

static const st_column columns[] = {
    {"sequences", "seqs"},
    {"kind", NULL},
    {"repetition", NULL},
    {"prompt_tokens_per_second", "prompt tok/s"},
    {"decode_tokens_per_second", "decode tok/s"},
    {"total_tokens_per_second", "total tok/s"},
    {"decode_step_ms", "ms/step"},
    {"decode_host_us", "host us/step"},
    {"host_percent", NULL},
    {"decode_host_percent", "host %"},
    {"bytes_per_token", "bytes/token"},
    {"gigabytes_per_second", "GB/s"},
    {"draft_accepted_percent", "drafts right %"},
    {"seconds", NULL},
    {"prompt_seconds", NULL},
    {"decode_seconds", NULL},
    {"prompt_host_seconds", NULL},
    {"decode_host_seconds", NULL},
    {"prompt_steps", NULL},
    {"decode_steps", NULL},
    {"prompt_step_tokens", NULL},
    {"decode_step_tokens", NULL},
    {"prompt_tokens", NULL},
    {"cached_tokens", NULL},
    {"generated_tokens", NULL},
    {"decode_generated_tokens", NULL},
    {"prompt_bytes", NULL},
    {"decode_bytes", NULL},
    {"draft_tokens", NULL},
    {"accepted_tokens", NULL},
    {"step_overhead_seconds", NULL},
    {"token_hash", NULL},
};
enum { N_COLUMN = sizeof columns / sizeof columns[0] };

static void report_run(st_report *report, const bench *b, int32_t repetition, const run *r)
{
    double f[N_FIGURE];
    char hash[20];
    figures_of(r, b->device.software, f);
    st_cell cells[N_COLUMN];
    int n = 0;
    cells[n++] = st_cell_count((uint64_t)b->n_sequence);
    cells[n++] = st_cell_text("run");
    cells[n++] = st_cell_count((uint64_t)repetition);
    for (int i = 0; i < N_FIGURE; i++)
        cells[n++] = st_cell_real(f[i]);
    const double seconds[] = {r->seconds, r->seconds_prompt, r->seconds_decode, r->host_prompt,
                              r->host_decode};
    for (size_t i = 0; i < sizeof seconds / sizeof seconds[0]; i++)
        cells[n++] = st_cell_real(seconds[i]);
    const uint64_t counts[] = {r->n_prompt_step, r->n_decode_step, r->n_prompt_row, r->n_decode_row,
                               r->n_prompt,      r->n_cached,      r->n_generated,  r->n_generated_decode,
                               r->bytes_prompt,  r->bytes_decode,  r->n_draft,      r->n_accepted};
    for (size_t i = 0; i < sizeof counts / sizeof counts[0]; i++)
        cells[n++] = st_cell_count(counts[i]);
    cells[n++] = st_cell_real(r->seconds - r->seconds_prompt - r->seconds_decode);
    snprintf(hash, sizeof hash, "%016" PRIx64, r->hash);
    cells[n++] = st_cell_text(hash);
    st_report_row(report, cells, ST_FOR_PROGRAMS);
}

/* Medians over the repetitions, and the spread (largest - smallest) in % of them. */
static void report_median(st_report *report, const bench *b, const run *runs)
{
    enum { MAX_REPETITION = 1000 };
    static const bool with_spread[N_FIGURE] = {
        [PROMPT_RATE] = true, [DECODE_RATE] = true, [TOTAL_RATE] = true, [STEP_MS] = true};
    st_cell cells[N_COLUMN];
    int32_t n = b->params->repetitions;
    for (int i = 0; i < N_COLUMN; i++)
        cells[i] = st_cell_none();
    cells[0] = st_cell_count((uint64_t)b->n_sequence);
    cells[1] = st_cell_text("median");
    double f[N_FIGURE], values[MAX_REPETITION], spread[N_FIGURE];
    for (int i = 0; i < N_FIGURE; i++) {
        for (int32_t r = 0; r < n; r++) {
            figures_of(&runs[r], b->device.software, f);
            values[r] = f[i];
        }
        st_sort(values, (size_t)n);
        double median = st_median(values, (size_t)n);
        spread[i] = 100.0 * (values[n - 1] - values[0]) / median;
        cells[FIRST_FIGURE + i] =
            with_spread[i] && n > 1 ? st_cell_spread(median, spread[i]) : st_cell_real(median);
    }
    st_report_row(report, cells, ST_FOR_ALL);
    cells[1] = st_cell_text("spread_percent");
    for (int i = 0; i < N_FIGURE; i++)
        cells[FIRST_FIGURE + i] = st_cell_real(spread[i]);
    st_report_row(report, cells, ST_FOR_PROGRAMS);
}

/* ---- the command ---- */

static int fail_run(const sterna_error *error)
{
    st_setup_progress(NULL);
    if (st_setup_interrupted())
        return ST_EXIT_INTERRUPTED;
    return st_cli_fail("throughput", ST_EXIT_FAILURE, "%s", error->message);
}

static int measure_with(bench *b, run *runs, st_report *report)
{
    const throughput_params *p = b->params;
    sterna_error error = {0};
    run warm = {0};
    int32_t warm_prompt = p->prompt < WARM_PROMPT ? p->prompt : WARM_PROMPT;
    int32_t warm_predict = p->predict < WARM_PREDICT ? p->predict : WARM_PREDICT;
    st_setup_progress("sequences %d: warming up", b->n_sequence);
    make_prompts(b, 0);
    if (run_requests(b, warm_prompt, warm_predict, &warm, &error) != STERNA_OK)
        return fail_run(&error);
    for (int32_t i = 0; i < p->repetitions; i++) {
        st_setup_progress("sequences %d: repetition %d of %d", b->n_sequence, i + 1, p->repetitions);
        runs[i] = (run){0};
        make_prompts(b, i + 1);
        if (run_requests(b, p->prompt, p->predict, &runs[i], &error) != STERNA_OK)
            return fail_run(&error);
        report_run(report, b, i + 1, &runs[i]);
    }
    report_median(report, b, runs);
    return ST_EXIT_OK;
}

static int measure(bench *b, const sterna_model *model, run *runs, st_report *report, bool first)
{
    const throughput_params *p = b->params;
    st_engine_size size = {
        .n_sequence = b->n_sequence, .n_context = p->prompt + p->predict, .prefix_cache = p->prefix > 0};
    st_setup_progress("sequences %d: opening", b->n_sequence);
    int code = st_setup_engine("throughput", &p->setup, &size, model, &b->engine);
    if (code != ST_EXIT_OK)
        return code;
    b->device = (sterna_device_info){.struct_size = sizeof b->device};
    sterna_engine_device(b->engine, &b->device);
    if (first) {
        st_setup_facts("throughput", &p->setup, model, &b->device, report);
        st_report_fact(report, "prompt", ST_CELL_COUNT, NULL, p->prompt);
        st_report_fact(report, "prefix", ST_CELL_COUNT, NULL, p->prefix);
        st_report_fact(report, "predict", ST_CELL_COUNT, NULL, p->predict);
        st_report_fact(report, "repetitions", ST_CELL_COUNT, NULL, p->repetitions);
        st_report_count(report, "seed", p->seed);
    }
    code = measure_with(b, runs, report);
    sterna_engine_close(&b->engine);
    return code;
}

static int measure_all(const throughput_params *p, const sterna_model *model, const int32_t *list, int n,
                       st_format format)
{
    int32_t most = 0;
    for (int i = 0; i < n; i++)
        most = list[i] > most ? list[i] : most;
    bench *b = calloc(1, sizeof *b);
    run *runs = calloc((size_t)p->repetitions, sizeof *runs);
    sterna_token *tokens = calloc((size_t)most * (size_t)p->prompt, sizeof *tokens);
    st_report *report = st_report_create(columns, N_COLUMN);
    int code = b && runs && tokens && report ? ST_EXIT_OK
                                             : st_cli_fail("throughput", ST_EXIT_FAILURE, "out of memory");
    if (code == ST_EXIT_OK) {
        b->params = p;
        b->tokens = tokens;
        b->info.struct_size = sizeof b->info;
        sterna_model_describe(model, &b->info);
    }
    for (int i = 0; i < n && code == ST_EXIT_OK; i++) {
        b->n_sequence = list[i];
        code = measure(b, model, runs, report, i == 0);
    }
    st_setup_progress(NULL);
    if (code == ST_EXIT_OK && !st_report_print(report, format, stdout))
        code = st_cli_fail("throughput", ST_EXIT_FAILURE, "out of memory for the report");
    st_report_destroy(report);
    free(tokens);
    free(runs);
    free(b);
    return st_cli_finish("throughput", stdout, "standard output", code);
}

static int check_sizes(const throughput_params *p, const sterna_model *model, const int32_t *list, int n)
{
    sterna_model_info info = {.struct_size = sizeof info};
    sterna_model_describe(model, &info);
    if (p->prompt + p->predict > info.n_context)
        return st_cli_fail("throughput", ST_EXIT_USAGE,
                           "--prompt %d and --predict %d: the model was made for %d positions", p->prompt,
                           p->predict, info.n_context);
    for (int i = 0; i < n; i++)
        if (list[i] > p->setup.batch_size)
            return st_cli_fail("throughput", ST_EXIT_USAGE,
                               "--sequences %d: a step of --batch-size %d tokens has no room for so many",
                               list[i], p->setup.batch_size);
    return ST_EXIT_OK;
}

static int throughput_run(const void *params)
{
    const throughput_params *p = params;
    int32_t list[ST_MAX_LIST];
    int n;
    st_format format;
    if (!st_format_parse(p->format, &format))
        return st_cli_fail("throughput", ST_EXIT_USAGE, "--output: '%s' is not table, md, csv or json",
                           p->format);
    if (!st_parse_counts(p->sequences, '\0', 1, MAX_SEQUENCE, list, &n))
        return st_cli_fail("throughput", ST_EXIT_USAGE,
                           "--sequences: '%s' is not a list of at most %d numbers of 1 ... %d", p->sequences,
                           ST_MAX_LIST, MAX_SEQUENCE);
    if (p->prefix >= p->prompt)
        return st_cli_fail("throughput", ST_EXIT_USAGE,
                           "--prefix %d: it has to be shorter than --prompt, which is %d", p->prefix,
                           p->prompt);
    sterna_model *model = NULL;
    int code = st_setup_model("throughput", &p->setup, &model);
    if (code == ST_EXIT_OK)
        code = check_sizes(p, model, list, n);
    if (code == ST_EXIT_OK)
        code = measure_all(p, model, list, n, format);
    sterna_model_close(&model);
    return code;
}

static void throughput_defaults(void *params)
{
    *(throughput_params *)params = (throughput_params){.setup = st_setup_defaults(),
                                                       .sequences = "1,8,32",
                                                       .format = "table",
                                                       .prompt = 128,
                                                       .predict = 64,
                                                       .repetitions = 3,
                                                       .seed = 1};
}

#define AT(field) offsetof(throughput_params, field)
static const st_option options[] = {
    ST_SETUP_ROWS(throughput_params, setup),
    {"--sequences", "-s", ST_OPTION_TEXT, AT(sequences), 0, 0, "N,...", "sequences at a time"},
    {"--prompt", "-p", ST_OPTION_INT, AT(prompt), 1, MAX_CONTEXT, "N", "tokens of each prompt"},
    {"--prefix", NULL, ST_OPTION_INT, AT(prefix), 0, MAX_CONTEXT, "N",
     "leading tokens that all prompts have in common, computed once in pages of 64"},
    {"--predict", "-n", ST_OPTION_INT, AT(predict), 2, MAX_CONTEXT, "N", "tokens to generate for each"},
    {"--repetitions", "-r", ST_OPTION_INT, AT(repetitions), 1, 1000, "N", "measurements of each line"},
    {"--seed", NULL, ST_OPTION_SEED, AT(seed), 0, 0, "N", "seed of the prompts"},
    {"--output", "-o", ST_OPTION_TEXT, AT(format), 0, 0, "FORMAT", "table, md, csv or json"},
};

static const st_option_table table = {"options", options, sizeof options / sizeof options[0]};
static const st_option_group groups[] = {{&table, 0}};

const st_command st_command_throughput = {
    .name = "throughput",
    .summary = "Measure continuous batching: tokens per second for numbers of sequences.",
    .notes =
        "All requests of a line are submitted at once and generate greedily to their full length; prompts "
        "are\n"
        "random tokens, new ones for each repetition. A short run without measurement comes first.\n"
        "\n"
        "  prompt tok/s    tokens computed per second in steps that have a prompt's token in them\n"
        "  decode tok/s    tokens generated per second in the other steps\n"
        "  total tok/s     tokens of all prompts and texts, by the clock on the wall\n"
        "  ms/step, host   duration of a decode step, and the engine's part of it, while the device waits\n"
        "  bytes/token     bytes of weights and KV that decode steps had to move, per generated token\n"
        "  drafts right    share of the draft tokens that were the model's own (--draft)\n"
        "\n"
        "Figures are medians over the repetitions, +- the difference of the extremes in %. CSV and JSON "
        "also\n"
        "have each repetition, with counts, seconds, and a hash of the generated tokens, which depends only\n"
        "on model, seed and sizes. Exit codes: 0 done, 1 failed, 2 wrong usage, 130 interrupted.",
    .groups = groups,
    .n_group = sizeof groups / sizeof groups[0],
    .params_size = sizeof(throughput_params),
    .defaults = throughput_defaults,
    .run = throughput_run,
};
