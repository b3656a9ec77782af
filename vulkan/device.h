/* The Vulkan backend's device, private to this folder. */
#ifndef ST_VULKAN_DEVICE_H
#define ST_VULKAN_DEVICE_H

#include "host/backend/backend.h"
#include "vulkan/driver.h"
#include "vulkan/linear.h"
#include "vulkan/shaders.h"
#include "vulkan/spirv.h"

enum {
    ST_VULKAN_ALIGN = 256,                       /* of every buffer: the largest that devices may ask for */
    ST_VULKAN_STAGING = 4 << 20,                 /* bytes of host-visible memory through which copies go */
    ST_VULKAN_BLOCK = 32 << 20,                  /* bytes of device memory that small buffers share */
    ST_VULKAN_MAX_RECORDING = 64,                /* the one that was unused for longest is forgotten */
    ST_VULKAN_MAX_PIPELINE = 256,                /* shaders with constants */
    ST_VULKAN_MAX_VARIANT = 8,                   /* of one op */
    ST_VULKAN_MAX_TRACE = 16 * ST_MAX_LAYER + 64 /* ops of a traced step; a layer has a dozen */
};

/* ---- memory: blocks of device memory, each under one VkBuffer, cut into ranges ---- */

typedef struct st_vulkan_range {
    VkDeviceSize offset, bytes;
    bool used;
    struct st_vulkan_range *next; /* in the order of offsets */
} st_vulkan_range;

typedef struct st_vulkan_block {
    VkDeviceMemory memory;
    VkBuffer buffer;
    VkDeviceSize bytes;
    st_vulkan_range *first;
    struct st_vulkan_block *next;
} st_vulkan_block;

typedef struct st_vulkan_buf {
    st_buf base;
    st_vulkan_block *block;
    st_vulkan_range *range;
} st_vulkan_buf;

/* Part of a buffer that a shader sees. */
typedef struct st_vulkan_view {
    VkBuffer buffer;
    VkDeviceSize offset, bytes;
} st_vulkan_view;

/* A binding of a dispatch, and what the shader does with it. */
typedef enum st_vulkan_access { ST_VULKAN_READ = 1, ST_VULKAN_WRITE = 2 } st_vulkan_access;
typedef struct st_vulkan_binding {
    const st_buf *buf;    /* NULL: the shader will not look at it */
    size_t offset, bytes; /* of buf; bytes 0 = to its end */
    int access;           /* bits of st_vulkan_access; 0: never changes during steps */
} st_vulkan_binding;

/* Host-visible memory; copies to the device are collected in it until something runs. */
typedef struct st_vulkan_staging {
    VkDeviceMemory memory;
    VkBuffer buffer;
    unsigned char *data;
    VkCommandBuffer commands; /* copies that wait */
    bool open;                /* commands is being recorded */
    size_t used;              /* bytes of data that waiting copies need */
} st_vulkan_staging;

/* ---- steps ---- */

typedef struct st_vulkan_pool {
    VkDescriptorPool pool;
    struct st_vulkan_pool *next;
} st_vulkan_pool;

typedef struct st_vulkan_recording {
    st_batch key;
    bool ready;               /* commands can be submitted */
    uint64_t used;            /* number of the step that used it last; 0 = free */
    VkCommandBuffer commands; /* NULL: none yet */
    st_vulkan_pool *pools;    /* of the dispatches' descriptor sets; the newest first */
    uint32_t n_set;           /* taken from the newest */
} st_vulkan_recording;

/* Ranges that were touched since the last barrier of the recording under way. */
enum { ST_VULKAN_MAX_TOUCHED = 64 };
typedef struct st_vulkan_touched {
    st_vulkan_view view[ST_VULKAN_MAX_TOUCHED];
    int access[ST_VULKAN_MAX_TOUCHED];
    int count;
} st_vulkan_touched;

