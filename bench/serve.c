/* sterna-bench serve: how long requests wait that arrive at random. */
#include "bench/commands.h"
#include "bench/drive.h"
#include "bench/setup.h"

#include <errno.h>
#include <inttypes.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>

enum { MAX_REQUEST = 1000000, MAX_SEQUENCE = 1024, MAX_CONTEXT = 1 << 20 };

typedef struct serve_params {
    st_setup_params setup;
    const char *rates, *prompts, *predict, *prefill, *prefix_cache, *clock, *format, *trace;
    int32_t requests, sequences, common;
    float common_share;
    uint64_t seed;
} serve_params;

/* ---- rows ---- */

/* Times in ms, rates per second; in the order of the columns. */
typedef enum figure {
    TTFT_50,
    TTFT_90,
    TTFT_99,
    ITL_50,
    ITL_99,
    E2E_50,
    E2E_99,
    QUEUE_50,
    QUEUE_99,
    OUT_RATE,
    TTFT_MEAN,
    ITL_MEAN,
    E2E_MEAN,
    QUEUE_MEAN,
    REQUEST_RATE,
    N_FIGURE
} figure;

static const st_column columns[] = {
    {"rate", "rate"},
    {"prefill", "prefill"},
    {"prompt_class", "prompts"},
    {"requests", "requests"},
    {"ttft_p50_ms", "ttft p50"},
    {"ttft_p90_ms", "p90"},
    {"ttft_p99_ms", "p99"},
    {"itl_p50_ms", "itl p50"},
    {"itl_p99_ms", "p99"},
    {"e2e_p50_ms", "e2e p50"},
    {"e2e_p99_ms", "p99"},
    {"queue_p50_ms", "queue p50"},
    {"queue_p99_ms", "p99"},
    {"output_tokens_per_second", "out tok/s"},
    {"ttft_mean_ms", NULL},
    {"itl_mean_ms", NULL},
    {"e2e_mean_ms", NULL},
    {"queue_mean_ms", NULL},
    {"requests_per_second", NULL},
    {"prompt_tokens", NULL},
    {"cached_tokens", NULL},
    {"generated_tokens", NULL},
    {"preemptions", NULL},
    {"seconds", NULL},
    /* of the whole run, in its first row */
    {"steps", NULL},
    {"step_seconds", NULL},
    {"host_seconds", NULL},
    {"draft_tokens", NULL},
    {"accepted_tokens", NULL},
    {"requests_inside_max", NULL},
    {"queue_full", NULL},
    {"token_hash", NULL},
};
enum { N_COLUMN = sizeof columns / sizeof columns[0], FIRST_FIGURE = 4, ALL = -1 };

typedef struct sample {
    double *values;
    size_t n;
} sample;

static void add(sample *s, double seconds)
{
    s->values[s->n++] = 1e3 * seconds;
}

static double mean(const sample *s)
{
    double sum = 0.0;
    for (size_t i = 0; i < s->n; i++)
        sum += s->values[i];
    return s->n ? sum / (double)s->n : NAN;
}

/* Counts of the requests of one class, or of ALL. */
typedef struct sums {
    uint64_t n_request, n_prompt, n_cached, n_generated, n_preempted;
} sums;

