/* sterna run: text from a model. */
#include "host/cli/run.h"

#include <errno.h>
#include <inttypes.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

enum { MAX_PROMPT_BYTES = 64 << 20 }; /* of a prompt's file: a context holds at most 2^20 tokens */

sterna_request st_run_request(const st_run *run)
{
    sterna_request request = st_sampling_request(&run->params->sampling);
    st_lists_set(&run->lists, &request);
    request.n_sample = run->params->samples;
    request.n_logprob = run->params->logprobs > 0 ? run->params->logprobs : 0;
    return request;
}

/* ---- engine and output ---- */

static bool same_file(const char *a, const char *b)
{
    struct stat x, y;
    return a && b && stat(a, &x) == 0 && stat(b, &y) == 0 && x.st_dev == y.st_dev && x.st_ino == y.st_ino;
}

int st_run_check_output(const st_run *run)
{
    const st_run_params *p = run->params;
    if (same_file(p->output, p->session.model) || same_file(p->output, p->batch) ||
        same_file(p->output, p->file))
        return st_cli_fail("run", ST_EXIT_FAILURE, "--output: %s is also an input", p->output);
    return ST_EXIT_OK;
}

int st_run_open_output(st_run *run, const char *mode)
{
    const st_run_params *p = run->params;
    if (!p->output)
        return ST_EXIT_OK;
    if (st_run_check_output(run) != ST_EXIT_OK)
        return ST_EXIT_FAILURE;
    FILE *out = fopen(p->output, mode);
    if (!out)
        return st_cli_fail("run", ST_EXIT_FAILURE, "cannot write to %s: %s", p->output, strerror(errno));
    run->out = out;
    run->out_name = p->output;
    return ST_EXIT_OK;
}

int st_run_open_engine(st_run *run, int64_t n_sequence, int64_t n_longest, int32_t n_draft)
{
    const st_run_params *p = run->params;
    sterna_engine_params params = st_session_engine_params(&run->session, &p->context);
    int32_t n_context = run->session.n_context;
    int32_t most = p->parallel < params.n_batch ? p->parallel : params.n_batch;
    params.n_sequence = n_sequence < most ? (int32_t)n_sequence : most;
    params.n_context = n_longest < n_context ? (int32_t)n_longest : n_context;
    params.n_draft = n_draft;
    params.hash_logits = !p->no_hash;
    st_interrupt_catch(false);
    return st_session_open_engine(&run->session, &params);
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
    sterna_statistics s = {.struct_size = sizeof s};
    sterna_device_info device = {.struct_size = sizeof device};
    sterna_engine_statistics(run->session.engine, &s);
    if (s.n_step == 0)
        return;
    sterna_engine_device(run->session.engine, &device);
    char weights[16], kv[16], scratch[16];
    fprintf(stderr, "device: %s, weights %s, KV %s, scratch %s\n", device.name,
            st_cli_bytes(s.weight_bytes, weights), st_cli_bytes(s.kv_bytes, kv),
            st_cli_bytes(s.scratch_bytes, scratch));
    print_rate("prompt", s.n_prompt_token, s.seconds_prompt, s.bytes_prompt, device.software);
    print_rate("decode", s.n_decode_token, s.seconds_decode, s.bytes_decode, device.software);
    if (s.n_cached)
        fprintf(stderr, "cached: %" PRIu64 " tokens of prompts were there already\n", s.n_cached);
    if (s.n_draft)
        fprintf(stderr, "drafts: %" PRIu64 " of %" PRIu64 " tokens accepted, %.0f %%\n", s.n_accepted,
                s.n_draft, 100.0 * (double)s.n_accepted / (double)s.n_draft);
    if (s.n_preempted)
        fprintf(stderr,
                "preempted: %" PRIu64 " times a sequence gave its memory back and was computed again\n",
                s.n_preempted);
    if (run->n_generated > 0 && run->seconds > 0.0 && !device.software)
        fprintf(stderr, "total: %" PRIu64 " tokens generated in %.3f s, %.1f tok/s\n", run->n_generated,
                run->seconds, (double)run->n_generated / run->seconds);
    if (s.n_logits_row)
        fprintf(stderr, "logits: %" PRIu64 " rows, hash %016" PRIx64 "\n", s.n_logits_row, s.logits_hash);
}

