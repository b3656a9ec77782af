/* The page's rooflines: rate over arithmetic intensity, both logarithmic, one mark per op and place. */
#include "host/profile/page.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

/* Of the drawing, in its own units; on a wide screen they are about pixels. */
enum { WIDTH = 460, HEIGHT = 390, LEFT = 56, RIGHT = 14, TOP = 14, BOTTOM = 50 };
#define FONT       11.5
#define CHAR_WIDTH 6.7 /* of the labels' font, an upper estimate of the mean */

enum { MAX_BOX = 2 * (ST_OP_COUNT + ST_PLACE_COUNT) + 24 };

typedef struct box {
    double x0, y0, x1, y1;
} box;

/* linear: of one place; any other op: of all its places. */
typedef struct mark {
    st_op op;
    st_place place; /* ST_PLACE_COUNT: several */
    uint64_t calls;
    st_figures figures;
    double x, y, r; /* centre and radius */
    const char *label;
} mark;

/* A panel: what data is drawn where, and what is already there. */
typedef struct panel {
    const st_profile *profile;
    double x0, x1, y0, y1; /* decades at the axes' ends */
    mark mark[ST_OP_COUNT + ST_PLACE_COUNT];
    int n_mark;
    box box[MAX_BOX]; /* that labels must keep clear of */
    int n_box;
} panel;

static double x_of(const panel *p, double intensity)
{
    return LEFT + (log10(intensity) - p->x0) / (p->x1 - p->x0) * (WIDTH - LEFT - RIGHT);
}

static double y_of(const panel *p, double rate)
{
    return HEIGHT - BOTTOM - (log10(rate) - p->y0) / (p->y1 - p->y0) * (HEIGHT - TOP - BOTTOM);
}

/* ---- marks of a phase ---- */

static mark *find_mark(panel *p, const st_profile_row *row)
{
    for (int i = 0; i < p->n_mark; i++)
        if (p->mark[i].op == row->op && (row->op != ST_OP_LINEAR || p->mark[i].place == row->place))
            return &p->mark[i];
    p->mark[p->n_mark] = (mark){.op = row->op, .place = row->place};
    return &p->mark[p->n_mark++];
}

/* Larger times first, so that their labels find the better places and small marks lie on top. */
static int by_seconds(const void *a, const void *b)
{
    double x = ((const mark *)a)->figures.seconds, y = ((const mark *)b)->figures.seconds;
    return (x < y) - (x > y);
}

static void collect_marks(panel *p, const st_profile_phase *phase)
{
    p->n_mark = p->n_box = 0;
    for (int i = 0; i < phase->n_row; i++) {
        const st_profile_row *row = &phase->row[i];
        mark *m = find_mark(p, row);
        m->place = m->place == row->place ? m->place : ST_PLACE_COUNT;
        m->calls += row->calls;
        m->figures.seconds += row->seconds;
        st_cost_add(&m->figures.cost, &row->cost);
    }
    int n = 0;
    for (int i = 0; i < p->n_mark; i++) {
        mark m = p->mark[i];
        m.label = m.op == ST_OP_LINEAR ? st_place_name(m.place) : st_op_name(m.op);
        if (st_mac_rate(p->profile, &m.figures) > 0.0 && st_intensity(&m.figures) > 0.0)
            p->mark[n++] = m;
    }
    p->n_mark = n;
    qsort(p->mark, (size_t)n, sizeof p->mark[0], by_seconds);
}

/* ---- axes: the same for both phases ---- */

static void widen(double *low, double *high, double value)
{
    *low = log10(value) < *low ? log10(value) : *low;
    *high = log10(value) > *high ? log10(value) : *high;
}

/* False if there is nothing to draw. */
static bool choose_axes(panel *p)
{
    const st_profile *profile = p->profile;
    p->x0 = p->y0 = INFINITY;
    p->x1 = p->y1 = -INFINITY;
    for (int phase = 0; phase < ST_PHASE_COUNT; phase++) {
        collect_marks(p, &profile->phase[phase]);
        for (int i = 0; i < p->n_mark; i++) {
            widen(&p->x0, &p->x1, st_intensity(&p->mark[i].figures));
            widen(&p->y0, &p->y1, st_mac_rate(profile, &p->mark[i].figures));
        }
    }
    if (!isfinite(p->x0))
        return false;
    if (!profile->no_ceiling[0]) {
        widen(&p->x0, &p->x1, profile->int8.rate / profile->read.rate);
        widen(&p->y0, &p->y1, profile->int8.rate);
    }
    /* Room for marks and labels. */
    p->x0 -= 0.2;
    p->x1 += 0.25;
    p->y0 -= 0.25;
    p->y1 += 0.25;
    return true;
}