/* `memory`: room for the three times of each request and for all gaps. */
static void figures_of(const st_drive *d, int class, double *memory, double f[N_FIGURE], sums *total)
{
    const st_workload *w = d->workload;
    size_t room = (size_t)w->n_request;
    sample ttft = {memory, 0}, e2e = {memory + room, 0}, queue = {memory + 2 * room, 0};
    sample itl = {memory + 3 * room, 0};
    *total = (sums){0};
    for (int32_t i = 0; i < w->n_request; i++) {
        const st_arrival *a = &w->arrival[i];
        const st_outcome *o = &d->outcome[i];
        if (class != ALL && a->class != class)
            continue;
        add(&ttft, o->first - a->at);
        add(&e2e, o->last - a->at);
        if (!d->cpu_clock)
            add(&queue, o->submitted - a->at + o->queued);
        for (int32_t g = 0; g < o->n_generated - 1; g++)
            add(&itl, d->gap[o->first_gap + g]);
        total->n_request++;
        total->n_prompt += (uint64_t)a->n_prompt;
        total->n_cached += (uint64_t)o->n_cached;
        total->n_generated += (uint64_t)o->n_generated;
        total->n_preempted += (uint64_t)o->n_preempted;
    }
    f[TTFT_MEAN] = mean(&ttft);
    f[ITL_MEAN] = mean(&itl);
    f[E2E_MEAN] = mean(&e2e);
    f[QUEUE_MEAN] = mean(&queue);
    st_sort(ttft.values, ttft.n);
    st_sort(itl.values, itl.n);
    st_sort(e2e.values, e2e.n);
    st_sort(queue.values, queue.n);
    f[TTFT_50] = st_percentile(ttft.values, ttft.n, 50);
    f[TTFT_90] = st_percentile(ttft.values, ttft.n, 90);
    f[TTFT_99] = st_percentile(ttft.values, ttft.n, 99);
    f[ITL_50] = st_percentile(itl.values, itl.n, 50);
    f[ITL_99] = st_percentile(itl.values, itl.n, 99);
    f[E2E_50] = st_percentile(e2e.values, e2e.n, 50);
    f[E2E_99] = st_percentile(e2e.values, e2e.n, 99);
    f[QUEUE_50] = st_percentile(queue.values, queue.n, 50);
    f[QUEUE_99] = st_percentile(queue.values, queue.n, 99);
    f[OUT_RATE] = (double)total->n_generated / d->seconds;
    f[REQUEST_RATE] = (double)total->n_request / d->seconds;
}

static int cells_of_row(double rate, const char *prefill, const st_mix *mix, int class,
                        const double f[N_FIGURE], st_cell cells[N_COLUMN])
{
    char text[24];
    int n = 0;
    for (int i = 0; i < N_COLUMN; i++)
        cells[i] = st_cell_none();
    cells[n++] = isinf(rate) ? st_cell_text("inf") : st_cell_real(rate);
    cells[n++] = st_cell_text(prefill);
    snprintf(text, sizeof text, "%d", class == ALL ? 0 : mix->length[class]);
    cells[n++] = st_cell_text(class == ALL ? "all" : text);
    n++;
    for (int i = 0; i < N_FIGURE; i++)
        cells[n++] = st_cell_real(f[i]);
    return n;
}

static void report_run(st_report *report, double rate, const char *prefill, const st_drive *d, int class,
                       const double f[N_FIGURE], const sums *s)
{
    st_cell cells[N_COLUMN];
    int n = cells_of_row(rate, prefill, &d->workload->mix, class, f, cells);
    cells[FIRST_FIGURE - 1] = st_cell_count(s->n_request);
    const uint64_t counts[] = {s->n_prompt, s->n_cached, s->n_generated, s->n_preempted};
    for (size_t i = 0; i < sizeof counts / sizeof counts[0]; i++)
        cells[n++] = st_cell_count(counts[i]);
    cells[n++] = st_cell_real(d->seconds);
    if (class == ALL) {
        const sterna_statistics *t = &d->statistics;
        char hash[20];
        uint64_t sum = ST_TOKEN_HASH;
        for (int32_t i = 0; i < d->workload->n_request; i++)
            sum = st_hash_token(st_hash_token(sum, (int32_t)d->outcome[i].hash),
                                (int32_t)(d->outcome[i].hash >> 32));
        snprintf(hash, sizeof hash, "%016" PRIx64, sum);
        cells[n++] = st_cell_count(t->n_step);
        cells[n++] = st_cell_real(t->seconds_prompt + t->seconds_decode);
        cells[n++] = st_cell_real(t->seconds_host);
        cells[n++] = st_cell_count(t->n_draft);
        cells[n++] = st_cell_count(t->n_accepted);
        cells[n++] = st_cell_count((uint64_t)d->n_inside_max);
        cells[n++] = st_cell_count((uint64_t)d->n_busy);
        cells[n++] = st_cell_text(hash);
    }
    st_report_row(report, cells, ST_FOR_ALL);
}

