/* Steps. The first one of a key is recorded into a command buffer, which serves all later ones of that key;
 * what changes from step to step stands in buffers. A traced step is recorded each time, between time
 * stamps. */
#include "vulkan/device.h"

#include <string.h>

enum { POOL_SETS = 128 }; /* descriptor sets of a pool; a step has one for each dispatch */

/* ---- recordings ---- */

static void forget_one(st_vulkan *v, st_vulkan_recording *r)
{
    while (r->pools) {
        st_vulkan_pool *next = r->pools->next;
        v->vk.DestroyDescriptorPool(v->device, r->pools->pool, NULL);
        st_free(r->pools);
        r->pools = next;
    }
    if (r->commands)
        v->vk.FreeCommandBuffers(v->device, v->command_pool, 1, &r->commands);
    *r = (st_vulkan_recording){.used = 0};
}

void st_vulkan_forget(st_vulkan *v)
{
    assert(!v->batch);
    for (int i = 0; i < ST_VULKAN_MAX_RECORDING; i++)
        if (v->recording[i].used)
            forget_one(v, &v->recording[i]);
}

/* The recording of this key; else the unused one or the one used longest ago, emptied. */
static st_vulkan_recording *find_recording(st_vulkan *v, const st_batch *batch)
{
    st_vulkan_recording *oldest = &v->recording[0];
    for (int i = 0; i < ST_VULKAN_MAX_RECORDING; i++) {
        st_vulkan_recording *r = &v->recording[i];
        if (r->ready && st_batch_same(&r->key, batch) && !v->trace)
            return r;
        if (r->used < oldest->used)
            oldest = r;
    }
    if (v->trace)
        oldest = &v->recording[0];
    forget_one(v, oldest);
    return oldest;
}

static bool start_recording(st_vulkan *v, st_vulkan_recording *r)
{
    VkCommandBufferAllocateInfo allocate = {.sType = VK_STRUCTURE_TYPE_COMMAND_BUFFER_ALLOCATE_INFO,
                                            .commandPool = v->command_pool,
                                            .commandBufferCount = 1};
    VkCommandBufferBeginInfo begin = {.sType = VK_STRUCTURE_TYPE_COMMAND_BUFFER_BEGIN_INFO};
    v->touched.count = 0;
    if (!ST_VULKAN_CALL(v, AllocateCommandBuffers, v->device, &allocate, &r->commands) ||
        !ST_VULKAN_CALL(v, BeginCommandBuffer, r->commands, &begin))
        return false;
    if (v->queries) {
        v->vk.CmdResetQueryPool(r->commands, v->queries, 0, ST_VULKAN_MAX_TRACE + 1);
        v->vk.CmdWriteTimestamp(r->commands, VK_PIPELINE_STAGE_BOTTOM_OF_PIPE_BIT, v->queries, 0);
    }
    return true;
}

/* ---- begin and end ---- */

bool st_vulkan_begin(st_device *dev, const st_batch *batch)
{
    st_vulkan *v = st_vulkan_of(dev);
    assert(!v->batch);
    v->n_trace = 0;
    v->replaying = false;
    v->n_step++;
    if (v->trace)
        st_batch_rows_read(dev, batch, v->rows);
    if (v->failure.status == STERNA_OK) {
        v->current = find_recording(v, batch);
        v->current->used = v->n_step;
        v->replaying = v->current->ready;
        if (!v->replaying)
            start_recording(v, v->current);
    }
    v->batch = batch;
    return !v->replaying;
}

/* Times of the traced ops, from the time stamps around them. */
static void read_times(st_vulkan *v)
{
    uint64_t stamp[2];
    uint64_t first = 0;
    for (int i = 0; i < v->n_trace; i++) {
        if (!ST_VULKAN_CALL(v, GetQueryPoolResults, v->device, v->queries, (uint32_t)i, 2, sizeof stamp,
                            stamp, sizeof *stamp, VK_QUERY_RESULT_64_BIT | VK_QUERY_RESULT_WAIT_BIT))
            return;
        first = i == 0 ? stamp[0] : first;
        v->trace[i].seconds = (double)((stamp[1] - stamp[0]) & v->limits.tick_mask) * v->limits.tick;
        v->trace[i].start = (double)((stamp[0] - first) & v->limits.tick_mask) * v->limits.tick;
    }
}

