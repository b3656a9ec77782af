/* The CUDA backend's device, private to this folder. */
#ifndef ST_CUDA_DEVICE_H
#define ST_CUDA_DEVICE_H

#include "cuda/driver.h"
#include "cuda/kernels.h"
#include "host/backend/backend.h"

enum {
    ST_CUDA_STAGING = 4 << 20,                 /* bytes of each half of the pinned staging memory */
    ST_CUDA_MAX_RECORDING = 64,                /* graphs kept; the one used longest ago is forgotten */
    ST_CUDA_MAX_VARIANT = 8,                   /* of one op */
    ST_CUDA_MAX_TRACE = 16 * ST_MAX_LAYER + 64 /* ops of a traced step; a layer has a dozen */
};

/* X(image, kernel): every kernel and the fat binary, cuda/<image>.cu, that has it. */
#define ST_CUDA_KERNELS(X)                                                                                   \
    X(pack, pack_codes)                                                                                      \
    X(pack, pack_scales)                                                                                     \
    X(embed_generic, embed_generic)                                                                          \
    X(norm_generic, norm_generic)                                                                            \
    X(quant_generic, quant_generic)                                                                          \
    X(linear_generic, linear_codes)                                                                          \
    X(linear_generic, linear_floats)                                                                         \
    X(linear_gemv, linear_gemv_1)                                                                            \
    X(linear_gemv, linear_gemv_2)                                                                            \
    X(linear_gemv, linear_gemv_4)                                                                            \
    X(linear_gemv, linear_gemv_groups_1)                                                                     \
    X(linear_gemv, linear_gemv_groups_2)                                                                     \
    X(linear_gemv, linear_gemv_groups_4)                                                                     \
    X(linear_mma, linear_mma_1)                                                                              \
    X(linear_mma, linear_mma_2)                                                                              \
    X(linear_mma, linear_mma_4)                                                                              \
    X(linear_mma, linear_mma_8)                                                                              \
    X(linear_mma, linear_mma_groups_1)                                                                       \
    X(linear_mma, linear_mma_groups_2)                                                                       \
    X(linear_mma, linear_mma_groups_4)                                                                       \
    X(linear_mma, linear_mma_groups_8)                                                                       \
    X(rope_store_generic, rope_store_generic)                                                                \
    X(attend_generic, attend_generic)                                                                        \
    X(topk_generic, topk_generic)

typedef enum st_cuda_kernel {
#define ST_CUDA_KERNEL(image, kernel) ST_CUDA_##kernel,
    ST_CUDA_KERNELS(ST_CUDA_KERNEL)
#undef ST_CUDA_KERNEL
        ST_CUDA_N_KERNEL
} st_cuda_kernel;

typedef struct st_cuda_buf {
    st_buf base;
    CUdeviceptr data;
    bool wrapped; /* the caller's memory */
} st_cuda_buf;

typedef struct st_cuda_weight {
    st_weight base;
    st_cuda_matrix view;
    CUdeviceptr memory; /* of all planes */
} st_cuda_weight;

/* A step as a graph. */
typedef struct st_cuda_recording {
    st_batch key;
    CUgraphExec graph; /* NULL: unused */
    uint64_t used;     /* number of the step that used it last */
} st_cuda_recording;

/* Pinned memory through which all copies go: halves in turn, so that one fills while the other drains. */
typedef struct st_cuda_staging {
    unsigned char *memory; /* [2][ST_CUDA_STAGING] */
    CUevent drained[2];    /* recorded when a half was left */
    int half;
    size_t used; /* bytes of that half */
} st_cuda_staging;

typedef struct st_cuda_variant st_cuda_variant;

typedef struct st_cuda {
    st_device base;
    const st_cuda_driver *cu;
    char name[16]; /* "cuda:0" */
    CUdevice device;
    CUcontext context;
    CUstream stream;
    int arch; /* 10 * major + minor */
    int n_sm;
    CUmodule module[ST_CUDA_N_KERNEL]; /* of the kernel's image; kernels of one image share it */
    CUfunction function[ST_CUDA_N_KERNEL];
    st_cuda_staging staging;
    CUdeviceptr scratch; /* ST_CUDA_STAGING bytes: canonical rows on their way into tiles */

    const char *names[ST_OP_COUNT][ST_CUDA_MAX_VARIANT];
    int n_name[ST_OP_COUNT];
    const st_cuda_variant *forced[ST_OP_COUNT];
    bool strict; /* of the params */

    sterna_error failure; /* the first one; status STERNA_OK if none */
    const st_batch *batch;
    bool replaying, capturing;
    st_cuda_recording *current, recording[ST_CUDA_MAX_RECORDING];
    uint64_t n_step;

    st_trace_row *trace; /* [ST_CUDA_MAX_TRACE], or NULL: not traced */
    CUevent *event;      /* [ST_CUDA_MAX_TRACE + 1]: before the first op and after each */
    int n_trace, n_event;
    st_batch_rows *rows; /* of the traced step, or NULL */
} st_cuda;

