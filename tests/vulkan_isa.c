/* Compiles compute shaders with a Vulkan driver that can show its machine code, and prints what it says: for
 * scripts/vulkan_isa, which runs it on RADV's null devices. No shader runs.
 *
 * Reads lines "NAME FILE.spv NEEDS SUBGROUP VALUE ...": NEEDS is "-" or the name of a device extension
 * without which the line is skipped, SUBGROUP the size to require (0 = the driver's choice), and VALUE number
 * i the specialisation constant i. For each it prints "pipeline NAME", the driver's statistics as
 * "stat VALUE NAME" and the code as "code" ... "end"; or "skipped NAME (reason)". */
#include "vulkan/spirv.h"

#define VK_NO_PROTOTYPES
#include <dlfcn.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <vulkan/vulkan.h>

#define COOPERATIVE_MATRIX "VK_KHR_cooperative_matrix"
enum { MAX_CONSTANT = 16, N_BINDING = 16, PUSH_BYTES = 128, MAX_EXTENSION = 512 };

/* The headers of 2023 lack it. */
typedef struct cooperative_matrix_features {
    VkStructureType type;
    void *next;
    VkBool32 matrix, robust_access;
} cooperative_matrix_features;

#define FUNCTIONS(X)                                                                                         \
    X(CreateInstance)                                                                                        \
    X(EnumeratePhysicalDevices)                                                                              \
    X(GetPhysicalDeviceProperties2)                                                                          \
    X(EnumerateDeviceExtensionProperties)                                                                    \
    X(CreateDevice)                                                                                          \
    X(CreateDescriptorSetLayout)                                                                             \
    X(CreatePipelineLayout)                                                                                  \
    X(CreateShaderModule)                                                                                    \
    X(DestroyShaderModule)                                                                                   \
    X(CreateComputePipelines)                                                                                \
    X(DestroyPipeline)                                                                                       \
    X(GetPipelineExecutableStatisticsKHR)                                                                    \
    X(GetPipelineExecutableInternalRepresentationsKHR)
static struct {
#define DECLARE(name) PFN_vk##name name;
    FUNCTIONS(DECLARE)
#undef DECLARE
} vk;

static VkDevice device;
static VkPipelineLayout layout;
static VkExtensionProperties extensions[MAX_EXTENSION];
static uint32_t n_extension;
static unsigned controls; /* that the device has */

static void fail(const char *what, long code)
{
    fprintf(stderr, "vulkan_isa: %s (%ld)\n", what, code);
    exit(2);
}

static void check(const char *what, VkResult result)
{
    if (result < 0)
        fail(what, result);
}

static bool has_extension(const char *name)
{
    for (uint32_t i = 0; i < n_extension; i++)
        if (!strcmp(extensions[i].extensionName, name))
            return true;
    return false;
}