/* ---- the command ---- */

static int read_prompt(const st_run_params *p, st_bytes *prompt)
{
    const char *name = p->file && strcmp(p->file, "-") != 0 ? p->file : "standard input";
    char why[128];
    if (p->prompt)
        return st_bytes_append(prompt, p->prompt, strlen(p->prompt))
                   ? ST_EXIT_OK
                   : st_cli_fail("run", ST_EXIT_FAILURE, "out of memory for the prompt");
    if (!st_bytes_read(prompt, p->file ? p->file : "-", MAX_PROMPT_BYTES, why))
        return st_cli_fail("run", ST_EXIT_FAILURE, "cannot read %s: %s", name, why);
    if (prompt->size > 0 && prompt->data[prompt->size - 1] == '\n')
        prompt->size--;
    return prompt->size > 0 ? ST_EXIT_OK
                            : st_cli_fail("run", ST_EXIT_FAILURE, "%s: the prompt is empty", name);
}

static int check_usage(const st_run_params *p)
{
    if (!p->session.model)
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
    if (p->text && p->json)
        return st_cli_fail("run", ST_EXIT_USAGE, "--text and --json exclude each other");
    if (p->logprobs >= 0 && (p->text || !(p->batch || p->json)))
        return st_cli_fail("run", ST_EXIT_USAGE,
                           "--logprobs needs JSON results: --json, or --batch without --text");
    if (p->resume && !(p->batch && p->output))
        return st_cli_fail("run", ST_EXIT_USAGE, "--resume needs --batch and --output");
    if (p->resume && p->text)
        return st_cli_fail("run", ST_EXIT_USAGE, "--resume needs JSON results, not --text");
    if (!p->prompt && !p->file && !p->batch && isatty(STDIN_FILENO))
        return st_cli_fail("run", ST_EXIT_USAGE,
                           "no prompt: give --prompt, --file or --batch, or text on standard input");
    return ST_EXIT_OK;
}

static int run_with_output(st_run *run, const st_bytes *prompt)
{
    const st_run_params *p = run->params;
    int code = st_session_open_model(&run->session, p->context.ctx_size);
    if (code == ST_EXIT_OK)
        code = st_lists_read(&run->lists, "run", &p->sampling, run->session.info.n_vocab);
    if (code == ST_EXIT_OK && (p->batch || p->json) && !st_session_hash_model(&run->session))
        code = st_cli_fail("run", ST_EXIT_FAILURE, "cannot read %s again: %s", p->session.model,
                           strerror(errno));
    if (code == ST_EXIT_OK)
        code = (p->batch || p->json ? st_run_batch : st_run_prompt)(run, prompt->data, prompt->size);
    if (run->session.engine)
        print_statistics(run);
    st_session_close(&run->session);
    st_lists_free(&run->lists);
    return code;
}

static int run_command(const void *params)
{
    const st_run_params *p = params;
    st_run run = {.params = p,
                  .session = {.command = "run", .params = &p->session},
                  .out = stdout,
                  .out_name = "standard output"};
    st_bytes prompt = {0};
    int code = check_usage(p);
    if (code == ST_EXIT_OK && !p->batch)
        code = read_prompt(p, &prompt);
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
    st_run_params *p = params;
    *p = (st_run_params){.parallel = 16, .samples = 1, .logprobs = -1};
    st_session_defaults(&p->session);
    st_context_defaults(&p->context);
    st_sampling_defaults(&p->sampling);
}

