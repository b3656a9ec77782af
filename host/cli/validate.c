/* sterna validate: every variant of a device's ops against the reference, bit for bit. */
#include "host/validate/validate.h"
#include "host/cli/cli.h"

#include <inttypes.h>
#include <stdlib.h>
#include <string.h>
#if STERNA_TEXT
#include <jansson.h>
#endif

typedef struct validate_params {
    const char *device, *op, *variant, *size, *shape, *threads;
    uint64_t seed;
    int32_t sample;
    bool list, json;
} validate_params;

static void validate_defaults(void *params)
{
    *(validate_params *)params = (validate_params){.device = "cpu", .size = "tile", .seed = 1, .sample = 1};
}

/* "1,2,8" */
static bool parse_threads(const char *text, st_validate_options *o)
{
    o->n_thread_count = 0;
    for (const char *at = text;; at++) {
        char *end;
        long n = strtol(at, &end, 10);
        if (end == at || n < 1 || n > ST_MAX_THREAD || o->n_thread_count == ST_VALIDATE_MAX_THREADS)
            return false;
        o->thread_count[o->n_thread_count++] = (int32_t)n;
        at = end;
        if (*at == 0)
            return true;
        if (*at != ',')
            return false;
    }
}

/* "MxNxK" */
static bool parse_shape(const char *text, int32_t shape[3])
{
    for (int i = 0; i < 3; i++) {
        char *end;
        long n = strtol(text, &end, 10);
        if (end == text || n < 1 || n > ST_MAX_ROWS || *end != (i < 2 ? 'x' : 0))
            return false;
        shape[i] = (int32_t)n;
        text = end + 1;
    }
    return true;
}

static int read_options(const validate_params *p, st_validate_options *o)
{
    static const char *const sizes[] = {"tile", "real", "full"};
    st_validate_defaults(o);
    o->device = p->device;
    o->op = p->op;
    o->variant = p->variant;
    o->seed = p->seed;
    o->sample = p->sample;
    int size = 0;
    while (size < 3 && strcmp(p->size, sizes[size]) != 0)
        size++;
    if (size == 3)
        return st_cli_fail("validate", ST_EXIT_USAGE, "--size '%s' is not tile, real or full", p->size);
    o->size = (st_validate_size)size;
    if (p->shape && !parse_shape(p->shape, o->shape))
        return st_cli_fail("validate", ST_EXIT_USAGE, "--shape '%s' is not MxNxK with numbers of 1 ... %d",
                           p->shape, ST_MAX_ROWS);
    if (p->threads && !parse_threads(p->threads, o))
        return st_cli_fail("validate", ST_EXIT_USAGE,
                           "--threads '%s' is not a list of at most %d numbers of 1 ... %d", p->threads,
                           ST_VALIDATE_MAX_THREADS, ST_MAX_THREAD);
    return ST_EXIT_OK;
}

static int list_variants(const validate_params *p)
{
    st_device_params params = {.n_thread = 1};
    st_device *dev;
    sterna_error error;
    if (st_device_open(p->device, &params, &dev, &error) != STERNA_OK)
        return st_cli_fail("validate", ST_EXIT_FAILURE, "%s", error.message);
    for (int op = 0; op < ST_OP_COUNT; op++) {
        const char *const *names;
        int n = dev->backend->variants(dev, (st_op)op, &names);
        printf("%-14s", st_op_name((st_op)op));
        for (int i = 0; i < n; i++)
            printf(" %s", names[i]);
        printf("\n");
    }
    st_device_close(&dev);
    return ST_EXIT_OK;
}

static void print_table(const st_validate_result *result)
{
    printf("%-14s %-12s %8s %8s %8s  %s\n", "op", "variant", "cases", "skipped", "misses",
           "worst difference");
    for (int i = 0; i < result->n_row; i++) {
        const st_validate_row *r = &result->row[i];
        printf("%-14s %-12s %8" PRId64 " %8" PRId64 " %8" PRId64 "  ", st_op_name(r->op), r->variant,
               r->n_case, r->n_not_applicable, r->n_miss);
        if (r->n_miss == 0)
            printf("%s\n", r->n_case ? "none" : "-");
        else
            printf("%" PRIu64 " at %s\n    %s\n    %s\n", r->worst, r->where, r->parameters, r->repeat);
    }
    printf("%" PRId64 " cases, %" PRId64 " misses, %" PRId64 " skipped\n", result->n_case, result->n_miss,
           result->n_not_applicable);
}

