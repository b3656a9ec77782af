/* sterna-bench model: whole models, by the protocols of llama-bench and llama-batched-bench. */
#include "bench/model.h"

#include "bench/commands.h"
#include "bench/measure.h"
#include "bench/setup.h"
#include "host/base/parallel.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

enum { MAX_TOKENS = 1 << 20, MAX_SEQUENCE = 1024, MAX_PAIR = 16 };
#define CEILING_SECONDS 0.1 /* of each loop, before the first test */

typedef struct model_params {
    st_setup_params setup; /* threads and draft are not used */
    const char *prompts, *generate, *batches, *depths, *threads, *format, *compare;
    st_texts pairs;
    int32_t repetitions;
    uint64_t seed;
    bool shared, no_warm_up;
} model_params;

typedef struct series {
    int32_t value[ST_MAX_SERIES];
    int n;
} series;

typedef struct plan {
    const model_params *params;
    series prompt, generate, batch, depth, thread;
    int32_t pair[MAX_PAIR][2];
    int n_pair;
    const sterna_model *model;
    st_model_result *result;
    st_passes passes;
    st_ceilings *ceilings;
    sterna_error error;
} plan;

static int fail(const plan *p)
{
    st_setup_progress(NULL);
    if (st_setup_interrupted())
        return ST_EXIT_INTERRUPTED;
    return st_cli_fail("model", ST_EXIT_FAILURE, "%s", p->error.message);
}

/* ---- rows ---- */

static st_model_row *new_row(plan *p)
{
    st_model_result *r = p->result;
    if (r->n_row == r->room) {
        int room = r->room ? 2 * r->room : 32;
        st_model_row *row = realloc(r->row, (size_t)room * sizeof *row);
        if (!row)
            return NULL;
        r->row = row;
        r->room = room;
    }
    st_model_row *row = &r->row[r->n_row];
    *row = (st_model_row){.n_sample = 0};
    row->seconds = calloc(4 * (size_t)p->params->repetitions, sizeof *row->seconds);
    if (!row->seconds)
        return NULL;
    row->rate = row->seconds + p->params->repetitions;
    row->seconds_2 = row->rate + p->params->repetitions;
    row->rate_2 = row->seconds_2 + p->params->repetitions;
    r->n_row++;
    return row;
}

static void free_rows(st_model_result *r)
{
    for (int i = 0; i < r->n_row; i++)
        free(r->row[i].seconds);
    free(r->row);
}

static void name_row(st_model_row *row)
{
    size_t n = 0;
    if (row->n_prompt && row->n_generate)
        n = (size_t)snprintf(row->test, sizeof row->test, "pp%d+tg%d", row->n_prompt, row->n_generate);
    else
        n = (size_t)snprintf(row->test, sizeof row->test, "%s%d", row->n_prompt ? "pp" : "tg",
                             row->n_prompt ? row->n_prompt : row->n_generate);
    if (row->n_sequence)
        snprintf(row->test + n, sizeof row->test - n, " b%d%s", row->n_sequence,
                 row->shared ? " shared" : "");
    else if (row->depth)
        snprintf(row->test + n, sizeof row->test - n, " @ d%d", row->depth);
    time_t now = time(NULL);
    struct tm utc;
    gmtime_r(&now, &utc);
    strftime(row->time, sizeof row->time, "%Y-%m-%dT%H:%M:%SZ", &utc);
}

/* Neither the ceilings nor the passes before and after share the cores with threads that only wait. */
static void sample_ceilings(plan *p)
{
    if (!p->ceilings)
        return;
    st_settle();
    st_ceilings_sample(p->ceilings);
    st_settle();
}

/* ---- tests of one sequence ---- */

/* One measurement. The tokens before the test, of which the cache keeps the full pages, are the same in all
 * of a test's repetitions. */
static sterna_status run_test(plan *p, int32_t n_prompt, int32_t n_generate, int32_t depth, uint64_t index,
                              st_pass_result *r)
{
    st_passes *s = &p->passes;
    sterna_status status = STERNA_OK;
    st_passes_tokens(s, 0, (uint64_t)depth, true);
    if (depth)
        status = st_pass_prompt(s, 1, depth, r, &p->error);
    if (status != STERNA_OK)
        return status;
    st_passes_tokens(s, depth, UINT64_C(1) << 40 | index, true);
    if (n_prompt && n_generate)
        return st_pass_both(s, depth + n_prompt, n_generate, r, &p->error);
    return n_prompt ? st_pass_prompt(s, 1, depth + n_prompt, r, &p->error)
                    : st_pass_generate(s, 1, depth ? depth : 1, n_generate, r, &p->error);
}

