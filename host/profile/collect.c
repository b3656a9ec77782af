#include "host/profile/collect.h"

#include <stdlib.h>
#include <string.h>

/* Events of all steps together; 40 bytes each. A 30-layer model has some 280 in a step. */
#define MAX_EVENT ((int64_t)1 << 20)

/* ---- where weights belong ---- */

static void add_home(st_collector *c, const st_weight *weight, st_place place, int32_t layer)
{
    c->home[c->n_home++] = (st_home){weight, place, layer};
}

static void list_homes(st_collector *c, const st_weights *w)
{
    for (int32_t layer = 0; layer < w->n_layer; layer++) {
        const st_block *b = &w->block[layer];
        for (int32_t i = 0; i < b->qkv.n_part; i++)
            add_home(c, b->qkv.part[i], ST_PLACE_QKV, layer);
        add_home(c, b->attn_output, ST_PLACE_ATTENTION_OUTPUT, layer);
        for (int32_t i = 0; i < b->gate_up.n_part; i++)
            add_home(c, b->gate_up.part[i], ST_PLACE_GATE_UP, layer);
        add_home(c, b->ffn_down, ST_PLACE_DOWN, layer);
    }
    add_home(c, w->head, ST_PLACE_HEAD, -1);
}

/* Steps use weights in the order of the list, so the next one mostly is the one. */
static const st_home *find_home(st_collector *c, const st_weight *weight)
{
    for (int32_t i = 0; i < c->n_home; i++) {
        const st_home *home = &c->home[(c->next + i) % c->n_home];
        if (home->weight == weight) {
            c->next = (c->next + i + 1) % c->n_home;
            return home;
        }
    }
    return NULL;
}

sterna_status st_collector_open(st_collector *c, st_profile *profile, const st_weights *weights,
                                int32_t max_step, sterna_error *error)
{
    enum { MOST = 8 }; /* weights of a layer: 3 + 1 + 2 + 1 */
    int64_t per_step = 16 * (int64_t)weights->n_layer + 8;
    *c = (st_collector){.profile = profile, .max_step = max_step};
    c->max_event = st_min(MAX_EVENT, per_step * max_step);
    c->home = st_calloc(MOST * (size_t)weights->n_layer + 1, sizeof *c->home);
    c->place = st_calloc(ST_PROBE_MAX_OP, sizeof *c->place);
    profile->step = st_calloc((size_t)max_step, sizeof *profile->step);
    profile->event = st_alloc((size_t)c->max_event * sizeof *profile->event);
    c->timed = st_calloc((size_t)max_step, sizeof *c->timed);
    bool good = c->home && c->place && c->timed && profile->step && profile->event;
    for (int phase = 0; phase < ST_PHASE_COUNT; phase++) {
        st_profile_phase *p = &profile->phase[phase];
        p->layer = st_calloc((size_t)weights->n_layer, sizeof *p->layer);
        good = good && p->layer;
    }
    if (!good)
        return st_fail(error, STERNA_E_MEMORY, "out of memory for a profile of %d steps and %lld ops",
                       max_step, (long long)c->max_event);
    list_homes(c, weights);
    return STERNA_OK;
}

void st_collector_close(st_collector *c)
{
    st_free(c->home);
    st_free(c->place);
    st_free(c->timed);
}

/* ---- where ops belong ---- */

/* Places of linears, and of the ops that say it themselves. False for a weight of nobody's. */
static bool place_fixed(st_collector *c, const st_probe *probe)
{
    for (int i = 0; i < probe->n_op; i++) {
        const st_probe_op *o = &probe->op[i];
        c->place[i] = (st_home){.place = ST_PLACE_COUNT, .layer = o->layer};
        if (o->op == ST_OP_LINEAR) {
            const st_home *home = find_home(c, o->weight);
            if (!home)
                return false;
            c->place[i] = *home;
        } else if (o->op == ST_OP_EMBED) {
            c->place[i].place = ST_PLACE_EMBEDDING;
        } else if (o->op == ST_OP_TOPK) {
            c->place[i].place = ST_PLACE_HEAD;
        } else if (o->op == ST_OP_ROPE_STORE || o->op == ST_OP_ATTEND) {
            c->place[i].place = ST_PLACE_ATTENTION;
        }
    }
    return true;
}

/* What is left: a norm that adds belongs to the linear before it, all else to the one after it. */
static sterna_status place_ops(st_collector *c, const st_probe *probe, sterna_error *error)
{
    if (!place_fixed(c, probe))
        return st_fail(error, STERNA_E_UNSUPPORTED, "a linear of the step uses a weight of no layer");
    st_home before = {.place = ST_PLACE_EMBEDDING, .layer = -1},
            after = {.place = ST_PLACE_HEAD, .layer = -1};
    for (int i = 0; i < probe->n_op; i++) {
        if (probe->op[i].op == ST_OP_LINEAR)
            before = c->place[i];
        else if (c->place[i].place == ST_PLACE_COUNT && probe->op[i].accumulate)
            c->place[i] = before;
    }
    for (int i = probe->n_op; i-- > 0;) {
        if (probe->op[i].op == ST_OP_LINEAR)
            after = c->place[i];
        else if (c->place[i].place == ST_PLACE_COUNT)
            c->place[i] = after;
    }
    return STERNA_OK;
}

