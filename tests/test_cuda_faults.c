/* The CUDA backend where something is missing or fails, on the software driver. */
#include "host/backend/backend.h"
#include "tests/support/softcuda/loader.h"

#include <criterion/criterion.h>
#include <cuda.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

/* What the list of devices says about this backend, and that it is not there. */
static void expect_absent(const char *first, const char *second)
{
    static sterna_device_info info;
    int found = 0;
    for (int i = 0, n = st_device_list(-1, &info); i < n; i++) {
        st_device_list(i, &info);
        if (strncmp(info.name, "cuda", 4) != 0)
            continue;
        found++;
        cr_expect_not(info.available);
        cr_expect(strstr(info.description, first) && strstr(info.description, second), "%s",
                  info.description);
    }
    cr_expect_eq(found, 1);
    st_device *dev = NULL;
    sterna_error error;
    cr_expect_eq(st_device_open("cuda", &(st_device_params){.trace = false}, &dev, &error), STERNA_E_DEVICE);
    cr_expect(strstr(error.message, "device 'cuda' is not available") && strstr(error.message, first), "%s",
              error.message);
}

static st_device *open_device(bool trace)
{
    st_device *dev = NULL;
    sterna_error error;
    cr_assert_eq(st_device_open("cuda", &(st_device_params){.trace = trace}, &dev, &error), STERNA_OK, "%s",
                 error.message);
    return dev;
}

static void expect_nothing_left(void)
{
    const char *left = softcuda_left();
    cr_expect_null(left, "not all of what %s made has been given back", left);
}

/* ---- no driver, no device, the wrong ones ---- */

Test(cuda_faults, no_driver)
{
    softcuda_use("80");
    softcuda_hide();
    expect_absent("no NVIDIA driver", "libcuda.so.1");
}

Test(cuda_faults, driver_lacks_a_function)
{
    softcuda_use("80");
    softcuda_lack("cuGraphLaunch");
    expect_absent("libcuda.so.1 has no cuGraphLaunch", "13.0 or newer");
}

Test(cuda_faults, driver_is_too_old)
{
    softcuda_use("80");
    setenv("SOFTCUDA_DRIVER_VERSION", "12080", 1);
    expect_absent("driver is for CUDA 12.8", "needs one for CUDA 13.0 or newer");
}

Test(cuda_faults, no_device)
{
    softcuda_use("80");
    setenv("SOFTCUDA_DEVICES", "0", 1);
    expect_absent("cuInit: CUDA_ERROR_NO_DEVICE", "");
}

Test(cuda_faults, no_visible_device)
{
    softcuda_use("80");
    setenv("CUDA_VISIBLE_DEVICES", "", 1);
    expect_absent("cuInit: CUDA_ERROR_NO_DEVICE", "(CUDA_VISIBLE_DEVICES is '')");
}

Test(cuda_faults, fewer_devices_than_asked_for)
{
    softcuda_use("80");
    setenv("SOFTCUDA_DEVICES", "2", 1);
    st_device *dev = NULL;
    sterna_error error;
    const st_device_params params = {.trace = false};
    cr_expect_eq(st_device_open("cuda:2", &params, &dev, &error), STERNA_E_DEVICE);
    cr_expect(strstr(error.message, "'cuda:2': this machine has 2 cuda devices"), "%s", error.message);
    cr_expect_eq(st_device_open("cuda:1", &params, &dev, &error), STERNA_OK, "%s", error.message);
    st_device_close(&dev);
    expect_nothing_left();
}

Test(cuda_faults, software_driver_says_so_and_is_not_chosen)
{
    static sterna_device_info info;
    softcuda_use("80");
    st_device_list(0, &info);
    cr_expect_str_eq(info.name, "cuda:0");
    cr_expect(info.available && info.software && strcmp(info.isa, "sm_80") == 0, "%s", info.description);
    st_device *dev = NULL;
    sterna_error error;
    cr_assert_eq(st_device_open("auto", &(st_device_params){.n_thread = 1}, &dev, &error), STERNA_OK, "%s",
                 error.message);
    cr_expect_str_neq(dev->backend->name, "cuda");
    st_device_close(&dev);
}

/* ---- work ---- */

