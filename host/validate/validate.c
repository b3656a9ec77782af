/* The runner: devices, the loop over variants and thread counts, and the table of results. */
#include "host/validate/runner.h"

#include <stdio.h>

static const struct {
    st_op op;
    void (*run)(st_suite *suite);
} ops[ST_OP_COUNT] = {
    {ST_OP_EMBED, st_validate_embed},
    {ST_OP_NORM, st_validate_norm},
    {ST_OP_NORM_QUANT, st_validate_norm_quant},
    {ST_OP_LINEAR, st_validate_linear},
    {ST_OP_ROPE_STORE, st_validate_rope_store},
    {ST_OP_ATTEND, st_validate_attend},
    {ST_OP_GLU_NORM_QUANT, st_validate_glu_norm_quant},
    {ST_OP_TOPK, st_validate_topk},
};

static const char *const size_names[] = {"tile", "real", "full"};

void st_validate_defaults(st_validate_options *options)
{
    *options = (st_validate_options){
        .device = "cpu", .seed = 1, .sample = 1, .share = 1, .n_thread_count = 1, .thread_count = {0}};
}

void st_suite_fail(st_suite *suite, sterna_status status, const char *format, ...)
{
    char text[sizeof suite->error->message];
    va_list args;
    va_start(args, format);
    vsnprintf(text, sizeof text, format, args);
    va_end(args);
    suite->status = st_fail(suite->error, status, "%s", text);
    longjmp(suite->failed, 1);
}

const st_validate_options *st_suite_options(const st_suite *suite)
{
    return suite->options;
}

int st_suite_tile_count(const st_suite *suite, int tile)
{
    static const int factor[] = {1, 0, 10};
    return tile * factor[suite->options->size];
}

int st_suite_real_count(const st_suite *suite, int real)
{
    return suite->options->size == ST_VALIDATE_TILE ? 0 : real;
}

void st_suite_shape(const st_suite *suite, int32_t *m, int32_t *n, int32_t *k)
{
    if (suite->options->shape[0] == 0)
        return;
    *m = suite->options->shape[0];
    *n = suite->options->shape[1];
    *k = suite->options->shape[2];
}

/* ---- one case on all variants ---- */

static st_validate_row *row_of(st_suite *suite, st_op op, const char *variant)
{
    st_validate_result *r = suite->result;
    for (int i = 0; i < r->n_row; i++)
        if (r->row[i].op == op && strcmp(r->row[i].variant, variant) == 0)
            return &r->row[i];
    if (r->n_row == ST_VALIDATE_MAX_ROW)
        st_suite_fail(suite, STERNA_E_LIMIT, "more than %d variants", ST_VALIDATE_MAX_ROW);
    st_validate_row *row = &r->row[r->n_row++];
    *row = (st_validate_row){.op = op};
    snprintf(row->variant, sizeof row->variant, "%s", variant);
    return row;
}

/* True if the case's op ran in the last step, by the trace: on the variant that was forced, since a strict
 * device takes no other. */
static bool did_run(st_suite *suite, const st_case *c, const char *variant)
{
    enum { MAX = 16 }; /* a case's step has one or two ops */
    st_trace_row rows[MAX];
    const st_backend *backend = suite->rig.dev->backend;
    int n = backend->trace(suite->rig.dev, rows, MAX);
    for (int i = 0; i < n && i < MAX; i++)
        if (rows[i].op == c->op) {
            if (strcmp(rows[i].variant, variant) != 0)
                st_suite_fail(suite, STERNA_E_DEVICE, "%s ran %s of %s and not %s, which was forced",
                              backend->name, rows[i].variant, st_op_name(c->op), variant);
            return true;
        }
    return false;
}

/* What the reference makes of the case, computed for the first variant that takes it. */
static void expect(st_suite *suite, st_case *c)
{
    if (suite->reference.dev)
        return;
    st_rig_open(c, suite->ref, false, &suite->reference);
    st_rig_run(c, &suite->reference);
    st_rig_expect(c, &suite->reference);
}