/* ---- every request, for programs ---- */

static const st_column trace_columns[] = {
    {"rate", NULL},         {"prefill", NULL},     {"request", NULL},          {"arrival_s", NULL},
    {"prompt_class", NULL}, {"common", NULL},      {"prompt_tokens", NULL},    {"predict", NULL},
    {"submitted_s", NULL},  {"queue_s", NULL},     {"ttft_s", NULL},           {"e2e_s", NULL},
    {"cached", NULL},       {"preemptions", NULL}, {"generated_tokens", NULL}, {"token_hash", NULL},
};
enum { N_TRACE = sizeof trace_columns / sizeof trace_columns[0] };

static void trace_run(st_report *trace, double rate, const char *prefill, const st_drive *d)
{
    for (int32_t i = 0; i < d->workload->n_request; i++) {
        const st_arrival *a = &d->workload->arrival[i];
        const st_outcome *o = &d->outcome[i];
        char hash[20];
        snprintf(hash, sizeof hash, "%016" PRIx64, o->hash);
        const st_cell cells[N_TRACE] = {
            isinf(rate) ? st_cell_text("inf") : st_cell_real(rate),
            st_cell_text(prefill),
            st_cell_count((uint64_t)i),
            st_cell_real(a->at),
            st_cell_count((uint64_t)d->workload->mix.length[a->class]),
            st_cell_count(a->shared),
            st_cell_count((uint64_t)a->n_prompt),
            st_cell_count((uint64_t)a->n_predict),
            st_cell_real(o->submitted),
            st_cell_real(o->submitted - a->at + o->queued),
            st_cell_real(o->first - a->at),
            st_cell_real(o->last - a->at),
            st_cell_count((uint64_t)o->n_cached),
            st_cell_count((uint64_t)o->n_preempted),
            st_cell_count((uint64_t)o->n_generated),
            st_cell_text(hash),
        };
        st_report_row(trace, cells, ST_FOR_PROGRAMS);
    }
}

static int write_trace(const serve_params *p, const st_report *trace)
{
    errno = 0;
    FILE *out = fopen(p->trace, "w");
    bool fits = !out || st_report_print(trace, ST_FORMAT_CSV, out);
    bool written = out && !ferror(out);
    if (out && fclose(out) != 0)
        written = false;
    if (!fits)
        return st_cli_fail("serve", ST_EXIT_FAILURE, "out of memory for the trace");
    return written ? ST_EXIT_OK : st_cli_write_failed("serve", p->trace, errno);
}

/* ---- running ---- */

typedef struct serve {
    const serve_params *params;
    const sterna_model *model;
    st_workload workload;
    double rates[ST_MAX_LIST];
    int n_rate;
    bool wanted[2]; /* by sterna_prefill */
    bool prefix_cache, cpu_clock;
    int32_t n_vocab;
    st_format format;
    st_report *report, *trace;
    bool has_facts;
} serve;

static const char *const prefill_names[] = {[STERNA_PREFILL_FAIR] = "fair", [STERNA_PREFILL_FIFO] = "fifo"};

static bool go_on(const st_drive *d, double now)
{
    static double shown;
    if (now < shown || now - shown > 0.2) {
        st_setup_progress("%.1f s: %d of %d requests submitted, %d finished", now, d->n_sent,
                          d->workload->n_request, d->n_finished);
        shown = now;
    }
    return !st_setup_interrupted();
}

