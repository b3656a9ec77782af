/* The Vulkan backend where something is missing, fails or is small. The loader is the real one, but its
 * functions can be made to fail (support/vulkan/faulty.h). */
#include "host/backend/backend.h"
#include "tests/support/company.h"
#include "tests/support/vulkan/faulty.h"

#include <criterion/criterion.h>
#include <dirent.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define MODEL STERNA_SOURCE_DIR "/models/sterna-demo.gguf"

static void use_lavapipe(void)
{
    setenv("VK_ICD_FILENAMES", "/usr/share/vulkan/icd.d/lvp_icd.x86_64.json", 0);
    setenv("LP_NATIVE_VECTOR_WIDTH", "256", 1);
}

/* What the list of devices says about this backend. */
static const char *description(void)
{
    static sterna_device_info info;
    for (int i = 0, n = st_device_list(-1, &info); i < n; i++) {
        st_device_list(i, &info);
        if (strncmp(info.name, "vulkan", 6) == 0)
            return info.available ? "available" : info.description;
    }
    return "not in the list";
}

/* ---- nothing to run on ---- */

Test(vulkan_faults, no_loader_is_told)
{
    faulty_no_loader = true;
    cr_expect_str_eq(description(), "no Vulkan loader: libvulkan.so.1 cannot be opened");
    st_device_params params = {.check = false};
    st_device *dev = NULL;
    sterna_error error;
    cr_expect_eq(st_device_open("vulkan", &params, &dev, &error), STERNA_E_DEVICE);
    cr_expect_str_eq(error.message, "device 'vulkan' is not available: no Vulkan loader: libvulkan.so.1 "
                                    "cannot be opened");
}

Test(vulkan_faults, no_driver_is_told)
{
    setenv("VK_ICD_FILENAMES", "/nonexistent.json", 1);
    cr_expect(strstr(description(), "no driver is installed"), "%s", description());
}

Test(vulkan_faults, no_queue_that_computes_is_told)
{
    use_lavapipe();
    faulty_no_compute = true;
    cr_expect(strstr(description(), "llvmpipe") && strstr(description(), " has no queue that computes"), "%s",
              description());
    st_device_params params = {.check = false};
    st_device *dev = NULL;
    sterna_error error;
    cr_expect_eq(st_device_open("vulkan", &params, &dev, &error), STERNA_E_DEVICE);
    cr_expect(strstr(error.message, " has no queue that computes"), "%s", error.message);
}

Test(vulkan_faults, there_is_a_device_where_tests_run)
{
    use_lavapipe();
    cr_expect_str_eq(description(), "available");
    st_device_params params = {.check = false};
    st_device *dev = NULL;
    sterna_error error;
    cr_expect_eq(st_device_open("vulkan:9", &params, &dev, &error), STERNA_E_DEVICE);
    /* A software driver is no automatic choice. */
    cr_assert_eq(st_device_open("auto", &params, &dev, &error), STERNA_OK);
    cr_expect_str_eq(dev->backend->name, "cpu");
    st_device_close(&dev);
}

/* ---- calls that fail ---- */

/* Buffers of 64 floats, and a weight whose only value that is not 0 is a 1 in its first row. */
typedef struct scene {
    st_device *dev;
    st_buf *x, *two, *y, *zero;
    st_weight *weight;
} scene;

static sterna_status open_scene(scene *s, bool trace, sterna_error *error)
{
    st_device_params params = {.trace = trace};
    static float values[64 * 64] = {1.0f};
    st_matrix matrix = {.type = ST_F32, .rows = 64, .cols = 64, .row_bytes = 256, .data = values};
    *s = (scene){.dev = NULL};
    sterna_status status = st_device_open("vulkan", &params, &s->dev, error);
    st_buf **bufs[] = {&s->x, &s->two, &s->y, &s->zero};
    for (size_t i = 0; i < sizeof bufs / sizeof bufs[0] && status == STERNA_OK; i++)
        status = s->dev->backend->buf_create(s->dev, 256, bufs[i], error);
    if (status == STERNA_OK)
        status = s->dev->backend->weight_create(s->dev, &matrix, 1, NULL, 1.0f, NULL, &s->weight, error);
    return status;
}