static void count_miss(st_suite *suite, const st_case *c, st_validate_row *row, const st_miss *miss,
                       int threads)
{
    const st_validate_options *o = suite->options;
    row->n_miss++;
    suite->result->n_miss++;
    if (row->n_miss > 1 && miss->difference <= row->worst)
        return;
    row->worst = miss->difference;
    snprintf(row->where, sizeof row->where, "%s", miss->where);
    snprintf(row->parameters, sizeof row->parameters, "%s", c->parameters);
    int length = snprintf(
        row->repeat, sizeof row->repeat,
        "sterna validate --device %s --op %s --variant %s --shape %dx%dx%d --seed %llu --size %s", o->device,
        st_op_name(c->op), row->variant, c->m, c->n, c->k, (unsigned long long)o->seed, size_names[o->size]);
    if (threads > 0 && length > 0 && (size_t)length < sizeof row->repeat)
        snprintf(row->repeat + length, sizeof row->repeat - (size_t)length, " --threads %d", threads);
}

/* False if the variant's predicate did not take the case. */
static bool try_variant(st_suite *suite, st_case *c, const char *variant, int threads)
{
    st_device *dev = suite->rig.dev;
    sterna_error error = {STERNA_OK, ""};
    if (dev->backend->force(dev, c->op, variant, &error) != STERNA_OK)
        st_suite_fail(suite, error.status, "variant %s of %s: %s", variant, st_op_name(c->op), error.message);
    st_validate_row *row = row_of(suite, c->op, variant);
    st_rig_run(c, &suite->rig);
    if (!did_run(suite, c, variant)) {
        row->n_not_applicable++;
        suite->result->n_not_applicable++;
        return false;
    }
    expect(suite, c);
    row->n_case++;
    suite->result->n_case++;
    st_miss miss = {0};
    if (!st_rig_compare(c, &suite->rig, &miss))
        count_miss(suite, c, row, &miss, threads);
    return true;
}

void st_case_end(st_case *c)
{
    st_suite *suite = c->suite;
    const st_validate_options *o = suite->options;
    if ((c->random >> 32) % (uint64_t)o->sample != 0)
        return;
    uint64_t not_applicable = 0; /* bit per variant: predicates do not look at threads */
    bool shared = c->random % (uint64_t)o->share == 0;
    for (int t = 0; t < (shared ? o->n_thread_count : 1); t++) {
        st_device *dev = suite->dev[t];
        const char *const *names;
        int n = dev->backend->variants(dev, c->op, &names);
        assert(n <= 64);
        st_rig_open(c, dev, suite->host, &suite->rig);
        for (int v = 0; v < n; v++)
            if ((!o->variant || strcmp(o->variant, names[v]) == 0) && !(not_applicable >> v & 1) &&
                !try_variant(suite, c, names[v], o->thread_count[t]))
                not_applicable |= UINT64_C(1) << v;
        dev->backend->force(dev, c->op, NULL, NULL);
        st_rig_close(&suite->rig);
    }
    if (!o->variant && !suite->reference.dev)
        st_suite_fail(suite, STERNA_E_DEVICE, "no variant of %s takes %dx%dx%d (%s)", st_op_name(c->op), c->m,
                      c->n, c->k, c->parameters);
    st_rig_close(&suite->reference);
}

/* ---- the whole suite ---- */

static sterna_status open_device(st_suite *suite, int32_t n_thread, st_device **dev)
{
    st_device_params params = {.n_thread = n_thread, .trace = true, .strict = true};
    const st_backend *backend = suite->options->backend;
    if (backend)
        return backend->open(0, &params, dev, suite->error);
    return st_device_open(suite->options->device, &params, dev, suite->error);
}

static sterna_status check_variant(const st_suite *suite, st_op only)
{
    const st_validate_options *o = suite->options;
    const st_device *dev = suite->dev[0];
    for (int op = 0; o->variant && op < ST_OP_COUNT; op++) {
        const char *const *names;
        int n = dev->backend->variants(dev, (st_op)op, &names);
        for (int v = 0; v < n; v++)
            if ((only == ST_OP_COUNT || (int)only == op) && strcmp(names[v], o->variant) == 0)
                return STERNA_OK;
    }
    if (!o->variant)
        return STERNA_OK;
    return st_fail(suite->error, STERNA_E_ARGUMENT, "device %s has no variant '%s'%s%s", o->device,
                   o->variant, only == ST_OP_COUNT ? "" : " of ",
                   only == ST_OP_COUNT ? "" : st_op_name(only));
}

