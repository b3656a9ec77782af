/* The Vulkan backend on whatever device there is: a software driver where tests run. What it computes, what
 * the validation layers say to it, and steps that are replayed. */
#include "tests/support/company.h"
#include "tests/support/conformance.h"

#include <criterion/criterion.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#define MODEL STERNA_SOURCE_DIR "/models/sterna-demo.gguf"

/* Pins the software driver that the distribution has, with vectors of so many bits. Before the first call of
 * the backend. */
static void use_lavapipe(const char *bits)
{
    setenv("VK_ICD_FILENAMES", "/usr/share/vulkan/icd.d/lvp_icd.x86_64.json", 0);
    setenv("LP_NATIVE_VECTOR_WIDTH", bits, 1);
}

/* ---- validation layers ---- */

static char folder[] = "/tmp/sterna-vulkan-XXXXXX", path[64]; /* of the layers' settings */

/* Switches on core and synchronisation validation; what they say goes to the file. */
static void use_layers(const char *log)
{
    cr_assert_not_null(mkdtemp(folder));
    snprintf(path, sizeof path, "%s/vk_layer_settings.txt", folder);
    FILE *f = fopen(path, "w");
    cr_assert_not_null(f);
    fprintf(f,
            "khronos_validation.enables = VK_VALIDATION_FEATURE_ENABLE_SYNCHRONIZATION_VALIDATION_EXT\n"
            "khronos_validation.debug_action = VK_DBG_LAYER_ACTION_LOG_MSG\n"
            "khronos_validation.report_flags = error,warn\n"
            "khronos_validation.log_filename = %s\n",
            log);
    fclose(f);
    setenv("VK_LAYER_SETTINGS_PATH", path, 1);
    setenv("VK_INSTANCE_LAYERS", "VK_LAYER_KHRONOS_validation", 1);
}

/* The layer is in this process. */
static bool layer_is_loaded(void)
{
    char line[512];
    bool found = false;
    FILE *maps = fopen("/proc/self/maps", "r");
    while (maps && !found && fgets(line, sizeof line, maps))
        found = strstr(line, "VkLayer_khronos_validation") != NULL;
    if (maps)
        fclose(maps);
    return found;
}

static void expect_silence(const char *log)
{
    char text[2048];
    cr_assert(layer_is_loaded(), "the validation layer is not installed");
    FILE *f = fopen(log, "r");
    cr_assert_not_null(f, "the validation layer wrote no log");
    size_t n = fread(text, 1, sizeof text - 1, f);
    text[n] = '\0';
    fclose(f);
    remove(log);
    remove(path);
    remove(folder);
    cr_expect_eq(n, 0, "the validation layer says:\n%s", text);
}

/* ---- the conformance suite ---- */

/* All combinations of an op's parameters at one shape (0, 0, 0: those of the suite), for all variants. */
static void run_op(const char *op, int32_t m, int32_t n, int32_t k, int64_t least)
{
    conformance_run("vulkan", op, NULL, m, n, k, 1, least);
}

Test(vulkan, equals_reference_on_subgroups_of_8)
{
    use_lavapipe("256");
    run_op("embed", 0, 0, 0, 150);
    run_op("norm", 0, 0, 0, 200);
    run_op("norm_quant", 0, 0, 0, 300);
    run_op("glu_norm_quant", 0, 0, 0, 300);
    run_op("topk", 0, 0, 0, 250);
    run_op("rope_store", 3, 4, 35, 100);
}

Test(vulkan, linear_equals_reference)
{
    use_lavapipe("256");
    run_op("linear", 5, 70, 300, 1000);
}

/* Contexts do not depend on the shape. */
Test(vulkan, attend_equals_reference)
{
    use_lavapipe("256");
    run_op("attend", 1, 2, 18, 200);
}

/* Subgroups of another size, with the layers looking at every command. */
static void run_watched(const char *bits)
{
    char log[64];
    snprintf(log, sizeof log, "/tmp/sterna-vulkan-%ld.log", (long)getpid());
    use_lavapipe(bits);
    use_layers(log);
    run_op("embed", 3, 40, 96, 100);
    run_op("norm", 3, 1, 300, 100);
    run_op("norm_quant", 3, 1, 300, 100);
    run_op("rope_store", 2, 4, 32, 100);
    run_op("topk", 2, 700, 9, 100);
    expect_silence(log);
}

Test(vulkan, layers_are_silent_on_subgroups_of_4)
{
    run_watched("128");
}

Test(vulkan, layers_are_silent_on_subgroups_of_16)
{
    run_watched("512");
}

/* ---- engines ---- */

enum { N_REQUEST = 3, N_TEXT = 32, N_PREDICT = 8 };

