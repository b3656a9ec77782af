/* sterna-bench ops: every op by itself, in the shapes of models. */
#include "bench/ops.h"

#include "bench/commands.h"
#include "bench/setup.h"
#include "host/base/parallel.h"

#include <stdlib.h>

enum { MAX_ITEM = 32, MAX_DEPTH = 1 << 18 };
#define MIN_FOOTPRINT     ((size_t)1 << 16)
#define MAX_FOOTPRINT     ((size_t)1 << 36)
#define UNKNOWN_FOOTPRINT ((size_t)256 << 20) /* where sysfs does not tell the caches */

typedef struct ops_params {
    const char *ops, *variant, *shapes, *types, *groups, *rows, *depths, *threads, *device, *format, *compare;
    int32_t act_group, repetitions, sequences;
    int64_t footprint;
    float limit;
    bool no_baselines;
} ops_params;

/* The items of a list "a,b,c", which are cut out of a copy. */
typedef struct items {
    char *copy;
    const char *item[MAX_ITEM];
    int n;
} items;

static bool items_open(items *list, const char *text)
{
    list->n = 0;
    list->copy = malloc(strlen(text) + 1);
    if (!list->copy)
        return false;
    strcpy(list->copy, text);
    for (char *at = list->copy; at; list->n++) {
        if (list->n == MAX_ITEM)
            return false;
        list->item[list->n] = at;
        at = strchr(at, ',');
        if (at)
            *at++ = '\0';
    }
    return true;
}

/* ---- what the lists name ---- */

typedef struct choices {
    bool op[ST_OP_COUNT];
    bool all_ops;
    st_type type[MAX_ITEM];
    int n_type;
    int32_t group[MAX_ITEM];
    int n_group;
} choices;

static int read_ops(const ops_params *p, const items *list, choices *c)
{
    c->all_ops = strcmp(p->ops, "all") == 0;
    for (int i = 0; i < list->n; i++) {
        st_op op = st_op_by_name(list->item[i]);
        if (op == ST_OP_COUNT && !c->all_ops)
            return st_cli_fail("ops", ST_EXIT_USAGE, "--op: there is no op '%s'", list->item[i]);
        for (int j = 0; j < ST_OP_COUNT; j++)
            c->op[j] = c->op[j] || c->all_ops || j == (int)op;
    }
    return ST_EXIT_OK;
}

static int read_types(const items *list, choices *c)
{
    for (int i = 0; i < list->n; i++) {
        int type = ST_TERNARY;
        while (type <= ST_F32 && strcmp(st_type_name((st_type)type), list->item[i]) != 0)
            type++;
        if (type > ST_F32)
            return st_cli_fail("ops", ST_EXIT_USAGE, "--type: '%s' is not ternary, q8, f16, bf16 or f32",
                               list->item[i]);
        c->type[c->n_type++] = (st_type)type;
    }
    return ST_EXIT_OK;
}

static bool is_group(int32_t group)
{
    return group == 0 || group == 32 || group == 64 || group == 128 || group == 256;
}

static int read_groups(const ops_params *p, choices *c)
{
    if (!st_parse_counts(p->groups, '\0', 0, 256, c->group, &c->n_group))
        return st_cli_fail("ops", ST_EXIT_USAGE, "--group: '%s' is not a list of 0, 32, 64, 128 or 256",
                           p->groups);
    for (int i = 0; i < c->n_group; i++)
        if (!is_group(c->group[i]))
            return st_cli_fail("ops", ST_EXIT_USAGE, "--group: %d is not 0, 32, 64, 128 or 256", c->group[i]);
    if (!is_group(p->act_group))
        return st_cli_fail("ops", ST_EXIT_USAGE, "--act-group: %d is not 0, 32, 64, 128 or 256",
                           p->act_group);
    return ST_EXIT_OK;
}

/* ---- shapes ---- */