#if STERNA_TEXT
static bool print_json(const st_validate_result *result)
{
    json_t *array = json_array();
    for (int i = 0; array && i < result->n_row; i++) {
        const st_validate_row *r = &result->row[i];
        json_t *entry = json_pack("{s:s, s:s, s:I, s:I, s:I, s:I, s:s, s:s, s:s}", "op", st_op_name(r->op),
                                  "variant", r->variant, "cases", (json_int_t)r->n_case, "not_applicable",
                                  (json_int_t)r->n_not_applicable, "misses", (json_int_t)r->n_miss, "worst",
                                  (json_int_t)r->worst, "where", r->where, "parameters", r->parameters,
                                  "repeat", r->repeat);
        if (!entry || json_array_append_new(array, entry) != 0) {
            json_decref(array);
            return false;
        }
    }
    bool done = array && json_dumpf(array, stdout, JSON_INDENT(2)) == 0;
    json_decref(array);
    putchar('\n');
    return done;
}
#endif

static int report(const validate_params *p, const st_validate_result *result)
{
    int code = result->n_miss || !result->n_case ? ST_EXIT_FAILURE : ST_EXIT_OK;
    if (!p->json)
        print_table(result);
#if STERNA_TEXT
    else if (!print_json(result) && !ferror(stdout))
        code = st_cli_fail("validate", ST_EXIT_FAILURE, "out of memory");
#endif
    if (!result->n_case)
        st_cli_fail("validate", code, "no variant took any of the cases");
    return st_cli_finish("validate", stdout, "standard output", code);
}

static int validate_run(const void *params)
{
    const validate_params *p = params;
    st_validate_options options;
#if !STERNA_TEXT
    if (p->json)
        return st_cli_fail("validate", ST_EXIT_USAGE, "--json: this build has no JSON (STERNA_TEXT=OFF)");
#endif
    int code = read_options(p, &options);
    if (code != ST_EXIT_OK)
        return code;
    if (p->list)
        return st_cli_finish("validate", stdout, "standard output", list_variants(p));
    st_validate_result *result = calloc(1, sizeof *result);
    if (!result)
        return st_cli_fail("validate", ST_EXIT_FAILURE, "out of memory");
    sterna_error error;
    sterna_status status = st_validate(&options, result, &error);
    if (status != STERNA_OK)
        code = st_cli_fail("validate", status == STERNA_E_ARGUMENT ? ST_EXIT_USAGE : ST_EXIT_FAILURE, "%s",
                           error.message);
    else
        code = report(p, result);
    free(result);
    return code;
}

#define AT(field) offsetof(validate_params, field)
static const st_option options[] = {
    {"--device", "-d", ST_OPTION_TEXT, AT(device), 0, 0, "NAME",
     "device to check (sterna devices lists them)"},
    {"--op", NULL, ST_OPTION_TEXT, AT(op), 0, 0, "OP", "only this op"},
    {"--variant", NULL, ST_OPTION_TEXT, AT(variant), 0, 0, "NAME", "only this variant"},
    {"--size", NULL, ST_OPTION_TEXT, AT(size), 0, 0, "SIZE",
     "tile (edges of tiles), real (a model's shapes) or full"},
    {"--shape", NULL, ST_OPTION_TEXT, AT(shape), 0, 0, "MxNxK",
     "this shape in all combinations of parameters: rows, outputs, inputs (needs --op)"},
    {"--threads", "-t", ST_OPTION_TEXT, AT(threads), 0, 0, "N,...",
     "thread counts, all of which must give the same bits; default: one per core"},
    {"--seed", "-s", ST_OPTION_SEED, AT(seed), 0, 0, "N", "seed of the contents"},
    {"--sample", NULL, ST_OPTION_INT, AT(sample), 1, 1000000, "N",
     "check one case in so many, for slow devices"},
    {"--list", "-l", ST_OPTION_FLAG, AT(list), 0, 0, NULL, "list ops and variants, check nothing"},
    {"--json", NULL, ST_OPTION_FLAG, AT(json), 0, 0, NULL, "print a JSON array instead of a table"},
};

static const st_option_table table = {"options", options, sizeof options / sizeof options[0]};
static const st_option_group groups[] = {{&table, 0}};

const st_command st_command_validate = {
    .name = "validate",
    .summary = "Compare every variant of a device's ops with the reference, bit for bit.",
    .notes = "Exits with 1 if any result, input or guard differs. Skipped, and not run, is what the variant\n"
             "does not take. What M, N and K of a shape are depends on the op:\n"
             "  linear                               rows, outputs, inputs\n"
             "  norm, norm_quant, glu_norm_quant     rows, 1, columns\n"
             "  embed, topk                          rows, vocabulary, columns (topk: candidates)\n"
             "  rope_store, attend                   rows, query heads, dimensions of a head\n",
    .groups = groups,
    .n_group = 1,
    .params_size = sizeof(validate_params),
    .defaults = validate_defaults,
    .run = validate_run,
};
