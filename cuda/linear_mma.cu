/* linear of TERNARY by int8 on tensor cores, for several tokens. Codes are the A operand, as they lie in a
 * tile (ternary.cuh), tokens are B. A block has as many row tiles as octets of tokens. In each step it takes
 * a column tile for each of its column warps, through a ring of stages in shared memory that copies run ahead
 * of:
 *   int8 [TOKENS][128 K_WARPS]    activations; the 16 bytes at column c are at c ^ token % 8 of their 128
 *   uint4 [warps][ROW_TILES][32]  codes, a tile per warp or two, in the lane's own 16 bytes
 * With one scale per row the column warps' sums meet at the end, integers all along. With scales of groups
 * there is one column warp, which adds up terms in the contract's order. */
#include "cuda/linear.cuh"

template <int OCTETS_, bool GROUPS_> struct shape {
    static constexpr int OCTETS = OCTETS_, TOKENS = 8 * OCTETS;
    static constexpr bool GROUPS = GROUPS_;
    static constexpr int K_WARPS = GROUPS ? 1 : 8 / OCTETS;
    static constexpr int ROW_TILES = OCTETS == 8 && !GROUPS ? 2 : 1; /* of a warp */
    static constexpr int ROW_WARPS = OCTETS / ROW_TILES;
    static constexpr int THREADS = 32 * ROW_WARPS * K_WARPS;
    static constexpr int CHUNKS = 8 * K_WARPS; /* of 16 bytes, of a token in a stage */
    static constexpr int ACT_BYTES = TOKENS * CHUNKS * 16;
    static constexpr int STAGE = ACT_BYTES + OCTETS * K_WARPS * ST_CUDA_TILE_BYTES;
    static constexpr int STAGES = ST_CUDA_MMA_STAGES(OCTETS, GROUPS);
    /* Sets of accumulators for planes whose codes count 4^s times: fewer shifts where registers allow it. */
    static constexpr int SETS = GROUPS || OCTETS == 8 ? 1 : OCTETS == 4 ? 2 : 4;
    static constexpr int UNROLLED = GROUPS ? 1 : 2; /* pairs of planes: the end of a segment is long */
    static_assert(STAGE == ST_CUDA_MMA_STAGE_BYTES(OCTETS, GROUPS), "the launcher's shared memory");
    static_assert(THREADS == ST_CUDA_MMA_THREADS(OCTETS, GROUPS), "the launcher's block");
};

/* What a warp works on. */
struct place {
    int32_t lane, row_warp, k_warp, first; /* token */
    uint8_t *memory;
};

template <class S> static __device__ __forceinline__ int32_t row_tile_of(const place &p, int32_t i)
{
    return (int32_t)blockIdx.x * S::OCTETS + p.row_warp * S::ROW_TILES + i;
}

template <class S> static __device__ __forceinline__ uint8_t *code_stage(const place &p, int32_t step)
{
    int32_t warp = p.row_warp * S::K_WARPS + p.k_warp;
    return p.memory + step % S::STAGES * S::STAGE + S::ACT_BYTES + (warp * S::ROW_TILES * 32 + p.lane) * 16;
}

/* Starts the copies of a step's stage. Tokens and rows beyond the end are read as the last ones. */
template <class S>
static __device__ __forceinline__ void fetch(const st_cuda_linear &a, const place &p, int32_t step)
{
    const int32_t n_tile = k_tiles(a.w), n_row_tile = (a.w.rows + 15) / 16;
    const int32_t tile = step * S::K_WARPS + p.k_warp;
    uint8_t *acts = p.memory + step % S::STAGES * S::STAGE;
    if (tile < n_tile) {
#pragma unroll
        for (int i = 0; i < S::ROW_TILES; i++)
            copy_async(code_stage<S>(p, step) + i * ST_CUDA_TILE_BYTES,
                       tile_lane(a.w, min(row_tile_of<S>(p, i), n_row_tile - 1), tile, p.lane));
    }
#pragma unroll
    for (int i = 0; i < S::TOKENS * S::CHUNKS / S::THREADS; i++) {
        const int32_t at = (int32_t)threadIdx.x + i * S::THREADS, token = at / S::CHUNKS, c = at % S::CHUNKS;
        const int32_t column = (step * S::CHUNKS + c) * 16;
        if (column < n_tile * ST_CUDA_K_TILE)
            copy_async(acts + (token * S::CHUNKS + (c ^ token % 8)) * 16,
                       a.q.code + (int64_t)min(p.first + token, a.n_row - 1) * a.q.stride + column);
    }
}