/* The shape with every type and group it can have. */
static bool expand(const ops_params *p, const choices *c, const st_op_shape *shape, st_op_shapes *out)
{
    static const st_type head = ST_F16;
    bool matrix = shape->op == ST_OP_LINEAR || shape->op == ST_OP_EMBED;
    bool dense = (shape->dense || shape->op == ST_OP_EMBED) && !p->types;
    int n_type = !matrix || dense ? 1 : c->n_type;
    for (int t = 0; t < n_type; t++) {
        st_type type = dense ? head : c->type[t];
        bool grouped = matrix && (type == ST_TERNARY || type == ST_Q8);
        for (int g = 0; g < (grouped ? c->n_group : 1); g++) {
            if (out->n == ST_MAX_OP_SHAPE)
                return false;
            st_op_shape *s = &out->shape[out->n++];
            *s = *shape;
            s->type = type;
            s->group = grouped ? c->group[g] : 0;
            s->act_group = p->act_group;
        }
    }
    return true;
}

static int read_shapes(const ops_params *p, const items *list, const choices *c, st_op_shapes *out)
{
    char message[256];
    static st_op_shapes found;
    for (int op = 0; op < ST_OP_COUNT; op++)
        for (int i = 0; c->op[op] && i < list->n; i++) {
            bool has;
            found.n = 0;
            if (!st_op_shapes_add(&found, (st_op)op, list->item[i], &has, message, sizeof message))
                return st_cli_fail("ops", ST_EXIT_USAGE, "--shape: %s", message);
            if (!has && !c->all_ops)
                return st_cli_fail("ops", ST_EXIT_USAGE,
                                   "--shape %s: that is matrices, and %s needs a model's shape",
                                   list->item[i], st_op_name((st_op)op));
            for (int j = 0; j < found.n; j++)
                if (!expand(p, c, &found.shape[j], out))
                    return st_cli_fail("ops", ST_EXIT_USAGE, "more than %d shapes", ST_MAX_OP_SHAPE);
        }
    return ST_EXIT_OK;
}

/* ---- the rest of the plan ---- */

static int read_series(const char *option, const char *text, int32_t min, int32_t max, int32_t *list, int *n)
{
    if (st_parse_series(text, min, max, list, n))
        return ST_EXIT_OK;
    return st_cli_fail(
        "ops", ST_EXIT_USAGE,
        "%s: '%s' is not a list of at most %d numbers of %d ... %d, such as 1,8 or 8-64+8 or 1-64*2", option,
        text, ST_MAX_SERIES, min, max);
}

static int read_threads(const ops_params *p, st_ops_plan *plan)
{
    int cpus = st_usable_cpus();
    plan->threads[0] = st_physical_cores();
    plan->n_threads = 1;
    if (!p->threads)
        return ST_EXIT_OK;
    int code = read_series("--threads", p->threads, 1, ST_MAX_THREAD, plan->threads, &plan->n_threads);
    for (int i = 0; i < plan->n_threads && code == ST_EXIT_OK; i++)
        if (plan->threads[i] > cpus)
            code = st_cli_fail("ops", ST_EXIT_USAGE, "--threads %d: this process may run on %d processor%s",
                               plan->threads[i], cpus, cpus == 1 ? "" : "s");
    if (code == ST_EXIT_OK && strcmp(p->device, "cpu") != 0 && strcmp(p->device, "auto") != 0)
        code = st_cli_fail("ops", ST_EXIT_USAGE, "--threads is for the cpu device, not for %s", p->device);
    return code;
}

static int read_footprint(const ops_params *p, st_ops_plan *plan)
{
    plan->cache = st_cache_bytes(ST_CACHE_FOLDER);
    plan->footprint = plan->cache ? 2 * plan->cache : UNKNOWN_FOOTPRINT;
    if (p->footprint < 0)
        return ST_EXIT_OK;
    plan->footprint = (size_t)p->footprint;
    if (plan->footprint < MIN_FOOTPRINT || plan->footprint > MAX_FOOTPRINT)
        return st_cli_fail("ops", ST_EXIT_USAGE, "--footprint: %zu bytes are out of range (64K ... 64G)",
                           plan->footprint);
    return ST_EXIT_OK;
}

