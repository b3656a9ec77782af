/* Four signed bytes times four signed bytes, with the machine's instruction if ST_DOT. The instruction is
 * SPIR-V's OpSDot on packed words (SPV_KHR_integer_dot_product), written out because older compilers have no
 * GL_EXT_integer_dot_product. */
#ifndef ST_DOT_GLSL
#define ST_DOT_GLSL

#if ST_DOT
#extension GL_EXT_spirv_intrinsics : require
/* DotProduct and DotProductInput4x8BitPacked; the literal 0 is PackedVectorFormat4x8Bit. */
spirv_instruction(extensions = ["SPV_KHR_integer_dot_product"], capabilities = [6019, 6018],
                  id = 4450) int spirv_sdot(uint a, uint b, spirv_literal int packed_format);

int dot4(uint a, uint b, int sum)
{
    return sum + spirv_sdot(a, b, 0);
}
#else
int dot4(uint a, uint b, int sum)
{
    int x = int(a), y = int(b);
    sum += bitfieldExtract(x, 0, 8) * bitfieldExtract(y, 0, 8);
    sum += bitfieldExtract(x, 8, 8) * bitfieldExtract(y, 8, 8);
    sum += bitfieldExtract(x, 16, 8) * bitfieldExtract(y, 16, 8);
    return sum + (x >> 24) * (y >> 24);
}
#endif

#endif
