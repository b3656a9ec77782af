/* linear of TERNARY by int8 for one to four tokens at a time. A block has a row tile, whose columns its warps
 * share; a lane decodes two rows with one AND for four codes, see ternary.cuh. Codes are read once, 16 bytes
 * a lane; activations come from L1, where the blocks of a multiprocessor find them again. */
#include "cuda/linear.cuh"

enum {
    AHEAD = 4, /* tiles whose loads a warp has in flight: 2 KB */
    TILE = ST_CUDA_ROW_TILE
};

/* Products for the lane's rows g and g + 8: plane s of the codes counts 4^s times. */
template <int TOKENS> struct plane_sums {
    int32_t plane[4][2][TOKENS];
};

/* Where a lane finds its codes and each token's activations. */
template <int TOKENS> struct input {
    const uint4 *w;
    const int8_t *code[TOKENS];
};

template <int TOKENS>
static __device__ __forceinline__ input<TOKENS> input_at(const st_cuda_linear &a, int32_t first, int32_t tile)
{
    input<TOKENS> in;
    in.w = tile_lane(a.w, (int32_t)blockIdx.x, tile, (int32_t)threadIdx.x);
#pragma unroll
    for (int i = 0; i < TOKENS; i++)
        in.code[i] = a.q.code + (int64_t)min(first + i, a.n_row - 1) * a.q.stride + tile * ST_CUDA_K_TILE +
                     threadIdx.x % 4 * 4;
    return in;
}

template <int TOKENS> static __device__ __forceinline__ void advance(input<TOKENS> &in, int32_t tiles)
{
    in.w += 32 * tiles;
#pragma unroll
    for (int i = 0; i < TOKENS; i++)
        in.code[i] += ST_CUDA_K_TILE * tiles;
}

/* Four codes' products with activations at offset `at` of each token. */
template <int TOKENS>
static __device__ __forceinline__ void add_words(int32_t sum[2][TOKENS], uint32_t top, uint32_t bottom,
                                                 const input<TOKENS> &in, int32_t at)
{
#pragma unroll
    for (int i = 0; i < TOKENS; i++) {
        uint32_t q = __ldg((const uint32_t *)(in.code[i] + at));
        sum[0][i] = dp4a_u8s8(top, q, sum[0][i]);
        sum[1][i] = dp4a_u8s8(bottom, q, sum[1][i]);
    }
}

/* A tile, `ahead` tiles from where `in` stands. */
template <int TOKENS>
static __device__ __forceinline__ void add_tile(plane_sums<TOKENS> &sum, const uint4 &w,
                                                const input<TOKENS> &in, int ahead)
{
#pragma unroll
    for (int s = 0; s < 4; s++) {
        const uint32_t mask = CODE_PLANE << 2 * s;
        const int32_t at = ST_CUDA_K_TILE * ahead + 32 * s;
        add_words<TOKENS>(sum.plane[s], w.x & mask, w.y & mask, in, at);
        add_words<TOKENS>(sum.plane[s], w.z & mask, w.w & mask, in, at + 16);
    }
}

template <int TOKENS>
static __device__ __forceinline__ void add_planes(const plane_sums<TOKENS> &sum, int32_t rows[2][TOKENS])
{
#pragma unroll
    for (int row = 0; row < 2; row++)
#pragma unroll
        for (int i = 0; i < TOKENS; i++)
            rows[row][i] += sum.plane[0][row][i] + (sum.plane[1][row][i] >> 2) + (sum.plane[2][row][i] >> 4) +
                            (sum.plane[3][row][i] >> 6);
}

/* What a lane holds of sums over the 4 lanes of a row: row g + 8 (t / 2), and of the tokens the first or
 * second half, or all there is. */
template <int TOKENS> struct lane_sum {
    enum { COUNT = TOKENS > 1 ? TOKENS / 2 : 1 };
    int32_t value[COUNT];
};

template <int TOKENS>
static __device__ __forceinline__ lane_sum<TOKENS> fold_lanes(const int32_t sum[2][TOKENS])
{
    const bool below = threadIdx.x & 2, second = threadIdx.x & 1;
    int32_t row[TOKENS];
    lane_sum<TOKENS> y;
#pragma unroll
    for (int i = 0; i < TOKENS; i++)
        row[i] =
            (below ? sum[1][i] : sum[0][i]) + __shfl_xor_sync(ALL_LANES, below ? sum[0][i] : sum[1][i], 2);
#pragma unroll
    for (int i = 0; i < y.COUNT; i++) {
        int32_t other = TOKENS == 1 ? row[i] : second ? row[i] : row[TOKENS / 2 + i];
        int32_t mine = TOKENS == 1 ? row[i] : second ? row[TOKENS / 2 + i] : row[i];
        y.value[i] = mine + __shfl_xor_sync(ALL_LANES, other, 1);
    }
    return y;
}

