/* Whole profiles of small models: every second and byte is somewhere, once, and all reports say the same. */
#include "host/profile/profile.h"
#include "tests/support/tiny_model.h"

#include <criterion/criterion.h>
#include <jansson.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

/* Runs a profile of a tiny model; ends the test if that fails. */
static st_profile run(const sterna_model *model, const st_profile_options *options)
{
    st_profile p;
    sterna_error error = {0};
    sterna_status status = st_profile_run(model, options, &p, &error);
    cr_assert_eq(status, STERNA_OK, "%s", error.message);
    return p;
}

static st_profile_options small_options(const char *device)
{
    st_profile_options o;
    st_profile_defaults(&o);
    o.device = device;
    o.n_thread = 1;
    o.n_prompt = 20;
    o.n_generate = 5;
    o.energy_folder = "/nowhere";
    o.ceiling_seconds = 0.0;
    return o;
}

static bool near(double a, double b)
{
    return fabs(a - b) <= 1e-9 + 1e-6 * fabs(b);
}

/* ---- sums ---- */

static void check_rows(const st_profile *p, st_phase which)
{
    const st_profile_phase *phase = &p->phase[which];
    st_cost cost = {0}, layers = {0};
    double seconds = 0.0, layer_seconds = 0.0;
    for (int i = 0; i < phase->n_row; i++) {
        const st_profile_row *row = &phase->row[i];
        seconds += row->seconds;
        st_cost_add(&cost, &row->cost);
        cr_expect(row->calls > 0 && row->cost.bytes == row->cost.weight + row->cost.kv + row->cost.other);
        cr_expect(i == 0 || phase->row[i - 1].place <= row->place, "rows are in the model's order");
        if (row->place == ST_PLACE_EMBEDDING || row->place == ST_PLACE_HEAD) {
            layer_seconds += row->seconds;
            st_cost_add(&layers, &row->cost);
        }
    }
    for (int32_t i = 0; i < p->model.n_layer; i++) {
        double places = 0.0;
        for (int place = 0; place < ST_PLACE_COUNT; place++)
            places += phase->layer[i].place_seconds[place];
        cr_expect(near(places, phase->layer[i].seconds));
        layer_seconds += phase->layer[i].seconds;
        st_cost_add(&layers, &phase->layer[i].cost);
    }
    cr_expect(near(seconds, phase->op_seconds));
    cr_expect(near(layer_seconds, phase->op_seconds), "layers, embedding and head are all");
    cr_expect_eq(memcmp(&cost, &phase->cost, sizeof cost), 0);
    cr_expect_eq(memcmp(&layers, &phase->cost, sizeof layers), 0);
    cr_expect(near(phase->device_seconds + phase->host_seconds, phase->seconds));
    cr_expect(phase->op_seconds <= phase->device_seconds && phase->host_seconds > 0.0);
}

static void check_steps(const st_profile *p, st_phase which)
{
    const st_profile_phase *phase = &p->phase[which];
    double seconds = 0.0, last = 0.0;
    int32_t n_step = 0;
    uint64_t bytes = 0, of_row[ST_PROFILE_MAX_ROW] = {0};
    for (int32_t i = 0; i < p->n_step; i++) {
        const st_profile_step *s = &p->step[i];
        cr_expect(s->start >= last && s->begin > s->start && s->end > s->begin && s->finish > s->end);
        last = s->finish;
        if (s->phase != which)
            continue;
        n_step++;
        seconds += s->finish - s->start;
        double at = s->begin;
        for (int32_t e = 0; e < s->n_event; e++) {
            const st_profile_event *event = &p->event[s->first_event + e];
            cr_expect(event->start >= at - 1e-9, "ops do not overlap");
            at = event->start + (double)event->seconds * (1.0 - 1e-6);
            cr_expect(at <= s->end + 1e-9);
            bytes += event->bytes;
            of_row[event->row] += event->bytes;
        }
    }
    for (int i = 0; i < phase->n_row; i++)
        cr_expect_eq(of_row[i], phase->row[i].cost.bytes, "row %d", i);
    cr_expect_eq(n_step, phase->n_step);
    cr_expect(near(seconds, phase->seconds));
    cr_expect_eq(bytes, phase->cost.bytes);
    cr_assert(phase->typical >= 0 && p->step[phase->typical].phase == which);
}

