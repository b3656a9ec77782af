/* The page's tables: the figures of st_profile_table. */
#include "host/profile/page.h"

#include <math.h>

static void cell(FILE *out, int digits, double value)
{
    if (isfinite(value))
        fprintf(out, "<td>%.*f</td>", digits, value);
    else
        fputs("<td>&ndash;</td>", out);
}

static void rate_cell(FILE *out, double value)
{
    cell(out, fabs(value) >= 99.95 ? 0 : fabs(value) >= 9.995 ? 1 : 2, value);
}

static void write_figures(const st_profile *p, const st_profile_phase *phase, const st_figures *f, FILE *out)
{
    cell(out, 3, 1e3 * f->seconds);
    cell(out, 1, 100.0 * st_ratio(f->seconds, phase->seconds));
    cell(out, 3, 1e-6 * (double)f->cost.bytes);
    rate_cell(out, 1e-9 * st_bytes_rate(p, f));
    rate_cell(out, 100.0 * st_read_share(p, f));
    cell(out, 3, 1e-6 * (double)f->cost.multiply_accumulate);
    rate_cell(out, st_intensity(f));
    rate_cell(out, 1e-9 * st_mac_rate(p, f));
    fputs("</tr>\n", out);
}

static void write_time_only(const st_profile_phase *phase, const char *name, const char *mark, double seconds,
                            FILE *out)
{
    fprintf(out, "<tr><td><i class=\"%s\"></i>%s</td><td></td><td></td><td></td>", mark, name);
    cell(out, 3, 1e3 * seconds);
    cell(out, 1, 100.0 * st_ratio(seconds, phase->seconds));
    fputs("<td></td><td></td><td></td><td></td><td></td><td></td></tr>\n", out);
}

static void write_times(const st_profile *p, st_phase which, FILE *out)
{
    const st_profile_phase *phase = &p->phase[which];
    fprintf(out,
            "<section class=\"card\"><h3>%s: time</h3>\n<div class=\"scroll\"><table "
            "data-phase=\"%s\">\n<thead><tr>"
            "<th>op</th><th>place</th><th>variant</th><th>calls</th><th>ms</th><th>time %%</th><th>MB</th>"
            "<th>GB/s</th><th>peak %%</th><th>MMAC</th><th>MAC/B</th><th>GMAC/s</th></tr></thead>\n<tbody>\n",
            which == ST_PHASE_PREFILL ? "Prefill" : "Decode", st_phase_name(which));
    for (int i = 0; i < phase->n_row; i++) {
        const st_profile_row *row = &phase->row[i];
        fprintf(
            out,
            "<tr data-op=\"%s\" data-bytes=\"%llu\" data-seconds=\"%.9g\"><td><i class=\"p%d\"></i>%s</td>"
            "<td>%s</td><td>%s</td><td>%llu</td>",
            st_op_name(row->op), (unsigned long long)row->cost.bytes, row->seconds, (int)row->place,
            st_op_name(row->op), st_place_name(row->place), row->variant, (unsigned long long)row->calls);
        write_figures(p, phase, &(st_figures){row->seconds, row->cost}, out);
    }
    fputs("</tbody>\n<tfoot>\n", out);
    write_time_only(phase, "between the ops", "gap", st_unaccounted(phase), out);
    write_time_only(phase, "engine (host)", "host", phase->host_seconds, out);
    fputs("<tr><td>all steps</td><td></td><td></td><td></td>", out);
    write_figures(p, phase, &(st_figures){phase->seconds, phase->cost}, out);
    fputs("</tfoot>\n</table></div></section>\n", out);
}

static void write_cost(const st_cost *c, FILE *out)
{
    double bytes = (double)c->bytes;
    const uint64_t parts[] = {c->bytes, c->weight, c->kv, c->other, c->fp16, c->int8, c->int4};
    for (int i = 0; i < 7; i++)
        cell(out, 3, 1e-6 * (double)parts[i]);
    cell(out, 2, st_ratio((double)c->fp16, bytes));
    cell(out, 2, st_ratio((double)c->int8, bytes));
    cell(out, 2, st_ratio((double)c->int4, bytes));
    fputs("</tr>\n", out);
}

static void write_bytes(const st_profile *p, st_phase which, FILE *out)
{
    const st_profile_phase *phase = &p->phase[which];
    fprintf(out,
            "<section class=\"card\"><h3>%s: MB moved</h3>\n<div class=\"scroll\"><table "
            "class=\"bytes\">\n<thead><tr>"
            "<th>place</th><th>all</th><th>weights</th><th>KV</th><th>other</th><th>with FP16</th>"
            "<th>with INT8</th><th>with INT4</th><th>&times; FP16</th><th>&times; INT8</th>"
            "<th>&times; INT4</th></tr></thead>\n<tbody>\n",
            which == ST_PHASE_PREFILL ? "Prefill" : "Decode");
    for (int place = 0; place < ST_PLACE_COUNT; place++) {
        st_cost sum = {0};
        for (int i = 0; i < phase->n_row; i++)
            if ((int)phase->row[i].place == place)
                st_cost_add(&sum, &phase->row[i].cost);
        fprintf(out, "<tr><td><i class=\"p%d\"></i>%s</td>", place, st_place_name((st_place)place));
        write_cost(&sum, out);
    }
    fputs("</tbody>\n<tfoot><tr><td>all</td>", out);
    write_cost(&phase->cost, out);
    fputs("</tfoot>\n</table></div></section>\n", out);
}

void st_page_tables(const st_profile *p, FILE *out)
{
    fputs("<h2>Figures</h2>\n<p class=\"soft\">Sums over all steps of a phase.</p>\n<div class=\"stack\">\n",
          out);
    for (int phase = 0; phase < ST_PHASE_COUNT; phase++) {
        write_times(p, (st_phase)phase, out);
        write_bytes(p, (st_phase)phase, out);
    }
    fputs("</div>\n", out);
}
