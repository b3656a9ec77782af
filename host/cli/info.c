/* sterna info: what a model file says about itself. */
#include "host/cli/cli.h"

#include <inttypes.h>
#if STERNA_TEXT
#include <jansson.h>
#endif

typedef struct info_params {
    const char *model;
    bool tensors, metadata, json;
} info_params;

enum { VALUE_SIZE = 512 }; /* text of one metadata entry, arrays are abbreviated */

static int dimensions(const int64_t shape[4])
{
    int n = 4;
    while (n > 1 && shape[n - 1] == 1)
        n--;
    return n;
}

/* ---- as text ---- */

static void print_text(const sterna_model *model, const info_params *p, FILE *out)
{
    sterna_model_info info = {.struct_size = sizeof info};
    sterna_model_describe(model, &info);
    char bytes[16];
    fprintf(out, "name          %s\n", info.name);
    fprintf(out, "architecture  %s\n", info.architecture);
    fprintf(out, "parameters    %" PRIu64 ", %" PRIu64 " of them ternary\n", info.n_parameter,
            info.n_ternary_parameter);
    fprintf(out, "file          %s\n", st_cli_bytes(info.file_bytes, bytes));
    fprintf(out, "context       %d positions\n", info.n_context);
    fprintf(out, "vocabulary    %d tokens, begin %d%s, end %d\n", info.n_vocab, info.bos,
            info.add_bos ? " (put before prompts)" : "", info.eos);
    fprintf(out, "layers        %d of width %d, feed-forward %d\n", info.n_layer, info.n_embd, info.n_ff);
    fprintf(out, "attention     %d heads of %d, %d key and value heads\n", info.n_head, info.head_dim,
            info.n_kv_head);
    const char *key, *name, *type;
    char value[VALUE_SIZE];
    if (p->metadata)
        fputc('\n', out);
    for (int i = 0; p->metadata && sterna_model_metadata(model, i, &key, value, sizeof value); i++)
        fprintf(out, "%s = %s\n", key, value);
    int64_t shape[4];
    uint64_t size;
    if (p->tensors)
        fputc('\n', out);
    for (int i = 0; p->tensors && sterna_model_tensor(model, i, &name, &type, shape, &size); i++) {
        char dims[96] = "";
        int width = 0;
        for (int d = 0; d < dimensions(shape); d++)
            width +=
                snprintf(dims + width, sizeof dims - (size_t)width, "%s%" PRId64, d ? " x " : "", shape[d]);
        fprintf(out, "%-32s %-6s %-20s %9s\n", name, type, dims, st_cli_bytes(size, bytes));
    }
}

/* ---- as JSON ---- */

#if STERNA_TEXT
/* File names of tensors and keys are bytes; JSON strings are UTF-8. */
static json_t *safe_string(const char *text)
{
    json_t *string = json_string(text);
    return string ? string : json_string("(not UTF-8)");
}

static json_t *tensor_array(const sterna_model *model)
{
    json_t *array = json_array();
    const char *name, *type;
    int64_t shape[4];
    uint64_t size;
    for (int i = 0; array && sterna_model_tensor(model, i, &name, &type, shape, &size); i++) {
        json_t *dims = json_array(), *entry = json_object();
        for (int d = 0; d < dimensions(shape); d++)
            json_array_append_new(dims, json_integer(shape[d]));
        json_object_set_new(entry, "name", safe_string(name));
        json_object_set_new(entry, "type", json_string(type));
        json_object_set_new(entry, "shape", dims);
        json_object_set_new(entry, "bytes", json_integer((json_int_t)size));
        json_array_append_new(array, entry);
    }
    return array;
}

static json_t *metadata_object(const sterna_model *model)
{
    json_t *object = json_object();
    const char *key;
    char value[VALUE_SIZE];
    for (int i = 0; object && sterna_model_metadata(model, i, &key, value, sizeof value); i++)
        json_object_set_new(object, key, safe_string(value));
    return object;
}

