/* Opening a device: what it must have, what it may have, and what is made of it. */
#include "vulkan/device.h"
#include "vulkan/matrix.h"

#include <stdio.h>
#include <string.h>

/* Answers to one round of questions about a physical device. */
typedef struct facts {
    VkPhysicalDeviceProperties2 p;
    VkPhysicalDeviceSubgroupProperties subgroup;
    VkPhysicalDeviceMaintenance3Properties maintenance3;
    VkPhysicalDeviceSubgroupSizeControlPropertiesEXT size;
    VkPhysicalDeviceFloatControlsPropertiesKHR floats;
    VkPhysicalDeviceFeatures2 f;
    VkPhysicalDeviceSubgroupSizeControlFeaturesEXT size_features;
    VkPhysicalDeviceShaderIntegerDotProductFeaturesKHR dot_features;
    bool has_size, has_dot; /* the extension, or Vulkan 1.3 */
    bool has_floats;        /* the extension, or Vulkan 1.2 */
} facts;

static void ask(const st_vulkan_driver *d, VkPhysicalDevice device, facts *f)
{
    *f = (facts){.p = {.sType = VK_STRUCTURE_TYPE_PHYSICAL_DEVICE_PROPERTIES_2}};
    d->GetPhysicalDeviceProperties2(device, &f->p);
    bool new = f->p.properties.apiVersion >= VK_API_VERSION_1_3;
    f->has_size = new || st_vulkan_has_extension(d, device, VK_EXT_SUBGROUP_SIZE_CONTROL_EXTENSION_NAME);
    f->has_dot = new || st_vulkan_has_extension(d, device, VK_KHR_SHADER_INTEGER_DOT_PRODUCT_EXTENSION_NAME);
    f->size.sType = VK_STRUCTURE_TYPE_PHYSICAL_DEVICE_SUBGROUP_SIZE_CONTROL_PROPERTIES_EXT;
    f->maintenance3.sType = VK_STRUCTURE_TYPE_PHYSICAL_DEVICE_MAINTENANCE_3_PROPERTIES;
    f->has_floats = f->p.properties.apiVersion >= VK_API_VERSION_1_2 ||
                    st_vulkan_has_extension(d, device, VK_KHR_SHADER_FLOAT_CONTROLS_EXTENSION_NAME);
    f->floats.sType = VK_STRUCTURE_TYPE_PHYSICAL_DEVICE_FLOAT_CONTROLS_PROPERTIES_KHR;
    f->size.pNext = f->has_floats ? &f->floats : NULL;
    f->maintenance3.pNext = f->has_size ? (void *)&f->size : f->size.pNext;
    f->subgroup.sType = VK_STRUCTURE_TYPE_PHYSICAL_DEVICE_SUBGROUP_PROPERTIES;
    f->subgroup.pNext = &f->maintenance3;
    f->p.pNext = &f->subgroup;
    d->GetPhysicalDeviceProperties2(device, &f->p);
    void **next = &f->f.pNext;
    f->f.sType = VK_STRUCTURE_TYPE_PHYSICAL_DEVICE_FEATURES_2;
    f->size_features.sType = VK_STRUCTURE_TYPE_PHYSICAL_DEVICE_SUBGROUP_SIZE_CONTROL_FEATURES_EXT;
    f->dot_features.sType = VK_STRUCTURE_TYPE_PHYSICAL_DEVICE_SHADER_INTEGER_DOT_PRODUCT_FEATURES_KHR;
    if (f->has_size) {
        *next = &f->size_features;
        next = &f->size_features.pNext;
    }
    if (f->has_dot)
        *next = &f->dot_features;
    d->GetPhysicalDeviceFeatures2(device, &f->f);
}

static unsigned float_controls(const facts *f)
{
    const VkPhysicalDeviceFloatControlsPropertiesKHR *floats = &f->floats;
    return (floats->shaderDenormPreserveFloat32 ? ST_VULKAN_DENORM_PRESERVE : 0) |
           (floats->shaderRoundingModeRTEFloat32 ? ST_VULKAN_ROUND_EVEN : 0) |
           (floats->shaderSignedZeroInfNanPreserveFloat32 ? ST_VULKAN_NAN_PRESERVE : 0);
}

