/* Measures lines: the variants of an op and the baselines take turns, a run each, so that whatever else the
 * machine does is shared by all; ceilings are sampled in between. */
#include "bench/baseline.h"
#include "bench/measure.h"
#include "bench/ops.h"
#include "bench/setup.h"
#include "host/base/parallel.h"

#include <stdlib.h>

enum {
    MAX_CONTENDER = 16,
    MIN_RUN = 3, /* whatever the limit says */
    WAKE_CALLS = 3,
    SAMPLES = 5,   /* of the ceilings, for each line's turns */
    AUTO_EACH = 32 /* rows that are a sequence each without --sequences */
};
#define RUN_SECONDS     20e-6 /* least duration of a run: the clock's steps and cost vanish in it */
#define WAKE_SECONDS    0.1   /* some ticks, and what moves a thread to another core */
#define CEILING_SECONDS 0.1   /* of each loop, before the first line */

typedef struct contender {
    const char *variant; /* forced; NULL: the device's choice */
    st_baseline *baseline;
    double *sample; /* [repetitions] seconds of a call */
    double least;   /* seconds of a call, so far */
    int n, n_call;
    double spent;
    const char *ran; /* the variant that ran */
} contender;

typedef struct measurement {
    const st_ops_plan *plan;
    st_ops_result *result;
    st_device *dev;
    st_ceilings *ceilings; /* NULL: not measured */
    st_op_rig rig;
    st_baseline *baseline[ST_BASELINE_COUNT];
    contender contender[MAX_CONTENDER];
    int n_contender;
    const void *pool; /* whose threads ran last: the ceilings', a baseline's or the device's */
    double *samples;  /* [MAX_CONTENDER][repetitions] */
    sterna_error error;
} measurement;

static int fail(const measurement *m)
{
    st_setup_progress(NULL);
    if (st_setup_interrupted())
        return ST_EXIT_INTERRUPTED;
    return st_cli_fail("ops", ST_EXIT_FAILURE, "%s", m->error.message);
}

/* ---- contenders ---- */

static sterna_status run_once(measurement *m, contender *c, int n_call, double *seconds)
{
    if (c->baseline) {
        double start = st_clock();
        for (int i = 0; i < n_call; i++)
            st_baseline_run(c->baseline, m->rig.n_row);
        *seconds = (st_clock() - start) / n_call;
        return STERNA_OK;
    }
    sterna_status status = m->dev->backend->force(m->dev, m->rig.shape->op, c->variant, &m->error);
    return status == STERNA_OK ? st_op_rig_run(&m->rig, n_call, seconds, &c->ran, &m->error) : status;
}

/* True if the threads that ran last were others, which sleep now. */
static bool change_pool(measurement *m, const void *pool)
{
    bool changes = m->pool != pool;
    if (changes && m->pool)
        st_settle();
    m->pool = pool;
    return changes;
}

/* Woken threads may share a core until one of the next ticks moves them. So calls that are not counted go on
 * until some in a row are near the shortest of the contender, or for WAKE_SECONDS. */
static sterna_status wake(measurement *m, contender *c)
{
    double end = st_clock() + WAKE_SECONDS, seconds;
    for (int good = 0; good < WAKE_CALLS && st_clock() < end;) {
        sterna_status status = run_once(m, c, 1, &seconds);
        if (status != STERNA_OK)
            return status;
        good = c->least > 0.0 && seconds < 1.5 * c->least ? good + 1 : 0;
    }
    return STERNA_OK;
}

static sterna_status run_awake(measurement *m, contender *c, int n_call, double *seconds)
{
    bool changes = change_pool(m, c->baseline ? (const void *)c->baseline : m->dev);
    sterna_status status = changes && c->least < WAKE_SECONDS ? wake(m, c) : STERNA_OK;
    if (status == STERNA_OK)
        status = run_once(m, c, n_call, seconds);
    if (status == STERNA_OK && (c->least == 0.0 || *seconds < c->least))
        c->least = *seconds;
    return status;
}

/* A first run, which is not counted, tells what runs and how long it takes. A forced variant that does not
 * take the call is no contender. */
