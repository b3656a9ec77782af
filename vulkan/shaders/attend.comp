#version 450
/* attend: a query head of a row to each workgroup. Partitions of 256 keys in turn: a key to each invocation
 * (or two), then a dimension to each (or some). */
#extension GL_GOOGLE_include_directive : require
#extension GL_EXT_control_flow_attributes : require
#include "lanes.glsl"
#include "kv.glsl"

layout(binding = 0, std430) readonly restrict buffer Qkv { float qkv[]; };
layout(binding = 1, std430) writeonly restrict buffer Dst { float dst[]; };
layout(binding = 2, std430) readonly restrict buffer Pos { int pos[]; };
layout(binding = 3, std430) readonly restrict buffer Seq { int seq[]; };
layout(binding = 4, std430) readonly restrict buffer Table { int table[]; };
layout(binding = 5, std430) readonly restrict buffer Length { int length_of[]; };
layout(binding = 6, std430) readonly restrict buffer Keys { uint keys[]; };
layout(binding = 7, std430) readonly restrict buffer Values { uint values[]; };

layout(push_constant) uniform Arguments {
    uint stride, n_head, n_kv_head, head_dim, max_blocks, window, causal;
    uint key_skip, value_skip; /* halves before the layer's planes in their bindings */
    float scale, softcap, inv_softcap;
};

const uint MAX_DIM = 512;
const uint DIMS = MAX_DIM / LOCAL; /* of an invocation at most */

shared float q[MAX_DIM];
shared float p[ST_PARTITION];
shared uint slots[ST_PARTITION];

float key_half(uint index)
{
    return st_f16_to_f32(keys[index / 2u] >> 16u * (index & 1u) & 0xffffu);
}

/* q . k in the 16-lane order. */
float dot_qk(uint slot, uint kv_head)
{
    float acc[ST_LANES_QK];
    [[unroll]] for (uint i = 0u; i < ST_LANES_QK; i++)
        acc[i] = 0.0;
    bool odd = (head_dim & 1u) != 0u;
    uint at = key_skip + kv_key(slot, kv_head, n_kv_head, head_dim, 0u);
    for (uint d = 0u; d < head_dim; d += ST_LANES_QK)
        [[unroll]] for (uint i = 0u; i < ST_LANES_QK; i += 2u) {
            if (d + i >= head_dim)
                break;
            uint word = odd ? 0u : keys[at / 2u + (d + i) / 2u * ST_KV_PAGE];
            float first = odd ? key_half(at + d + i) : st_f16_to_f32(word & 0xffffu);
            acc[i] = st_add(acc[i], st_mul(q[d + i], first));
            if (d + i + 1u < head_dim) {
                float second = odd ? key_half(at + d + i + 1u) : st_f16_to_f32(word >> 16);
                acc[i + 1u] = st_add(acc[i + 1u], st_mul(q[d + i + 1u], second));
            }
        }
    [[unroll]] for (uint s = ST_LANES_QK / 2u; s > 0u; s /= 2u)
        [[unroll]] for (uint i = 0u; i < s; i++)
            acc[i] = st_add(acc[i], acc[i + s]);
    return acc[0];
}

float score(uint slot, uint kv_head)
{
    float s = st_mul(dot_qk(slot, kv_head), scale);
    return softcap > 0.0 ? st_mul(softcap, st_tanh(st_mul(s, inv_softcap))) : s;
}

/* Scores of keys [from, to) of the partition that begins at `base` become p; returns their maximum, which no
 * NaN is: that shows in the sums. */
float weigh(uint row_table, uint kv_head, uint base, uint from, uint to)
{
    float s[LANES_OWN];
    uint top = ordered(uintBitsToFloat(0xff800000u)); /* -infinity */
    for (uint i = 0u; i < LANES_OWN; i++) {
        uint lane = gl_LocalInvocationIndex + i * LOCAL, j = base + lane;
        s[i] = 0.0;
        if (j >= from && j < to) {
            slots[lane] = uint(table[row_table + j / ST_KV_PAGE]) * ST_KV_PAGE + j % ST_KV_PAGE;
            s[i] = score(slots[lane], kv_head);
            top = st_is_nan(s[i]) ? top : max(top, ordered(s[i]));
        }
    }
    float greatest = unordered(max_of_all(top));
    for (uint i = 0u; i < LANES_OWN; i++) {
        uint lane = gl_LocalInvocationIndex + i * LOCAL, j = base + lane;
        p[lane] = j >= from && j < to ? st_exp(st_sub(s[i], greatest)) : 0.0;
        lanes[lane] = p[lane];
    }
    return greatest;
}

void main()
{
    uint head = gl_WorkGroupID.x, r = gl_WorkGroupID.y, t = gl_LocalInvocationIndex;
    if (pos[r] < 0)
        return;
    uint kv_head = head / (n_head / n_kv_head), position = uint(pos[r]), sequence = uint(seq[r]);
    uint first = window > 0u && position >= window ? position - window + 1u : 0u;
    uint end = uint(length_of[sequence]);
    if (causal != 0u)
        end = min(end, position + 1u);
    else if (window > 0u)
        end = min(end, position + window);
    for (uint d = t; d < head_dim; d += LOCAL)
        q[d] = qkv[r * stride + head * head_dim + d];
    barrier();

    float all_max = 0.0, all_sum = 0.0, all[DIMS];
    for (uint base = first / ST_PARTITION * ST_PARTITION; base < end; base += ST_PARTITION) {
        uint from = max(first, base), to = min(end, base + ST_PARTITION);
        float top = weigh(sequence * max_blocks, kv_head, base, from, to);
        float sum = fold_lanes();
        float greater = top > all_max ? top : all_max;
        bool begins = from == first;
        float old_part = begins ? 0.0 : st_exp(st_sub(all_max, greater));
        float new_part = begins ? 1.0 : st_exp(st_sub(top, greater));
        for (uint i = 0u; i < DIMS; i++) {
            uint d = t + i * LOCAL;
            if (d >= head_dim)
                break;
            float o = 0.0;
            for (uint j = from - base; j < to - base; j++) {
                uint index = value_skip + kv_value(slots[j], kv_head, n_kv_head, head_dim, d);
                o = st_add(o, st_mul(p[j], st_f16_to_f32(values[index / 2u] >> 16u * (index & 1u) & 0xffffu)));
            }
            all[i] = begins ? o : st_add(st_mul(all[i], old_part), st_mul(o, new_part));
        }
        all_sum = begins ? sum : st_add(st_mul(all_sum, old_part), st_mul(sum, new_part));
        all_max = begins ? top : greater;
        barrier();
    }
    float factor = st_div(1.0, all_sum);
    for (uint i = 0u; i < DIMS; i++)
        if (t + i * LOCAL < head_dim)
            dst[(r * n_head + head) * head_dim + t + i * LOCAL] = st_mul(all[i], factor);
}