/* Size of subgroups that can be asked for, full, in compute; 0 = none. */
static uint32_t full_subgroup(const facts *f)
{
    uint32_t size = f->subgroup.subgroupSize;
    bool can = f->has_size && f->size_features.subgroupSizeControl && f->size_features.computeFullSubgroups &&
               f->size.requiredSubgroupSizeStages & VK_SHADER_STAGE_COMPUTE_BIT &&
               size >= f->size.minSubgroupSize && size <= f->size.maxSubgroupSize;
    return can && 256 / size <= f->size.maxComputeWorkgroupSubgroups ? size : 0;
}

void st_vulkan_info(int index, sterna_device_info *info)
{
    const st_vulkan_driver *d = st_vulkan_driver_get();
    VkPhysicalDevice device = d->device[index];
    VkPhysicalDeviceMemoryProperties2 memory = {.sType =
                                                    VK_STRUCTURE_TYPE_PHYSICAL_DEVICE_MEMORY_PROPERTIES_2};
    facts f;
    ask(d, device, &f);
    d->GetPhysicalDeviceMemoryProperties2(device, &memory);
    const VkPhysicalDeviceProperties *p = &f.p.properties;
    *info = (sterna_device_info){.available = true, .software = p->deviceType == VK_PHYSICAL_DEVICE_TYPE_CPU};
    snprintf(info->name, sizeof info->name, "vulkan:%d", index);
    snprintf(info->description, sizeof info->description, "%.120s, Vulkan %u.%u.%u", p->deviceName,
             VK_API_VERSION_MAJOR(p->apiVersion), VK_API_VERSION_MINOR(p->apiVersion),
             VK_API_VERSION_PATCH(p->apiVersion));
    snprintf(info->isa, sizeof info->isa, "subgroup%u%s", f.subgroup.subgroupSize,
             f.has_dot && f.dot_features.shaderIntegerDotProduct ? " dot" : "");
    for (uint32_t i = 0; i < memory.memoryProperties.memoryHeapCount; i++)
        if (memory.memoryProperties.memoryHeaps[i].flags & VK_MEMORY_HEAP_DEVICE_LOCAL_BIT &&
            memory.memoryProperties.memoryHeaps[i].size > info->memory_bytes)
            info->memory_bytes = memory.memoryProperties.memoryHeaps[i].size;
}

bool st_vulkan_check(st_vulkan *v, const char *call, VkResult result)
{
    char text[32];
    if (result != VK_SUCCESS && v->failure.status == STERNA_OK) {
        bool memory = result == VK_ERROR_OUT_OF_DEVICE_MEMORY || result == VK_ERROR_OUT_OF_HOST_MEMORY;
        st_fail(&v->failure, memory ? STERNA_E_MEMORY : STERNA_E_DEVICE, "%s: %s: %s", v->name, call,
                st_vulkan_result_name(result, text));
    }
    return v->failure.status == STERNA_OK;
}

void st_vulkan_close(st_device *dev)
{
    st_vulkan *v = st_vulkan_of(dev);
    if (v->device && v->vk.DestroyDevice) {
        if (v->failure.status == STERNA_OK)
            st_vulkan_submit(v, VK_NULL_HANDLE);
        v->vk.DeviceWaitIdle(v->device);
        st_vulkan_forget(v);
        st_vulkan_memory_close(v);
        st_vulkan_staging_close(v);
        st_vulkan_pipelines_close(v);
        if (v->queries)
            v->vk.DestroyQueryPool(v->device, v->queries, NULL);
        if (v->fence)
            v->vk.DestroyFence(v->device, v->fence, NULL);
        if (v->command_pool)
            v->vk.DestroyCommandPool(v->device, v->command_pool, NULL);
        v->vk.DestroyDevice(v->device, NULL);
    }
    st_free(v->rows);
    st_free(v->trace);
    st_free(v);
}

