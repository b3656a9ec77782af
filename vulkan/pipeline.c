/* Pipelines: one for each shader with constants that a step has asked for. */
#include "vulkan/device.h"

#include <string.h>

sterna_status st_vulkan_pipelines_open(st_vulkan *v, sterna_error *error)
{
    VkDescriptorSetLayoutBinding binding[ST_VULKAN_MAX_BINDING];
    for (uint32_t i = 0; i < ST_VULKAN_MAX_BINDING; i++)
        binding[i] = (VkDescriptorSetLayoutBinding){.binding = i,
                                                    .descriptorType = VK_DESCRIPTOR_TYPE_STORAGE_BUFFER,
                                                    .descriptorCount = 1,
                                                    .stageFlags = VK_SHADER_STAGE_COMPUTE_BIT};
    VkDescriptorSetLayoutCreateInfo set = {.sType = VK_STRUCTURE_TYPE_DESCRIPTOR_SET_LAYOUT_CREATE_INFO,
                                           .bindingCount = ST_VULKAN_MAX_BINDING,
                                           .pBindings = binding};
    VkPushConstantRange range = {.stageFlags = VK_SHADER_STAGE_COMPUTE_BIT, .size = ST_VULKAN_MAX_PUSH};
    VkPipelineLayoutCreateInfo layout = {.sType = VK_STRUCTURE_TYPE_PIPELINE_LAYOUT_CREATE_INFO,
                                         .setLayoutCount = 1,
                                         .pSetLayouts = &v->set_layout,
                                         .pushConstantRangeCount = 1,
                                         .pPushConstantRanges = &range};
    if (ST_VULKAN_CALL(v, CreateDescriptorSetLayout, v->device, &set, NULL, &v->set_layout) &&
        ST_VULKAN_CALL(v, CreatePipelineLayout, v->device, &layout, NULL, &v->layout)) {
        st_vulkan_cache_open(v);
        return STERNA_OK;
    }
    if (error)
        *error = v->failure;
    return v->failure.status;
}

void st_vulkan_pipelines_close(st_vulkan *v)
{
    st_vulkan_cache_close(v);
    for (int i = 0; i < v->n_pipeline; i++)
        v->vk.DestroyPipeline(v->device, v->pipeline[i].pipeline, NULL);
    for (int i = 0; i < ST_VULKAN_N_SHADER; i++)
        if (v->module[i])
            v->vk.DestroyShaderModule(v->device, v->module[i], NULL);
    if (v->layout)
        v->vk.DestroyPipelineLayout(v->device, v->layout, NULL);
    if (v->set_layout)
        v->vk.DestroyDescriptorSetLayout(v->device, v->set_layout, NULL);
}

static VkShaderModule module_of(st_vulkan *v, st_vulkan_shader shader)
{
    if (v->module[shader])
        return v->module[shader];
    const st_vulkan_code *code = &st_vulkan_codes[shader];
    size_t count = code->bytes / sizeof(uint32_t);
    uint32_t *words = st_alloc((count + ST_VULKAN_CONTROL_WORDS) * sizeof *words);
    if (!words) {
        st_fail(&v->failure, STERNA_E_MEMORY, "%s: no host memory for shader %s", v->name, code->name);
        return VK_NULL_HANDLE;
    }
    count = st_vulkan_spirv_controls(code->words, count, v->limits.controls, words);
    VkShaderModuleCreateInfo info = {.sType = VK_STRUCTURE_TYPE_SHADER_MODULE_CREATE_INFO,
                                     .codeSize = count * sizeof *words,
                                     .pCode = words};
    ST_VULKAN_CALL(v, CreateShaderModule, v->device, &info, NULL, &v->module[shader]);
    st_free(words);
    return v->module[shader];
}

/* Subgroups are made full and of one size wherever the workgroup consists of such. */
static bool create(st_vulkan *v, st_vulkan_pipeline *p)
{
    VkSpecializationMapEntry entry[ST_VULKAN_MAX_CONSTANT];
    for (uint32_t i = 0; i < p->n_constant; i++)
        entry[i] = (VkSpecializationMapEntry){.constantID = i, .offset = 4 * i, .size = 4};
    VkSpecializationInfo constants = {.mapEntryCount = p->n_constant,
                                      .pMapEntries = entry,
                                      .dataSize = 4 * (size_t)p->n_constant,
                                      .pData = p->constant};
    VkPipelineShaderStageRequiredSubgroupSizeCreateInfoEXT size = {
        .sType = VK_STRUCTURE_TYPE_PIPELINE_SHADER_STAGE_REQUIRED_SUBGROUP_SIZE_CREATE_INFO_EXT,
        .requiredSubgroupSize = v->linear.subgroup};
    bool full = v->linear.subgroup > 0 && p->constant[0] % v->linear.subgroup == 0 &&
                p->constant[0] / v->linear.subgroup <= v->limits.max_subgroups;
    VkComputePipelineCreateInfo info = {
        .sType = VK_STRUCTURE_TYPE_COMPUTE_PIPELINE_CREATE_INFO,
        .stage = {.sType = VK_STRUCTURE_TYPE_PIPELINE_SHADER_STAGE_CREATE_INFO,
                  .pNext = full ? &size : NULL,
                  .flags = full ? VK_PIPELINE_SHADER_STAGE_CREATE_REQUIRE_FULL_SUBGROUPS_BIT_EXT : 0,
                  .stage = VK_SHADER_STAGE_COMPUTE_BIT,
                  .module = module_of(v, p->shader),
                  .pName = "main",
                  .pSpecializationInfo = &constants},
        .layout = v->layout};
    return v->failure.status == STERNA_OK &&
           ST_VULKAN_CALL(v, CreateComputePipelines, v->device, v->cache, 1, &info, NULL, &p->pipeline);
}

VkPipeline st_vulkan_pipeline_get(st_vulkan *v, st_vulkan_shader shader, const uint32_t *constant,
                                  uint32_t n_constant)
{
    assert(n_constant >= 1 && n_constant <= ST_VULKAN_MAX_CONSTANT);
    for (int i = 0; i < v->n_pipeline; i++) {
        const st_vulkan_pipeline *p = &v->pipeline[i];
        if (p->shader == shader && p->n_constant == n_constant &&
            memcmp(p->constant, constant, n_constant * sizeof *constant) == 0)
            return p->pipeline;
    }
    if (v->n_pipeline == ST_VULKAN_MAX_PIPELINE) {
        st_fail(&v->failure, STERNA_E_LIMIT, "%s: more than %d pipelines", v->name, ST_VULKAN_MAX_PIPELINE);
        return VK_NULL_HANDLE;
    }
    st_vulkan_pipeline *p = &v->pipeline[v->n_pipeline];
    *p = (st_vulkan_pipeline){.shader = shader, .n_constant = n_constant};
    memcpy(p->constant, constant, n_constant * sizeof *constant);
    if (!create(v, p))
        return VK_NULL_HANDLE;
    v->n_pipeline++;
    return p->pipeline;
}
