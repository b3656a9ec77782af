/* The public functions of the engine: ends, limits, cancelling, errors, memory. */
#include "tests/support/counted/allocations.h"
#include "tests/support/engine_rig.h"
#include "tests/support/tiny_model.h"

#include <criterion/criterion.h>
#include <math.h>
#include <string.h>

/* ---- helpers ---- */

static sterna_model *small_model(void)
{
    tiny_spec spec;
    tiny_small(&spec);
    spec.n_context = 128;
    return tiny_open(&spec);
}

static sterna_engine_params params_of(int32_t n_sequence)
{
    sterna_engine_params params;
    sterna_engine_defaults(&params);
    params.device = "ref";
    params.n_sequence = n_sequence;
    params.n_batch = 64;
    return params;
}

static sterna_engine *open_engine(const sterna_model *model, int32_t n_sequence)
{
    sterna_engine_params params = params_of(n_sequence);
    sterna_engine *engine;
    sterna_error error;
    cr_assert_eq(sterna_engine_open(model, &params, &engine, &error), STERNA_OK, "%s", error.message);
    return engine;
}

static const sterna_token text[200] = {70, 71, 72, 73, 74, 75, 76, 77, 78, 79};

static sterna_request request_of(int32_t n_prompt, int32_t n_predict)
{
    sterna_request r;
    sterna_request_defaults(&r);
    r.prompt = text;
    r.n_prompt = n_prompt;
    r.n_predict = n_predict;
    r.ignore_end = true;
    return r;
}

/* Runs everything; returns the last event of the only request, and counts its tokens. */
static sterna_event run_one(sterna_engine *engine, const sterna_request *request, int32_t *n_token)
{
    sterna_error error;
    sterna_event last = {0};
    cr_assert_eq(sterna_submit(engine, request, NULL, &error), STERNA_OK, "%s", error.message);
    *n_token = 0;
    int64_t left;
    do {
        left = sterna_step(engine, &error);
        cr_assert_geq(left, 0, "%s", error.message);
        for (const sterna_event *event; (event = sterna_next(engine));) {
            cr_assert_eq(last.finish, STERNA_FINISH_NONE);
            *n_token += event->token >= 0;
            last = *event;
        }
    } while (left > 0);
    return last;
}

/* ---- ends ---- */

Test(engine, ends_by_length_and_by_context, .timeout = 30)
{
    sterna_model *model = small_model();
    sterna_engine *engine = open_engine(model, 1);
    static const struct {
        int32_t n_prompt, n_predict, expected;
    } cases[] = {{5, 3, 3},    {5, 1, 1},   {5, 0, 0},   {120, 50, 9},
                 {120, -1, 9}, {128, 7, 1}, {128, 0, 0}, {1, -1, 128}};
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        sterna_request r = request_of(cases[i].n_prompt, cases[i].n_predict);
        int32_t n;
        sterna_event last = run_one(engine, &r, &n);
        cr_expect_eq(n, cases[i].expected, "case %zu: %d tokens", i, n);
        cr_expect_eq(last.finish, STERNA_FINISH_LENGTH);
        cr_expect(last.n_prompt == r.n_prompt && last.n_generated == n);
        cr_expect(last.seconds_queued >= 0 && last.seconds_prompt > 0 && last.seconds_decode >= 0);
    }
    sterna_engine_close(&engine);
    cr_assert_null(engine);
    sterna_model_close(&model);
}

Test(engine, ends_at_an_end_token, .timeout = 30)
{
    sterna_model *model = small_model();
    sterna_engine *engine = open_engine(model, 1);
    bool stopped = false;
    for (uint64_t seed = 0; seed < 40 && !stopped; seed++) {
        sterna_request r = request_of(4, 100);
        r.ignore_end = false;
        r.temperature = 50.0f; /* nearly uniform */
        r.seed = seed;
        int32_t n;
        sterna_event last = run_one(engine, &r, &n);
        bool is_end = sterna_token_is_end(model, last.token);
        cr_assert_eq(last.finish, is_end ? STERNA_FINISH_STOP : STERNA_FINISH_LENGTH);
        if (is_end) {
            stopped = true;
            r.ignore_end = true; /* the same tokens, and more */
            int32_t more;
            run_one(engine, &r, &more);
            cr_assert_eq(more, 100);
        }
    }
    cr_assert(stopped, "no end token in 40 runs");
    sterna_engine_close(&engine);
    sterna_model_close(&model);
}

