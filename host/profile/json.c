/* A profile as one JSON object. */
#include "host/profile/report.h"

static void write_figures(const st_profile *p, st_json *j, const st_figures *f)
{
    const st_cost *c = &f->cost;
    double bytes = (double)c->bytes;
    st_json_real(j, "seconds", f->seconds);
    st_json_whole(j, "bytes", (int64_t)c->bytes);
    st_json_whole(j, "weight_bytes", (int64_t)c->weight);
    st_json_whole(j, "kv_bytes", (int64_t)c->kv);
    st_json_whole(j, "other_bytes", (int64_t)c->other);
    st_json_whole(j, "fp16_bytes", (int64_t)c->fp16);
    st_json_whole(j, "int8_bytes", (int64_t)c->int8);
    st_json_whole(j, "int4_bytes", (int64_t)c->int4);
    st_json_real(j, "fp16_factor", st_ratio((double)c->fp16, bytes));
    st_json_real(j, "int8_factor", st_ratio((double)c->int8, bytes));
    st_json_real(j, "int4_factor", st_ratio((double)c->int4, bytes));
    st_json_whole(j, "multiply_accumulates", (int64_t)c->multiply_accumulate);
    st_json_real(j, "bytes_per_second", st_bytes_rate(p, f));
    st_json_real(j, "read_ceiling_share", st_read_share(p, f));
    st_json_real(j, "mac_per_byte", st_intensity(f));
    st_json_real(j, "mac_per_second", st_mac_rate(p, f));
}

static void write_rows(const st_profile *p, st_json *j, const st_profile_phase *phase)
{
    st_json_open(j, "rows", '[');
    for (int i = 0; i < phase->n_row; i++) {
        const st_profile_row *row = &phase->row[i];
        st_json_open(j, NULL, '{');
        st_json_text(j, "op", st_op_name(row->op));
        st_json_text(j, "place", st_place_name(row->place));
        st_json_text(j, "variant", row->variant);
        st_json_whole(j, "calls", (int64_t)row->calls);
        st_json_real(j, "share", st_ratio(row->seconds, phase->seconds));
        write_figures(p, j, &(st_figures){row->seconds, row->cost});
        st_json_close(j, '}');
    }
    st_json_close(j, ']');
}

static void write_layers(const st_profile *p, st_json *j, const st_profile_phase *phase)
{
    st_json_open(j, "layers", '[');
    for (int32_t i = 0; i < p->model.n_layer; i++) {
        const st_profile_layer *layer = &phase->layer[i];
        st_json_open(j, NULL, '{');
        st_json_whole(j, "layer", i);
        st_json_real(j, "share", st_ratio(layer->seconds, phase->seconds));
        write_figures(p, j, &(st_figures){layer->seconds, layer->cost});
        st_json_open(j, "place_seconds", '{');
        for (int place = ST_PLACE_QKV; place <= ST_PLACE_DOWN; place++)
            st_json_real(j, st_place_name((st_place)place), layer->place_seconds[place]);
        st_json_close(j, '}');
        st_json_close(j, '}');
    }
    st_json_close(j, ']');
}

static void write_steps(const st_profile *p, st_json *j, st_phase phase)
{
    st_json_open(j, "steps", '[');
    for (int32_t i = 0; i < p->n_step; i++) {
        const st_profile_step *s = &p->step[i];
        if (s->phase != phase)
            continue;
        st_json_open(j, NULL, '{');
        st_json_whole(j, "rows", s->n_token);
        st_json_whole(j, "outputs", s->n_out);
        st_json_real(j, "seconds", s->finish - s->start);
        st_json_real(j, "device_seconds", s->end - s->begin);
        st_json_whole(j, "pages_used", s->n_page_used);
        st_json_close(j, '}');
    }
    st_json_close(j, ']');
}