static sterna_status check_options(const st_validate_options *o, sterna_error *error)
{
    if (o->n_thread_count < 1 || o->n_thread_count > ST_VALIDATE_MAX_THREADS)
        return st_fail(error, STERNA_E_ARGUMENT, "%d thread counts (1 ... %d)", o->n_thread_count,
                       ST_VALIDATE_MAX_THREADS);
    if (o->share < 1 || o->sample < 1)
        return st_fail(error, STERNA_E_ARGUMENT, "share is %d and sample %d, which must be at least 1",
                       o->share, o->sample);
    if (o->op && st_op_by_name(o->op) == ST_OP_COUNT)
        return st_fail(error, STERNA_E_ARGUMENT, "there is no op '%s'", o->op);
    const int32_t *s = o->shape;
    if (s[0] == 0 && s[1] == 0 && s[2] == 0)
        return STERNA_OK;
    if (!o->op)
        return st_fail(error, STERNA_E_ARGUMENT, "a shape needs an op, since each has its own dimensions");
    if (s[0] < 1 || s[0] > ST_MAX_BATCH || s[1] < 1 || s[1] > ST_MAX_ROWS || s[2] < 1 || s[2] > ST_MAX_COLS)
        return st_fail(error, STERNA_E_ARGUMENT, "shape %dx%dx%d: at most %dx%dx%d", s[0], s[1], s[2],
                       ST_MAX_BATCH, ST_MAX_ROWS, ST_MAX_COLS);
    st_op op = st_op_by_name(o->op);
    bool heads = op == ST_OP_ROPE_STORE || op == ST_OP_ATTEND;
    if (heads && (s[1] > ST_MAX_HEAD || s[2] < 2 || s[2] > ST_MAX_HEAD_DIM))
        return st_fail(error, STERNA_E_ARGUMENT, "shape %dx%dx%d: %s has at most %d heads of 2 ... %d", s[0],
                       s[1], s[2], o->op, ST_MAX_HEAD, ST_MAX_HEAD_DIM);
    if (op == ST_OP_TOPK && (s[2] > ST_MAX_TOPK || s[2] > s[1]))
        return st_fail(error, STERNA_E_ARGUMENT, "shape %dx%dx%d: topk returns at most %d of the %d tokens",
                       s[0], s[1], s[2], ST_MAX_TOPK, s[1]);
    return STERNA_OK;
}

static sterna_status run_suite(st_suite *suite)
{
    const st_validate_options *o = suite->options;
    st_op only = o->op ? st_op_by_name(o->op) : ST_OP_COUNT;
    st_device_params checked = {.n_thread = 1, .check = true};
    sterna_status status = st_device_open("ref", &checked, &suite->ref, suite->error);
    for (int t = 0; t < o->n_thread_count && status == STERNA_OK; t++)
        status = open_device(suite, o->thread_count[t], &suite->dev[t]);
    if (status == STERNA_OK)
        status = check_variant(suite, only);
    if (status != STERNA_OK)
        return status;
    suite->host = strcmp(suite->dev[0]->backend->name, "cpu") == 0;
    if (setjmp(suite->failed) == 0)
        for (int i = 0; i < ST_OP_COUNT; i++)
            if (only == ST_OP_COUNT || only == ops[i].op)
                ops[i].run(suite);
    return suite->status;
}

sterna_status st_validate(const st_validate_options *options, st_validate_result *result, sterna_error *error)
{
    *result = (st_validate_result){0};
    sterna_error local;
    sterna_status status = check_options(options, error);
    if (status != STERNA_OK)
        return status;
    st_suite *suite = st_calloc(1, sizeof *suite);
    /* Untouched pages cost nothing; the largest case of the real shapes needs 1.1 GB. */
    size_t arena_bytes = (size_t)(options->size == ST_VALIDATE_TILE && options->shape[0] == 0 ? 64 : 1536)
                         << 20;
    if (suite) {
        suite->arena = st_alloc(arena_bytes);
        suite->arena_bytes = arena_bytes;
    }
    if (!suite || !suite->arena) {
        st_free(suite);
        return st_fail(error, STERNA_E_MEMORY, "no memory for the suite (%zu bytes)", arena_bytes);
    }
    suite->options = options;
    suite->result = result;
    suite->error = error ? error : &local;
    status = run_suite(suite);
    st_rig_close(&suite->rig);
    st_rig_close(&suite->reference);
    st_device_close(&suite->ref);
    for (int t = 0; t < options->n_thread_count; t++)
        st_device_close(&suite->dev[t]);
    st_free(suite->arena);
    st_free(suite);
    return status;
}
