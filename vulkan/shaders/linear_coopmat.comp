#version 450
#pragma use_vulkan_memory_model
/* linear: TERNARY or Q8 weights x int8 activations on matrix units, one scale per row; for many rows of
 * activations.
 *
 * A workgroup of four subgroups has 64 rows of W and 64 rows of activations. Columns go through shared memory
 * 64 at a time, codes of W unpacked to bytes 0 ... 3; each subgroup has a quarter of the result, in 32-bit
 * accumulators over all columns. The matrices' shape M x N x K is the device's: divisors of 32, 32 and 64. */
#extension GL_GOOGLE_include_directive : require
#extension GL_EXT_control_flow_attributes : require
#extension GL_KHR_cooperative_matrix : require
#extension GL_KHR_memory_scope_semantics : require
#extension GL_KHR_shader_subgroup_basic : require
#extension GL_EXT_shader_explicit_arithmetic_types_int8 : require
#extension GL_EXT_shader_explicit_arithmetic_types_int32 : require
#include "linear.glsl"
#include "ternary.glsl"

#define SIDE    64 /* rows of W, and of activations */
#define QUARTER 32
#define DEPTH   64 /* columns in shared memory */
#define PITCH   20 /* words from row to row: 64 bytes and 16 that spread rows over the banks */

layout(local_size_x_id = 0) in; /* four subgroups */
layout(constant_id = 1) const uint M = 16;
layout(constant_id = 2) const uint N = 16;
layout(constant_id = 3) const uint K = 16;
layout(constant_id = 4) const uint TYPE = WEIGHT_TERNARY;

const bool Q8 = TYPE == WEIGHT_Q8;
const uint STEP = Q8 ? 16 : TERNARY_STEP; /* columns in 16 bytes of W */
const uint UNITS = DEPTH / STEP;          /* of 16 bytes per row of W */
const uint A_COUNT = QUARTER / M, B_COUNT = QUARTER / N;

/* Operands, W from word 0 and activations after it, [row][PITCH]; at the end the sums, [activations][W]. */
shared uint tiles[SIDE * SIDE];

void write_bytes(uint row, uint unit, uvec4 bytes)
{
    [[unroll]] for (uint i = 0u; i < 4u; i++)
        tiles[row * PITCH + unit * 4u + i] = bytes[i];
}

void load(uint step)
{
    uint t = gl_LocalInvocationIndex, size = gl_WorkGroupSize.x, stride = act_stride / 16u;
    for (uint i = t; i < UNITS * SIDE; i += size) {
        uint row = min(gl_WorkGroupID.x * SIDE + i % SIDE, (rows - 1u) | (TILE - 1u));
        uvec4 w = codes[tile_index(row, step + i / SIDE, n_step)];
        if (Q8)
            write_bytes(i % SIDE, i / SIDE, w);
        else
            [[unroll]] for (uint q = 0u; q < 4u; q++)
                write_bytes(i % SIDE, q, ternary_bytes(w[q]));
    }
    for (uint i = t; i < SIDE * DEPTH / 16; i += size) {
        uint token = min(gl_WorkGroupID.y * SIDE + i / 4u, n_row - 1u);
        write_bytes(SIDE + i / 4u, i % 4u, act_codes[token * stride + step * (STEP / 16u) + i % 4u]);
    }
}

void main()
{
    uint row_quarter = gl_SubgroupID % 2u * QUARTER, token_quarter = gl_SubgroupID / 2u * QUARTER;
    coopmat<int32_t, gl_ScopeSubgroup, M, N, gl_MatrixUseAccumulator> sum[A_COUNT * B_COUNT];
    [[unroll]] for (uint i = 0u; i < A_COUNT * B_COUNT; i++)
        sum[i] = coopmat<int32_t, gl_ScopeSubgroup, M, N, gl_MatrixUseAccumulator>(0);
    for (uint step = 0u; step < n_used; step += UNITS) {
        load(step);
        barrier();
        [[unroll]] for (uint k = 0u; k < DEPTH; k += K) {
            coopmat<int8_t, gl_ScopeSubgroup, M, K, gl_MatrixUseA> a[A_COUNT];
            [[unroll]] for (uint i = 0u; i < A_COUNT; i++)
                coopMatLoad(a[i], tiles, (row_quarter + i * M) * PITCH + k / 4u, PITCH,
                            gl_CooperativeMatrixLayoutRowMajor);
            [[unroll]] for (uint j = 0u; j < B_COUNT; j++) {
                coopmat<int8_t, gl_ScopeSubgroup, K, N, gl_MatrixUseB> b;
                coopMatLoad(b, tiles, (SIDE + token_quarter + j * N) * PITCH + k / 4u, PITCH,
                            gl_CooperativeMatrixLayoutColumnMajor);
                [[unroll]] for (uint i = 0u; i < A_COUNT; i++)
                    sum[i * B_COUNT + j] = coopMatMulAdd(a[i], b, sum[i * B_COUNT + j]);
            }
        }
        barrier();
    }
    [[unroll]] for (uint i = 0u; i < A_COUNT; i++)
        [[unroll]] for (uint j = 0u; j < B_COUNT; j++)
            coopMatStore(sum[i * B_COUNT + j], tiles,
                         (token_quarter + j * N) * SIDE + row_quarter + i * M, SIDE,
                         gl_CooperativeMatrixLayoutColumnMajor);
    barrier();
    for (uint i = gl_LocalInvocationIndex; i < SIDE * SIDE; i += gl_WorkGroupSize.x) {
        uint row = gl_WorkGroupID.x * SIDE + i % SIDE, token = gl_WorkGroupID.y * SIDE + i / SIDE;
        if (row >= rows || token >= n_row)
            continue;
        int isum = int(tiles[i]) - (Q8 ? 0 : activation_sum(token, 0u));
        float scale = weight_scale(row, 0u);
        store(token, row, scaled(st_i32_to_f32(isum), scale, activation_scale(token, 0u)));
    }
}