Test(engine, cancels_what_waits_and_what_runs, .timeout = 30)
{
    sterna_model *model = small_model();
    sterna_engine *engine = open_engine(model, 1);
    sterna_error error;
    sterna_request r = request_of(70, 5); /* two steps of prompt */
    sterna_request_id first, second, third;
    const sterna_event *event;
    cr_assert_eq(sterna_submit(engine, &r, &first, &error), STERNA_OK);
    cr_assert_eq(sterna_submit(engine, &r, &second, &error), STERNA_OK);
    cr_assert_eq(sterna_submit(engine, &r, &third, &error), STERNA_OK);
    cr_assert_eq(sterna_step(engine, &error), 3);
    cr_assert_eq(sterna_cancel(engine, first, &error), STERNA_OK);  /* in the middle of its prompt */
    cr_assert_eq(sterna_cancel(engine, second, &error), STERNA_OK); /* waiting */
    cr_assert_eq(sterna_cancel(engine, second, &error), STERNA_E_ARGUMENT);
    cr_assert_str_eq(error.message, "no unfinished request has the id 2");
    for (sterna_request_id id = first; id <= second; id++) {
        event = sterna_next(engine);
        cr_assert(event && event->id == id && event->finish == STERNA_FINISH_CANCEL);
        cr_assert(event->token == -1 && event->n_generated == 0 && event->n_prompt == 70);
    }
    cr_assert_null(sterna_next(engine));
    int tokens = 0;
    sterna_finish finish = STERNA_FINISH_NONE;
    while (sterna_step(engine, &error) > 0)
        ;
    for (; (event = sterna_next(engine)); tokens++) {
        cr_assert_eq(event->id, third);
        finish = event->finish;
    }
    cr_assert(tokens == 5 && finish == STERNA_FINISH_LENGTH);
    cr_assert_eq(sterna_step(engine, &error), 0);
    sterna_engine_close(&engine);
    sterna_model_close(&model);
}

Test(engine, full_event_queue_stops_steps_not_memory, .timeout = 60)
{
    sterna_model *model = small_model();
    sterna_engine *engine = open_engine(model, 1);
    sterna_error error;
    sterna_request r = request_of(1, 1);
    sterna_request_id id;
    int n = 0;
    sterna_status status = STERNA_OK;
    while (status == STERNA_OK && n < 2000) {
        cr_assert_eq(sterna_submit(engine, &r, &id, &error), STERNA_OK, "%s", error.message);
        status = sterna_cancel(engine, id, &error);
        n += status == STERNA_OK;
    }
    cr_assert_eq(status, STERNA_E_BUSY);
    cr_assert_str_eq(error.message, "1026 events wait to be taken; cancelling adds 1 to at most 1026");
    cr_assert_eq(n, 2 + ST_MAX_QUEUE);
    cr_assert_eq(sterna_step(engine, &error), STERNA_E_BUSY);
    cr_assert_str_eq(error.message, "1026 events wait to be taken; a step may add 1 to at most 1026");
    while (sterna_next(engine))
        n--;
    cr_assert_eq(n, 0);
    cr_assert_eq(sterna_step(engine, &error), 0);
    sterna_engine_close(&engine);
    sterna_model_close(&model);
}

/* ---- refusals ---- */

#define REFUSED(call, expected_status, expected_message)                                                     \
    do {                                                                                                     \
        sterna_error refused_;                                                                               \
        sterna_error *error = &refused_;                                                                     \
        cr_expect_eq(call, expected_status);                                                                 \
        cr_expect_str_eq(refused_.message, expected_message);                                                \
    } while (0)

