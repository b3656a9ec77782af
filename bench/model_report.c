/* What sterna-bench model prints. Programs get one row for each test, with the fields of llama-bench or
 * llama-batched-bench; readers a table of either kind. */
#include "bench/model.h"
#include "bench/report.h"
#include "host/cli/cli.h"

#include <inttypes.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>

const char *const st_model_keys[] = {"model_type", "backends", "n_threads", "n_batch", "head", "test"};
const int st_model_n_key = sizeof st_model_keys / sizeof st_model_keys[0];

/* ---- figures ---- */

typedef struct moments {
    double mean, deviation;
} moments;

/* Of a sample: n - 1 in the denominator; 0 for a single value. */
static moments moments_of(const double *x, int n)
{
    moments m = {0.0, 0.0};
    for (int i = 0; i < n; i++)
        m.mean += x[i] / n;
    for (int i = 0; i < n && n > 1; i++)
        m.deviation += (x[i] - m.mean) * (x[i] - m.mean) / (n - 1);
    m.deviation = sqrt(m.deviation);
    return m;
}

static double percent_of(moments m)
{
    return 100.0 * m.deviation / m.mean;
}

static const char *type_of(const st_model_result *r)
{
    return r->model.name[0] ? r->model.name : r->file;
}

static double gigabytes_of(const st_model_result *r, const st_model_row *row)
{
    return r->device.software ? (double)NAN : 1e-9 * (double)row->bytes / row->total_seconds;
}

static double read_percent_of(const st_model_result *r, const st_model_row *row)
{
    const st_model_machine *m = &r->machine[row->machine];
    return m->measured ? 1e11 * gigabytes_of(r, row) / m->read.rate : (double)NAN;
}

/* The old row of a new one, or -1. */
static int find_old(const st_model_result *r, const st_model_row *row, st_compare *compare)
{
    char key[ST_COMPARE_KEY] = "";
    st_compare_key_text(key, type_of(r));
    st_compare_key_text(key, r->device.name);
    st_compare_key_number(key, r->machine[row->machine].n_thread);
    st_compare_key_number(key, r->n_batch);
    st_compare_key_text(key, r->head);
    st_compare_key_text(key, row->test);
    return compare ? st_compare_find(compare, key) : -1;
}

/* A rate beside that of an old row. */
typedef struct ratio {
    double old, ratio, spread_percent;
} ratio;

static ratio compare_rate(const st_compare *compare, int old, const char *value, const char *deviation,
                          moments now)
{
    ratio x = {(double)NAN, (double)NAN, (double)NAN};
    if (old < 0)
        return x;
    x.old = st_compare_number(compare, old, value);
    x.ratio = now.mean / x.old;
    x.spread_percent =
        st_compare_spread(100.0 * st_compare_number(compare, old, deviation) / x.old, percent_of(now));
    return x;
}

/* ---- for programs ---- */

typedef struct emitter {
    FILE *out;
    st_model_format format;
    bool header; /* CSV: the names instead of the values */
    int n;
    const st_compare
        *missing; /* instead of a row of this run: row `old` of that one, where a key or a rate */
    int old;
} emitter;

/* What stands before a value; false where there is none to print. */
static bool begin_field(emitter *e, const char *key)
{
    bool csv = e->format == ST_MODEL_CSV;
    const char *gap = csv ? "," : e->format == ST_MODEL_JSONL ? ", " : ",\n    ";
    if (e->n++)
        fputs(gap, e->out);
    if (csv && e->header)
        fputs(key, e->out);
    if (!csv)
        fprintf(e->out, "\"%s\": ", key);
    return !(csv && e->header);
}

static void print_text(const emitter *e, const char *text)
{
    (e->format == ST_MODEL_CSV ? st_print_csv_text : st_print_json_text)(text, e->out);
}

static void print_real(const emitter *e, double value)
{
    if (isfinite(value))
        fprintf(e->out, "%.9g", value);
    else
        fputs(e->format == ST_MODEL_CSV ? "" : "null", e->out);
}