/* What the step wrote is read by copies and by the next step. */
static void finish_recording(st_vulkan *v)
{
    VkMemoryBarrier memory = {.sType = VK_STRUCTURE_TYPE_MEMORY_BARRIER,
                              .srcAccessMask = VK_ACCESS_SHADER_WRITE_BIT,
                              .dstAccessMask = VK_ACCESS_SHADER_READ_BIT | VK_ACCESS_SHADER_WRITE_BIT |
                                               VK_ACCESS_TRANSFER_READ_BIT | VK_ACCESS_TRANSFER_WRITE_BIT};
    v->vk.CmdPipelineBarrier(v->current->commands, VK_PIPELINE_STAGE_COMPUTE_SHADER_BIT,
                             VK_PIPELINE_STAGE_COMPUTE_SHADER_BIT | VK_PIPELINE_STAGE_TRANSFER_BIT, 0, 1,
                             &memory, 0, NULL, 0, NULL);
    if (ST_VULKAN_CALL(v, EndCommandBuffer, v->current->commands)) {
        v->current->key = *v->batch;
        v->current->ready = true;
    }
}

sterna_status st_vulkan_end(st_device *dev, sterna_error *error)
{
    st_vulkan *v = st_vulkan_of(dev);
    assert(v->batch);
    if (v->failure.status == STERNA_OK && !v->replaying)
        finish_recording(v);
    v->batch = NULL;
    if (v->failure.status == STERNA_OK && st_vulkan_submit(v, v->current->commands) && v->queries)
        read_times(v);
    if (v->failure.status != STERNA_OK && error)
        *error = v->failure;
    return v->failure.status;
}

/* ---- order ---- */

static st_vulkan_view view_of(const st_vulkan *v, const st_vulkan_binding *b)
{
    const st_buf *buf = b->buf ? b->buf : v->nothing;
    const st_vulkan_buf *inner = (const st_vulkan_buf *)(const void *)buf;
    size_t offset = b->buf ? b->offset : 0, bytes = b->buf && b->bytes ? b->bytes : buf->bytes - offset;
    return (st_vulkan_view){.buffer = inner->block->buffer,
                            .offset = inner->range->offset + offset,
                            .bytes = st_align_up(bytes, 16)}; /* shaders read 16 bytes at once */
}

static bool overlap(const st_vulkan_view *a, const st_vulkan_view *b)
{
    return a->buffer == b->buffer && a->offset < b->offset + b->bytes && b->offset < a->offset + a->bytes;
}

static bool conflicts(const st_vulkan_touched *t, const st_vulkan_view *view, int access)
{
    for (int i = 0; i < t->count; i++)
        if (((t->access[i] | access) & ST_VULKAN_WRITE) && overlap(&t->view[i], view))
            return true;
    return false;
}

void st_vulkan_order(st_vulkan *v, const st_vulkan_binding *binding, int n_binding)
{
    st_vulkan_touched *t = &v->touched;
    if (v->failure.status != STERNA_OK)
        return;
    bool wait = t->count + n_binding > ST_VULKAN_MAX_TOUCHED;
    for (int i = 0; i < n_binding && !wait; i++) {
        st_vulkan_view view = view_of(v, &binding[i]);
        wait = binding[i].buf && binding[i].access && conflicts(t, &view, binding[i].access);
    }
    if (wait) {
        VkMemoryBarrier memory = {.sType = VK_STRUCTURE_TYPE_MEMORY_BARRIER,
                                  .srcAccessMask = VK_ACCESS_SHADER_WRITE_BIT,
                                  .dstAccessMask = VK_ACCESS_SHADER_READ_BIT | VK_ACCESS_SHADER_WRITE_BIT};
        v->vk.CmdPipelineBarrier(v->current->commands, VK_PIPELINE_STAGE_COMPUTE_SHADER_BIT,
                                 VK_PIPELINE_STAGE_COMPUTE_SHADER_BIT, 0, 1, &memory, 0, NULL, 0, NULL);
        t->count = 0;
    }
    for (int i = 0; i < n_binding; i++)
        if (binding[i].buf && binding[i].access) {
            t->view[t->count] = view_of(v, &binding[i]);
            t->access[t->count++] = binding[i].access;
        }
}

/* ---- dispatches ---- */

