/* The CUDA backend on the software driver, tests/softcuda: what it computes for each architecture, models,
 * and steps that are replayed. test_cuda_faults has what fails. */
#include "tests/support/conformance.h"
#include "tests/support/engine_rig.h"
#include "tests/support/softcuda/loader.h"

#include <criterion/criterion.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define MODEL STERNA_SOURCE_DIR "/models/sterna-demo.gguf"

/* ---- the conformance suite ---- */

/* All combinations of an op's parameters at one shape, for all variants. */
static void run_op(const char *op, int32_t m, int32_t n, int32_t k, int64_t least)
{
    conformance_run("cuda", op, NULL, m, n, k, 1, least);
}

/* Each architecture has its own PTX, and Turing its own matrix instructions. */
static void run_arch(const char *arch)
{
    softcuda_use(arch);
    run_op("embed", 3, 40, 96, 100);
    run_op("norm", 3, 1, 300, 100);
    run_op("norm_quant", 3, 1, 300, 200);
    run_op("glu_norm_quant", 3, 1, 300, 200);
    run_op("topk", 2, 700, 9, 200);
    run_op("rope_store", 3, 4, 35, 100);
    run_op("linear", 3, 9, 160, 1500);
}

Test(cuda, equals_reference_on_sm_75)
{
    run_arch("75");
}

Test(cuda, equals_reference_on_sm_80)
{
    run_arch("80");
}

Test(cuda, equals_reference_on_sm_90)
{
    run_arch("90");
}

Test(cuda, equals_reference_on_sm_120)
{
    run_arch("120");
}

/* Kernels for other numbers of tokens than run_arch has: gemv's for two, mma's for 16, 32 and 64, which a
 * single multiprocessor is always given. In the last shape each warp of a block has rows. */
static void run_more_tokens(const char *arch)
{
    softcuda_use(arch);
    setenv("SOFTCUDA_SMS", "1", 1);
    conformance_run("cuda", "linear", "gemv", 2, 17, 160, 4, 60);
    conformance_run("cuda", "linear", "mma", 9, 33, 160, 8, 35);
    conformance_run("cuda", "linear", NULL, 17, 17, 130, 8, 150);
    conformance_run("cuda", "linear", "mma", 33, 100, 160, 32, 6);
}

Test(cuda, linear_of_more_tokens_equals_reference_on_sm_75)
{
    run_more_tokens("75");
}

Test(cuda, linear_of_more_tokens_equals_reference_on_sm_80)
{
    run_more_tokens("80");
}

/* Contexts do not depend on the shape. */
Test(cuda, attend_equals_reference)
{
    softcuda_use("80");
    run_op("attend", 1, 2, 18, 200);
}

/* Several blocks of 1024 columns for gemv to split. */
Test(cuda, linear_of_one_token_equals_reference)
{
    softcuda_use("80");
    run_op("linear", 1, 2, 1100, 1500);
}

/* Blocks in a random order, uninitialised shared memory and races between threads are faults. */
Test(cuda, is_free_of_races)
{
    softcuda_use("80");
    setenv("SOFTCUDA_CHECK", "1", 1);
    run_op("norm_quant", 2, 1, 200, 200);
    run_op("topk", 1, 300, 5, 200);
    run_op("rope_store", 2, 3, 34, 100);
    run_op("linear", 5, 3, 130, 1500);
    setenv("SOFTCUDA_SMS", "1", 1);
    /* More steps than the ring has stages: a step is 1024 columns for 8 tokens, 128 for 64 or with groups. */
    conformance_run("cuda", "linear", "mma", 5, 3, 3100, 24, 15);
    conformance_run("cuda", "linear", "mma", 33, 17, 400, 24, 9);
}

/* ---- models ---- */

enum { N_REQUEST = 4, N_PREDICT = 16 };

static sterna_request request_of(int i, sterna_token prompt[16])
{
    sterna_request r;
    sterna_request_defaults(&r);
    r.n_prompt = 2 + 3 * i;
    for (int k = 0; k < r.n_prompt; k++)
        prompt[k] = 7 + 31 * i + 5 * k;
    r.prompt = prompt;
    r.n_predict = N_PREDICT;
    r.ignore_end = true;
    r.temperature = i == 0 ? 0.0f : 1.0f;
    r.repetition_penalty = i == 2 ? 1.2f : 1.0f;
    r.n_logprob = 4;
    r.seed = (uint64_t)i;
    return r;
}

