#version 450
/* A row of src is gate, then up. */
#extension GL_GOOGLE_include_directive : require
#include "quant.glsl"

float input_value(uint r, uint k)
{
    return st_mul(st_activate(act, src[2u * r * cols + k]), src[(2u * r + 1u) * cols + k]);
}

void main()
{
    uint r = gl_WorkGroupID.x;
    if (index[r] >= 0)
        quantise(r, r);
}
