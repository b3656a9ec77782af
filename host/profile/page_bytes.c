/* The page's bars of bytes: these weights against others. */
#include "host/profile/page.h"

/* Segments of a bar. */
enum { PART_TERNARY, PART_MATRICES, PART_KV, PART_OTHER, N_PART };
static const char *const part_names[N_PART] = {"ternary matrices", "embedding, head, norms",
                                               "keys and values", "activations"};
static const char *const part_marks[N_PART] = {"p1", "p6", "p2", "p0"};

typedef struct split {
    double part[N_PART];
    double fp16, int8, int4; /* all parts together */
    double all;
} split;

/* Bytes per step. */
static split split_phase(const st_profile_phase *phase)
{
    split s = {{0},
               (double)phase->cost.fp16,
               (double)phase->cost.int8,
               (double)phase->cost.int4,
               (double)phase->cost.bytes};
    for (int i = 0; i < phase->n_row; i++) {
        const st_cost *c = &phase->row[i].cost;
        s.part[c->fp16 != c->bytes ? PART_TERNARY : PART_MATRICES] += (double)c->weight;
        s.part[PART_KV] += (double)c->kv;
        s.part[PART_OTHER] += (double)c->other;
    }
    double n = phase->n_step;
    for (int i = 0; i < N_PART; i++)
        s.part[i] /= n;
    return (split){
        {s.part[0], s.part[1], s.part[2], s.part[3]}, s.fp16 / n, s.int8 / n, s.int4 / n, s.all / n};
}

static void write_bar(const split *s, const char *name, double all, FILE *out)
{
    double most = s->fp16 > s->all ? s->fp16 : s->all;
    char text[24];
    fprintf(out, "<div class=\"name\">%s</div><div class=\"bar\" data-weights=\"%s\" data-bytes=\"%.0f\">",
            name, name, all);
    for (int i = 0; i < N_PART; i++) {
        /* Only the ternary matrices change. */
        double bytes = i == PART_TERNARY ? s->part[i] + all - s->all : s->part[i];
        if (bytes > 0.0)
            fprintf(out, "<i class=\"%s\" style=\"width:%.3f%%\" title=\"%s: %s\"></i>", part_marks[i],
                    100.0 * bytes / most, part_names[i], st_scaled(bytes, "B", text));
    }
    fprintf(out, "</div><div class=\"value\"><b>%s</b>", st_scaled(all, "B", text));
    fprintf(out, "</div><div class=\"value\">%.2f&times;</div>\n", all / s->all);
}

static void write_phase(const st_profile *p, st_phase which, FILE *out)
{
    split s = split_phase(&p->phase[which]);
    fprintf(out, "<section class=\"card\"><h3>%s: bytes per step</h3>\n<div class=\"bars\">\n",
            which == ST_PHASE_PREFILL ? "Prefill" : "Decode");
    write_bar(&s, "this file", s.all, out);
    write_bar(&s, "INT4", s.int4, out);
    write_bar(&s, "INT8", s.int8, out);
    write_bar(&s, "FP16", s.fp16, out);
    fputs("</div>\n<ul class=\"key\">", out);
    for (int i = 0; i < N_PART; i++)
        fprintf(out, "<li><i class=\"%s\"></i>%s</li>", part_marks[i], part_names[i]);
    fputs("</ul>\n</section>\n", out);
}

void st_page_bytes(const st_profile *p, FILE *out)
{
    fputs("<h2>What the weights save</h2>\n<p class=\"soft\">Bytes that an average step moves, and what it "
          "would "
          "move with the ternary matrices in another encoding.</p>\n<div class=\"pair\">\n",
          out);
    for (int phase = 0; phase < ST_PHASE_COUNT; phase++)
        write_phase(p, (st_phase)phase, out);
    fputs("</div>\n", out);
}
