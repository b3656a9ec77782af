/* What sterna-bench ops prints. */
#include "bench/ops.h"

#include "bench/baseline.h"
#include "host/cli/cli.h"

#include <math.h>
#include <stdlib.h>

/* clang-format off */
static const st_column columns[] = {
    {"op", "op"},
    {"shape", "shape"},
    {"kind", NULL}, /* "variant" or "baseline"; "missing": only in the file of --compare */
    {"variant", "variant"},
    {"type", "type"},
    {"group", "group"},
    {"act_group", NULL},
    {"n", NULL},
    {"k", NULL},
    {"rows", "rows"},
    {"depth", "depth"},
    {"sequences", NULL},
    {"threads", "threads"},
    {"runs", "runs"},
    {"calls_per_run", NULL},
    {"us", "us"},
    {"us_iqr_percent", NULL},
    {"us_min", NULL},
    {"us_max", NULL},
    {"bytes", NULL},
    {"macs", NULL},
    {"gigabytes_per_second", "GB/s"},
    {"gigamacs_per_second", "GMAC/s"},
    {"read_percent", "read %"},
    {"int8_percent", "int8 %"},
    {"operand_bytes", NULL}, /* used in turn */
    {"old_us", "old us"},
    {"ratio", "x faster"},
    {"ratio_spread_percent", NULL},
    {"verdict", "verdict"},
};
/* clang-format on */
enum { N_COLUMN = sizeof columns / sizeof columns[0], COMPARE_COLUMNS = 4 };

const char *const st_ops_keys[] = {"op",   "shape",     "kind",  "variant", "type",     "group",
                                   "rows", "act_group", "depth", "threads", "sequences"};
const int st_ops_n_key = sizeof st_ops_keys / sizeof st_ops_keys[0];

/* Facts that make runs comparable. */
static const char *const comparable[] = {"device_description", "footprint_text", "version"};
enum { N_COMPARABLE = sizeof comparable / sizeof comparable[0] };

static const st_cell *cell_of(const st_cell *cells, const char *key)
{
    int c = 0;
    while (strcmp(columns[c].key, key) != 0)
        c++;
    return &cells[c];
}

static void make_key(const st_cell *cells, char key[ST_COMPARE_KEY])
{
    key[0] = '\0';
    for (int i = 0; i < st_ops_n_key; i++) {
        const st_cell *c = cell_of(cells, st_ops_keys[i]);
        if (c->kind == ST_CELL_TEXT)
            st_compare_key_text(key, c->text);
        else
            st_compare_key_number(key, c->kind == ST_CELL_COUNT ? (double)c->count : (double)NAN);
    }
}

static st_cell count_or_none(bool there, uint64_t count)
{
    return there ? st_cell_count(count) : st_cell_none();
}

static void compare_line(const st_ops_line *l, st_compare *compare, st_cell *cells, int *found)
{
    char key[ST_COMPARE_KEY];
    make_key(cells, key);
    int row = compare ? st_compare_find(compare, key) : -1;
    st_cell *out = cells + N_COLUMN - COMPARE_COLUMNS;
    for (int i = 0; i < COMPARE_COLUMNS; i++)
        out[i] = st_cell_none();
    if (row < 0) {
        if (compare)
            out[3] = st_cell_text("new");
        return;
    }
    double old = st_compare_number(compare, row, "us"), ratio = old / (1e6 * l->seconds);
    double spread = st_compare_spread(st_compare_number(compare, row, "us_iqr_percent"), l->iqr_percent);
    out[0] = st_cell_real(old);
    out[1] = st_cell_spread(ratio, spread);
    out[2] = st_cell_real(spread);
    out[3] = st_cell_text(st_compare_verdict(ratio, spread));
    ++*found;
}

