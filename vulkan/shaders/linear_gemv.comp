#version 450
/* linear: TERNARY or Q8 weights x int8 activations, a row of W to each invocation.
 *
 * A workgroup has ROWS rows, which PARTS invocations each share by columns, and meets COLS rows of
 * activations at a time. All rows read the same activations at the same time: that is a scalar load where a
 * subgroup has one part only, and a broadcast elsewhere. With one scale per row the sum stays an integer to
 * the end; otherwise every segment gives a term, and these are added in the contract's order. */
#extension GL_GOOGLE_include_directive : require
#extension GL_EXT_control_flow_attributes : require
#extension GL_KHR_shader_subgroup_basic : require
#include "linear.glsl"
#include "ternary.glsl"

layout(local_size_x_id = 0) in; /* ROWS * PARTS */
layout(constant_id = 1) const uint ROWS = 32; /* a multiple of TILE */
layout(constant_id = 2) const uint PARTS = 4;
layout(constant_id = 3) const uint COLS = 1;
layout(constant_id = 4) const uint TYPE = WEIGHT_TERNARY;
layout(constant_id = 5) const uint SEGMENT = 0; /* columns that share both scales; 0 = all */
/* Subgroups are full and not larger than ROWS: their number then says which part they are, uniformly. */
layout(constant_id = 6) const bool FULL = false;

const bool Q8 = TYPE == WEIGHT_Q8;
const uint AHEAD = 2;                              /* loads of W that are under way while others are used */
const uint STEP = Q8 ? 16 : TERNARY_STEP;          /* columns in 16 bytes */
const uint X_STEP = STEP / 16;                     /* of 16 activations */
const uint BLOCK = SEGMENT == 0 ? 1 : ST_K_BLOCK / SEGMENT; /* segments in 1024 columns */
const uint ROUND = SEGMENT == 0 || COLS > 4 ? 1 : 4 / COLS; /* segments of a part between barriers */

shared uint partial[PARTS * ROUND * COLS * ROWS];

/* Words [from, to) of 16 bytes of W times the activations from number x on. */
void add_words(uvec4 w, uint x, uint from, uint to, inout ivec2 sum)
{
    if (Q8) {
        uvec4 a = act_codes[x];
        [[unroll]] for (uint i = from; i < to; i++)
            sum.x = dot4(w[i], a[i], sum.x);
    } else {
        [[unroll]] for (uint i = from; i < to; i++)
            ternary_add(w[i], act_codes[x + i], sum);
    }
}

int total(ivec2 sum)
{
    return Q8 ? sum.x : ternary_total(sum);
}

uint lane()
{
    return FULL ? gl_SubgroupID * gl_SubgroupSize + gl_SubgroupInvocationID : gl_LocalInvocationIndex;
}

uint part()
{
    return FULL ? gl_SubgroupID / (ROWS / gl_SubgroupSize) : gl_LocalInvocationIndex / ROWS;
}

/* Where row c of the workgroup's activations begins; past the last there is the last. */
uint x_base(uint c)
{
    return min(gl_WorkGroupID.y * COLS + c, n_row - 1u) * (act_stride / 16u);
}

/* Rows past the end read what pads the last tile. */
uint w_row(uint row)
{
    return min(row, (rows - 1u) | (TILE - 1u));
}

/* One scale: integers to the end. */
void whole_rows(uint row, uint own)
{
    uint base = tile_index(w_row(row), 0u, n_step);
    ivec2 sum[COLS];
    [[unroll]] for (uint c = 0u; c < COLS; c++)
        sum[c] = ivec2(0);
    uvec4 next[AHEAD];
    [[unroll]] for (uint i = 0u; i < AHEAD; i++)
        next[i] = codes[base + min(part() + i * PARTS, n_used - 1u) * TILE];
    for (uint step = part(); step < n_used; step += AHEAD * PARTS)
        [[unroll]] for (uint i = 0u; i < AHEAD; i++) {
            uint at = step + i * PARTS;
            if (i > 0u && at >= n_used)
                break;
            uvec4 w = next[i];
            if (at + AHEAD * PARTS < n_used)
                next[i] = codes[base + (at + AHEAD * PARTS) * TILE];
            [[unroll]] for (uint c = 0u; c < COLS; c++)
                add_words(w, x_base(c) + at * X_STEP, 0u, 4u, sum[c]);
        }
    [[unroll]] for (uint c = 0u; c < COLS; c++)
        partial[(part() * COLS + c) * ROWS + own] = uint(total(sum[c]));
    barrier();
    float scale = weight_scale(w_row(row), 0u);
    for (uint c = part(); c < COLS; c += PARTS) {
        int isum = 0;
        for (uint p = 0u; p < PARTS; p++)
            isum += int(partial[(p * COLS + c) * ROWS + own]);
        uint token = gl_WorkGroupID.y * COLS + c;
        if (token < n_row && row < rows) {
            if (!Q8)
                isum -= activation_sum(token, 0u);
            store(token, row, scaled(st_i32_to_f32(isum), scale, activation_scale(token, 0u)));
        }
    }
}

