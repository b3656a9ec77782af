#include "vulkan/matrix.h"

/* VkCooperativeMatrixPropertiesKHR and its function. */
typedef struct properties {
    VkStructureType type;
    void *next;
    uint32_t m, n, k;
    int32_t a, b, c, result;
    VkBool32 saturates;
    int32_t scope;
} properties;
typedef VkResult(VKAPI_PTR *get_properties)(VkPhysicalDevice, uint32_t *, properties *);
#define PROPERTIES ((VkStructureType)1000506001)

enum { SINT8 = 3, SINT32 = 5, SUBGROUP = 3, MAX_PROPERTIES = 64 };

static bool has_features(const st_vulkan_driver *d, VkPhysicalDevice device)
{
    VkPhysicalDeviceProperties2 p = {.sType = VK_STRUCTURE_TYPE_PHYSICAL_DEVICE_PROPERTIES_2};
    d->GetPhysicalDeviceProperties2(device, &p);
    if (p.properties.apiVersion < VK_API_VERSION_1_3 ||
        !st_vulkan_has_extension(d, device, ST_VULKAN_MATRIX_EXTENSION))
        return false;
    st_vulkan_matrix_features matrix = {.type = ST_VULKAN_MATRIX_FEATURES};
    VkPhysicalDeviceVulkan12Features core = {.sType = VK_STRUCTURE_TYPE_PHYSICAL_DEVICE_VULKAN_1_2_FEATURES,
                                             .pNext = &matrix};
    VkPhysicalDeviceFeatures2 f = {.sType = VK_STRUCTURE_TYPE_PHYSICAL_DEVICE_FEATURES_2, .pNext = &core};
    d->GetPhysicalDeviceFeatures2(device, &f);
    return matrix.matrix && core.shaderInt8 && core.vulkanMemoryModel;
}

/* A subgroup has 32 x 32 results and takes 64 columns at a time. */
static bool fits(const properties *p)
{
    return p->a == SINT8 && p->b == SINT8 && p->c == SINT32 && p->result == SINT32 && !p->saturates &&
           p->scope == SUBGROUP && 32 % p->m == 0 && 32 % p->n == 0 && 64 % p->k == 0;
}

bool st_vulkan_matrix_shape(const st_vulkan_driver *d, VkPhysicalDevice device, uint32_t shape[3])
{
    shape[0] = shape[1] = shape[2] = 0;
    if (!has_features(d, device))
        return false;
    get_properties get = (get_properties)d->GetInstanceProcAddr(
        d->instance, "vkGetPhysicalDeviceCooperativeMatrixPropertiesKHR");
    properties list[MAX_PROPERTIES];
    for (int i = 0; i < MAX_PROPERTIES; i++)
        list[i] = (properties){.type = PROPERTIES};
    uint32_t count = MAX_PROPERTIES;
    if (!get || get(device, &count, list) < 0)
        return false;
    for (uint32_t i = 0; i < count; i++) {
        const properties *p = &list[i];
        if (fits(p) && p->m * p->n * p->k > shape[0] * shape[1] * shape[2]) {
            shape[0] = p->m;
            shape[1] = p->n;
            shape[2] = p->k;
        }
    }
    return shape[0] > 0;
}