static sterna_status measure_test(plan *p, int machine, int32_t n_prompt, int32_t n_generate, int32_t depth)
{
    st_pass_result r;
    st_model_row *row = new_row(p);
    if (!row) {
        p->error = (sterna_error){STERNA_E_MEMORY, "out of memory for the results"};
        return p->error.status;
    }
    row->n_prompt = n_prompt;
    row->n_generate = n_generate;
    row->depth = depth;
    row->machine = machine;
    name_row(row);
    sterna_status status = STERNA_OK;
    uint64_t index = (uint64_t)p->result->n_row << 20;
    st_setup_progress("%s, %d threads: warming up", row->test, p->result->machine[machine].n_thread);
    if (!p->params->no_warm_up)
        status = run_test(p, n_prompt, n_generate ? 1 : 0, depth, index, &r);
    for (int32_t i = 0; i < p->params->repetitions && status == STERNA_OK; i++) {
        st_setup_progress("%s, %d threads: %d of %d", row->test, p->result->machine[machine].n_thread, i + 1,
                          p->params->repetitions);
        status = run_test(p, n_prompt, n_generate, depth, index + 1 + (uint64_t)i, &r);
        row->seconds[i] = r.seconds;
        row->rate[i] = (double)r.n_token / r.seconds;
        row->n_token += r.n_token;
        row->bytes += r.bytes;
        row->total_seconds += r.seconds;
        row->n_sample++;
    }
    sample_ceilings(p);
    return status;
}

/* ---- many sequences ---- */

static sterna_status run_batched(plan *p, const st_model_row *row, int32_t n_generate, uint64_t index,
                                 st_pass_result *prompt, st_pass_result *generate)
{
    st_passes *s = &p->passes;
    int32_t computed = row->shared ? 1 : row->n_sequence;
    st_passes_tokens(s, 0, UINT64_C(1) << 41 | index, row->shared);
    sterna_status status = st_pass_prompt(s, computed, row->n_prompt, prompt, &p->error);
    return status == STERNA_OK
               ? st_pass_generate(s, row->n_sequence, row->n_prompt, n_generate, generate, &p->error)
               : status;
}

static sterna_status measure_batched(plan *p, int machine, int32_t n_prompt, int32_t n_generate,
                                     int32_t n_sequence)
{
    st_pass_result prompt, generate;
    st_model_row *row = new_row(p);
    if (!row) {
        p->error = (sterna_error){STERNA_E_MEMORY, "out of memory for the results"};
        return p->error.status;
    }
    row->n_prompt = n_prompt;
    row->n_generate = n_generate;
    row->n_sequence = n_sequence;
    row->shared = p->params->shared;
    row->machine = machine;
    name_row(row);
    sterna_status status = STERNA_OK;
    uint64_t index = (uint64_t)p->result->n_row << 20;
    st_setup_progress("%s, %d threads: warming up", row->test, p->result->machine[machine].n_thread);
    if (!p->params->no_warm_up)
        status = run_batched(p, row, 1, index, &prompt, &generate);
    for (int32_t i = 0; i < p->params->repetitions && status == STERNA_OK; i++) {
        st_setup_progress("%s, %d threads: %d of %d", row->test, p->result->machine[machine].n_thread, i + 1,
                          p->params->repetitions);
        status = run_batched(p, row, n_generate, index + 1 + (uint64_t)i, &prompt, &generate);
        row->seconds[i] = prompt.seconds;
        row->rate[i] = (double)prompt.n_token / prompt.seconds;
        row->seconds_2[i] = generate.seconds;
        row->rate_2[i] = (double)generate.n_token / generate.seconds;
        row->n_token += generate.n_token;
        row->bytes += generate.bytes;
        row->total_seconds += generate.seconds;
        row->n_sample++;
    }
    sample_ceilings(p);
    return status;
}

/* ---- engines ---- */

static int32_t largest(const series *s)
{
    int32_t most = 0;
    for (int i = 0; i < s->n; i++)
        most = s->value[i] > most ? s->value[i] : most;
    return most;
}

