#version 450
/* linear: TERNARY or Q8 weights x int8 activations, one scale per row; for many rows of activations.
 *
 * A workgroup has 64 rows of W and BATCH rows of activations and takes 128 columns at a time through shared
 * memory; codes stay packed. An invocation has four rows and four columns of the result, so that a decoded
 * word meets four activations and an activation four rows. */
#extension GL_GOOGLE_include_directive : require
#extension GL_EXT_control_flow_attributes : require
#include "linear.glsl"
#include "ternary.glsl"

#define ROWS  64
#define SIDE  4   /* results of an invocation in each direction */
#define DEPTH 128 /* columns in shared memory */

layout(local_size_x_id = 0) in; /* ROWS / SIDE * BATCH / SIDE */
layout(constant_id = 1) const uint BATCH = 32;
layout(constant_id = 2) const uint TYPE = WEIGHT_TERNARY;

const bool Q8 = TYPE == WEIGHT_Q8;
const uint STEP = Q8 ? 16 : TERNARY_STEP; /* columns in 16 bytes of W */
const uint UNITS = DEPTH / STEP;          /* of 16 bytes per row of W */
const uint X_UNITS = DEPTH / 16;          /* and of activations */
const uint ROW_LANES = ROWS / SIDE, BATCH_LANES = BATCH / SIDE;

shared uvec4 w_tile[UNITS * ROWS];     /* [unit][row] */
shared uvec4 x_tile[BATCH * X_UNITS]; /* [row of activations][unit] */

void load(uint step)
{
    uint t = gl_LocalInvocationIndex, size = ROW_LANES * BATCH_LANES, stride = act_stride / 16u;
    for (uint i = t; i < UNITS * ROWS; i += size) {
        uint row = min(gl_WorkGroupID.x * ROWS + i % ROWS, (rows - 1u) | (TILE - 1u));
        w_tile[i] = codes[tile_index(row, step + i / ROWS, n_step)];
    }
    for (uint i = t; i < BATCH * X_UNITS; i += size) {
        uint token = min(gl_WorkGroupID.y * BATCH + i / X_UNITS, n_row - 1u);
        x_tile[i] = act_codes[token * stride + step * (STEP / 16u) + i % X_UNITS];
    }
}

void main()
{
    uint m = gl_LocalInvocationIndex % ROW_LANES, n = gl_LocalInvocationIndex / ROW_LANES;
    ivec2 sum[SIDE * SIDE];
    [[unroll]] for (uint i = 0u; i < SIDE * SIDE; i++)
        sum[i] = ivec2(0);
    for (uint step = 0u; step < n_used; step += UNITS) {
        load(step);
        barrier();
        for (uint unit = 0u; unit < X_UNITS; unit++) {
            uvec4 x[SIDE];
            [[unroll]] for (uint j = 0u; j < SIDE; j++)
                x[j] = x_tile[(n + j * BATCH_LANES) * X_UNITS + unit];
            [[unroll]] for (uint i = 0u; i < SIDE; i++) {
                uint at = m + i * ROW_LANES;
                if (Q8) {
                    uvec4 w = w_tile[unit * ROWS + at];
                    [[unroll]] for (uint j = 0u; j < SIDE; j++)
                        [[unroll]] for (uint q = 0u; q < 4u; q++)
                            sum[i * SIDE + j].x = dot4(w[q], x[j][q], sum[i * SIDE + j].x);
                } else {
                    uint w = w_tile[unit / 4u * ROWS + at][unit % 4u];
                    [[unroll]] for (uint j = 0u; j < SIDE; j++)
                        ternary_add(w, x[j], sum[i * SIDE + j]);
                }
            }
        }
        barrier();
    }
    [[unroll]] for (uint i = 0u; i < SIDE; i++)
        [[unroll]] for (uint j = 0u; j < SIDE; j++) {
            uint row = gl_WorkGroupID.x * ROWS + m + i * ROW_LANES;
            uint token = gl_WorkGroupID.y * BATCH + n + j * BATCH_LANES;
            if (row >= rows || token >= n_row)
                continue;
            int isum = Q8 ? sum[i * SIDE + j].x
                          : ternary_total(sum[i * SIDE + j]) - activation_sum(token, 0u);
            float scale = weight_scale(row, 0u);
            store(token, row, scaled(st_i32_to_f32(isum), scale, activation_scale(token, 0u)));
        }
}
