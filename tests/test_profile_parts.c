/* The profiler's parts: costs of ops, the device around a device, energy counters, ceilings. */
#include "host/profile/ceiling.h"
#include "host/profile/energy.h"
#include "host/profile/probe.h"
#include "tests/support/op_case.h"
#include "tests/support/tiny_model.h"

#include <criterion/criterion.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

/* ---- costs ---- */

Test(cost, ternary_linear)
{
    st_weight w = {.type = ST_TERNARY, .rows = 96, .cols = 300, .bytes = 9999};
    st_qact q = {.max_row = 8, .cols = 300};
    st_linear_args a = {.weight = &w, .quant = &q, .stride = 96, .rows = ST_ROWS_OUT};
    static const st_batch_rows rows = {.n_token = 7, .n_out = 3};
    st_cost c = st_cost_of(ST_OP_LINEAR, &a, &rows);
    uint64_t bytes = st_bytes_linear(&a, 3), rest = bytes - 9999;
    cr_expect_eq(c.bytes, bytes);
    cr_expect_eq(c.weight, 9999u);
    cr_expect_eq(c.other, rest);
    cr_expect_eq(c.kv, 0u);
    cr_expect_eq(c.fp16, rest + 2 * 96 * 300);
    cr_expect_eq(c.int8, rest + 96 * 300 + 4 * 96);
    cr_expect_eq(c.int4, rest + 96 * 150 + 2 * 96 * 3); /* 300 columns are 3 groups of up to 128 */
    cr_expect_eq(c.multiply_accumulate, 3u * 96 * 300);
    /* Biases and outliers stay what they are. */
    w.has_bias = true;
    w.n_outlier = 5;
    st_cost d = st_cost_of(ST_OP_LINEAR, &a, &rows);
    cr_expect_eq(d.fp16, c.fp16 + 4 * 96 + 8 * 5);
    cr_expect_eq(d.int4, c.int4 + 4 * 96 + 8 * 5);
    a.rows = ST_ROWS_TOKEN;
    cr_expect_eq(st_cost_of(ST_OP_LINEAR, &a, &rows).multiply_accumulate, 7u * 96 * 300);
}

Test(cost, other_matrices_stay)
{
    const st_type types[] = {ST_Q8, ST_F16, ST_BF16, ST_F32};
    static const st_batch_rows rows = {.n_token = 2, .n_out = 2};
    for (size_t i = 0; i < sizeof types / sizeof types[0]; i++) {
        st_weight w = {.type = types[i], .rows = 64, .cols = 256, .bytes = 12345};
        st_buf src = {.bytes = 1 << 20};
        st_linear_args a = {.weight = &w, .src = &src, .stride = 64};
        st_embed_args e = {.table = &w};
        st_cost c = st_cost_of(ST_OP_LINEAR, &a, &rows), d = st_cost_of(ST_OP_EMBED, &e, &rows);
        cr_expect(c.fp16 == c.bytes && c.int8 == c.bytes && c.int4 == c.bytes, "%s", st_type_name(types[i]));
        cr_expect(d.fp16 == d.bytes && d.int4 == d.bytes && d.weight == 2 * st_row_bytes(types[i], 256));
    }
    st_weight ternary = {.type = ST_TERNARY, .rows = 64, .cols = 256, .bytes = 5000};
    st_cost t = st_cost_of(ST_OP_EMBED, &(st_embed_args){.table = &ternary}, &rows);
    cr_expect_eq(t.weight, 2u * 64);
    cr_expect_eq(t.fp16, t.bytes - t.weight + 2u * 2 * 256, "a ternary table counts, row by row");
}