/* The engine's own count, from which rows of a sequence share what they read. */
static uint64_t keys_once(const tiny_spec *spec, int64_t length, int64_t count)
{
    return (uint64_t)(4 * spec->n_kv_head * spec->head_dim * spec->n_layer * (length + count));
}

static const st_profile_row *find_row(const st_profile_phase *phase, st_op op, st_place place)
{
    for (int i = 0; i < phase->n_row; i++)
        if (phase->row[i].op == op && phase->row[i].place == place)
            return &phase->row[i];
    cr_assert(false, "no %s of %s", st_op_name(op), st_place_name(place));
    return NULL;
}

/* The row of "down" from the model's shape, by st_bytes_linear. */
static void check_down(const st_profile *p, const tiny_spec *spec, st_phase which, int32_t n_row)
{
    const st_profile_row *row = find_row(&p->phase[which], ST_OP_LINEAR, ST_PLACE_DOWN);
    st_weight w = {
        .type = ST_TERNARY, .rows = spec->n_embd, .cols = spec->n_ff, .bytes = row->cost.weight / row->calls};
    st_qact q = {.max_row = n_row, .cols = spec->n_ff};
    st_linear_args args = {.weight = &w, .quant = &q, .accumulate = true};
    cr_expect_eq(row->calls, (uint64_t)(spec->n_layer * p->phase[which].n_step));
    cr_expect_eq(row->cost.bytes, row->calls * st_bytes_linear(&args, n_row));
    uint64_t weights = (uint64_t)spec->n_embd * (uint64_t)spec->n_ff;
    cr_expect_eq(row->cost.multiply_accumulate, row->calls * (uint64_t)n_row * weights);
    cr_expect_eq(row->cost.fp16 - row->cost.bytes + row->cost.weight, row->calls * 2 * weights);
    cr_expect_geq(w.bytes, weights / 4);
    cr_expect_leq(w.bytes, weights / 4 + 4 * (uint64_t)spec->n_embd + 64);
}

Test(profile, sums_and_bytes, .timeout = 120)
{
    tiny_spec spec;
    tiny_defaults(&spec);
    sterna_model *model = tiny_open(&spec);
    static const char *const devices[] = {"ref", "cpu"};
    for (int d = 0; d < 4; d++) {
        st_profile_options o = small_options(devices[d % 2]);
        o.check = d >= 2;
        st_profile p = run(model, &o);
        for (int phase = 0; phase < ST_PHASE_COUNT; phase++) {
            check_rows(&p, (st_phase)phase);
            check_steps(&p, (st_phase)phase);
        }
        const st_profile_phase *prefill = &p.phase[0], *decode = &p.phase[1];
        cr_expect(prefill->n_step == 1 && prefill->n_token == 20 && prefill->n_mixed == 0);
        cr_expect(decode->n_step == 5 && decode->n_token == 5 && decode->n_mixed == 0);
        check_down(&p, &spec, ST_PHASE_PREFILL, 20);
        check_down(&p, &spec, ST_PHASE_DECODE, 1);
        /* Alone in a step a row shares with nobody, so both counts are the same. */
        cr_expect_eq(decode->cost.weight + decode->cost.kv, decode->engine_bytes);
        cr_expect_eq(prefill->cost.weight + keys_once(&spec, 20, 20), prefill->engine_bytes);
        cr_expect_gt(decode->cost.fp16, decode->cost.int8);
        cr_expect_gt(decode->cost.int8, decode->cost.int4);
        cr_expect_gt(decode->cost.int4, decode->cost.bytes);
        cr_expect_eq(p.n_thread, 1);
        st_profile_free(&p);
    }
    sterna_model_close(&model);
}