static void close_scene(scene *s)
{
    if (!s->dev)
        return;
    const st_backend *b = s->dev->backend;
    b->weight_destroy(s->dev, s->weight);
    b->buf_destroy(s->dev, s->x);
    b->buf_destroy(s->dev, s->two);
    b->buf_destroy(s->dev, s->y);
    b->buf_destroy(s->dev, s->zero);
    st_device_close(&s->dev);
}

/* A step of two ops, one row at position 0: *out becomes 2, if it works. NULL: it is not read. */
static sterna_status run_scene(const scene *s, float *out, sterna_error *error)
{
    const st_backend *b = s->dev->backend;
    st_batch batch = {.n_token = 1,
                      .n_seq = 1,
                      .max_blocks = 1,
                      .token = s->zero,
                      .pos = s->zero,
                      .seq = s->zero,
                      .slot = s->zero,
                      .table = s->zero,
                      .length = s->zero,
                      .out = s->zero};
    st_norm_args norm = {.src = s->two, .dst = s->x, .weight = s->two, .dim = 64, .rows = ST_ROWS_TOKEN};
    st_linear_args linear = {
        .weight = s->weight, .src = s->x, .dst = s->y, .stride = 64, .rows = ST_ROWS_TOKEN};
    b->fill(s->dev, s->two, 0x40000000);
    b->fill(s->dev, s->zero, 0);
    if (b->begin(s->dev, &batch)) {
        b->norm(s->dev, &norm);
        b->linear(s->dev, &linear);
    }
    sterna_status status = b->end(s->dev, error);
    if (out)
        b->read(s->dev, s->y, 0, out, sizeof *out);
    return status;
}

/* The life of a traced device with a large buffer and two steps. */
static sterna_status live(float *out, sterna_error *error)
{
    scene s;
    st_buf *large = NULL;
    sterna_status status = open_scene(&s, true, error);
    if (status == STERNA_OK)
        status = s.dev->backend->buf_create(s.dev, (size_t)40 << 20, &large, error);
    for (int i = 0; i < 2 && status == STERNA_OK; i++)
        status = run_scene(&s, out, error);
    if (status == STERNA_OK) /* failures of reading come with the next step */
        status = run_scene(&s, NULL, error);
    if (large)
        s.dev->backend->buf_destroy(s.dev, large);
    close_scene(&s);
    return status;
}

static bool is_one_of(const char *name, const char *const *list)
{
    while (*list && strcmp(*list, name) != 0)
        list++;
    return *list;
}

/* The error names the call and its result, or what there is no memory for. */
static void expect_named(const sterna_error *error, const char *name, const char *result, int number)
{
    static const char *const memory[] = {"vkCreateBuffer", "vkAllocateMemory", "vkBindBufferMemory", NULL};
    char expected[128];
    snprintf(expected, sizeof expected, "vulkan:0: %s: %s", name, result);
    if (is_one_of(name, memory))
        cr_expect(strstr(error->message, "vulkan:0: no memory for") && strstr(error->message, result) &&
                      strstr(error->message, "bytes are free"),
                  "%s number %d: %s", name, number, error->message);
    else
        cr_expect_str_eq(error->message, expected);
}

