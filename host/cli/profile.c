/* sterna profile: where time and bytes of a model's inference go. */
#include "host/profile/profile.h"
#include "host/cli/session.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

enum { OUTPUT_TABLE, OUTPUT_JSON };

typedef struct profile_params {
    st_session_params session;
    int32_t prompt, generate, sequences, output;
    uint64_t seed;
    const char *trace, *html;
    bool layers;
} profile_params;

/* A file that is written in the end, and opened before anything takes long. */
typedef struct report_file {
    const char *path; /* NULL: not asked for */
    FILE *file;
} report_file;

/* ---- callbacks ---- */

static void show_warning(void *user, sterna_log_level level, const char *line)
{
    (void)user;
    if (level == STERNA_LOG_WARN)
        st_cli_warn("profile", "%s", line);
}

static bool show_progress(void *user, uint64_t done, uint64_t total)
{
    (void)user;
    if (isatty(STDERR_FILENO))
        fprintf(stderr, "\rloading %3.0f %%%s", total ? 100.0 * (double)done / (double)total : 100.0,
                done >= total ? "\r             \r" : "");
    return !st_interrupted();
}

static bool should_abort(void *user)
{
    (void)user;
    return st_interrupted();
}

/* ---- reports ---- */

static int open_report(report_file *report, const char *option)
{
    if (!report->path)
        return ST_EXIT_OK;
    if (!report->path[0])
        return st_cli_fail("profile", ST_EXIT_USAGE, "%s: the file's name is empty", option);
    report->file = fopen(report->path, "w");
    return report->file ? ST_EXIT_OK
                        : st_cli_fail("profile", ST_EXIT_FAILURE, "cannot write to %s: %s", report->path,
                                      strerror(errno));
}

/* A report that could not be finished is no report: it is removed. */
static int close_report(report_file *report, int code)
{
    if (!report->file)
        return code;
    if (code == ST_EXIT_OK)
        code = st_cli_finish("profile", report->file, report->path, code);
    errno = 0;
    if (fclose(report->file) != 0 && code == ST_EXIT_OK)
        code = st_cli_write_failed("profile", report->path, errno);
    report->file = NULL;
    if (code != ST_EXIT_OK)
        unlink(report->path);
    return code;
}

static int measure(const profile_params *p, const sterna_model *model, st_profile *profile)
{
    st_profile_options o;
    st_profile_defaults(&o);
    o.device = p->session.device;
    o.n_thread = p->session.threads;
    o.n_batch = p->session.batch_size;
    o.head = (sterna_head)p->session.head;
    o.check = p->session.check;
    o.n_prompt = p->prompt;
    o.n_generate = p->generate;
    o.n_sequence = p->sequences;
    o.seed = p->seed;
    o.log = show_warning;
    o.progress = show_progress;
    o.abort = should_abort;
    st_interrupt_catch(false);
    sterna_error error;
    sterna_status status = st_profile_run(model, &o, profile, &error);
    if (status == STERNA_OK)
        return ST_EXIT_OK;
    if (status == STERNA_E_ABORTED)
        return st_cli_fail("profile", ST_EXIT_INTERRUPTED, "interrupted");
    return st_cli_fail("profile", status == STERNA_E_ARGUMENT ? ST_EXIT_USAGE : ST_EXIT_FAILURE, "%s",
                       error.message);
}

static int profile_model(const profile_params *p, report_file *trace, report_file *html)
{
    st_session session = {.command = "profile", .params = &p->session};
    st_profile profile;
    int code = st_session_open_model(&session, 0);
    if (code == ST_EXIT_OK)
        code = open_report(trace, "--trace");
    if (code == ST_EXIT_OK)
        code = open_report(html, "--html");
    if (code == ST_EXIT_OK)
        code = measure(p, session.model, &profile);
    if (code == ST_EXIT_OK) {
        if (p->output == OUTPUT_JSON)
            st_profile_json(&profile, stdout);
        else
            st_profile_table(&profile, p->layers, stdout);
        if (trace->file)
            st_profile_trace(&profile, trace->file);
        if (html->file)
            st_profile_html(&profile, html->file);
        st_profile_free(&profile);
    }
    code = close_report(trace, code);
    code = close_report(html, code);
    st_session_close(&session);
    return code;
}

