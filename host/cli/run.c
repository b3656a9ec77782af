/* sterna run: text from a model. */
#include "host/cli/run.h"

#include <errno.h>
#include <inttypes.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

/* Positions that are allocated unless asked otherwise: models state up to 262,144, which few machines hold.
 */
enum { DEFAULT_CONTEXT = 4096, CONTEXT_BY_DEFAULT = -1 };

static volatile sig_atomic_t interrupted;

static void on_interrupt(int number)
{
    (void)number;
    interrupted = 1;
}

bool st_run_interrupted(void)
{
    return interrupted != 0;
}

/* The first SIGINT stops in order, the second ends the process. */
static void catch_interrupts(void)
{
    struct sigaction action = {.sa_handler = on_interrupt, .sa_flags = (int)(SA_RESETHAND | SA_RESTART)};
    sigemptyset(&action.sa_mask);
    sigaction(SIGINT, &action, NULL);
}

static bool show_progress(void *user, uint64_t done, uint64_t total)
{
    (void)user;
    if (isatty(STDERR_FILENO)) {
        fprintf(stderr, "\rloading %3.0f %%", total ? 100.0 * (double)done / (double)total : 100.0);
        if (done >= total)
            fprintf(stderr, "\r              \r");
    }
    return !interrupted;
}

static void show_warning(void *user, sterna_log_level level, const char *line)
{
    (void)user;
    if (level == STERNA_LOG_WARN)
        fprintf(stderr, "sterna run: warning: %s\n", line);
}

sterna_token *st_run_tokenize(const st_run *run, const char *text, size_t size, int32_t *n,
                              sterna_error *error)
{
    int64_t needed = sterna_tokenize(run->model, text, size, NULL, 0, true, true, error);
    if (needed < 0)
        return NULL;
    sterna_token *tokens = malloc((size_t)(needed > 0 ? needed : 1) * sizeof *tokens);
    if (!tokens || needed > INT32_MAX) {
        free(tokens);
        error->status = STERNA_E_MEMORY;
        snprintf(error->message, sizeof error->message, "out of memory for %" PRId64 " tokens", needed);
        return NULL;
    }
    sterna_tokenize(run->model, text, size, tokens, (size_t)needed, true, true, error);
    *n = (int32_t)needed;
    return tokens;
}

double st_run_clock(void)
{
    struct timespec now;
    clock_gettime(CLOCK_MONOTONIC, &now);
    return (double)now.tv_sec + 1e-9 * (double)now.tv_nsec;
}

sterna_request st_run_request(const st_run *run)
{
    const st_run_params *p = run->params;
    sterna_request request;
    sterna_request_defaults(&request);
    request.n_predict = p->predict;
    request.ignore_end = p->ignore_eos;
    request.sampling = (sterna_sampling){
        .temperature = p->temp, .top_k = p->top_k, .top_p = p->top_p, .min_p = p->min_p, .seed = p->seed};
    return request;
}

static bool same_file(const char *a, const char *b)
{
    struct stat x, y;
    return a && b && stat(a, &x) == 0 && stat(b, &y) == 0 && x.st_dev == y.st_dev && x.st_ino == y.st_ino;
}

static sterna_status open_output(st_run *run, sterna_error *error)
{
    const st_run_params *p = run->params;
    if (!p->output)
        return STERNA_OK;
    error->status = STERNA_E_IO;
    if (same_file(p->output, p->model) || same_file(p->output, p->batch) || same_file(p->output, p->file)) {
        snprintf(error->message, sizeof error->message, "--output: %s is also an input", p->output);
        return error->status;
    }
    FILE *out = fopen(p->output, "wb");
    if (!out) {
        snprintf(error->message, sizeof error->message, "cannot write to %s: %s", p->output, strerror(errno));
        return error->status;
    }
    run->out = out;
    run->out_name = p->output;
    return STERNA_OK;
}