/* Where the lane's values of a row tile are in an array [TOKENS][16 rows], and whether they are its to write.
 */
template <int TOKENS> static __device__ __forceinline__ int32_t place_of(int32_t lane, int32_t i)
{
    int32_t token = TOKENS > 1 ? lane % 2 * (TOKENS / 2) + i : 0;
    return token * TILE + lane / 4 + lane % 4 / 2 * 8;
}

template <int TOKENS> static __device__ __forceinline__ bool writes(int32_t lane)
{
    return TOKENS > 1 || lane % 2 == 0;
}

/* One scale for the row: integers to the end. Dynamic shared memory: i32 [warps][TOKENS][16]. */
template <int TOKENS> static __device__ __forceinline__ void whole_rows(const st_cuda_linear &a)
{
    extern __shared__ int32_t part[];
    const int32_t lane = (int32_t)threadIdx.x, warp = (int32_t)threadIdx.y, n_warp = (int32_t)blockDim.y;
    const int32_t row_tile = (int32_t)blockIdx.x, first = (int32_t)blockIdx.y * TOKENS, n_tile = k_tiles(a.w);
    const int32_t share = (n_tile + n_warp - 1) / n_warp; /* tiles of a warp, one after the other */
    int32_t left = min(share, n_tile - warp * share);
    input<TOKENS> in = input_at<TOKENS>(a, first, warp * share);
    plane_sums<TOKENS> sum = {};
    for (; left >= AHEAD; left -= AHEAD) {
        uint4 w[AHEAD];
#pragma unroll
        for (int j = 0; j < AHEAD; j++)
            w[j] = load_once(in.w + 32 * j);
        __syncwarp(); /* or the compiler puts each load before its use */
#pragma unroll
        for (int j = 0; j < AHEAD; j++)
            add_tile<TOKENS>(sum, w[j], in, j);
        advance<TOKENS>(in, AHEAD);
    }
    uint4 w[AHEAD - 1];
#pragma unroll
    for (int j = 0; j < AHEAD - 1; j++)
        if (j < left)
            w[j] = load_once(in.w + 32 * j);
    __syncwarp();
#pragma unroll
    for (int j = 0; j < AHEAD - 1; j++)
        if (j < left)
            add_tile<TOKENS>(sum, w[j], in, j);
    int32_t rows[2][TOKENS] = {};
    add_planes<TOKENS>(sum, rows);
    lane_sum<TOKENS> mine = fold_lanes<TOKENS>(rows);
#pragma unroll
    for (int i = 0; i < mine.COUNT; i++)
        if (writes<TOKENS>(lane))
            part[warp * TOKENS * TILE + place_of<TOKENS>(lane, i)] = mine.value[i];
    __syncthreads();
    for (int32_t i = warp * 32 + lane; i < TOKENS * TILE; i += n_warp * 32) {
        int32_t row = row_tile * TILE + i % TILE, token = first + i / TILE;
        if (row >= a.w.rows || token >= a.n_row)
            continue;
        int32_t total = -a.q.sum[(int64_t)token * a.q.n_sum];
        for (int32_t part_of = 0; part_of < n_warp; part_of++)
            total += part[part_of * TOKENS * TILE + i];
        store(a, row, token, segment_term(a, row, token, 0, total));
    }
}

/* The sums so far as terms of their segment, if `plane`, 32 columns, is its last. */
template <int TOKENS>
static __device__ __forceinline__ void end_segment(const st_cuda_linear &a, int32_t row, int32_t first,
                                                   int32_t plane, int32_t sum[2][TOKENS],
                                                   float block[lane_sum<TOKENS>::COUNT])
{
    if (!ends_segment(a, plane))
        return;
    const int32_t segment = plane >> a.plane_shift;
    lane_sum<TOKENS> mine = fold_lanes<TOKENS>(sum);
    const float scale = scale_of(a.w, row, segment >> a.weight_shift);
#pragma unroll
    for (int i = 0; i < mine.COUNT; i++) {
        int32_t token = min(first + place_of<TOKENS>((int32_t)threadIdx.x, i) / TILE, a.n_row - 1);
        int32_t codes = mine.value[i] - a.q.sum[(int64_t)token * a.q.n_sum + segment];
        block[i] += (float)codes * (scale * act_scale(a, token, segment));
    }
#pragma unroll
    for (int i = 0; i < TOKENS; i++)
        sum[0][i] = sum[1][i] = 0;
}