static int read_plan(const ops_params *p, st_ops_plan *plan)
{
    choices c = {.n_type = 0};
    items ops = {.n = 0}, types = ops, shapes = ops;
    int code = ST_EXIT_OK;
    if (!st_format_parse(p->format, &plan->format))
        return st_cli_fail("ops", ST_EXIT_USAGE, "--output: '%s' is not table, md, csv or json", p->format);
    if (!items_open(&ops, p->ops) || !items_open(&types, p->types ? p->types : "ternary") ||
        !items_open(&shapes, p->shapes))
        code = st_cli_fail("ops", ST_EXIT_USAGE, "a list of more than %d items", MAX_ITEM);
    if (code == ST_EXIT_OK)
        code = read_ops(p, &ops, &c);
    if (code == ST_EXIT_OK)
        code = read_types(&types, &c);
    if (code == ST_EXIT_OK)
        code = read_groups(p, &c);
    if (code == ST_EXIT_OK)
        code = read_series("--rows", p->rows, 1, ST_MAX_BATCH, plan->rows, &plan->n_rows);
    if (code == ST_EXIT_OK)
        code = read_series("--depth", p->depths, 0, MAX_DEPTH, plan->depths, &plan->n_depths);
    if (code == ST_EXIT_OK)
        code = read_threads(p, plan);
    if (code == ST_EXIT_OK)
        code = read_footprint(p, plan);
    if (code == ST_EXIT_OK)
        code = read_shapes(p, &shapes, &c, &plan->shapes);
    free(ops.copy);
    free(types.copy);
    free(shapes.copy);
    return code;
}

static int ops_run(const void *params)
{
    const ops_params *p = params;
    static st_ops_plan plan;
    st_ops_result result = {.plan = &plan};
    st_compare *compare = NULL;
    plan = (st_ops_plan){.device = p->device,
                         .variant = p->variant,
                         .sequences = (st_ops_sequences)p->sequences,
                         .repetitions = p->repetitions,
                         .limit = (double)p->limit,
                         .baselines = !p->no_baselines,
                         .compare = p->compare};
    int code = read_plan(p, &plan);
    if (code == ST_EXIT_OK && p->compare)
        code = st_compare_open("ops", p->compare, st_ops_keys, st_ops_n_key, &compare);
    if (code == ST_EXIT_OK)
        code = st_ops_measure(&plan, &result);
    if (code == ST_EXIT_OK)
        code = st_ops_report(&result, compare, stdout);
    st_compare_close(&compare);
    st_ops_free(&result);
    return st_cli_finish("ops", stdout, "standard output", code);
}

static void ops_defaults(void *params)
{
    *(ops_params *)params = (ops_params){.ops = "all",
                                         .variant = "auto",
                                         .shapes = "bitnet-2b",
                                         .groups = "0",
                                         .rows = "1,2,4,8,32,128,512",
                                         .depths = "512,4096",
                                         .device = "cpu",
                                         .format = "table",
                                         .repetitions = 30,
                                         .footprint = -1,
                                         .limit = 20.0f};
}

