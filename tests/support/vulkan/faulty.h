/* The real Vulkan loader, seen through dlopen and dlsym that the linker wraps: each function that returns a
 * result can be made to fail, and devices to have less than they have. */
#ifndef TEST_VULKAN_FAULTY_H
#define TEST_VULKAN_FAULTY_H

#define VK_NO_PROTOTYPES
#include <stdbool.h>
#include <vulkan/vulkan.h>

/* Of the process; before the backend's first call. */
extern bool faulty_no_loader, faulty_no_compute;
extern uint32_t faulty_max_range; /* of a storage buffer; 0: what the device has */

/* Functions that can fail. */
extern const char *const faulty_names[]; /* "vkCreateBuffer", ..., NULL */
/* Call number `after` (from 0) of that function returns `result` and does nothing, as do all later ones;
 * NULL: none does. */
void faulty_set(const char *name, int after, VkResult result);
bool faulty_happened(void);

/* Allocations and objects of the device that were created and not destroyed. */
extern long faulty_alive;

#endif