/* The terms of one tile: its planes together, or one by one where segments are shorter than a tile. */
template <int TOKENS>
static __device__ __forceinline__ void add_terms(const st_cuda_linear &a, int32_t row, int32_t first,
                                                 int32_t tile, const uint4 &w, const input<TOKENS> &in,
                                                 int32_t sum[2][TOKENS], float block[lane_sum<TOKENS>::COUNT])
{
    if (a.plane_shift >= 2) {
        plane_sums<TOKENS> planes = {};
        add_tile<TOKENS>(planes, w, in, 0);
        add_planes<TOKENS>(planes, sum);
        end_segment<TOKENS>(a, row, first, 4 * tile + 3, sum, block);
        return;
    }
#pragma unroll 1
    for (int s = 0; s < 4; s++) {
        add_words<TOKENS>(sum, w.x >> 2 * s & CODE_PLANE, w.y >> 2 * s & CODE_PLANE, in, 32 * s);
        add_words<TOKENS>(sum, w.z >> 2 * s & CODE_PLANE, w.w >> 2 * s & CODE_PLANE, in, 32 * s + 16);
        end_segment<TOKENS>(a, row, first, 4 * tile + s, sum, block);
    }
}

/* Scales of groups. A warp has whole blocks of 1024 columns, whose sums are added up in their order at the
 * end. Dynamic shared memory: f32 [blocks][TOKENS][16]. */
template <int TOKENS> static __device__ __forceinline__ void groups(const st_cuda_linear &a)
{
    extern __shared__ float blocks[];
    const int32_t lane = (int32_t)threadIdx.x, warp = (int32_t)threadIdx.y, n_warp = (int32_t)blockDim.y;
    const int32_t row_tile = (int32_t)blockIdx.x, first = (int32_t)blockIdx.y * TOKENS, n_tile = k_tiles(a.w);
    const int32_t n_block = (n_tile + ST_CUDA_BLOCK_TILES - 1) / ST_CUDA_BLOCK_TILES;
    const int32_t row = row_tile * TILE + place_of<TOKENS>(lane, 0) % TILE;
    for (int32_t b = warp; b < n_block; b += n_warp) {
        float block[lane_sum<TOKENS>::COUNT] = {};
        int32_t sum[2][TOKENS] = {};
        const int32_t begin = b * ST_CUDA_BLOCK_TILES, end = min(begin + ST_CUDA_BLOCK_TILES, n_tile);
        input<TOKENS> in = input_at<TOKENS>(a, first, begin);
        uint4 w = load_once(in.w), next[2] = {};
#pragma unroll
        for (int j = 0; j < 2; j++)
            if (begin + 1 + j < end)
                next[j] = load_once(in.w + 32 * (1 + j));
#pragma unroll 1
        for (int32_t tile = begin; tile < end; tile++) {
            const uint4 now = w;
            w = next[0], next[0] = next[1];
            if (tile + 3 < end)
                next[1] = load_once(in.w + 32 * 3);
            add_terms<TOKENS>(a, row, first, tile, now, in, sum, block);
            advance<TOKENS>(in, 1);
        }
#pragma unroll
        for (int i = 0; i < lane_sum<TOKENS>::COUNT; i++)
            if (writes<TOKENS>(lane))
                blocks[b * TOKENS * TILE + place_of<TOKENS>(lane, i)] = block[i];
    }
    __syncthreads();
    for (int32_t i = warp * 32 + lane; i < TOKENS * TILE; i += n_warp * 32) {
        int32_t r = row_tile * TILE + i % TILE, token = first + i / TILE;
        if (r >= a.w.rows || token >= a.n_row)
            continue;
        float y = 0.0f;
        for (int32_t b = 0; b < n_block; b++)
            y += blocks[b * TOKENS * TILE + i];
        store(a, r, token, y);
    }
}

/* Grid: (row tiles, tokens / TOKENS); block: (32, warps). So many blocks per multiprocessor that a thread may
 * have 64 registers, or 128 for four tokens: fewer would spill or undo the order of the loads. */
#define KERNEL(name, tokens, body)                                                                           \
    extern "C" __global__ void __launch_bounds__(32 * ST_CUDA_GEMV_WARPS, tokens < 4 ? 4 : 2)                \
        name(const __grid_constant__ st_cuda_linear a)                                                       \
    {                                                                                                        \
        body<tokens>(a);                                                                                     \
    }

KERNEL(linear_gemv_1, 1, whole_rows)
KERNEL(linear_gemv_2, 2, whole_rows)
KERNEL(linear_gemv_4, 4, whole_rows)
KERNEL(linear_gemv_groups_1, 1, groups)
KERNEL(linear_gemv_groups_2, 2, groups)
KERNEL(linear_gemv_groups_4, 4, groups)