/* Positions that the tests of one sequence need. */
static int64_t test_positions(const plan *p)
{
    int64_t prompt = largest(&p->prompt), generate = largest(&p->generate), depth = largest(&p->depth);
    for (int i = 0; i < p->n_pair; i++)
        if (p->pair[i][0] + p->pair[i][1] > prompt)
            prompt = p->pair[i][0] + p->pair[i][1];
    int64_t context = depth + prompt + 1;
    int64_t decode = st_pass_positions(1, depth ? depth : 1, (int32_t)generate, p->params->setup.batch_size);
    return context > decode ? context : decode;
}

static int64_t batched_positions(const plan *p)
{
    return st_pass_positions(largest(&p->batch), largest(&p->prompt), largest(&p->generate),
                             p->params->setup.batch_size);
}

static sterna_status open_ceilings(plan *p, int machine)
{
    const sterna_device_info *d = &p->result->device;
    sterna_statistics s = {.struct_size = sizeof s};
    if (p->ceilings || d->software || (strcmp(d->name, "cpu") != 0 && strcmp(d->name, "ref") != 0))
        return STERNA_OK;
    sterna_engine_statistics(p->passes.engine, &s);
    st_setup_progress("ceilings, %d threads", p->result->machine[machine].n_thread);
    return st_ceilings_open(p->result->machine[machine].n_thread, NULL, (size_t)s.weight_bytes,
                            CEILING_SECONDS, &p->ceilings, &p->error);
}

static void note_load(st_model_machine *m, const sterna_engine *engine, double seconds)
{
    sterna_statistics s = {.struct_size = sizeof s};
    if (m->load_seconds > 0.0)
        return;
    sterna_engine_statistics(engine, &s);
    m->load_seconds = seconds;
    m->load_bytes = st_peak_bytes();
    m->kv_bytes = s.kv_bytes;
}

static int open_passes(plan *p, int machine, int32_t n_sequence, int64_t positions)
{
    st_setup_params setup = p->params->setup;
    st_engine_size size = {.n_sequence = n_sequence, .n_context = (int32_t)positions, .prefix_cache = true};
    st_passes *s = &p->passes;
    setup.threads = p->result->machine[machine].n_thread;
    *s = (st_passes){
        .n_vocab = p->result->model.n_vocab, .n_batch = setup.batch_size, .seed = p->params->seed};
    st_setup_progress("opening");
    st_peak_reset();
    double start = st_clock();
    int code = st_setup_engine("model", &setup, &size, p->model, &s->engine);
    if (code != ST_EXIT_OK)
        return code;
    note_load(&p->result->machine[machine], s->engine, st_clock() - start);
    p->result->device = (sterna_device_info){.struct_size = sizeof p->result->device};
    sterna_engine_device(s->engine, &p->result->device);
    if (strcmp(p->result->device.name, "cpu") != 0)
        p->result->machine[machine].n_thread = 1;
    sterna_status status = st_passes_open(s, n_sequence, (int32_t)positions, &p->error);
    return status == STERNA_OK && open_ceilings(p, machine) == STERNA_OK ? ST_EXIT_OK : fail(p);
}

static int measure_tests(plan *p, int machine)
{
    if (p->prompt.n + p->generate.n + p->n_pair == 0)
        return ST_EXIT_OK;
    int code = open_passes(p, machine, 1, test_positions(p));
    sterna_status status = STERNA_OK;
    for (int d = 0; d < p->depth.n && code == ST_EXIT_OK; d++) {
        int32_t depth = p->depth.value[d];
        for (int i = 0; i < p->prompt.n && status == STERNA_OK; i++)
            if (p->prompt.value[i])
                status = measure_test(p, machine, p->prompt.value[i], 0, depth);
        for (int i = 0; i < p->generate.n && status == STERNA_OK; i++)
            if (p->generate.value[i])
                status = measure_test(p, machine, 0, p->generate.value[i], depth);
        for (int i = 0; i < p->n_pair && status == STERNA_OK; i++)
            status = measure_test(p, machine, p->pair[i][0], p->pair[i][1], depth);
        if (status != STERNA_OK)
            code = fail(p);
    }
    st_passes_close(&p->passes);
    return code;
}