static sterna_request request_of(int i, sterna_token prompt[8])
{
    sterna_request r;
    sterna_request_defaults(&r);
    r.n_prompt = 3 + 2 * (i % N_REQUEST);
    for (int k = 0; k < r.n_prompt; k++)
        prompt[k] = 7 + 31 * i + 5 * k;
    r.prompt = prompt;
    r.n_predict = N_PREDICT;
    r.ignore_end = true;
    r.temperature = i % N_REQUEST == 0 ? 0.0f : 1.0f;
    r.repetition_penalty = i % N_REQUEST == 2 ? 1.2f : 1.0f;
    r.n_logprob = 4;
    r.seed = (uint64_t)i;
    return r;
}

static void open_rig(rig *r, const sterna_model *model, const char *device, int32_t n_predict)
{
    sterna_engine_params params;
    sterna_engine_defaults(&params);
    params.n_sequence = N_REQUEST;
    params.n_batch = 16;
    rig_open(r, model, &params, rig_device(device, 1, UINT32_C(0xffffffff)));
    sterna_token prompt[8];
    for (int i = 0; i < N_REQUEST; i++) {
        sterna_request request = request_of(i, prompt);
        request.n_predict = n_predict;
        rig_submit(r, &request);
    }
}

/* Two devices take turns, each with requests side by side, most steps being replays. */
Test(vulkan, demo_model_has_the_bits_of_the_cpu)
{
    static rig cpu, gpu[2];
    sterna_model *model = NULL;
    sterna_error error;
    use_lavapipe("256");
    cr_assert_eq(sterna_model_open(MODEL, NULL, &model, &error), STERNA_OK, "%s", error.message);
    open_rig(&cpu, model, "cpu", N_PREDICT);
    open_rig(&gpu[0], model, "vulkan", N_PREDICT);
    open_rig(&gpu[1], model, "vulkan:0", N_PREDICT);
    while (rig_step(&cpu) > 0)
        ;
    for (int64_t left = 1; left > 0;)
        left = rig_step(&gpu[0]) + rig_step(&gpu[1]);
    for (int i = 0; i < N_REQUEST; i++) {
        cr_assert_eq(cpu.result[i].n, N_PREDICT);
        cr_assert_eq(cpu.result[i].n_row, N_PREDICT);
        rig_compare(&cpu.result[i], &gpu[0].result[i], false, "the first device", i);
        rig_compare(&cpu.result[i], &gpu[1].result[i], false, "the second device", i);
    }
    rig_close(&cpu);
    rig_close(&gpu[0]);
    rig_close(&gpu[1]);
    sterna_model_close(&model);
}

/* The hash over all logits of 32 texts side by side, as `sterna run --batch` prints it. */
static uint64_t hash_of_texts(const sterna_model *model, const char *device, int64_t *n_row)
{
    static rig r;
    sterna_engine_params params = company_params(16, 64);
    params.hash_logits = true;
    rig_open(&r, model, &params, rig_device(device, 1, COMPANY_NAN_ALL));
    for (int i = 0; i < N_TEXT; i++) {
        sterna_token prompt[8];
        sterna_request request = request_of(i, prompt);
        rig_submit(&r, &request);
    }
    while (rig_step(&r) > 0)
        ;
    sterna_statistics s = {.struct_size = sizeof s};
    sterna_engine_statistics(r.engine, &s);
    *n_row = (int64_t)s.n_logits_row;
    rig_close(&r);
    return s.logits_hash;
}

Test(vulkan, hash_of_texts_is_that_of_the_cpu, .timeout = 120)
{
    sterna_model *model = NULL;
    sterna_error error;
    int64_t n_row[2];
    use_lavapipe("256");
    cr_assert_eq(sterna_model_open(MODEL, NULL, &model, &error), STERNA_OK, "%s", error.message);
    uint64_t cpu = hash_of_texts(model, "cpu", &n_row[0]), gpu = hash_of_texts(model, "vulkan", &n_row[1]);
    cr_expect(n_row[0] == N_TEXT * N_PREDICT && n_row[1] == n_row[0]);
    cr_expect_eq(gpu, cpu, "%016llx, not %016llx", (unsigned long long)gpu, (unsigned long long)cpu);
    sterna_model_close(&model);
}

/* Pages, preemption, drafts and cancellation: in company requests have the bits that each has alone on the
 * CPU. Of the 200 scenarios of test_engine_exact three in which all of this happens; and one of the demo
 * model's. */
Test(vulkan, company_changes_nothing, .timeout = 120)
{
    static const int numbers[] = {6, 7, 11};
    static company c;
    company_tally t = {0};
    use_lavapipe("256");
    sterna_model *model = company_model(7);
    company_fill(&c, model, 13, COMPANY_MAX_PROMPT, "cpu");
    for (size_t i = 0; i < sizeof numbers / sizeof numbers[0]; i++)
        company_run(&c, model, "vulkan", 1000, numbers[i], &t);
    cr_expect(t.n_cached > 0 && t.n_preempted > 0 && t.n_accepted > 0 && t.n_wrong > 0 && t.n_cancelled > 0 &&
              t.n_stop > 0);
    sterna_model_close(&model);
}

