/* The Vulkan loader, opened at run time, and the machine's devices. */
#ifndef ST_VULKAN_DRIVER_H
#define ST_VULKAN_DRIVER_H

#define VK_NO_PROTOTYPES
#include "host/base/base.h"

#include <vulkan/vulkan.h>

enum { ST_VULKAN_MAX_DEVICE = 16 };

/* X(name): functions of the instance, and of a device. */
#define ST_VULKAN_INSTANCE_FUNCTIONS(X)                                                                      \
    X(EnumeratePhysicalDevices)                                                                              \
    X(GetPhysicalDeviceProperties2)                                                                          \
    X(GetPhysicalDeviceFeatures2)                                                                            \
    X(GetPhysicalDeviceMemoryProperties2)                                                                    \
    X(GetPhysicalDeviceQueueFamilyProperties)                                                                \
    X(EnumerateDeviceExtensionProperties)                                                                    \
    X(CreateDevice)                                                                                          \
    X(GetDeviceProcAddr)

#define ST_VULKAN_DEVICE_FUNCTIONS(X)                                                                        \
    X(DestroyDevice)                                                                                         \
    X(GetDeviceQueue)                                                                                        \
    X(DeviceWaitIdle)                                                                                        \
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
    X(CreatePipelineCache)                                                                                   \
    X(DestroyPipelineCache)                                                                                  \
    X(GetPipelineCacheData)                                                                                  \
    X(CreateComputePipelines)                                                                                \
    X(DestroyPipeline)                                                                                       \
    X(CreateDescriptorPool)                                                                                  \
    X(DestroyDescriptorPool)                                                                                 \
    X(AllocateDescriptorSets)                                                                                \
    X(UpdateDescriptorSets)                                                                                  \
    X(CreateCommandPool)                                                                                     \
    X(DestroyCommandPool)                                                                                    \
    X(AllocateCommandBuffers)                                                                                \
    X(FreeCommandBuffers)                                                                                    \
    X(BeginCommandBuffer)                                                                                    \
    X(EndCommandBuffer)                                                                                      \
    X(CmdBindPipeline)                                                                                       \
    X(CmdBindDescriptorSets)                                                                                 \
    X(CmdPushConstants)                                                                                      \
    X(CmdDispatch)                                                                                           \
    X(CmdPipelineBarrier)                                                                                    \
    X(CmdCopyBuffer)                                                                                         \
    X(CmdFillBuffer)                                                                                         \
    X(CmdResetQueryPool)                                                                                     \
    X(CmdWriteTimestamp)                                                                                     \
    X(CreateQueryPool)                                                                                       \
    X(DestroyQueryPool)                                                                                      \
    X(GetQueryPoolResults)                                                                                   \
    X(CreateFence)                                                                                           \
    X(DestroyFence)                                                                                          \
    X(ResetFences)                                                                                           \
    X(WaitForFences)                                                                                         \
    X(QueueSubmit)

#define ST_VULKAN_POINTER(name) PFN_vk##name name;

typedef struct st_vulkan_functions {
    ST_VULKAN_DEVICE_FUNCTIONS(ST_VULKAN_POINTER)
} st_vulkan_functions;

/* What does not change while the process lives. */
typedef struct st_vulkan_driver {
    VkInstance instance;
    PFN_vkGetInstanceProcAddr GetInstanceProcAddr;
    ST_VULKAN_INSTANCE_FUNCTIONS(ST_VULKAN_POINTER)
    VkPhysicalDevice device[ST_VULKAN_MAX_DEVICE]; /* discrete ones first, software ones last */
    int n_device;
    char why_not[192]; /* if there is none */
} st_vulkan_driver;

/* Opened at the first call, kept until the process ends: drivers that are unloaded and loaded again leak. */
const st_vulkan_driver *st_vulkan_driver_get(void);
bool st_vulkan_load(const st_vulkan_driver *driver, VkDevice device, st_vulkan_functions *functions);
/* Number of the queue family that computes, or -1. */
int st_vulkan_compute_family(const st_vulkan_driver *driver, VkPhysicalDevice device,
                             uint32_t *timestamp_bits);
bool st_vulkan_has_extension(const st_vulkan_driver *driver, VkPhysicalDevice device, const char *name);
/* "VK_ERROR_DEVICE_LOST", or the number written into `text`. */
const char *st_vulkan_result_name(VkResult result, char text[32]);

#endif