typedef struct scene {
    st_device *dev;
    st_buf *x, *w, *index, *token;
    st_weight *table;
    st_batch batch;
} scene;

enum { COLS = 64, ROWS = 48 };

/* Makes buffers and a ternary table; false where something failed. */
static bool scene_build(scene *s, sterna_error *error)
{
    static const unsigned char codes[ROWS * COLS / 4];
    static const float scales[ROWS] = {1.0f};
    const st_backend *b = s->dev->backend;
    const st_matrix matrix = {.type = ST_TERNARY,
                              .scale_type = ST_F32,
                              .rows = ROWS,
                              .cols = COLS,
                              .row_bytes = COLS / 4,
                              .data = codes,
                              .scale = scales};
    if (b->buf_create(s->dev, COLS * sizeof(float), &s->x, error) != STERNA_OK ||
        b->buf_create(s->dev, COLS * sizeof(float), &s->w, error) != STERNA_OK ||
        b->buf_create(s->dev, 256, &s->index, error) != STERNA_OK ||
        b->buf_create(s->dev, 256, &s->token, error) != STERNA_OK ||
        b->weight_create(s->dev, &matrix, 1, NULL, 1.0f, NULL, &s->table, error) != STERNA_OK)
        return false;
    b->fill(s->dev, s->x, 0x3f800000);
    b->fill(s->dev, s->w, 0x3f800000);
    b->fill(s->dev, s->index, 0);
    b->fill(s->dev, s->token, 0);
    s->batch = (st_batch){.n_token = 1,
                          .n_seq = 1,
                          .max_blocks = 1,
                          .token = s->token,
                          .pos = s->index,
                          .seq = s->index,
                          .slot = s->index,
                          .table = s->index,
                          .length = s->index,
                          .out = s->index};
    return true;
}

/* embed, then norm in place. */
static sterna_status scene_step(scene *s, sterna_error *error)
{
    const st_backend *b = s->dev->backend;
    const st_embed_args embed = {.table = s->table, .scale = 1.0f, .dst = s->x};
    const st_norm_args norm = {.src = s->x, .dst = s->x, .weight = s->w, .dim = COLS, .rows = ST_ROWS_TOKEN};
    if (b->begin(s->dev, &s->batch)) {
        b->embed(s->dev, &embed);
        b->norm(s->dev, &norm);
    }
    return b->end(s->dev, error);
}

static void scene_end(scene *s)
{
    if (s->dev) {
        const st_backend *b = s->dev->backend;
        b->weight_destroy(s->dev, s->table);
        b->buf_destroy(s->dev, s->token);
        b->buf_destroy(s->dev, s->index);
        b->buf_destroy(s->dev, s->w);
        b->buf_destroy(s->dev, s->x);
    }
    st_device_close(&s->dev);
    expect_nothing_left();
}

/* ---- memory ---- */

/* Opens, uploads and steps; false with an error. */
static bool run_scene(sterna_error *error)
{
    scene s = {.dev = NULL};
    bool good = st_device_open("cuda", &(st_device_params){.trace = false}, &s.dev, error) == STERNA_OK &&
                scene_build(&s, error) && scene_step(&s, error) == STERNA_OK;
    scene_end(&s);
    return good;
}

/* Number 1, 2 ... of a function's calls fails, until one run needs fewer. Returns how many there were. */
static int fail_each(const char *symbol, int result, sterna_status status, const char *text)
{
    sterna_error error;
    int n = 1;
    for (bool good = false; !good; n++) {
        error.message[0] = '\0';
        softcuda_fail(symbol, n, result);
        good = run_scene(&error);
        if (!good) {
            cr_expect_eq(error.status, status, "%s", error.message);
            cr_expect(strstr(error.message, "cuda:0") && strstr(error.message, text), "%s", error.message);
        }
    }
    softcuda_fail(symbol, 0, 0);
    return n - 2;
}

Test(cuda_faults, each_allocation_may_fail)
{
    sterna_error error;
    softcuda_use("80");
    cr_expect_eq(fail_each("cuMemAlloc_v2", CUDA_ERROR_OUT_OF_MEMORY, STERNA_E_MEMORY, "bytes are free"), 6);
    cr_expect_eq(fail_each("cuMemHostAlloc", CUDA_ERROR_OUT_OF_MEMORY, STERNA_E_MEMORY,
                           "cuMemHostAlloc of 8388608 bytes of staging memory: CUDA_ERROR_OUT_OF_MEMORY"),
                 1);
    cr_expect(run_scene(&error), "%s", error.message);
}