/* Parts of a stack that are uploaded apart, norms after branches, untied heads: every op finds its place. */
Test(profile, places, .timeout = 120)
{
    static const char *const archs[] = {"bitnet-b1.58", "bitnet", "llama"};
    for (int i = 0; i < 6; i++) {
        tiny_spec spec;
        tiny_defaults(&spec);
        spec.arch = archs[i / 2];
        spec.tied = i % 2;
        spec.tensor_scales = i / 2 == 1;
        sterna_model *model = tiny_open(&spec);
        st_profile_options o = small_options("cpu");
        st_profile p = run(model, &o);
        for (int phase = 0; phase < ST_PHASE_COUNT; phase++) {
            uint64_t linears[ST_PLACE_COUNT] = {0};
            for (int r = 0; r < p.phase[phase].n_row; r++)
                if (p.phase[phase].row[r].op == ST_OP_LINEAR)
                    linears[p.phase[phase].row[r].place] += p.phase[phase].row[r].calls;
            uint64_t layers = (uint64_t)(spec.n_layer * p.phase[phase].n_step);
            cr_expect(linears[ST_PLACE_QKV] == layers || linears[ST_PLACE_QKV] == 3 * layers);
            cr_expect(linears[ST_PLACE_ATTENTION_OUTPUT] == layers && linears[ST_PLACE_DOWN] == layers);
            cr_expect(linears[ST_PLACE_GATE_UP] == layers || linears[ST_PLACE_GATE_UP] == 2 * layers);
            cr_expect_eq(linears[ST_PLACE_HEAD], (uint64_t)p.phase[phase].n_step);
            static const st_place normed[] = {ST_PLACE_QKV, ST_PLACE_ATTENTION_OUTPUT, ST_PLACE_GATE_UP};
            for (int n = 0; n < 3; n++)
                cr_expect_eq(find_row(&p.phase[phase], ST_OP_NORM_QUANT, normed[n])->calls, layers);
            cr_expect_eq(find_row(&p.phase[phase], ST_OP_GLU_NORM_QUANT, ST_PLACE_DOWN)->calls, layers);
            cr_expect_eq(find_row(&p.phase[phase], ST_OP_NORM, ST_PLACE_HEAD)->calls,
                         (uint64_t)p.phase[phase].n_step);
            cr_expect(linears[ST_PLACE_EMBEDDING] == 0 && linears[ST_PLACE_ATTENTION] == 0);
            check_rows(&p, (st_phase)phase);
        }
        st_profile_free(&p);
        sterna_model_close(&model);
    }
}

/* More sequences than a step has rows for prompts: those that are done generate meanwhile. */
Test(profile, many_sequences, .timeout = 120)
{
    tiny_spec spec;
    tiny_defaults(&spec);
    sterna_model *model = tiny_open(&spec);
    st_profile_options o = small_options("cpu");
    o.n_sequence = 4;
    o.n_batch = 12;
    st_profile p = run(model, &o);
    cr_expect(p.phase[0].n_token == 80 && p.phase[0].n_mixed > 0 && p.phase[0].n_step > 7);
    cr_expect(p.phase[1].n_step == 5 && p.phase[1].n_token == 20);
    for (int32_t i = 0; i < p.n_step; i++)
        cr_expect(p.step[i].phase == ST_PHASE_PREFILL || p.step[i].n_token == 4);
    for (int phase = 0; phase < ST_PHASE_COUNT; phase++) {
        check_rows(&p, (st_phase)phase);
        check_steps(&p, (st_phase)phase);
    }
    cr_expect_eq(p.phase[1].cost.weight + p.phase[1].cost.kv, p.phase[1].engine_bytes);
    st_profile_free(&p);
    sterna_model_close(&model);
}

/* ---- what cannot be profiled ---- */

static void expect_error(const sterna_model *model, const st_profile_options *o, sterna_status status,
                         const char *message)
{
    st_profile p;
    sterna_error error = {0};
    cr_expect_eq(st_profile_run(model, o, &p, &error), status, "%s", error.message);
    cr_expect_str_eq(error.message, message, "%s", error.message);
}

static bool always(void *user)
{
    (void)user;
    return true;
}

Test(profile, errors, .timeout = 120)
{
    tiny_spec spec;
    tiny_defaults(&spec);
    sterna_model *model = tiny_open(&spec);
    st_profile_options good = small_options("cpu"), o = good;
    o.n_prompt = 300;
    expect_error(
        model, &o, STERNA_E_LIMIT,
        "300 prompt tokens, up to 1 generated before all prompts are computed, and 5 decode steps need "
        "306 positions; the model was made for 256");
    o = good;
    o.n_sequence = 11;
    o.n_batch = 10;
    expect_error(model, &o, STERNA_E_ARGUMENT, "11 sequences, not 1 ... 10 (a step has 10 rows)");
    o = good;
    o.n_generate = 0;
    expect_error(model, &o, STERNA_E_ARGUMENT, "20 prompt tokens and 0 decode steps, not 1 or more of each");
    o = good;
    o.n_batch = 9000;
    expect_error(model, &o, STERNA_E_ARGUMENT, "9000 rows a step, not 1 ... 8192");
    o = good;
    o.device = "gpu";
    expect_error(model, &o, STERNA_E_ARGUMENT,
                 "unknown device 'gpu' (known: auto, cpu, ref, cuda[:N], vulkan[:N])");
    o = good;
    o.abort = always;
    expect_error(model, &o, STERNA_E_ABORTED, "aborted before a step");
    /* What is not asked for is chosen to fit. */
    o = good;
    o.n_prompt = 0;
    st_profile p = run(model, &o);
    cr_expect_eq(p.options.n_prompt, 250, "%d", p.options.n_prompt);
    st_profile_free(&p);
    sterna_model_close(&model);
}

