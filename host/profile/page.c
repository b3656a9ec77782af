/* The page: its frame, what was profiled, and how it was counted. */
#include "host/profile/page.h"

#include <math.h>
#include <string.h>

void st_html_text(FILE *out, const char *text)
{
    for (const char *c = text; *c; c++) {
        if (*c == '<')
            fputs("&lt;", out);
        else if (*c == '&')
            fputs("&amp;", out);
        else if (*c == '"')
            fputs("&quot;", out);
        else
            fputc((unsigned char)*c < 0x20 || *c == 0x7f ? '?' : *c, out);
    }
}

const char *st_tick(double value, char text[24])
{
    snprintf(text, 24, "%.*f", value >= 0.999 ? 0 : value >= 0.0999 ? 1 : value >= 0.00999 ? 2 : 3, value);
    return text;
}

/* ---- what was profiled ---- */

static void open_fact(FILE *out, const char *name)
{
    fprintf(out, "<dt>%s</dt><dd>", name);
}

static void write_machine(const st_profile *p, FILE *out)
{
    char a[24], b[24];
    open_fact(out, "device");
    st_html_text(out, p->device.name);
    fputs(", ", out);
    st_html_text(out, p->device.description);
    if (p->n_thread > 0)
        fprintf(out, ", %d thread%s", p->n_thread, p->n_thread == 1 ? "" : "s");
    fputs("</dd>\n", out);
    open_fact(out, "ceilings");
    if (p->no_ceiling[0])
        st_html_text(out, p->no_ceiling);
    else
        fprintf(out, "reads %s of memory (%s again and again), computes %s in int8 (%s)",
                st_scaled(p->read.rate, "B/s", a), st_scaled((double)p->read.bytes, "B", b),
                st_scaled(p->int8.rate, "MAC/s", (char[24]){0}), p->int8.loop);
    fputs("</dd>\n", out);
    open_fact(out, "energy");
    if (p->no_energy[0])
        st_html_text(out, p->no_energy);
    else
        fprintf(out, "of %d processor package%s%s, whatever runs there", p->n_package,
                p->n_package == 1 ? "" : "s", p->n_dram ? " and their memory" : "");
    fputs("</dd>\n", out);
}

static void write_facts(const st_profile *p, FILE *out)
{
    char a[24], b[24], c[24];
    const sterna_model_info *m = &p->model;
    const st_profile_options *o = &p->options;
    fputs("<dl class=\"facts\">\n", out);
    open_fact(out, "model");
    st_html_text(out, m->name[0] ? m->name : "without a name");
    fprintf(out, ": %d layers of %d, feed-forward %d, vocabulary %d; %s weights, %s of them ternary; a step ",
            m->n_layer, m->n_embd, m->n_ff, m->n_vocab, st_scaled((double)m->n_parameter, "", a),
            st_scaled((double)m->n_ternary_parameter, "", b));
    fprintf(out, "reads %s of them</dd>\n", st_scaled((double)p->pass_bytes, "B", c));
    open_fact(out, "run");
    fprintf(out, "%d sequence%s of %d prompt tokens, then %d decode steps; at most %d rows a step</dd>\n",
            o->n_sequence, o->n_sequence == 1 ? "" : "s", o->n_prompt, o->n_generate, o->n_batch);
    write_machine(p, out);
    fputs("</dl>\n", out);
}

/* ---- the main figures ---- */

static void write_tile(FILE *out, const char *name, const char *value, const char *small)
{
    /* The unit, if there is one, is smaller than the number. */
    const char *unit = strchr(value, ' ');
    int digits = unit ? (int)(unit - value) : (int)strlen(value);
    fprintf(out, "<div><dt>%s</dt><dd>%.*s", name, digits, value);
    if (unit)
        fprintf(out, "<span>&nbsp;%s</span>", unit + 1);
    if (small[0])
        fprintf(out, "<small>%s</small>", small);
    fputs("</dd></div>\n", out);
}

