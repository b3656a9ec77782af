/* norm_quant and glu_norm_quant: a row to each workgroup; input(r, k) is theirs.
 *
 * The row passes through shared memory in chunks, a multiple of every rotation block and group; it is
 * computed once for the sum of squares, once for the maximum if there is one scale to it, and once for the
 * codes. */
#ifndef ST_QUANT_GLSL
#define ST_QUANT_GLSL

layout(constant_id = 1) const uint CHUNK = 2048;

#include "hadamard.glsl"

#define SLICE 32 /* columns: the smallest group */

layout(binding = 0, std430) readonly restrict buffer Src { float src[]; };
layout(binding = 1, std430) readonly restrict buffer Weight { float weight[]; };
layout(binding = 2, std430) readonly restrict buffer Sign { float sign_of[]; };
layout(binding = 3, std430) readonly restrict buffer Index { int index[]; }; /* pos, or out */
layout(binding = 4, std430) restrict buffer Dst { uint dst[]; };

layout(push_constant) uniform Arguments {
    uint cols, gathers, has_weight, act;
    uint block, has_sign;
    float norm, eps;
    uint stride, scale_at, sum_at; /* words */
    uint n_scale, n_sum, act_group, sum_group;
};

shared uint group_top[CHUNK / SLICE]; /* greatest |bits| */
shared int group_sum[CHUNK / SLICE];

float input_value(uint r, uint k);

/* Columns first ... first + n - 1 after norm and rotation. */
void load_chunk(uint r, float factor, uint first, uint n)
{
    barrier();
    for (uint k = gl_LocalInvocationIndex; k < n; k += LOCAL) {
        float x = input_value(r, first + k);
        if (has_weight != 0u)
            x = st_mul(st_mul(x, factor), weight[first + k]);
        if (block != 0u && has_sign != 0u)
            x = st_mul(sign_of[first + k], x);
        values[k] = x;
    }
    if (block != 0u)
        hadamard(n, block, norm);
    barrier();
}

float norm_factor(uint r)
{
    for (uint lane = gl_LocalInvocationIndex; lane < ST_LANES; lane += LOCAL) {
        float sum = 0.0;
        for (uint k = lane; k < cols; k += ST_LANES) {
            float x = input_value(r, k);
            sum = st_add(sum, st_mul(x, x));
        }
        lanes[lane] = sum;
    }
    return st_rms_factor(fold_lanes(), cols, eps);
}

uint row_maximum(uint r, float factor)
{
    uint top = ST_QUANT_EPS_BITS;
    for (uint first = 0u; first < cols; first += CHUNK) {
        uint n = min(CHUNK, cols - first);
        load_chunk(r, factor, first, n);
        for (uint k = gl_LocalInvocationIndex; k < n; k += LOCAL)
            top = max(top, floatBitsToUint(values[k]) & 0x7fffffffu);
    }
    return max_of_all(top);
}

/* Maxima of the groups of the chunk. */
void group_maxima(uint n)
{
    for (uint g = gl_LocalInvocationIndex; g < CHUNK / SLICE; g += LOCAL)
        group_top[g] = ST_QUANT_EPS_BITS;
    barrier();
    for (uint k = gl_LocalInvocationIndex; k < n; k += LOCAL)
        atomicMax(group_top[k / act_group], floatBitsToUint(values[k]) & 0x7fffffffu);
    barrier();
}

/* Four codes to a word; past the last column they are 0. Returns the invocation's share of the row's sum. */
int write_codes(uint r, float row_factor, uint first, uint n, uint n_word)
{
    int total = 0;
    for (uint word = gl_LocalInvocationIndex; word < n_word; word += LOCAL) {
        uint packed = 0u;
        int sum = 0;
        if (4u * word < n) {
            float factor = act_group != 0u ? st_quant_factor(group_top[4u * word / act_group]) : row_factor;
            for (uint i = 0u; i < 4u && 4u * word + i < n; i++) {
                int code = st_quant_code(values[4u * word + i], factor);
                packed |= (uint(code) & 0xffu) << 8u * i;
                sum += code;
            }
            if (sum_group != 0u)
                atomicAdd(group_sum[4u * word / sum_group], sum);
        }
        dst[r * stride + first / 4u + word] = packed;
        total += sum;
    }
    return total;
}

void quantise(uint r, uint to)
{
    float factor = has_weight != 0u ? norm_factor(r) : 1.0;
    float row_factor = 0.0;
    if (act_group == 0u) {
        uint top = row_maximum(r, factor);
        row_factor = st_quant_factor(top);
        if (gl_LocalInvocationIndex == 0u)
            dst[scale_at + to] = floatBitsToUint(st_quant_scale(top));
    }
    int total = 0;
    for (uint first = 0u; first < cols; first += CHUNK) {
        uint n = min(CHUNK, cols - first), words = min(CHUNK / 4u, stride - first / 4u);
        if (act_group != 0u || cols > CHUNK)
            load_chunk(r, factor, first, n);
        for (uint g = gl_LocalInvocationIndex; g < CHUNK / SLICE; g += LOCAL)
            group_sum[g] = 0;
        if (act_group != 0u) {
            group_maxima(n);
            for (uint g = gl_LocalInvocationIndex; g * act_group < n; g += LOCAL)
                dst[scale_at + to * n_scale + first / act_group + g] =
                    floatBitsToUint(st_quant_scale(group_top[g]));
        }
        barrier();
        total += write_codes(to, row_factor, first, n, words);
        barrier();
        for (uint g = gl_LocalInvocationIndex; sum_group != 0u && g * sum_group < n; g += LOCAL)
            dst[sum_at + to * n_sum + first / sum_group + g] = uint(group_sum[g]);
        barrier();
    }
    if (sum_group == 0u) {
        total = sum_of_all(total);
        if (gl_LocalInvocationIndex == 0u)
            dst[sum_at + to] = uint(total);
    }
}

#endif