/* ---- energy ---- */

static char counter[128];

/* Asked before every op: uses a millijoule. */
static bool use_energy(void *user)
{
    int *n = user;
    FILE *f = fopen(counter, "w");
    cr_assert(f && fprintf(f, "%d\n", 1000 * ++*n) > 0);
    fclose(f);
    return false;
}

Test(profile, energy, .timeout = 120)
{
    char folder[] = "/tmp/sterna-power-XXXXXX", path[128], command[512];
    cr_assert_not_null(mkdtemp(folder));
    snprintf(path, sizeof path, "%s/intel-rapl:0", folder);
    cr_assert_eq(mkdir(path, 0700), 0);
    snprintf(counter, sizeof counter, "%s/intel-rapl:0/energy_uj", folder);
    snprintf(command, sizeof command,
             "echo package-0 > %s/name && echo 0 > %s/energy_uj && echo 999999999 > %s/max_energy_range_uj",
             path, path, path);
    cr_assert_eq(system(command), 0);
    tiny_spec spec;
    tiny_defaults(&spec);
    sterna_model *model = tiny_open(&spec);
    st_profile_options o = small_options("cpu");
    int n = 0;
    o.energy_folder = folder;
    o.abort = use_energy;
    o.user = &n;
    st_profile p = run(model, &o);
    cr_expect_str_eq(p.no_energy, "");
    for (int phase = 0; phase < ST_PHASE_COUNT; phase++) {
        uint64_t calls = 0;
        for (int i = 0; i < p.phase[phase].n_row; i++)
            calls += p.phase[phase].row[i].calls;
        /* Each op and each step asks once. */
        cr_expect_eq(p.phase[phase].package_uj, 1000 * (calls + (uint64_t)p.phase[phase].n_step));
        cr_expect(near(st_profile_joules(&p, &p.phase[phase]),
                       1e-6 * (double)p.phase[phase].package_uj / (double)p.phase[phase].n_token));
    }
    st_profile_free(&p);
    sterna_model_close(&model);
    snprintf(command, sizeof command, "rm -r %s", folder);
    cr_assert_eq(system(command), 0);
}

/* ---- reports ---- */

typedef void (*writer)(const st_profile *p, FILE *out);

static void write_table(const st_profile *p, FILE *out)
{
    st_profile_table(p, true, out);
}

/* What a report writes; free it. */
static char *text_of(const st_profile *p, writer write)
{
    char *text = NULL;
    size_t size;
    FILE *out = open_memstream(&text, &size);
    cr_assert_not_null(out);
    write(p, out);
    cr_assert_eq(fclose(out), 0);
    cr_expect_eq(strlen(text), size);
    /* Numbers that are none do not come out as such. */
    cr_expect(!strstr(text, "nan") && !strstr(text, "-inf") && !strstr(text, "inf "),
              "a number that is none");
    return text;
}

static json_t *parse(const char *text, size_t size)
{
    json_error_t error;
    json_t *value = json_loadb(text, size, JSON_REJECT_DUPLICATES, &error);
    cr_assert_not_null(value, "line %d: %s", error.line, error.text);
    return value;
}

static double real_of(const json_t *object, const char *key)
{
    const json_t *value = json_object_get(object, key);
    cr_assert(json_is_number(value), "%s", key);
    return json_number_value(value);
}

static uint64_t whole_of(const json_t *object, const char *key)
{
    const json_t *value = json_object_get(object, key);
    cr_assert(json_is_integer(value), "%s", key);
    return (uint64_t)json_integer_value(value);
}

static st_profile profile_of_demo(void)
{
    tiny_spec spec;
    tiny_defaults(&spec);
    sterna_model *model = tiny_open(&spec);
    st_profile_options o = small_options("cpu");
    o.ceiling_seconds = 0.01;
    st_profile p = run(model, &o);
    p.model.name = "a </script><b>\"&\x01 \xff name"; /* the model closes; the name must not */
    p.model.architecture = "bitnet";
    sterna_model_close(&model);
    return p;
}