/* Every call of the list, the first time that it is made, the second ... until all have been. */
Test(vulkan_faults, each_call_may_fail, .timeout = 120)
{
    static const char *const harmless[] = {"vkCreatePipelineCache", "vkGetPipelineCacheData", NULL};
    static const char *const lost[] = {"vkQueueSubmit", "vkWaitForFences", "vkGetQueryPoolResults", NULL};
    use_lavapipe();
    for (const char *const *name = faulty_names; *name; name++) {
        bool device_lost = is_one_of(*name, lost);
        int n = 0;
        for (bool again = true; again; n++) {
            sterna_error error = {STERNA_OK, ""};
            float out = -1.0f;
            faulty_set(*name, n, device_lost ? VK_ERROR_DEVICE_LOST : VK_ERROR_OUT_OF_DEVICE_MEMORY);
            sterna_status status = live(&out, &error);
            again = faulty_happened();
            cr_assert_eq(faulty_alive, 0, "%ld objects are left after call %d of %s", faulty_alive, n, *name);
            if (!again || is_one_of(*name, harmless)) {
                cr_expect(status == STERNA_OK && out == 2.0f, "%s: %s, %g", *name, error.message,
                          (double)out);
                continue;
            }
            cr_expect_eq(status, device_lost ? STERNA_E_DEVICE : STERNA_E_MEMORY, "%s", *name);
            expect_named(&error, *name,
                         device_lost ? "VK_ERROR_DEVICE_LOST" : "VK_ERROR_OUT_OF_DEVICE_MEMORY", n);
        }
        cr_expect_gt(n, 1, "%s was never called", *name);
    }
}

/* A buffer of another VkDevice, or an address, is refused whatever it is, and the device goes on. */
Test(vulkan_faults, memory_of_the_caller_is_not_wrapped)
{
    scene s;
    sterna_error error;
    st_buf *wrapped = NULL;
    float out = 0.0f, mine[64] = {0};
    use_lavapipe();
    cr_assert_eq(open_scene(&s, false, &error), STERNA_OK, "%s", error.message);
    cr_expect_eq(s.dev->backend->buf_wrap(s.dev, mine, sizeof mine, &wrapped, &error), STERNA_E_UNSUPPORTED);
    cr_expect(strstr(error.message,
                     "vulkan:0: a VkBuffer belongs to a VkDevice, and this one is private: 256 bytes"),
              "%s", error.message);
    cr_expect_null(wrapped);
    cr_expect_eq(run_scene(&s, &out, &error), STERNA_OK, "%s", error.message);
    cr_expect_eq(out, 2.0f);
    close_scene(&s);
}

/* ---- a lost device ---- */

Test(vulkan_faults, a_lost_device_says_so_from_then_on)
{
    scene s;
    sterna_error error;
    float out = 0.0f;
    use_lavapipe();
    cr_assert_eq(open_scene(&s, false, &error), STERNA_OK, "%s", error.message);
    cr_expect_eq(run_scene(&s, &out, &error), STERNA_OK, "%s", error.message);
    faulty_set("vkQueueSubmit", 0, VK_ERROR_DEVICE_LOST);
    for (int i = 0; i < 2; i++) {
        out = 7.0f;
        cr_expect_eq(run_scene(&s, &out, &error), STERNA_E_DEVICE);
        cr_expect_str_eq(error.message, "vulkan:0: vkQueueSubmit: VK_ERROR_DEVICE_LOST");
        cr_expect_eq(out, 7.0f, "a lost device reads %g", (double)out);
        faulty_set(NULL, 0, VK_SUCCESS); /* what the device says now no longer counts */
    }
    close_scene(&s);
    cr_expect_eq(faulty_alive, 0);
}

/* ---- small views ---- */

static char cut[256];

static void note_cut(void *user, sterna_log_level level, const char *message)
{
    (void)user;
    size_t length = strlen(cut);
    if (level == STERNA_LOG_WARN)
        snprintf(cut + length, sizeof cut - length, "%s\n", message);
}

/* All tokens of long prompts on a device that binds only so much: steps get fewer rows and there are fewer
 * pages. */
