/* What the linear shaders share: buffers, arguments, and the end of the contract's arithmetic.
 *
 * A dispatch does one split of a weight: `rows` rows from `first_row` on, whose codes and scales begin at the
 * start of their bindings. */
#ifndef ST_LINEAR_GLSL
#define ST_LINEAR_GLSL

#include "numerics.glsl"

#define TILE 32 /* rows of TERNARY and Q8 weights that stand together */

#define WEIGHT_TERNARY 0 /* as st_type */
#define WEIGHT_Q8      1
#define WEIGHT_F16     2
#define WEIGHT_BF16    3
#define WEIGHT_F32     4

layout(binding = 0, std430) readonly restrict buffer Codes { uvec4 codes[]; };
layout(binding = 1, std430) readonly restrict buffer Scales { uint scales[]; };
/* bias f32 [rows], outlier_start [rows + 1], column [n_outlier], value f32 [n_outlier] of all splits */
layout(binding = 2, std430) readonly restrict buffer Extras { uint extras[]; };
/* Activations: the int8 codes, and the same buffer by words for scales, sums and single codes. With f32 input
 * only the second is used. */
layout(binding = 3, std430) readonly restrict buffer ActCodes { uvec4 act_codes[]; };
layout(binding = 4, std430) readonly restrict buffer Act { uint act[]; };
layout(binding = 5, std430) restrict buffer Dst { float dst[]; };

layout(push_constant) uniform Arguments {
    uint n_row;      /* of activations */
    uint cols;       /* K */
    uint rows;       /* N of this split */
    uint first_row;  /* of this split */
    uint n_step;     /* units of 16 bytes from a row of W to its end, padded to 256 columns */
    uint n_used;     /* of these that have columns */
    uint n_group;    /* scales per row of W; 0 = dense */
    uint scale_type; /* SCALE_... */
    uint weight_shift; /* log2 of segments per weight group; 31 = all in one */
    uint act_shift;    /* and per activation group */
    uint n_segment;
    uint act_stride; /* bytes of codes per row of activations */
    uint act_scale, n_act_scale; /* word where the scales begin, scales per row */
    uint act_sum, n_act_sum;
    uint dst_column, dst_stride;
    uint accumulate;
    float out_scale;
    uint bias;          /* word of extras where the bias begins, or NONE */
    uint outlier_start; /* or NONE */
    uint outlier_col, outlier_value;
    uint act_group_shift; /* log2 of columns per activation scale, 31 = all; NONE with f32 input */
};

#define NONE 0xffffffffu

/* Index of 16 bytes of a row: [tile][step][row of tile]. */
uint tile_index(uint row, uint step, uint n_steps)
{
    return ((row / TILE) * n_steps + step) * TILE + row % TILE;
}

/* ---- scales of W: f32 [tile][group][32 rows], or halves as stored ---- */
#define SCALE_F32  0
#define SCALE_F16  1
#define SCALE_BF16 2

float weight_scale(uint row, uint group)
{
    uint at = tile_index(row, group, n_group);
    if (scale_type == SCALE_F32)
        return uintBitsToFloat(scales[at]);
    uint half_word = scales[at >> 1] >> 16u * (at & 1u) & 0xffffu;
    return scale_type == SCALE_F16 ? st_f16_to_f32(half_word) : st_bf16_to_f32(half_word);
}

float activation_scale(uint token, uint group)
{
    return uintBitsToFloat(act[act_scale + token * n_act_scale + group]);
}

int activation_sum(uint token, uint segment)
{
    return int(act[act_sum + token * n_act_sum + segment]);
}

/* sum * (scale_w * scale_a) */
float scaled(float sum, float weight, float activation)
{
    precise float scale = weight * activation;
    precise float y = sum * scale;
    return y;
}

/* y + o * x for each outlier of the row, by ascending column. */
float with_outliers(float sum, uint token, uint row)
{
    uint end = extras[outlier_start + row + 1u];
    precise float y = sum;
    for (uint i = extras[outlier_start + row]; i < end; i++) {
        float o = uintBitsToFloat(extras[outlier_value + i]);
        uint k = extras[outlier_col + i];
        precise float term;
        if (act_group_shift == NONE) {
            term = o * uintBitsToFloat(act[token * cols + k]);
        } else {
            int q = bitfieldExtract(int(act[(token * act_stride + k) >> 2]), int(8u * (k & 3u)), 8);
            term = o * float(q);
            term = term * activation_scale(token, k >> act_group_shift);
        }
        y = y + term;
    }
    return y;
}

/* Ends the product of a row of activations and a row of this split. */
void store(uint token, uint row, float product)
{
    precise float y = product;
    uint n = first_row + row;
    if (out_scale != 1.0)
        y = y * out_scale;
    if (bias != NONE)
        y = y + uintBitsToFloat(extras[bias + n]);
    uint at = token * dst_stride + dst_column + n;
    if (accumulate != 0u)
        y = y + dst[at];
    if (outlier_start != NONE)
        y = with_outliers(y, token, n);
    dst[at] = y;
}

#endif