static void write_phase(const st_profile *p, st_json *j, st_phase which)
{
    const st_profile_phase *phase = &p->phase[which];
    st_json_open(j, NULL, '{');
    st_json_text(j, "phase", st_phase_name(which));
    st_json_whole(j, "n_step", phase->n_step);
    st_json_whole(j, "n_token", phase->n_token);
    st_json_whole(j, "n_mixed", phase->n_mixed);
    st_json_real(j, "tokens_per_second",
                 p->device.software ? st_ratio(0, 0) : st_ratio((double)phase->n_token, phase->seconds));
    st_json_real(j, "device_seconds", phase->device_seconds);
    st_json_real(j, "op_seconds", phase->op_seconds);
    st_json_real(j, "unaccounted_seconds", st_unaccounted(phase));
    st_json_real(j, "host_seconds", phase->host_seconds);
    st_json_real(j, "profiler_seconds", phase->own_seconds);
    st_json_whole(j, "processors_taken", phase->n_taken);
    st_json_whole(j, "engine_bytes", (int64_t)phase->engine_bytes);
    double joules = st_profile_joules(p, phase);
    st_json_real(j, "package_joules", joules < 0 ? st_ratio(0, 0) : 1e-6 * (double)phase->package_uj);
    st_json_real(j, "dram_joules",
                 joules < 0 || p->n_dram == 0 ? st_ratio(0, 0) : 1e-6 * (double)phase->dram_uj);
    st_json_real(j, "joules_per_token", joules < 0 ? st_ratio(0, 0) : joules);
    write_figures(p, j, &(st_figures){phase->seconds, phase->cost});
    write_rows(p, j, phase);
    write_layers(p, j, phase);
    write_steps(p, j, which);
    st_json_close(j, '}');
}

static void write_ceiling(st_json *j, const char *key, const char *rate, const st_ceiling *c)
{
    st_json_open(j, key, '{');
    st_json_real(j, rate, c->rate);
    st_json_text(j, "loop", c->loop);
    st_json_whole(j, "n_thread", c->n_thread);
    st_json_whole(j, "footprint_bytes", (int64_t)c->bytes);
    st_json_whole(j, "n_pass", c->n_pass);
    st_json_close(j, '}');
}

static void write_machine(const st_profile *p, st_json *j)
{
    st_json_open(j, "device", '{');
    st_json_text(j, "name", p->device.name);
    st_json_text(j, "description", p->device.description);
    st_json_text(j, "isa", p->device.isa);
    st_json_flag(j, "software", p->device.software);
    st_json_whole(j, "n_thread", p->n_thread);
    st_json_whole(j, "weight_bytes", (int64_t)p->weight_bytes);
    st_json_whole(j, "kv_bytes", (int64_t)p->kv_bytes);
    st_json_close(j, '}');
    st_json_open(j, "ceilings", '{');
    if (p->no_ceiling[0]) {
        st_json_text(j, "why_not", p->no_ceiling);
    } else {
        write_ceiling(j, "read", "bytes_per_second", &p->read);
        write_ceiling(j, "int8", "mac_per_second", &p->int8);
    }
    st_json_close(j, '}');
    st_json_open(j, "energy", '{');
    if (p->no_energy[0])
        st_json_text(j, "why_not", p->no_energy);
    st_json_whole(j, "packages", p->n_package);
    st_json_whole(j, "drams", p->n_dram);
    st_json_close(j, '}');
}

static void write_subject(const st_profile *p, st_json *j)
{
    const sterna_model_info *m = &p->model;
    st_json_open(j, "model", '{');
    st_json_text(j, "name", m->name);
    st_json_text(j, "architecture", m->architecture);
    st_json_whole(j, "n_parameter", (int64_t)m->n_parameter);
    st_json_whole(j, "n_ternary_parameter", (int64_t)m->n_ternary_parameter);
    st_json_whole(j, "n_layer", m->n_layer);
    st_json_whole(j, "n_embd", m->n_embd);
    st_json_whole(j, "n_ff", m->n_ff);
    st_json_whole(j, "n_vocab", m->n_vocab);
    st_json_whole(j, "pass_bytes", (int64_t)p->pass_bytes);
    st_json_close(j, '}');
    const st_profile_options *o = &p->options;
    st_json_open(j, "settings", '{');
    st_json_whole(j, "n_prompt", o->n_prompt);
    st_json_whole(j, "n_generate", o->n_generate);
    st_json_whole(j, "n_sequence", o->n_sequence);
    st_json_whole(j, "n_batch", o->n_batch);
    /* As text: a seed of 64 bits is more than a JSON number holds everywhere. */
    char seed[24];
    snprintf(seed, sizeof seed, "%llu", (unsigned long long)o->seed);
    st_json_text(j, "seed", seed);
    st_json_close(j, '}');
}

void st_profile_json_object(const st_profile *p, st_json *j)
{
    st_json_open(j, NULL, '{');
    st_json_text(j, "version", sterna_version());
    write_subject(p, j);
    write_machine(p, j);
    st_json_open(j, "phases", '[');
    for (int phase = 0; phase < ST_PHASE_COUNT; phase++)
        write_phase(p, j, (st_phase)phase);
    st_json_close(j, ']');
    st_json_close(j, '}');
}

void st_profile_json(const st_profile *p, FILE *out)
{
    st_json j = {.out = out, .lines = 4, .first = true};
    st_profile_json_object(p, &j);
    fputc('\n', out);
}