static sterna_model *open_model(void)
{
    sterna_model *model = NULL;
    sterna_error error;
    cr_assert_eq(sterna_model_open(MODEL, NULL, &model, &error), STERNA_OK, "%s", error.message);
    return model;
}

/* Requests [from, from + n) to their end, side by side. */
static void run_requests(rig *r, const sterna_model *model, st_device *dev, int from, int n)
{
    sterna_engine_params params;
    sterna_token prompt[16];
    sterna_engine_defaults(&params);
    params.n_sequence = n;
    params.n_batch = 16;
    rig_open(r, model, &params, dev);
    for (int i = from; i < from + n; i++) {
        sterna_request request = request_of(i, prompt);
        rig_submit(r, &request);
    }
    while (rig_step(r) > 0)
        ;
    for (int i = 0; i < n; i++) {
        cr_assert_eq(r->result[i].n, N_PREDICT);
        cr_assert_eq(r->result[i].n_row, N_PREDICT);
    }
}

static st_device *cuda_device(void)
{
    return rig_device("cuda", 1, UINT32_C(0xffffffff));
}

static void compare_with_cpu(const char *arch, bool alone)
{
    static rig cpu, gpu;
    softcuda_use(arch);
    sterna_model *model = open_model();
    run_requests(&cpu, model, rig_device("cpu", 1, UINT32_C(0xffffffff)), 0, N_REQUEST);
    for (int i = 0; i < N_REQUEST; i += alone ? 1 : N_REQUEST) {
        int n = alone ? 1 : N_REQUEST;
        memset(&gpu, 0, sizeof gpu);
        run_requests(&gpu, model, cuda_device(), i, n);
        for (int k = 0; k < n; k++)
            rig_compare(&cpu.result[i + k], &gpu.result[k], false, alone ? "alone" : "batched", i + k);
        rig_close(&gpu);
    }
    rig_close(&cpu);
    sterna_model_close(&model);
}

Test(cuda, demo_model_has_the_bits_of_the_cpu_alone)
{
    compare_with_cpu("80", true);
}

Test(cuda, demo_model_has_the_bits_of_the_cpu_batched)
{
    compare_with_cpu("75", false);
}

/* A device that traces issues every op of every step; any other replays graphs of steps. */
Test(cuda, replayed_steps_equal_issued_ones)
{
    static rig replayed, issued;
    softcuda_use("90");
    sterna_model *model = open_model();
    st_device *dev = NULL;
    sterna_error error;
    cr_assert_eq(st_device_open("cuda", &(st_device_params){.trace = true}, &dev, &error), STERNA_OK, "%s",
                 error.message);
    run_requests(&issued, model, dev, 0, 2);
    cr_expect_eq(softcuda_count("cuGraphLaunch"), 0);
    run_requests(&replayed, model, cuda_device(), 0, 2);
    const int launched = softcuda_count("cuGraphLaunch"),
              made = softcuda_count("cuGraphInstantiateWithFlags");
    cr_expect(launched >= N_PREDICT && made < launched / 2, "%d graphs for %d steps", made, launched);
    for (int i = 0; i < 2; i++)
        rig_compare(&issued.result[i], &replayed.result[i], false, "replayed", i);
    rig_close(&issued);
    rig_close(&replayed);
    sterna_model_close(&model);
}

/* Work that runs only when somebody waits for it shows what nobody waits for. */
Test(cuda, waits_for_what_it_reads)
{
    static rig cpu, gpu;
    softcuda_use("80");
    setenv("SOFTCUDA_STREAMS", "lazy", 1);
    sterna_model *model = open_model();
    run_requests(&cpu, model, rig_device("cpu", 1, UINT32_C(0xffffffff)), 0, 1);
    run_requests(&gpu, model, cuda_device(), 0, 1);
    rig_compare(&cpu.result[0], &gpu.result[0], false, "lazy", 0);
    rig_close(&cpu);
    rig_close(&gpu);
    sterna_model_close(&model);
}