static int fail_run(const sterna_error *error)
{
    st_setup_progress(NULL);
    if (st_setup_interrupted())
        return ST_EXIT_INTERRUPTED;
    return st_cli_fail("serve", ST_EXIT_FAILURE, "%s", error->message);
}

/* Runs a small workload of other tokens without measuring, so that memory is mapped and clocks are up. */
static sterna_status warm_up(const serve *s, sterna_engine *engine, sterna_error *error)
{
    st_workload small = s->workload;
    small.n_request = s->params->sequences < 8 ? s->params->sequences : 8;
    small.n_common = 0;
    small.mix = (st_mix){.n = 1, .length = {16}, .weight = {1.0}};
    if (st_workload_longest_prompt(&s->workload) < 16)
        small.mix.length[0] = st_workload_longest_prompt(&s->workload);
    small.predict[0] = small.predict[1] = s->workload.predict[1] < 3 ? s->workload.predict[1] : 3;
    small.seed = ~s->workload.seed;
    *error = (sterna_error){.status = STERNA_E_MEMORY, .message = "out of memory"};
    st_drive d = {.workload = &small, .n_vocab = s->n_vocab, .go_on = go_on};
    sterna_status status = STERNA_E_MEMORY;
    if (st_workload_make(&small, INFINITY))
        status = st_drive_run(&d, engine, error);
    st_drive_free(&d);
    st_workload_free(&small);
    return status;
}

/* Facts, once; and whether the clock can see what the device does. */
static int report_facts(serve *s, sterna_engine *engine)
{
    const serve_params *p = s->params;
    sterna_device_info device = {.struct_size = sizeof device};
    sterna_engine_device(engine, &device);
    if (s->cpu_clock && strcmp(device.name, "cpu") != 0 && strcmp(device.name, "ref") != 0)
        return st_cli_fail("serve", ST_EXIT_USAGE, "--clock cpu: it does not see what device %s does",
                           device.name);
    for (int i = 0; i < 2 && !s->has_facts; i++) {
        st_report *r = i ? s->trace : s->report;
        st_setup_facts("serve", &p->setup, s->model, &device, r);
        st_report_fact(r, "sequences", ST_CELL_COUNT, NULL, p->sequences);
        st_report_fact(r, "prompt_mix", ST_CELL_TEXT, p->prompts, 0);
        st_report_fact(r, "common_tokens", ST_CELL_COUNT, NULL, p->common);
        st_report_fact(r, "common_share", ST_CELL_REAL, NULL, s->workload.common_share);
        st_report_fact(r, "predict_range", ST_CELL_TEXT, p->predict, 0);
        st_report_fact(r, "prefix_cache", ST_CELL_TEXT, p->prefix_cache, 0);
        st_report_count(r, "seed", p->seed);
        st_report_fact(r, "clock", ST_CELL_TEXT, p->clock, 0);
        st_report_fact(r, "percentiles", ST_CELL_TEXT, "nearest rank", 0);
    }
    s->has_facts = true;
    return ST_EXIT_OK;
}