static void write_axes(const panel *p, FILE *out)
{
    char text[24];
    double bottom = HEIGHT - BOTTOM, right = WIDTH - RIGHT;
    for (int d = (int)ceil(p->x0); d <= (int)floor(p->x1); d++) {
        double x = x_of(p, pow(10.0, d));
        fprintf(out, "<line class=\"grid\" x1=\"%.1f\" x2=\"%.1f\" y1=\"%d\" y2=\"%.1f\"/>", x, x, TOP,
                bottom);
        fprintf(out, "<text class=\"axis\" x=\"%.1f\" y=\"%.1f\" text-anchor=\"middle\">%s</text>\n", x,
                bottom + 17, st_tick(pow(10.0, d), text));
    }
    for (int d = (int)ceil(p->y0); d <= (int)floor(p->y1); d++) {
        double y = y_of(p, pow(10.0, d));
        fprintf(out, "<line class=\"grid\" x1=\"%d\" x2=\"%.1f\" y1=\"%.1f\" y2=\"%.1f\"/>", LEFT, right, y,
                y);
        fprintf(out, "<text class=\"axis\" x=\"%d\" y=\"%.1f\" text-anchor=\"end\">%s</text>\n", LEFT - 7,
                y + 4, st_tick(pow(10.0, d - 9), text));
    }
    fprintf(out, "<line class=\"base\" x1=\"%d\" x2=\"%.1f\" y1=\"%.1f\" y2=\"%.1f\"/>\n", LEFT, right,
            bottom, bottom);
    fprintf(
        out,
        "<text class=\"axis\" x=\"%.1f\" y=\"%d\" text-anchor=\"middle\">arithmetic intensity, MAC per byte "
        "moved</text>\n",
        (LEFT + right) / 2, HEIGHT - 10);
    fprintf(out,
            "<text class=\"axis\" transform=\"translate(13 %.1f) rotate(-90)\" text-anchor=\"middle\">rate, "
            "GMAC/s</text>\n",
            (TOP + bottom) / 2);
}

/* ---- ceilings ---- */

static void keep_clear(panel *p, double x0, double y0, double x1, double y1)
{
    if (p->n_box < MAX_BOX)
        p->box[p->n_box++] = (box){x0, y0, x1, y1};
}

typedef struct slope {
    double x0, y0, x1, y1; /* in the drawing */
} slope;

/* Where along the slope its words hide no mark: share of its length, or -1 if nowhere. */
static double place_words(const panel *p, const slope *s, double width)
{
    double size = hypot(s->x1 - s->x0, s->y1 - s->y0), dx = (s->x1 - s->x0) / size,
           dy = (s->y1 - s->y0) / size;
    for (double at = 6.0; at + width < size; at += 8.0) {
        bool clear = true;
        for (int i = 0; i < p->n_mark; i++) {
            /* Along the slope, and above it. */
            double x = p->mark[i].x - s->x0, y = p->mark[i].y - s->y0;
            double along = x * dx + y * dy, above = x * dy - y * dx, r = p->mark[i].r + 2.0;
            clear = clear && (along < at - r || along > at + width + r || above < -r || above > 20.0 + r);
        }
        if (clear)
            return at / size;
    }
    return -1.0;
}

static void write_slope(panel *p, const slope *s, double read, FILE *out)
{
    char text[24];
    double angle = atan2(s->y1 - s->y0, s->x1 - s->x0) * 180.0 / 3.14159265358979;
    double width = CHAR_WIDTH * (double)(strlen("read ") + strlen(st_scaled(read, "B/s", text)));
    double at = place_words(p, s, width), size = hypot(s->x1 - s->x0, s->y1 - s->y0);
    if (at >= 0.0)
        fprintf(
            out,
            "<text class=\"halo\" transform=\"translate(%.1f %.1f) rotate(%.2f)\" y=\"-7\">read %s</text>\n",
            s->x0 + (s->x1 - s->x0) * at, s->y0 + (s->y1 - s->y0) * at, angle, text);
    /* Labels of marks stay off the slope, in steps, and off the words above it. */
    for (double t = 0.0; t < 1.0; t += 0.05) {
        double x = s->x0 + (s->x1 - s->x0) * t, y = s->y0 + (s->y1 - s->y0) * t;
        bool words = at >= 0.0 && t > at - 0.04 && t < at + width / size + 0.04;
        keep_clear(p, x - 3, y - (words ? 20 : 3), x + 3, y + 3);
    }
}

