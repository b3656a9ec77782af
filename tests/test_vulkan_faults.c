/* The Vulkan backend where something is missing or fails. The loader is the real one, but dlopen and dlsym
 * are wrapped (see CMakeLists.txt), so that functions of the device can be made to fail. */
#define VK_NO_PROTOTYPES
#include "host/backend/backend.h"

#include <criterion/criterion.h>
#include <dirent.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <vulkan/vulkan.h>

/* ---- faults ---- */

static bool no_loader;
static int allocations_left = -1; /* until one fails; -1: none does */
static int submissions_left = -1; /* until the device is lost */
static long memory_alive;         /* allocations that were not freed */

static PFN_vkGetInstanceProcAddr real_instance;
static PFN_vkGetDeviceProcAddr real_device;
static PFN_vkAllocateMemory real_allocate;
static PFN_vkFreeMemory real_free;
static PFN_vkQueueSubmit real_submit;

void *__real_dlopen(const char *path, int flags);
void *__wrap_dlopen(const char *path, int flags);
void *__real_dlsym(void *library, const char *name);
void *__wrap_dlsym(void *library, const char *name);

static VkResult VKAPI_CALL allocate(VkDevice device, const VkMemoryAllocateInfo *info,
                                    const VkAllocationCallbacks *callbacks, VkDeviceMemory *memory)
{
    if (allocations_left == 0)
        return VK_ERROR_OUT_OF_DEVICE_MEMORY;
    allocations_left -= allocations_left > 0;
    VkResult result = real_allocate(device, info, callbacks, memory);
    memory_alive += result == VK_SUCCESS;
    return result;
}

static void VKAPI_CALL release(VkDevice device, VkDeviceMemory memory, const VkAllocationCallbacks *callbacks)
{
    memory_alive -= memory != VK_NULL_HANDLE;
    real_free(device, memory, callbacks);
}

static VkResult VKAPI_CALL submit(VkQueue queue, uint32_t count, const VkSubmitInfo *info, VkFence fence)
{
    if (submissions_left == 0)
        return VK_ERROR_DEVICE_LOST;
    submissions_left -= submissions_left > 0;
    return real_submit(queue, count, info, fence);
}

static PFN_vkVoidFunction VKAPI_CALL device_function(VkDevice device, const char *name)
{
    PFN_vkVoidFunction real = real_device(device, name);
    if (strcmp(name, "vkAllocateMemory") == 0) {
        real_allocate = (PFN_vkAllocateMemory)real;
        return (PFN_vkVoidFunction)allocate;
    }
    if (strcmp(name, "vkFreeMemory") == 0) {
        real_free = (PFN_vkFreeMemory)real;
        return (PFN_vkVoidFunction)release;
    }
    if (strcmp(name, "vkQueueSubmit") == 0) {
        real_submit = (PFN_vkQueueSubmit)real;
        return (PFN_vkVoidFunction)submit;
    }
    return real;
}

static PFN_vkVoidFunction VKAPI_CALL instance_function(VkInstance instance, const char *name)
{
    PFN_vkVoidFunction real = real_instance(instance, name);
    if (strcmp(name, "vkGetDeviceProcAddr") != 0)
        return real;
    real_device = (PFN_vkGetDeviceProcAddr)real;
    return (PFN_vkVoidFunction)device_function;
}

void *__wrap_dlopen(const char *path, int flags)
{
    return no_loader && path && strstr(path, "libvulkan") ? NULL : __real_dlopen(path, flags);
}

void *__wrap_dlsym(void *library, const char *name)
{
    void *real = __real_dlsym(library, name);
    if (strcmp(name, "vkGetInstanceProcAddr") != 0)
        return real;
    real_instance = (PFN_vkGetInstanceProcAddr)real;
    return (void *)instance_function;
}

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
    no_loader = true;
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

/* ---- memory ---- */

/* Opens a device with a large buffer, a small one and a weight; false where an allocation failed. */
static bool build(sterna_error *error)
{
    st_device_params params = {.trace = true};
    st_device *dev = NULL;
    st_buf *large = NULL, *small = NULL;
    static float values[64 * 64];
    st_matrix matrix = {.type = ST_F32, .rows = 64, .cols = 64, .row_bytes = 256, .data = values};
    st_weight *weight = NULL;
    if (st_device_open("vulkan", &params, &dev, error) != STERNA_OK)
        return false;
    const st_backend *b = dev->backend;
    bool good = b->buf_create(dev, (size_t)40 << 20, &large, error) == STERNA_OK &&
                b->buf_create(dev, 100, &small, error) == STERNA_OK &&
                b->weight_create(dev, &matrix, 1, NULL, 1.0f, NULL, &weight, error) == STERNA_OK;
    b->weight_destroy(dev, weight);
    b->buf_destroy(dev, small);
    b->buf_destroy(dev, large);
    st_device_close(&dev);
    return good;
}

Test(vulkan_faults, each_allocation_may_fail)
{
    sterna_error error;
    int n = 0;
    use_lavapipe();
    for (bool good = false; !good; n++) {
        allocations_left = n;
        error.message[0] = '\0';
        good = build(&error);
        cr_assert_eq(memory_alive, 0, "%ld allocations are left after the failure of number %d", memory_alive,
                     n);
        if (!good) {
            cr_expect_eq(error.status, STERNA_E_MEMORY);
            cr_expect(strstr(error.message, "vulkan:0: no memory for") &&
                          strstr(error.message, "VK_ERROR_OUT_OF_DEVICE_MEMORY") &&
                          strstr(error.message, "bytes are free"),
                      "%s", error.message);
        }
    }
    cr_expect_geq(n, 4, "staging, a block and a large buffer are %d allocations", n - 1);
}