/* ---- sums ---- */

static st_profile_row *find_row(st_profile_phase *phase, const st_probe_op *o, st_place place)
{
    for (int i = 0; i < phase->n_row; i++) {
        st_profile_row *row = &phase->row[i];
        if (row->op == o->op && row->place == place && strcmp(row->variant, o->variant) == 0)
            return row;
    }
    if (phase->n_row == ST_PROFILE_MAX_ROW)
        return NULL;
    st_profile_row *row = &phase->row[phase->n_row++];
    *row = (st_profile_row){.op = o->op, .place = place, .variant = o->variant};
    return row;
}

static sterna_status add_ops(st_collector *c, st_profile_phase *phase, const st_probe *probe,
                             st_profile_step *step, sterna_error *error)
{
    st_profile *p = c->profile;
    bool keep = p->n_event + probe->n_op <= c->max_event;
    step->first_event = p->n_event;
    step->n_event = keep ? probe->n_op : 0;
    p->n_step_dropped += !keep;
    for (int i = 0; i < probe->n_op; i++) {
        const st_probe_op *o = &probe->op[i];
        const st_home *at = &c->place[i];
        st_profile_row *row = find_row(phase, o, at->place);
        if (!row)
            return st_fail(error, STERNA_E_LIMIT, "more than %d kinds of ops in a profile",
                           ST_PROFILE_MAX_ROW);
        row->calls++;
        row->seconds += o->seconds;
        st_cost_add(&row->cost, &o->cost);
        phase->op_seconds += o->seconds;
        st_cost_add(&phase->cost, &o->cost);
        if (at->layer >= 0) {
            st_profile_layer *layer = &phase->layer[at->layer];
            layer->seconds += o->seconds;
            layer->place_seconds[at->place] += o->seconds;
            st_cost_add(&layer->cost, &o->cost);
        }
        if (keep)
            p->event[p->n_event++] = (st_profile_event){.start = step->begin + o->start,
                                                        .seconds = (float)o->seconds,
                                                        .n_row = o->n_row,
                                                        .bytes = o->cost.bytes,
                                                        .layer = (int16_t)at->layer,
                                                        .row = (uint16_t)(row - phase->row)};
    }
    return STERNA_OK;
}

sterna_status st_collect(st_collector *c, const st_probe *probe, const st_profile_step *step,
                         sterna_error *error)
{
    st_profile *p = c->profile;
    st_profile_phase *phase = &p->phase[step->phase];
    if (p->n_step == c->max_step)
        return st_fail(error, STERNA_E_LIMIT, "more than %d steps in a profile", c->max_step);
    st_profile_step *kept = &p->step[p->n_step];
    *kept = *step;
    sterna_status status = place_ops(c, probe, error);
    if (status == STERNA_OK)
        status = add_ops(c, phase, probe, kept, error);
    if (status != STERNA_OK)
        return status;
    p->n_step++;
    double device = step->end - step->begin;
    phase->n_step++;
    phase->device_seconds += device;
    phase->seconds += step->finish - step->start;
    phase->host_seconds += step->finish - step->start - device;
    phase->own_seconds += probe->own_before + probe->own_after;
    return STERNA_OK;
}

/* ---- the end ---- */

/* Sorts the rows, and renumbers those of the events. */
static void sort_rows(st_profile *p, st_phase which)
{
    st_profile_phase *phase = &p->phase[which];
    st_profile_row before[ST_PROFILE_MAX_ROW];
    uint16_t now[ST_PROFILE_MAX_ROW] = {0};
    int n = 0;
    memcpy(before, phase->row, sizeof before);
    /* Within a place, the order of the ops' first calls is the order of the model. */
    for (int place = 0; place < ST_PLACE_COUNT; place++)
        for (int i = 0; i < phase->n_row; i++)
            if ((int)before[i].place == place) {
                now[i] = (uint16_t)n;
                phase->row[n++] = before[i];
            }
    for (int32_t s = 0; s < p->n_step; s++)
        if (p->step[s].phase == which)
            for (int32_t i = 0; i < p->step[s].n_event; i++) {
                st_profile_event *event = &p->event[p->step[s].first_event + i];
                event->row = now[event->row];
            }
}

static int by_seconds(const void *a, const void *b)
{
    double x = ((const st_timed_step *)a)->seconds, y = ((const st_timed_step *)b)->seconds;
    return (x > y) - (x < y);
}

/* The step of a phase whose time is the median of those with events; -1 if there is none. */
static int32_t median_step(const st_collector *c, st_phase phase)
{
    const st_profile *p = c->profile;
    int32_t n = 0;
    for (int32_t i = 0; i < p->n_step; i++)
        if (p->step[i].phase == phase && p->step[i].n_event > 0)
            c->timed[n++] = (st_timed_step){p->step[i].finish - p->step[i].start, i};
    qsort(c->timed, (size_t)n, sizeof *c->timed, by_seconds);
    return n > 0 ? c->timed[n / 2].step : -1;
}

void st_collect_end(st_collector *c)
{
    for (int phase = 0; phase < ST_PHASE_COUNT; phase++) {
        sort_rows(c->profile, (st_phase)phase);
        c->profile->phase[phase].typical = median_step(c, (st_phase)phase);
    }
}
