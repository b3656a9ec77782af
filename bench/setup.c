#include "bench/setup.h"

#include <ctype.h>
#include <errno.h>
#include <inttypes.h>
#include <signal.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

enum { PATH_ROOM = 4096 };

/* ---- interrupts and progress ---- */

static volatile sig_atomic_t interrupted;

static void on_interrupt(int number)
{
    (void)number;
    interrupted = 1;
}

void st_setup_catch_interrupts(void)
{
    struct sigaction action = {.sa_handler = on_interrupt, .sa_flags = (int)SA_RESETHAND};
    sigemptyset(&action.sa_mask);
    sigaction(SIGINT, &action, NULL);
    sigaction(SIGTERM, &action, NULL);
}

bool st_setup_interrupted(void)
{
    return interrupted != 0;
}

void st_setup_progress(const char *format, ...)
{
    char line[160] = "";
    if (!isatty(STDERR_FILENO))
        return;
    if (format) {
        va_list args;
        va_start(args, format);
        vsnprintf(line, sizeof line, format, args);
        va_end(args);
    }
    fprintf(stderr, "\r\x1b[K%.78s", line); /* erases to the end of the line */
    fflush(stderr);
}

static bool show_writing(void *user, uint64_t done, uint64_t total)
{
    int *shown = user; /* percent */
    int percent = total ? (int)(100.0 * (double)done / (double)total) : 100;
    if (percent != *shown)
        st_setup_progress("writing the model: %d %%", *shown = percent);
    return !interrupted;
}

static void show_warning(void *user, sterna_log_level level, const char *line)
{
    const char *command = user;
    if (level == STERNA_LOG_WARN)
        fprintf(stderr, "sterna-bench %s: warning: %s\n", command, line);
}

static bool stop_asked(void *user)
{
    (void)user;
    return interrupted != 0;
}

static bool keep_loading(void *user, uint64_t done, uint64_t total)
{
    (void)user, (void)done, (void)total;
    return !interrupted;
}

static int fail_status(const char *command, const sterna_error *error)
{
    st_setup_progress(NULL);
    if (error->status == STERNA_E_ABORTED && interrupted)
        return ST_EXIT_INTERRUPTED;
    return st_cli_fail(command, ST_EXIT_FAILURE, "%s", error->message);
}

/* ---- synthetic models ---- */

/* The name as encodings are called, or `standard` without one; false if it is none of the list. */
static bool pick_encoding(const char *name, const char *const *list, const char **encoding)
{
    char upper[8] = "";
    if (!name) {
        *encoding = list[0];
        return true;
    }
    if (strlen(name) >= sizeof upper)
        return false;
    for (size_t i = 0; name[i]; i++)
        upper[i] = (char)toupper((unsigned char)name[i]);
    for (int i = 0; list[i]; i++)
        if (strcmp(upper, list[i]) == 0) {
            *encoding = list[i];
            return true;
        }
    return false;
}

int st_setup_shape(const char *command, const st_shape_params *params, uint64_t seed, st_synthetic *shape)
{
    static const char *const matrices[] = {"I2_S", "TQ2_0", "TQ1_0", NULL};
    static const char *const embeddings[] = {"F16", "Q8_0", "BF16", "F32", NULL};
    const st_synthetic *found = st_synthetic_find(params->shape);
    if (!found)
        return st_cli_fail(command, ST_EXIT_USAGE,
                           "--shape: there is no shape '%s' (sterna-bench make-model --list names them)",
                           params->shape);
    *shape = *found;
    shape->seed = seed;
    if (params->layers > 0)
        shape->n_layer = params->layers;
    if (!pick_encoding(params->encoding, matrices, &shape->matrix))
        return st_cli_fail(command, ST_EXIT_USAGE, "--encoding: '%s' is not i2_s, tq2_0 or tq1_0",
                           params->encoding);
    if (!pick_encoding(params->embedding, embeddings, &shape->embedding))
        return st_cli_fail(command, ST_EXIT_USAGE, "--embedding: '%s' is not f16, q8_0, bf16 or f32",
                           params->embedding);
    return ST_EXIT_OK;
}

int st_setup_write(const char *command, const st_synthetic *shape, const char *path)
{
    sterna_error error;
    int shown = -1;
    st_setup_catch_interrupts();
    if (st_synthetic_write(shape, path, show_writing, &shown, &error) != STERNA_OK)
        return fail_status(command, &error);
    st_setup_progress(NULL);
    return ST_EXIT_OK;
}

/* A new empty file "<directory>/<name>XXXXXX". */
static int temporary_file(const char *command, const char *directory, const char *name, char path[PATH_ROOM])
{
    int length = snprintf(path, PATH_ROOM, "%s/%sXXXXXX", directory, name);
    if (length < 0 || length >= PATH_ROOM)
        return st_cli_fail(command, ST_EXIT_USAGE, "the directory's name is longer than %d bytes", PATH_ROOM);
    int fd = mkstemp(path);
    if (fd < 0)
        return st_cli_fail(command, ST_EXIT_FAILURE, "%s: cannot make a file there: %s", directory,
                           strerror(errno));
    close(fd);
    return ST_EXIT_OK;
}

