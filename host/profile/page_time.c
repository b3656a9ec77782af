/* The page's times: shares of a phase, one step of it op by op, and layers. */
#include "host/profile/page.h"

#include <math.h>

enum { WIDTH = 1100, LEFT = 64, RIGHT = 12, LANE = 34, LAYER_WIDTH = 460, LAYER_HEIGHT = 190 };
#define FONT       12.0
#define CHAR_WIDTH 6.6

/* 1, 2 or 5 times a power of ten, so that about `n` of them make `range`. */
static double nice_step(double range, int n)
{
    double unit = pow(10.0, floor(log10(range / n))), part = range / n / unit;
    return unit * (part > 5.0 ? 10.0 : part > 2.0 ? 5.0 : part > 1.0 ? 2.0 : 1.0);
}

/* "12 ms" with as many digits as the distance of ticks needs. */
static void time_label(double seconds, double step, char text[24])
{
    static const char *const units[] = {"\xc2\xb5s", "ms", "s"};
    int unit = step < 4e-4 ? 0 : step < 0.4 ? 1 : 2;
    double factor = unit == 0 ? 1e6 : unit == 1 ? 1e3 : 1.0, distance = step * factor;
    int digits = distance >= 0.99 ? 0 : distance >= 0.099 ? 1 : 2;
    snprintf(text, 24, "%.*f %s", digits, seconds * factor, units[unit]);
}

/* ---- shares ---- */

static void write_share(FILE *out, const char *mark, const char *name, double seconds, double all)
{
    char text[24];
    if (seconds > 0.0)
        fprintf(out, "<i class=\"%s\" style=\"width:%.3f%%\" title=\"%s: %s, %.1f%%\"></i>", mark,
                100.0 * seconds / all, name, st_scaled(seconds, "s", text), 100.0 * seconds / all);
}

static void write_shares(const st_profile_phase *phase, FILE *out)
{
    double place[ST_PLACE_COUNT] = {0};
    for (int i = 0; i < phase->n_row; i++)
        place[phase->row[i].place] += phase->row[i].seconds;
    fputs("<div class=\"bar\">", out);
    for (int i = 0; i < ST_PLACE_COUNT; i++)
        write_share(out, (const char *[]){"p0", "p1", "p2", "p3", "p4", "p5", "p6"}[i],
                    st_place_name((st_place)i), place[i], phase->seconds);
    write_share(out, "gap", "between the ops", st_unaccounted(phase), phase->seconds);
    write_share(out, "host", "engine (host)", phase->host_seconds, phase->seconds);
    fputs("</div>\n<ul class=\"key\">", out);
    for (int i = 0; i < ST_PLACE_COUNT; i++)
        fprintf(out, "<li><i class=\"p%d\"></i>%s %.1f%%</li>", i, st_place_name((st_place)i),
                100.0 * place[i] / phase->seconds);
    fprintf(out,
            "<li><i class=\"gap\"></i>between the ops %.1f%%</li><li><i class=\"host\"></i>engine (host) "
            "%.1f%%</li>",
            100.0 * st_unaccounted(phase) / phase->seconds, 100.0 * phase->host_seconds / phase->seconds);
    fputs("</ul>\n", out);
}

/* ---- one step ---- */

typedef struct lane {
    const st_profile *profile;
    const st_profile_step *step;
    double seconds; /* of the step */
} lane;

static double x_of(const lane *l, double time)
{
    return LEFT + (time - l->step->start) / l->seconds * (WIDTH - LEFT - RIGHT);
}

/* A box with its title, and with its name where that fits. */
static void write_box(const lane *l, const char *mark, double start, double seconds, double y,
                      const char *name, const char *title, FILE *out)
{
    double x = x_of(l, start), w = x_of(l, start + seconds) - x;
    w = w > 0.4 ? w : 0.4;
    fprintf(out,
            "<g class=\"op\"><title>%s</title><rect class=\"%s\" x=\"%.2f\" y=\"%.1f\" width=\"%.2f\" "
            "height=\"%d\"/>",
            title, mark, x, y, w, LANE);
    double needed = 8.0;
    for (const char *c = name; *c; c++)
        needed += CHAR_WIDTH;
    if (w > needed)
        fprintf(out, "<text class=\"in on-%s\" x=\"%.2f\" y=\"%.1f\" text-anchor=\"middle\">%s</text>", mark,
                x + w / 2, y + LANE / 2 + 4, name);
    fputs("</g>\n", out);
}

static void write_host_part(const lane *l, const char *name, double start, double end, double y, FILE *out)
{
    char title[96], text[24];
    snprintf(title, sizeof title, "%s: %s", name, st_scaled(end - start, "s", text));
    write_box(l, "host", start, end - start, y, name, title, out);
}

static void write_wait(const lane *l, double y, FILE *out)
{
    char title[96], text[24];
    double seconds = l->step->end - l->step->begin;
    snprintf(title, sizeof title, "the device works: %s", st_scaled(seconds, "s", text));
    write_box(l, "band", l->step->begin, seconds, y, "waits for the device", title, out);
}