/* Accumulators: [set][row tile][octet] fragments, in each lane rows g (c[0], c[1]) and g + 8 (c[2], c[3]) of
 * tokens 2 t and 2 t + 1. With groups the sums of terms, too. */
template <class S> struct sums {
    int32_t c[S::SETS][S::ROW_TILES][S::OCTETS][4];
    float block[S::GROUPS ? S::OCTETS : 1][4], total[S::GROUPS ? S::OCTETS : 1][4];
};

/* Row and token of an element of a fragment. */
static __device__ __forceinline__ int32_t row_in_tile(const place &p, int e)
{
    return p.lane / 4 + e / 2 * 8;
}

static __device__ __forceinline__ int32_t token_of(const place &p, int octet, int e)
{
    return p.first + 8 * octet + p.lane % 4 * 2 + e % 2;
}

/* The sums so far as terms of their segment, if `plane`, 32 columns, is its last. */
template <class S>
static __device__ __forceinline__ void end_segment(const st_cuda_linear &a, const place &p, int32_t plane,
                                                   sums<S> &y)
{
    if (!ends_segment(a, plane))
        return;
    const int32_t segment = plane >> a.plane_shift, row = row_tile_of<S>(p, 0) * 16;
    const int32_t group = segment >> a.weight_shift;
    float scale[2] = {0.0f, 0.0f};
    for (int half = 0; half < 2; half++)
        if (row < a.w.rows)
            scale[half] = scale_of(a.w, row + row_in_tile(p, 2 * half), group);
#pragma unroll
    for (int o = 0; o < S::OCTETS; o++)
#pragma unroll
        for (int odd = 0; odd < 2; odd++) {
            const int32_t token = min(token_of(p, o, odd), a.n_row - 1);
            const int32_t codes = a.q.sum[(int64_t)token * a.q.n_sum + segment];
            const float of_token = act_scale(a, token, segment);
#pragma unroll
            for (int e = odd; e < 4; e += 2) {
                y.block[o][e] += (float)(y.c[0][0][o][e] - codes) * (scale[e / 2] * of_token);
                y.c[0][0][o][e] = 0;
            }
        }
    if (!ends_block(a, segment))
        return;
#pragma unroll
    for (int o = 0; o < S::OCTETS; o++)
#pragma unroll
        for (int e = 0; e < 4; e++) {
            y.total[o][e] += y.block[o][e];
            y.block[o][e] = 0.0f;
        }
}

/* A column tile: four planes of 32 columns, an mma of each with each octet. */
template <class S>
static __device__ __forceinline__ void multiply(const st_cuda_linear &a, const place &p, int32_t step,
                                                sums<S> &y)
{
    const int32_t tile = step * S::K_WARPS + p.k_warp;
    if (tile >= k_tiles(a.w))
        return;
    const uint8_t *acts = p.memory + step % S::STAGES * S::STAGE;
    uint4 w[S::ROW_TILES];
#pragma unroll
    for (int i = 0; i < S::ROW_TILES; i++)
        w[i] = *(const uint4 *)(code_stage<S>(p, step) + i * ST_CUDA_TILE_BYTES);
#pragma unroll(S::UNROLLED)
    for (int pair = 0; pair < 2; pair++) {
        uint32_t b[S::OCTETS][4]; /* two planes of B */
#pragma unroll
        for (int o = 0; o < S::OCTETS; o++) {
            const int32_t chunk = p.k_warp * 8 + pair * 4 + p.lane / 8;
            load_matrices(b[o], acts + ((8 * o + p.lane % 8) * S::CHUNKS + (chunk ^ p.lane % 8)) * 16);
        }
#pragma unroll
        for (int s = 2 * pair; s < 2 * pair + 2; s++) {
            const int set = s % S::SETS, shift = 2 * (s - set);
#pragma unroll
            for (int i = 0; i < S::ROW_TILES; i++) {
                const uint32_t mask = CODE_PLANE << 2 * set;
                const uint32_t codes[4] = {w[i].x >> shift & mask, w[i].y >> shift & mask,
                                           w[i].z >> shift & mask, w[i].w >> shift & mask};
#pragma unroll
                for (int o = 0; o < S::OCTETS; o++)
                    mma_u8s8(y.c[set][i][o], codes, b[o] + 2 * (s % 2));
            }
            if constexpr (S::GROUPS)
                end_segment<S>(a, p, 4 * tile + s, y);
        }
    }
}