static int measure_batches(plan *p, int machine)
{
    if (p->batch.n == 0)
        return ST_EXIT_OK;
    int code = open_passes(p, machine, largest(&p->batch), batched_positions(p));
    sterna_status status = STERNA_OK;
    for (int i = 0; i < p->prompt.n && code == ST_EXIT_OK; i++)
        for (int j = 0; j < p->generate.n && status == STERNA_OK; j++)
            for (int k = 0; k < p->batch.n && status == STERNA_OK; k++)
                if (p->prompt.value[i] && p->generate.value[j])
                    status = measure_batched(p, machine, p->prompt.value[i], p->generate.value[j],
                                             p->batch.value[k]);
    if (code == ST_EXIT_OK && status != STERNA_OK)
        code = fail(p);
    st_passes_close(&p->passes);
    return code;
}

static int measure_all(plan *p)
{
    int code = ST_EXIT_OK;
    for (int t = 0; t < p->thread.n && code == ST_EXIT_OK; t++) {
        st_model_machine *m = &p->result->machine[t];
        m->n_thread = p->thread.value[t];
        code = measure_tests(p, t);
        if (code == ST_EXIT_OK)
            code = measure_batches(p, t);
        m->measured = p->ceilings != NULL;
        if (p->ceilings)
            m->read = *st_ceilings_read(p->ceilings);
        st_ceilings_close(&p->ceilings);
    }
    st_setup_progress(NULL);
    return code;
}

/* ---- the command line ---- */

static int read_series(const char *option, const char *text, int32_t min, int32_t max, series *s)
{
    if (st_parse_series(text, min, max, s->value, &s->n))
        return ST_EXIT_OK;
    return st_cli_fail("model", ST_EXIT_USAGE,
                       "%s: '%s' is not a list of at most %d numbers of %d ... %d, such as 1,8 or 8-64+8 or "
                       "1-64*2",
                       option, text, ST_MAX_SERIES, min, max);
}

static int read_pairs(plan *p)
{
    const st_texts *pairs = &p->params->pairs;
    if (pairs->n > MAX_PAIR)
        return st_cli_fail("model", ST_EXIT_USAGE, "--prompt-generate: given %d times (at most %d)", pairs->n,
                           MAX_PAIR);
    for (; p->n_pair < pairs->n; p->n_pair++) {
        int n;
        int32_t list[ST_MAX_LIST];
        if (!st_parse_counts(pairs->text[p->n_pair], '\0', 1, MAX_TOKENS, list, &n) || n != 2)
            return st_cli_fail("model", ST_EXIT_USAGE,
                               "--prompt-generate: '%s' is not N,M with numbers of 1 ... %d",
                               pairs->text[p->n_pair], MAX_TOKENS);
        memcpy(p->pair[p->n_pair], list, sizeof p->pair[0]);
    }
    return ST_EXIT_OK;
}

static int read_threads(plan *p)
{
    const char *device = p->params->setup.device;
    int cpus = st_usable_cpus();
    p->thread = (series){.value = {st_physical_cores()}, .n = 1};
    if (!p->params->threads)
        return ST_EXIT_OK;
    int code = read_series("--threads", p->params->threads, 1, 256, &p->thread);
    for (int i = 0; i < p->thread.n && code == ST_EXIT_OK; i++)
        if (p->thread.value[i] > cpus)
            code = st_cli_fail("model", ST_EXIT_USAGE, "--threads %d: this process may run on %d processor%s",
                               p->thread.value[i], cpus, cpus == 1 ? "" : "s");
    if (code == ST_EXIT_OK && strcmp(device, "cpu") != 0 && strcmp(device, "auto") != 0)
        code = st_cli_fail("model", ST_EXIT_USAGE, "--threads is for the cpu device, not for %s", device);
    return code;
}

static int read_format(const char *name, st_model_format *format)
{
    static const char *const names[] = {"table", "md", "csv", "json", "jsonl"};
    for (int i = 0; i < 5; i++)
        if (strcmp(name, names[i]) == 0) {
            *format = (st_model_format)i;
            return ST_EXIT_OK;
        }
    return st_cli_fail("model", ST_EXIT_USAGE, "--output: '%s' is not table, md, csv, json or jsonl", name);
}

