#include "tests/support/vulkan/runner.h"
#include "vulkan/spirv.h"

#define VK_NO_PROTOTYPES
#include <dlfcn.h>
#include <stdio.h>
#include <stdlib.h>
#include <vulkan/vulkan.h>

#define FUNCTIONS(X)                                                                                         \
    X(CreateInstance)                                                                                        \
    X(DestroyInstance)                                                                                       \
    X(EnumeratePhysicalDevices)                                                                              \
    X(GetPhysicalDeviceProperties2)                                                                          \
    X(GetPhysicalDeviceMemoryProperties)                                                                     \
    X(CreateDevice)                                                                                          \
    X(DestroyDevice)                                                                                         \
    X(GetDeviceQueue)                                                                                        \
    X(CreateBuffer)                                                                                          \
    X(DestroyBuffer)                                                                                         \
    X(GetBufferMemoryRequirements)                                                                           \
    X(AllocateMemory)                                                                                        \
    X(FreeMemory)                                                                                            \
    X(BindBufferMemory)                                                                                      \
    X(MapMemory)                                                                                             \
    X(CreateShaderModule)                                                                                    \
    X(DestroyShaderModule)                                                                                   \
    X(CreateDescriptorSetLayout)                                                                             \
    X(DestroyDescriptorSetLayout)                                                                            \
    X(CreatePipelineLayout)                                                                                  \
    X(DestroyPipelineLayout)                                                                                 \
    X(CreateComputePipelines)                                                                                \
    X(DestroyPipeline)                                                                                       \
    X(CreateDescriptorPool)                                                                                  \
    X(DestroyDescriptorPool)                                                                                 \
    X(AllocateDescriptorSets)                                                                                \
    X(UpdateDescriptorSets)                                                                                  \
    X(CreateCommandPool)                                                                                     \
    X(DestroyCommandPool)                                                                                    \
    X(AllocateCommandBuffers)                                                                                \
    X(BeginCommandBuffer)                                                                                    \
    X(EndCommandBuffer)                                                                                      \
    X(CmdBindPipeline)                                                                                       \
    X(CmdBindDescriptorSets)                                                                                 \
    X(CmdPushConstants)                                                                                      \
    X(CmdDispatch)                                                                                           \
    X(QueueSubmit)                                                                                           \
    X(QueueWaitIdle)
static struct {
#define DECLARE(name) PFN_vk##name name;
    FUNCTIONS(DECLARE)
#undef DECLARE
} vk;

struct runner {
    VkInstance instance;
    VkPhysicalDevice physical;
    VkDevice device;
    VkQueue queue;
    VkBuffer buffer[RUNNER_BUFFERS];
    VkDeviceMemory memory[RUNNER_BUFFERS];
    void *mapped[RUNNER_BUFFERS];
    VkDescriptorSetLayout set_layout;
    VkPipelineLayout layout;
    VkPipeline pipeline;
    VkDescriptorPool pool;
    VkDescriptorSet set;
    VkCommandPool commands;
};

static void check(const char *what, VkResult result)
{
    if (result < 0) {
        fprintf(stderr, "%s: Vulkan error %d\n", what, result);
        abort();
    }
}