/* What a row that this run does not have has in a field: its key, and rates under "old_". True if it was one.
 */
static bool emit_missing(emitter *e, const char *key)
{
    bool is_key = false, is_old = strncmp(key, "old_", 4) == 0;
    if (!e->missing)
        return false;
    if (!begin_field(e, key))
        return true;
    for (int i = 0; i < st_model_n_key; i++)
        is_key = is_key || strcmp(key, st_model_keys[i]) == 0;
    const char *text = is_key ? st_compare_text(e->missing, e->old, key) : NULL;
    if (strcmp(key, "verdict") == 0)
        print_text(e, "missing");
    else if (text)
        print_text(e, text);
    else
        print_real(e, is_key || is_old ? st_compare_number(e->missing, e->old, is_old ? key + 4 : key)
                                       : (double)NAN);
    return true;
}

static void emit_text(emitter *e, const char *key, const char *text)
{
    if (!emit_missing(e, key) && begin_field(e, key))
        print_text(e, text);
}

static void emit_count(emitter *e, const char *key, uint64_t count)
{
    if (!emit_missing(e, key) && begin_field(e, key))
        fprintf(e->out, "%" PRIu64, count);
}

static void emit_real(emitter *e, const char *key, double value)
{
    if (!emit_missing(e, key) && begin_field(e, key))
        print_real(e, value);
}

/* Lists are not in CSV. */
static void emit_list(emitter *e, const char *key, const double *x, int n, double factor, const char *format)
{
    if (e->format == ST_MODEL_CSV || e->missing)
        return;
    begin_field(e, key);
    for (int i = 0; i < n; i++) {
        fputs(i ? ", " : "[", e->out);
        fprintf(e->out, format, factor * x[i]);
    }
    fputs("]", e->out);
}

static void emit_common(emitter *e, const st_model_result *r, const st_model_row *row)
{
    bool host = strcmp(r->device.name, "cpu") == 0 || strcmp(r->device.name, "ref") == 0;
    emit_text(e, "version", sterna_version());
    emit_text(e, "cpu_info", r->cpu);
    emit_text(e, "gpu_info", host ? "" : r->device.description);
    emit_text(e, "backends", r->device.name);
    emit_text(e, "model_filename", r->file);
    emit_text(e, "model_type", type_of(r));
    emit_count(e, "model_size", r->model.file_bytes);
    emit_count(e, "model_n_params", r->model.n_parameter);
    emit_count(e, "n_batch", (uint64_t)r->n_batch);
    emit_count(e, "n_ubatch", (uint64_t)r->n_batch);
    emit_count(e, "n_threads", (uint64_t)r->machine[row->machine].n_thread);
    emit_text(e, "type_k", "f16");
    emit_text(e, "type_v", "f16");
    emit_text(e, "test", row->test);
    emit_text(e, "test_time", row->time);
}

static void emit_bytes(emitter *e, const st_model_result *r, const st_model_row *row)
{
    const st_model_machine *m = &r->machine[row->machine];
    emit_real(e, "bytes_per_token", (double)row->bytes / (double)row->n_token);
    emit_real(e, "gigabytes_per_second", gigabytes_of(r, row));
    emit_real(e, "read_percent", read_percent_of(r, row));
    emit_real(e, "read_gigabytes_per_second", m->measured ? 1e-9 * m->read.rate : (double)NAN);
    emit_text(e, "head", r->head);
    emit_real(e, "load_seconds", m->load_seconds);
    emit_real(e, "load_peak_bytes", m->load_bytes ? (double)m->load_bytes : (double)NAN);
    emit_count(e, "kv_bytes", m->kv_bytes);
}

static void emit_ratio(emitter *e, const char *which, ratio x)
{
    char key[48];
    snprintf(key, sizeof key, "old_%s", which);
    emit_real(e, key, x.old);
    snprintf(key, sizeof key, "ratio_%s", which);
    emit_real(e, key, x.ratio);
    snprintf(key, sizeof key, "ratio_%s_spread_percent", which);
    emit_real(e, key, x.spread_percent);
}