/* Plays the workload with one way of prefilling, and fills figures[ALL and classes]. */
static int run_prefill(serve *s, double rate, sterna_prefill prefill, double (*figures)[N_FIGURE])
{
    const serve_params *p = s->params;
    const char *name = prefill_names[prefill];
    st_engine_size size = {.n_sequence = p->sequences,
                           .n_context = st_workload_longest_prompt(&s->workload) + s->workload.predict[1],
                           .prefill = prefill,
                           .prefix_cache = s->prefix_cache};
    sterna_engine *engine = NULL;
    sterna_error error = {0};
    st_setup_progress("opening");
    int code = st_setup_engine("serve", &p->setup, &size, s->model, &engine);
    if (code != ST_EXIT_OK)
        return code;
    code = report_facts(s, engine);
    st_drive d = {.workload = &s->workload, .n_vocab = s->n_vocab, .cpu_clock = s->cpu_clock, .go_on = go_on};
    double *memory = NULL;
    if (code != ST_EXIT_OK) {
        st_setup_progress(NULL);
    } else if (warm_up(s, engine, &error) != STERNA_OK || st_drive_run(&d, engine, &error) != STERNA_OK) {
        code = fail_run(&error);
    } else {
        int64_t n_gap = 0;
        for (int32_t i = 0; i < s->workload.n_request; i++)
            n_gap += s->workload.arrival[i].n_predict;
        memory = calloc(3 * (size_t)s->workload.n_request + (size_t)n_gap, sizeof *memory);
        if (!memory)
            code = st_cli_fail("serve", ST_EXIT_FAILURE, "out of memory for the figures");
    }
    for (int class = ALL; class < s->workload.mix.n && code == ST_EXIT_OK; class ++) {
        sums total;
        figures_of(&d, class, memory, figures[class + 1], &total);
        if (class == ALL || s->workload.mix.n > 1)
            report_run(s->report, rate, name, &d, class, figures[class + 1], &total);
    }
    if (code == ST_EXIT_OK && p->trace)
        trace_run(s->trace, rate, name, &d);
    free(memory);
    st_drive_free(&d);
    sterna_engine_close(&engine);
    return code;
}

static int run_rate(serve *s, double rate)
{
    double figures[2][ST_MAX_LIST + 1][N_FIGURE];
    int code = ST_EXIT_OK;
    if (!st_workload_make(&s->workload, rate))
        return st_cli_fail("serve", ST_EXIT_FAILURE, "out of memory for %d requests", s->params->requests);
    const sterna_prefill order[] = {STERNA_PREFILL_FIFO, STERNA_PREFILL_FAIR};
    for (int i = 0; i < 2 && code == ST_EXIT_OK; i++)
        if (s->wanted[order[i]])
            code = run_prefill(s, rate, order[i], figures[order[i]]);
    bool both = code == ST_EXIT_OK && s->wanted[0] && s->wanted[1];
    for (int class = ALL; class < s->workload.mix.n && both; class ++) {
        double ratio[N_FIGURE];
        st_cell cells[N_COLUMN];
        for (int i = 0; i < N_FIGURE; i++)
            ratio[i] =
                figures[STERNA_PREFILL_FAIR][class + 1][i] / figures[STERNA_PREFILL_FIFO][class + 1][i];
        cells_of_row(rate, "fair/fifo", &s->workload.mix, class, ratio, cells);
        if (class == ALL || s->workload.mix.n > 1)
            st_report_row(s->report, cells, ST_FOR_ALL);
    }
    st_workload_free(&s->workload);
    return code;
}

static int run_all(serve *s)
{
    s->report = st_report_create(columns, N_COLUMN);
    s->trace = st_report_create(trace_columns, N_TRACE);
    int code = s->report && s->trace ? ST_EXIT_OK : st_cli_fail("serve", ST_EXIT_FAILURE, "out of memory");
    for (int i = 0; i < s->n_rate && code == ST_EXIT_OK; i++)
        code = run_rate(s, s->rates[i]);
    st_setup_progress(NULL);
    if (code == ST_EXIT_OK && !st_report_print(s->report, s->format, stdout))
        code = st_cli_fail("serve", ST_EXIT_FAILURE, "out of memory for the report");
    if (code == ST_EXIT_OK && s->params->trace)
        code = write_trace(s->params, s->trace);
    st_report_destroy(s->report);
    st_report_destroy(s->trace);
    return st_cli_finish("serve", stdout, "standard output", code);
}

/* ---- the command ---- */

