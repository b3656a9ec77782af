#version 450
/* topk: a wanted row to each workgroup. The k largest are found by their keys, which are distinct: the order
 * of the adjusted logit first, then the token, the smaller being the greater. */
#extension GL_GOOGLE_include_directive : require
#include "lanes.glsl"

#define BINS     256
#define MAX_TOPK 256

struct Adjustment {
    int token;
    float positive, negative, add;
};
struct Candidate {
    int token;
    uint value, raw; /* bits of floats */
};
struct Stats {
    uint top, sum, adjusted_top, adjusted_sum, want, want_adjusted; /* bits of floats */
};

layout(binding = 0, std430) readonly restrict buffer Logits { uint logits[]; };
layout(binding = 1, std430) readonly restrict buffer Adjust { Adjustment adjust[]; };
layout(binding = 2, std430) readonly restrict buffer NAdjust { int n_adjust[]; };
layout(binding = 3, std430) readonly restrict buffer Want { int want[]; };
layout(binding = 4, std430) readonly restrict buffer Out { int out_row[]; };
layout(binding = 5, std430) writeonly restrict buffer Candidates { Candidate candidates[]; };
layout(binding = 6, std430) writeonly restrict buffer Statistics { Stats stats[]; };

layout(push_constant) uniform Arguments {
    uint n_vocab, k, max_adjust;
};

shared uint bins[BINS];
shared uint found_bin, found_left, count;
shared uvec2 best[MAX_TOPK];

/* Bits of a token's logit after the row's adjustments, which are sorted by token. */
uint adjusted_bits(uint r, uint n_list, uint token)
{
    uint bits = logits[r * n_vocab + token], low = 0u, high = n_list;
    while (low < high) {
        uint middle = (low + high) / 2u;
        if (uint(adjust[r * max_adjust + middle].token) < token)
            low = middle + 1u;
        else
            high = middle;
    }
    if (low == n_list || uint(adjust[r * max_adjust + low].token) != token)
        return bits;
    Adjustment a = adjust[r * max_adjust + low];
    float l = uintBitsToFloat(bits);
    bool above = !st_is_nan(l) && l > 0.0;
    return floatBitsToUint(st_add(st_mul(l, above ? a.positive : a.negative), a.add));
}

/* Order of logits: NaN above all, -0 as +0. */
uint rank_of(uint bits)
{
    if ((bits & 0x7fffffffu) > ST_INF)
        return 0xffffffffu;
    return ordered(uintBitsToFloat(bits == 0x80000000u ? 0u : bits));
}

/* Maximum and the 256-lane sum of exp, of raw logits (n_list 0) or adjusted ones, as bits. */
uvec2 normaliser(uint r, uint n_list)
{
    uint top = 0u;
    for (uint token = gl_LocalInvocationIndex; token < n_vocab; token += LOCAL)
        top = max(top, rank_of(adjusted_bits(r, n_list, token)));
    top = max_of_all(top);
    float greatest = top == 0xffffffffu ? uintBitsToFloat(ST_NAN) : unordered(top);
    for (uint lane = gl_LocalInvocationIndex; lane < ST_LANES; lane += LOCAL) {
        float sum = 0.0;
        for (uint token = lane; token < n_vocab; token += ST_LANES)
            sum = st_add(sum, st_exp(st_sub(uintBitsToFloat(adjusted_bits(r, n_list, token)), greatest)));
        lanes[lane] = sum;
    }
    float sum = fold_lanes();
    return uvec2(floatBitsToUint(greatest), floatBitsToUint(sum));
}

uvec2 key_of(uint bits, uint token)
{
    return uvec2(rank_of(bits), ~token);
}

bool before(uvec2 a, uvec2 b)
{
    return a.x > b.x || (a.x == b.x && a.y > b.y);
}

/* The k-th greatest key, eight bits at a time. */
uvec2 threshold(uint r, uint n_list)
{
    uvec2 prefix = uvec2(0u);
    uint left = k;
    for (int digit = 7; digit >= 0; digit--) {
        uint shift = 8u * uint(digit & 3);
        for (uint i = gl_LocalInvocationIndex; i < BINS; i += LOCAL)
            bins[i] = 0u;
        barrier();
        for (uint token = gl_LocalInvocationIndex; token < n_vocab; token += LOCAL) {
            uvec2 key = key_of(adjusted_bits(r, n_list, token), token);
            uint part = digit >= 4 ? key.x : key.y, known = digit >= 4 ? prefix.x : prefix.y;
            bool same = digit >= 4 || key.x == prefix.x;
            if (same && (shift == 24u || part >> (shift + 8u) == known >> (shift + 8u)))
                atomicAdd(bins[part >> shift & 0xffu], 1u);
        }
        barrier();
        if (gl_LocalInvocationIndex == 0u) {
            uint bin = BINS - 1u, rest = left;
            for (; bins[bin] < rest; bin--)
                rest -= bins[bin];
            found_bin = bin;
            found_left = rest;
        }
        barrier();
        if (digit >= 4)
            prefix.x |= found_bin << shift;
        else
            prefix.y |= found_bin << shift;
        left = found_left;
        barrier();
    }
    return prefix;
}

void write_stats(uint r, uint n_list)
{
    uvec2 raw = normaliser(r, 0u), changed = n_list > 0u ? normaliser(r, n_list) : raw;
    if (gl_LocalInvocationIndex != 0u)
        return;
    stats[r].top = raw.x;
    stats[r].sum = raw.y;
    stats[r].adjusted_top = changed.x;
    stats[r].adjusted_sum = changed.y;
    stats[r].want = want[r] < 0 ? 0u : logits[r * n_vocab + uint(want[r])];
    stats[r].want_adjusted = want[r] < 0 ? 0u : adjusted_bits(r, n_list, uint(want[r]));
}

void main()
{
    uint r = gl_WorkGroupID.x, t = gl_LocalInvocationIndex;
    if (out_row[r] < 0)
        return;
    uint n_list = max_adjust != 0u ? uint(n_adjust[r]) : 0u;
    write_stats(r, n_list);
    if (t == 0u)
        count = 0u;
    uvec2 least = threshold(r, n_list);
    for (uint token = t; token < n_vocab; token += LOCAL) {
        uvec2 key = key_of(adjusted_bits(r, n_list, token), token);
        if (!before(least, key))
            best[atomicAdd(count, 1u)] = key;
    }
    barrier();
    for (uint i = t; i < k; i += LOCAL) {
        uint place = 0u, token = ~best[i].y;
        for (uint other = 0u; other < k; other++)
            place += before(best[other], best[i]) ? 1u : 0u;
        candidates[r * k + place].token = int(token);
        candidates[r * k + place].value = adjusted_bits(r, n_list, token);
        candidates[r * k + place].raw = logits[r * n_vocab + token];
    }
}