static void write_roof(panel *p, FILE *out)
{
    const st_profile *profile = p->profile;
    if (profile->no_ceiling[0])
        return;
    double read = profile->read.rate, peak = profile->int8.rate, ridge = peak / read;
    /* The slope enters the plot on the left or from below. */
    double from = fmax(pow(10.0, p->x0), pow(10.0, p->y0) / read);
    slope s = {x_of(p, from), y_of(p, from * read), x_of(p, ridge), y_of(p, peak)};
    fprintf(out,
            "<path class=\"roof\" data-read=\"%.9g\" data-int8=\"%.9g\" d=\"M%.1f %.1fL%.1f %.1fH%d\"/>\n",
            read, peak, s.x0, s.y0, s.x1, s.y1, WIDTH - RIGHT);
    write_slope(p, &s, read, out);
    char text[24];
    keep_clear(p, s.x1, s.y1 - 20, WIDTH - RIGHT, s.y1 + 3);
    fprintf(out, "<text class=\"halo\" x=\"%d\" y=\"%.1f\" text-anchor=\"end\">int8 %s</text>\n",
            WIDTH - RIGHT, s.y1 - 7, st_scaled(peak, "MAC/s", text));
}

/* ---- marks ---- */

static void place_marks(panel *p, const st_profile_phase *phase)
{
    for (int i = 0; i < p->n_mark; i++) {
        mark *m = &p->mark[i];
        /* The area is the share of time. */
        m->r = 4.0 + 15.0 * sqrt(m->figures.seconds / phase->seconds);
        m->x = x_of(p, st_intensity(&m->figures));
        m->y = y_of(p, st_mac_rate(p->profile, &m->figures));
        keep_clear(p, m->x - m->r, m->y - m->r, m->x + m->r, m->y + m->r);
    }
}

static void write_title(const panel *p, const mark *m, FILE *out)
{
    const st_figures *f = &m->figures;
    char a[24], b[24], c[24];
    fprintf(out, "<title>%s%s\n", m->op == ST_OP_LINEAR ? "linear: " : "", m->label);
    fprintf(out, "%llu calls, %s\n%s, %s\n%.3g MAC per byte", (unsigned long long)m->calls,
            st_scaled(f->seconds, "s", a), st_scaled(st_mac_rate(p->profile, f), "MAC/s", b),
            st_scaled(st_bytes_rate(p->profile, f), "B/s", c), st_intensity(f));
    if (isfinite(st_read_share(p->profile, f)))
        fprintf(out, ", %.3g%% of the read ceiling", 100.0 * st_read_share(p->profile, f));
    fputs("</title>", out);
}

/* linear: a disc; attend: a square; the others: a diamond. */
static void write_mark(const panel *p, const mark *m, FILE *out)
{
    fprintf(out, "<g data-op=\"%s\" data-label=\"%s\" data-intensity=\"%.6g\" data-rate=\"%.6g\">",
            st_op_name(m->op), m->label, st_intensity(&m->figures), st_mac_rate(p->profile, &m->figures));
    write_title(p, m, out);
    int colour = m->place == ST_PLACE_COUNT ? 0 : (int)m->place;
    double side = (m->op == ST_OP_ATTEND ? 0.886 : 0.8) * m->r; /* of about the disc's area */
    if (m->op == ST_OP_LINEAR)
        fprintf(out, "<circle class=\"mark p%d\" cx=\"%.1f\" cy=\"%.1f\" r=\"%.1f\"/>", colour, m->x, m->y,
                m->r);
    else
        fprintf(out,
                "<rect class=\"mark p%d\" x=\"%.1f\" y=\"%.1f\" width=\"%.1f\" height=\"%.1f\" "
                "transform=\"rotate(%d %.1f %.1f)\"/>",
                colour, m->x - side, m->y - side, 2 * side, 2 * side, m->op == ST_OP_ATTEND ? 0 : 45, m->x,
                m->y);
    fputs("</g>\n", out);
}

/* ---- labels ---- */

static bool is_clear(const panel *p, const box *b, const mark *own)
{
    if (b->x0 < LEFT + 2 || b->x1 > WIDTH - RIGHT || b->y0 < TOP || b->y1 > HEIGHT - BOTTOM - 2)
        return false;
    for (int i = 0; i < p->n_box; i++) {
        const box *o = &p->box[i];
        bool mine = fabs((o->x0 + o->x1) / 2 - own->x) < 0.01 && fabs((o->y0 + o->y1) / 2 - own->y) < 0.01;
        if (!mine && b->x0 < o->x1 && b->x1 > o->x0 && b->y0 < o->y1 && b->y1 > o->y0)
            return false;
    }
    return true;
}