/* A descriptor set of the current recording; NULL if the device has failed. */
static VkDescriptorSet new_set(st_vulkan *v)
{
    st_vulkan_recording *r = v->current;
    if (!r->pools || r->n_set == POOL_SETS) {
        VkDescriptorPoolSize size = {.type = VK_DESCRIPTOR_TYPE_STORAGE_BUFFER,
                                     .descriptorCount = POOL_SETS * ST_VULKAN_MAX_BINDING};
        VkDescriptorPoolCreateInfo info = {.sType = VK_STRUCTURE_TYPE_DESCRIPTOR_POOL_CREATE_INFO,
                                           .maxSets = POOL_SETS,
                                           .poolSizeCount = 1,
                                           .pPoolSizes = &size};
        st_vulkan_pool *pool = st_calloc(1, sizeof *pool);
        if (!pool) {
            st_fail(&v->failure, STERNA_E_MEMORY, "%s: no host memory for a recording", v->name);
            return VK_NULL_HANDLE;
        }
        if (!ST_VULKAN_CALL(v, CreateDescriptorPool, v->device, &info, NULL, &pool->pool)) {
            st_free(pool);
            return VK_NULL_HANDLE;
        }
        pool->next = r->pools;
        r->pools = pool;
        r->n_set = 0;
    }
    VkDescriptorSet set = VK_NULL_HANDLE;
    VkDescriptorSetAllocateInfo info = {.sType = VK_STRUCTURE_TYPE_DESCRIPTOR_SET_ALLOCATE_INFO,
                                        .descriptorPool = r->pools->pool,
                                        .descriptorSetCount = 1,
                                        .pSetLayouts = &v->set_layout};
    if (!ST_VULKAN_CALL(v, AllocateDescriptorSets, v->device, &info, &set))
        return VK_NULL_HANDLE;
    r->n_set++;
    return set;
}

/* Binds every number: those that the shader does not have to a buffer of nothing. */
static bool bind(st_vulkan *v, const st_vulkan_dispatch *d, const st_vulkan_binding *binding, int n_binding)
{
    VkDescriptorBufferInfo info[ST_VULKAN_MAX_BINDING];
    VkWriteDescriptorSet write[ST_VULKAN_MAX_BINDING];
    VkDescriptorSet set = new_set(v);
    if (!set)
        return false;
    for (int i = 0; i < ST_VULKAN_MAX_BINDING; i++) {
        st_vulkan_binding none = {.buf = NULL};
        st_vulkan_view view = view_of(v, i < n_binding ? &binding[i] : &none);
        if (view.bytes > v->limits.max_range) {
            st_fail(&v->failure, STERNA_E_LIMIT,
                    "%s: %s needs %llu bytes in one piece, and this device binds at most %llu: use a smaller "
                    "batch or context",
                    v->name, st_vulkan_codes[d->shader].name, (unsigned long long)view.bytes,
                    (unsigned long long)v->limits.max_range);
            return false;
        }
        info[i] = (VkDescriptorBufferInfo){view.buffer, view.offset, view.bytes};
        write[i] = (VkWriteDescriptorSet){.sType = VK_STRUCTURE_TYPE_WRITE_DESCRIPTOR_SET,
                                          .dstSet = set,
                                          .dstBinding = (uint32_t)i,
                                          .descriptorCount = 1,
                                          .descriptorType = VK_DESCRIPTOR_TYPE_STORAGE_BUFFER,
                                          .pBufferInfo = &info[i]};
    }
    v->vk.UpdateDescriptorSets(v->device, ST_VULKAN_MAX_BINDING, write, 0, NULL);
    v->vk.CmdBindDescriptorSets(v->current->commands, VK_PIPELINE_BIND_POINT_COMPUTE, v->layout, 0, 1, &set,
                                0, NULL);
    return true;
}

void st_vulkan_enqueue(st_vulkan *v, const st_vulkan_dispatch *d, const st_vulkan_binding *binding,
                       int n_binding)
{
    assert(n_binding <= ST_VULKAN_MAX_BINDING && d->push_bytes <= ST_VULKAN_MAX_PUSH && d->x && d->y);
    if (v->failure.status != STERNA_OK)
        return;
    VkPipeline pipeline = st_vulkan_pipeline_get(v, d->shader, d->constant, d->n_constant);
    if (!pipeline || !bind(v, d, binding, n_binding))
        return;
    VkCommandBuffer commands = v->current->commands;
    v->vk.CmdBindPipeline(commands, VK_PIPELINE_BIND_POINT_COMPUTE, pipeline);
    v->vk.CmdPushConstants(commands, v->layout, VK_SHADER_STAGE_COMPUTE_BIT, 0, d->push_bytes, d->push);
    v->vk.CmdDispatch(commands, d->x, d->y, 1);
}

/* ---- trace ---- */

void st_vulkan_trace_op(st_vulkan *v, st_op op, const char *variant, uint64_t bytes)
{
    if (v->failure.status != STERNA_OK)
        return;
    if (v->n_trace == ST_VULKAN_MAX_TRACE) {
        st_fail(&v->failure, STERNA_E_LIMIT, "%s: a traced step has at most %d ops", v->name,
                ST_VULKAN_MAX_TRACE);
        return;
    }
    v->trace[v->n_trace++] = (st_trace_row){.op = op, .variant = variant, .bytes = bytes};
    if (v->queries)
        v->vk.CmdWriteTimestamp(v->current->commands, VK_PIPELINE_STAGE_BOTTOM_OF_PIPE_BIT, v->queries,
                                (uint32_t)v->n_trace);
}