Test(engine, refuses_bad_requests)
{
    sterna_model *model = small_model();
    sterna_engine *engine = open_engine(model, 1);
    sterna_request good = request_of(4, 4), r = good;
    r.struct_size = 8;
    REFUSED(sterna_submit(engine, &r, NULL, error), STERNA_E_ARGUMENT,
            "a request of 8 bytes instead of 136: sterna_request_defaults sets the size");
    r = good;
    r.n_prompt = 0;
    REFUSED(sterna_submit(engine, &r, NULL, error), STERNA_E_ARGUMENT, "the prompt has 0 tokens");
    const sterna_token bad[2] = {5, 272};
    r = good;
    r.prompt = bad;
    r.n_prompt = 2;
    REFUSED(sterna_submit(engine, &r, NULL, error), STERNA_E_ARGUMENT,
            "token 1 of the prompt is 272, not 0 ... 271");
    r = good;
    r.n_predict = -2;
    REFUSED(sterna_submit(engine, &r, NULL, error), STERNA_E_ARGUMENT, "n_predict is -2, not -1 or more");
    r = good;
    r.temperature = NAN;
    REFUSED(sterna_submit(engine, &r, NULL, error), STERNA_E_ARGUMENT,
            "temperature is nan, not a number from 0");
    r = good;
    r.top_p = 1.5f;
    REFUSED(sterna_submit(engine, &r, NULL, error), STERNA_E_ARGUMENT, "top_p is 1.5, not 0 ... 1");
    r = good;
    r.min_p = -0.5f;
    REFUSED(sterna_submit(engine, &r, NULL, error), STERNA_E_ARGUMENT, "min_p is -0.5, not 0 ... 1");
    r = good;
    r.top_k = -1;
    REFUSED(sterna_submit(engine, &r, NULL, error), STERNA_E_ARGUMENT, "top_k is -1, not 0 or more");
    r = request_of(129, 1);
    REFUSED(sterna_submit(engine, &r, NULL, error), STERNA_E_LIMIT,
            "the prompt has 129 tokens, but the context holds 128");
    float logprob[4];
    REFUSED(sterna_score(engine, text, 129, 1, logprob, error), STERNA_E_LIMIT,
            "129 tokens to score, but the context holds 128");
    REFUSED(sterna_score(engine, bad, 2, 1, logprob, error), STERNA_E_ARGUMENT,
            "token 1 is 272, not 0 ... 271");
    cr_assert_eq(sterna_submit(engine, &good, NULL, NULL), STERNA_OK);
    REFUSED(sterna_score(engine, text, 4, 1, logprob, error), STERNA_E_BUSY,
            "scoring needs an idle engine, but 1 samples are unfinished");
    sterna_engine_close(&engine);
    sterna_model_close(&model);
}

Test(engine, refuses_bad_parameters)
{
    sterna_model *model = small_model();
    sterna_engine *engine;
    sterna_engine_params good = params_of(1), p = good;
    p.struct_size = 0;
    cr_expect_eq(sterna_engine_open(model, &p, &engine, NULL), STERNA_E_ARGUMENT);
    p = good;
    p.n_context = 129;
    REFUSED(sterna_engine_open(model, &p, &engine, error), STERNA_E_LIMIT,
            "n_context is 129, but the model was made for 1 ... 128 positions");
    p = good;
    p.n_sequence = 65;
    REFUSED(sterna_engine_open(model, &p, &engine, error), STERNA_E_ARGUMENT,
            "n_sequence is 65, not 1 ... 64 (n_batch is 64)");
    p = good;
    p.n_batch = 8193;
    REFUSED(sterna_engine_open(model, &p, &engine, error), STERNA_E_ARGUMENT,
            "n_batch is 8193, not 1 ... 8192");
    p = good;
    p.kv_bytes = 100;
    REFUSED(sterna_engine_open(model, &p, &engine, error), STERNA_E_LIMIT,
            "kv_bytes is 100, but a page of 64 positions has 32768 bytes");
    p = good;
    p.device = "abacus";
    cr_expect_eq(sterna_engine_open(model, &p, &engine, NULL), STERNA_E_ARGUMENT);
    cr_expect_null(engine);
    sterna_model_close(&model);
}