static void check_json(const st_profile *p, const json_t *root)
{
    cr_expect_str_eq(json_string_value(json_object_get(json_object_get(root, "model"), "name")),
                     "a </script><b>\"&\x01 \xef\xbf\xbd name");
    const json_t *phases = json_object_get(root, "phases");
    cr_assert_eq(json_array_size(phases), 2u);
    for (size_t i = 0; i < 2; i++) {
        const json_t *phase = json_array_get(phases, i), *rows = json_object_get(phase, "rows");
        const st_profile_phase *expected = &p->phase[i];
        cr_expect_eq(json_array_size(rows), (size_t)expected->n_row);
        uint64_t bytes = 0, fp16 = 0;
        double share = 0.0;
        for (size_t r = 0; r < json_array_size(rows); r++) {
            const json_t *row = json_array_get(rows, r);
            bytes += whole_of(row, "bytes");
            fp16 += whole_of(row, "fp16_bytes");
            share += real_of(row, "share");
            cr_expect(near(real_of(row, "bytes_per_second"),
                           (double)whole_of(row, "bytes") / expected->row[r].seconds));
            cr_expect(
                near(real_of(row, "read_ceiling_share") * p->read.rate, real_of(row, "bytes_per_second")));
        }
        double left = real_of(phase, "unaccounted_seconds") + real_of(phase, "host_seconds");
        cr_expect(fabs(share + left / real_of(phase, "seconds") - 1.0) < 1e-6, "shares add up to 1");
        cr_expect_eq(bytes, whole_of(phase, "bytes"));
        cr_expect_eq(bytes, expected->cost.bytes);
        cr_expect_eq(fp16, expected->cost.fp16);
        cr_expect(near(real_of(phase, "fp16_factor"), (double)fp16 / (double)bytes));
        cr_expect_eq(json_array_size(json_object_get(phase, "layers")), 2u);
        cr_expect_eq(json_array_size(json_object_get(phase, "steps")), (size_t)expected->n_step);
        cr_expect(json_is_null(json_object_get(phase, "joules_per_token")), "no counters, no joules");
    }
}

Test(report, json, .timeout = 120)
{
    st_profile p = profile_of_demo();
    char *text = text_of(&p, st_profile_json);
    json_t *root = parse(text, strlen(text));
    check_json(&p, root);
    const json_t *read = json_object_get(json_object_get(root, "ceilings"), "read");
    cr_expect(near(real_of(read, "bytes_per_second"), p.read.rate));
    cr_expect(json_is_string(json_object_get(json_object_get(root, "energy"), "why_not")));
    json_decref(root);
    free(text);
    st_profile_free(&p);
}

Test(report, trace, .timeout = 120)
{
    st_profile p = profile_of_demo();
    char *text = text_of(&p, st_profile_trace);
    json_t *root = parse(text, strlen(text));
    const json_t *events = json_object_get(root, "traceEvents");
    uint64_t bytes = 0;
    double seconds = 0.0, step_end = 0.0;
    int n_counter = 0, n_lane = 0;
    for (size_t i = 0; i < json_array_size(events); i++) {
        const json_t *e = json_array_get(events, i), *args = json_object_get(e, "args");
        const char *ph = json_string_value(json_object_get(e, "ph"));
        const char *cat = json_string_value(json_object_get(e, "cat"));
        cr_assert_not_null(ph);
        n_counter += *ph == 'C';
        n_lane += strcmp(json_string_value(json_object_get(e, "name")), "thread_name") == 0;
        if (*ph != 'X')
            continue;
        cr_expect_geq(real_of(e, "dur"), 0.0);
        if (strcmp(cat, "step") == 0) {
            cr_expect_geq(real_of(e, "ts"), step_end - 0.01);
            step_end = real_of(e, "ts") + real_of(e, "dur");
        }
        cr_expect_leq(real_of(e, "ts") + real_of(e, "dur"), step_end + 0.01, "within its step");
        if (!json_object_get(args, "op"))
            continue;
        bytes += whole_of(args, "bytes");
        seconds += 1e-6 * real_of(e, "dur");
        cr_expect_eq(real_of(e, "tid"), 2.0);
        cr_expect(fabs(real_of(args, "GB/s") * real_of(e, "dur") * 1e3 - (double)whole_of(args, "bytes")) <
                  1e-3 * (double)whole_of(args, "bytes"));
    }
    cr_expect_eq(bytes, p.phase[0].cost.bytes + p.phase[1].cost.bytes);
    cr_expect(fabs(seconds - p.phase[0].op_seconds - p.phase[1].op_seconds) < 1e-4 * seconds);
    cr_expect(n_counter == p.n_step && n_lane == 2);
    json_decref(root);
    free(text);
    st_profile_free(&p);
}

