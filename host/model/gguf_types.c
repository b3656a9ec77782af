#include "host/model/gguf_types.h"

/* The first ST_ENC_DECODED rows stand at their enum's index. A number that occurs twice has two readings, the
 * more common first. */
static const st_encoding_info encodings[] = {
    {ST_ENC_F32, 0, "F32", 1, 4, 0, false, false},
    {ST_ENC_F16, 1, "F16", 1, 2, 0, false, false},
    {ST_ENC_BF16, 30, "BF16", 1, 2, 0, false, false},
    {ST_ENC_Q8_0, 8, "Q8_0", 32, 34, 0, false, false},
    {ST_ENC_TQ1_0, 34, "TQ1_0", 256, 54, 0, false, true},
    {ST_ENC_TQ2_0, 35, "TQ2_0", 256, 66, 0, false, true},
    {ST_ENC_I2_S, 36, "I2_S", 128, 32, 32, true, true},
    {ST_ENC_OTHER, 2, "Q4_0", 32, 18, 0, false, false},
    {ST_ENC_OTHER, 3, "Q4_1", 32, 20, 0, false, false},
    {ST_ENC_OTHER, 6, "Q5_0", 32, 22, 0, false, false},
    {ST_ENC_OTHER, 7, "Q5_1", 32, 24, 0, false, false},
    {ST_ENC_OTHER, 9, "Q8_1", 32, 36, 0, false, false},
    {ST_ENC_OTHER, 10, "Q2_K", 256, 84, 0, false, false},
    {ST_ENC_OTHER, 11, "Q3_K", 256, 110, 0, false, false},
    {ST_ENC_OTHER, 12, "Q4_K", 256, 144, 0, false, false},
    {ST_ENC_OTHER, 13, "Q5_K", 256, 176, 0, false, false},
    {ST_ENC_OTHER, 14, "Q6_K", 256, 210, 0, false, false},
    {ST_ENC_OTHER, 15, "Q8_K", 256, 292, 0, false, false},
    {ST_ENC_OTHER, 16, "IQ2_XXS", 256, 66, 0, false, false},
    {ST_ENC_OTHER, 17, "IQ2_XS", 256, 74, 0, false, false},
    {ST_ENC_OTHER, 18, "IQ3_XXS", 256, 98, 0, false, false},
    {ST_ENC_OTHER, 19, "IQ1_S", 256, 50, 0, false, false},
    {ST_ENC_OTHER, 20, "IQ4_NL", 32, 18, 0, false, false},
    {ST_ENC_OTHER, 21, "IQ3_S", 256, 110, 0, false, false},
    {ST_ENC_OTHER, 22, "IQ2_S", 256, 82, 0, false, false},
    {ST_ENC_OTHER, 23, "IQ4_XS", 256, 136, 0, false, false},
    {ST_ENC_OTHER, 24, "I8", 1, 1, 0, false, false},
    {ST_ENC_OTHER, 25, "I16", 1, 2, 0, false, false},
    {ST_ENC_OTHER, 26, "I32", 1, 4, 0, false, false},
    {ST_ENC_OTHER, 27, "I64", 1, 8, 0, false, false},
    {ST_ENC_OTHER, 28, "F64", 1, 8, 0, false, false},
    {ST_ENC_OTHER, 29, "IQ1_M", 256, 56, 0, false, false},
    {ST_ENC_OTHER, 39, "MXFP4", 32, 17, 0, false, false},
    {ST_ENC_OTHER, 40, "NVFP4", 64, 36, 0, false, false},
    {ST_ENC_OTHER, 40, "Q1_0 in groups of 32 (early PrismML)", 32, 6, 0, false, true},
    {ST_ENC_OTHER, 41, "Q1_0", 128, 18, 0, false, true},
    {ST_ENC_OTHER, 42, "Q2_0", 64, 18, 0, false, true},
    {ST_ENC_OTHER, 42, "Q2_0 in groups of 128 (PrismML)", 128, 34, 0, false, true},
    {ST_ENC_OTHER, 142, "PQ2_0", 128, 34, 0, false, true},
    {ST_ENC_OTHER, 143, "PTQ1_0", 128, 28, 0, false, true},
};
enum { ENCODING_COUNT = sizeof encodings / sizeof encodings[0] };

/* Other uses of type numbers, known by name only. */
static const struct {
    uint32_t first, last;
    const char *fork;
} forks[] = {
    {4, 5, "Q4_2 or Q4_3, removed from ggml in 2023"},
    {31, 33, "Q4_0 repacked for ARM, removed from ggml in 2024"},
    {37, 37, "I8_S activations of bitnet.cpp, never stored in files"},
    {38, 38, "TL1 of bitnet.cpp, whose layout depends on kernel parameters that files do not hold"},
    {39, 39, "TL2 of bitnet.cpp, whose layout depends on kernel parameters that files do not hold"},
    {40, 40, "I2_S of vlut.cpp"},
    {41, 41, "I1_S of vlut.cpp"},
    {42, 42, "I1_M of vlut.cpp or TL2 of newer bitnet.cpp"},
    {43, 47, "the I2_S and I1_M variants of vlut.cpp"},
    {97, 99, "a repacked type of ik_llama.cpp"},
    {133, 141, "IQ1_BN, IQ2_BN or another type of ik_llama.cpp"},
    {144, 158, "a type of ik_llama.cpp"},
    {200, 400, "a repacked type of ik_llama.cpp"},
};

const st_encoding_info *st_encoding_candidate(uint32_t type_id, int n)
{
    for (int i = 0; i < ENCODING_COUNT; i++)
        if (encodings[i].type_id == type_id && n-- == 0)
            return &encodings[i];
    return NULL;
}

const st_encoding_info *st_encoding_get(st_encoding encoding)
{
    assert(encoding < ST_ENC_DECODED && encodings[encoding].encoding == encoding);
    return &encodings[encoding];
}

const char *st_encoding_fork(uint32_t type_id)
{
    for (size_t i = 0; i < sizeof forks / sizeof forks[0]; i++)
        if (type_id >= forks[i].first && type_id <= forks[i].last)
            return forks[i].fork;
    return NULL;
}

bool st_encoding_bytes(const st_encoding_info *info, int64_t row_elements, int64_t n_element, size_t *bytes)
{
    int64_t run = info->flat ? n_element : row_elements;
    if (run <= 0 || run % info->block != 0)
        return false;
    size_t size;
    if (!st_mul_size((size_t)(n_element / info->block), info->bytes, &size))
        return false;
    return st_add_size(size, info->tail, bytes);
}