static void write_tiles(const st_profile *p, st_phase which, FILE *out)
{
    const st_profile_phase *phase = &p->phase[which];
    const st_figures f = {phase->seconds, phase->cost};
    double tokens = (double)phase->n_token, share = st_read_share(p, &f),
           joules = st_profile_joules(p, phase);
    char value[24], rate[24], small[64];
    fprintf(out, "<section class=\"card\" data-phase=\"%s\">\n<h3>%s</h3>\n<dl class=\"tiles\">\n",
            st_phase_name(which), which == ST_PHASE_PREFILL ? "Prefill" : "Decode");
    if (!p->device.software) {
        snprintf(small, sizeof small, "%lld in %s", (long long)phase->n_token,
                 st_scaled(phase->seconds, "s", rate));
        double speed = tokens / phase->seconds;
        snprintf(value, sizeof value, "%.*f tok/s", speed < 100.0, speed);
        write_tile(out, "speed", value, small);
    }
    snprintf(small, sizeof small, "%s a step",
             st_scaled((double)phase->cost.bytes / phase->n_step, "B", rate));
    write_tile(out, "moved per token", st_scaled((double)phase->cost.bytes / tokens, "B", value), small);
    if (!p->device.software) {
        small[0] = 0;
        if (isfinite(share))
            snprintf(small, sizeof small, "%.3g%% of ceiling", 100.0 * share);
        write_tile(out, "memory traffic", st_scaled(st_bytes_rate(p, &f), "B/s", value), small);
    }
    snprintf(value, sizeof value, "%.2f&times;",
             st_ratio((double)phase->cost.fp16, (double)phase->cost.bytes));
    write_tile(out, "FP16 would move", value, "the bytes");
    if (joules >= 0.0) {
        snprintf(small, sizeof small, "%.3g W", joules * tokens / phase->seconds);
        write_tile(out, "energy per token", st_scaled(joules, "J", value), small);
    }
    fputs("</dl>\n</section>\n", out);
}

/* ---- how it was counted ---- */

static void write_notes(const st_profile *p, FILE *out)
{
    fputs("<h2>How this is counted</h2>\n<div class=\"card\">\n"
          "<p><b>Bytes</b> are what an op has to move: its weights once, activations read and written once, "
          "keys and values of all positions that a row sees. Caches may spare some of it, so small ops and "
          "those that share keys can pass the memory's ceiling.</p>\n"
          "<p><b>FP16, INT8, INT4</b>: the same ops, with the matrices that are ternary in this file stored "
          "otherwise; activations, KV, norms, embedding and head stay as they are. FP16 takes 2 bytes a "
          "weight; INT8 1 byte, and 4 for each row's scale; INT4 half a byte, and 2 for the scale of each "
          "row's 128 columns.</p>\n"
          "<p><b>Arithmetic</b> is in multiply-accumulates (MAC); two operations each. Linear: rows "
          "&times; outputs &times; inputs. Attention: 2 for each key, head and dimension. The other ops work "
          "on elements, with 1 to 4 each.</p>\n"
          "<p><b>Time</b>: each op is timed on the device, each step from the outside. What lies between the "
          "ops is unaccounted; the rest is the engine on the host: scheduling, writing the batch, reading "
          "results, sampling. The three add up to the time of the steps.",
          out);
    if (p->n_step_dropped > 0)
        fprintf(out, " Single ops of %d later steps were not kept, only their sums.", p->n_step_dropped);
    fputs(
        "</p>\n<p class=\"soft\" style=\"margin-bottom:0\">The ceilings are measured in the same run: reads "
        "over a footprint of the weights that a step reads, so a model that fits a cache is held "
        "against the cache; int8 products of operands in registers and the first cache.</p>\n</div>\n",
        out);
}

void st_profile_html(const st_profile *p, FILE *out)
{
    const char *name = p->model.name[0] ? p->model.name : "model";
    fputs("<!DOCTYPE html>\n<html lang=\"en\">\n<head>\n<meta charset=\"utf-8\">\n"
          "<meta name=\"viewport\" content=\"width=device-width, initial-scale=1\">\n<title>",
          out);
    st_html_text(out, name);
    fprintf(out, " - sterna profile</title>\n<style>\n%s</style>\n</head>\n<body>\n<main>\n<h1>",
            st_page_style);
    st_html_text(out, name);
    fprintf(out, ": where time and bytes go</h1>\n<div class=\"soft\">sterna profile %s</div>\n",
            sterna_version());
    write_facts(p, out);
    if (p->device.software)
        fputs("<p><b>This is a software driver: its times say nothing of a device, so no rates are "
              "shown.</b></p>\n",
              out);
    fputs("<div class=\"pair\">\n", out);
    for (int phase = 0; phase < ST_PHASE_COUNT; phase++)
        write_tiles(p, (st_phase)phase, out);
    fputs("</div>\n", out);
    st_page_bytes(p, out);
    if (!p->device.software)
        st_page_roofline(p, out);
    st_page_time(p, out);
    st_page_tables(p, out);
    write_notes(p, out);
    fputs("</main>\n<script type=\"application/json\" id=\"profile\">\n", out);
    st_profile_json(p, out);
    fputs("</script>\n</body>\n</html>\n", out);
}