/* ---- a row that is not a number ---- */

static const st_backend *real;
static const st_batch *current;

static bool begin(st_device *dev, const st_batch *batch)
{
    current = batch;
    return real->begin(dev, batch);
}

/* The head's input of every row whose token is 66 becomes NaN. CPU backends run ops at once. */
static void norm(st_device *dev, const st_norm_args *args)
{
    real->norm(dev, args);
    for (int32_t i = 0; args->rows == ST_ROWS_OUT && i < current->n_out; i++) {
        int32_t row, token;
        float nan = NAN;
        real->read(dev, current->out, (size_t)i * sizeof row, &row, sizeof row);
        if (row < 0)
            continue;
        real->read(dev, current->token, (size_t)row * sizeof token, &token, sizeof token);
        if (token == 66)
            real->write(dev, args->dst, (size_t)i * (size_t)args->dim * sizeof nan, &nan, sizeof nan);
    }
}

Test(engine, a_row_of_nan_ends_only_its_request, .timeout = 30)
{
    sterna_model *model = small_model();
    sterna_engine_params params = params_of(3);
    static rig r;
    rig_result alone;
    sterna_request good = request_of(6, 8), bad = good;
    const sterna_token prompt[3] = {70, 71, 66};
    bad.prompt = prompt;
    bad.n_prompt = 3;
    st_device *dev;
    cr_assert_eq(st_device_open("ref", &(st_device_params){0}, &dev, NULL), STERNA_OK);
    real = dev->backend;
    static st_backend table;
    table = *real;
    table.begin = begin;
    table.norm = norm;
    dev->backend = &table;
    alone = rig_alone(model, &params, rig_device("ref", 1, 0), &good, 0);
    for (int32_t i = 0; i < alone.n; i++)
        cr_assert_neq(alone.token[i], 66, "the good request must not meet the trap");
    rig_open(&r, model, &params, dev);
    rig_submit(&r, &good);
    sterna_request_id id;
    cr_assert_eq(sterna_submit(r.engine, &bad, &id, NULL), STERNA_OK);
    r.id[r.n_sample++] = id;
    rig_submit(&r, &good);
    cr_assert_eq(sterna_step(r.engine, NULL), 2);
    bool seen = false;
    for (int32_t i = 0; i < r.engine->events.count; i++) {
        const sterna_event *e = &r.engine->events.ring[i];
        seen = seen || (e->id == id && e->finish == STERNA_FINISH_ERROR &&
                        strstr(e->error.message, "after 3 tokens the largest logit is not finite"));
    }
    cr_assert(seen);
    rig_events(&r);
    while (rig_step(&r) > 0)
        ;
    cr_assert_eq(r.result[1].last.finish, STERNA_FINISH_ERROR);
    rig_compare(&r.result[0], &alone, false, "good", 0);
    rig_compare(&r.result[2], &alone, false, "good", 2);
    rig_close(&r);
    sterna_model_close(&model);
}

/* ---- a device that fails ---- */

static sterna_status (*real_end)(st_device *dev, sterna_error *error);
static int n_good_step;

static sterna_status failing_end(st_device *dev, sterna_error *error)
{
    sterna_status status = real_end(dev, error);
    return n_good_step-- > 0 ? status : st_fail(error, STERNA_E_DEVICE, "the device is gone");
}

Test(engine, a_failure_of_the_device_is_final, .timeout = 60)
{
    sterna_model *model = small_model();
    static rig r;
    st_device *dev = rig_device("cpu", 1, 0);
    static st_backend table;
    table = *dev->backend;
    real_end = table.end;
    table.end = failing_end;
    dev->backend = &table;
    n_good_step = 2;
    sterna_engine_params params = params_of(1);
    rig_open(&r, model, &params, dev);
    sterna_request q = request_of(10, 10);
    sterna_error error;
    rig_submit(&r, &q);
    cr_assert(rig_step(&r) == 1 && rig_step(&r) == 1 && r.result[0].n == 2);
    n_good_step = 0;
    for (int i = 0; i < 3; i++) {
        cr_assert_eq(sterna_step(r.engine, &error), STERNA_E_DEVICE);
        cr_assert_str_eq(error.message, "the device is gone");
        n_good_step = 100; /* it does not come back */
    }
    float logprob[9];
    cr_assert_eq(sterna_cancel(r.engine, r.id[0], &error), STERNA_OK);
    cr_assert_eq(sterna_score(r.engine, text, 10, 1, logprob, &error), STERNA_E_DEVICE);
    rig_close(&r);
    sterna_model_close(&model);
}