static int read_plan(plan *p)
{
    const model_params *q = p->params;
    int code = read_format(q->format, &p->result->format);
    if (code == ST_EXIT_OK)
        code = read_series("--prompt", q->prompts, 0, MAX_TOKENS, &p->prompt);
    if (code == ST_EXIT_OK)
        code = read_series("--generate", q->generate, 0, MAX_TOKENS, &p->generate);
    if (code == ST_EXIT_OK && q->batches)
        code = read_series("--batches", q->batches, 1, MAX_SEQUENCE, &p->batch);
    if (code == ST_EXIT_OK)
        code = read_series("--depth", q->depths, 0, MAX_TOKENS, &p->depth);
    if (code == ST_EXIT_OK)
        code = read_pairs(p);
    if (code == ST_EXIT_OK)
        code = read_threads(p);
    if (code != ST_EXIT_OK)
        return code;
    if (q->shared && !q->batches)
        return st_cli_fail("model", ST_EXIT_USAGE, "--shared-prompt is for --batches");
    if (largest(&p->batch) > q->setup.batch_size)
        return st_cli_fail("model", ST_EXIT_USAGE,
                           "--batches %d: a step of --batch-size %d tokens has no room for so many",
                           largest(&p->batch), q->setup.batch_size);
    if (p->batch.n && (largest(&p->prompt) == 0 || largest(&p->generate) == 0))
        return st_cli_fail("model", ST_EXIT_USAGE,
                           "--batches needs a length of --prompt and one of --generate other than 0");
    if (largest(&p->prompt) == 0 && largest(&p->generate) == 0 && p->n_pair == 0)
        return st_cli_fail("model", ST_EXIT_USAGE, "nothing to measure: --prompt and --generate are 0");
    return ST_EXIT_OK;
}

static int check_model(const plan *p)
{
    int64_t test = test_positions(p), batched = p->batch.n ? batched_positions(p) : 0;
    int64_t most = test > batched ? test : batched;
    if (most <= p->result->model.n_context)
        return ST_EXIT_OK;
    return st_cli_fail("model", ST_EXIT_USAGE, "these tests need %lld positions: the model was made for %d",
                       (long long)most, p->result->model.n_context);
}

static void name_cpu(st_model_result *r)
{
    for (int i = 0; i < sterna_device_count(); i++) {
        sterna_device_info info = {.struct_size = sizeof info};
        sterna_device_describe(i, &info);
        if (strcmp(info.name, "cpu") == 0)
            snprintf(r->cpu, sizeof r->cpu, "%s", info.description);
    }
}

static int model_run(const void *params)
{
    const model_params *q = params;
    st_model_result result = {.n_batch = q->setup.batch_size,
                              .repetitions = q->repetitions,
                              .head = q->setup.head == STERNA_HEAD_Q8 ? "q8" : "f16"};
    plan p = {.params = q, .result = &result};
    sterna_model *model = NULL;
    st_compare *compare = NULL;
    int code = read_plan(&p);
    if (code == ST_EXIT_OK && q->compare)
        code = st_compare_open("model", q->compare, st_model_keys, st_model_n_key, &compare);
    if (code == ST_EXIT_OK)
        code = st_setup_model("model", &q->setup, &model);
    if (code == ST_EXIT_OK) {
        result.file = q->setup.model ? q->setup.model : q->setup.shape.shape;
        result.model.struct_size = sizeof result.model;
        sterna_model_describe(model, &result.model);
        name_cpu(&result);
        p.model = model;
        code = check_model(&p);
    }
    if (code == ST_EXIT_OK)
        code = measure_all(&p);
    if (code == ST_EXIT_OK)
        code = st_model_report(&result, compare, stdout);
    free_rows(&result);
    st_compare_close(&compare);
    sterna_model_close(&model);
    return st_cli_finish("model", stdout, "standard output", code);
}

static void model_defaults(void *params)
{
    *(model_params *)params = (model_params){.setup = st_setup_defaults(),
                                             .prompts = "512",
                                             .generate = "128",
                                             .depths = "0",
                                             .format = "md",
                                             .repetitions = 5,
                                             .seed = 1};
}