static sterna_status add_contender(measurement *m, const char *variant, st_baseline *baseline)
{
    double seconds;
    assert(m->n_contender < MAX_CONTENDER);
    contender *c = &m->contender[m->n_contender];
    *c = (contender){.variant = variant,
                     .baseline = baseline,
                     .sample = m->samples + (size_t)m->n_contender * (size_t)m->plan->repetitions};
    sterna_status status = run_awake(m, c, 1, &seconds);
    if (status != STERNA_OK || (variant && strcmp(variant, c->ran) != 0))
        return status;
    double calls = seconds > 0.0 ? RUN_SECONDS / seconds : ST_RIG_MAX_CALL;
    c->n_call = calls < 1.0 ? 1 : calls > ST_RIG_MAX_CALL ? ST_RIG_MAX_CALL : (int)calls + 1;
    if (c->n_call > ST_RIG_MAX_CALL)
        c->n_call = ST_RIG_MAX_CALL;
    m->n_contender++;
    return STERNA_OK;
}

static sterna_status add_contenders(measurement *m)
{
    const char *const *names;
    int n = m->dev->backend->variants(m->dev, m->rig.shape->op, &names);
    const char *wanted = m->plan->variant;
    sterna_status status = STERNA_OK;
    m->n_contender = 0;
    if (strcmp(wanted, "auto") == 0)
        status = add_contender(m, NULL, NULL);
    else
        for (int i = 0; i < n && status == STERNA_OK; i++)
            if (strcmp(wanted, "all") == 0 || strcmp(wanted, names[i]) == 0)
                status = add_contender(m, names[i], NULL);
    for (int i = 0; i < ST_BASELINE_COUNT && status == STERNA_OK; i++)
        if (m->baseline[i])
            status = add_contender(m, NULL, m->baseline[i]);
    return status;
}

/* ---- lines ---- */

static sterna_status add_line(measurement *m, const contender *c)
{
    st_ops_result *r = m->result;
    if (r->n_line == r->room) {
        int room = r->room ? 2 * r->room : 64;
        st_ops_line *line = realloc(r->line, (size_t)room * sizeof *line);
        if (!line)
            return st_fail(&m->error, STERNA_E_MEMORY, "out of memory for %d lines", room);
        r->line = line;
        r->room = room;
    }
    st_ops_line *l = &r->line[r->n_line++];
    const st_op_shape *s = m->rig.shape;
    bool weights = s->op == ST_OP_LINEAR || s->op == ST_OP_EMBED;
    *l = (st_ops_line){.shape = s,
                       .rows = {m->rig.n_row, m->rig.depth, m->rig.prompt},
                       .machine = r->n_machine - 1,
                       .type = weights ? st_type_name(s->type) : "",
                       .n_run = c->n,
                       .n_call = c->n_call,
                       .bytes = st_op_rig_bytes(&m->rig),
                       .macs = st_op_rig_macs(&m->rig),
                       .footprint = st_op_rig_footprint(&m->rig),
                       .int8 = st_op_is_int8(s)};
    snprintf(l->variant, sizeof l->variant, "%s", c->ran ? c->ran : "");
    for (int i = 0; c->baseline && i < ST_BASELINE_COUNT; i++)
        if (c->baseline == m->baseline[i]) {
            snprintf(l->variant, sizeof l->variant, "%s (%s)", st_baseline_name(i),
                     st_baseline_how(c->baseline));
            l->type = st_baseline_type(i);
            l->bytes = st_baseline_bytes(c->baseline, m->rig.n_row);
            l->footprint = m->plan->footprint;
            l->int8 = false;
            l->baseline = true;
        }
    size_t n = (size_t)c->n;
    st_sort(c->sample, n);
    l->seconds = st_median(c->sample, n);
    l->least = c->sample[0];
    l->most = c->sample[n - 1];
    l->iqr_percent = 100.0 * (st_percentile(c->sample, n, 75) - st_percentile(c->sample, n, 25)) / l->seconds;
    return STERNA_OK;
}

static bool has_time(const measurement *m, const contender *c)
{
    return c->n < MIN_RUN || m->plan->limit <= 0.0 || c->spent < m->plan->limit;
}

