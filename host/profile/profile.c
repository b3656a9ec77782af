#include "host/profile/profile.h"

#include "host/base/parallel.h"
#include "host/engine/engine.h"
#include "host/profile/collect.h"

#include <string.h>
#include <sys/resource.h>

/* A machine that is busy with other things gives its best only now and then. */
#define CEILING_SECONDS 0.5
/* Energy counters of 32 bits and 15 microjoules wrap after some minutes at 200 W. */
#define LOOK_SECONDS 30.0

const char *st_place_name(st_place place)
{
    static const char *const names[ST_PLACE_COUNT] = {"embedding", "qkv",  "attention", "attention output",
                                                      "gate/up",   "down", "head"};
    return names[place];
}

const char *st_phase_name(st_phase phase)
{
    static const char *const names[ST_PHASE_COUNT] = {"prefill", "decode"};
    return names[phase];
}

void st_profile_defaults(st_profile_options *options)
{
    *options = (st_profile_options){.device = "auto",
                                    .n_generate = 64,
                                    .n_sequence = 1,
                                    .n_batch = 512,
                                    .seed = 1,
                                    .energy_folder = ST_ENERGY_FOLDER,
                                    .ceiling_seconds = CEILING_SECONDS};
}

typedef struct measurement {
    const sterna_model *model;
    const st_config *config;
    st_profile_options *options; /* the profile's */
    st_profile *profile;
    sterna_engine *engine;
    st_probe *probe; /* the engine's device */
    st_collector collector;
    st_energy energy;
    double looked; /* time of the last look at the energy counters */
    double base;   /* time that counts as 0 in steps: later and later, by what the profiler itself takes */
    int32_t n_context;   /* positions of a sequence */
    sterna_token *token; /* [n_sequence][n_prompt] */
    sterna_request_id first_id;
    bool *started; /* [n_sequence] has generated a token */
} measurement;

/* ---- what is asked for ---- */

/* Tokens that a sequence may generate before the prompts of all others are computed. */
static int64_t early_tokens(const st_profile_options *o, int64_t n_prompt)
{
    int64_t rows = o->n_batch - o->n_sequence + 1; /* of a step that prompts get */
    return st_ceil_div((o->n_sequence - 1) * n_prompt, rows) + 1;
}

static int64_t positions(const st_profile_options *o, int64_t n_prompt)
{
    return n_prompt + early_tokens(o, n_prompt) + o->n_generate;
}

static sterna_status check_options(measurement *m, sterna_error *error)
{
    enum { DEFAULT_PROMPT = 512 };
    st_profile_options *o = m->options;
    if (o->n_batch < 1 || o->n_batch > ST_MAX_BATCH)
        return st_fail(error, STERNA_E_ARGUMENT, "%d rows a step, not 1 ... %d", o->n_batch, ST_MAX_BATCH);
    if (o->n_sequence < 1 || o->n_sequence > ST_MAX_SEQUENCE || o->n_sequence > o->n_batch)
        return st_fail(error, STERNA_E_ARGUMENT, "%d sequences, not 1 ... %d (a step has %d rows)",
                       o->n_sequence, (int)st_min(ST_MAX_SEQUENCE, o->n_batch), o->n_batch);
    if (o->n_prompt < 0 || o->n_generate < 1)
        return st_fail(error, STERNA_E_ARGUMENT,
                       "%d prompt tokens and %d decode steps, not 1 or more of each", o->n_prompt,
                       o->n_generate);
    if (o->n_prompt == 0)
        for (o->n_prompt = DEFAULT_PROMPT;
             o->n_prompt > 1 && positions(o, o->n_prompt) > m->config->n_context;)
            o->n_prompt--;
    int64_t needed = positions(o, o->n_prompt), all = (int64_t)o->n_sequence * o->n_prompt;
    if (needed > m->config->n_context)
        return st_fail(
            error, STERNA_E_LIMIT,
            "%d prompt tokens, up to %lld generated before all prompts are computed, and %d decode "
            "steps need %lld positions; the model was made for %d",
            o->n_prompt, (long long)early_tokens(o, o->n_prompt), o->n_generate, (long long)needed,
            m->config->n_context);
    if (all > ST_QUEUE_TOKENS && o->n_sequence > 1)
        return st_fail(error, STERNA_E_LIMIT, "%d sequences of %d prompt tokens are %lld; the queue holds %d",
                       o->n_sequence, o->n_prompt, (long long)all, ST_QUEUE_TOKENS);
    m->n_context = (int32_t)needed;
    return STERNA_OK;
}

