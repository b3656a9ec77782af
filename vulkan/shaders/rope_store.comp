#version 450
/* rope_store: a head of q, k or v of a row to each workgroup. */
#extension GL_GOOGLE_include_directive : require
#include "lanes.glsl"
#include "kv.glsl"

layout(binding = 0, std430) restrict buffer Qkv { float qkv[]; };
layout(binding = 1, std430) readonly restrict buffer QNorm { float q_norm[]; };
layout(binding = 2, std430) readonly restrict buffer KNorm { float k_norm[]; };
layout(binding = 3, std430) readonly restrict buffer CosSin { float cos_sin[]; };
layout(binding = 4, std430) readonly restrict buffer Pos { int pos[]; };
layout(binding = 5, std430) readonly restrict buffer Slot { int slot[]; };
layout(binding = 6, std430) restrict buffer Keys { uint keys[]; };
layout(binding = 7, std430) restrict buffer Values { uint values[]; };

layout(push_constant) uniform Arguments {
    uint stride, n_head, n_kv_head, head_dim, n_rot, adjacent, has_q_norm, has_k_norm;
    uint key_skip, value_skip; /* halves before the layer's planes in their bindings */
    float eps;
};

shared float x[512];

void normalise(bool query)
{
    for (uint lane = gl_LocalInvocationIndex; lane < ST_LANES; lane += LOCAL) {
        float sum = 0.0;
        for (uint i = lane; i < head_dim; i += ST_LANES)
            sum = st_add(sum, st_mul(x[i], x[i]));
        lanes[lane] = sum;
    }
    float factor = st_rms_factor(fold_lanes(), head_dim, eps);
    for (uint i = gl_LocalInvocationIndex; i < head_dim; i += LOCAL)
        x[i] = st_mul(st_mul(x[i], factor), query ? q_norm[i] : k_norm[i]);
    barrier();
}

void rotate(uint position)
{
    uint half_of = n_rot / 2u;
    for (uint i = gl_LocalInvocationIndex; i < half_of; i += LOCAL) {
        uint first = adjacent != 0u ? 2u * i : i, second = adjacent != 0u ? 2u * i + 1u : i + half_of;
        float c = cos_sin[position * n_rot + 2u * i], s = cos_sin[position * n_rot + 2u * i + 1u];
        float p = x[first], q = x[second];
        x[first] = st_sub(st_mul(p, c), st_mul(q, s));
        x[second] = st_add(st_mul(p, s), st_mul(q, c));
    }
    barrier();
}

void main()
{
    uint head = gl_WorkGroupID.x, r = gl_WorkGroupID.y, t = gl_LocalInvocationIndex;
    if (pos[r] < 0)
        return;
    uint from = r * stride + head * head_dim;
    for (uint i = t; i < head_dim; i += LOCAL)
        x[i] = qkv[from + i];
    barrier();
    bool query = head < n_head, key = !query && head < n_head + n_kv_head;
    if ((query && has_q_norm != 0u) || (key && has_k_norm != 0u))
        normalise(query);
    if ((query || key) && n_rot != 0u)
        rotate(uint(pos[r]));
    if (query) {
        for (uint i = t; i < head_dim; i += LOCAL)
            qkv[from + i] = x[i];
        return;
    }
    uint kv_head = key ? head - n_head : head - n_head - n_kv_head, at = uint(slot[r]);
    if ((head_dim & 1u) == 0u) {
        for (uint i = 2u * t; i < head_dim; i += 2u * LOCAL) {
            uint word = st_f32_to_f16(x[i]) | st_f32_to_f16(x[i + 1u]) << 16;
            if (key)
                keys[(key_skip + kv_key(at, kv_head, n_kv_head, head_dim, i)) / 2u] = word;
            else
                values[(value_skip + kv_value(at, kv_head, n_kv_head, head_dim, i)) / 2u] = word;
        }
        return;
    }
    /* Words are shared between positions, whose rows run at the same time: each changes its half only. */
    for (uint i = t; i < head_dim; i += LOCAL) {
        uint index = (key ? key_skip : value_skip) + kv_value(at, kv_head, n_kv_head, head_dim, i);
        uint shift = 16u * (index & 1u);
        uint bits = st_f32_to_f16(x[i]) << shift, others = ~(0xffffu << shift);
        if (key) {
            atomicAnd(keys[index / 2u], others);
            atomicOr(keys[index / 2u], bits);
        } else {
            atomicAnd(values[index / 2u], others);
            atomicOr(values[index / 2u], bits);
        }
    }
}
