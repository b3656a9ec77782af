/* Rotation of a piece of a row in shared memory; CHUNK is a multiple of every block that it is used with. */
#ifndef ST_HADAMARD_GLSL
#define ST_HADAMARD_GLSL

#include "lanes.glsl"

shared float values[CHUNK];

/* st_hadamard of n values. Ends with a barrier, and begins with one. */
void hadamard(uint n, uint block, float norm)
{
    for (uint stride = 1u; stride < block; stride *= 2u) {
        barrier();
        for (uint i = gl_LocalInvocationIndex; i < n / 2u; i += LOCAL) {
            uint low = i / stride * 2u * stride + i % stride;
            float a = values[low], b = values[low + stride];
            values[low] = st_add(a, b);
            values[low + stride] = st_sub(a, b);
        }
    }
    barrier();
    for (uint i = gl_LocalInvocationIndex; i < n; i += LOCAL)
        values[i] = st_mul(values[i], norm);
    barrier();
}

#endif