/* By the rate of a test, and of generating where it is a batched row. */
static void emit_verdict(emitter *e, const st_model_row *row, const st_compare *compare, int old)
{
    bool test = row->n_sequence == 0;
    ratio x = test ? compare_rate(compare, old, "avg_ts", "stddev_ts", moments_of(row->rate, row->n_sample))
                   : compare_rate(compare, old, "speed_tg", "stddev_speed_tg",
                                  moments_of(row->rate_2, row->n_sample));
    emit_text(e, "verdict", isfinite(x.ratio) ? st_compare_verdict(x.ratio, x.spread_percent) : "new");
}

/* CSV has every field in every row; JSON only those of the row's kind. */
static void emit_test(emitter *e, const st_model_row *row, const st_compare *compare, int old)
{
    moments s = moments_of(row->seconds, row->n_sample), rate = moments_of(row->rate, row->n_sample);
    bool test = row->n_sequence == 0;
    if (!test && e->format != ST_MODEL_CSV)
        return;
    emit_count(e, "n_prompt", (uint64_t)row->n_prompt);
    emit_count(e, "n_gen", (uint64_t)row->n_generate);
    emit_count(e, "n_depth", (uint64_t)row->depth);
    emit_real(e, "avg_ns", test ? round(1e9 * s.mean) : (double)NAN);
    emit_real(e, "stddev_ns", test ? round(1e9 * s.deviation) : (double)NAN);
    emit_real(e, "avg_ts", test ? rate.mean : (double)NAN);
    emit_real(e, "stddev_ts", test ? rate.deviation : (double)NAN);
    emit_list(e, "samples_ns", row->seconds, row->n_sample, 1e9, "%.0f");
    emit_list(e, "samples_ts", row->rate, row->n_sample, 1.0, "%.9g");
    if (compare)
        emit_ratio(e, "avg_ts", compare_rate(compare, test ? old : -1, "avg_ts", "stddev_ts", rate));
}

static uint64_t positions_of(const st_model_row *row)
{
    uint64_t pp = (uint64_t)row->n_prompt, tg = (uint64_t)row->n_generate, n = (uint64_t)row->n_sequence;
    return row->shared ? pp + n * tg : n * (pp + tg);
}

/* Of a batched row: tokens per second of both phases together. */
static double total_speed(const st_model_row *row, double seconds)
{
    double prompts = row->shared ? 1.0 : row->n_sequence;
    return (prompts * row->n_prompt + (double)row->n_sequence * row->n_generate) / seconds;
}

static void emit_batched(emitter *e, const st_model_result *r, const st_model_row *row,
                         const st_compare *compare, int old)
{
    moments t_pp = moments_of(row->seconds, row->n_sample), s_pp = moments_of(row->rate, row->n_sample);
    moments t_tg = moments_of(row->seconds_2, row->n_sample), s_tg = moments_of(row->rate_2, row->n_sample);
    bool batched = row->n_sequence > 0;
    double t = t_pp.mean + t_tg.mean, none = (double)NAN;
    if (!batched && e->format != ST_MODEL_CSV)
        return;
    emit_real(e, "n_threads_batch", batched ? r->machine[row->machine].n_thread : none);
    emit_real(e, "is_pp_shared", batched ? row->shared : none);
    emit_real(e, "pp", batched ? row->n_prompt : none);
    emit_real(e, "tg", batched ? row->n_generate : none);
    emit_real(e, "pl", batched ? row->n_sequence : none);
    emit_real(e, "n_kv", batched ? (double)positions_of(row) : none);
    emit_real(e, "t_pp", batched ? t_pp.mean : none);
    emit_real(e, "speed_pp", batched ? s_pp.mean : none);
    emit_real(e, "t_tg", batched ? t_tg.mean : none);
    emit_real(e, "speed_tg", batched ? s_tg.mean : none);
    emit_real(e, "t", batched ? t : none);
    emit_real(e, "speed", batched ? total_speed(row, t) : none);
    emit_real(e, "stddev_speed_pp", batched ? s_pp.deviation : none);
    emit_real(e, "stddev_speed_tg", batched ? s_tg.deviation : none);
    emit_list(e, "samples_t_pp", row->seconds, row->n_sample, 1.0, "%.9g");
    emit_list(e, "samples_t_tg", row->seconds_2, row->n_sample, 1.0, "%.9g");
    if (!compare)
        return;
    old = batched ? old : -1;
    emit_ratio(e, "speed_pp", compare_rate(compare, old, "speed_pp", "stddev_speed_pp", s_pp));
    emit_ratio(e, "speed_tg", compare_rate(compare, old, "speed_tg", "stddev_speed_tg", s_tg));
}