Test(vulkan_faults, tensors_are_cut_to_what_a_device_binds, .timeout = 120)
{
    static company c;
    static rig r;
    sterna_model *model = company_model(9);
    sterna_error error;
    use_lavapipe();
    company_fill(&c, model, 21, COMPANY_MAX_PROMPT, "cpu");
    faulty_max_range = 132 << 10;
    sterna_engine_params params = company_params(5, 512);
    params.log = note_cut;
    rig_open(&r, model, &params, rig_device("vulkan", 1, COMPANY_NAN_ALL));
    for (int i = 0; i < 6; i++)
        rig_submit(&r, &c.request[i]);
    while (rig_step(&r) > 0)
        ;
    for (int i = 0, sample = 0; i < 6; i++)
        for (int32_t k = 0; k < c.request[i].n_sample; k++, sample++)
            rig_compare(&r.result[sample], &c.alone[i][k], false, "request", i);
    rig_close(&r);
    cr_expect_str_eq(
        cut, "an op of this device sees 135168 bytes: steps have 132 rows, not 512\n"
             "an op of this device sees 135168 bytes: there are 16 KV pages of 64 positions, not 25\n");
    sterna_engine *engine = NULL;
    params.n_sequence = 200;
    cr_expect_eq(st_engine_open_on(model, &params, rig_device("vulkan", 1, 0), &engine, &error),
                 STERNA_E_LIMIT);
    cr_expect(strstr(error.message, "200 sequences with 0 drafts: an op of this device sees 135168 bytes"),
              "%s", error.message);
    sterna_model_close(&model);
}

/* ---- the pipeline cache ---- */

/* Runs a new device; what it computed. */
static float run_once(void)
{
    scene s;
    sterna_error error;
    float out = 0.0f;
    cr_assert_eq(open_scene(&s, false, &error), STERNA_OK, "%s", error.message);
    cr_assert_eq(run_scene(&s, &out, &error), STERNA_OK, "%s", error.message);
    close_scene(&s);
    return out;
}

/* The path of the one file of the folder. */
static void find_cache(const char *folder, char path[512])
{
    path[0] = '\0';
    DIR *dir = opendir(folder);
    cr_assert_not_null(dir, "no folder %s", folder);
    for (struct dirent *entry; (entry = readdir(dir));)
        if (strncmp(entry->d_name, "vulkan-", 7) == 0)
            snprintf(path, 512, "%s/%s", folder, entry->d_name);
    closedir(dir);
    cr_assert(path[0], "no cache in %s", folder);
}

static long read_cache(const char *path, unsigned char bytes[65536])
{
    FILE *file = fopen(path, "rb");
    cr_assert_not_null(file, "%s", path);
    long n = (long)fread(bytes, 1, 65536, file);
    fclose(file);
    return n;
}

static void write_cache(const char *path, const unsigned char *bytes, long n)
{
    FILE *file = fopen(path, "wb");
    cr_assert_not_null(file, "%s", path);
    cr_assert_eq(fwrite(bytes, 1, (size_t)n, file), (size_t)n);
    fclose(file);
}

/* Bits of the head and of the contents turned over, the file cut, empty or longer. */
Test(vulkan_faults, a_corrupt_cache_is_ignored_and_replaced)
{
    char home[] = "/tmp/sterna-cache-XXXXXX", folder[64], path[512];
    static unsigned char good[65536], bad[65536], now[65536];
    use_lavapipe();
    cr_assert_not_null(mkdtemp(home));
    setenv("XDG_CACHE_HOME", home, 1);
    snprintf(folder, sizeof folder, "%s/sterna", home);
    cr_expect_eq(run_once(), 2.0f);
    find_cache(folder, path);
    long n = read_cache(path, good);
    cr_assert(n > 32 && n < 65536); /* our head; this driver has little to add */
    const struct {
        long at, length; /* the byte that is turned over, or -1; bytes of the file */
    } damages[] = {{0, n},     {8, n},  {16, n},  {23, n},     {24, n},    {32, n},
                   {n - 3, n}, {-1, 0}, {-1, 31}, {-1, n - 1}, {-1, n + 1}};
    for (size_t i = 0; i < sizeof damages / sizeof damages[0]; i++) {
        memcpy(bad, good, sizeof bad);
        if (damages[i].at >= 0)
            bad[damages[i].at] ^= 0x55;
        write_cache(path, bad, damages[i].length);
        cr_expect_eq(run_once(), 2.0f);
        long length = read_cache(path, now);
        cr_expect(length == n && memcmp(now, good, (size_t)n) == 0, "damage %zu was not repaired", i);
    }
    remove(path);
    remove(folder);
}