sterna_status st_run_open_engine(st_run *run, int32_t n_sequence, int64_t n_longest, sterna_error *error)
{
    const st_run_params *p = run->params;
    sterna_engine_params params;
    sterna_engine_defaults(&params);
    params.device = p->device;
    params.n_thread = p->threads;
    params.n_context = n_longest < run->n_context ? (int32_t)n_longest : run->n_context;
    params.n_sequence = n_sequence;
    params.n_batch = p->batch_size;
    params.hash_logits = !p->no_hash;
    params.check = p->check;
    params.log = show_warning;
    params.progress = show_progress;
    catch_interrupts();
    sterna_status status = sterna_engine_open(run->model, &params, &run->engine, error);
    return status == STERNA_OK ? open_output(run, error) : status;
}

bool st_run_write(st_run *run, const void *data, size_t size)
{
    errno = 0;
    if (size > 0 && !run->broken && fwrite(data, 1, size, run->out) != size)
        run->broken = errno ? errno : EIO;
    return !run->broken;
}

bool st_run_flush(st_run *run)
{
    errno = 0;
    if (!run->broken && fflush(run->out) != 0)
        run->broken = errno ? errno : EIO;
    return !run->broken;
}

const char *st_run_finish_name(sterna_finish finish)
{
    static const char *const names[] = {"none", "stop", "length", "cancel", "error"};
    return names[finish];
}

/* ---- statistics ---- */

static void print_rate(const char *label, uint64_t n, double seconds, uint64_t bytes, bool software)
{
    if (n == 0 || seconds <= 0.0)
        return;
    char per_token[16];
    fprintf(stderr, "%s: %" PRIu64 " tokens in %.3f s, %.1f tok/s, %s per token", label, n, seconds,
            (double)n / seconds, st_cli_bytes(bytes / n, per_token));
    if (software)
        fprintf(stderr, " (software device: speed says nothing)\n");
    else
        fprintf(stderr, ", %.2f GB/s\n", (double)bytes / seconds / 1e9);
}

static void print_statistics(const st_run *run)
{
    sterna_statistics s;
    sterna_device_info device;
    sterna_engine_statistics(run->engine, &s);
    if (s.n_step == 0)
        return;
    sterna_engine_device(run->engine, &device);
    char weights[16], kv[16], scratch[16];
    fprintf(stderr, "device: %s, weights %s, KV %s, scratch %s\n", device.name,
            st_cli_bytes(s.weight_bytes, weights), st_cli_bytes(s.kv_bytes, kv),
            st_cli_bytes(s.scratch_bytes, scratch));
    print_rate("prompt", s.n_prompt_token, s.seconds_prompt, s.bytes_prompt, device.software);
    print_rate("decode", s.n_decode_token, s.seconds_decode, s.bytes_decode, device.software);
    if (run->n_generated > 0 && run->seconds > 0.0 && !device.software)
        fprintf(stderr, "total: %" PRIu64 " tokens generated in %.3f s, %.1f tok/s\n", run->n_generated,
                run->seconds, (double)run->n_generated / run->seconds);
    if (s.n_logits_row)
        fprintf(stderr, "logits: %" PRIu64 " rows, hash %016" PRIx64 "\n", s.n_logits_row, s.logits_hash);
}

/* ---- the command ---- */

static int read_prompt(const st_run_params *p, st_bytes *prompt)
{
    if (p->prompt)
        return st_bytes_append(prompt, p->prompt, strlen(p->prompt))
                   ? ST_EXIT_OK
                   : st_cli_fail("run", ST_EXIT_FAILURE, "out of memory for the prompt");
    const char *path = p->file ? p->file : "-", *why;
    if (!st_bytes_read(prompt, path, &why))
        return st_cli_fail("run", ST_EXIT_FAILURE, "cannot read %s: %s", p->file ? p->file : "standard input",
                           why);
    if (prompt->size > 0 && prompt->data[prompt->size - 1] == '\n')
        prompt->size--;
    return ST_EXIT_OK;
}