static void write_ticks(const lane *l, double bottom, FILE *out)
{
    double step = nice_step(l->seconds, 8);
    char text[24];
    for (int i = 0; i * step <= l->seconds; i++) {
        double x = x_of(l, l->step->start + i * step);
        fprintf(out, "<line class=\"grid\" x1=\"%.1f\" x2=\"%.1f\" y1=\"0\" y2=\"%.1f\"/>", x, x, bottom);
        time_label(i * step, step, text);
        if (x < WIDTH - 30)
            fprintf(out, "<text class=\"axis\" x=\"%.1f\" y=\"%.1f\" text-anchor=\"%s\">%s</text>\n", x,
                    bottom + 16, i == 0 ? "start" : "middle", text);
    }
}

/* Calls `write` for each run of ops of one layer. */
typedef void (*band_fn)(double x0, double x1, int32_t layer, double y, double *taken, FILE *out);

static void each_band(const lane *l, double y, band_fn write, FILE *out)
{
    const st_profile_event *e = &l->profile->event[l->step->first_event];
    double taken = 0.0;
    for (int32_t i = 0; i < l->step->n_event;) {
        int32_t first = i, layer = e[i].layer;
        while (i < l->step->n_event && e[i].layer == layer)
            i++;
        if (layer >= 0)
            write(x_of(l, e[first].start), x_of(l, e[i - 1].start + (double)e[i - 1].seconds), layer, y,
                  &taken, out);
    }
}

static void write_band(double x0, double x1, int32_t layer, double y, double *taken, FILE *out)
{
    (void)taken;
    if (layer % 2 == 0)
        fprintf(out, "<rect class=\"band\" x=\"%.2f\" y=\"%.1f\" width=\"%.2f\" height=\"18\"/>", x0, y,
                x1 - x0);
}

/* Numbers where there is room since the last one. */
static void write_band_number(double x0, double x1, int32_t layer, double y, double *taken, FILE *out)
{
    double x = (x0 + x1) / 2, half = layer > 9 ? 11.0 : 8.0;
    if (x - half < *taken)
        return;
    fprintf(out,
            "<text class=\"axis\" font-size=\"11\" x=\"%.1f\" y=\"%.1f\" text-anchor=\"middle\">L%d</text>\n",
            x, y + 13, layer);
    *taken = x + half + 6.0;
}

static void write_ops(const lane *l, double y, FILE *out)
{
    const st_profile_phase *phase = &l->profile->phase[l->step->phase];
    for (int32_t i = 0; i < l->step->n_event; i++) {
        const st_profile_event *e = &l->profile->event[l->step->first_event + i];
        const st_profile_row *row = &phase->row[e->row];
        char label[64], layer[24] = "", time[24], bytes[24], title[200];
        const char *const marks[ST_PLACE_COUNT] = {"p0", "p1", "p2", "p3", "p4", "p5", "p6"};
        st_row_label(row, label);
        if (e->layer >= 0)
            snprintf(layer, sizeof layer, ", layer %d", e->layer);
        snprintf(title, sizeof title, "%s (%s, %s)%s\n%s, %s, %d row%s", label, st_op_name(row->op),
                 row->variant, layer, st_scaled((double)e->seconds, "s", time),
                 st_scaled((double)e->bytes, "B", bytes), e->n_row, e->n_row == 1 ? "" : "s");
        write_box(l, marks[row->place], e->start, (double)e->seconds, y, label, title, out);
    }
}

static void write_timeline(const st_profile *p, st_phase which, FILE *out)
{
    const st_profile_phase *phase = &p->phase[which];
    if (phase->typical < 0) {
        fputs(
            "<p class=\"soft\">Single ops of its steps were not kept: there are too many in one step.</p>\n",
            out);
        return;
    }
    const st_profile_step *s = &p->step[phase->typical];
    lane l = {p, s, s->finish - s->start};
    double y_host = 0.0, y_layers = LANE + 8.0, y_ops = y_layers + 20.0, bottom = y_ops + LANE + 4.0;
    char text[24];
    fprintf(out, "<h3 style=\"margin-top:18px\">One step of %d row%s: %s</h3>\n<div class=\"scroll\">",
            s->n_token, s->n_token == 1 ? "" : "s", st_scaled(l.seconds, "s", text));
    fprintf(out,
            "<svg viewBox=\"0 0 %d %.0f\" font-size=\"%.1f\" role=\"img\" aria-label=\"Timeline of one %s "
            "step\" data-timeline=\"%s\">\n",
            WIDTH, bottom + 22.0, FONT, st_phase_name(which), st_phase_name(which));
    write_ticks(&l, bottom, out);
    fprintf(out,
            "<text class=\"axis\" x=\"0\" y=\"%.1f\">engine</text><text class=\"axis\" x=\"0\" "
            "y=\"%.1f\">layers</text>"
            "<text class=\"axis\" x=\"0\" y=\"%.1f\">device</text>\n",
            y_host + LANE / 2 + 4, y_layers + 13, y_ops + LANE / 2 + 4);
    write_host_part(&l, "schedule, write batch", s->start, s->begin, y_host, out);
    write_wait(&l, y_host, out);
    write_host_part(&l, "read, sample", s->end, s->finish, y_host, out);
    each_band(&l, y_layers, write_band, out);
    each_band(&l, y_layers, write_band_number, out);
    write_ops(&l, y_ops, out);
    fputs("</svg></div>\n", out);
}