/* Every op: the parts add up to what st_bytes_* says. */
Test(cost, parts_add_up)
{
    /* Five rows of one sequence see 33 keys together, two rows are padding. */
    static const st_batch_rows rows = {
        .n_token = 5, .n_out = 2, .n_row = 7, .pos = {4, 5, 6, 7, 6, -1, -1}, .length = {8}};
    st_buf buf = {.bytes = 1 << 20};
    st_kv kv = {.n_page = 1, .n_layer = 1, .n_kv_head = 2, .head_dim = 64};
    st_qact q = {.max_row = 8, .cols = 256};
    st_norm_args norm = {.weight = &buf, .dim = 256, .accumulate = true, .rows = ST_ROWS_OUT};
    st_norm_quant_args nq = {.dst = q, .weight = &buf};
    st_glu_norm_quant_args glu = {.dst = q};
    st_rope_store_args rope = {.n_head = 4, .n_kv_head = 2, .head_dim = 64, .n_rot = 32, .kv = kv};
    st_attend_args attend = {.n_head = 4, .n_kv_head = 2, .head_dim = 64, .causal = true, .kv = kv};
    st_topk_args topk = {.n_vocab = 100, .k = 7};
    const struct {
        st_op op;
        const void *args;
        uint64_t bytes, weight, kv, mac;
    } cases[] = {
        {ST_OP_NORM, &norm, st_bytes_norm(&norm, 2), 1024, 0, 2 * 2 * 256},
        {ST_OP_NORM_QUANT, &nq, st_bytes_norm_quant(&nq, 5), 1024, 0, 3 * 5 * 256},
        {ST_OP_GLU_NORM_QUANT, &glu, st_bytes_glu_norm_quant(&glu, 5), 0, 0, 4 * 5 * 256},
        {ST_OP_ROPE_STORE, &rope, st_bytes_rope_store(&rope, 5), 0, 5 * 2 * 2 * 64 * 2, 5 * 2 * 6 * 32},
        {ST_OP_ATTEND, &attend, st_bytes_attend(&attend, 5, 33), 0, 33 * 2 * 2 * 2 * 64, 33 * 4 * 2 * 64},
        {ST_OP_TOPK, &topk, st_bytes_topk(&topk, 2), 0, 0, 2 * 100},
    };
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        st_cost c = st_cost_of(cases[i].op, cases[i].args, &rows);
        const char *name = st_op_name(cases[i].op);
        cr_expect_eq(c.bytes, cases[i].bytes, "%s", name);
        cr_expect_eq(c.weight, cases[i].weight, "%s", name);
        cr_expect_eq(c.kv, cases[i].kv, "%s", name);
        cr_expect_eq(c.weight + c.kv + c.other, c.bytes, "%s", name);
        cr_expect_eq(c.multiply_accumulate, cases[i].mac, "%s: %llu", name,
                     (unsigned long long)c.multiply_accumulate);
        cr_expect(c.fp16 == c.bytes && c.int8 == c.bytes && c.int4 == c.bytes, "%s", name);
    }
}

Test(cost, visible_keys)
{
    static st_batch_rows rows = {.n_row = 3, .pos = {-1, 0, -1}, .seq = {0, 1, 0}};
    for (int causal = 0; causal < 2; causal++)
        for (int32_t window = 0; window < 9; window++)
            for (int32_t length = 1; length < 12; length++)
                for (int32_t pos = 0; pos < length; pos++) {
                    st_attend_args a = {.causal = causal, .window = window};
                    uint64_t n = 0;
                    for (int32_t j = 0; j < length; j++) /* the words of backend.h */
                        n += (!causal || j <= pos) &&
                             (window == 0 || (pos - window < j && (causal || j < pos + window)));
                    rows.pos[1] = pos;
                    rows.length[1] = length;
                    cr_expect_eq(st_visible_keys(&a, &rows), n, "%d %d %d %d", causal, window, length, pos);
                }
}

/* ---- the device around a device ---- */

static int lie; /* 1: a row is missing; 2: other bytes; 3: another op */

static int lying_trace(const st_device *dev, st_trace_row *rows, int max)
{
    int n = st_backend_ref.trace(dev, rows, max);
    if (n == 1 && lie == 2)
        rows[0].bytes++;
    if (n == 1 && lie == 3)
        rows[0].op = ST_OP_TOPK;
    return lie == 1 ? n - 1 : n;
}