static int check_usage(const st_run_params *p)
{
    if (!p->model)
        return st_cli_fail("run", ST_EXIT_USAGE, "no model: give one with --model FILE");
    if (p->prompt && p->file)
        return st_cli_fail("run", ST_EXIT_USAGE, "--prompt and --file exclude each other");
    if (p->batch && (p->prompt || p->file))
        return st_cli_fail("run", ST_EXIT_USAGE, "--batch and %s exclude each other",
                           p->prompt ? "--prompt" : "--file");
    if (p->prompt && p->prompt[0] == '\0')
        return st_cli_fail("run", ST_EXIT_USAGE, "--prompt: the prompt is empty");
    if (p->text && !p->batch)
        return st_cli_fail("run", ST_EXIT_USAGE, "--text is for --batch");
    if (!p->prompt && !p->file && !p->batch && isatty(STDIN_FILENO))
        return st_cli_fail("run", ST_EXIT_USAGE,
                           "no prompt: give --prompt, --file or --batch, or text on standard input");
    return ST_EXIT_OK;
}

/* Opens the model and settles the context's size. */
static int open_model(st_run *run)
{
    const st_run_params *p = run->params;
    sterna_error error;
    sterna_model_params params;
    sterna_model_defaults(&params);
    params.log = show_warning;
    sterna_status status = sterna_model_open(p->model, &params, &run->model, &error);
    if (status != STERNA_OK)
        return st_cli_fail("run", ST_EXIT_FAILURE, "%s", error.message);
    sterna_model_info info = {.struct_size = sizeof info};
    sterna_model_describe(run->model, &info);
    run->n_context = p->ctx_size > 0 ? p->ctx_size : info.n_context;
    if (p->ctx_size == CONTEXT_BY_DEFAULT && info.n_context > DEFAULT_CONTEXT)
        run->n_context = DEFAULT_CONTEXT;
    if (run->n_context > info.n_context)
        return st_cli_fail("run", ST_EXIT_USAGE, "--ctx-size: %d, but the model was made for %d positions",
                           p->ctx_size, info.n_context);
    return ST_EXIT_OK;
}

static int run_with_output(st_run *run, const st_bytes *prompt)
{
    int code = open_model(run);
    if (code == ST_EXIT_OK)
        code = run->params->batch ? st_run_batch(run) : st_run_prompt(run, prompt->data, prompt->size);
    if (run->engine)
        print_statistics(run);
    sterna_engine_close(&run->engine);
    sterna_model_close(&run->model);
    return code;
}

static int run_command(const void *params)
{
    const st_run_params *p = params;
    st_run run = {.params = p, .out = stdout, .out_name = "standard output"};
    st_bytes prompt = {0};
    int code = check_usage(p);
    if (code == ST_EXIT_OK && !p->batch)
        code = read_prompt(p, &prompt);
    if (code == ST_EXIT_OK && !p->batch && prompt.size == 0)
        code = st_cli_fail("run", ST_EXIT_FAILURE, "%s: the prompt is empty",
                           p->file ? p->file : "standard input");
    if (code == ST_EXIT_OK) {
        code = run_with_output(&run, &prompt);
        code = run.broken ? st_cli_write_failed("run", run.out_name, run.broken)
                          : st_cli_finish("run", run.out, run.out_name, code);
    }
    if (run.out != stdout && fclose(run.out) != 0 && code == ST_EXIT_OK)
        code = st_cli_fail("run", ST_EXIT_FAILURE, "cannot write to %s: %s", p->output, strerror(errno));
    st_bytes_free(&prompt);
    return code;
}

static void run_defaults(void *params)
{
    *(st_run_params *)params = (st_run_params){.device = "auto",
                                               .predict = -1,
                                               .ctx_size = CONTEXT_BY_DEFAULT,
                                               .batch_size = 512,
                                               .parallel = 16,
                                               .top_k = 40,
                                               .temp = 0.8f,
                                               .top_p = 0.95f,
                                               .min_p = 0.05f};
}

