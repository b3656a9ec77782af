#include "vulkan/driver.h"

#include <dlfcn.h>
#include <pthread.h>
#include <stdio.h>
#include <string.h>

static st_vulkan_driver driver;
static pthread_once_t once = PTHREAD_ONCE_INIT;

const char *st_vulkan_result_name(VkResult result, char text[32])
{
    static const struct {
        VkResult result;
        const char *name;
    } names[] = {{VK_ERROR_OUT_OF_HOST_MEMORY, "VK_ERROR_OUT_OF_HOST_MEMORY"},
                 {VK_ERROR_OUT_OF_DEVICE_MEMORY, "VK_ERROR_OUT_OF_DEVICE_MEMORY"},
                 {VK_ERROR_INITIALIZATION_FAILED, "VK_ERROR_INITIALIZATION_FAILED"},
                 {VK_ERROR_DEVICE_LOST, "VK_ERROR_DEVICE_LOST"},
                 {VK_ERROR_MEMORY_MAP_FAILED, "VK_ERROR_MEMORY_MAP_FAILED"},
                 {VK_ERROR_EXTENSION_NOT_PRESENT, "VK_ERROR_EXTENSION_NOT_PRESENT"},
                 {VK_ERROR_FEATURE_NOT_PRESENT, "VK_ERROR_FEATURE_NOT_PRESENT"},
                 {VK_ERROR_INCOMPATIBLE_DRIVER, "VK_ERROR_INCOMPATIBLE_DRIVER"},
                 {VK_ERROR_TOO_MANY_OBJECTS, "VK_ERROR_TOO_MANY_OBJECTS"},
                 {VK_ERROR_OUT_OF_POOL_MEMORY, "VK_ERROR_OUT_OF_POOL_MEMORY"}};
    for (size_t i = 0; i < sizeof names / sizeof names[0]; i++)
        if (names[i].result == result)
            return names[i].name;
    snprintf(text, 32, "VkResult %d", (int)result);
    return text;
}

bool st_vulkan_has_extension(const st_vulkan_driver *d, VkPhysicalDevice device, const char *name)
{
    uint32_t n = 0;
    if (d->EnumerateDeviceExtensionProperties(device, NULL, &n, NULL) != VK_SUCCESS || n == 0)
        return false;
    VkExtensionProperties *list = st_calloc(n, sizeof *list);
    bool found = false;
    if (list && d->EnumerateDeviceExtensionProperties(device, NULL, &n, list) >= 0)
        for (uint32_t i = 0; i < n && !found; i++)
            found = strcmp(list[i].extensionName, name) == 0;
    st_free(list);
    return found;
}

int st_vulkan_compute_family(const st_vulkan_driver *d, VkPhysicalDevice device, uint32_t *timestamp_bits)
{
    VkQueueFamilyProperties family[16];
    uint32_t n = 16;
    d->GetPhysicalDeviceQueueFamilyProperties(device, &n, family);
    for (uint32_t i = 0; i < n; i++)
        if (family[i].queueFlags & VK_QUEUE_COMPUTE_BIT && family[i].queueCount > 0) {
            *timestamp_bits = family[i].timestampValidBits;
            return (int)i;
        }
    return -1;
}

/* Order of the list: what computes fastest by its kind. */
static int kind_rank(const st_vulkan_driver *d, VkPhysicalDevice device)
{
    VkPhysicalDeviceProperties2 p = {.sType = VK_STRUCTURE_TYPE_PHYSICAL_DEVICE_PROPERTIES_2};
    d->GetPhysicalDeviceProperties2(device, &p);
    switch (p.properties.deviceType) {
    case VK_PHYSICAL_DEVICE_TYPE_DISCRETE_GPU:
        return 0;
    case VK_PHYSICAL_DEVICE_TYPE_INTEGRATED_GPU:
        return 1;
    case VK_PHYSICAL_DEVICE_TYPE_CPU:
        return 3;
    default:
        return 2;
    }
}