/* splitmix64 */
static uint64_t random_word(uint64_t *state)
{
    uint64_t z = *state += UINT64_C(0x9e3779b97f4a7c15);
    z = (z ^ z >> 30) * UINT64_C(0xbf58476d1ce4e5b9);
    z = (z ^ z >> 27) * UINT64_C(0x94d049bb133111eb);
    return z ^ z >> 31;
}

static sterna_status make_prompts(measurement *m, sterna_error *error)
{
    size_t n = (size_t)m->options->n_sequence * (size_t)m->options->n_prompt;
    uint64_t state = m->options->seed;
    m->token = st_calloc(n, sizeof *m->token);
    m->started = st_calloc((size_t)m->options->n_sequence, sizeof *m->started);
    if (!m->token || !m->started)
        return st_fail(error, STERNA_E_MEMORY, "out of memory for prompts of %zu tokens", n);
    for (size_t i = 0; i < n; i++)
        m->token[i] = (sterna_token)(random_word(&state) % (uint64_t)m->config->n_vocab);
    return STERNA_OK;
}

/* ---- the engine, on a device that tells times ---- */

static sterna_status open_engine(measurement *m, sterna_error *error)
{
    const st_profile_options *o = m->options;
    int32_t cpus = st_usable_cpus();
    st_device_params params = {.n_thread = (int32_t)st_min(o->n_thread, cpus),
                               .trace = true,
                               .check = o->check,
                               .abort = o->abort,
                               .abort_user = o->user,
                               .log = {o->log, o->user}};
    if (o->n_thread > cpus)
        st_log_write(&params.log, STERNA_LOG_WARN,
                     "%d threads asked for, but this process may use %d processors: %d threads run",
                     o->n_thread, cpus, cpus);
    st_device *inner = NULL, *dev = NULL;
    sterna_status status = st_device_open(o->device, &params, &inner, error);
    if (status == STERNA_OK)
        status = st_probe_open(inner, &dev, error);
    if (status != STERNA_OK)
        return status;
    sterna_engine_params engine;
    sterna_engine_defaults(&engine);
    engine.device = o->device;
    engine.n_context = m->n_context;
    engine.n_sequence = o->n_sequence;
    engine.n_batch = o->n_batch;
    engine.head = o->head;
    engine.n_thread = o->n_thread;
    engine.prefill = STERNA_PREFILL_FIFO;
    engine.no_prefix_cache = true; /* prompts are computed, all of them */
    engine.log = o->log;
    engine.progress = o->progress;
    engine.abort = o->abort;
    engine.user = o->user;
    m->probe = st_probe_of(dev);
    return st_engine_open_on(m->model, &engine, dev, &m->engine, error);
}

static void describe(measurement *m)
{
    st_profile *p = m->profile;
    const st_weights *w = &m->engine->forward.weights;
    sterna_statistics s = {.struct_size = sizeof s};
    p->model.struct_size = sizeof p->model;
    p->device.struct_size = sizeof p->device;
    sterna_model_describe(m->model, &p->model);
    sterna_engine_device(m->engine, &p->device);
    sterna_engine_statistics(m->engine, &s);
    p->pass_bytes = w->pass_bytes + w->head->bytes;
    p->weight_bytes = s.weight_bytes;
    p->kv_bytes = s.kv_bytes;
    p->n_page = s.n_page;
    if (strcmp(p->device.name, "ref") == 0)
        p->n_thread = 1;
    else if (strcmp(p->device.name, "cpu") == 0)
        p->n_thread = st_thread_count(m->options->n_thread);
}

/* ---- steps ---- */

static sterna_status submit(measurement *m, int32_t sequence, int32_t n_prompt, int32_t n_predict,
                            sterna_request_id *id, sterna_error *error)
{
    sterna_request r;
    sterna_request_defaults(&r);
    r.prompt = m->token + (size_t)sequence * (size_t)m->options->n_prompt;
    r.n_prompt = n_prompt;
    r.n_predict = n_predict;
    r.ignore_end = true;
    r.temperature = 0.0f;
    return sterna_submit(m->engine, &r, id, error);
}