/* ---- abort ---- */

static bool always(void *user)
{
    return user != NULL;
}

Test(engine, ops_of_an_aborted_step_do_nothing)
{
    sterna_error error;
    st_device *dev;
    for (int aborts = 0; aborts <= 1; aborts++) {
        st_device_params params = {.n_thread = 1, .abort = always, .abort_user = aborts ? &error : NULL};
        cr_assert_eq(st_device_open("cpu", &params, &dev, &error), STERNA_OK);
        float in[4] = {1, 2, 3, 4}, weight[4] = {1, 1, 1, 1}, out[4] = {5, 5, 5, 5};
        int32_t zero = 0;
        st_buf *x, *w, *y, *pos;
        const st_backend *ops = dev->backend;
        cr_assert(ops->buf_wrap(dev, in, sizeof in, &x, &error) == STERNA_OK &&
                  ops->buf_wrap(dev, weight, sizeof weight, &w, &error) == STERNA_OK &&
                  ops->buf_wrap(dev, out, sizeof out, &y, &error) == STERNA_OK &&
                  ops->buf_wrap(dev, &zero, sizeof zero, &pos, &error) == STERNA_OK);
        st_batch batch = {.n_token = 1, .pos = pos};
        st_norm_args args = {.src = x, .dst = y, .weight = w, .dim = 4, .eps = 1e-5f, .rows = ST_ROWS_TOKEN};
        ops->begin(dev, &batch);
        ops->norm(dev, &args);
        cr_assert_eq(ops->end(dev, &error), aborts ? STERNA_E_ABORTED : STERNA_OK);
        cr_assert_eq(out[0] == 5.0f, aborts);
        ops->begin(dev, &batch); /* not sticky */
        ops->end(dev, &error);
        st_buf *all[] = {x, w, y, pos};
        for (int i = 0; i < 4; i++)
            ops->buf_destroy(dev, all[i]);
        st_device_close(&dev);
    }
}

/* ---- memory ---- */

static void steps_allocate_nothing(const char *device)
{
    sterna_model *model = small_model();
    sterna_engine_params params = params_of(3);
    params.device = device;
    params.hash_logits = true;
    params.n_draft = 3;
    const st_config *c = st_model_config(model);
    params.kv_bytes = (int64_t)st_kv_bytes(3, c->n_layer, c->n_kv_head, c->head_dim); /* too few: pauses */
    sterna_engine *engine;
    sterna_error error;
    cr_assert_eq(sterna_engine_open(model, &params, &engine, &error), STERNA_OK, "%s", error.message);
    const char *stop = "no such text";
    const sterna_logit_bias bias = {75, 1.5f};
    long before = n_allocation;
    for (int i = 0; i < 6; i++) {
        sterna_request r = request_of(10 + 17 * i, 10);
        r.temperature = (float)i; /* greedy, and unfiltered: the whole row */
        r.typical_p = i == 4 ? 0.7f : 1.0f;
        r.n_sample = 1 + i % 3;
        r.n_logprob = 4 * i;
        r.repetition_penalty = 1.1f;
        r.stop = &stop;
        r.n_stop = 1;
        r.bias = &bias;
        r.n_bias = 1;
        cr_assert_eq(sterna_submit(engine, &r, NULL, &error), STERNA_OK);
    }
    int64_t left;
    while ((left = sterna_step(engine, &error)) > 0)
        while (sterna_next(engine))
            ;
    cr_assert_eq(left, 0);
    float logprob[100];
    while (sterna_next(engine))
        ;
    cr_assert_eq(sterna_score(engine, text, 100, 1, logprob, &error), STERNA_OK);
    cr_assert_eq(n_allocation, before, "%s: %ld allocations while running", device, n_allocation - before);
    sterna_engine_close(&engine);
    sterna_model_close(&model);
}