typedef struct st_vulkan_pipeline {
    st_vulkan_shader shader;
    uint32_t n_constant, constant[ST_VULKAN_MAX_CONSTANT];
    VkPipeline pipeline;
} st_vulkan_pipeline;

typedef struct st_vulkan st_vulkan;
typedef struct st_vulkan_variant {
    st_op op;
    const char *name;
    bool (*exists)(const st_vulkan *v);                  /* NULL: on every device */
    bool (*takes)(const st_vulkan *v, const void *args); /* NULL: everything */
    void (*run)(st_vulkan *v, const void *args);
} st_vulkan_variant;

/* What was asked of the device at open. */
typedef struct st_vulkan_limits {
    VkDeviceSize max_range;      /* bytes of one binding */
    VkDeviceSize max_allocation; /* bytes of one piece of memory */
    uint32_t local;              /* invocations of a workgroup in the row shaders: 256 or 128 */
    uint32_t chunk;              /* columns of a row in shared memory */
    uint32_t max_subgroups;      /* full subgroups of a workgroup */
    double tick;                 /* seconds of a time stamp's unit; 0 = there are none */
    uint64_t tick_mask;
    bool has_budget;   /* VK_EXT_memory_budget */
    unsigned controls; /* ST_VULKAN_..., see spirv.h: what shaders may ask of floats */
} st_vulkan_limits;

struct st_vulkan {
    st_device base;
    const st_vulkan_driver *driver;
    st_vulkan_functions vk;
    VkPhysicalDevice physical;
    VkDevice device;
    VkQueue queue;
    char name[24]; /* "vulkan:0" */
    uint8_t cache_id[VK_UUID_SIZE];
    uint32_t driver_version;
    st_vulkan_limits limits;
    st_vulkan_linear_device linear;
    sterna_error failure; /* the first one; status STERNA_OK if none */

    VkPhysicalDeviceMemoryProperties memory;
    uint64_t allocated; /* bytes of all blocks and of the staging memory */
    st_vulkan_block *blocks;
    st_vulkan_staging staging;
    st_buf *nothing; /* bound where a shader will not look */

    VkCommandPool command_pool;
    VkFence fence;
    VkDescriptorSetLayout set_layout;
    VkPipelineLayout layout;
    VkPipelineCache cache;
    size_t cache_bytes; /* as it was loaded */
    VkShaderModule module[ST_VULKAN_N_SHADER];
    st_vulkan_pipeline pipeline[ST_VULKAN_MAX_PIPELINE];
    int n_pipeline;

    const char *names[ST_OP_COUNT][ST_VULKAN_MAX_VARIANT];
    int n_name[ST_OP_COUNT];
    const st_vulkan_variant *forced[ST_OP_COUNT];
    bool strict; /* of the params */

    const st_batch *batch; /* of the step in progress, else NULL */
    bool replaying;
    st_vulkan_recording recording[ST_VULKAN_MAX_RECORDING], *current;
    uint64_t n_step;
    st_vulkan_touched touched;

    st_trace_row *trace; /* [ST_VULKAN_MAX_TRACE], or NULL: not traced */
    VkQueryPool queries; /* a time stamp before the first op and after each */
    int n_trace;
    st_batch_rows *rows; /* of the traced step, or NULL */
};

static inline st_vulkan *st_vulkan_of(st_device *dev)
{
    return (st_vulkan *)(void *)dev;
}

/* Records the first failure: "vulkan:0: CALL: NAME". False if there is one, or was. */
bool st_vulkan_check(st_vulkan *v, const char *call, VkResult result);
/* v->vk.NAME(...), checked. */
#define ST_VULKAN_CALL(v, name, ...) st_vulkan_check(v, "vk" #name, (v)->vk.name(__VA_ARGS__))

/* ---- device.c ---- */
sterna_status st_vulkan_open(int index, const st_device_params *params, st_device **dev, sterna_error *error);
void st_vulkan_close(st_device *dev);
void st_vulkan_info(int index, sterna_device_info *info);