Test(vulkan, company_changes_nothing_in_the_demo_model, .timeout = 120)
{
    static company c;
    company_tally t = {0};
    sterna_model *model = NULL;
    sterna_error error;
    use_lavapipe("256");
    cr_assert_eq(sterna_model_open(MODEL, NULL, &model, &error), STERNA_OK, "%s", error.message);
    company_fill(&c, model, 14, 30, "cpu");
    company_run(&c, model, "vulkan", 2000, 1, &t);
    sterna_model_close(&model);
}

/* Whole steps, where ops depend on each other: recorded, replayed and forgotten. */
Test(vulkan, layers_are_silent_about_steps)
{
    static rig gpu;
    char log[64];
    sterna_model *model = NULL;
    sterna_error error;
    snprintf(log, sizeof log, "/tmp/sterna-vulkan-%ld.log", (long)getpid());
    use_lavapipe("256");
    use_layers(log);
    cr_assert_eq(sterna_model_open(MODEL, NULL, &model, &error), STERNA_OK, "%s", error.message);
    open_rig(&gpu, model, "vulkan", 4);
    while (rig_step(&gpu) > 0)
        ;
    for (int i = 0; i < N_REQUEST; i++)
        cr_expect_eq(gpu.result[i].n, 4);
    rig_close(&gpu);
    sterna_model_close(&model);
    expect_silence(log);
}

/* ---- memory ---- */

/* Pieces of odd sizes at odd offsets, more than the staging memory holds, while buffers come and go. */
Test(vulkan, buffers_keep_what_was_written)
{
    enum { N = 24 };
    const size_t large = ((size_t)9 << 20) + 3;
    use_lavapipe("256");
    st_device_params params = {.check = false};
    st_device *dev = NULL;
    sterna_error error;
    cr_assert_eq(st_device_open("vulkan", &params, &dev, &error), STERNA_OK, "%s", error.message);
    const st_backend *b = dev->backend;
    st_buf *buf[N];
    unsigned char *in = malloc(large), *out = malloc(large);
    for (size_t i = 0; i < large; i++)
        in[i] = (unsigned char)(i * 167 + (i >> 9));
    for (int i = 0; i < N; i++) {
        cr_assert_eq(b->buf_create(dev, 1000 + 77 * (size_t)i, &buf[i], &error), STERNA_OK);
        b->write(dev, buf[i], (size_t)i, in + i, 500);
    }
    for (int i = 0; i < N; i += 2) {
        b->buf_destroy(dev, buf[i]);
        cr_assert_eq(b->buf_create(dev, i == 4 ? large : 300, &buf[i], &error), STERNA_OK, "%s",
                     error.message);
        b->fill(dev, buf[i], UINT32_C(0x04030201));
    }
    b->write(dev, buf[4], 1, in + 1, large - 1);
    b->write(dev, buf[4], 2, in, 3); /* waits behind the other */
    b->read(dev, buf[4], 0, out, large);
    cr_expect(out[0] == 1 && memcmp(out + 2, in, 3) == 0 && memcmp(out + 5, in + 5, large - 5) == 0);
    for (int i = 1; i < N; i += 2) {
        b->read(dev, buf[i], (size_t)i, out, 500);
        cr_expect(memcmp(out, in + i, 500) == 0, "buffer %d", i);
    }
    b->read(dev, buf[2], 0, out, 300);
    for (int i = 0; i < 300; i++)
        cr_expect_eq(out[i], i % 4 + 1);
    for (int i = 0; i < N; i++)
        b->buf_destroy(dev, buf[i]);
    free(in);
    free(out);
    st_device_close(&dev);
}

Test(vulkan, memory_that_is_not_there_is_refused_with_numbers)
{
    use_lavapipe("256");
    st_device_params params = {.check = false};
    st_device *dev = NULL;
    st_buf *buf = NULL;
    sterna_error error;
    cr_assert_eq(st_device_open("vulkan", &params, &dev, &error), STERNA_OK, "%s", error.message);
    cr_expect_eq(dev->backend->buf_create(dev, (size_t)1 << 50, &buf, &error), STERNA_E_MEMORY);
    cr_expect(strstr(error.message, "1125899906842624"), "%s", error.message);
    cr_expect_eq(dev->backend->buf_create(dev, 64, &buf, &error), STERNA_OK, "%s", error.message);
    dev->backend->buf_destroy(dev, buf);
    st_device_close(&dev);
}