/* ---- layers ---- */

static void write_layers(const st_profile *p, st_phase which, FILE *out)
{
    const st_profile_phase *phase = &p->phase[which];
    double most = 0.0, n = phase->n_step, bottom = LAYER_HEIGHT - 34.0, top = 10.0, left = 62.0, right = 8.0;
    for (int32_t i = 0; i < p->model.n_layer; i++)
        most = phase->layer[i].seconds / n > most ? phase->layer[i].seconds / n : most;
    if (most <= 0.0)
        return;
    double step = nice_step(most, 3), slot = (LAYER_WIDTH - left - right) / p->model.n_layer;
    char text[24];
    fprintf(out,
            "<figure class=\"card\"><h3>%s: time per layer and step</h3>\n<div class=\"scroll\"><svg "
            "class=\"small\" viewBox=\"0 0 %d %d\" "
            "font-size=\"%.1f\" role=\"img\" aria-label=\"Time of each layer\" data-layers=\"%s\">\n",
            which == ST_PHASE_PREFILL ? "Prefill" : "Decode", LAYER_WIDTH, LAYER_HEIGHT, FONT,
            st_phase_name(which));
    for (int i = 0; i * step <= most; i++) {
        double y = bottom - i * step / most * (bottom - top);
        time_label(i * step, step, text);
        fprintf(out,
                "<line class=\"%s\" x1=\"%.0f\" x2=\"%.0f\" y1=\"%.1f\" y2=\"%.1f\"/><text class=\"axis\" "
                "x=\"%.0f\" y=\"%.1f\" text-anchor=\"end\">%s</text>\n",
                i ? "grid" : "base", left, LAYER_WIDTH - right, y, y, left - 6, y + 4, text);
    }
    int every = (int)ceil(26.0 / slot); /* numbers need room */
    for (int32_t i = 0; i < p->model.n_layer; i++) {
        const st_profile_layer *layer = &phase->layer[i];
        double x = left + i * slot, w = slot > 3.0 ? slot - (slot > 12.0 ? 4.0 : 1.0) : slot, y = bottom;
        w = w < 40.0 ? w : 40.0;
        x += (slot - w) / 2;
        fprintf(out, "<g class=\"op\"><title>layer %d: %s a step", i,
                st_scaled(layer->seconds / n, "s", text));
        for (int place = ST_PLACE_QKV; place <= ST_PLACE_DOWN; place++)
            fprintf(out, "\n%s %s", st_place_name((st_place)place),
                    st_scaled(layer->place_seconds[place] / n, "s", text));
        fputs("</title>", out);
        for (int place = ST_PLACE_QKV; place <= ST_PLACE_DOWN; place++) {
            double h = layer->place_seconds[place] / n / most * (bottom - top);
            y -= h;
            fprintf(out, "<rect class=\"p%d\" x=\"%.2f\" y=\"%.2f\" width=\"%.2f\" height=\"%.2f\"/>", place,
                    x, y, w, h);
        }
        fputs("</g>\n", out);
        if (i % every == 0)
            fprintf(out, "<text class=\"axis\" x=\"%.1f\" y=\"%.1f\" text-anchor=\"middle\">%d</text>\n",
                    x + w / 2, bottom + 15, i);
    }
    fprintf(
        out,
        "<text class=\"axis\" x=\"%.1f\" y=\"%d\" text-anchor=\"middle\">layer</text></svg></div></figure>\n",
        (left + LAYER_WIDTH - right) / 2, LAYER_HEIGHT - 4);
}

void st_page_time(const st_profile *p, FILE *out)
{
    fputs("<h2>Time</h2>\n<p class=\"soft\">Shares of all steps, and the step whose time is the "
          "median.</p>\n<div class=\"stack\">\n",
          out);
    for (int phase = 0; phase < ST_PHASE_COUNT; phase++) {
        fprintf(out, "<section class=\"card\"><h3>%s</h3>\n",
                phase == ST_PHASE_PREFILL ? "Prefill" : "Decode");
        if (p->phase[phase].n_taken > ST_TAKEN_RATE * p->phase[phase].seconds)
            fprintf(out, "<p><b>Other work took processors away %lld times: times are too long.</b></p>\n",
                    (long long)p->phase[phase].n_taken);
        write_shares(&p->phase[phase], out);
        write_timeline(p, (st_phase)phase, out);
        fputs("</section>\n", out);
    }
    fputs("</div>\n<div class=\"pair\" style=\"margin-top:18px\">\n", out);
    for (int phase = 0; phase < ST_PHASE_COUNT; phase++)
        write_layers(p, (st_phase)phase, out);
    fputs("</div>\n", out);
}
