/* A workgroup of LOCAL invocations that has the 256 lanes of a sum, LANES_OWN neighbouring in time each. No
 * subgroup operation: any size of subgroups will do. */
#ifndef ST_LANES_GLSL
#define ST_LANES_GLSL

#include "numerics.glsl"

layout(local_size_x_id = 0) in;
layout(constant_id = 0) const uint LOCAL = 128; /* 128 or 256 */

const uint LANES_OWN = ST_LANES / LOCAL; /* lanes of an invocation: t, t + LOCAL */

shared float lanes[ST_LANES];
shared uint shared_top;
shared int shared_sum;

/* Lane j += lane j + s for s = 128 ... 1; every invocation gets the sum. The last 16 lanes are one
 * invocation's: additions are cheaper than barriers. */
float fold_lanes()
{
    uint t = gl_LocalInvocationIndex;
    for (uint s = ST_LANES / 2u; s >= 16u; s /= 2u) {
        barrier();
        for (uint i = t; i < s; i += LOCAL)
            lanes[i] = st_add(lanes[i], lanes[i + s]);
    }
    barrier();
    if (t == 0u)
        for (uint s = 8u; s > 0u; s /= 2u)
            for (uint i = 0u; i < s; i++)
                lanes[i] = st_add(lanes[i], lanes[i + s]);
    barrier();
    float sum = lanes[0];
    barrier();
    return sum;
}

/* The greatest x of all invocations. */
uint max_of_all(uint x)
{
    if (gl_LocalInvocationIndex == 0u)
        shared_top = 0u;
    barrier();
    atomicMax(shared_top, x);
    barrier();
    uint top = shared_top;
    barrier();
    return top;
}

int sum_of_all(int x)
{
    if (gl_LocalInvocationIndex == 0u)
        shared_sum = 0;
    barrier();
    atomicAdd(shared_sum, x);
    barrier();
    int sum = shared_sum;
    barrier();
    return sum;
}

/* Floats in their order as unsigned numbers, without NaN; and back. */
uint ordered(float x)
{
    uint u = floatBitsToUint(x);
    return (u & 0x80000000u) != 0u ? ~u : u | 0x80000000u;
}

float unordered(uint u)
{
    return uintBitsToFloat((u & 0x80000000u) != 0u ? u & 0x7fffffffu : ~u);
}

#endif