static sterna_status run_turns(measurement *m)
{
    int32_t turns = m->plan->repetitions;
    int32_t every = turns / SAMPLES > 0 ? turns / SAMPLES : 1;
    for (int32_t turn = 0; turn < turns; turn++) {
        bool any = false;
        if (m->ceilings && turn % every == 0) {
            change_pool(m, m->ceilings);
            st_ceilings_sample(m->ceilings);
        }
        for (int i = 0; i < m->n_contender; i++) {
            contender *c = &m->contender[i];
            if (!has_time(m, c))
                continue;
            double start = st_clock();
            sterna_status status = run_awake(m, c, c->n_call, &c->sample[c->n]);
            if (status != STERNA_OK)
                return status;
            if (st_setup_interrupted())
                return st_fail(&m->error, STERNA_E_ABORTED, "interrupted");
            c->spent += st_clock() - start;
            c->n++;
            any = true;
        }
        if (!any)
            break;
    }
    return STERNA_OK;
}

static sterna_status measure_rows(measurement *m, const st_op_rows *rows)
{
    st_setup_progress("%s %s, %d rows, %d threads", st_op_name(m->rig.shape->op), m->rig.shape->name,
                      rows->n_row, m->result->machine[m->result->n_machine - 1].n_thread);
    sterna_status status = st_op_rig_rows(&m->rig, rows, &m->error);
    if (status == STERNA_OK)
        status = add_contenders(m);
    if (status == STERNA_OK)
        status = run_turns(m);
    for (int i = 0; i < m->n_contender && status == STERNA_OK; i++)
        status = add_line(m, &m->contender[i]);
    return status;
}

/* ---- shapes ---- */

/* The rows of an op's lines; ops that do not look at positions have no depths. Returns their number. */
static int rows_of(const st_ops_plan *plan, st_op op, st_op_rows rows[ST_MAX_SERIES * ST_MAX_SERIES])
{
    int n = 0;
    bool positions = op == ST_OP_ATTEND;
    for (int d = 0; d < (positions ? plan->n_depths : 1); d++)
        for (int i = 0; i < plan->n_rows; i++) {
            bool each = plan->sequences == ST_OPS_EACH ||
                        (plan->sequences == ST_OPS_AUTO && plan->rows[i] <= AUTO_EACH);
            rows[n++] = (st_op_rows){.n_row = plan->rows[i],
                                     .depth = positions ? plan->depths[d] : 0,
                                     .prompt = !positions || !each};
        }
    return n;
}

/* Baselines of a matrix stand beside its first type and group. */
static bool has_baselines(const st_ops_plan *plan, int shape)
{
    const st_op_shape *s = &plan->shapes.shape[shape];
    if (!plan->baselines || s->op != ST_OP_LINEAR)
        return false;
    for (int i = 0; i < shape; i++)
        if (plan->shapes.shape[i].op == s->op && strcmp(plan->shapes.shape[i].name, s->name) == 0)
            return false;
    return true;
}

static void open_baselines(measurement *m, int shape)
{
    const st_op_shape *s = &m->plan->shapes.shape[shape];
    int32_t n_thread = m->result->machine[m->result->n_machine - 1].n_thread;
    for (int i = 0; i < ST_BASELINE_COUNT && has_baselines(m->plan, shape); i++)
        m->baseline[i] = st_baseline_open(i, s->n, s->k, m->rig.max_row, n_thread, m->plan->footprint,
                                          m->result->no_baseline[i], sizeof m->result->no_baseline[i]);
}

static sterna_status measure_shape(measurement *m, int shape)
{
    static st_op_rows rows[ST_MAX_SERIES * ST_MAX_SERIES];
    const st_op_shape *s = &m->plan->shapes.shape[shape];
    int n = rows_of(m->plan, s->op, rows);
    st_setup_progress("%s %s: filling", st_op_name(s->op), s->name);
    sterna_status status = st_op_rig_open(&m->rig, m->dev, s, m->plan->footprint, rows, n, &m->error);
    if (status == STERNA_OK)
        open_baselines(m, shape);
    for (int i = 0; i < n && status == STERNA_OK; i++)
        status = measure_rows(m, &rows[i]);
    for (int i = 0; i < ST_BASELINE_COUNT; i++)
        st_baseline_close(&m->baseline[i]);
    st_op_rig_close(&m->rig);
    return status;
}

/* ---- the machine ---- */

static bool abort_asked(void *user)
{
    (void)user;
    return st_setup_interrupted();
}

static bool is_host(const st_device *dev)
{
    return strcmp(dev->backend->name, "cpu") == 0 || strcmp(dev->backend->name, "ref") == 0;
}

