/* Copies between host and device, through staging memory. Copies to the device wait there and are submitted
 * with whatever runs next: a step's batch arrays cost no submission of their own. */
#include "vulkan/device.h"

#include <string.h>

sterna_status st_vulkan_staging_open(st_vulkan *v, sterna_error *error)
{
    st_vulkan_staging *s = &v->staging;
    sterna_status status =
        st_vulkan_allocate(v, ST_VULKAN_STAGING, true, "staging memory", &s->memory, &s->buffer, error);
    if (status != STERNA_OK)
        return status;
    void *data = NULL;
    VkCommandBufferAllocateInfo info = {.sType = VK_STRUCTURE_TYPE_COMMAND_BUFFER_ALLOCATE_INFO,
                                        .commandPool = v->command_pool,
                                        .commandBufferCount = 1};
    if (ST_VULKAN_CALL(v, MapMemory, v->device, s->memory, 0, VK_WHOLE_SIZE, 0, &data) &&
        ST_VULKAN_CALL(v, AllocateCommandBuffers, v->device, &info, &s->commands)) {
        s->data = data;
        return STERNA_OK;
    }
    if (error)
        *error = v->failure;
    return v->failure.status;
}

void st_vulkan_staging_close(st_vulkan *v)
{
    if (v->staging.buffer) {
        v->vk.DestroyBuffer(v->device, v->staging.buffer, NULL);
        v->vk.FreeMemory(v->device, v->staging.memory, NULL);
    }
}

static void barrier(st_vulkan *v, VkCommandBuffer commands, VkPipelineStageFlags from,
                    VkAccessFlags from_access, VkPipelineStageFlags to, VkAccessFlags to_access)
{
    VkMemoryBarrier memory = {
        .sType = VK_STRUCTURE_TYPE_MEMORY_BARRIER, .srcAccessMask = from_access, .dstAccessMask = to_access};
    v->vk.CmdPipelineBarrier(commands, from, to, 0, 1, &memory, 0, NULL, 0, NULL);
}

/* The commands that wait, begun if there are none. NULL if the device has failed. */
static VkCommandBuffer collect(st_vulkan *v)
{
    st_vulkan_staging *s = &v->staging;
    VkCommandBufferBeginInfo info = {.sType = VK_STRUCTURE_TYPE_COMMAND_BUFFER_BEGIN_INFO,
                                     .flags = VK_COMMAND_BUFFER_USAGE_ONE_TIME_SUBMIT_BIT};
    if (v->failure.status != STERNA_OK)
        return VK_NULL_HANDLE;
    if (!s->open) {
        if (!ST_VULKAN_CALL(v, BeginCommandBuffer, s->commands, &info))
            return VK_NULL_HANDLE;
        s->open = true;
    }
    /* After steps, and after copies that wait: one of them may have the same destination. */
    barrier(v, s->commands, VK_PIPELINE_STAGE_COMPUTE_SHADER_BIT | VK_PIPELINE_STAGE_TRANSFER_BIT,
            VK_ACCESS_SHADER_WRITE_BIT | VK_ACCESS_TRANSFER_WRITE_BIT, VK_PIPELINE_STAGE_TRANSFER_BIT,
            VK_ACCESS_TRANSFER_READ_BIT | VK_ACCESS_TRANSFER_WRITE_BIT);
    return s->commands;
}