/* ---- a lost device ---- */

Test(vulkan_faults, a_lost_device_says_so_from_then_on)
{
    st_device_params params = {.check = false};
    st_device *dev = NULL;
    st_buf *x, *w, *pos;
    sterna_error error;
    use_lavapipe();
    cr_assert_eq(st_device_open("vulkan", &params, &dev, &error), STERNA_OK, "%s", error.message);
    const st_backend *b = dev->backend;
    cr_assert_eq(b->buf_create(dev, 256, &x, &error), STERNA_OK);
    cr_assert_eq(b->buf_create(dev, 256, &w, &error), STERNA_OK);
    cr_assert_eq(b->buf_create(dev, 256, &pos, &error), STERNA_OK);
    b->fill(dev, x, 0x3f800000);
    b->fill(dev, w, 0x3f800000);
    b->fill(dev, pos, 0);
    st_batch batch = {.n_token = 1,
                      .n_seq = 1,
                      .max_blocks = 1,
                      .token = pos,
                      .pos = pos,
                      .seq = pos,
                      .slot = pos,
                      .table = pos,
                      .length = pos,
                      .out = pos};
    st_norm_args norm = {.src = x, .dst = x, .weight = w, .dim = 64, .rows = ST_ROWS_TOKEN};
    for (int i = 0; i < 3; i++) {
        submissions_left = i == 0 ? -1 : 0;
        if (b->begin(dev, &batch))
            b->norm(dev, &norm);
        error.message[0] = '\0';
        sterna_status status = b->end(dev, &error);
        cr_expect_eq(status, i == 0 ? STERNA_OK : STERNA_E_DEVICE);
        cr_expect_str_eq(error.message, i == 0 ? "" : "vulkan:0: vkQueueSubmit: VK_ERROR_DEVICE_LOST");
        submissions_left = -1; /* what the device says now no longer counts */
    }
    float out = 7.0f;
    b->read(dev, x, 0, &out, sizeof out);
    cr_expect_eq(out, 7.0f, "a lost device reads %g", (double)out);
    b->buf_destroy(dev, x);
    b->buf_destroy(dev, w);
    b->buf_destroy(dev, pos);
    st_device_close(&dev);
    cr_expect_eq(memory_alive, 0);
}

/* ---- the pipeline cache ---- */

/* One norm of ones on a new device. */
static float norm_of_ones(void)
{
    st_device_params params = {.check = false};
    st_device *dev = NULL;
    st_buf *x, *pos;
    sterna_error error;
    float out = 0.0f;
    cr_assert_eq(st_device_open("vulkan", &params, &dev, &error), STERNA_OK, "%s", error.message);
    const st_backend *b = dev->backend;
    cr_assert_eq(b->buf_create(dev, 256, &x, &error), STERNA_OK);
    cr_assert_eq(b->buf_create(dev, 256, &pos, &error), STERNA_OK);
    b->fill(dev, x, 0x40000000);
    b->fill(dev, pos, 0);
    st_batch batch = {.n_token = 1,
                      .n_seq = 1,
                      .max_blocks = 1,
                      .token = pos,
                      .pos = pos,
                      .seq = pos,
                      .slot = pos,
                      .table = pos,
                      .length = pos,
                      .out = pos};
    st_norm_args norm = {.src = x, .dst = x, .weight = x, .dim = 64, .rows = ST_ROWS_TOKEN};
    if (b->begin(dev, &batch))
        b->norm(dev, &norm);
    cr_assert_eq(b->end(dev, &error), STERNA_OK, "%s", error.message);
    b->read(dev, x, 0, &out, sizeof out);
    b->buf_destroy(dev, x);
    b->buf_destroy(dev, pos);
    st_device_close(&dev);
    return out;
}

/* The one file of the folder, opened for reading and writing. */
static FILE *cache_file(const char *folder)
{
    char path[512] = "";
    DIR *dir = opendir(folder);
    cr_assert_not_null(dir, "no folder %s", folder);
    for (struct dirent *entry; (entry = readdir(dir));)
        if (strncmp(entry->d_name, "vulkan-", 7) == 0)
            snprintf(path, sizeof path, "%s/%s", folder, entry->d_name);
    closedir(dir);
    FILE *file = fopen(path, "r+b");
    cr_assert_not_null(file, "no cache in %s", folder);
    return file;
}

Test(vulkan_faults, a_corrupt_cache_is_ignored_and_replaced)
{
    char home[] = "/tmp/sterna-cache-XXXXXX", folder[64];
    use_lavapipe();
    cr_assert_not_null(mkdtemp(home));
    setenv("XDG_CACHE_HOME", home, 1);
    snprintf(folder, sizeof folder, "%s/sterna", home);
    float expected = norm_of_ones();
    FILE *file = cache_file(folder);
    fseek(file, 0, SEEK_END);
    long bytes = ftell(file);
    cr_assert_gt(bytes, 32); /* our head; this driver has little to add */
    fseek(file, -3, SEEK_END);
    int was = fgetc(file);
    fseek(file, -3, SEEK_END);
    fputc(was ^ 0x55, file);
    fclose(file);
    cr_expect_eq(norm_of_ones(), expected);
    file = cache_file(folder);
    fseek(file, -3, SEEK_END);
    cr_expect_eq(fgetc(file), was, "the corrupt cache was not replaced");
    fclose(file);
}