Test(probe, checks_the_trace)
{
    static const char *const messages[] = {
        "", "the trace of device ref has 0 rows for 1 ops",
        "op 0 of a step is norm with 3072 bytes, but in the trace of device ref norm with 3073",
        "op 0 of a step is norm with 3072 bytes, but in the trace of device ref topk with 3072"};
    for (lie = 0; lie <= 3; lie++) {
        op_case c;
        case_open(&c, true);
        st_backend liar = *c.dev->backend;
        liar.trace = lying_trace;
        c.dev->backend = &liar;
        sterna_error error = {0};
        st_device *dev = NULL;
        cr_assert_eq(st_probe_open(c.dev, &dev, &error), STERNA_OK);
        int32_t pos[] = {0, -1}; /* one row is padding */
        float x[512] = {1.0f}, weight[256] = {0};
        case_rows(&c, pos, 2, NULL, 0);
        st_norm_args args = {.src = case_input(&c, x, sizeof x),
                             .dst = case_output(&c, sizeof x),
                             .weight = case_input(&c, weight, sizeof weight),
                             .dim = 256};
        cr_assert(dev->backend->begin(dev, &c.batch));
        dev->backend->norm(dev, &args);
        sterna_status status = dev->backend->end(dev, &error);
        const st_probe *p = st_probe_of(dev);
        if (lie == 0) {
            cr_expect_eq(status, STERNA_OK, "%s", error.message);
            cr_expect(p->n_op == 1 && p->op[0].op == ST_OP_NORM && p->op[0].n_row == 1 &&
                      p->rows->n_token == 1);
            cr_expect_str_eq(p->op[0].variant, "ref");
            cr_expect(p->op[0].start >= 0.0 && p->op[0].start + p->op[0].seconds <= p->ended - p->begun);
        } else {
            cr_expect_eq(status, STERNA_E_DEVICE);
            cr_expect_str_eq(error.message, messages[lie], "%s", error.message);
        }
        for (int i = 0; i < c.n_item; i++) {
            dev->backend->buf_destroy(dev, c.item[i].buf);
            free(c.item[i].before);
            guard_free(&c.item[i].memory);
        }
        st_device_close(&dev);
    }
}

/* ---- energy ---- */

static char folder[64];

static void write_zone(const char *zone, const char *file, const char *text)
{
    char path[256];
    snprintf(path, sizeof path, "%s/%s", folder, zone);
    mkdir(path, 0700);
    snprintf(path, sizeof path, "%s/%s/%s", folder, zone, file);
    FILE *f = fopen(path, "w");
    cr_assert(f && fputs(text, f) >= 0 && fclose(f) == 0);
}

static void make_zone(const char *zone, const char *name, const char *energy, const char *range)
{
    write_zone(zone, "name", name);
    write_zone(zone, "energy_uj", energy);
    write_zone(zone, "max_energy_range_uj", range);
}

static void make_folder(void)
{
    strcpy(folder, "/tmp/sterna-energy-XXXXXX");
    cr_assert_not_null(mkdtemp(folder));
}

static void remove_folder(void)
{
    char command[128];
    snprintf(command, sizeof command, "rm -r %s", folder);
    cr_assert_eq(system(command), 0);
}

Test(energy, packages_and_memory)
{
    make_folder();
    make_zone("intel-rapl:0", "package-0\n", "1000\n", "262143328850\n");
    make_zone("intel-rapl:1", "package-1\n", "262143328000\n", "262143328850\n");
    make_zone("intel-rapl:0:0", "core\n", "77\n", "262143328850\n"); /* part of its package */
    make_zone("intel-rapl:0:1", "dram\n", "5\n", "65532610987\n");
    make_zone("intel-rapl:2", "psys\n", "9\n", "262143328850\n");              /* contains the packages */
    make_zone("intel-rapl-mmio:0", "package-0\n", "1000\n", "262143328850\n"); /* the same once more */
    static st_energy e;
    st_energy_open(&e, folder);
    cr_assert_str_eq(e.why_not, "");
    cr_expect(e.n_package == 2 && e.n_dram == 1 && e.package == 0 && e.dram == 0);
    write_zone("intel-rapl:0", "energy_uj", "3500\n");
    write_zone("intel-rapl:1", "energy_uj", "150\n"); /* wrapped: 850 to the end, 150 from 0 */
    write_zone("intel-rapl:0:0", "energy_uj", "99977\n");
    write_zone("intel-rapl:0:1", "energy_uj", "12\n");
    st_energy_look(&e);
    cr_expect_eq(e.package, 2500u + 1000u, "%llu", (unsigned long long)e.package);
    cr_expect_eq(e.dram, 7u);
    write_zone("intel-rapl:0", "energy_uj", "3501\n");
    st_energy_look(&e);
    cr_expect_eq(e.package, 3501u);
    remove_folder();
}

Test(energy, absent)
{
    static st_energy e;
    st_energy_open(&e, "/nowhere/powercap");
    cr_expect_str_eq(e.why_not,
                     "no energy counters: /nowhere/powercap: No such file or directory (not Linux on "
                     "bare metal, or the kernel has no powercap driver)");
    st_energy_look(&e);
    make_folder();
    st_energy_open(&e, folder);
    cr_expect(strstr(e.why_not, "has no intel-rapl zone named package-*"), "%s", e.why_not);
    make_zone("intel-rapl:0", "psys\n", "9\n", "100\n");
    st_energy_open(&e, folder);
    cr_expect(strstr(e.why_not, "has no intel-rapl zone named package-*"), "%s", e.why_not);
    remove_folder();
}

