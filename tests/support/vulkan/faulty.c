#include "tests/support/vulkan/faulty.h"

#include <string.h>

bool faulty_no_loader, faulty_no_compute;
uint32_t faulty_max_range;
long faulty_alive;

static const char *fails;
static int calls_left;
static bool happened;
static VkResult failure;

void faulty_set(const char *name, int after, VkResult result)
{
    fails = name;
    calls_left = after;
    failure = result;
    happened = false;
}

bool faulty_happened(void)
{
    return happened;
}

static bool is_now(const char *name)
{
    if (!fails || strcmp(fails, name) != 0)
        return false;
    if (calls_left > 0) {
        calls_left--;
        return false;
    }
    happened = true;
    return true;
}

/* X(function, parameters, arguments, objects that a success adds) */
#define FUNCTIONS(X)                                                                                         \
    X(CreateBuffer, (VkDevice a, const VkBufferCreateInfo *b, const VkAllocationCallbacks *c, VkBuffer *d),  \
      (a, b, c, d), 1)                                                                                       \
    X(AllocateMemory,                                                                                        \
      (VkDevice a, const VkMemoryAllocateInfo *b, const VkAllocationCallbacks *c, VkDeviceMemory *d),        \
      (a, b, c, d), 1)                                                                                       \
    X(BindBufferMemory, (VkDevice a, VkBuffer b, VkDeviceMemory c, VkDeviceSize d), (a, b, c, d), 0)         \
    X(MapMemory,                                                                                             \
      (VkDevice a, VkDeviceMemory b, VkDeviceSize c, VkDeviceSize d, VkMemoryMapFlags e, void **f),          \
      (a, b, c, d, e, f), 0)                                                                                 \
    X(CreateShaderModule,                                                                                    \
      (VkDevice a, const VkShaderModuleCreateInfo *b, const VkAllocationCallbacks *c, VkShaderModule *d),    \
      (a, b, c, d), 1)                                                                                       \
    X(CreateDescriptorSetLayout,                                                                             \
      (VkDevice a, const VkDescriptorSetLayoutCreateInfo *b, const VkAllocationCallbacks *c,                 \
       VkDescriptorSetLayout *d),                                                                            \
      (a, b, c, d), 1)                                                                                       \
    X(CreatePipelineLayout,                                                                                  \
      (VkDevice a, const VkPipelineLayoutCreateInfo *b, const VkAllocationCallbacks *c,                      \
       VkPipelineLayout *d),                                                                                 \
      (a, b, c, d), 1)                                                                                       \
    X(CreatePipelineCache,                                                                                   \
      (VkDevice a, const VkPipelineCacheCreateInfo *b, const VkAllocationCallbacks *c, VkPipelineCache *d),  \
      (a, b, c, d), 1)                                                                                       \
    X(GetPipelineCacheData, (VkDevice a, VkPipelineCache b, size_t * c, void *d), (a, b, c, d), 0)           \
    X(CreateComputePipelines,                                                                                \
      (VkDevice a, VkPipelineCache b, uint32_t c, const VkComputePipelineCreateInfo *d,                      \
       const VkAllocationCallbacks *e, VkPipeline *f),                                                       \
      (a, b, c, d, e, f), 1)                                                                                 \
    X(CreateDescriptorPool,                                                                                  \
      (VkDevice a, const VkDescriptorPoolCreateInfo *b, const VkAllocationCallbacks *c,                      \
       VkDescriptorPool *d),                                                                                 \
      (a, b, c, d), 1)                                                                                       \
    X(AllocateDescriptorSets, (VkDevice a, const VkDescriptorSetAllocateInfo *b, VkDescriptorSet *c),        \
      (a, b, c), 0)                                                                                          \
    X(CreateCommandPool,                                                                                     \
      (VkDevice a, const VkCommandPoolCreateInfo *b, const VkAllocationCallbacks *c, VkCommandPool *d),      \
      (a, b, c, d), 1)                                                                                       \
    X(AllocateCommandBuffers, (VkDevice a, const VkCommandBufferAllocateInfo *b, VkCommandBuffer *c),        \
      (a, b, c), 0)                                                                                          \
    X(BeginCommandBuffer, (VkCommandBuffer a, const VkCommandBufferBeginInfo *b), (a, b), 0)                 \
    X(EndCommandBuffer, (VkCommandBuffer a), (a), 0)                                                         \
    X(CreateQueryPool,                                                                                       \
      (VkDevice a, const VkQueryPoolCreateInfo *b, const VkAllocationCallbacks *c, VkQueryPool *d),          \
      (a, b, c, d), 1)                                                                                       \
    X(GetQueryPoolResults,                                                                                   \
      (VkDevice a, VkQueryPool b, uint32_t c, uint32_t d, size_t e, void *f, VkDeviceSize g,                 \
       VkQueryResultFlags h),                                                                                \
      (a, b, c, d, e, f, g, h), 0)                                                                           \
    X(CreateFence, (VkDevice a, const VkFenceCreateInfo *b, const VkAllocationCallbacks *c, VkFence *d),     \
      (a, b, c, d), 1)                                                                                       \
    X(ResetFences, (VkDevice a, uint32_t b, const VkFence *c), (a, b, c), 0)                                 \
    X(WaitForFences, (VkDevice a, uint32_t b, const VkFence *c, VkBool32 d, uint64_t e), (a, b, c, d, e), 0) \
    X(QueueSubmit, (VkQueue a, uint32_t b, const VkSubmitInfo *c, VkFence d), (a, b, c, d), 0)               \
    X(CreateDevice,                                                                                          \
      (VkPhysicalDevice a, const VkDeviceCreateInfo *b, const VkAllocationCallbacks *c, VkDevice *d),        \
      (a, b, c, d), 1)