/* A free place for the label: near first, and of equally near ones to the right. False if there is none. */
static bool place_label(panel *p, const mark *m, box *found, bool *far)
{
    static const double directions[][2] = {{1, 0},       {-1, 0},     {0, -1},       {0, 1},
                                           {0.8, -0.6},  {0.8, 0.6},  {-0.8, -0.6},  {-0.8, 0.6},
                                           {0.4, -0.92}, {0.4, 0.92}, {-0.4, -0.92}, {-0.4, 0.92}};
    double w = CHAR_WIDTH * (double)strlen(m->label), h = FONT + 2.0;
    for (double gap = 3.0; gap < 150.0; gap += 6.0)
        for (size_t d = 0; d < sizeof directions / sizeof directions[0]; d++) {
            double dx = directions[d][0], dy = directions[d][1];
            double x = m->x + dx * (m->r + gap), y = m->y + dy * (m->r + gap);
            double x0 = dx > 0.3 ? x : dx < -0.3 ? x - w : x - w / 2;
            double y0 = dy > 0.3 ? y : dy < -0.3 ? y - h : y - h / 2;
            box b = {x0, y0, x0 + w, y0 + h};
            if (is_clear(p, &b, m)) {
                *found = b;
                *far = gap > 12.0;
                return true;
            }
        }
    return false;
}

static void write_label(panel *p, const mark *m, FILE *out)
{
    box b;
    bool far;
    if (!place_label(p, m, &b, &far))
        return; /* the mark still has its title, and the table its figures */
    keep_clear(p, b.x0 - 2, b.y0, b.x1 + 2, b.y1);
    bool right = b.x0 >= m->x, left = b.x1 <= m->x;
    const char *anchor = right ? "start" : left ? "end" : "middle";
    double x = right ? b.x0 : left ? b.x1 : (b.x0 + b.x1) / 2;
    if (far) {
        double tx = right ? b.x0 - 1 : left ? b.x1 + 1 : x, ty = (b.y0 + b.y1) / 2;
        if (!right && !left)
            ty = b.y0 > m->y ? b.y0 : b.y1;
        double size = hypot(tx - m->x, ty - m->y);
        fprintf(out, "<line class=\"lead\" x1=\"%.1f\" y1=\"%.1f\" x2=\"%.1f\" y2=\"%.1f\"/>",
                m->x + (tx - m->x) * m->r / size, m->y + (ty - m->y) * m->r / size, tx, ty);
    }
    fprintf(out, "<text class=\"halo\" x=\"%.1f\" y=\"%.1f\" text-anchor=\"%s\">%s</text>\n", x, b.y1 - 4.0,
            anchor, m->label);
}

static void write_panel(panel *p, st_phase which, FILE *out)
{
    collect_marks(p, &p->profile->phase[which]);
    fprintf(out,
            "<figure class=\"card\"><h3>%s</h3>\n<div class=\"scroll\"><svg class=\"small\" viewBox=\"0 0 %d "
            "%d\" font-size=\"%.1f\" role=\"img\" "
            "aria-label=\"Roofline of %s\" data-roofline=\"%s\">\n",
            which == ST_PHASE_PREFILL ? "Prefill" : "Decode", WIDTH, HEIGHT, FONT, st_phase_name(which),
            st_phase_name(which));
    write_axes(p, out);
    place_marks(p, &p->profile->phase[which]);
    write_roof(p, out);
    for (int i = 0; i < p->n_mark; i++)
        write_mark(p, &p->mark[i], out);
    for (int i = 0; i < p->n_mark; i++)
        write_label(p, &p->mark[i], out);
    fputs("</svg></div></figure>\n", out);
}

void st_page_roofline(const st_profile *profile, FILE *out)
{
    panel *p = st_calloc(1, sizeof *p);
    if (!p) {
        fputs("<p>No memory for the rooflines.</p>\n", out);
        return;
    }
    p->profile = profile;
    if (choose_axes(p)) {
        fputs(
            "<h2>Roofline</h2>\n<p class=\"soft\">Left of the corner memory is the limit, right of it "
            "arithmetic. "
            "Discs are linears, squares attention, diamonds all else; their area is the share of time.</p>\n"
            "<div class=\"pair\">\n",
            out);
        for (int phase = 0; phase < ST_PHASE_COUNT; phase++)
            write_panel(p, (st_phase)phase, out);
        fputs("</div>\n", out);
    }
    st_free(p);
}