Test(cuda_faults, each_object_may_fail)
{
    static const char *const symbols[] = {"cuDevicePrimaryCtxRetain",
                                          "cuStreamCreate",
                                          "cuEventCreate",
                                          "cuModuleLoadData",
                                          "cuStreamEndCapture",
                                          "cuGraphInstantiateWithFlags",
                                          "cuGraphLaunch",
                                          "cuStreamSynchronize"};
    softcuda_use("80");
    for (size_t i = 0; i < sizeof symbols / sizeof symbols[0]; i++)
        cr_expect_gt(fail_each(symbols[i], CUDA_ERROR_OUT_OF_MEMORY, STERNA_E_DEVICE, symbols[i]), 0, "%s",
                     symbols[i]);
}

Test(cuda_faults, too_little_memory_is_named_with_numbers)
{
    softcuda_use("80");
    setenv("SOFTCUDA_MEMORY", "5000000", 1); /* scratch takes 4194304 */
    scene s = {.dev = open_device(false)};
    sterna_error error;
    st_buf *buf = NULL;
    cr_expect_eq(s.dev->backend->buf_create(s.dev, 1000000, &buf, &error), STERNA_E_MEMORY);
    cr_expect(strstr(error.message, "1000000 bytes (805696 of 5000000 bytes are free"), "%s", error.message);
    cr_expect_eq(s.dev->backend->buf_create(s.dev, 1000, &buf, &error), STERNA_OK, "%s", error.message);
    s.dev->backend->buf_destroy(s.dev, buf);
    scene_end(&s);
}

/* ---- kernels ---- */

Test(cuda_faults, no_image_for_the_architecture)
{
    softcuda_use("75");
    scene s = {.dev = open_device(false)};
    sterna_error error;
    softcuda_fail("cuModuleLoadData", 1, CUDA_ERROR_NO_BINARY_FOR_GPU);
    cr_expect_not(scene_build(&s, &error));
    cr_expect_str_eq(error.message, "cuda:0 (sm_75): cuModuleLoadData of pack: CUDA_ERROR_NO_BINARY_FOR_GPU; "
                                    "this build has no kernels for it (STERNA_CUDA_ARCHS)");
    scene_end(&s);
}

/* A token that the table lacks makes embed read what is not its. The step fails, and so do all after it. */
static void fault_in_a_step(const char *streams, bool trace, const char *call)
{
    sterna_error error;
    softcuda_use("80");
    setenv("SOFTCUDA_STREAMS", streams, 1);
    scene s = {.dev = open_device(trace)};
    cr_assert(scene_build(&s, &error), "%s", error.message);
    cr_assert_eq(scene_step(&s, &error), STERNA_OK, "%s", error.message);
    const int32_t token = 1 << 30;
    s.dev->backend->write(s.dev, s.token, 0, &token, sizeof token);
    for (int i = 0; i < 2; i++) {
        error.message[0] = '\0';
        cr_expect_eq(scene_step(&s, &error), STERNA_E_DEVICE);
        cr_expect(strstr(error.message, call) && strstr(error.message, "CUDA_ERROR_ILLEGAL_ADDRESS"), "%s",
                  error.message);
    }
    st_buf *buf = NULL;
    cr_expect_eq(s.dev->backend->buf_create(s.dev, 64, &buf, &error), STERNA_E_DEVICE);
    scene_end(&s);
}

Test(cuda_faults, fault_in_a_replayed_step)
{
    fault_in_a_step("eager", false, "cuda:0: cuGraphLaunch: ");
}

Test(cuda_faults, fault_in_a_traced_step)
{
    fault_in_a_step("eager", true,
                    "cuda:0: cuLaunchKernel of embed_generic on 1 x 1 blocks of 256 threads: ");
}

Test(cuda_faults, fault_that_shows_when_somebody_waits)
{
    fault_in_a_step("lazy", false, "cuda:0: cuStreamSynchronize: ");
}
