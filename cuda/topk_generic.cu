/* One block per wanted row. The k largest are found by their 64-bit keys, which are distinct: the adjusted
 * logit's order above the token's, the smaller token being the greater. */
#include "cuda/numerics.cuh"

enum { BINS = 256 };

/* Order of adjusted logits: NaN above all, -0 as +0. */
static __device__ __forceinline__ uint32_t rank_of(float x)
{
    return x != x ? 0xffffffffu : ordered(x + 0.0f);
}

static __device__ __forceinline__ uint64_t key_of(float x, int32_t token)
{
    return (uint64_t)rank_of(x) << 32 | (uint32_t)~token;
}

/* Logit of a token after the row's adjustments, which are sorted by token. */
static __device__ __forceinline__ float adjusted(const st_adjustment *list, int32_t n, int32_t token, float l)
{
    int32_t low = 0, high = n;
    while (low < high) {
        int32_t middle = (low + high) / 2;
        if (list[middle].token < token)
            low = middle + 1;
        else
            high = middle;
    }
    if (low == n || list[low].token != token)
        return l;
    return canonical(l * (l > 0.0f ? list[low].positive : list[low].negative) + list[low].add);
}

struct row {
    const float *logits;
    const st_adjustment *list;
    int32_t n_list, n_vocab;
};

static __device__ __forceinline__ float value_at(const row &r, int32_t token)
{
    return adjusted(r.list, r.n_list, token, r.logits[token]);
}

/* Maximum and the 256-lane sum of exp, of raw (n_list 0) or adjusted logits. */
static __device__ void normaliser(const row &r, float *lanes, uint32_t *maxima, float *max_out,
                                  float *sum_out)
{
    uint32_t top = 0;
    for (int32_t t = (int32_t)threadIdx.x; t < r.n_vocab; t += ST_CUDA_BLOCK)
        top = max(top, rank_of(value_at(r, t)));
    top = max_block(top, maxima);
    float greatest = top == 0xffffffffu ? canonical(NAN) : unordered(top), sum = 0.0f;
    for (int32_t t = (int32_t)threadIdx.x; t < r.n_vocab; t += ST_CUDA_BLOCK)
        sum += exp_f32(value_at(r, t) - greatest);
    sum = fold_block(sum, lanes);
    if (threadIdx.x == 0) {
        *max_out = greatest;
        *sum_out = canonical(sum);
    }
}

/* The k-th greatest key, byte by byte from the top: counts of the next byte among keys that share the bytes
 * found so far. bins: u32 [256]. found: u64 and u32, shared. */
static __device__ uint64_t threshold(const row &r, uint32_t k, uint32_t *bins, uint64_t *found,
                                     uint32_t *left)
{
    int32_t tid = (int32_t)threadIdx.x;
    uint64_t prefix = 0;
    for (int shift = 56; shift >= 0; shift -= 8) {
        bins[tid] = 0;
        __syncthreads();
        for (int32_t t = tid; t < r.n_vocab; t += ST_CUDA_BLOCK) {
            uint64_t key = key_of(value_at(r, t), t);
            if (shift == 56 || key >> (shift + 8) == prefix)
                atomicAdd(&bins[key >> shift & 0xff], 1u);
        }
        __syncthreads();
        if (tid == 0) {
            uint32_t rest = k, bin = BINS - 1;
            for (; bins[bin] < rest; bin--)
                rest -= bins[bin];
            *found = prefix << 8 | bin;
            *left = rest;
        }
        __syncthreads();
        prefix = *found;
        k = *left;
        __syncthreads();
    }
    return prefix;
}

extern "C" __global__ void __launch_bounds__(ST_CUDA_BLOCK)
    topk_generic(const __grid_constant__ st_cuda_topk a)
{
    __shared__ float lanes[ST_CUDA_BLOCK];
    __shared__ uint32_t maxima[ST_CUDA_BLOCK / 32], bins[BINS], left, count;
    __shared__ uint64_t found, best[ST_MAX_TOPK];
    static_assert(ST_MAX_TOPK <= ST_CUDA_BLOCK, "a thread per candidate");
    int32_t i = (int32_t)blockIdx.x, tid = (int32_t)threadIdx.x;
    if (a.out[i] < 0)
        return;
    row raw = {a.logits + (int64_t)i * a.n_vocab, NULL, 0, a.n_vocab}, changed = raw;
    if (a.max_adjust) {
        changed.list = a.adjust + (int64_t)i * a.max_adjust;
        changed.n_list = a.n_adjust[i];
    }
    st_topk_stats *stats = a.stats + i;
    normaliser(raw, lanes, maxima, &stats->max, &stats->sum_exp);
    normaliser(changed, lanes, maxima, &stats->adjusted_max, &stats->adjusted_sum_exp);
    if (tid == 0) {
        int32_t want = a.want[i];
        stats->want = want < 0 ? 0.0f : raw.logits[want];
        stats->want_adjusted = want < 0 ? 0.0f : value_at(changed, want);
        count = 0;
    }
    uint64_t least = threshold(changed, (uint32_t)a.k, bins, &found, &left);
    for (int32_t t = tid; t < a.n_vocab; t += ST_CUDA_BLOCK) {
        uint64_t key = key_of(value_at(changed, t), t);
        if (key >= least)
            best[atomicAdd(&count, 1u)] = key;
    }
    __syncthreads();
    if (tid >= a.k)
        return;
    int32_t place = 0, token = (int32_t) ~(uint32_t)best[tid];
    for (int32_t other = 0; other < a.k; other++)
        place += best[other] > best[tid];
    st_candidate *to = a.candidates + (int64_t)i * a.k + place;
    to->token = token;
    to->value = value_at(changed, token);
    to->raw = raw.logits[token];
}