bool st_vulkan_submit(st_vulkan *v, VkCommandBuffer commands)
{
    st_vulkan_staging *s = &v->staging;
    VkCommandBuffer list[2];
    uint32_t n = 0;
    if (s->open) {
        s->open = false;
        s->used = 0;
        barrier(v, s->commands, VK_PIPELINE_STAGE_TRANSFER_BIT, VK_ACCESS_TRANSFER_WRITE_BIT,
                VK_PIPELINE_STAGE_COMPUTE_SHADER_BIT | VK_PIPELINE_STAGE_HOST_BIT,
                VK_ACCESS_SHADER_READ_BIT | VK_ACCESS_SHADER_WRITE_BIT | VK_ACCESS_HOST_READ_BIT);
        if (!ST_VULKAN_CALL(v, EndCommandBuffer, s->commands))
            return false;
        list[n++] = s->commands;
    }
    if (commands)
        list[n++] = commands;
    if (v->failure.status != STERNA_OK || n == 0)
        return v->failure.status == STERNA_OK;
    VkSubmitInfo info = {
        .sType = VK_STRUCTURE_TYPE_SUBMIT_INFO, .commandBufferCount = n, .pCommandBuffers = list};
    if (!ST_VULKAN_CALL(v, ResetFences, v->device, 1, &v->fence) ||
        !ST_VULKAN_CALL(v, QueueSubmit, v->queue, 1, &info, v->fence))
        return false;
    if (ST_VULKAN_CALL(v, WaitForFences, v->device, 1, &v->fence, VK_TRUE, UINT64_MAX))
        return true;
    v->vk.DeviceWaitIdle(
        v->device); /* what was submitted may still run, and its buffers may be destroyed next */
    return false;
}

static void copy(st_vulkan *v, VkCommandBuffer commands, VkBuffer from, VkDeviceSize from_at, VkBuffer to,
                 VkDeviceSize to_at, VkDeviceSize bytes)
{
    VkBufferCopy region = {.srcOffset = from_at, .dstOffset = to_at, .size = bytes};
    v->vk.CmdCopyBuffer(commands, from, to, 1, &region);
}

void st_vulkan_write(st_device *dev, st_buf *buf, size_t offset, const void *src, size_t bytes)
{
    st_vulkan *v = st_vulkan_of(dev);
    st_vulkan_staging *s = &v->staging;
    const st_vulkan_buf *b = (const st_vulkan_buf *)(const void *)buf;
    assert(!v->batch && offset <= buf->bytes && bytes <= buf->bytes - offset);
    for (size_t done = 0; done < bytes;) {
        if (s->used == ST_VULKAN_STAGING)
            st_vulkan_submit(v, VK_NULL_HANDLE);
        VkCommandBuffer commands = collect(v);
        if (!commands)
            return;
        size_t part = (size_t)st_min((int64_t)(bytes - done), (int64_t)(ST_VULKAN_STAGING - s->used));
        memcpy(s->data + s->used, (const unsigned char *)src + done, part);
        copy(v, commands, s->buffer, s->used, b->block->buffer, b->range->offset + offset + done, part);
        s->used = (size_t)st_min((int64_t)st_align_up(s->used + part, 16), ST_VULKAN_STAGING);
        done += part;
    }
}

void st_vulkan_read(st_device *dev, const st_buf *buf, size_t offset, void *dst, size_t bytes)
{
    st_vulkan *v = st_vulkan_of(dev);
    st_vulkan_staging *s = &v->staging;
    const st_vulkan_buf *b = (const st_vulkan_buf *)(const void *)buf;
    assert(!v->batch && offset <= buf->bytes && bytes <= buf->bytes - offset);
    for (size_t done = 0; done < bytes;) {
        if (s->used + st_min((int64_t)(bytes - done), ST_VULKAN_STAGING / 2) > ST_VULKAN_STAGING)
            st_vulkan_submit(v, VK_NULL_HANDLE);
        size_t at = s->used,
               part = (size_t)st_min((int64_t)(bytes - done), (int64_t)(ST_VULKAN_STAGING - at));
        VkCommandBuffer commands = collect(v);
        if (!commands)
            return;
        copy(v, commands, b->block->buffer, b->range->offset + offset + done, s->buffer, at, part);
        if (!st_vulkan_submit(v, VK_NULL_HANDLE))
            return;
        memcpy((unsigned char *)dst + done, s->data + at, part);
        done += part;
    }
}

void st_vulkan_fill(st_device *dev, st_buf *buf, uint32_t word)
{
    st_vulkan *v = st_vulkan_of(dev);
    const st_vulkan_buf *b = (const st_vulkan_buf *)(const void *)buf;
    VkCommandBuffer commands = collect(v);
    assert(!v->batch);
    if (commands) /* ranges are whole words, beyond the buffer's last byte, too */
        v->vk.CmdFillBuffer(commands, b->block->buffer, b->range->offset, st_align_up(buf->bytes, 4), word);
}
