#version 450
/* linear: any weights x f32 activations, the 256-lane sum of the contract.
 *
 * A team of 32 invocations has the 256 lanes of a sum, eight neighbouring ones each: 16 bytes of halves. It
 * meets ROWS rows of W and COLS rows of activations at a time; the lanes are folded at the end. */
#extension GL_GOOGLE_include_directive : require
#extension GL_EXT_control_flow_attributes : require
#include "linear.glsl"
#include "ternary.glsl"

#define TEAM 32

layout(local_size_x_id = 0) in; /* TEAM * TEAMS */
layout(constant_id = 1) const uint TEAMS = 2;
layout(constant_id = 2) const uint ROWS = 4;
layout(constant_id = 3) const uint COLS = 1;
layout(constant_id = 4) const uint TYPE = WEIGHT_F16;

const uint SUMS = ROWS * COLS;
const uint OWN = 8 * SUMS; /* lanes of an invocation */

shared float lanes[TEAMS * SUMS * ST_LANES];

/* Eight weights from column k on, k being a multiple of 8; rows are padded to 256 columns. */
void weights(uint row, uint k, out float w[8])
{
    if (TYPE == WEIGHT_F32) {
        [[unroll]] for (uint i = 0u; i < 2u; i++) {
            uvec4 four = codes[row * n_step + k / 4u + i];
            [[unroll]] for (uint j = 0u; j < 4u; j++)
                w[4u * i + j] = uintBitsToFloat(four[j]);
        }
    } else if (TYPE == WEIGHT_F16 || TYPE == WEIGHT_BF16) {
        uvec4 eight = codes[row * n_step + k / 8u];
        [[unroll]] for (uint j = 0u; j < 8u; j++) {
            uint h = eight[j / 2u] >> 16u * (j & 1u) & 0xffffu;
            w[j] = TYPE == WEIGHT_F16 ? st_f16_to_f32(h) : st_bf16_to_f32(h);
        }
    } else {
        float scale = weight_scale(row, min(k >> weight_shift, n_group - 1u));
        uint per = TYPE == WEIGHT_Q8 ? 16u : TERNARY_STEP;
        uvec4 some = codes[tile_index(row, k / per, n_step)];
        [[unroll]] for (uint j = 0u; j < 8u; j++) {
            int value = TYPE == WEIGHT_Q8
                            ? bitfieldExtract(int(some[(k % 16u + j) / 4u]), int(8u * (j & 3u)), 8)
                            : ternary_value(some[k % TERNARY_STEP / 16u], k % 16u + j);
            w[j] = st_mul(float(value), scale);
        }
    }
}

/* Adds the products of eight columns to their lanes. Nothing past the last column counts: there x is 0, and a
 * sum that began with +0 stays what it is when 0 of either sign is added. */
void add_columns(uint row, uint token, uint k, bool whole, inout float sum[OWN])
{
    float x[8 * COLS];
    [[unroll]] for (uint c = 0u; c < COLS; c++) {
        uint at = min(token + c, n_row - 1u) * cols + k;
        [[unroll]] for (uint j = 0u; j < 8u; j++)
            x[8u * c + j] = whole || k + j < cols ? uintBitsToFloat(act[at + j]) : 0.0;
    }
    [[unroll]] for (uint r = 0u; r < ROWS; r++) {
        float w[8];
        weights(min(row + r, rows - 1u), k, w);
        [[unroll]] for (uint c = 0u; c < COLS; c++)
            [[unroll]] for (uint j = 0u; j < 8u; j++) {
                precise float product = w[j] * x[8u * c + j];
                precise float lane = sum[8u * (r * COLS + c) + j] + product;
                sum[8u * (r * COLS + c) + j] = lane;
            }
    }
}

/* Lane j += lane j + s for s = 128 ... 1, in shared memory. */
void fold(uint first, uint t)
{
    for (uint s = ST_LANES / 2u; s > 0u; s /= 2u) {
        barrier();
        for (uint i = t; i < SUMS * s; i += TEAM) {
            uint at = first + i / s * ST_LANES + i % s;
            precise float sum = lanes[at] + lanes[at + s];
            lanes[at] = sum;
        }
    }
    barrier();
}

void main()
{
    uint team = gl_LocalInvocationIndex / TEAM, t = gl_LocalInvocationIndex % TEAM;
    uint row = (gl_WorkGroupID.x * TEAMS + team) * ROWS, token = gl_WorkGroupID.y * COLS;
    float sum[OWN];
    [[unroll]] for (uint i = 0u; i < OWN; i++)
        sum[i] = 0.0;
    uint k = 8u * t;
    for (; k + 8u <= cols; k += ST_LANES)
        add_columns(row, token, k, true, sum);
    if (k < cols)
        add_columns(row, token, k, false, sum);
    uint first = team * SUMS * ST_LANES;
    [[unroll]] for (uint i = 0u; i < SUMS; i++)
        [[unroll]] for (uint j = 0u; j < 8u; j++)
            lanes[first + i * ST_LANES + 8u * t + j] = sum[8u * i + j];
    fold(first, t);
    for (uint i = t; i < SUMS; i += TEAM)
        if (row + i / COLS < rows && token + i % COLS < n_row)
            store(token + i % COLS, row + i / COLS, lanes[first + i * ST_LANES]);
}