static void emit_row(emitter *e, const st_model_result *r, const st_model_row *row, st_compare *compare)
{
    int old = e->header || e->missing ? -1 : find_old(r, row, compare);
    e->n = 0;
    emit_common(e, r, row);
    emit_test(e, row, compare, old);
    emit_batched(e, r, row, compare, old);
    emit_bytes(e, r, row);
    if (compare)
        emit_verdict(e, row, compare, old);
}

static void begin_row(emitter *e, bool first)
{
    if (e->format == ST_MODEL_JSON)
        fputs(first ? "\n  {\n    " : ",\n  {\n    ", e->out);
    else if (e->format == ST_MODEL_JSONL)
        fputc('{', e->out);
}

static void end_row(emitter *e)
{
    fputs(e->format == ST_MODEL_JSON ? "\n  }" : e->format == ST_MODEL_JSONL ? "}\n" : "\n", e->out);
}

static void print_rows(const st_model_result *r, st_compare *compare, FILE *out)
{
    emitter e = {.out = out, .format = r->format};
    bool array = r->format == ST_MODEL_JSON;
    if (r->format == ST_MODEL_CSV) {
        e.header = true;
        emit_row(&e, r, &r->row[0], compare);
        fputc('\n', out);
        e.header = false;
    }
    fputs(array ? "[" : "", out);
    for (int i = 0; i < r->n_row; i++) {
        begin_row(&e, i == 0);
        emit_row(&e, r, &r->row[i], compare);
        end_row(&e);
    }
    e.missing = compare;
    for (e.old = -1; compare && (e.old = st_compare_unfound(compare, e.old + 1)) >= 0;) {
        st_model_row like = {.n_sequence = isfinite(st_compare_number(compare, e.old, "pl"))};
        begin_row(&e, false);
        emit_row(&e, r, &like, compare);
        end_row(&e);
    }
    fputs(array ? "\n]\n" : "", out);
}

/* ---- for readers ---- */

static const st_column test_columns[] = {
    {"model", "model"},     {"size", "size"},   {"params", "params"}, {"backend", "backend"},
    {"threads", "threads"}, {"test", "test"},   {"ts", "t/s"},        {"mb", "MB/token"},
    {"gbs", "GB/s"},        {"read", "read %"}, {"old", "old t/s"},   {"ratio", "x faster"},
    {"verdict", "verdict"}};
static const st_column batched_columns[] = {
    {"threads", "threads"}, {"PP", "PP"},       {"TG", "TG"},          {"B", "B"},
    {"N_KV", "N_KV"},       {"T_PP", "T_PP s"}, {"S_PP", "S_PP t/s"},  {"T_TG", "T_TG s"},
    {"S_TG", "S_TG t/s"},   {"T", "T s"},       {"S", "S t/s"},        {"mb", "MB/token"},
    {"gbs", "GB/s"},        {"read", "read %"}, {"pp", "PP x faster"}, {"tg", "TG x faster"}};