static void load(PFN_vkGetInstanceProcAddr get, VkInstance instance)
{
#define LOAD(name)                                                                                           \
    if (!vk.name)                                                                                            \
        vk.name = (PFN_vk##name)get(instance, "vk" #name);
    FUNCTIONS(LOAD)
#undef LOAD
}

static bool open_instance(runner *r, const char **why)
{
    void *library = dlopen("libvulkan.so.1", RTLD_NOW | RTLD_LOCAL);
    if (!library) {
        *why = "there is no libvulkan.so.1";
        return false;
    }
    PFN_vkGetInstanceProcAddr get;
    *(void **)&get = dlsym(library, "vkGetInstanceProcAddr");
    load(get, VK_NULL_HANDLE);
    VkApplicationInfo application = {.sType = VK_STRUCTURE_TYPE_APPLICATION_INFO,
                                     .apiVersion = VK_API_VERSION_1_2};
    VkInstanceCreateInfo info = {.sType = VK_STRUCTURE_TYPE_INSTANCE_CREATE_INFO,
                                 .pApplicationInfo = &application};
    uint32_t count = 1;
    *why = "the Vulkan loader has no device";
    if (vk.CreateInstance(&info, NULL, &r->instance))
        return false;
    load(get, r->instance);
    return vk.EnumeratePhysicalDevices(r->instance, &count, &r->physical) >= 0 && count > 0;
}

static void open_device(runner *r)
{
    float priority = 1.0f;
    VkDeviceQueueCreateInfo queue = {
        .sType = VK_STRUCTURE_TYPE_DEVICE_QUEUE_CREATE_INFO, .queueCount = 1, .pQueuePriorities = &priority};
    VkDeviceCreateInfo info = {.sType = VK_STRUCTURE_TYPE_DEVICE_CREATE_INFO,
                               .queueCreateInfoCount = 1,
                               .pQueueCreateInfos = &queue};
    check("device", vk.CreateDevice(r->physical, &info, NULL, &r->device));
    vk.GetDeviceQueue(r->device, 0, 0, &r->queue);
    VkCommandPoolCreateInfo pool = {.sType = VK_STRUCTURE_TYPE_COMMAND_POOL_CREATE_INFO};
    check("command pool", vk.CreateCommandPool(r->device, &pool, NULL, &r->commands));
}

static void open_buffer(runner *r, int i, size_t bytes)
{
    VkBufferCreateInfo info = {.sType = VK_STRUCTURE_TYPE_BUFFER_CREATE_INFO,
                               .size = bytes,
                               .usage = VK_BUFFER_USAGE_STORAGE_BUFFER_BIT};
    check("buffer", vk.CreateBuffer(r->device, &info, NULL, &r->buffer[i]));
    VkMemoryRequirements needs;
    vk.GetBufferMemoryRequirements(r->device, r->buffer[i], &needs);
    VkPhysicalDeviceMemoryProperties memory;
    vk.GetPhysicalDeviceMemoryProperties(r->physical, &memory);
    const VkMemoryPropertyFlags host =
        VK_MEMORY_PROPERTY_HOST_VISIBLE_BIT | VK_MEMORY_PROPERTY_HOST_COHERENT_BIT;
    uint32_t type = 0;
    while ((memory.memoryTypes[type].propertyFlags & host) != host || !(needs.memoryTypeBits >> type & 1))
        type++; /* the specification promises one */
    VkMemoryAllocateInfo allocate = {.sType = VK_STRUCTURE_TYPE_MEMORY_ALLOCATE_INFO,
                                     .allocationSize = needs.size,
                                     .memoryTypeIndex = type};
    check("memory", vk.AllocateMemory(r->device, &allocate, NULL, &r->memory[i]));
    check("bind", vk.BindBufferMemory(r->device, r->buffer[i], r->memory[i], 0));
    check("map", vk.MapMemory(r->device, r->memory[i], 0, VK_WHOLE_SIZE, 0, &r->mapped[i]));
}

/* The module as the backend would give it to the device. */
static VkShaderModule open_shader(const runner *r, const uint32_t *words, size_t word_count)
{
    VkPhysicalDeviceFloatControlsProperties floats = {
        .sType = VK_STRUCTURE_TYPE_PHYSICAL_DEVICE_FLOAT_CONTROLS_PROPERTIES};
    VkPhysicalDeviceProperties2 properties = {.sType = VK_STRUCTURE_TYPE_PHYSICAL_DEVICE_PROPERTIES_2,
                                              .pNext = &floats};
    vk.GetPhysicalDeviceProperties2(r->physical, &properties);
    unsigned controls = (floats.shaderDenormPreserveFloat32 ? ST_VULKAN_DENORM_PRESERVE : 0) |
                        (floats.shaderRoundingModeRTEFloat32 ? ST_VULKAN_ROUND_EVEN : 0) |
                        (floats.shaderSignedZeroInfNanPreserveFloat32 ? ST_VULKAN_NAN_PRESERVE : 0);
    uint32_t *controlled = malloc((word_count + ST_VULKAN_CONTROL_WORDS) * sizeof *words);
    if (!controlled)
        abort();
    VkShaderModuleCreateInfo info = {
        .sType = VK_STRUCTURE_TYPE_SHADER_MODULE_CREATE_INFO,
        .codeSize = st_vulkan_spirv_controls(words, word_count, controls, controlled) * sizeof *words,
        .pCode = controlled};
    VkShaderModule module;
    check("shader", vk.CreateShaderModule(r->device, &info, NULL, &module));
    free(controlled);
    return module;
}

static void open_pipeline(runner *r, const uint32_t *words, size_t word_count)
{
    VkShaderModule module = open_shader(r, words, word_count);
    VkDescriptorSetLayoutBinding bindings[RUNNER_BUFFERS];
    for (uint32_t i = 0; i < RUNNER_BUFFERS; i++)
        bindings[i] = (VkDescriptorSetLayoutBinding){.binding = i,
                                                     .descriptorType = VK_DESCRIPTOR_TYPE_STORAGE_BUFFER,
                                                     .descriptorCount = 1,
                                                     .stageFlags = VK_SHADER_STAGE_COMPUTE_BIT};
    VkDescriptorSetLayoutCreateInfo set = {.sType = VK_STRUCTURE_TYPE_DESCRIPTOR_SET_LAYOUT_CREATE_INFO,
                                           .bindingCount = RUNNER_BUFFERS,
                                           .pBindings = bindings};
    check("set layout", vk.CreateDescriptorSetLayout(r->device, &set, NULL, &r->set_layout));
    VkPushConstantRange push = {.stageFlags = VK_SHADER_STAGE_COMPUTE_BIT, .size = 2 * sizeof(uint32_t)};
    VkPipelineLayoutCreateInfo layout = {.sType = VK_STRUCTURE_TYPE_PIPELINE_LAYOUT_CREATE_INFO,
                                         .setLayoutCount = 1,
                                         .pSetLayouts = &r->set_layout,
                                         .pushConstantRangeCount = 1,
                                         .pPushConstantRanges = &push};
    check("pipeline layout", vk.CreatePipelineLayout(r->device, &layout, NULL, &r->layout));
    VkComputePipelineCreateInfo info = {
        .sType = VK_STRUCTURE_TYPE_COMPUTE_PIPELINE_CREATE_INFO,
        .stage = {.sType = VK_STRUCTURE_TYPE_PIPELINE_SHADER_STAGE_CREATE_INFO,
                  .stage = VK_SHADER_STAGE_COMPUTE_BIT,
                  .module = module,
                  .pName = "main"},
        .layout = r->layout};
    check("pipeline", vk.CreateComputePipelines(r->device, VK_NULL_HANDLE, 1, &info, NULL, &r->pipeline));
    vk.DestroyShaderModule(r->device, module, NULL);
}

static void open_set(runner *r)
{
    VkDescriptorPoolSize size = {VK_DESCRIPTOR_TYPE_STORAGE_BUFFER, RUNNER_BUFFERS};
    VkDescriptorPoolCreateInfo pool = {.sType = VK_STRUCTURE_TYPE_DESCRIPTOR_POOL_CREATE_INFO,
                                       .maxSets = 1,
                                       .poolSizeCount = 1,
                                       .pPoolSizes = &size};
    check("descriptor pool", vk.CreateDescriptorPool(r->device, &pool, NULL, &r->pool));
    VkDescriptorSetAllocateInfo allocate = {.sType = VK_STRUCTURE_TYPE_DESCRIPTOR_SET_ALLOCATE_INFO,
                                            .descriptorPool = r->pool,
                                            .descriptorSetCount = 1,
                                            .pSetLayouts = &r->set_layout};
    check("set", vk.AllocateDescriptorSets(r->device, &allocate, &r->set));
    VkDescriptorBufferInfo buffers[RUNNER_BUFFERS];
    for (int i = 0; i < RUNNER_BUFFERS; i++)
        buffers[i] = (VkDescriptorBufferInfo){r->buffer[i], 0, VK_WHOLE_SIZE};
    VkWriteDescriptorSet write = {.sType = VK_STRUCTURE_TYPE_WRITE_DESCRIPTOR_SET,
                                  .dstSet = r->set,
                                  .descriptorCount = RUNNER_BUFFERS,
                                  .descriptorType = VK_DESCRIPTOR_TYPE_STORAGE_BUFFER,
                                  .pBufferInfo = buffers};
    vk.UpdateDescriptorSets(r->device, 1, &write, 0, NULL);
}

runner *runner_open(const uint32_t *words, size_t word_count, size_t bytes, const char **why)
{
    runner *r = calloc(1, sizeof *r);
    if (!r || !open_instance(r, why)) {
        free(r);
        return NULL;
    }
    open_device(r);
    for (int i = 0; i < RUNNER_BUFFERS; i++)
        open_buffer(r, i, bytes);
    open_pipeline(r, words, word_count);
    open_set(r);
    return r;
}

uint32_t *runner_buffer(const runner *r, int binding)
{
    return r->mapped[binding];
}

void runner_run(runner *r, const uint32_t push[2], uint32_t groups)
{
    VkCommandBufferAllocateInfo allocate = {.sType = VK_STRUCTURE_TYPE_COMMAND_BUFFER_ALLOCATE_INFO,
                                            .commandPool = r->commands,
                                            .commandBufferCount = 1};
    VkCommandBuffer command; /* the pool frees it */
    check("command buffer", vk.AllocateCommandBuffers(r->device, &allocate, &command));
    VkCommandBufferBeginInfo begin = {.sType = VK_STRUCTURE_TYPE_COMMAND_BUFFER_BEGIN_INFO};
    check("begin", vk.BeginCommandBuffer(command, &begin));
    vk.CmdBindPipeline(command, VK_PIPELINE_BIND_POINT_COMPUTE, r->pipeline);
    vk.CmdBindDescriptorSets(command, VK_PIPELINE_BIND_POINT_COMPUTE, r->layout, 0, 1, &r->set, 0, NULL);
    vk.CmdPushConstants(command, r->layout, VK_SHADER_STAGE_COMPUTE_BIT, 0, 2 * sizeof *push, push);
    vk.CmdDispatch(command, groups, 1, 1);
    check("end", vk.EndCommandBuffer(command));
    VkSubmitInfo submit = {
        .sType = VK_STRUCTURE_TYPE_SUBMIT_INFO, .commandBufferCount = 1, .pCommandBuffers = &command};
    check("submit", vk.QueueSubmit(r->queue, 1, &submit, VK_NULL_HANDLE));
    check("wait", vk.QueueWaitIdle(r->queue));
}

void runner_close(runner *r)
{
    vk.DestroyDescriptorPool(r->device, r->pool, NULL);
    vk.DestroyPipeline(r->device, r->pipeline, NULL);
    vk.DestroyPipelineLayout(r->device, r->layout, NULL);
    vk.DestroyDescriptorSetLayout(r->device, r->set_layout, NULL);
    for (int i = 0; i < RUNNER_BUFFERS; i++) {
        vk.DestroyBuffer(r->device, r->buffer[i], NULL);
        vk.FreeMemory(r->device, r->memory[i], NULL);
    }
    vk.DestroyCommandPool(r->device, r->commands, NULL);
    vk.DestroyDevice(r->device, NULL);
    vk.DestroyInstance(r->instance, NULL);
    free(r);
}