/* Keeps devices with Vulkan 1.1 and a queue that computes. */
static void list_devices(st_vulkan_driver *d)
{
    VkPhysicalDevice found[ST_VULKAN_MAX_DEVICE];
    uint32_t n = ST_VULKAN_MAX_DEVICE, timestamp_bits;
    char text[32];
    VkResult result = d->EnumeratePhysicalDevices(d->instance, &n, found);
    if (result < 0 || n == 0) {
        snprintf(d->why_not, sizeof d->why_not, "the Vulkan loader finds no device (%s)",
                 result < 0 ? st_vulkan_result_name(result, text) : "no driver is installed");
        return;
    }
    for (int rank = 0; rank < 4; rank++)
        for (uint32_t i = 0; i < n; i++) {
            VkPhysicalDeviceProperties2 p = {.sType = VK_STRUCTURE_TYPE_PHYSICAL_DEVICE_PROPERTIES_2};
            d->GetPhysicalDeviceProperties2(found[i], &p);
            if (kind_rank(d, found[i]) != rank)
                continue;
            if (p.properties.apiVersion < VK_API_VERSION_1_1)
                snprintf(d->why_not, sizeof d->why_not, "%.80s has Vulkan 1.0; Sterna needs 1.1",
                         p.properties.deviceName);
            else if (st_vulkan_compute_family(d, found[i], &timestamp_bits) < 0)
                snprintf(d->why_not, sizeof d->why_not, "%.80s has no queue that computes",
                         p.properties.deviceName);
            else
                d->device[d->n_device++] = found[i];
        }
}

static void open_driver(void)
{
    st_vulkan_driver *d = &driver;
    char text[32];
    void *library = dlopen("libvulkan.so.1", RTLD_NOW | RTLD_LOCAL);
    if (!library) {
        snprintf(d->why_not, sizeof d->why_not, "no Vulkan loader: libvulkan.so.1 cannot be opened");
        return;
    }
    PFN_vkGetInstanceProcAddr get = NULL;
    void *address = dlsym(library, "vkGetInstanceProcAddr");
    memcpy(&get, &address, sizeof get); /* ISO C has no cast from an object's address to a function's */
    d->GetInstanceProcAddr = get;
    PFN_vkCreateInstance create = get ? (PFN_vkCreateInstance)get(NULL, "vkCreateInstance") : NULL;
    PFN_vkEnumerateInstanceVersion version_of =
        get ? (PFN_vkEnumerateInstanceVersion)get(NULL, "vkEnumerateInstanceVersion") : NULL;
    uint32_t version = VK_API_VERSION_1_0;
    if (!create || !version_of || version_of(&version) != VK_SUCCESS || version < VK_API_VERSION_1_1) {
        snprintf(d->why_not, sizeof d->why_not, "the Vulkan loader is older than Vulkan 1.1");
        return;
    }
    VkApplicationInfo application = {.sType = VK_STRUCTURE_TYPE_APPLICATION_INFO,
                                     .pEngineName = "sterna",
                                     .apiVersion =
                                         version < VK_API_VERSION_1_3 ? version : VK_API_VERSION_1_3};
    VkInstanceCreateInfo info = {.sType = VK_STRUCTURE_TYPE_INSTANCE_CREATE_INFO,
                                 .pApplicationInfo = &application};
    VkResult result = create(&info, NULL, &d->instance);
    if (result != VK_SUCCESS) {
        snprintf(d->why_not, sizeof d->why_not, "vkCreateInstance: %s%s", st_vulkan_result_name(result, text),
                 result == VK_ERROR_INCOMPATIBLE_DRIVER ? " (no driver is installed)" : "");
        return;
    }
#define LOAD(name) d->name = (PFN_vk##name)get(d->instance, "vk" #name);
    ST_VULKAN_INSTANCE_FUNCTIONS(LOAD)
#undef LOAD
    list_devices(d);
}

const st_vulkan_driver *st_vulkan_driver_get(void)
{
    pthread_once(&once, open_driver);
    return &driver;
}

bool st_vulkan_load(const st_vulkan_driver *d, VkDevice device, st_vulkan_functions *functions)
{
    bool complete = true;
#define LOAD(name)                                                                                           \
    functions->name = (PFN_vk##name)d->GetDeviceProcAddr(device, "vk" #name);                                \
    complete = complete && functions->name;
    ST_VULKAN_DEVICE_FUNCTIONS(LOAD)
#undef LOAD
    return complete;
}