#define AT(field) offsetof(st_run_params, field)
static const st_option options[] = {
    {"--model", "-m", ST_OPTION_TEXT, AT(model), 0, 0, "FILE", "GGUF file with ternary weights"},
    {"--prompt", "-p", ST_OPTION_TEXT, AT(prompt), 0, 0, "TEXT", "text to continue"},
    {"--file", "-f", ST_OPTION_TEXT, AT(file), 0, 0, "FILE",
     "read the prompt from a file (- = standard input)"},
    {"--predict", "-n", ST_OPTION_INT, AT(predict), -1, 1 << 20, "N",
     "tokens to generate at most; -1 = until the model ends or the context is full"},
    {"--ctx-size", "-c", ST_OPTION_INT, AT(ctx_size), -1, 1 << 20, "N",
     "positions per sequence; 0 = as many as the model was made for; -1 = as many, but at most 4096"},
    {"--threads", "-t", ST_OPTION_INT, AT(threads), 0, 256, "N", "CPU threads; 0 = physical cores"},
    {"--batch-size", "-b", ST_OPTION_INT, AT(batch_size), 1, 8192, "N", "tokens per step at most"},
    {"--parallel", "-np", ST_OPTION_INT, AT(parallel), 1, 1024, "N",
     "with --batch: sequences at a time, at most as many as --batch-size"},
    {"--temp", NULL, ST_OPTION_REAL, AT(temp), 0, 1000, "T", "temperature; 0 = always the likeliest token"},
    {"--top-k", NULL, ST_OPTION_INT, AT(top_k), 0, 1 << 20, "K", "keep the K likeliest tokens; 0 = all"},
    {"--top-p", NULL, ST_OPTION_REAL, AT(top_p), 0, 1, "P",
     "keep the likeliest tokens up to this mass; 1 = all"},
    {"--min-p", NULL, ST_OPTION_REAL, AT(min_p), 0, 1, "P",
     "keep tokens with at least P times the likeliest one's probability; 0 = all"},
    {"--seed", "-s", ST_OPTION_SEED, AT(seed), 0, 0, "N", "seed of the sampling"},
    {"--device", NULL, ST_OPTION_TEXT, AT(device), 0, 0, "NAME", "where to run; see sterna devices"},
    {"--ignore-eos", NULL, ST_OPTION_FLAG, AT(ignore_eos), 0, 0, NULL, "go on after end tokens"},
    {"--no-display-prompt", NULL, ST_OPTION_FLAG, AT(no_display_prompt), 0, 0, NULL,
     "print only what was generated"},
    {"--batch", NULL, ST_OPTION_TEXT, AT(batch), 0, 0, "FILE",
     "run the requests of a JSON Lines file (- = standard input)"},
    {"--text", NULL, ST_OPTION_FLAG, AT(text), 0, 0, NULL,
     "with --batch: write prompts and continuations to read, not JSON"},
    {"--output", "-o", ST_OPTION_TEXT, AT(output), 0, 0, "FILE", "write there instead of standard output"},
    {"--no-hash", NULL, ST_OPTION_FLAG, AT(no_hash), 0, 0, NULL,
     "do not read back and hash the logits (faster on GPUs)"},
    {"--check", NULL, ST_OPTION_FLAG, AT(check), 0, 0, NULL,
     "verify the arguments of every operation (slow)"},
};

const st_command st_command_run = {
    .name = "run",
    .summary = "Generate text from a model.",
    .notes =
        "Without --prompt, --file and --batch the prompt is read from standard input. One newline at the "
        "end\n"
        "of a prompt from a file or standard input is dropped.\n"
        "\n"
        "Text goes to standard output as it is generated; statistics and a hash of the logits, which is the\n"
        "same on every device and for every batch size and number of threads, go to standard error.\n"
        "\n"
        "--batch: each line is a JSON object with \"prompt\" and, optionally, \"id\" (string or integer), "
        "\"n\",\n"
        "\"temperature\", \"top_k\", \"top_p\", \"min_p\" and \"seed\", which replace the options. All lines "
        "are\n"
        "checked before the first is run. Each result is one line, written when it is finished: \"index\" "
        "(of\n"
        "the request, from 0), \"id\", \"text\", \"tokens\", \"finish\" (stop, length, cancel or error), "
        "\"n_prompt\",\n"
        "\"n_generated\", \"seconds_queued\", \"seconds_prompt\", \"seconds_decode\".\n"
        "\n"
        "Exit codes: 0 done, 1 failed, 2 wrong usage, 130 interrupted, 141 nobody reads the output.",
    .options = options,
    .n_option = sizeof options / sizeof options[0],
    .params_size = sizeof(st_run_params),
    .defaults = run_defaults,
    .run = run_command,
};