static void load(PFN_vkGetInstanceProcAddr get, VkInstance instance)
{
#define LOAD(name)                                                                                           \
    if (!vk.name)                                                                                            \
        vk.name = (PFN_vk##name)get(instance, "vk" #name);
    FUNCTIONS(LOAD)
#undef LOAD
}

static VkPhysicalDevice open_instance(void)
{
    void *library = dlopen("libvulkan.so.1", RTLD_NOW | RTLD_LOCAL);
    if (!library)
        fail("no libvulkan.so.1", 0);
    PFN_vkGetInstanceProcAddr get;
    *(void **)&get = dlsym(library, "vkGetInstanceProcAddr");
    load(get, VK_NULL_HANDLE);
    VkApplicationInfo application = {.sType = VK_STRUCTURE_TYPE_APPLICATION_INFO,
                                     .apiVersion = VK_API_VERSION_1_3};
    VkInstanceCreateInfo info = {.sType = VK_STRUCTURE_TYPE_INSTANCE_CREATE_INFO,
                                 .pApplicationInfo = &application};
    VkInstance instance;
    check("no instance", vk.CreateInstance(&info, NULL, &instance));
    load(get, instance);
    VkPhysicalDevice physical;
    uint32_t count = 1;
    check("no device", vk.EnumeratePhysicalDevices(instance, &count, &physical));
    if (count == 0)
        fail("no device", 0);
    n_extension = MAX_EXTENSION;
    check("extensions", vk.EnumerateDeviceExtensionProperties(physical, NULL, &n_extension, extensions));
    VkPhysicalDeviceFloatControlsProperties floats = {
        .sType = VK_STRUCTURE_TYPE_PHYSICAL_DEVICE_FLOAT_CONTROLS_PROPERTIES};
    VkPhysicalDeviceProperties2 properties = {.sType = VK_STRUCTURE_TYPE_PHYSICAL_DEVICE_PROPERTIES_2,
                                              .pNext = &floats};
    vk.GetPhysicalDeviceProperties2(physical, &properties);
    controls = (floats.shaderDenormPreserveFloat32 ? ST_VULKAN_DENORM_PRESERVE : 0) |
               (floats.shaderRoundingModeRTEFloat32 ? ST_VULKAN_ROUND_EVEN : 0) |
               (floats.shaderSignedZeroInfNanPreserveFloat32 ? ST_VULKAN_NAN_PRESERVE : 0);
    printf("device %s\n", properties.properties.deviceName);
    return physical;
}

static void open_device(VkPhysicalDevice physical)
{
    bool matrix = has_extension(COOPERATIVE_MATRIX);
    cooperative_matrix_features matrices = {.type = (VkStructureType)1000506000, .matrix = VK_TRUE};
    VkPhysicalDevicePipelineExecutablePropertiesFeaturesKHR executables = {
        .sType = VK_STRUCTURE_TYPE_PHYSICAL_DEVICE_PIPELINE_EXECUTABLE_PROPERTIES_FEATURES_KHR,
        .pNext = matrix ? &matrices : NULL,
        .pipelineExecutableInfo = VK_TRUE};
    VkPhysicalDeviceVulkan13Features features13 = {.sType =
                                                       VK_STRUCTURE_TYPE_PHYSICAL_DEVICE_VULKAN_1_3_FEATURES,
                                                   .pNext = &executables,
                                                   .shaderIntegerDotProduct = VK_TRUE,
                                                   .subgroupSizeControl = VK_TRUE,
                                                   .computeFullSubgroups = VK_TRUE};
    VkPhysicalDeviceVulkan12Features features12 = {.sType =
                                                       VK_STRUCTURE_TYPE_PHYSICAL_DEVICE_VULKAN_1_2_FEATURES,
                                                   .pNext = &features13,
                                                   .shaderInt8 = VK_TRUE,
                                                   .vulkanMemoryModel = VK_TRUE};
    float priority = 1.0f;
    VkDeviceQueueCreateInfo queue = {
        .sType = VK_STRUCTURE_TYPE_DEVICE_QUEUE_CREATE_INFO, .queueCount = 1, .pQueuePriorities = &priority};
    const char *names[] = {VK_KHR_PIPELINE_EXECUTABLE_PROPERTIES_EXTENSION_NAME, COOPERATIVE_MATRIX};
    VkDeviceCreateInfo info = {.sType = VK_STRUCTURE_TYPE_DEVICE_CREATE_INFO,
                               .pNext = &features12,
                               .queueCreateInfoCount = 1,
                               .pQueueCreateInfos = &queue,
                               .enabledExtensionCount = matrix ? 2 : 1,
                               .ppEnabledExtensionNames = names};
    check("no logical device", vk.CreateDevice(physical, &info, NULL, &device));
    VkDescriptorSetLayoutBinding bindings[N_BINDING];
    for (uint32_t i = 0; i < N_BINDING; i++)
        bindings[i] = (VkDescriptorSetLayoutBinding){.binding = i,
                                                     .descriptorType = VK_DESCRIPTOR_TYPE_STORAGE_BUFFER,
                                                     .descriptorCount = 1,
                                                     .stageFlags = VK_SHADER_STAGE_COMPUTE_BIT};
    VkDescriptorSetLayoutCreateInfo set = {.sType = VK_STRUCTURE_TYPE_DESCRIPTOR_SET_LAYOUT_CREATE_INFO,
                                           .bindingCount = N_BINDING,
                                           .pBindings = bindings};
    VkDescriptorSetLayout set_layout;
    check("set layout", vk.CreateDescriptorSetLayout(device, &set, NULL, &set_layout));
    VkPushConstantRange push = {.stageFlags = VK_SHADER_STAGE_COMPUTE_BIT, .size = PUSH_BYTES};
    VkPipelineLayoutCreateInfo pipeline = {.sType = VK_STRUCTURE_TYPE_PIPELINE_LAYOUT_CREATE_INFO,
                                           .setLayoutCount = 1,
                                           .pSetLayouts = &set_layout,
                                           .pushConstantRangeCount = 1,
                                           .pPushConstantRanges = &push};
    check("pipeline layout", vk.CreatePipelineLayout(device, &pipeline, NULL, &layout));
}

static VkShaderModule read_module(const char *path)
{
    FILE *file = fopen(path, "rb");
    if (!file)
        fail(path, 0);
    static uint32_t words[1 << 18], controlled[(1 << 18) + ST_VULKAN_CONTROL_WORDS];
    size_t count = fread(words, sizeof words[0], sizeof words / sizeof words[0], file);
    fclose(file);
    count = st_vulkan_spirv_controls(words, count, controls, controlled);
    VkShaderModuleCreateInfo info = {.sType = VK_STRUCTURE_TYPE_SHADER_MODULE_CREATE_INFO,
                                     .codeSize = count * sizeof controlled[0],
                                     .pCode = controlled};
    VkShaderModule module;
    check(path, vk.CreateShaderModule(device, &info, NULL, &module));
    return module;
}

static VkPipeline compile(VkShaderModule module, uint32_t subgroup, const uint32_t *constant, uint32_t n)
{
    VkSpecializationMapEntry entries[MAX_CONSTANT];
    for (uint32_t i = 0; i < n; i++)
        entries[i] = (VkSpecializationMapEntry){i, i * (uint32_t)sizeof *constant, sizeof *constant};
    VkSpecializationInfo special = {n, entries, n * sizeof *constant, constant};
    VkPipelineShaderStageRequiredSubgroupSizeCreateInfo required = {
        .sType = VK_STRUCTURE_TYPE_PIPELINE_SHADER_STAGE_REQUIRED_SUBGROUP_SIZE_CREATE_INFO,
        .requiredSubgroupSize = subgroup};
    VkComputePipelineCreateInfo info = {
        .sType = VK_STRUCTURE_TYPE_COMPUTE_PIPELINE_CREATE_INFO,
        .flags = VK_PIPELINE_CREATE_CAPTURE_STATISTICS_BIT_KHR |
                 VK_PIPELINE_CREATE_CAPTURE_INTERNAL_REPRESENTATIONS_BIT_KHR,
        .stage = {.sType = VK_STRUCTURE_TYPE_PIPELINE_SHADER_STAGE_CREATE_INFO,
                  .pNext = subgroup ? &required : NULL,
                  .flags = subgroup ? VK_PIPELINE_SHADER_STAGE_CREATE_REQUIRE_FULL_SUBGROUPS_BIT : 0,
                  .stage = VK_SHADER_STAGE_COMPUTE_BIT,
                  .module = module,
                  .pName = "main",
                  .pSpecializationInfo = &special},
        .layout = layout};
    VkPipeline pipeline;
    check("pipeline", vk.CreateComputePipelines(device, VK_NULL_HANDLE, 1, &info, NULL, &pipeline));
    return pipeline;
}

static void print_statistics(VkPipeline pipeline)
{
    VkPipelineExecutableInfoKHR info = {.sType = VK_STRUCTURE_TYPE_PIPELINE_EXECUTABLE_INFO_KHR,
                                        .pipeline = pipeline};
    VkPipelineExecutableStatisticKHR statistics[64];
    uint32_t count = sizeof statistics / sizeof statistics[0];
    for (uint32_t i = 0; i < count; i++)
        statistics[i] =
            (VkPipelineExecutableStatisticKHR){.sType = VK_STRUCTURE_TYPE_PIPELINE_EXECUTABLE_STATISTIC_KHR};
    check("statistics", vk.GetPipelineExecutableStatisticsKHR(device, &info, &count, statistics));
    for (uint32_t i = 0; i < count; i++)
        printf("stat %llu %s\n", (unsigned long long)statistics[i].value.u64, statistics[i].name);
}

/* The last representation is the machine's. */
static void print_code(VkPipeline pipeline)
{
    VkPipelineExecutableInfoKHR info = {.sType = VK_STRUCTURE_TYPE_PIPELINE_EXECUTABLE_INFO_KHR,
                                        .pipeline = pipeline};
    VkPipelineExecutableInternalRepresentationKHR shown[16];
    uint32_t count = sizeof shown / sizeof shown[0];
    for (uint32_t i = 0; i < count; i++)
        shown[i] = (VkPipelineExecutableInternalRepresentationKHR){
            .sType = VK_STRUCTURE_TYPE_PIPELINE_EXECUTABLE_INTERNAL_REPRESENTATION_KHR};
    check("code", vk.GetPipelineExecutableInternalRepresentationsKHR(device, &info, &count, shown));
    for (uint32_t i = 0; i < count; i++)
        shown[i].pData = malloc(shown[i].dataSize + 1);
    check("code", vk.GetPipelineExecutableInternalRepresentationsKHR(device, &info, &count, shown));
    for (uint32_t i = 0; i < count; i++) {
        if (!strcmp(shown[i].name, "Assembly"))
            printf("code\n%.*s\nend\n", (int)shown[i].dataSize, (const char *)shown[i].pData);
        free(shown[i].pData);
    }
}

int main(void)
{
    open_device(open_instance());
    char line[1024];
    while (fgets(line, sizeof line, stdin)) {
        const char *field[4 + MAX_CONSTANT];
        uint32_t constant[MAX_CONSTANT], n = 0;
        for (char *word = strtok(line, " \n"); word && n < 4 + MAX_CONSTANT; word = strtok(NULL, " \n"))
            field[n++] = word;
        if (n < 4)
            fail("a line needs NAME FILE NEEDS SUBGROUP", n);
        for (uint32_t i = 4; i < n; i++)
            constant[i - 4] = (uint32_t)strtoul(field[i], NULL, 10);
        if (strcmp(field[2], "-") != 0 && !has_extension(field[2])) {
            printf("skipped %s (the driver has no %s)\n", field[0], field[2]);
            continue;
        }
        VkShaderModule module = read_module(field[1]);
        VkPipeline pipeline = compile(module, (uint32_t)strtoul(field[3], NULL, 10), constant, n - 4);
        vk.DestroyShaderModule(device, module, NULL);
        printf("pipeline %s\n", field[0]);
        print_statistics(pipeline);
        print_code(pipeline);
        vk.DestroyPipeline(device, pipeline, NULL);
    }
    return 0;
}