#define WRAPPER(name, parameters, arguments, adds)                                                           \
    static PFN_vk##name real_##name;                                                                         \
    static VkResult VKAPI_CALL faulty_##name parameters                                                      \
    {                                                                                                        \
        if (is_now("vk" #name))                                                                              \
            return failure;                                                                                  \
        VkResult result = real_##name arguments;                                                             \
        faulty_alive += result == VK_SUCCESS ? adds : 0;                                                     \
        return result;                                                                                       \
    }
FUNCTIONS(WRAPPER)

/* X(function, handle): what takes objects away. */
#define DESTROYERS(X)                                                                                        \
    X(DestroyBuffer, VkBuffer)                                                                               \
    X(FreeMemory, VkDeviceMemory)                                                                            \
    X(DestroyShaderModule, VkShaderModule)                                                                   \
    X(DestroyDescriptorSetLayout, VkDescriptorSetLayout)                                                     \
    X(DestroyPipelineLayout, VkPipelineLayout)                                                               \
    X(DestroyPipelineCache, VkPipelineCache)                                                                 \
    X(DestroyPipeline, VkPipeline)                                                                           \
    X(DestroyDescriptorPool, VkDescriptorPool)                                                               \
    X(DestroyCommandPool, VkCommandPool)                                                                     \
    X(DestroyQueryPool, VkQueryPool)                                                                         \
    X(DestroyFence, VkFence)

#define DESTROYER(name, handle)                                                                              \
    static PFN_vk##name real_##name;                                                                         \
    static void VKAPI_CALL faulty_##name(VkDevice device, handle object, const VkAllocationCallbacks *c)     \
    {                                                                                                        \
        faulty_alive -= object != VK_NULL_HANDLE;                                                            \
        real_##name(device, object, c);                                                                      \
    }
DESTROYERS(DESTROYER)

static PFN_vkDestroyDevice real_DestroyDevice;
static void VKAPI_CALL faulty_DestroyDevice(VkDevice device, const VkAllocationCallbacks *c)
{
    faulty_alive -= device != VK_NULL_HANDLE;
    real_DestroyDevice(device, c);
}

const char *const faulty_names[] = {
#define NAME(name, parameters, arguments, adds) "vk" #name,
    FUNCTIONS(NAME)
#undef NAME
        NULL};

/* The wrapper of a function whose real one is `real`, or that one. */
static PFN_vkVoidFunction wrapped(const char *name, PFN_vkVoidFunction real)
{
#define WRAP(symbol)                                                                                         \
    if (strcmp(name, "vk" #symbol) == 0) {                                                                   \
        real_##symbol = (PFN_vk##symbol)real;                                                                \
        return (PFN_vkVoidFunction)faulty_##symbol;                                                          \
    }
#define WRAP_FUNCTION(symbol, parameters, arguments, adds) WRAP(symbol)
#define WRAP_DESTROYER(symbol, handle)                     WRAP(symbol)
    FUNCTIONS(WRAP_FUNCTION)
    DESTROYERS(WRAP_DESTROYER)
    WRAP(DestroyDevice)
    return real;
}

static PFN_vkGetDeviceProcAddr real_GetDeviceProcAddr;
static PFN_vkVoidFunction VKAPI_CALL faulty_GetDeviceProcAddr(VkDevice device, const char *name)
{
    return wrapped(name, real_GetDeviceProcAddr(device, name));
}

static PFN_vkGetPhysicalDeviceProperties2 real_GetPhysicalDeviceProperties2;
static void VKAPI_CALL faulty_GetPhysicalDeviceProperties2(VkPhysicalDevice device,
                                                           VkPhysicalDeviceProperties2 *p)
{
    real_GetPhysicalDeviceProperties2(device, p);
    if (faulty_max_range)
        p->properties.limits.maxStorageBufferRange = faulty_max_range;
}

static PFN_vkGetPhysicalDeviceQueueFamilyProperties real_GetPhysicalDeviceQueueFamilyProperties;
static void VKAPI_CALL faulty_GetPhysicalDeviceQueueFamilyProperties(VkPhysicalDevice device, uint32_t *count,
                                                                     VkQueueFamilyProperties *family)
{
    real_GetPhysicalDeviceQueueFamilyProperties(device, count, family);
    for (uint32_t i = 0; family && faulty_no_compute && i < *count; i++)
        family[i].queueFlags &= ~(VkQueueFlags)VK_QUEUE_COMPUTE_BIT;
}

static PFN_vkGetInstanceProcAddr real_instance;
static PFN_vkVoidFunction VKAPI_CALL instance_function(VkInstance instance, const char *name)
{
    PFN_vkVoidFunction real = real_instance(instance, name);
    WRAP(GetDeviceProcAddr)
    WRAP(GetPhysicalDeviceProperties2)
    WRAP(GetPhysicalDeviceQueueFamilyProperties)
    return strcmp(name, "vkCreateDevice") == 0 ? wrapped(name, real) : real;
}

/* ---- what the linker puts in the place of dlopen and dlsym ---- */

void *__real_dlopen(const char *path, int flags);
void *__wrap_dlopen(const char *path, int flags);
void *__real_dlsym(void *library, const char *name);
void *__wrap_dlsym(void *library, const char *name);

void *__wrap_dlopen(const char *path, int flags)
{
    return faulty_no_loader && path && strstr(path, "libvulkan") ? NULL : __real_dlopen(path, flags);
}

void *__wrap_dlsym(void *library, const char *name)
{
    void *real = __real_dlsym(library, name);
    if (strcmp(name, "vkGetInstanceProcAddr") != 0)
        return real;
    real_instance = (PFN_vkGetInstanceProcAddr)real;
    return (void *)instance_function;
}
