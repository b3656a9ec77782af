#include "host/cli/session.h"

#include <inttypes.h>
#include <signal.h>
#include <stdlib.h>
#include <time.h>
#include <unistd.h>

/* Positions that are allocated unless asked otherwise: models state up to 262,144, which few machines hold.
 */
enum { DEFAULT_CONTEXT = 4096 };

/* ---- SIGINT and time ---- */

static volatile sig_atomic_t interrupted;

static void on_interrupt(int number)
{
    (void)number;
    interrupted = 1;
}

bool st_interrupted(void)
{
    return interrupted != 0;
}

void st_interrupt_reset(void)
{
    interrupted = 0;
}

void st_interrupt_catch(bool every)
{
    struct sigaction action = {.sa_handler = on_interrupt};
    action.sa_flags = every ? 0 : (int)(SA_RESETHAND | SA_RESTART);
    sigemptyset(&action.sa_mask);
    sigaction(SIGINT, &action, NULL);
}

double st_clock(void)
{
    struct timespec now;
    clock_gettime(CLOCK_MONOTONIC, &now);
    return (double)now.tv_sec + 1e-9 * (double)now.tv_nsec;
}

/* ---- callbacks ---- */

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
    const st_session *session = user;
    if (level == STERNA_LOG_WARN)
        st_cli_warn(session->command, "%s", line);
}

static bool should_abort(void *user)
{
    (void)user;
    return interrupted != 0;
}

/* ---- model and engine ---- */

int st_session_open_model(st_session *session, int32_t ctx_size)
{
    const char *command = session->command;
    sterna_error error;
    sterna_model_params params;
    sterna_model_defaults(&params);
    params.log = show_warning;
    params.user = session;
    if (sterna_model_open(session->params->model, &params, &session->model, &error) != STERNA_OK)
        return st_cli_fail(command, ST_EXIT_FAILURE, "%s", error.message);
    session->info.struct_size = sizeof session->info;
    sterna_model_describe(session->model, &session->info);
    int32_t trained = session->info.n_context;
    session->n_context = ctx_size > 0 ? ctx_size : trained;
    if (ctx_size == ST_CONTEXT_BY_DEFAULT && trained > DEFAULT_CONTEXT)
        session->n_context = DEFAULT_CONTEXT;
    if (session->n_context > trained)
        return st_cli_fail(command, ST_EXIT_USAGE, "--ctx-size: %d, but the model was made for %d positions",
                           ctx_size, trained);
    return ST_EXIT_OK;
}

sterna_engine_params st_session_engine_params(const st_session *session, const st_context_params *context)
{
    sterna_engine_params params;
    sterna_engine_defaults(&params);
    params.device = session->params->device;
    params.n_thread = session->params->threads;
    params.n_batch = session->params->batch_size;
    params.head = (sterna_head)session->params->head;
    params.check = session->params->check;
    if (context) {
        params.kv_bytes = context->kv_memory;
        params.prefill = (sterna_prefill)context->prefill;
        params.no_prefix_cache = context->no_prefix_cache;
    }
    return params;
}

bool st_session_hash_model(st_session *session)
{
    enum { BLOCK = 4096, N_BLOCK = 64 };
    unsigned char block[BLOCK];
    uint64_t size = session->info.file_bytes, hash = UINT64_C(0xcbf29ce484222325) ^ size;
    FILE *file = fopen(session->params->model, "rb");
    bool good = file != NULL;
    for (uint64_t i = 0; i < N_BLOCK && good; i++) {
        uint64_t at = size > BLOCK ? (size - BLOCK) / (N_BLOCK - 1) * i : 0;
        good = fseeko(file, (off_t)at, SEEK_SET) == 0;
        size_t n = good ? fread(block, 1, BLOCK, file) : 0;
        good = good && n > 0;
        for (size_t k = 0; k < n; k++)
            hash = (hash ^ block[k]) * UINT64_C(0x100000001b3);
    }
    if (file)
        fclose(file);
    session->model_hash = hash;
    return good;
}