/* What cannot be read of one package must not be passed over: the others would pass for all. */
Test(energy, unreadable)
{
    char path[128];
    static st_energy e;
    make_folder();
    make_zone("intel-rapl:0", "package-0\n", "1\n", "100\n");
    write_zone("intel-rapl:1", "name", "package-1\n");
    snprintf(path, sizeof path, "%s/intel-rapl:1/energy_uj", folder);
    cr_assert_eq(mkdir(path, 0700), 0);
    st_energy_open(&e, folder);
    cr_expect(strstr(e.why_not, "/intel-rapl:1/energy_uj: Is a directory"), "%s", e.why_not);
    rmdir(path);
    write_zone("intel-rapl:1", "max_energy_range_uj", "100\n");
    write_zone("intel-rapl:1", "energy_uj", "a lot\n");
    st_energy_open(&e, folder);
    cr_expect(strstr(e.why_not, "/intel-rapl:1/energy_uj: Invalid argument"), "%s", e.why_not);
    write_zone("intel-rapl:1", "energy_uj", "7\n");
    if (geteuid() != 0) { /* root may read everything */
        chmod(path, 0);
        st_energy_open(&e, folder);
        cr_expect(strstr(e.why_not, "Permission denied (reading it takes root, or a chmod by root)"), "%s",
                  e.why_not);
        chmod(path, 0600);
    }
    st_energy_open(&e, folder);
    cr_expect_str_eq(e.why_not, "");
    unlink(path); /* goes away in the middle */
    st_energy_look(&e);
    cr_expect(strstr(e.why_not, "/intel-rapl:1/energy_uj: No such file"), "%s", e.why_not);
    remove_folder();
}

/* ---- ceilings ---- */

Test(ceiling, measures, .timeout = 120)
{
    sterna_error error;
    st_ceiling c;
    cr_assert_eq(st_ceiling_read(2, "", 1000000, 0.01, &c, &error), STERNA_OK);
    cr_expect(c.rate > 1e6 && c.n_pass >= 3 && c.n_thread == 2);
    cr_expect_eq(c.bytes, 16u << 16, "whole blocks: %zu", c.bytes);
    cr_expect_str_eq(c.loop, "portable");
    cr_assert_eq(st_ceiling_int8(1, "", 0.01, &c, &error), STERNA_OK);
    cr_expect(c.rate > 1e6 && c.n_pass >= 3);
    cr_expect_str_eq(c.loop, "portable");
    double portable = c.rate;
    if (st_ceiling_avx2.multiply && st_ceiling_avx2.supported()) {
        cr_assert_eq(st_ceiling_int8(1, "avx2 f16c", 0.05, &c, &error), STERNA_OK);
        cr_expect_str_eq(c.loop, "avx2");
        cr_expect_gt(c.rate, portable);
    }
    if (st_ceiling_avx512vnni.multiply && st_ceiling_avx512vnni.supported()) {
        cr_assert_eq(st_ceiling_int8(1, "avx2 f16c avx512vnni", 0.05, &c, &error), STERNA_OK);
        cr_expect_str_eq(c.loop, "avx512vnni");
    }
}

static void check_reads(const st_ceiling_loops *loops, int pattern, unsigned char *memory)
{
    uint64_t zero = loops->read[pattern](memory);
    for (size_t at = 0; at < ST_CEILING_BLOCK; at += 61) {
        memory[at] = 1;
        cr_expect_neq(loops->read[pattern](memory), zero, "%s, pattern %d, does not read byte %zu",
                      loops->name, pattern, at);
        memory[at] = 0;
    }
}

/* Loops read all of what they count, and what they multiply is not known before. */
Test(ceiling, loops_do_their_work)
{
    const st_ceiling_loops *all[] = {&st_ceiling_portable, &st_ceiling_avx2, &st_ceiling_avxvnni,
                                     &st_ceiling_avx512vnni};
    unsigned char *memory = st_calloc(1, ST_CEILING_BLOCK);
    for (size_t i = 0; i < sizeof all / sizeof all[0]; i++) {
        if (!all[i]->multiply || (all[i]->supported && !all[i]->supported()))
            continue;
        for (int pattern = 0; pattern < ST_CEILING_PATTERNS; pattern++)
            if (all[i]->read[pattern])
                check_reads(all[i], pattern, memory);
        bool differs = false;
        for (int32_t seed = 1; seed < 20; seed++)
            differs = differs || all[i]->multiply(0) != all[i]->multiply(seed);
        cr_expect(differs, "%s", all[i]->name);
    }
    st_free(memory);
}
