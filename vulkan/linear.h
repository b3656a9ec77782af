/* From the arguments of a linear to dispatches of its shaders: which shader, with which constants, over which
 * part of the weight. Calls nothing of Vulkan. */
#ifndef ST_VULKAN_LINEAR_H
#define ST_VULKAN_LINEAR_H

#include "vulkan/weight.h"

/* What a device can do that matters here. */
typedef struct st_vulkan_linear_device {
    uint32_t subgroup;       /* size, if all subgroups can be required to be full and of this size; else 0 */
    uint32_t max_invocation; /* of a workgroup; >= 128 */
    bool dot;                /* packed signed dot product */
    uint32_t matrix[3];      /* M, N, K of int8 x int8 -> int32 cooperative matrices; 0 = none */
} st_vulkan_linear_device;

/* Arguments in shaders/linear.glsl. */
typedef struct st_vulkan_linear_push {
    uint32_t n_row, cols, rows, first_row, n_step, n_used, n_group, scale_type;
    uint32_t weight_shift, act_shift, n_segment;
    uint32_t act_stride, act_scale, n_act_scale, act_sum, n_act_sum;
    uint32_t dst_column, dst_stride, accumulate;
    float out_scale;
    uint32_t bias, outlier_start, outlier_col, outlier_value, act_group_shift;
} st_vulkan_linear_push;

/* Ways to compute a linear, most general first. f32 input has one way of its own whatever is asked for. */
typedef enum st_vulkan_linear_variant {
    ST_VULKAN_LINEAR_GEMV,     /* a row of W to each invocation, without integer dot products */
    ST_VULKAN_LINEAR_GEMV_DOT, /* with them */
    ST_VULKAN_LINEAR_TILE,     /* 64 rows of W x 32 or 64 of activations; one scale per row */
    ST_VULKAN_LINEAR_TILE_DOT,
    ST_VULKAN_LINEAR_COOPMAT, /* 64 x 64 on matrix units; one scale per row */
    ST_VULKAN_LINEAR_COUNT
} st_vulkan_linear_variant;
extern const char *const st_vulkan_linear_names[ST_VULKAN_LINEAR_COUNT];

typedef struct st_vulkan_linear_plan {
    const char *shader; /* linear_gemv, linear_tile, linear_coopmat or linear_float */
    bool dot;           /* its form with ST_DOT=1 */
    uint32_t constant[8];
    uint32_t n_constant;
    uint32_t group_rows, group_batch; /* rows of W and of activations of a workgroup */
    st_vulkan_linear_push push;       /* of the whole weight: rows and first_row are each split's */
} st_vulkan_linear_plan;

/* Whether the device has what the variant needs, and whether a variant takes these arguments. */
bool st_vulkan_linear_exists(const st_vulkan_linear_device *d, st_vulkan_linear_variant variant);
bool st_vulkan_linear_takes(st_vulkan_linear_variant variant, const st_linear_args *args);
/* The one that is best for n_row rows of activations. */
st_vulkan_linear_variant st_vulkan_linear_choose(const st_vulkan_linear_device *d, const st_linear_args *args,
                                                 int32_t n_row);
/* The variant exists and takes the arguments. */
st_vulkan_linear_plan st_vulkan_linear_make(const st_vulkan_linear_device *d,
                                            st_vulkan_linear_variant variant, const st_linear_args *args,
                                            int32_t n_row);

/* The dispatch of the split that begins at `first`: sets the plan's rows and first_row. */
typedef struct st_vulkan_linear_split {
    size_t codes_offset, codes_bytes, scales_offset, scales_bytes;
    uint32_t groups_x, groups_y;
} st_vulkan_linear_split;
st_vulkan_linear_split st_vulkan_linear_cut(st_vulkan_linear_plan *plan, const st_vulkan_weight *w,
                                            int32_t first);

#endif