#define AT(field) offsetof(st_run_params, field)
static const st_option options[] = {
    {"--prompt", "-p", ST_OPTION_TEXT, AT(prompt), 0, 0, "TEXT", "text to continue"},
    {"--file", "-f", ST_OPTION_TEXT, AT(file), 0, 0, "FILE",
     "read the prompt from a file (- = standard input)"},
    {"--batch", NULL, ST_OPTION_TEXT, AT(batch), 0, 0, "FILE",
     "run the requests of a JSON Lines file (- = standard input)"},
    {"--parallel", "-np", ST_OPTION_INT, AT(parallel), 1, 1024, "N",
     "sequences at a time, at most as many as --batch-size"},
    {"--samples", NULL, ST_OPTION_INT, AT(samples), 1, STERNA_MAX_SAMPLE, "N",
     "independent continuations of each prompt"},
    {"--logprobs", NULL, ST_OPTION_INT, AT(logprobs), -1, STERNA_MAX_LOGPROB, "N",
     "with JSON results: log-probabilities of each token and the N likeliest ones; -1 = none"},
    {"--output", "-o", ST_OPTION_TEXT, AT(output), 0, 0, "FILE", "write there instead of standard output"},
    {"--resume", NULL, ST_OPTION_FLAG, AT(resume), 0, 0, NULL,
     "with --batch and --output: keep the results that the file holds, run what is missing"},
    {"--text", NULL, ST_OPTION_FLAG, AT(text), 0, 0, NULL,
     "with --batch: write prompts and continuations to read, not JSON"},
    {"--json", NULL, ST_OPTION_FLAG, AT(json), 0, 0, NULL,
     "without --batch: write the result as --batch does, as JSON"},
    {"--no-display-prompt", NULL, ST_OPTION_FLAG, AT(no_display_prompt), 0, 0, NULL,
     "print only what was generated"},
    {"--no-hash", NULL, ST_OPTION_FLAG, AT(no_hash), 0, 0, NULL,
     "do not read back and hash the logits (faster on GPUs)"},
};

static const st_option_table run_options = {"prompt and results", options,
                                            sizeof options / sizeof options[0]};
static const st_option_group groups[] = {{&st_session_options, AT(session)},
                                         {&run_options, 0},
                                         {&st_sampling_options, AT(sampling)},
                                         {&st_context_options, AT(context)}};

const st_command st_command_run = {
    .name = "run",
    .summary = "Generate text from a model.",
    .notes =
        "Without --prompt, --file and --batch the prompt is read from standard input. One newline at the "
        "end\n"
        "of a prompt from a file or standard input is dropped. Filters apply in the order penalties and\n"
        "biases, top-k, typical, top-p, min-p, temperature.\n"
        "\n"
        "Text goes to standard output as it is generated (several --samples one after the other, each with\n"
        "[its number] before it); statistics and a hash of the logits, which is the same on every device "
        "and\n"
        "for every batch size and number of threads, go to standard error.\n"
        "\n"
        "--batch: each line is a JSON object with \"prompt\" and, where wanted, \"id\" (string or integer) "
        "and\n"
        "what replaces the options: \"n\" (also \"n_predict\", \"max_tokens\"), \"n_samples\", "
        "\"logprobs\",\n"
        "\"temperature\", \"top_k\", \"typical_p\", \"top_p\", \"min_p\", \"seed\" (a string if it is above "
        "2^63),\n"
        "\"repeat_penalty\", \"repeat_last_n\", \"presence_penalty\", \"frequency_penalty\", "
        "\"ignore_eos\",\n"
        "\"draft\", \"stop\" (a string or an array of them, without escapes of ours), \"stop_tokens\" (an "
        "array),\n"
        "\"logit_bias\" ({\"15043\": -1.5}; false bans). All lines are checked before the first is run.\n"
        "\n"
        "Each result is one line, written when it is finished: \"index\" (of the request, from 0), \"id\",\n"
        "\"sample\" (where there are several), \"text\", \"tokens\", \"finish\" (stop, length, cancel or "
        "error),\n"
        "\"stop\" (the text that ended it), \"error\", \"n_prompt\", \"n_cached\" (tokens of the prompt that "
        "were\n"
        "not computed), \"n_generated\", \"seconds_queued\", \"seconds_prompt\", \"seconds_decode\", "
        "\"logprobs\"\n"
        "(one {id, token, bytes, logprob, top_logprobs} per token) and \"request\", a hash of samples of\n"
        "the model, the prompt and everything that determines the result.\n"
        "\n"
        "--resume: finished results in the output file stay, and their requests are not run again; index, "
        "id\n"
        "and hash must agree. What was cut off, cancelled or ended with an error is removed and run again. "
        "Of\n"
        "a request with some samples missing, only these are added. A run that is killed loses what was in\n"
        "flight and nothing else.\n"
        "\n"
        "Exit codes: 0 done, 1 failed, 2 wrong usage, 130 interrupted, 141 nobody reads the output.",
    .groups = groups,
    .n_group = sizeof groups / sizeof groups[0],
    .params_size = sizeof(st_run_params),
    .defaults = run_defaults,
    .run = run_command,
};