enum {
    N_TEST = sizeof test_columns / sizeof test_columns[0],
    N_BATCHED = sizeof batched_columns / sizeof batched_columns[0],
    TEST_COMPARE = 3, /* columns that are only there with --compare */
    BATCHED_COMPARE = 2
};

static st_cell text_cell(const char *format, double value)
{
    char text[48];
    snprintf(text, sizeof text, format, value);
    return isfinite(value) ? st_cell_text(text) : st_cell_none();
}

/* As llama-bench writes sizes and counts. */
static st_cell size_cell(uint64_t bytes)
{
    return bytes < (uint64_t)1 << 30 ? text_cell("%.2f MiB", (double)bytes / 0x1p20)
                                     : text_cell("%.2f GiB", (double)bytes / 0x1p30);
}

static st_cell parameters_cell(uint64_t n)
{
    return n < 1000000000 ? text_cell("%.2f M", 1e-6 * (double)n) : text_cell("%.2f B", 1e-9 * (double)n);
}

static void report_test(st_report *report, const st_model_result *r, const st_model_row *row,
                        st_compare *compare)
{
    char rate[48];
    moments m = moments_of(row->rate, row->n_sample);
    ratio x = compare_rate(compare, find_old(r, row, compare), "avg_ts", "stddev_ts", m);
    snprintf(rate, sizeof rate, r->format == ST_MODEL_MD ? "%.2f \u00b1 %.2f" : "%.2f +- %.2f", m.mean,
             m.deviation);
    const char *verdict = isfinite(x.ratio) ? st_compare_verdict(x.ratio, x.spread_percent) : "new";
    const st_cell cells[N_TEST] = {st_cell_text(type_of(r)),
                                   size_cell(r->model.file_bytes),
                                   parameters_cell(r->model.n_parameter),
                                   st_cell_text(r->device.name),
                                   st_cell_count((uint64_t)r->machine[row->machine].n_thread),
                                   st_cell_text(row->test),
                                   st_cell_text(rate),
                                   st_cell_real(1e-6 * (double)row->bytes / (double)row->n_token),
                                   st_cell_real(gigabytes_of(r, row)),
                                   st_cell_real(read_percent_of(r, row)),
                                   text_cell("%.2f", x.old),
                                   st_cell_spread(x.ratio, x.spread_percent),
                                   st_cell_text(verdict)};
    st_report_row(report, cells, ST_FOR_ALL);
}

static void report_batched(st_report *report, const st_model_result *r, const st_model_row *row,
                           st_compare *compare)
{
    moments t_pp = moments_of(row->seconds, row->n_sample), s_pp = moments_of(row->rate, row->n_sample);
    moments t_tg = moments_of(row->seconds_2, row->n_sample), s_tg = moments_of(row->rate_2, row->n_sample);
    double t = t_pp.mean + t_tg.mean;
    int old = find_old(r, row, compare);
    ratio pp = compare_rate(compare, old, "speed_pp", "stddev_speed_pp", s_pp);
    ratio tg = compare_rate(compare, old, "speed_tg", "stddev_speed_tg", s_tg);
    const st_cell cells[N_BATCHED] = {st_cell_count((uint64_t)r->machine[row->machine].n_thread),
                                      st_cell_count((uint64_t)row->n_prompt),
                                      st_cell_count((uint64_t)row->n_generate),
                                      st_cell_count((uint64_t)row->n_sequence),
                                      st_cell_count(positions_of(row)),
                                      text_cell("%.3f", t_pp.mean),
                                      text_cell("%.2f", s_pp.mean),
                                      text_cell("%.3f", t_tg.mean),
                                      text_cell("%.2f", s_tg.mean),
                                      text_cell("%.3f", t),
                                      text_cell("%.2f", total_speed(row, t)),
                                      st_cell_real(1e-6 * (double)row->bytes / (double)row->n_token),
                                      st_cell_real(gigabytes_of(r, row)),
                                      st_cell_real(read_percent_of(r, row)),
                                      st_cell_spread(pp.ratio, pp.spread_percent),
                                      st_cell_spread(tg.ratio, tg.spread_percent)};
    st_report_row(report, cells, ST_FOR_ALL);
}

