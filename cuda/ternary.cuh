/* Matrices on the device: the only place that knows how their bits lie.
 *
 * TERNARY: tiles of 16 rows x 128 columns, 512 bytes, [row tiles][column tiles]. Within a tile 16 bytes
 * (words w0 ... w3) for each lane of a warp, so that one load per lane takes a tile. Lane 4 g + t has in w0
 * and w2 codes of row g, in w1 and w3 of row g + 8. Two bits at 8 b + 2 s of a word are column 32 s + 4 t + b
 * (w0, w1) or 16 more (w2, w3). Hence `word >> 2 s & 0x03030303` are four codes of consecutive columns, ready
 * for dp4a, and w0 ... w3 so treated are the A fragment of mma m16n8k32 for columns 32 s ... 32 s + 31.
 * Without the shift the codes of plane s count 4^s times, which sums can take back at their end. What lies
 * beyond the matrix is code 1, zero; activations are 0 there, so no kernel needs to look.
 *
 * Scales of TERNARY and Q8: [row tiles][groups][16 rows]. */
#ifndef ST_CUDA_TERNARY_CUH
#define ST_CUDA_TERNARY_CUH

#include "cuda/numerics.cuh"

#define CODE_PLANE 0x03030303u

static __device__ __forceinline__ int32_t k_tiles(const st_cuda_matrix &w)
{
    return (w.cols + ST_CUDA_K_TILE - 1) / ST_CUDA_K_TILE;
}

/* The 16 bytes of a lane in a tile. */
static __device__ __forceinline__ const uint4 *tile_lane(const st_cuda_matrix &w, int32_t row_tile,
                                                         int32_t k_tile, int32_t lane)
{
    return (const uint4 *)w.data + ((int64_t)row_tile * k_tiles(w) + k_tile) * 32 + lane;
}

/* The word with the codes of a row for columns 32 s + 16 half + 4 t ... + 3 of a column tile. */
static __device__ __forceinline__ uint32_t code_word(const st_cuda_matrix &w, int32_t row, int32_t k_tile,
                                                     int32_t half, int32_t t)
{
    const uint4 *at = tile_lane(w, row / 16, k_tile, row % 8 * 4 + t);
    return ((const uint32_t *)at)[half * 2 + row % 16 / 8];
}

static __device__ __forceinline__ int32_t code_of(const st_cuda_matrix &w, int32_t row, int32_t col)
{
    uint32_t word = code_word(w, row, col / 128, col % 32 / 16, col % 16 / 4);
    return (int32_t)(word >> (8 * (col % 4) + 2 * (col % 128 / 32)) & 3u);
}

static __device__ __forceinline__ float scale_of(const st_cuda_matrix &w, int32_t row, int32_t group)
{
    int64_t index = ((int64_t)(row / 16) * w.n_group + group) * 16 + row % 16;
    if (w.scale_type == ST_F32)
        return ((const float *)w.scale)[index];
    uint16_t h = ((const uint16_t *)w.scale)[index];
    return w.scale_type == ST_F16 ? f16_to_f32(h) : bf16_to_f32(h);
}

/* Any element of any type, as st_matrix_value. */
static __device__ __forceinline__ float value_of(const st_cuda_matrix &w, int32_t row, int32_t col)
{
    const unsigned char *data = (const unsigned char *)w.data + (int64_t)row * w.row_bytes;
    switch (w.type) {
    case ST_TERNARY:
        return (float)(code_of(w, row, col) - 1) * scale_of(w, row, col / w.group);
    case ST_Q8:
        return (float)((const int8_t *)data)[col] * scale_of(w, row, col / w.group);
    case ST_F16:
        return f16_to_f32(((const uint16_t *)data)[col]);
    case ST_BF16:
        return bf16_to_f32(((const uint16_t *)data)[col]);
    default:
        return ((const float *)data)[col];
    }
}

#endif
