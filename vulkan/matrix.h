/* VK_KHR_cooperative_matrix, which headers before 1.3.255 lack. */
#ifndef ST_VULKAN_MATRIX_H
#define ST_VULKAN_MATRIX_H

#include "vulkan/driver.h"

#define ST_VULKAN_MATRIX_EXTENSION "VK_KHR_cooperative_matrix"

typedef struct st_vulkan_matrix_features {
    VkStructureType type;
    void *next;
    VkBool32 matrix, robust_access;
} st_vulkan_matrix_features;
#define ST_VULKAN_MATRIX_FEATURES ((VkStructureType)1000506000)

/* M, N, K of the largest int8 x int8 -> int32 matrices that linear_coopmat can be made of, if the device has
 * what that shader needs: Vulkan 1.3 with int8 and the memory model. False, and zeros, if not. */
bool st_vulkan_matrix_shape(const st_vulkan_driver *d, VkPhysicalDevice device, uint32_t shape[3]);

#endif