#define AT(field) offsetof(ops_params, field)
static const st_option options[] = {
    {"--op", NULL, ST_OPTION_TEXT, AT(ops), 0, 0, "NAME,...", "ops, or all that the shapes have"},
    {"--variant", NULL, ST_OPTION_TEXT, AT(variant), 0, 0, "NAME",
     "auto: the one that the device chooses; all: each that takes the call; or one by name"},
    {"--shape", NULL, ST_OPTION_TEXT, AT(shapes), 0, 0, "NAME,...",
     "models (make-model --list names them; also bonsai-8b, bonsai-27b) and matrices NxK"},
    {"--type", NULL, ST_OPTION_TEXT, AT(types), 0, 0, "NAME,...",
     "of matrices: ternary, q8 (int8 input), f16, bf16, f32 (f32 input); default: ternary, heads and "
     "embeddings f16"},
    {"--group", NULL, ST_OPTION_TEXT, AT(groups), 0, 0, "N,...",
     "columns that share a scale, for ternary and q8: 0 (a row), 32, 64, 128, 256"},
    {"--act-group", NULL, ST_OPTION_INT, AT(act_group), 0, 256, "N",
     "columns of int8 inputs that share a scale"},
    {"--rows", "-n", ST_OPTION_TEXT, AT(rows), 0, 0, "N,...",
     "rows of a call: lists and ranges a-b, a-b+step, a-b*factor"},
    {"--depth", "-d", ST_OPTION_TEXT, AT(depths), 0, 0, "N,...", "attend: positions before the rows"},
    {"--sequences", NULL, ST_OPTION_CHOICE, AT(sequences), 0, 0, "auto|each|one",
     "attend: each row has a sequence of its own, or all are of one; auto: each up to 32 rows"},
    {"--threads", "-t", ST_OPTION_TEXT, AT(threads), 0, 0, "N,...", "CPU threads; default: physical cores"},
    {"--repetitions", "-r", ST_OPTION_INT, AT(repetitions), 1, 100000, "N", "runs of each line"},
    {"--limit", NULL, ST_OPTION_REAL, AT(limit), 0, 1e6, "SECONDS",
     "of a line: slow ones make fewer runs, 3 at least; 0 = none"},
    {"--footprint", NULL, ST_OPTION_SIZE, AT(footprint), 0, 0, "SIZE",
     "weights and KV in turn, 64K ... 64G; -1: twice the largest cache"},
    {"--no-baselines", NULL, ST_OPTION_FLAG, AT(no_baselines), 0, 0, NULL,
     "without products of dense weights beside linear"},
    {"--device", NULL, ST_OPTION_TEXT, AT(device), 0, 0, "NAME", "where to run; sterna devices lists them"},
    {"--compare", NULL, ST_OPTION_TEXT, AT(compare), 0, 0, "FILE",
     "set the rows of an earlier -o json beside these"},
    {"--output", "-o", ST_OPTION_TEXT, AT(format), 0, 0, "FORMAT", "table, md, csv or json"},
};

static const st_option_table table = {"options", options, sizeof options / sizeof options[0]};
static const st_option_group groups[] = {{&table, 0}};

const st_command st_command_ops = {
    .name = "ops",
    .summary = "Measure single ops: every variant, in the shapes of models, against the machine's limits.",
    .notes =
        "Copies of the weights, and pages of KV, are used in turn, so that each call finds its own in "
        "memory\n"
        "and not in a cache. Activations stay where they are, as in a step that has just written them. A\n"
        "virtual machine may show a cache that it shares: --footprint.\n"
        "\n"
        "  us          median duration of a call +- the middle half of all runs (from the first to the "
        "third\n"
        "              quartile) in %; short calls are repeated within a run\n"
        "  GB/s        bytes that the call has to move: weights, KV and activations, each once\n"
        "  GMAC/s      multiply-accumulates\n"
        "  read %      of the bandwidth of reading as many bytes as the footprint with as many threads, the "
        "best\n"
        "              of several loops; only for what is read from memory\n"
        "  int8 %      of the peak of int8 multiply-accumulates of the best instruction set the processor "
        "has\n"
        "\n"
        "Both limits are measured in the same run, before and between the lines, on a pool of threads like "
        "the\n"
        "device's. Variants and baselines take turns, a run each; the threads of others sleep meanwhile.\n"
        "Baselines of linear: a loop over FP16 weights for this processor (AVX-512, or AVX2 with fma), and\n"
        "OpenBLAS in FP32 if libopenblas.so.0 can be loaded.\n"
        "\n"
        "--compare: x faster is old us / us +- the spreads of both; within them the verdict is \"same\". "
        "\"new\":\n"
        "the file has no such row; \"missing\": only the file has it. Exit codes: 0 done, 1 failed, 2 wrong\n"
        "usage, 130 interrupted.",
    .groups = groups,
    .n_group = sizeof groups / sizeof groups[0],
    .params_size = sizeof(ops_params),
    .defaults = ops_defaults,
    .run = ops_run,
};