static int read_lists(const serve_params *p, serve *s)
{
    if (!st_parse_rates(p->rates, s->rates, &s->n_rate))
        return st_cli_fail("serve", ST_EXIT_USAGE,
                           "--rate: '%s' is not a list of at most %d numbers greater than 0", p->rates,
                           ST_MAX_LIST);
    if (!st_parse_mix(p->prompts, MAX_CONTEXT, &s->workload.mix))
        return st_cli_fail("serve", ST_EXIT_USAGE,
                           "--prompts: '%s' is not N,N,... or N,N,...:W,W,... with at most %d numbers of 1 "
                           "... %d and as many weights greater than 0",
                           p->prompts, ST_MAX_LIST, MAX_CONTEXT);
    if (!st_parse_range(p->predict, 1, MAX_CONTEXT, s->workload.predict))
        return st_cli_fail("serve", ST_EXIT_USAGE, "--predict: '%s' is not N or N..M with 1 <= N <= M <= %d",
                           p->predict, MAX_CONTEXT);
    return ST_EXIT_OK;
}

static int read_options(const serve_params *p, serve *s)
{
    *s = (serve){.params = p};
    bool both = strcmp(p->prefill, "both") == 0;
    s->wanted[STERNA_PREFILL_FAIR] = both || strcmp(p->prefill, "fair") == 0;
    s->wanted[STERNA_PREFILL_FIFO] = both || strcmp(p->prefill, "fifo") == 0;
    if (!s->wanted[0] && !s->wanted[1])
        return st_cli_fail("serve", ST_EXIT_USAGE, "--prefill: '%s' is not fair, fifo or both", p->prefill);
    s->prefix_cache = strcmp(p->prefix_cache, "on") == 0;
    if (!s->prefix_cache && strcmp(p->prefix_cache, "off") != 0)
        return st_cli_fail("serve", ST_EXIT_USAGE, "--prefix-cache: '%s' is not on or off", p->prefix_cache);
    s->cpu_clock = strcmp(p->clock, "cpu") == 0;
    if (!s->cpu_clock && strcmp(p->clock, "wall") != 0)
        return st_cli_fail("serve", ST_EXIT_USAGE, "--clock: '%s' is not wall or cpu", p->clock);
    if (s->cpu_clock && p->setup.threads != 1)
        return st_cli_fail("serve", ST_EXIT_USAGE,
                           "--clock cpu: threads that wait count as computing; it needs "
                           "--threads 1");
    if (!st_format_parse(p->format, &s->format))
        return st_cli_fail("serve", ST_EXIT_USAGE, "--output: '%s' is not table, md, csv or json", p->format);
    if (p->sequences > p->setup.batch_size)
        return st_cli_fail("serve", ST_EXIT_USAGE,
                           "--sequences %d: a step of --batch-size %d tokens has no room for so many",
                           p->sequences, p->setup.batch_size);
    s->workload.n_request = p->requests;
    s->workload.n_common = p->common;
    s->workload.common_share = p->common > 0 ? (double)p->common_share : 0.0;
    s->workload.seed = p->seed;
    return read_lists(p, s);
}

static int serve_run(const void *params)
{
    const serve_params *p = params;
    serve s;
    sterna_model *model = NULL;
    int code = read_options(p, &s);
    if (code == ST_EXIT_OK)
        code = st_setup_model("serve", &p->setup, &model);
    if (code == ST_EXIT_OK) {
        sterna_model_info info = {.struct_size = sizeof info};
        sterna_model_describe(model, &info);
        int32_t prompt = st_workload_longest_prompt(&s.workload), predict = s.workload.predict[1];
        s.model = model;
        s.n_vocab = info.n_vocab;
        code = prompt > info.n_context - predict
                   ? st_cli_fail("serve", ST_EXIT_USAGE,
                                 "prompts of up to %d tokens and %d generated ones: the model was made for "
                                 "%d positions",
                                 prompt, predict, info.n_context)
                   : run_all(&s);
    }
    sterna_model_close(&model);
    return code;
}