/* The table of one kind of rows; nothing without any. */
static bool print_table(const st_model_result *r, bool batched, st_compare *compare, FILE *out)
{
    st_column columns[N_BATCHED > N_TEST ? N_BATCHED : N_TEST];
    int n = batched ? N_BATCHED : N_TEST, extra = batched ? BATCHED_COMPARE : TEST_COMPARE, n_row = 0;
    memcpy(columns, batched ? batched_columns : test_columns, (size_t)n * sizeof columns[0]);
    for (int c = n - extra; c < n && !compare; c++)
        columns[c].title = NULL;
    st_report *report = st_report_create(columns, n);
    for (int i = 0; report && i < r->n_row; i++)
        if ((r->row[i].n_sequence > 0) == batched) {
            (batched ? report_batched : report_test)(report, r, &r->row[i], compare);
            n_row++;
        }
    bool good =
        report && (n_row == 0 ||
                   st_report_print(report, r->format == ST_MODEL_MD ? ST_FORMAT_MD : ST_FORMAT_TABLE, out));
    st_report_destroy(report);
    return good;
}

static void print_load(const st_model_machine *m, uint64_t file_bytes, const char *start, FILE *out)
{
    fprintf(out, "%sload, %d threads: %.2f s", start, m->n_thread, m->load_seconds);
    if (m->load_bytes)
        fprintf(out, ", at most %.0f MB resident (file %.0f MB, KV %.0f MB)", 1e-6 * (double)m->load_bytes,
                1e-6 * (double)file_bytes, 1e-6 * (double)m->kv_bytes);
    fputc('\n', out);
}

static void print_notes(const st_model_result *r, const st_compare *compare, FILE *out)
{
    const char *start = r->format == ST_MODEL_MD ? "- " : "";
    fprintf(out, "\n%sversion: %s\n%sdevice: %s\n", start, sterna_version(), start, r->device.description);
    fprintf(out, "%shead: %s\n", start, r->head);
    for (int i = 0; i < ST_MAX_SERIES && r->machine[i].n_thread; i++)
        print_load(&r->machine[i], r->model.file_bytes, start, out);
    for (int i = 0; i < ST_MAX_SERIES && r->machine[i].n_thread; i++) {
        const st_ceiling *c = &r->machine[i].read;
        if (r->machine[i].measured)
            fprintf(out, "%sread bandwidth, %d threads: %.2f GB/s (%s, %s, %zu bytes, best of %d passes)\n",
                    start, r->machine[i].n_thread, 1e-9 * c->rate, c->loop, c->pattern, c->bytes, c->n_pass);
    }
    const char *cpu = compare ? st_compare_fact(compare, "cpu_info") : NULL;
    if (cpu && strcmp(cpu, r->cpu) != 0)
        fprintf(out, "%scompared with another processor: %s\n", start, cpu);
    for (int row = -1; compare && (row = st_compare_unfound(compare, row + 1)) >= 0;) {
        const char *test = st_compare_text(compare, row, "test"),
                   *type = st_compare_text(compare, row, "model_type");
        fprintf(out, "%smissing here: %s of %s with %.0f threads\n", start, test ? test : "?",
                type ? type : "?", st_compare_number(compare, row, "n_threads"));
    }
}

int st_model_report(const st_model_result *r, st_compare *compare, FILE *out)
{
    if (r->format != ST_MODEL_TABLE && r->format != ST_MODEL_MD) {
        print_rows(r, compare, out);
        return ST_EXIT_OK;
    }
    if (!print_table(r, false, compare, out) || !print_table(r, true, compare, out))
        return st_cli_fail("model", ST_EXIT_FAILURE, "out of memory for the report");
    print_notes(r, compare, out);
    return ST_EXIT_OK;
}
