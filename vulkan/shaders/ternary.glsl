/* How trits are packed on the device; vulkan/weight.c is its counterpart and no other file knows.
 *
 * Rows come in tiles of 32 and columns in steps of 64: [tile][step][row of tile] of 16 bytes (linear.glsl), so
 * that neighbouring invocations, which own neighbouring rows, read neighbouring 16 bytes. A word of a step
 * holds 16 columns; column 4 f + b of them is field f, bits 2 f of byte b. The four codes of a field meet four
 * activations of one word in natural order, and two fields may be used where they stand, as 1 and 4 times
 * the code: then they are at most 12, which is the same signed or unsigned, so that no dot product of mixed
 * signs is needed. Columns past the end meet activations of 0; past a multiple of 64 their codes are 0.
 *
 * value = code - 1, so that sum value * x = sum code * x - sum x, and sum x comes with the activations. */
#ifndef ST_TERNARY_GLSL
#define ST_TERNARY_GLSL

#include "dot.glsl"

#define TERNARY_STEP 64 /* columns */

/* Adds 16 columns: fields 0 and 2 to sum.x, four times fields 1 and 3 to sum.y. */
void ternary_add(uint word, uvec4 x, inout ivec2 sum)
{
    uint upper = word >> 4;
    sum.x = dot4(word & 0x03030303u, x.x, sum.x);
    sum.y = dot4(word & 0x0c0c0c0cu, x.y, sum.y);
    sum.x = dot4(upper & 0x03030303u, x.z, sum.x);
    sum.y = dot4(upper & 0x0c0c0c0cu, x.w, sum.y);
}

/* Sum of code * x: at most 4 * 3 * 127 * 65536 < 2^27 in sum.y. */
int ternary_total(ivec2 sum)
{
    return sum.x + (sum.y >> 2);
}

/* The codes of 16 columns as bytes in natural order. */
uvec4 ternary_bytes(uint word)
{
    return uvec4(word, word >> 2, word >> 4, word >> 6) & 0x03030303u;
}

/* Value of column 0 ... 15 of a word. */
int ternary_value(uint word, uint column)
{
    return int(bitfieldExtract(word, int(8u * (column & 3u) + 2u * (column >> 2)), 2)) - 1;
}

#endif