static void serve_defaults(void *params)
{
    *(serve_params *)params = (serve_params){.setup = st_setup_defaults(),
                                             .rates = "1",
                                             .prompts = "16,64,256:6,3,1",
                                             .predict = "16..64",
                                             .prefill = "fair",
                                             .prefix_cache = "on",
                                             .clock = "wall",
                                             .format = "table",
                                             .requests = 200,
                                             .sequences = 8,
                                             .common_share = 0.5f,
                                             .seed = 1};
}

#define AT(field) offsetof(serve_params, field)
static const st_option options[] = {
    ST_SETUP_ROWS(serve_params, setup),
    {"--rate", "-r", ST_OPTION_TEXT, AT(rates), 0, 0, "R,...",
     "requests per second (Poisson arrivals); inf = all at the start"},
    {"--requests", "-n", ST_OPTION_INT, AT(requests), 1, MAX_REQUEST, "N", "requests of a run"},
    {"--prompts", "-p", ST_OPTION_TEXT, AT(prompts), 0, 0, "N,...:W,...",
     "classes of prompts: tokens and weights"},
    {"--predict", NULL, ST_OPTION_TEXT, AT(predict), 0, 0, "N..M",
     "tokens that a request generates, evenly distributed"},
    {"--sequences", "-s", ST_OPTION_INT, AT(sequences), 1, MAX_SEQUENCE, "N", "sequences at a time"},
    {"--prefill", NULL, ST_OPTION_TEXT, AT(prefill), 0, 0, "WAY",
     "which prompts go first: fair, fifo, or both with the same arrivals and their ratio"},
    {"--prefix-cache", NULL, ST_OPTION_TEXT, AT(prefix_cache), 0, 0, "on|off",
     "share the KV pages of equal beginnings"},
    {"--common", NULL, ST_OPTION_INT, AT(common), 0, MAX_CONTEXT, "N",
     "a system prompt of so many tokens before a share of the prompts"},
    {"--common-share", NULL, ST_OPTION_REAL, AT(common_share), 0, 1, "F", "that share"},
    {"--seed", NULL, ST_OPTION_SEED, AT(seed), 0, 0, "N", "seed of arrivals, lengths and prompts"},
    {"--clock", NULL, ST_OPTION_TEXT, AT(clock), 0, 0, "wall|cpu",
     "cpu: time is the process's computing time (no queue times); for busy machines, on the CPU with -t 1"},
    {"--trace", NULL, ST_OPTION_TEXT, AT(trace), 0, 0, "FILE", "write what became of each request, as CSV"},
    {"--output", "-o", ST_OPTION_TEXT, AT(format), 0, 0, "FORMAT", "table, md, csv or json"},
};

static const st_option_table table = {"options", options, sizeof options / sizeof options[0]};
static const st_option_group groups[] = {{&table, 0}};

const st_command st_command_serve = {
    .name = "serve",
    .summary = "Measure waiting times of requests that arrive at random.",
    .notes =
        "An open loop on one thread: requests are submitted when they are due, whether or not\n"
        "the engine keeps up, and tokens count from the end of their step. All arrivals, lengths and "
        "prompts\n"
        "come from the seed; rates stretch the same arrivals, and every line has a fresh engine after a "
        "short\n"
        "run without measurement. Requests generate greedily to their full length.\n"
        "\n"
        "  ttft    time to first token, from the moment a request was due\n"
        "  itl     time between tokens of a request (0 for several tokens of one step, with --draft)\n"
        "  e2e     from the moment a request was due to its last token\n"
        "  queue   from the moment a request was due to its start in the engine\n"
        "\n"
        "Times are in ms; pN is the smallest time that N % of the values do not exceed (nearest rank). A "
        "rate\n"
        "that the engine cannot keep up with shows in a queue that grows with --requests. CSV and JSON have\n"
        "more columns. Exit codes: 0 done, 1 failed, 2 wrong usage, 130 interrupted.",
    .groups = groups,
    .n_group = sizeof groups / sizeof groups[0],
    .params_size = sizeof(serve_params),
    .defaults = serve_defaults,
    .run = serve_run,
};