struct st_cuda_variant {
    st_op op;
    const char *name;
    int arch;                                          /* the least that has what it needs */
    bool (*takes)(const st_cuda *c, const void *args); /* NULL: everything */
    bool (*pays)(const st_cuda *c, const void *args);  /* of what it takes, where not forced; NULL: all */
    void (*run)(st_cuda *c, const void *args);
};

static inline CUdeviceptr st_cuda_address(const st_buf *buf)
{
    return ((const st_cuda_buf *)(const void *)buf)->data;
}

/* A device address as kernels' arguments hold it. */
static inline void *st_cuda_pointer(const st_buf *buf)
{
    return buf ? (void *)(uintptr_t)st_cuda_address(buf) : NULL;
}

/* Records the first failure: "cuda:0: CALL: NAME". False if there is one, or was. */
bool st_cuda_check(st_cuda *c, const char *call, CUresult result);
/* Makes the device's context current in this thread. False if the device has failed. */
bool st_cuda_enter(st_cuda *c);
/* c->cu->NAME(...), checked. */
#define ST_CUDA_CALL(c, name, ...) st_cuda_check(c, st_cuda_symbol.name, (c)->cu->name(__VA_ARGS__))

/* ---- kernels (kernel.c) ---- */
typedef struct st_cuda_grid {
    unsigned x, y;
} st_cuda_grid;
/* Launches a kernel on blocks of (block_x, block_y) threads with `shared` bytes of dynamic shared memory (at
 * most 48 KB). `args` is the kernel's struct. */
void st_cuda_launch(st_cuda *c, st_cuda_kernel kernel, st_cuda_grid grid, unsigned block_x, unsigned block_y,
                    size_t shared, const void *args);
void st_cuda_unload(st_cuda *c);

/* ---- memory (memory.c) ---- */
sterna_status st_cuda_staging_open(st_cuda *c, sterna_error *error);
void st_cuda_staging_close(st_cuda *c);
/* `bytes` of pinned memory, at most ST_CUDA_STAGING, for one copy to the device that is enqueued before the
 * next call. NULL if the device has failed. */
void *st_cuda_stage(st_cuda *c, size_t bytes);
/* Device memory; a precise error if there is none. */
sterna_status st_cuda_alloc(st_cuda *c, size_t bytes, const char *what, CUdeviceptr *memory,
                            sterna_error *error);
sterna_status st_cuda_buf_create(st_device *dev, size_t bytes, st_buf **buf, sterna_error *error);
void st_cuda_buf_destroy(st_device *dev, st_buf *buf);
sterna_status st_cuda_buf_wrap(st_device *dev, void *native, size_t bytes, st_buf **buf, sterna_error *error);
void st_cuda_write(st_device *dev, st_buf *buf, size_t offset, const void *src, size_t bytes);
void st_cuda_read(st_device *dev, const st_buf *buf, size_t offset, void *dst, size_t bytes);
void st_cuda_fill(st_device *dev, st_buf *buf, uint32_t word);

/* ---- weights (weight.c) ---- */
sterna_status st_cuda_weight_create(st_device *dev, const st_matrix *parts, int n_part, const float *bias,
                                    float out_scale, const st_outliers *outliers, st_weight **weight,
                                    sterna_error *error);
void st_cuda_weight_destroy(st_device *dev, st_weight *weight);

/* ---- steps (record.c) ---- */
bool st_cuda_begin(st_device *dev, const st_batch *batch);
sterna_status st_cuda_end(st_device *dev, sterna_error *error);
/* Forgets all graphs: what they refer to is about to change. */
void st_cuda_forget(st_cuda *c);
/* Notes the op that was just enqueued, if the step is traced. */
void st_cuda_trace_op(st_cuda *c, st_op op, const char *variant, uint64_t bytes);

/* ---- ops (ops.c, linear.c): the launchers ---- */
st_cuda_qact st_cuda_planes(const st_qact *q);
void st_cuda_embed_run(st_cuda *c, const void *args);
void st_cuda_norm_run(st_cuda *c, const void *args);
void st_cuda_norm_quant_run(st_cuda *c, const void *args);
void st_cuda_linear_generic(st_cuda *c, const void *args);
bool st_cuda_linear_is_ternary(const st_cuda *c, const void *args);
bool st_cuda_linear_gemv_pays(const st_cuda *c, const void *args);
void st_cuda_linear_gemv(st_cuda *c, const void *args);
void st_cuda_linear_mma(st_cuda *c, const void *args);
void st_cuda_rope_store_run(st_cuda *c, const void *args);
void st_cuda_attend_run(st_cuda *c, const void *args);
void st_cuda_glu_norm_quant_run(st_cuda *c, const void *args);
void st_cuda_topk_run(st_cuda *c, const void *args);

#endif