int st_session_open_engine(st_session *session, const sterna_engine_params *params)
{
    sterna_engine_params open = *params;
    sterna_error error;
    open.log = show_warning;
    open.progress = show_progress;
    open.abort = should_abort;
    open.user = session;
    sterna_status status = sterna_engine_open(session->model, &open, &session->engine, &error);
    if (status == STERNA_OK)
        return ST_EXIT_OK;
    return status == STERNA_E_ABORTED ? ST_EXIT_INTERRUPTED
                                      : st_cli_fail(session->command, ST_EXIT_FAILURE, "%s", error.message);
}

void st_session_close(st_session *session)
{
    sterna_engine_close(&session->engine);
    sterna_model_close(&session->model);
}

sterna_token *st_session_tokenize(const st_session *session, const char *text, size_t size,
                                  bool parse_special, int32_t *n, sterna_error *error)
{
    int64_t needed = sterna_tokenize(session->model, text, size, NULL, 0, true, parse_special, error);
    if (needed < 0)
        return NULL;
    sterna_token *tokens = malloc((size_t)(needed > 0 ? needed : 1) * sizeof *tokens);
    if (!tokens || needed > INT32_MAX) {
        free(tokens);
        error->status = STERNA_E_MEMORY;
        snprintf(error->message, sizeof error->message, "out of memory for %" PRId64 " tokens", needed);
        return NULL;
    }
    sterna_tokenize(session->model, text, size, tokens, (size_t)needed, true, parse_special, error);
    *n = (int32_t)needed;
    return tokens;
}

/* ---- options ---- */

void st_session_defaults(st_session_params *params)
{
    *params = (st_session_params){.device = "auto", .batch_size = 512};
}

#define AT(field) offsetof(st_session_params, field)
static const st_option session_options[] = {
    {"--model", "-m", ST_OPTION_TEXT, AT(model), 0, 0, "FILE", "GGUF file with ternary weights"},
    {"--device", NULL, ST_OPTION_TEXT, AT(device), 0, 0, "NAME", "where to run; see sterna devices"},
    {"--threads", "-t", ST_OPTION_INT, AT(threads), 0, 256, "N", "CPU threads; 0 = physical cores"},
    {"--batch-size", "-b", ST_OPTION_INT, AT(batch_size), 1, 8192, "N", "tokens per step at most"},
    ST_HEAD_ROW(AT(head)),
    {"--check", NULL, ST_OPTION_FLAG, AT(check), 0, 0, NULL,
     "verify the arguments of every operation (slow)"},
};
#undef AT

const st_option_table st_session_options = {"model and device", session_options,
                                            sizeof session_options / sizeof session_options[0]};

void st_context_defaults(st_context_params *params)
{
    *params = (st_context_params){.ctx_size = ST_CONTEXT_BY_DEFAULT, .prefill = STERNA_PREFILL_FAIR};
}

#define AT(field) offsetof(st_context_params, field)
static const st_option context_options[] = {
    {"--ctx-size", "-c", ST_OPTION_INT, AT(ctx_size), -1, 1 << 20, "N",
     "positions per sequence; 0 = as many as the model was made for; -1 = as many, but at most 4096"},
    {"--kv-memory", NULL, ST_OPTION_SIZE, AT(kv_memory), 0, 0, "SIZE",
     "bytes of keys and values at most (512M, 2G; 1K = 1024); 0 = enough for every sequence's context"},
    {"--prefill", NULL, ST_OPTION_CHOICE, AT(prefill), 0, 0, "fair|fifo",
     "which prompts come first: fair = short ones overtake long ones, fifo = in order"},
    {"--no-prefix-cache", NULL, ST_OPTION_FLAG, AT(no_prefix_cache), 0, 0, NULL,
     "compute every prompt from its first token, also where it begins like another"},
};

const st_option_table st_context_options = {"context", context_options,
                                            sizeof context_options / sizeof context_options[0]};
