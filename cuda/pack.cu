/* Upload: from the canonical matrix to the layout of ternary.cuh. */
#include "cuda/ternary.cuh"

/* One thread per word of a tile. A byte of a canonical row is four consecutive columns, 2 bits each. */
extern "C" __global__ void __launch_bounds__(ST_CUDA_BLOCK) pack_codes(const __grid_constant__ st_cuda_pack p)
{
    int64_t index = (int64_t)blockIdx.x * ST_CUDA_BLOCK + threadIdx.x;
    int32_t word = (int32_t)(index % 4), lane = (int32_t)(index / 4 % 32);
    int64_t tile = index / 128;
    int32_t row_tile = (int32_t)(tile / p.n_unit), k_tile = (int32_t)(tile % p.n_unit);
    if (row_tile * 16 >= p.n_row)
        return;
    int32_t row = row_tile * 16 + word % 2 * 8 + lane / 4;
    const unsigned char *from = (const unsigned char *)p.src + (int64_t)row * p.src_row_bytes;
    uint32_t codes = 0;
    for (int32_t s = 0; s < 4; s++) {
        int64_t byte = (int64_t)k_tile * 32 + s * 8 + word / 2 * 4 + lane % 4;
        uint32_t x = row < p.n_row && byte < p.src_row_bytes ? from[byte] : 0x55u;
        codes |= ((x | x << 6 | x << 12 | x << 18) & CODE_PLANE) << 2 * s;
    }
    int64_t first_tile = (int64_t)(p.first_row / 16) * p.n_unit;
    ((uint32_t *)p.dst)[first_tile * 128 + index] = codes;
}

/* One thread per scale of whole row tiles; rows beyond the matrix get 0. */
extern "C" __global__ void __launch_bounds__(ST_CUDA_BLOCK)
    pack_scales(const __grid_constant__ st_cuda_pack p)
{
    int64_t index = (int64_t)blockIdx.x * ST_CUDA_BLOCK + threadIdx.x;
    int64_t unit = index / 16;
    int32_t row_tile = (int32_t)(unit / p.n_unit), group = (int32_t)(unit % p.n_unit);
    if (row_tile * 16 >= p.n_row)
        return;
    int32_t row = row_tile * 16 + (int32_t)(index % 16);
    int64_t from = (int64_t)row * p.n_unit + group, to = (int64_t)(p.first_row / 16) * p.n_unit * 16 + index;
    if (p.unit_bytes == 4)
        ((uint32_t *)p.dst)[to] = row < p.n_row ? ((const uint32_t *)p.src)[from] : 0;
    else
        ((uint16_t *)p.dst)[to] = row < p.n_row ? ((const uint16_t *)p.src)[from] : (uint16_t)0;
}