static bool print_json(const sterna_model *model, const info_params *p, FILE *out)
{
    sterna_model_info i = {.struct_size = sizeof i};
    sterna_model_describe(model, &i);
    json_t *root = json_object();
    const struct {
        const char *key;
        json_t *value;
    } entries[] = {{"name", safe_string(i.name)},
                   {"architecture", safe_string(i.architecture)},
                   {"n_parameter", json_integer((json_int_t)i.n_parameter)},
                   {"n_ternary_parameter", json_integer((json_int_t)i.n_ternary_parameter)},
                   {"file_bytes", json_integer((json_int_t)i.file_bytes)},
                   {"n_context", json_integer(i.n_context)},
                   {"n_vocab", json_integer(i.n_vocab)},
                   {"bos", json_integer(i.bos)},
                   {"eos", json_integer(i.eos)},
                   {"add_bos", json_boolean(i.add_bos)},
                   {"n_layer", json_integer(i.n_layer)},
                   {"n_embd", json_integer(i.n_embd)},
                   {"n_ff", json_integer(i.n_ff)},
                   {"n_head", json_integer(i.n_head)},
                   {"n_kv_head", json_integer(i.n_kv_head)},
                   {"head_dim", json_integer(i.head_dim)},
                   {"metadata", p->metadata ? metadata_object(model) : NULL},
                   {"tensors", p->tensors ? tensor_array(model) : NULL}};
    bool done = root != NULL;
    for (size_t e = 0; e < sizeof entries / sizeof entries[0]; e++)
        if (entries[e].value && json_object_set_new(root, entries[e].key, entries[e].value) != 0)
            done = false;
    done = done && json_dumpf(root, out, JSON_INDENT(2)) == 0;
    json_decref(root);
    fputc('\n', out);
    return done;
}
#endif

/* ---- the command ---- */

static void warn(void *user, sterna_log_level level, const char *line)
{
    (void)user;
    if (level == STERNA_LOG_WARN)
        st_cli_warn("info", "%s", line);
}

static int info_run(const void *params)
{
    const info_params *p = params;
    if (!p->model)
        return st_cli_fail("info", ST_EXIT_USAGE, "no model: give one with --model FILE");
#if !STERNA_TEXT
    if (p->json)
        return st_cli_fail("info", ST_EXIT_USAGE, "--json: this build has no JSON (STERNA_TEXT=OFF)");
#endif
    sterna_model_params open;
    sterna_model_defaults(&open);
    open.log = warn;
    sterna_model *model = NULL;
    sterna_error error;
    if (sterna_model_open(p->model, &open, &model, &error) != STERNA_OK)
        return st_cli_fail("info", ST_EXIT_FAILURE, "%s", error.message);
    int code = ST_EXIT_OK;
    if (!p->json)
        print_text(model, p, stdout);
#if STERNA_TEXT
    else if (!print_json(model, p, stdout) && !ferror(stdout))
        code = st_cli_fail("info", ST_EXIT_FAILURE, "out of memory");
#endif
    sterna_model_close(&model);
    return st_cli_finish("info", stdout, "standard output", code);
}

static void info_defaults(void *params)
{
    *(info_params *)params = (info_params){.model = NULL};
}

static const st_option options[] = {
    {"--model", "-m", ST_OPTION_TEXT, offsetof(info_params, model), 0, 0, "FILE", "GGUF file"},
    {"--tensors", NULL, ST_OPTION_FLAG, offsetof(info_params, tensors), 0, 0, NULL, "list the tensors"},
    {"--metadata", NULL, ST_OPTION_FLAG, offsetof(info_params, metadata), 0, 0, NULL, "list the metadata"},
    {"--json", NULL, ST_OPTION_FLAG, offsetof(info_params, json), 0, 0, NULL, "print JSON"},
};

static const st_option_table table = {"options", options, sizeof options / sizeof options[0]};
static const st_option_group groups[] = {{&table, 0}};

const st_command st_command_info = {
    .name = "info",
    .summary = "Show what a model file holds.",
    .groups = groups,
    .n_group = 1,
    .params_size = sizeof(info_params),
    .defaults = info_defaults,
    .run = info_run,
};
