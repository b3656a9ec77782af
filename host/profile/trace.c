/* A profile as a trace of events, for ui.perfetto.dev and chrome://tracing: one lane for the engine on the
 * host, one for the device's queue, where layers enclose their ops; a counter of KV pages. */
#include "host/profile/report.h"

enum { PROCESS = 1, LANE_ENGINE = 1, LANE_DEVICE = 2 };

/* Opens an event of a duration, and its args. */
static void open_event(st_json *j, const char *name, const char *category, int lane, double start,
                       double seconds)
{
    st_json_open(j, NULL, '{');
    st_json_text(j, "name", name);
    st_json_text(j, "cat", category);
    st_json_text(j, "ph", "X");
    st_json_real(j, "ts", 1e6 * start);
    st_json_real(j, "dur", 1e6 * seconds);
    st_json_whole(j, "pid", PROCESS);
    st_json_whole(j, "tid", lane);
    st_json_open(j, "args", '{');
}

static void close_event(st_json *j)
{
    st_json_close(j, '}');
    st_json_close(j, '}');
}

static void write_name(st_json *j, const char *what, int lane, const char *name)
{
    st_json_open(j, NULL, '{');
    st_json_text(j, "name", what);
    st_json_text(j, "ph", "M");
    st_json_whole(j, "pid", PROCESS);
    st_json_whole(j, "tid", lane);
    st_json_open(j, "args", '{');
    st_json_text(j, "name", name);
    close_event(j);
}

static void write_host(const st_profile *p, st_json *j, const st_profile_step *s)
{
    char name[64];
    snprintf(name, sizeof name, s->phase == ST_PHASE_PREFILL ? "prefill[n=%d]" : "decode[b=%d]", s->n_token);
    open_event(j, name, "step", LANE_ENGINE, s->start, s->finish - s->start);
    st_json_whole(j, "rows", s->n_token);
    st_json_whole(j, "outputs", s->n_out);
    close_event(j);
    open_event(j, "schedule, write batch", "host", LANE_ENGINE, s->start, s->begin - s->start);
    close_event(j);
    open_event(j, "wait for device", "host", LANE_ENGINE, s->begin, s->end - s->begin);
    close_event(j);
    open_event(j, "read, sample", "host", LANE_ENGINE, s->end, s->finish - s->end);
    close_event(j);
    st_json_open(j, NULL, '{');
    st_json_text(j, "name", "KV pages");
    st_json_text(j, "ph", "C");
    st_json_real(j, "ts", 1e6 * s->finish);
    st_json_whole(j, "pid", PROCESS);
    st_json_open(j, "args", '{');
    st_json_whole(j, "used", s->n_page_used);
    st_json_whole(j, "free", p->n_page - s->n_page_used);
    close_event(j);
}

static void write_op(const st_profile *p, st_json *j, st_phase phase, const st_profile_event *e)
{
    const st_profile_row *row = &p->phase[phase].row[e->row];
    char label[64];
    open_event(j, st_row_label(row, label), st_op_name(row->op), LANE_DEVICE, e->start, (double)e->seconds);
    st_json_text(j, "op", st_op_name(row->op));
    st_json_text(j, "place", st_place_name(row->place));
    st_json_text(j, "variant", row->variant);
    if (e->layer >= 0)
        st_json_whole(j, "layer", e->layer);
    st_json_whole(j, "rows", e->n_row);
    st_json_whole(j, "bytes", (int64_t)e->bytes);
    double rate = p->device.software ? st_ratio(0, 0) : st_ratio((double)e->bytes, (double)e->seconds);
    st_json_real(j, "GB/s", 1e-9 * rate);
    close_event(j);
}

/* Ops of one layer from `first` on; returns how many there are. */
static int32_t write_layer(const st_profile *p, st_json *j, const st_profile_step *s, int32_t first)
{
    const st_profile_event *e = &p->event[s->first_event];
    int32_t end = first + 1;
    while (end < s->n_event && e[end].layer == e[first].layer)
        end++;
    if (e[first].layer >= 0) {
        char name[32];
        snprintf(name, sizeof name, "layer %d", e[first].layer);
        open_event(j, name, "layer", LANE_DEVICE, e[first].start,
                   e[end - 1].start + (double)e[end - 1].seconds - e[first].start);
        close_event(j);
    }
    for (int32_t i = first; i < end; i++)
        write_op(p, j, s->phase, &e[i]);
    return end - first;
}

void st_profile_trace(const st_profile *p, FILE *out)
{
    st_json j = {.out = out, .lines = 2, .first = true};
    char name[128];
    st_json_open(&j, NULL, '{');
    st_json_text(&j, "displayTimeUnit", "ms");
    st_json_open(&j, "otherData", '{');
    st_json_text(&j, "version", sterna_version());
    st_json_text(&j, "model", p->model.name);
    st_json_text(&j, "device", p->device.name);
    st_json_whole(&j, "steps without ops, for their number", p->n_step_dropped);
    st_json_close(&j, '}');
    st_json_open(&j, "traceEvents", '[');
    write_name(&j, "process_name", LANE_ENGINE, "sterna");
    write_name(&j, "thread_name", LANE_ENGINE, "engine (host)");
    snprintf(name, sizeof name, "device %s: queue", p->device.name);
    write_name(&j, "thread_name", LANE_DEVICE, name);
    for (int32_t i = 0; i < p->n_step; i++) {
        write_host(p, &j, &p->step[i]);
        for (int32_t at = 0; at < p->step[i].n_event;)
            at += write_layer(p, &j, &p->step[i], at);
    }
    st_json_close(&j, ']');
    st_json_close(&j, '}');
    fputc('\n', out);
}