static void report_line(st_report *report, const st_ops_result *r, const st_ops_line *l, st_compare *compare,
                        int *found)
{
    const st_op_shape *s = l->shape;
    const st_ops_machine *m = &r->machine[l->machine];
    bool matrix = s->op == ST_OP_LINEAR || s->op == ST_OP_EMBED, rates = !r->device.software;
    bool grouped = matrix && !l->baseline && (s->type == ST_TERNARY || s->type == ST_Q8);
    bool acts =
        (s->op == ST_OP_LINEAR && l->int8) || s->op == ST_OP_NORM_QUANT || s->op == ST_OP_GLU_NORM_QUANT;
    double gigabytes = rates ? 1e-9 * (double)l->bytes / l->seconds : (double)NAN;
    double gigamacs = rates && l->macs ? 1e-9 * (double)l->macs / l->seconds : (double)NAN;
    st_cell cells[N_COLUMN];
    int n = 0;
    cells[n++] = st_cell_text(st_op_name(s->op));
    cells[n++] = st_cell_text(s->name);
    cells[n++] = st_cell_text(l->baseline ? "baseline" : "variant");
    cells[n++] = st_cell_text(l->variant);
    cells[n++] = l->type[0] ? st_cell_text(l->type) : st_cell_none();
    cells[n++] = count_or_none(grouped, (uint64_t)s->group);
    cells[n++] = count_or_none(acts, (uint64_t)s->act_group);
    cells[n++] = count_or_none(matrix || s->op == ST_OP_TOPK, (uint64_t)s->n);
    cells[n++] = count_or_none(s->op != ST_OP_TOPK && s->op != ST_OP_ATTEND && s->op != ST_OP_ROPE_STORE,
                               (uint64_t)s->k);
    cells[n++] = st_cell_count((uint64_t)l->rows.n_row);
    cells[n++] = count_or_none(s->op == ST_OP_ATTEND, (uint64_t)l->rows.depth);
    cells[n++] = count_or_none(s->op == ST_OP_ATTEND, l->rows.prompt ? 1 : (uint64_t)l->rows.n_row);
    cells[n++] = st_cell_count((uint64_t)m->n_thread);
    cells[n++] = st_cell_count((uint64_t)l->n_run);
    cells[n++] = st_cell_count((uint64_t)l->n_call);
    cells[n++] = st_cell_spread(1e6 * l->seconds, l->iqr_percent);
    cells[n++] = st_cell_real(l->iqr_percent);
    cells[n++] = st_cell_real(1e6 * l->least);
    cells[n++] = st_cell_real(1e6 * l->most);
    cells[n++] = st_cell_count(l->bytes);
    cells[n++] = count_or_none(l->macs > 0, l->macs);
    cells[n++] = st_cell_real(gigabytes);
    cells[n++] = st_cell_real(gigamacs);
    cells[n++] = st_cell_real(m->measured && l->footprint ? 1e11 * gigabytes / m->read.rate : (double)NAN);
    cells[n++] = st_cell_real(m->measured && l->int8 ? 1e11 * gigamacs / m->int8.rate : (double)NAN);
    cells[n++] = count_or_none(l->footprint > 0, l->footprint);
    compare_line(l, compare, cells, found);
    st_report_row(report, cells, ST_FOR_ALL);
}

/* Rows that only the old run has. Returns their number. */
static int report_missing(st_report *report, const st_compare *compare)
{
    int n = 0;
    for (int row = -1; (row = st_compare_unfound(compare, row + 1)) >= 0; n++) {
        st_cell cells[N_COLUMN];
        for (int c = 0; c < N_COLUMN; c++)
            cells[c] = st_cell_none();
        for (int k = 0; k < st_ops_n_key; k++) {
            int c = (int)(cell_of(cells, st_ops_keys[k]) - cells);
            const char *text = st_compare_text(compare, row, st_ops_keys[k]);
            double number = st_compare_number(compare, row, st_ops_keys[k]);
            if (text)
                cells[c] = st_cell_text(text);
            else if (isfinite(number))
                cells[c] = st_cell_count((uint64_t)number);
        }
        cells[N_COLUMN - COMPARE_COLUMNS] = st_cell_real(st_compare_number(compare, row, "us"));
        cells[N_COLUMN - 1] = st_cell_text("missing");
        st_report_row(report, cells, ST_FOR_ALL);
    }
    return n;
}

static void fact_text(st_report *report, const char *key, const char *text)
{
    st_report_fact(report, key, ST_CELL_TEXT, text, 0.0);
}