/* ---- scales of segments ---- */

const uint UNITS = SEGMENT < STEP ? 1 : SEGMENT / STEP; /* of 16 bytes that hold a segment */

void load_segment(uint base, uint segment, out uvec4 w[UNITS])
{
    uint first = SEGMENT < STEP ? segment / (STEP / max(SEGMENT, 1u)) : segment * UNITS;
    [[unroll]] for (uint i = 0u; i < UNITS; i++)
        w[i] = codes[base + (first + i) * TILE];
}

/* The integer sum of a segment for row c of the activations. */
int segment_sum(uvec4 w[UNITS], uint segment, uint c)
{
    ivec2 sum = ivec2(0);
    if (SEGMENT < STEP) { /* half of 16 bytes */
        uvec2 half_step = (segment & 1u) != 0u ? w[0].zw : w[0].xy;
        add_words(uvec4(half_step, 0u, 0u), x_base(c) + segment * 2u, 0u, 2u, sum);
    } else {
        [[unroll]] for (uint i = 0u; i < UNITS; i++) { /* past the columns codes are 0; activations may end */
            uint x = min((segment * UNITS + i) * X_STEP, act_stride / 16u - X_STEP);
            add_words(w[i], x_base(c) + x, 0u, 4u, sum);
        }
    }
    return total(sum);
}

float segment_term(int isum, uint segment, uint c, float weight)
{
    uint token = min(gl_WorkGroupID.y * COLS + c, n_row - 1u);
    if (!Q8)
        isum -= activation_sum(token, segment);
    return scaled(float(isum), weight, activation_scale(token, segment >> act_shift));
}

/* Terms in ascending order: in blocks of 1024 columns, then the blocks. */
void add_term(float term, uint segment, inout float block, inout float y)
{
    precise float sum = block + term;
    precise float total = y + sum;
    bool ends = (segment + 1u) % BLOCK == 0u || segment + 1u == n_segment;
    y = ends ? total : y;
    block = ends ? 0.0 : sum;
}

/* A part has every PARTS-th segment; after ROUND of them the part that ends a row of activations adds all. */
void segmented_rows(uint row, uint own)
{
    uint base = tile_index(w_row(row), 0u, n_step);
    float y[COLS], block[COLS];
    [[unroll]] for (uint c = 0u; c < COLS; c++)
        y[c] = block[c] = 0.0;
    uvec4 next[UNITS];
    load_segment(base, min(part(), n_segment - 1u), next);
    for (uint first = 0u; first < n_segment; first += PARTS * ROUND) {
        for (uint i = part(); i < PARTS * ROUND && first + i < n_segment; i += PARTS) {
            uint segment = first + i;
            float weight = weight_scale(w_row(row), segment >> weight_shift);
            uvec4 w[UNITS];
            [[unroll]] for (uint k = 0u; k < UNITS; k++)
                w[k] = next[k];
            if (segment + PARTS < n_segment)
                load_segment(base, segment + PARTS, next);
            [[unroll]] for (uint c = 0u; c < COLS; c++) {
                float term = segment_term(segment_sum(w, segment, c), segment, c, weight);
                if (PARTS == 1u)
                    add_term(term, segment, block[c], y[c]);
                else
                    partial[(i * COLS + c) * ROWS + own] = floatBitsToUint(term);
            }
        }
        if (PARTS > 1u) {
            barrier();
            [[unroll]] for (uint c = 0u; c < COLS; c++)
                if (c % PARTS == part())
                    for (uint i = 0u; i < PARTS * ROUND && first + i < n_segment; i++)
                        add_term(uintBitsToFloat(partial[(i * COLS + c) * ROWS + own]), first + i, block[c], y[c]);
            barrier();
        }
    }
    [[unroll]] for (uint c = 0u; c < COLS; c++) {
        uint token = gl_WorkGroupID.y * COLS + c;
        if (c % PARTS == part() && token < n_row && row < rows)
            store(token, row, y[c]);
    }
}

void main()
{
    uint own = lane() % ROWS, row = gl_WorkGroupID.x * ROWS + own;
    if (SEGMENT == 0u)
        whole_rows(row, own);
    else
        segmented_rows(row, own);
}
