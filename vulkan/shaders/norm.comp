#version 450
/* norm: a row to each workgroup. dst may be src. */
#extension GL_GOOGLE_include_directive : require
#include "lanes.glsl"

layout(binding = 0, std430) buffer Src { float src[]; };
layout(binding = 1, std430) buffer Dst { float dst[]; };
layout(binding = 2, std430) readonly restrict buffer Weight { float weight[]; };
layout(binding = 3, std430) readonly restrict buffer Index { int index[]; }; /* pos, or out */

layout(push_constant) uniform Arguments {
    uint dim, accumulate, gathers;
    float eps;
};

void main()
{
    uint r = gl_WorkGroupID.x;
    if (index[r] < 0)
        return;
    uint x = (gathers != 0u ? uint(index[r]) : r) * dim, y = r * dim;
    for (uint lane = gl_LocalInvocationIndex; lane < ST_LANES; lane += LOCAL) {
        float sum = 0.0;
        for (uint k = lane; k < dim; k += ST_LANES)
            sum = st_add(sum, st_mul(src[x + k], src[x + k]));
        lanes[lane] = sum;
    }
    float factor = st_rms_factor(fold_lanes(), dim, eps);
    for (uint k = gl_LocalInvocationIndex; k < dim; k += LOCAL) {
        float value = st_mul(st_mul(src[x + k], factor), weight[k]);
        dst[y + k] = accumulate != 0u ? st_add(dst[y + k], value) : value;
    }
}