/* What Sterna needs of any device; Vulkan itself promises less of some of it. */
static sterna_status read_limits(st_vulkan *v, const facts *f, uint32_t timestamp_bits, sterna_error *error)
{
    const VkPhysicalDeviceLimits *l = &f->p.properties.limits;
    if (l->maxPerStageDescriptorStorageBuffers < ST_VULKAN_MAX_BINDING)
        return st_fail(error, STERNA_E_UNSUPPORTED, "%s: %u storage buffers a shader; Sterna needs %d",
                       v->name, l->maxPerStageDescriptorStorageBuffers, ST_VULKAN_MAX_BINDING);
    v->limits = (st_vulkan_limits){
        .max_range = l->maxStorageBufferRange & ~(uint32_t)(ST_VULKAN_ALIGN - 1),
        .max_allocation = f->maintenance3.maxMemoryAllocationSize,
        .local = l->maxComputeWorkGroupInvocations >= 256 && l->maxComputeWorkGroupSize[0] >= 256 ? 256 : 128,
        .chunk = l->maxComputeSharedMemorySize >= 4 * ST_VULKAN_CHUNK + ST_VULKAN_CHUNK_EXTRA
                     ? ST_VULKAN_CHUNK
                     : ST_VULKAN_SMALL_CHUNK,
        .max_subgroups = f->size.maxComputeWorkgroupSubgroups,
        .tick = timestamp_bits ? (double)l->timestampPeriod * 1e-9 : 0,
        .tick_mask = timestamp_bits < 64 ? (UINT64_C(1) << timestamp_bits) - 1 : UINT64_MAX,
        .controls = float_controls(f),
        .has_budget = st_vulkan_has_extension(v->driver, v->physical, VK_EXT_MEMORY_BUDGET_EXTENSION_NAME)};
    v->linear = (st_vulkan_linear_device){
        .subgroup = full_subgroup(f),
        .max_invocation = (uint32_t)st_min(l->maxComputeWorkGroupInvocations, l->maxComputeWorkGroupSize[0]),
        .dot = f->has_dot && f->dot_features.shaderIntegerDotProduct};
    v->base.max_view = (size_t)v->limits.max_range;
    st_vulkan_matrix_shape(v->driver, v->physical, v->linear.matrix);
    memcpy(v->cache_id, f->p.properties.pipelineCacheUUID, sizeof v->cache_id);
    v->driver_version = f->p.properties.driverVersion;
    return STERNA_OK;
}

static sterna_status failed(const st_vulkan *v, sterna_error *error)
{
    if (error)
        *error = v->failure;
    return v->failure.status;
}

static sterna_status create_device(st_vulkan *v, facts *f, int family, sterna_error *error)
{
    const float priority = 1.0f;
    bool new = f->p.properties.apiVersion >= VK_API_VERSION_1_3;
    const char *extension[5];
    uint32_t n = 0;
    /* On Vulkan 1.3 both are part of it. */
    if (v->linear.subgroup && !new)
        extension[n++] = VK_EXT_SUBGROUP_SIZE_CONTROL_EXTENSION_NAME;
    if (v->linear.dot && !new)
        extension[n++] = VK_KHR_SHADER_INTEGER_DOT_PRODUCT_EXTENSION_NAME;
    if (v->limits.has_budget)
        extension[n++] = VK_EXT_MEMORY_BUDGET_EXTENSION_NAME;
    if (v->limits.controls && f->p.properties.apiVersion < VK_API_VERSION_1_2)
        extension[n++] = VK_KHR_SHADER_FLOAT_CONTROLS_EXTENSION_NAME;
    if (v->linear.matrix[0])
        extension[n++] = ST_VULKAN_MATRIX_EXTENSION;
    st_vulkan_matrix_features matrix = {.type = ST_VULKAN_MATRIX_FEATURES, .matrix = VK_TRUE};
    VkPhysicalDeviceVulkan12Features core = {.sType = VK_STRUCTURE_TYPE_PHYSICAL_DEVICE_VULKAN_1_2_FEATURES,
                                             .pNext = &matrix,
                                             .shaderInt8 = VK_TRUE,
                                             .vulkanMemoryModel = VK_TRUE};
    void *matrices = v->linear.matrix[0] ? &core : NULL;
    VkPhysicalDeviceShaderIntegerDotProductFeaturesKHR dot = {
        .sType = VK_STRUCTURE_TYPE_PHYSICAL_DEVICE_SHADER_INTEGER_DOT_PRODUCT_FEATURES_KHR,
        .pNext = matrices,
        .shaderIntegerDotProduct = VK_TRUE};
    VkPhysicalDeviceSubgroupSizeControlFeaturesEXT size = {
        .sType = VK_STRUCTURE_TYPE_PHYSICAL_DEVICE_SUBGROUP_SIZE_CONTROL_FEATURES_EXT,
        .pNext = v->linear.dot ? &dot : matrices,
        .subgroupSizeControl = VK_TRUE,
        .computeFullSubgroups = VK_TRUE};
    VkDeviceQueueCreateInfo queue = {.sType = VK_STRUCTURE_TYPE_DEVICE_QUEUE_CREATE_INFO,
                                     .queueFamilyIndex = (uint32_t)family,
                                     .queueCount = 1,
                                     .pQueuePriorities = &priority};
    VkDeviceCreateInfo info = {.sType = VK_STRUCTURE_TYPE_DEVICE_CREATE_INFO,
                               .pNext = v->linear.subgroup ? &size : size.pNext,
                               .queueCreateInfoCount = 1,
                               .pQueueCreateInfos = &queue,
                               .enabledExtensionCount = n,
                               .ppEnabledExtensionNames = extension};
    if (!st_vulkan_check(v, "vkCreateDevice", v->driver->CreateDevice(v->physical, &info, NULL, &v->device)))
        return failed(v, error);
    if (!st_vulkan_load(v->driver, v->device, &v->vk))
        return st_fail(error, STERNA_E_DEVICE, "%s: the driver lacks functions of Vulkan 1.1", v->name);
    v->vk.GetDeviceQueue(v->device, (uint32_t)family, 0, &v->queue);
    return STERNA_OK;
}

