#version 450
#extension GL_GOOGLE_include_directive : require
#include "quant.glsl"

float input_value(uint r, uint k)
{
    return src[r * cols + k];
}

void main()
{
    uint r = gl_WorkGroupID.x;
    if (index[r] >= 0)
        quantise(gathers != 0u ? uint(index[r]) : r, r);
}