Test(engine, steps_allocate_nothing, .timeout = 60)
{
    steps_allocate_nothing("ref");
    steps_allocate_nothing("cpu");
}

static void open_without_memory(const char *device, bool check)
{
    sterna_model *model = small_model();
    sterna_engine_params params = params_of(2);
    params.device = device;
    params.n_thread = 1;
    params.check = check;
    sterna_engine *engine;
    sterna_error error;
    sterna_status status = STERNA_E_MEMORY;
    long live = n_live, failures = 0;
    while (status != STERNA_OK) {
        n_allocation = 0;
        fail_at = ++failures;
        error = (sterna_error){0};
        status = sterna_engine_open(model, &params, &engine, &error);
        fail_at = 0;
        if (status == STERNA_OK)
            break;
        cr_assert_eq(status, STERNA_E_MEMORY, "allocation %ld: %s", failures, error.message);
        cr_assert(error.status == status && error.message[0]);
        cr_assert_null(engine);
        cr_assert_eq(n_live, live, "allocation %ld of %s: %ld blocks leak", failures, device, n_live - live);
    }
    cr_assert_gt(failures, 40);
    sterna_engine_close(&engine);
    cr_assert_eq(n_live, live, "%s: %ld blocks leak", device, n_live - live);
    sterna_model_close(&model);
}

Test(engine, every_allocation_may_fail, .timeout = 120)
{
    open_without_memory("ref", false);
    open_without_memory("cpu", false);
    open_without_memory("cpu", true);
}

static bool stop_halfway(void *user, uint64_t done, uint64_t total)
{
    (void)user;
    return done < total / 2;
}

Test(engine, upload_can_be_aborted)
{
    sterna_model *model = small_model();
    sterna_engine_params params = params_of(1);
    params.progress = stop_halfway;
    sterna_engine *engine;
    sterna_error error;
    long live = n_live;
    cr_assert_eq(sterna_engine_open(model, &params, &engine, &error), STERNA_E_ABORTED);
    cr_assert(strstr(error.message, "upload aborted after "));
    cr_assert_eq(n_live, live);
    sterna_model_close(&model);
}

Test(engine, statistics_count_bytes_and_rows, .timeout = 30)
{
    sterna_model *model = small_model();
    sterna_engine *engine = open_engine(model, 1);
    sterna_request r = request_of(70, 4); /* 64 + 6 rows of prompt, then 3 steps of one row */
    int32_t n;
    run_one(engine, &r, &n);
    sterna_statistics s = {.struct_size = sizeof s};
    cr_assert_eq(sterna_engine_statistics(engine, &s), STERNA_OK);
    cr_expect(s.n_step == 5 && s.n_prompt_token == 70 && s.n_decode_token == 3);
    cr_expect(s.n_logits_row == 0 && s.logits_hash == 0);
    cr_expect(s.seconds_prompt > 0 && s.seconds_decode > 0);
    const st_weights *w = &engine->forward.weights;
    uint64_t key = 2 * 2 * 2 * 32; /* K and V, f16, 2 heads of 32 */
    uint64_t fixed = w->pass_bytes + w->head->bytes + 128 * 2;
    uint64_t kv = 0;
    for (uint64_t length = 71; length <= 73; length++)
        kv += 2 * key * (length + 1); /* two layers: read all, write one */
    cr_expect_eq(s.bytes_decode, 3 * fixed + kv);
    cr_expect_eq(s.kv_bytes, 2 * 64 * 2 * key);
    sterna_device_info device = {.struct_size = sizeof device};
    cr_assert_eq(sterna_engine_device(engine, &device), STERNA_OK);
    cr_expect_str_eq(device.name, "ref");
    sterna_engine_close(&engine);
    sterna_model_close(&model);
}