/* Everything that lives as long as the device. */
static sterna_status start(st_vulkan *v, bool trace, int family, sterna_error *error)
{
    VkCommandPoolCreateInfo pool = {.sType = VK_STRUCTURE_TYPE_COMMAND_POOL_CREATE_INFO,
                                    .flags = VK_COMMAND_POOL_CREATE_RESET_COMMAND_BUFFER_BIT,
                                    .queueFamilyIndex = (uint32_t)family};
    VkFenceCreateInfo fence = {.sType = VK_STRUCTURE_TYPE_FENCE_CREATE_INFO};
    VkQueryPoolCreateInfo queries = {.sType = VK_STRUCTURE_TYPE_QUERY_POOL_CREATE_INFO,
                                     .queryType = VK_QUERY_TYPE_TIMESTAMP,
                                     .queryCount = ST_VULKAN_MAX_TRACE + 1};
    if (!ST_VULKAN_CALL(v, CreateCommandPool, v->device, &pool, NULL, &v->command_pool) ||
        !ST_VULKAN_CALL(v, CreateFence, v->device, &fence, NULL, &v->fence))
        return failed(v, error);
    if (trace && v->limits.tick > 0 &&
        !ST_VULKAN_CALL(v, CreateQueryPool, v->device, &queries, NULL, &v->queries))
        return failed(v, error);
    sterna_status status = st_vulkan_pipelines_open(v, error);
    if (status == STERNA_OK)
        status = st_vulkan_staging_open(v, error);
    if (status == STERNA_OK)
        status = st_vulkan_buf_create(&v->base, ST_VULKAN_ALIGN, &v->nothing, error);
    return status;
}

sterna_status st_vulkan_open(int index, const st_device_params *params, st_device **dev, sterna_error *error)
{
    const st_vulkan_driver *d = st_vulkan_driver_get();
    if (index < 0 || index >= d->n_device)
        return st_fail(error, STERNA_E_DEVICE, "there is no Vulkan device %d (%d found%s%s)", index,
                       d->n_device, d->n_device ? "" : ": ", d->n_device ? "" : d->why_not);
    st_vulkan *v = st_calloc(1, sizeof *v);
    if (!v)
        return st_fail(error, STERNA_E_MEMORY, "no host memory for a Vulkan device");
    v->base.backend = &st_backend_vulkan;
    v->driver = d;
    v->strict = params->strict;
    v->physical = d->device[index];
    snprintf(v->name, sizeof v->name, "vulkan:%d", index);
    VkPhysicalDeviceMemoryProperties2 memory = {.sType =
                                                    VK_STRUCTURE_TYPE_PHYSICAL_DEVICE_MEMORY_PROPERTIES_2};
    d->GetPhysicalDeviceMemoryProperties2(v->physical, &memory);
    v->memory = memory.memoryProperties;
    uint32_t timestamp_bits = 0;
    int family = st_vulkan_compute_family(d, v->physical, &timestamp_bits);
    facts f;
    ask(d, v->physical, &f);
    sterna_status status = STERNA_OK;
    if (params->trace) {
        v->trace = st_calloc(ST_VULKAN_MAX_TRACE, sizeof *v->trace);
        v->rows = st_calloc(1, sizeof *v->rows);
        if (!v->trace || !v->rows)
            status = st_fail(error, STERNA_E_MEMORY, "%s: no host memory for a trace", v->name);
    }
    if (status == STERNA_OK)
        status = read_limits(v, &f, timestamp_bits, error);
    if (status == STERNA_OK)
        status = create_device(v, &f, family, error);
    if (status == STERNA_OK)
        status = start(v, params->trace, family, error);
    if (status != STERNA_OK) {
        st_vulkan_close(&v->base);
        return status;
    }
    *dev = &v->base;
    return STERNA_OK;
}