/* The kept file of a shape; it appears under its name when it is complete. */
static int kept_file(const char *command, const char *directory, const st_synthetic *s, char path[PATH_ROOM])
{
    char part[PATH_ROOM], name[160];
    snprintf(name, sizeof name, "%s-%dl-%s-%s-seed%" PRIu64 ".gguf", s->name, s->n_layer, s->matrix,
             s->embedding, s->seed);
    int length = snprintf(path, PATH_ROOM, "%s/%s", directory, name);
    if (length < 0 || length >= PATH_ROOM)
        return st_cli_fail(command, ST_EXIT_USAGE, "--model-dir: the name is longer than %d bytes",
                           PATH_ROOM);
    struct stat facts;
    if (stat(path, &facts) == 0)
        return ST_EXIT_OK;
    int code = temporary_file(command, directory, ".sterna-bench-", part);
    if (code == ST_EXIT_OK && (code = st_setup_write(command, s, part)) != ST_EXIT_OK)
        unlink(part);
    if (code == ST_EXIT_OK && rename(part, path) != 0) {
        code = st_cli_fail(command, ST_EXIT_FAILURE, "%s: cannot rename %s: %s", path, part, strerror(errno));
        unlink(part);
    }
    return code;
}

/* ---- model and engine ---- */

/* `warn`: show warnings; a synthetic model is known to have no tokenizer. */
static int open_file(const char *command, const char *path, bool warn, sterna_model **model)
{
    sterna_error error;
    sterna_model_params params;
    sterna_model_defaults(&params);
    params.log = warn ? show_warning : NULL;
    params.user = (void *)(uintptr_t)command;
    if (sterna_model_open(path, &params, model, &error) != STERNA_OK)
        return fail_status(command, &error);
    return ST_EXIT_OK;
}

int st_setup_model(const char *command, const st_setup_params *params, sterna_model **model)
{
    char path[PATH_ROOM];
    st_synthetic shape;
    const st_shape_params *s = &params->shape;
    if (params->model && s->shape)
        return st_cli_fail(command, ST_EXIT_USAGE, "--model and --shape exclude each other");
    if (!params->model && !s->shape)
        return st_cli_fail(command, ST_EXIT_USAGE, "no model: give one with --model FILE or --shape NAME");
    if (params->model && (s->layers || s->encoding || s->embedding || params->model_dir))
        return st_cli_fail(command, ST_EXIT_USAGE, "%s is for --shape",
                           s->layers      ? "--layers"
                           : s->encoding  ? "--encoding"
                           : s->embedding ? "--embedding"
                                          : "--model-dir");
    if (params->model)
        return open_file(command, params->model, true, model);
    int code = st_setup_shape(command, s, 1, &shape);
    if (code != ST_EXIT_OK)
        return code;
    if (params->model_dir) {
        code = kept_file(command, params->model_dir, &shape, path);
        return code == ST_EXIT_OK ? open_file(command, path, false, model) : code;
    }
    const char *directory = getenv("TMPDIR");
    code = temporary_file(command, directory && *directory ? directory : "/tmp", "sterna-bench-", path);
    if (code != ST_EXIT_OK)
        return code;
    code = st_setup_write(command, &shape, path);
    if (code == ST_EXIT_OK)
        code = open_file(command, path, false, model);
    unlink(path); /* an open model keeps its mapping */
    return code;
}

int st_setup_engine(const char *command, const st_setup_params *params, const st_engine_size *size,
                    const sterna_model *model, sterna_engine **engine)
{
    sterna_error error;
    sterna_engine_params p;
    sterna_engine_defaults(&p);
    p.device = params->device;
    p.n_thread = params->threads;
    p.n_context = size->n_context;
    p.n_sequence = size->n_sequence;
    p.n_batch = params->batch_size;
    p.n_draft = params->draft;
    p.head = (sterna_head)params->head;
    p.prefill = size->prefill;
    p.no_prefix_cache = !size->prefix_cache;
    p.log = show_warning;
    p.progress = keep_loading;
    p.abort = stop_asked;
    p.user = (void *)(uintptr_t)command;
    st_setup_catch_interrupts();
    if (sterna_engine_open(model, &p, engine, &error) != STERNA_OK)
        return fail_status(command, &error);
    return ST_EXIT_OK;
}

void st_setup_facts(const char *command, const st_setup_params *params, const sterna_model *model,
                    const sterna_device_info *device, st_report *report)
{
    sterna_model_info info = {.struct_size = sizeof info};
    sterna_model_describe(model, &info);
    st_report_fact(report, "command", ST_CELL_TEXT, command, 0);
    st_report_fact(report, "version", ST_CELL_TEXT, sterna_version(), 0);
    st_report_fact(report, "model", ST_CELL_TEXT,
                   info.name[0]    ? info.name
                   : params->model ? params->model
                                   : params->shape.shape,
                   0);
    st_report_fact(report, "architecture", ST_CELL_TEXT, info.architecture, 0);
    st_report_fact(report, "layers", ST_CELL_COUNT, NULL, info.n_layer);
    st_report_fact(report, "parameters", ST_CELL_COUNT, NULL, (double)info.n_parameter);
    st_report_fact(report, "model_bytes", ST_CELL_COUNT, NULL, (double)info.file_bytes);
    st_report_fact(report, "device", ST_CELL_TEXT, device->name, 0);
    st_report_fact(report, "device_description", ST_CELL_TEXT, device->description, 0);
    st_report_fact(report, "threads", ST_CELL_COUNT, NULL, params->threads);
    st_report_fact(report, "batch_size", ST_CELL_COUNT, NULL, params->batch_size);
    st_report_fact(report, "head", ST_CELL_TEXT, params->head == STERNA_HEAD_Q8 ? "q8" : "f16", 0);
    st_report_fact(report, "draft", ST_CELL_COUNT, NULL, params->draft);
}

st_setup_params st_setup_defaults(void)
{
    return (st_setup_params){.device = "auto", .batch_size = 512};
}
