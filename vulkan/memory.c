/* Device memory: blocks that buffers are cut from. */
#include "vulkan/device.h"

#include <string.h>

/* Memory of the heap that `type` is in, and how much of it can still be had; what the driver says, if it
 * does. */
static void heap_state(const st_vulkan *v, uint32_t type, uint64_t *total, uint64_t *left)
{
    VkPhysicalDeviceMemoryBudgetPropertiesEXT budget = {
        .sType = VK_STRUCTURE_TYPE_PHYSICAL_DEVICE_MEMORY_BUDGET_PROPERTIES_EXT};
    VkPhysicalDeviceMemoryProperties2 properties = {.sType =
                                                        VK_STRUCTURE_TYPE_PHYSICAL_DEVICE_MEMORY_PROPERTIES_2,
                                                    .pNext = v->limits.has_budget ? &budget : NULL};
    v->driver->GetPhysicalDeviceMemoryProperties2(v->physical, &properties);
    uint32_t heap = v->memory.memoryTypes[type].heapIndex;
    uint64_t used = v->limits.has_budget ? budget.heapUsage[heap] : v->allocated;
    *total = v->limits.has_budget ? budget.heapBudget[heap] : v->memory.memoryHeaps[heap].size;
    *left = used < *total ? *total - used : 0;
}

/* The first type that `bits` allow with all of these properties, or -1. */
static int find_type(const st_vulkan *v, uint32_t bits, VkMemoryPropertyFlags wanted)
{
    for (uint32_t i = 0; i < v->memory.memoryTypeCount; i++)
        if (bits >> i & 1 && (v->memory.memoryTypes[i].propertyFlags & wanted) == wanted)
            return (int)i;
    return -1;
}

static sterna_status refuse(const st_vulkan *v, VkDeviceSize bytes, const char *what, uint32_t type,
                            VkResult result, sterna_error *error)
{
    uint64_t total = 0, left = 0;
    char text[32];
    heap_state(v, type, &total, &left);
    bool memory = result == VK_ERROR_OUT_OF_DEVICE_MEMORY || result == VK_ERROR_OUT_OF_HOST_MEMORY;
    return st_fail(error, memory ? STERNA_E_MEMORY : STERNA_E_DEVICE,
                   "%s: no memory for %s of %llu bytes (%s; %llu of %llu bytes are free)", v->name, what,
                   (unsigned long long)bytes, st_vulkan_result_name(result, text), (unsigned long long)left,
                   (unsigned long long)total);
}

sterna_status st_vulkan_allocate(st_vulkan *v, VkDeviceSize bytes, bool host, const char *what,
                                 VkDeviceMemory *memory, VkBuffer *buffer, sterna_error *error)
{
    if (bytes > v->limits.max_allocation)
        return st_fail(error, STERNA_E_MEMORY, "%s: %s of %llu bytes; one allocation has at most %llu",
                       v->name, what, (unsigned long long)bytes,
                       (unsigned long long)v->limits.max_allocation);
    VkBufferCreateInfo info = {.sType = VK_STRUCTURE_TYPE_BUFFER_CREATE_INFO,
                               .size = bytes,
                               .usage = VK_BUFFER_USAGE_STORAGE_BUFFER_BIT |
                                        VK_BUFFER_USAGE_TRANSFER_SRC_BIT | VK_BUFFER_USAGE_TRANSFER_DST_BIT};
    VkMemoryRequirements need;
    VkResult result = v->vk.CreateBuffer(v->device, &info, NULL, buffer);
    if (result != VK_SUCCESS) {
        *buffer = VK_NULL_HANDLE;
        return refuse(v, bytes, what, 0, result, error);
    }
    v->vk.GetBufferMemoryRequirements(v->device, *buffer, &need);
    int type = find_type(v, need.memoryTypeBits,
                         host ? VK_MEMORY_PROPERTY_HOST_VISIBLE_BIT | VK_MEMORY_PROPERTY_HOST_COHERENT_BIT
                              : VK_MEMORY_PROPERTY_DEVICE_LOCAL_BIT);
    if (type < 0) /* every device has a type for any buffer, and one that is visible and coherent */
        type = find_type(v, need.memoryTypeBits, 0);
    VkMemoryAllocateInfo allocate = {.sType = VK_STRUCTURE_TYPE_MEMORY_ALLOCATE_INFO,
                                     .allocationSize = need.size,
                                     .memoryTypeIndex = (uint32_t)type};
    result = v->vk.AllocateMemory(v->device, &allocate, NULL, memory);
    if (result == VK_SUCCESS) {
        result = v->vk.BindBufferMemory(v->device, *buffer, *memory, 0);
        if (result != VK_SUCCESS)
            v->vk.FreeMemory(v->device, *memory, NULL);
    }
    if (result != VK_SUCCESS) {
        v->vk.DestroyBuffer(v->device, *buffer, NULL);
        *buffer = VK_NULL_HANDLE;
        *memory = VK_NULL_HANDLE;
        return refuse(v, bytes, what, (uint32_t)type, result, error);
    }
    v->allocated += bytes;
    return STERNA_OK;
}