static void machine_facts(st_report *report, const st_ops_machine *m)
{
    char key[40], text[120], pattern[40];
    if (!m->measured)
        return;
    snprintf(key, sizeof key, "read_gigabytes_per_second_t%d", m->n_thread);
    st_report_fact(report, key, ST_CELL_REAL, NULL, 1e-9 * m->read.rate);
    snprintf(key, sizeof key, "read_loop_t%d", m->n_thread);
    snprintf(pattern, sizeof pattern, "%s", m->read.pattern);
    snprintf(text, sizeof text, "%s, %s: best of %d passes over %zu bytes", m->read.loop, pattern,
             m->read.n_pass, m->read.bytes);
    fact_text(report, key, text);
    for (int i = 0; i < m->n_isa; i++) {
        snprintf(key, sizeof key, "int8_gigamacs_%s_t%d", m->isa[i].loop, m->n_thread);
        st_report_fact(report, key, ST_CELL_REAL, NULL, 1e-9 * m->isa[i].rate);
    }
}

static void facts(st_report *report, const st_ops_result *r, char footprint[80])
{
    const st_ops_plan *p = r->plan;
    char size[2][16];
    fact_text(report, "command", "ops");
    fact_text(report, "version", sterna_version());
    fact_text(report, "device", r->device.name);
    fact_text(report, "device_description", r->device.description);
    fact_text(report, "isa", r->device.isa);
    st_report_fact(report, "repetitions", ST_CELL_COUNT, NULL, p->repetitions);
    st_report_fact(report, "footprint", ST_CELL_COUNT, NULL, (double)p->footprint);
    st_cli_bytes(p->footprint, size[0]);
    if (p->cache)
        snprintf(footprint, 80, "%s, largest cache %s", size[0], st_cli_bytes(p->cache, size[1]));
    else
        snprintf(footprint, 80, "%s, largest cache not known", size[0]);
    fact_text(report, "footprint_text", footprint);
    if (r->no_ceilings[0])
        fact_text(report, "no_ceilings", r->no_ceilings);
    for (int i = 0; i < r->n_machine; i++)
        machine_facts(report, &r->machine[i]);
    for (int i = 0; i < ST_BASELINE_COUNT; i++)
        if (r->no_baseline[i][0]) {
            char key[40];
            snprintf(key, sizeof key, "skipped_%s", st_baseline_name(i));
            fact_text(report, key, r->no_baseline[i]);
        }
}

static void compare_facts(st_report *report, const st_ops_result *r, const st_compare *compare,
                          const char *footprint, int found, int missing)
{
    const char *const now[N_COMPARABLE] = {r->device.description, footprint, sterna_version()};
    fact_text(report, "compared_with", r->plan->compare);
    st_report_fact(report, "compared_rows", ST_CELL_COUNT, NULL, found);
    st_report_fact(report, "new_rows", ST_CELL_COUNT, NULL, r->n_line - found);
    st_report_fact(report, "missing_rows", ST_CELL_COUNT, NULL, missing);
    for (int i = 0; i < N_COMPARABLE; i++) {
        char key[40];
        const char *old = st_compare_fact(compare, comparable[i]);
        snprintf(key, sizeof key, "compared_%s", comparable[i]);
        if (old && strcmp(old, now[i]) != 0)
            fact_text(report, key, old); /* only where it is another */
    }
}

int st_ops_report(const st_ops_result *r, st_compare *compare, FILE *out)
{
    int found = 0;
    char footprint[80];
    st_column shown[N_COLUMN];
    memcpy(shown, columns, sizeof columns);
    for (int c = N_COLUMN - COMPARE_COLUMNS; c < N_COLUMN && !compare; c++)
        shown[c].title = NULL;
    st_report *report = st_report_create(shown, N_COLUMN);
    if (!report)
        return st_cli_fail("ops", ST_EXIT_FAILURE, "out of memory for the report");
    facts(report, r, footprint);
    for (int i = 0; i < r->n_line; i++)
        report_line(report, r, &r->line[i], compare, &found);
    if (compare)
        compare_facts(report, r, compare, footprint, found, report_missing(report, compare));
    int code = ST_EXIT_OK;
    if (!st_report_print(report, r->plan->format, out))
        code = st_cli_fail("ops", ST_EXIT_FAILURE, "out of memory for the report");
    st_report_destroy(report);
    return code;
}
