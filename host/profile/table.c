/* A profile as text. */
#include "host/profile/report.h"

#include <math.h>
#include <string.h>

/* A number right-aligned in `width` columns, "-" for NaN. */
static void cell(FILE *out, int width, int digits, double value)
{
    if (isfinite(value))
        fprintf(out, " %*.*f", width, digits, value);
    else
        fprintf(out, " %*s", width, "-");
}

/* The same with three significant digits at least, so that small and large rates both fit. */
static void rate_cell(FILE *out, int width, double value)
{
    cell(out, width, fabs(value) >= 99.95 ? 0 : fabs(value) >= 9.995 ? 1 : 2, value);
}

static void rule(FILE *out, int n)
{
    for (int i = 0; i < n; i++)
        fputc('-', out);
    fputc('\n', out);
}

/* ---- what was profiled ---- */

static void print_head(const st_profile *p, FILE *out)
{
    char a[24], b[24], c[24];
    const sterna_model_info *m = &p->model;
    const st_profile_options *o = &p->options;
    fprintf(out, "model    %s (%s), %d layers of %d, feed-forward %d, vocabulary %d\n",
            m->name[0] ? m->name : "without a name", m->architecture, m->n_layer, m->n_embd, m->n_ff,
            m->n_vocab);
    fprintf(out, "         %s parameters, %s of them ternary; a step reads %s of weights\n",
            st_scaled((double)m->n_parameter, "", a), st_scaled((double)m->n_ternary_parameter, "", b),
            st_scaled((double)p->pass_bytes, "B", c));
    fprintf(out, "device   %s, %s%s%s%s\n", p->device.name, p->device.description,
            p->device.isa[0] ? " [" : "", p->device.isa, p->device.isa[0] ? "]" : "");
    if (p->device.software)
        fprintf(out,
                "         a software driver: its times say nothing of a device, so no rates are shown\n");
    fprintf(out, "run      %d sequence%s: %d prompt tokens each, then %d decode steps; %d rows a step",
            o->n_sequence, o->n_sequence == 1 ? "" : "s", o->n_prompt, o->n_generate, o->n_batch);
    if (p->n_thread > 0)
        fprintf(out, "; %d thread%s", p->n_thread, p->n_thread == 1 ? "" : "s");
    fputc('\n', out);
    if (p->no_ceiling[0])
        fprintf(out, "ceiling  none: %s\n", p->no_ceiling);
    else
        fprintf(out, "ceiling  reads %s (%s again and again, %s loop), int8 %s (%s loop)\n",
                st_scaled(p->read.rate, "B/s", a), st_scaled((double)p->read.bytes, "B", b), p->read.loop,
                st_scaled(p->int8.rate, "MAC/s", c), p->int8.loop);
    if (p->no_energy[0])
        fprintf(out, "energy   %s\n", p->no_energy);
    else
        fprintf(out, "energy   of %d package%s%s, whatever runs there\n", p->n_package,
                p->n_package == 1 ? "" : "s", p->n_dram ? " and their memory" : "");
}

/* ---- a phase ---- */

static void print_summary(const st_profile *p, st_phase which, FILE *out)
{
    const st_profile_phase *phase = &p->phase[which];
    const st_figures f = {phase->seconds, phase->cost};
    double tokens = (double)phase->n_token, joules = st_profile_joules(p, phase);
    char a[24], b[24], c[24];
    fprintf(out, "\n%s: %lld tokens in %d step%s, %s", st_phase_name(which), (long long)phase->n_token,
            phase->n_step, phase->n_step == 1 ? "" : "s", st_scaled(phase->seconds, "s", a));
    if (!p->device.software)
        fprintf(out, ", %s", st_scaled(st_ratio(tokens, phase->seconds), "tok/s", a));
    fprintf(out, "; %s moved, %s per token, %s", st_scaled((double)phase->cost.bytes, "B", a),
            st_scaled((double)phase->cost.bytes / tokens, "B", b), st_scaled(st_bytes_rate(p, &f), "B/s", c));
    if (joules >= 0.0)
        fprintf(out, "; %.3g J per token, %.3g W", joules, joules * tokens / phase->seconds);
    fputc('\n', out);
    if (phase->n_mixed > 0)
        fprintf(out, "(its steps have %lld rows of sequences that already generate, too)\n",
                (long long)phase->n_mixed);
    if (phase->n_taken > ST_TAKEN_RATE * phase->seconds)
        fprintf(out, "(other work took processors away %lld times: times are too long)\n",
                (long long)phase->n_taken);
    if (phase->engine_bytes < phase->cost.weight + phase->cost.kv)
        fprintf(out, "(%s of it weights and KV; %s if rows of a sequence shared the keys they read)\n",
                st_scaled((double)(phase->cost.weight + phase->cost.kv), "B", a),
                st_scaled((double)phase->engine_bytes, "B", b));
    fprintf(out, "with weights in FP16 %.2f times the bytes, INT8 %.2f, INT4 %.2f\n",
            st_ratio((double)phase->cost.fp16, (double)phase->cost.bytes),
            st_ratio((double)phase->cost.int8, (double)phase->cost.bytes),
            st_ratio((double)phase->cost.int4, (double)phase->cost.bytes));
}