/* Facts of the device that `name` opened. */
static void describe(const char *name, const st_device *dev, sterna_device_info *found)
{
    const char *backend = dev->backend->name;
    bool any = strcmp(name, "auto") == 0;
    for (int i = 0; i < sterna_device_count(); i++) {
        sterna_device_info info = {.struct_size = sizeof info};
        size_t length = strlen(any ? backend : name);
        sterna_device_describe(i, &info);
        if (!info.available || strncmp(info.name, any ? backend : name, length) != 0)
            continue;
        if (any ? !info.software : info.name[length] == '\0' || strcmp(info.name + length, ":0") == 0) {
            *found = info;
            return;
        }
    }
}

static bool has_variant(const st_device *dev, const st_op_shapes *shapes, const char *variant)
{
    for (int i = 0; i < shapes->n; i++) {
        const char *const *names;
        int n = dev->backend->variants(dev, shapes->shape[i].op, &names);
        for (int j = 0; j < n; j++)
            if (strcmp(names[j], variant) == 0)
                return true;
    }
    return strcmp(variant, "all") == 0 || strcmp(variant, "auto") == 0;
}

static sterna_status measure_ceilings(measurement *m, int32_t n_thread)
{
    st_ops_result *r = m->result;
    if (r->device.software)
        snprintf(r->no_ceilings, sizeof r->no_ceilings,
                 "a software driver: its times are nobody's speed, so there are no rates");
    else if (!is_host(m->dev))
        snprintf(r->no_ceilings, sizeof r->no_ceilings,
                 "measured for the host's memory, not yet for that of device %s", r->device.name);
    if (r->no_ceilings[0])
        return STERNA_OK;
    st_setup_progress("ceilings, %d threads", n_thread);
    sterna_status status =
        st_ceilings_open(n_thread, NULL, m->plan->footprint, CEILING_SECONDS, &m->ceilings, &m->error);
    m->pool = m->ceilings;
    return status;
}

static void keep_ceilings(measurement *m, st_ops_machine *machine)
{
    if (!m->ceilings)
        return;
    machine->measured = true;
    machine->read = *st_ceilings_read(m->ceilings);
    machine->int8 = *st_ceilings_int8(m->ceilings);
    while (st_ceilings_int8_of(m->ceilings, machine->n_isa, &machine->isa[machine->n_isa]))
        machine->n_isa++;
}

/* All shapes with one number of threads. */
static int measure_machine(measurement *m, int32_t n_thread)
{
    const st_ops_plan *plan = m->plan;
    st_device_params params = {.n_thread = n_thread, .trace = true, .abort = abort_asked};
    if (st_device_open(plan->device, &params, &m->dev, &m->error) != STERNA_OK)
        return fail(m);
    describe(plan->device, m->dev, &m->result->device);
    st_ops_machine *machine = &m->result->machine[m->result->n_machine++];
    machine->n_thread = strcmp(m->dev->backend->name, "cpu") == 0 ? n_thread : 1;
    if (!has_variant(m->dev, &plan->shapes, plan->variant))
        return st_cli_fail("ops", ST_EXIT_USAGE, "--variant: device %s has no variant '%s' of these ops",
                           m->result->device.name, plan->variant);
    sterna_status status = measure_ceilings(m, machine->n_thread);
    for (int i = 0; i < plan->shapes.n && status == STERNA_OK; i++)
        status = measure_shape(m, i);
    keep_ceilings(m, machine);
    return status == STERNA_OK ? ST_EXIT_OK : fail(m);
}

int st_ops_measure(const st_ops_plan *plan, st_ops_result *result)
{
    int code = ST_EXIT_OK;
    *result = (st_ops_result){.plan = plan};
    measurement *m = calloc(1, sizeof *m);
    double *samples = calloc((size_t)MAX_CONTENDER * (size_t)plan->repetitions, sizeof *samples);
    if (!m || !samples)
        code = st_cli_fail("ops", ST_EXIT_FAILURE, "out of memory");
    st_setup_catch_interrupts();
    for (int i = 0; i < plan->n_threads && code == ST_EXIT_OK; i++) {
        *m = (measurement){.plan = plan, .result = result, .samples = samples};
        code = measure_machine(m, plan->threads[i]);
        st_ceilings_close(&m->ceilings);
        st_device_close(&m->dev);
    }
    st_setup_progress(NULL);
    free(samples);
    free(m);
    return code;
}

void st_ops_free(st_ops_result *result)
{
    free(result->line);
    result->line = NULL;
}