#define AT(field) offsetof(model_params, field)
static const st_option options[] = {
    {"--model", "-m", ST_OPTION_TEXT, AT(setup.model), 0, 0, "FILE", "GGUF file with ternary weights"},
    ST_SHAPE_ROWS(model_params, setup.shape),
    {"--model-dir", NULL, ST_OPTION_TEXT, AT(setup.model_dir), 0, 0, "DIR",
     "with --shape: keep the file there and use it again; default: a temporary file"},
    {"--prompt", "-p", ST_OPTION_TEXT, AT(prompts), 0, 0, "N,...",
     "tests ppN: a prompt of N tokens; 0 = none"},
    {"--generate", "-n", ST_OPTION_TEXT, AT(generate), 0, 0, "N,...",
     "tests tgN: N tokens, one at a time; 0 = none"},
    {"--prompt-generate", "-pg", ST_OPTION_TEXTS, AT(pairs), 0, 0, "N,M",
     "tests ppN+tgM: one after the other"},
    {"--batches", "-b", ST_OPTION_TEXT, AT(batches), 0, 0, "N,...",
     "beside the tests: N sequences at a time, for each pair of --prompt and --generate"},
    {"--shared-prompt", "-pps", ST_OPTION_FLAG, AT(shared), 0, 0, NULL,
     "of --batches: all have the same prompt"},
    {"--depth", "-d", ST_OPTION_TEXT, AT(depths), 0, 0, "N,...", "positions before each test, not timed"},
    {"--threads", "-t", ST_OPTION_TEXT, AT(threads), 0, 0, "N,...", "CPU threads; default: physical cores"},
    {"--repetitions", "-r", ST_OPTION_INT, AT(repetitions), 1, 1000, "N", "measurements of each test"},
    {"--no-warmup", NULL, ST_OPTION_FLAG, AT(no_warm_up), 0, 0, NULL,
     "without the first run that is not counted"},
    {"--batch-size", NULL, ST_OPTION_INT, AT(setup.batch_size), 1, 8192, "N", "tokens per step at most"},
    ST_HEAD_ROW(AT(setup.head)),
    {"--device", NULL, ST_OPTION_TEXT, AT(setup.device), 0, 0, "NAME",
     "where to run; sterna devices lists them"},
    {"--seed", NULL, ST_OPTION_SEED, AT(seed), 0, 0, "N", "seed of the tokens"},
    {"--compare", NULL, ST_OPTION_TEXT, AT(compare), 0, 0, "FILE",
     "set the rows of an earlier -o json or jsonl beside these"},
    {"--output", "-o", ST_OPTION_TEXT, AT(format), 0, 0, "FORMAT", "md, table, csv, json or jsonl"},
};

static const st_option_table table = {"options", options, sizeof options / sizeof options[0]};
static const st_option_group groups[] = {{&table, 0}};

const st_command st_command_model = {
    .name = "model",
    .summary = "Measure whole models as llama-bench and llama-batched-bench do.",
    .notes =
        "Lists are of numbers and ranges a-b, a-b+step, a-b*factor; all combinations run. Tokens are random\n"
        "and chosen greedily; sampling is part of the time.\n"
        "\n"
        "  t/s        tokens per second: mean +- standard deviation over the repetitions. Where a depth is "
        "no\n"
        "             multiple of 64, the rest of its last page is computed and counted with the prompt.\n"
        "  MB/token   weights and KV that had to move, per token\n"
        "  GB/s       the same per second\n"
        "  read %     of the bandwidth of reading as many bytes as the model has (at most 1 GiB) with as "
        "many\n"
        "             threads, measured in the same run: the share of the least time that memory allows\n"
        "\n"
        "--batches: PP tokens of prompt for each of B sequences in T_PP seconds, then TG steps of B tokens "
        "in\n"
        "T_TG; S_PP, S_TG and S are tokens per second, N_KV the positions in the cache at the end; MB/token "
        "to\n"
        "read % are those of the TG steps. JSON, JSON lines and CSV have the fields of both programs, as far "
        "as\n"
        "there is something behind them, and ours. For drafts, shared prefixes and mixed steps see "
        "throughput.\n"
        "\n"
        "load: seconds until an engine is open, and the most memory that was resident by then, with the "
        "pages of\n"
        "the file that are mapped; a file that is not in the page cache is read from its disk meanwhile.\n"
        "\n"
        "--compare: x faster is t/s / old t/s +- the deviations of both; within them the verdict is "
        "\"same\".\n"
        "Exit codes: 0 done, 1 failed, 2 wrong usage, 130 interrupted.",
    .groups = groups,
    .n_group = sizeof groups / sizeof groups[0],
    .params_size = sizeof(model_params),
    .defaults = model_defaults,
    .run = model_run,
};