/* ---- memory.c ---- */
/* Memory under a buffer of its own, host-visible if asked for; a precise error if there is none. */
sterna_status st_vulkan_allocate(st_vulkan *v, VkDeviceSize bytes, bool host, const char *what,
                                 VkDeviceMemory *memory, VkBuffer *buffer, sterna_error *error);
sterna_status st_vulkan_buf_create(st_device *dev, size_t bytes, st_buf **buf, sterna_error *error);
void st_vulkan_buf_destroy(st_device *dev, st_buf *buf);
sterna_status st_vulkan_buf_wrap(st_device *dev, void *native, size_t bytes, st_buf **buf,
                                 sterna_error *error);
void st_vulkan_memory_close(st_vulkan *v);

/* ---- transfer.c ---- */
sterna_status st_vulkan_staging_open(st_vulkan *v, sterna_error *error);
void st_vulkan_staging_close(st_vulkan *v);
/* Submits what waits in the staging memory, then `commands` (may be NULL), and waits for both. */
bool st_vulkan_submit(st_vulkan *v, VkCommandBuffer commands);
void st_vulkan_write(st_device *dev, st_buf *buf, size_t offset, const void *src, size_t bytes);
void st_vulkan_read(st_device *dev, const st_buf *buf, size_t offset, void *dst, size_t bytes);
void st_vulkan_fill(st_device *dev, st_buf *buf, uint32_t word);

/* ---- pipeline.c, cache.c ---- */
sterna_status st_vulkan_pipelines_open(st_vulkan *v, sterna_error *error);
void st_vulkan_pipelines_close(st_vulkan *v);
/* Made at its first use; NULL if the device has failed. */
VkPipeline st_vulkan_pipeline_get(st_vulkan *v, st_vulkan_shader shader, const uint32_t *constant,
                                  uint32_t n_constant);
void st_vulkan_cache_open(st_vulkan *v);
void st_vulkan_cache_close(st_vulkan *v);

/* ---- record.c ---- */
bool st_vulkan_begin(st_device *dev, const st_batch *batch);
sterna_status st_vulkan_end(st_device *dev, sterna_error *error);
/* Forgets all recordings: what they refer to is about to change. */
void st_vulkan_forget(st_vulkan *v);
/* A barrier, if these bindings need what earlier dispatches wrote, or write what they touched. Once for all
 * dispatches of an op. */
void st_vulkan_order(st_vulkan *v, const st_vulkan_binding *binding, int n_binding);

typedef struct st_vulkan_dispatch {
    st_vulkan_shader shader;
    uint32_t constant[ST_VULKAN_MAX_CONSTANT], n_constant;
    const void *push;
    uint32_t push_bytes;
    uint32_t x, y; /* workgroups */
} st_vulkan_dispatch;
void st_vulkan_enqueue(st_vulkan *v, const st_vulkan_dispatch *dispatch, const st_vulkan_binding *binding,
                       int n_binding);
/* Notes the op that was just enqueued, if the step is traced. */
void st_vulkan_trace_op(st_vulkan *v, st_op op, const char *variant, uint64_t bytes);

/* ---- ops.c: the launchers ---- */
void st_vulkan_embed_run(st_vulkan *v, const void *args);
void st_vulkan_norm_run(st_vulkan *v, const void *args);
void st_vulkan_norm_quant_run(st_vulkan *v, const void *args);
void st_vulkan_rope_store_run(st_vulkan *v, const void *args);
void st_vulkan_attend_run(st_vulkan *v, const void *args);
void st_vulkan_glu_norm_quant_run(st_vulkan *v, const void *args);
void st_vulkan_topk_run(st_vulkan *v, const void *args);
void st_vulkan_linear_run(st_vulkan *v, st_vulkan_linear_variant variant, const st_linear_args *args);

#endif
