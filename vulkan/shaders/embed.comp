#version 450
/* embed: a row of the table to each workgroup. A dispatch has one split of the table, and takes the tokens
 * that are in it. */
#extension GL_GOOGLE_include_directive : require

layout(constant_id = 1) const uint TYPE = 0;
layout(constant_id = 2) const uint CHUNK = 2048;

#include "hadamard.glsl"
#include "ternary.glsl"

#define TILE 32 /* rows of TERNARY and Q8 tables that stand together, as in linear.glsl */

layout(binding = 0, std430) readonly restrict buffer Codes { uvec4 codes[]; };
layout(binding = 1, std430) readonly restrict buffer Scales { uint scales[]; };
layout(binding = 2, std430) readonly restrict buffer Token { int token[]; };
layout(binding = 3, std430) readonly restrict buffer Pos { int pos[]; };
layout(binding = 4, std430) readonly restrict buffer Sign { float sign_of[]; };
layout(binding = 5, std430) writeonly restrict buffer Dst { float dst[]; };

layout(push_constant) uniform Arguments {
    uint cols, rows, first_row;
    uint n_step, n_group, scale_type, group_shift;
    uint block, has_sign;
    float scale, norm;
};

uint tile_index(uint row, uint step, uint n_steps)
{
    return ((row / TILE) * n_steps + step) * TILE + row % TILE;
}

float scale_of(uint row, uint group)
{
    uint at = tile_index(row, group, n_group);
    if (scale_type == 0u)
        return uintBitsToFloat(scales[at]);
    uint half_word = scales[at >> 1] >> 16u * (at & 1u) & 0xffffu;
    return scale_type == 1u ? st_f16_to_f32(half_word) : st_bf16_to_f32(half_word);
}

/* st_matrix_value of a row of the split. */
float value_at(uint row, uint k)
{
    if (TYPE == 4u) /* f32 */
        return uintBitsToFloat(codes[row * n_step + k / 4u][k % 4u]);
    if (TYPE == 2u || TYPE == 3u) {
        uint h = codes[row * n_step + k / 8u][k / 2u % 4u] >> 16u * (k & 1u) & 0xffffu;
        return TYPE == 2u ? st_f16_to_f32(h) : st_bf16_to_f32(h);
    }
    uint per = TYPE == 1u ? 16u : TERNARY_STEP;
    uvec4 some = codes[tile_index(row, k / per, n_step)];
    int value = TYPE == 1u ? bitfieldExtract(int(some[k % 16u / 4u]), int(8u * (k & 3u)), 8)
                           : ternary_value(some[k % TERNARY_STEP / 16u], k % 16u);
    return st_mul(float(value), scale_of(row, k >> group_shift));
}

void main()
{
    uint r = gl_WorkGroupID.x;
    if (pos[r] < 0 || uint(token[r]) < first_row || uint(token[r]) >= first_row + rows)
        return;
    uint row = uint(token[r]) - first_row;
    if (block == 0u) {
        for (uint k = gl_LocalInvocationIndex; k < cols; k += LOCAL)
            dst[r * cols + k] = st_mul(value_at(row, k), scale);
        return;
    }
    for (uint first = 0u; first < cols; first += CHUNK) {
        uint n = min(CHUNK, cols - first);
        for (uint k = gl_LocalInvocationIndex; k < n; k += LOCAL)
            values[k] = st_mul(value_at(row, first + k), scale);
        hadamard(n, block, norm);
        for (uint k = gl_LocalInvocationIndex; k < n; k += LOCAL)
            dst[r * cols + first + k] = has_sign != 0u ? st_mul(sign_of[first + k], values[k]) : values[k];
        barrier();
    }
}
