#version 450
/* c[i] = function(a[i], b[i]) for test_vulkan_numerics.c, whose table numbers the functions. All are bits. */
#extension GL_GOOGLE_include_directive : require
#include "numerics.glsl"

layout(local_size_x = 64) in;
layout(binding = 0, std430) readonly buffer A { uint a[]; };
layout(binding = 1, std430) readonly buffer B { uint b[]; };
layout(binding = 2, std430) writeonly buffer C { uint c[]; };
layout(push_constant) uniform Arguments {
    uint function;
    uint count;
};

float value(uint f, float x, float y)
{
    switch (f) {
    case 0u:
        return st_exp(x);
    case 1u:
        return st_recip(x);
    case 2u:
        return st_sigmoid(x);
    case 3u:
        return st_tanh(x);
    case 4u:
        return st_activate(ST_ACT_SILU, x);
    case 5u:
        return st_activate(ST_ACT_GELU, x);
    case 6u:
        return st_activate(ST_ACT_RELU2, x);
    case 7u:
        return st_f16_to_f32(floatBitsToUint(x) & 0xffffu);
    case 8u:
        return st_bf16_to_f32(floatBitsToUint(x) & 0xffffu);
    case 9u:
        return st_i32_to_f32(floatBitsToInt(x));
    case 10u:
        return st_div(x, y);
    case 11u:
        return st_sqrt(x);
    case 12u:
        return st_quant_factor(floatBitsToUint(x));
    case 13u:
        return st_quant_scale(floatBitsToUint(x));
    case 14u:
        return st_mul(x, y);
    case 15u:
        return st_add(x, y);
    case 16u:
        return st_sub(x, y);
    case 17u: /* must not become one rounding */
        return st_add(st_mul(x, y), x);
    default:
        return st_rms_factor(x, 2560u, y);
    }
}

void main()
{
    uint i = gl_GlobalInvocationID.x;
    if (i >= count)
        return;
    float x = uintBitsToFloat(a[i]), y = uintBitsToFloat(b[i]);
    if (function == 19u)
        c[i] = st_f32_to_f16(x);
    else if (function == 20u)
        c[i] = uint(st_quant_code(x, y));
    else
        c[i] = floatBitsToUint(value(function, x, y));
}