/* Takes the events of a step. A sequence that ends or fails ends the profile. */
static sterna_status take_events(measurement *m, sterna_error *error)
{
    const sterna_event *event;
    while ((event = sterna_next(m->engine))) {
        if (event->finish == STERNA_FINISH_ERROR)
            return st_fail(error, event->error.status, "%s", event->error.message);
        int64_t sequence = event->id - m->first_id;
        if (event->token >= 0 && sequence >= 0 && sequence < m->options->n_sequence)
            m->started[sequence] = true;
    }
    return STERNA_OK;
}

static void look_at_energy(measurement *m, bool now)
{
    double seconds = st_seconds();
    if (!now && seconds - m->looked < LOOK_SECONDS)
        return;
    st_energy_look(&m->energy);
    m->looked = seconds;
}

/* One step, with its times and ops added to the phase. */
static sterna_status measure_step(measurement *m, st_phase phase, sterna_error *error)
{
    const st_probe *probe = m->probe;
    double start = st_seconds();
    int64_t left = sterna_step(m->engine, error);
    double finish = st_seconds();
    if (left < 0)
        return (sterna_status)left;
    double own = probe->own_before + probe->own_after;
    sterna_statistics s = {.struct_size = sizeof s};
    sterna_engine_statistics(m->engine, &s);
    st_profile_step step = {.phase = phase,
                            .start = start - m->base,
                            .begin = probe->begun - probe->own_before - m->base,
                            .end = probe->ended - probe->own_before - m->base,
                            .finish = finish - own - m->base,
                            .n_token = probe->rows->n_token,
                            .n_out = probe->rows->n_out,
                            .n_page_used = s.n_page_used};
    m->base += own;
    sterna_status status = st_collect(&m->collector, probe, &step, error);
    look_at_energy(m, false);
    return status == STERNA_OK ? take_events(m, error) : status;
}

static int64_t processors_taken(void)
{
    struct rusage usage;
    return getrusage(RUSAGE_SELF, &usage) == 0 ? (int64_t)usage.ru_nivcsw : 0;
}

static int32_t count_started(const measurement *m)
{
    int32_t n = 0;
    for (int32_t i = 0; i < m->options->n_sequence; i++)
        n += m->started[i];
    return n;
}

/* One short sequence: memory is touched, threads are up, code is in the caches. */
static sterna_status warm_up(measurement *m, sterna_error *error)
{
    enum { DECODE_STEPS = 3 };
    int32_t n_prompt = (int32_t)st_min(m->options->n_prompt, m->options->n_batch);
    int32_t n_predict = (int32_t)st_min(DECODE_STEPS, m->n_context - n_prompt); /* at least 2 */
    sterna_status status = submit(m, 0, n_prompt, n_predict, NULL, error);
    m->first_id = INT64_MAX; /* nobody's events count */
    for (int64_t left = 1; left > 0 && status == STERNA_OK;) {
        left = sterna_step(m->engine, error);
        status = left < 0 ? (sterna_status)left : take_events(m, error);
    }
    return status;
}

/* Runs steps of a phase: prefill until every sequence has a token, decode for n_generate steps. */
static sterna_status run_phase(measurement *m, st_phase which, sterna_error *error)
{
    const st_profile_options *o = m->options;
    st_profile_phase *phase = &m->profile->phase[which];
    sterna_statistics before = {.struct_size = sizeof before}, after = {.struct_size = sizeof after};
    sterna_engine_statistics(m->engine, &before);
    look_at_energy(m, true);
    uint64_t package = m->energy.package, dram = m->energy.dram;
    sterna_status status = STERNA_OK;
    int64_t n_row = 0, taken = processors_taken();
    for (int32_t i = 0; status == STERNA_OK; i++) {
        bool done = which == ST_PHASE_PREFILL ? count_started(m) == o->n_sequence : i == o->n_generate;
        if (done)
            break;
        status = measure_step(m, which, error);
        n_row += m->probe->rows->n_token;
        if (status == STERNA_OK && which == ST_PHASE_DECODE && m->probe->rows->n_token != o->n_sequence)
            status = st_fail(error, STERNA_E_DEVICE, "a decode step has %d rows for %d sequences",
                             m->probe->rows->n_token, o->n_sequence);
    }
    phase->n_taken = processors_taken() - taken;
    look_at_energy(m, true);
    sterna_engine_statistics(m->engine, &after);
    phase->package_uj = m->energy.package - package;
    phase->dram_uj = m->energy.dram - dram;
    phase->engine_bytes = after.bytes_prompt + after.bytes_decode - before.bytes_prompt - before.bytes_decode;
    phase->n_token = which == ST_PHASE_PREFILL ? (int64_t)o->n_sequence * o->n_prompt : n_row;
    phase->n_mixed = n_row - phase->n_token;
    return status;
}