static int profile_run(const void *params)
{
    const profile_params *p = params;
    if (!p->session.model)
        return st_cli_fail("profile", ST_EXIT_USAGE, "no model: give one with --model FILE");
    if (p->trace && p->html && strcmp(p->trace, p->html) == 0)
        return st_cli_fail("profile", ST_EXIT_USAGE, "--trace and --html name the same file");
    report_file trace = {.path = p->trace}, html = {.path = p->html};
    int code = profile_model(p, &trace, &html);
    return st_cli_finish("profile", stdout, "standard output", code);
}

static void profile_defaults(void *params)
{
    profile_params *p = params;
    *p = (profile_params){.generate = 64, .sequences = 1, .seed = 1};
    st_session_defaults(&p->session);
}

#define AT(field) offsetof(profile_params, field)
static const st_option options[] = {
    {"--model", "-m", ST_OPTION_TEXT, AT(session.model), 0, 0, "FILE", "GGUF file with ternary weights"},
    {"--device", NULL, ST_OPTION_TEXT, AT(session.device), 0, 0, "NAME", "where to run; see sterna devices"},
    {"--threads", "-t", ST_OPTION_INT, AT(session.threads), 0, 256, "N", "CPU threads; 0 = physical cores"},
    {"--n-prompt", "-p", ST_OPTION_INT, AT(prompt), 0, 1 << 20, "N",
     "random prompt tokens of each sequence; 0 = 512, or as many as fit the context"},
    {"--n-gen", "-n", ST_OPTION_INT, AT(generate), 1, 1 << 20, "N", "decode steps"},
    {"--parallel", "-b", ST_OPTION_INT, AT(sequences), 1, 1024, "N", "sequences that run at the same time"},
    {"--batch-size", NULL, ST_OPTION_INT, AT(session.batch_size), 1, 8192, "N", "tokens per step at most"},
    {"--seed", "-s", ST_OPTION_SEED, AT(seed), 0, 0, "N", "seed of the prompts"},
    {"--output", "-o", ST_OPTION_CHOICE, AT(output), 0, 0, "table|json", "what is printed"},
    {"--layers", NULL, ST_OPTION_FLAG, AT(layers), 0, 0, NULL,
     "tables of layers, too (JSON always has them)"},
    {"--trace", NULL, ST_OPTION_TEXT, AT(trace), 0, 0, "FILE",
     "write a trace for ui.perfetto.dev or chrome://tracing"},
    {"--html", NULL, ST_OPTION_TEXT, AT(html), 0, 0, "FILE",
     "write a page with roofline, bytes, timelines and tables"},
    ST_HEAD_ROW(AT(session.head)),
    {"--check", NULL, ST_OPTION_FLAG, AT(session.check), 0, 0, NULL,
     "verify the arguments of every operation (slow)"},
};

static const st_option_table table = {"options", options, sizeof options / sizeof options[0]};
static const st_option_group groups[] = {{&table, 0}};

const st_command st_command_profile = {
    .name = "profile",
    .summary = "Show where time and bytes of inference go, and what ternary weights save.",
    .notes =
        "Sequences of random tokens are computed (prefill) and continued (decode) after a short warm-up. "
        "Every\n"
        "op is timed; ops, what is between them (unaccounted) and the engine on the host add up to the time "
        "of\n"
        "the steps. Times are those of a quiet machine only on a quiet machine: a line says when it was "
        "not.\n"
        "\n"
        "MB are what ops have to move: weights once, activations read and written once, keys and values of "
        "all\n"
        "positions a row sees. FP16, INT8 and INT4: the same, with the ternary matrices stored otherwise "
        "(INT8\n"
        "with an f32 scale a row, INT4 with an f16 scale a row and 128 columns); activations, KV, norms,\n"
        "embedding and head stay as they are. MAC are multiply-accumulates.\n"
        "\n"
        "peak %: of the bandwidth at which this machine reads as many bytes as a step's weights have, "
        "measured\n"
        "in the same run; ops on less than that can pass 100. Joules come from the kernel's powercap zones\n"
        "(Intel RAPL and its like) and count the whole processor.",
    .groups = groups,
    .n_group = sizeof groups / sizeof groups[0],
    .params_size = sizeof(profile_params),
    .defaults = profile_defaults,
    .run = profile_run,
};