/* The figures of a line, after its names. */
static void print_figures(const st_profile *p, const st_profile_phase *phase, const st_figures *f, FILE *out)
{
    cell(out, 10, 3, 1e3 * f->seconds);
    cell(out, 6, 1, 100.0 * st_ratio(f->seconds, phase->seconds));
    cell(out, 10, 3, 1e-6 * (double)f->cost.bytes);
    rate_cell(out, 8, 1e-9 * st_bytes_rate(p, f));
    rate_cell(out, 6, 100.0 * st_read_share(p, f));
    cell(out, 10, 3, 1e-6 * (double)f->cost.multiply_accumulate);
    rate_cell(out, 8, st_intensity(f));
    rate_cell(out, 8, 1e-9 * st_mac_rate(p, f));
    fputc('\n', out);
}

static void print_time_only(const char *name, const st_profile_phase *phase, double seconds, FILE *out)
{
    fprintf(out, "%-51s", name);
    cell(out, 10, 3, 1e3 * seconds);
    cell(out, 6, 1, 100.0 * st_ratio(seconds, phase->seconds));
    fputc('\n', out);
}

static void print_times(const st_profile *p, const st_profile_phase *phase, FILE *out)
{
    fprintf(out, "\n%-14s %-16s %-11s %7s %10s %6s %10s %8s %6s %10s %8s %8s\n", "op", "place", "variant",
            "calls", "ms", "time %", "MB", "GB/s", "peak %", "MMAC", "MAC/B", "GMAC/s");
    rule(out, 125);
    for (int i = 0; i < phase->n_row; i++) {
        const st_profile_row *row = &phase->row[i];
        fprintf(out, "%-14s %-16s %-11s %7llu", st_op_name(row->op), st_place_name(row->place), row->variant,
                (unsigned long long)row->calls);
        print_figures(p, phase, &(st_figures){row->seconds, row->cost}, out);
    }
    rule(out, 125);
    print_time_only("between the ops (unaccounted)", phase, st_unaccounted(phase), out);
    print_time_only("engine on the host: schedule, read, sample", phase, phase->host_seconds, out);
    fprintf(out, "%-51s", "all steps");
    print_figures(p, phase, &(st_figures){phase->seconds, phase->cost}, out);
}

static void print_cost(const st_cost *c, FILE *out)
{
    double bytes = (double)c->bytes;
    cell(out, 10, 3, 1e-6 * bytes);
    cell(out, 10, 3, 1e-6 * (double)c->weight);
    cell(out, 9, 3, 1e-6 * (double)c->kv);
    cell(out, 9, 3, 1e-6 * (double)c->other);
    cell(out, 11, 3, 1e-6 * (double)c->fp16);
    cell(out, 10, 3, 1e-6 * (double)c->int8);
    cell(out, 10, 3, 1e-6 * (double)c->int4);
    cell(out, 6, 2, st_ratio((double)c->fp16, bytes));
    cell(out, 5, 2, st_ratio((double)c->int8, bytes));
    cell(out, 5, 2, st_ratio((double)c->int4, bytes));
    fputc('\n', out);
}

/* Bytes of each place, with those of other weights. */
static void print_bytes(const st_profile_phase *phase, FILE *out)
{
    fprintf(out, "\n%-16s %10s %10s %9s %9s %11s %10s %10s %6s %5s %5s\n", "MB moved", "all", "weights", "KV",
            "other", "FP16 would", "INT8 would", "INT4 would", "x FP16", "INT8", "INT4");
    rule(out, 113);
    for (int place = 0; place < ST_PLACE_COUNT; place++) {
        st_cost sum = {0};
        for (int i = 0; i < phase->n_row; i++)
            if ((int)phase->row[i].place == place)
                st_cost_add(&sum, &phase->row[i].cost);
        fprintf(out, "%-16s", st_place_name((st_place)place));
        print_cost(&sum, out);
    }
    rule(out, 113);
    fprintf(out, "%-16s", "all");
    print_cost(&phase->cost, out);
}

static void print_layers(const st_profile *p, const st_profile_phase *phase, FILE *out)
{
    fprintf(out, "\n%-5s %10s %6s %10s %8s", "layer", "ms", "time %", "MB", "GB/s");
    for (int place = ST_PLACE_QKV; place <= ST_PLACE_DOWN; place++)
        fprintf(out, "  %*s", 9,
                place == ST_PLACE_ATTENTION_OUTPUT ? "attn out" : st_place_name((st_place)place));
    fprintf(out, "  (ms)\n");
    rule(out, 102);
    for (int32_t i = 0; i < p->model.n_layer; i++) {
        const st_profile_layer *layer = &phase->layer[i];
        fprintf(out, "%-5d", i);
        cell(out, 10, 3, 1e3 * layer->seconds);
        cell(out, 6, 1, 100.0 * st_ratio(layer->seconds, phase->seconds));
        cell(out, 10, 3, 1e-6 * (double)layer->cost.bytes);
        rate_cell(out, 8, 1e-9 * st_bytes_rate(p, &(st_figures){layer->seconds, layer->cost}));
        for (int place = ST_PLACE_QKV; place <= ST_PLACE_DOWN; place++)
            cell(out, 10, 3, 1e3 * layer->place_seconds[place]);
        fputc('\n', out);
    }
}

void st_profile_table(const st_profile *p, bool layers, FILE *out)
{
    print_head(p, out);
    for (int phase = 0; phase < ST_PHASE_COUNT; phase++) {
        print_summary(p, (st_phase)phase, out);
        print_times(p, &p->phase[phase], out);
        print_bytes(&p->phase[phase], out);
        if (layers)
            print_layers(p, &p->phase[phase], out);
    }
}