static int count(const char *text, const char *part)
{
    int n = 0;
    for (const char *at = text; (at = strstr(at, part)); at += strlen(part))
        n++;
    return n;
}

Test(report, html, .timeout = 120)
{
    st_profile p = profile_of_demo();
    char *text = text_of(&p, st_profile_html), expected[64];
    static const char mark[] = "<script type=\"application/json\" id=\"profile\">\n";
    const char *data = strstr(text, mark);
    cr_assert_not_null(data);
    data += strlen(mark);
    const char *end = strstr(data, "</script>");
    json_t *root = parse(data, (size_t)(end - data));
    check_json(&p, root);
    cr_expect(count(text, "data-roofline=") == 2 && count(text, "data-timeline=") == 2);
    cr_expect(count(text, "data-layers=") == 2 && count(text, "<table") == 4);
    cr_expect_eq(count(text, "<tr data-op="), p.phase[0].n_row + p.phase[1].n_row);
    for (int i = 0; i < 2; i++) {
        snprintf(expected, sizeof expected, "data-weights=\"FP16\" data-bytes=\"%.0f\"",
                 (double)p.phase[i].cost.fp16 / p.phase[i].n_step);
        cr_expect(strstr(text, expected), "%s", expected);
        snprintf(expected, sizeof expected, "data-weights=\"this file\" data-bytes=\"%.0f\"",
                 (double)p.phase[i].cost.bytes / p.phase[i].n_step);
        cr_expect(strstr(text, expected), "%s", expected);
    }
    /* Nothing from elsewhere, and nothing of a name gets out of its place. */
    cr_expect(!strstr(text, "http") && !strstr(text, "url(") && !strstr(text, "@import"));
    cr_expect(!strstr(text, "<b>\"") && count(text, "<script") == 1 && count(text, "</script") == 1);
    cr_expect(strstr(text, "a &lt;/script>&lt;b>&quot;&amp;?"));
    json_decref(root);
    free(text);
    st_profile_free(&p);
}

Test(report, table, .timeout = 120)
{
    st_profile p = profile_of_demo();
    char *text = text_of(&p, write_table), line[160];
    cr_expect_eq(count(text, "\nall steps"), 2);
    cr_expect_eq(count(text, "between the ops (unaccounted)"), 2);
    cr_expect_eq(count(text, "engine on the host"), 2);
    cr_expect(strstr(text, "energy   no energy counters: /nowhere"));
    const st_profile_row *down = find_row(&p.phase[1], ST_OP_LINEAR, ST_PLACE_DOWN);
    snprintf(line, sizeof line, "linear         down             %-11s      10 %10.3f", down->variant,
             1e3 * down->seconds);
    cr_expect(strstr(text, line), "'%s' is not in %s", line, text);
    free(text);
    st_profile_free(&p);
}

/* Results of a software driver count, its times do not. */
Test(report, software_driver, .timeout = 120)
{
    st_profile p = profile_of_demo();
    p.device.software = true;
    char *json = text_of(&p, st_profile_json), *page = text_of(&p, st_profile_html);
    json_t *root = parse(json, strlen(json));
    const json_t *phase = json_array_get(json_object_get(root, "phases"), 1);
    static const char *const rates[] = {"tokens_per_second", "bytes_per_second", "mac_per_second",
                                        "read_ceiling_share"};
    for (int i = 0; i < 4; i++)
        cr_expect(json_is_null(json_object_get(phase, rates[i])), "%s", rates[i]);
    cr_expect_gt(whole_of(phase, "bytes"), 0u);
    cr_expect(!strstr(page, "data-roofline") && !strstr(page, "tok/s") && strstr(page, "software driver"));
    char *table = text_of(&p, write_table);
    cr_expect(!strstr(table, "tok/s"));
    json_decref(root);
    free(json);
    free(page);
    free(table);
    st_profile_free(&p);
}