/* What comes out: through shared memory, [column warp][token][row] with a stride that spreads the lanes of a
 * store over all banks, so that neighbours in a warp write neighbours in a row. */
template <class S>
static __device__ __forceinline__ void finish(const st_cuda_linear &a, const place &p, const sums<S> &y)
{
    constexpr int ROWS = 16 * S::OCTETS, STRIDE = ROWS + 4, PART = S::TOKENS * STRIDE;
    static_assert(S::K_WARPS * PART * 4 <= S::STAGE * S::STAGES, "fits into the stages");
    int32_t *out = (int32_t *)p.memory;
#pragma unroll
    for (int i = 0; i < S::ROW_TILES; i++)
#pragma unroll
        for (int o = 0; o < S::OCTETS; o++)
#pragma unroll
            for (int e = 0; e < 4; e++) {
                int32_t value = 0;
#pragma unroll
                for (int set = 0; set < S::SETS; set++)
                    value += y.c[set][i][o][e] >> 2 * set;
                if (S::GROUPS)
                    value = __float_as_int(y.total[o][e]);
                const int32_t row = (p.row_warp * S::ROW_TILES + i) * 16 + row_in_tile(p, e);
                out[p.k_warp * PART + (token_of(p, o, e) - p.first) * STRIDE + row] = value;
            }
    __syncthreads();
#pragma unroll 1
    for (int32_t i = (int32_t)threadIdx.x; i < S::TOKENS * ROWS; i += S::THREADS) {
        const int32_t row = (int32_t)blockIdx.x * ROWS + i % ROWS, token = p.first + i / ROWS;
        const int32_t *part = out + i / ROWS * STRIDE + i % ROWS;
        if (row >= a.w.rows || token >= a.n_row)
            continue;
        if (S::GROUPS) {
            store(a, row, token, __int_as_float(*part));
            continue;
        }
        int32_t total = -a.q.sum[(int64_t)token * a.q.n_sum];
#pragma unroll
        for (int k = 0; k < S::K_WARPS; k++)
            total += part[k * PART];
        store(a, row, token, segment_term(a, row, token, 0, total));
    }
}

template <class S> static __device__ __forceinline__ void linear_mma(const st_cuda_linear &a)
{
    extern __shared__ uint4 dynamic[];
    const int32_t warp = (int32_t)threadIdx.x / 32;
    const place p = {(int32_t)threadIdx.x % 32, warp / S::K_WARPS, warp % S::K_WARPS,
                     (int32_t)blockIdx.y * S::TOKENS, (uint8_t *)dynamic};
    const int32_t n_step = (k_tiles(a.w) + S::K_WARPS - 1) / S::K_WARPS;
    sums<S> y = {};
    for (int32_t step = 0; step < S::STAGES - 1; step++) {
        if (step < n_step)
            fetch<S>(a, p, step);
        commit_copies();
    }
    for (int32_t step = 0; step < n_step; step++) {
        wait_copies<S::STAGES - 2>();
        __syncthreads(); /* this stage is there, and all are done with the one before, the next to be filled
                          */
        if (step + S::STAGES - 1 < n_step)
            fetch<S>(a, p, step + S::STAGES - 1);
        commit_copies();
        multiply<S>(a, p, step, y);
    }
    wait_copies<0>();
    __syncthreads();
    finish<S>(a, p, y);
}

/* Grid: (row tiles / octets, tokens / 8 octets). Two blocks per multiprocessor: asked for none, the compiler
 * spills to have more. */
#define KERNEL(name, octets, groups)                                                                         \
    extern "C" __global__ void __launch_bounds__(ST_CUDA_MMA_THREADS(octets, groups), (octets) < 8 ? 2 : 1)  \
        name(const __grid_constant__ st_cuda_linear a)                                                       \
    {                                                                                                        \
        linear_mma<shape<octets, groups>>(a);                                                                \
    }

KERNEL(linear_mma_1, 1, false)
KERNEL(linear_mma_2, 2, false)
KERNEL(linear_mma_4, 4, false)
KERNEL(linear_mma_8, 8, false)
KERNEL(linear_mma_groups_1, 1, true)
KERNEL(linear_mma_groups_2, 2, true)
KERNEL(linear_mma_groups_4, 4, true)
KERNEL(linear_mma_groups_8, 8, true)