static sterna_status run_phases(measurement *m, sterna_error *error)
{
    const st_profile_options *o = m->options;
    sterna_status status = STERNA_OK;
    for (int32_t i = 0; i < o->n_sequence && status == STERNA_OK; i++) {
        sterna_request_id id;
        status = submit(m, i, o->n_prompt, -1, &id, error);
        m->first_id = i == 0 ? id : m->first_id;
    }
    m->base = m->looked = st_seconds();
    if (status == STERNA_OK)
        status = run_phase(m, ST_PHASE_PREFILL, error);
    if (status == STERNA_OK)
        status = run_phase(m, ST_PHASE_DECODE, error);
    st_collect_end(&m->collector);
    return status;
}

/* ---- the machine ---- */

static sterna_status measure_ceilings(st_profile *p, sterna_error *error)
{
    double seconds = p->options.ceiling_seconds;
    if (p->n_thread == 0) {
        snprintf(p->no_ceiling, sizeof p->no_ceiling,
                 "ceilings are measured for the host's memory, not yet for that of device %s",
                 p->device.name);
        return STERNA_OK;
    }
    if (seconds <= 0.0) {
        snprintf(p->no_ceiling, sizeof p->no_ceiling, "ceilings were not measured");
        return STERNA_OK;
    }
    sterna_status status =
        st_ceiling_read(p->n_thread, p->device.isa, (size_t)p->pass_bytes, seconds, &p->read, error);
    return status == STERNA_OK ? st_ceiling_int8(p->n_thread, p->device.isa, seconds, &p->int8, error)
                               : status;
}

/* ---- the whole ---- */

static sterna_status measure(measurement *m, sterna_error *error)
{
    const st_profile_options *o = m->options;
    st_profile *p = m->profile;
    sterna_status status = check_options(m, error);
    if (status == STERNA_OK)
        status = make_prompts(m, error);
    if (status == STERNA_OK)
        status = open_engine(m, error);
    if (status != STERNA_OK)
        return status;
    describe(m);
    int64_t rows = o->n_batch - o->n_sequence + 1;
    int64_t max_step =
        st_ceil_div((int64_t)o->n_sequence * o->n_prompt, rows) + o->n_sequence + o->n_generate;
    status = st_collector_open(&m->collector, p, &m->engine->forward.weights, (int32_t)max_step, error);
    if (status == STERNA_OK)
        status = warm_up(m, error);
    st_energy_open(&m->energy, o->energy_folder);
    if (status == STERNA_OK)
        status = run_phases(m, error);
    memcpy(p->no_energy, m->energy.why_not, sizeof p->no_energy);
    p->n_package = m->energy.n_package;
    p->n_dram = m->energy.n_dram;
    return status;
}

sterna_status st_profile_run(const sterna_model *model, const st_profile_options *options,
                             st_profile *profile, sterna_error *error)
{
    memset(profile, 0, sizeof *profile);
    profile->options = *options;
    measurement m = {
        .model = model, .config = st_model_config(model), .options = &profile->options, .profile = profile};
    sterna_status status = measure(&m, error);
    st_collector_close(&m.collector);
    sterna_engine_close(&m.engine);
    st_free(m.token);
    st_free(m.started);
    if (status == STERNA_OK) /* with the engine's memory free again, and its threads gone */
        status = measure_ceilings(profile, error);
    if (status != STERNA_OK)
        st_profile_free(profile);
    return status;
}

void st_profile_free(st_profile *profile)
{
    for (int phase = 0; phase < ST_PHASE_COUNT; phase++)
        st_free(profile->phase[phase].layer);
    st_free(profile->step);
    st_free(profile->event);
    memset(profile, 0, sizeof *profile);
}

double st_profile_joules(const st_profile *profile, const st_profile_phase *phase)
{
    if (profile->no_energy[0] || phase->n_token == 0)
        return -1.0;
    return 1e-6 * (double)(phase->package_uj + phase->dram_uj) / (double)phase->n_token;
}