/* ---- blocks ---- */

static void destroy_block(st_vulkan *v, st_vulkan_block *block)
{
    if (block->buffer) {
        v->vk.DestroyBuffer(v->device, block->buffer, NULL);
        v->vk.FreeMemory(v->device, block->memory, NULL);
        v->allocated -= block->bytes;
    }
    while (block->first) {
        st_vulkan_range *next = block->first->next;
        st_free(block->first);
        block->first = next;
    }
    st_free(block);
}

/* Small buffers share a block; one that would fill half of it has its own. */
static st_vulkan_block *add_block(st_vulkan *v, VkDeviceSize bytes, sterna_error *error)
{
    st_vulkan_block *block = st_calloc(1, sizeof *block);
    if (block)
        block->first = st_calloc(1, sizeof *block->first);
    if (!block || !block->first) {
        st_free(block);
        st_fail(error, STERNA_E_MEMORY, "%s: no host memory for a block of %llu bytes", v->name,
                (unsigned long long)bytes);
        return NULL;
    }
    block->bytes = bytes > ST_VULKAN_BLOCK / 2 ? bytes : ST_VULKAN_BLOCK;
    block->first->bytes = block->bytes;
    if (st_vulkan_allocate(v, block->bytes, false, "a buffer", &block->memory, &block->buffer, error) !=
        STERNA_OK) {
        destroy_block(v, block);
        return NULL;
    }
    block->next = v->blocks;
    v->blocks = block;
    return block;
}

/* Takes `bytes` from the first free range that has them. */
static bool take(st_vulkan_block *block, VkDeviceSize bytes, st_vulkan_buf *buf)
{
    for (st_vulkan_range *r = block->first; r; r = r->next) {
        if (r->used || r->bytes < bytes)
            continue;
        if (r->bytes > bytes) {
            st_vulkan_range *rest = st_calloc(1, sizeof *rest);
            if (!rest)
                return false;
            *rest =
                (st_vulkan_range){.offset = r->offset + bytes, .bytes = r->bytes - bytes, .next = r->next};
            r->bytes = bytes;
            r->next = rest;
        }
        r->used = true;
        buf->block = block;
        buf->range = r;
        return true;
    }
    return false;
}

/* Gives a range back and joins it with free neighbours. */
static void give(st_vulkan_block *block, st_vulkan_range *range)
{
    range->used = false;
    for (st_vulkan_range *r = block->first; r; r = r->next)
        while (!r->used && r->next && !r->next->used) {
            st_vulkan_range *next = r->next;
            r->bytes += next->bytes;
            r->next = next->next;
            st_free(next);
        }
}

/* ---- buffers ---- */

sterna_status st_vulkan_buf_create(st_device *dev, size_t bytes, st_buf **buf, sterna_error *error)
{
    st_vulkan *v = st_vulkan_of(dev);
    if (v->failure.status != STERNA_OK) {
        if (error)
            *error = v->failure;
        return v->failure.status;
    }
    st_vulkan_buf *b = st_calloc(1, sizeof *b);
    if (!b)
        return st_fail(error, STERNA_E_MEMORY, "%s: no host memory for a buffer of %zu bytes", v->name,
                       bytes);
    b->base.bytes = bytes;
    VkDeviceSize need = st_align_up(bytes, ST_VULKAN_ALIGN);
    bool taken = false;
    for (st_vulkan_block *block = v->blocks; block && !taken; block = block->next)
        taken = take(block, need, b);
    if (!taken) {
        sterna_error why = {STERNA_E_MEMORY, "no host memory for a range"};
        st_vulkan_block *block = add_block(v, need, &why);
        if (!block || !take(block, need, b)) {
            st_free(b);
            if (error)
                *error = why;
            return why.status;
        }
    }
    *buf = &b->base;
    return STERNA_OK;
}

void st_vulkan_buf_destroy(st_device *dev, st_buf *buf)
{
    st_vulkan *v = st_vulkan_of(dev);
    st_vulkan_buf *b = (st_vulkan_buf *)(void *)buf;
    if (!b)
        return;
    st_vulkan_submit(v, VK_NULL_HANDLE); /* a copy into it may still wait */
    st_vulkan_forget(v);
    give(b->block, b->range);
    if (!b->block->first->used && !b->block->first->next)
        for (st_vulkan_block **at = &v->blocks; *at; at = &(*at)->next)
            if (*at == b->block) {
                *at = b->block->next;
                destroy_block(v, b->block);
                break;
            }
    st_free(b);
}

sterna_status st_vulkan_buf_wrap(st_device *dev, void *native, size_t bytes, st_buf **buf,
                                 sterna_error *error)
{
    (void)native, (void)buf;
    return st_fail(error, STERNA_E_UNSUPPORTED,
                   "%s: a VkBuffer belongs to a VkDevice, and this one is private: %zu bytes of the caller's "
                   "memory cannot be used in place",
                   st_vulkan_of(dev)->name, bytes);
}

void st_vulkan_memory_close(st_vulkan *v)
{
    if (v->nothing)
        st_vulkan_buf_destroy(&v->base, v->nothing);
    assert(!v->blocks);
}
