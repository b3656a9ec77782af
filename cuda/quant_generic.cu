/* norm_quant and glu_norm_quant. One block per row. The row passes through shared memory in chunks of
 * ST_CUDA_CHUNK columns, a multiple of every rotation block and group; a row of several chunks is computed
 * twice, for the maxima and for the codes. Groups are counted in slices of 32 columns, each the work of 8
 * threads with 4 columns. */
#include "cuda/numerics.cuh"

enum { SLICE = 32 };

struct row {
    const float *x; /* gate, or the input itself */
    float factor;
    int32_t cols;
};

static __device__ __forceinline__ float input(const st_cuda_quant &a, const row &r, int32_t k)
{
    return a.act < 0 ? r.x[k] : activate(a.act, r.x[k]) * r.x[r.cols + k];
}

/* Columns [first, first + n) after norm and rotation; columns up to the next multiple of 32 become 0. */
static __device__ void load_chunk(const st_cuda_quant &a, const row &r, int32_t first, int32_t n, float *v)
{
    int32_t tid = (int32_t)threadIdx.x;
    for (int32_t k = tid; k < (n + SLICE - 1) / SLICE * SLICE; k += ST_CUDA_BLOCK) {
        float x = 0.0f;
        if (k < n) {
            x = input(a, r, first + k);
            x = a.weight ? (x * r.factor) * a.weight[first + k] : x;
            if (a.rotation.block && a.rotation.sign)
                x = a.rotation.sign[first + k] * x;
        }
        v[k] = x;
    }
    __syncthreads();
    if (a.rotation.block)
        hadamard(v, n, a.rotation.block, a.rotation.norm);
}

/* Greatest |bits| of each slice of the chunk, from slice `first` of the row on. */
static __device__ void slice_maxima(const float *v, int32_t n_slice, uint32_t *top)
{
    for (int32_t quad = (int32_t)threadIdx.x; quad < (n_slice + 3) / 4 * 32; quad += ST_CUDA_BLOCK) {
        uint32_t m = 0;
        if (quad < n_slice * 8) {
            float4 x = ((const float4 *)v)[quad];
            m = max(max(__float_as_uint(x.x) & 0x7fffffffu, __float_as_uint(x.y) & 0x7fffffffu),
                    max(__float_as_uint(x.z) & 0x7fffffffu, __float_as_uint(x.w) & 0x7fffffffu));
        }
#pragma unroll
        for (int s = 4; s > 0; s /= 2)
            m = max(m, __shfl_xor_sync(ALL_LANES, m, s));
        if (quad % 8 == 0 && quad < n_slice * 8)
            top[quad / 8] = m;
    }
    __syncthreads();
}

static __device__ __forceinline__ int32_t code_of_value(float x, float factor)
{
    float q = rintf(x * factor);
    return q >= -127.0f && q <= 127.0f ? (int32_t)q : 0;
}

/* Codes of the chunk, and each slice's sum of them. The chunk ends at the end of a 128-column tile. */
static __device__ void write_codes(const float *v, int32_t n, int32_t n_slice, int32_t group_slices,
                                   const float *factor, int8_t *code, int32_t *sum)
{
    int32_t n_quad = (n + 127) / 128 * 32;
    for (int32_t quad = (int32_t)threadIdx.x; quad < n_quad; quad += ST_CUDA_BLOCK) {
        int32_t slice = quad / 8, total = 0;
        uint32_t packed = 0;
        if (slice < n_slice) {
            float4 x = ((const float4 *)v)[quad];
            float f = factor[slice / group_slices];
            int32_t c[4] = {code_of_value(x.x, f), code_of_value(x.y, f), code_of_value(x.z, f),
                            code_of_value(x.w, f)};
#pragma unroll
            for (int i = 0; i < 4; i++) {
                packed |= ((uint32_t)c[i] & 0xffu) << 8 * i;
                total += c[i];
            }
        }
        ((uint32_t *)code)[quad] = packed;
#pragma unroll
        for (int s = 4; s > 0; s /= 2)
            total += __shfl_xor_sync(ALL_LANES, total, s);
        if (quad % 8 == 0 && slice < n_slice)
            sum[slice] = total;
    }
    __syncthreads();
}

/* Groups of the chunk -> factors (shared) and scales. One thread per group. */
static __device__ void finish_groups(const uint32_t *top, int32_t n_slice, int32_t group_slices,
                                     float *factor, float *scale)
{
    int32_t n_group = (n_slice + group_slices - 1) / group_slices;
    for (int32_t g = (int32_t)threadIdx.x; g < n_group; g += ST_CUDA_BLOCK) {
        uint32_t m = __float_as_uint(ST_QUANT_EPS);
        for (int32_t s = g * group_slices; s < min(n_slice, (g + 1) * group_slices); s++)
            m = max(m, top[s]);
        float a = __uint_as_float(m);
        factor[g] = 127.0f / a;
        scale[g] = a / 127.0f;
    }
    __syncthreads();
}

static __device__ void finish_sums(const int32_t *slice_sum, int32_t n_slice, int32_t group_slices,
                                   int32_t *sum)
{
    int32_t n_group = (n_slice + group_slices - 1) / group_slices;
    for (int32_t g = (int32_t)threadIdx.x; g < n_group; g += ST_CUDA_BLOCK) {
        int32_t total = 0;
        for (int32_t s = g * group_slices; s < min(n_slice, (g + 1) * group_slices); s++)
            total += slice_sum[s];
        sum[g] = total;
    }
    __syncthreads();
}

/* Greatest |bits| of the whole row; leaves the last chunk in v. */
static __device__ uint32_t row_maximum(const st_cuda_quant &a, const row &r, float *v, uint32_t *shared)
{
    uint32_t m = __float_as_uint(ST_QUANT_EPS);
    for (int32_t first = 0; first < r.cols; first += ST_CUDA_CHUNK) {
        int32_t n = min(ST_CUDA_CHUNK, r.cols - first);
        __syncthreads();
        load_chunk(a, r, first, n, v);
        for (int32_t k = (int32_t)threadIdx.x; k < n; k += ST_CUDA_BLOCK)
            m = max(m, __float_as_uint(v[k]) & 0x7fffffffu);
    }
    return max_block(m, shared);
}

/* Sum of an int over the block; every thread gets it. shared: i32 [8]. */
static __device__ int32_t sum_block(int32_t x, int32_t *shared)
{
#pragma unroll
    for (int s = 16; s > 0; s /= 2)
        x += __shfl_xor_sync(ALL_LANES, x, s);
    if (threadIdx.x % 32 == 0)
        shared[threadIdx.x / 32] = x;
    __syncthreads();
    x = 0;
#pragma unroll
    for (int i = 0; i < ST_CUDA_BLOCK / 32; i++)
        x += shared[i];
    __syncthreads();
    return x;
}

/* Dynamic shared memory: f32 [min(cols, ST_CUDA_CHUNK) rounded up to 128]. */
extern "C" __global__ void __launch_bounds__(ST_CUDA_BLOCK)
    quant_generic(const __grid_constant__ st_cuda_quant a)
{
    extern __shared__ float4 dynamic[];
    float *v = (float *)dynamic;
    __shared__ float lanes[ST_CUDA_BLOCK];             /* sums of squares, then factors of groups */
    __shared__ uint32_t slices[ST_CUDA_CHUNK / SLICE]; /* maxima, then sums */
    static_assert(ST_CUDA_CHUNK / SLICE <= ST_CUDA_BLOCK, "a factor for each slice");
    int32_t r = (int32_t)blockIdx.x, tid = (int32_t)threadIdx.x, from = source_row(a.rows, r);
    if (from < 0)
        return;
    row input_row = {a.src + (int64_t)from * a.dst.cols * (a.act < 0 ? 1 : 2), 0.0f, a.dst.cols};
    if (a.weight) {
        float sum = 0.0f;
        for (int32_t k = tid; k < a.dst.cols; k += ST_CUDA_BLOCK) {
            float x = input(a, input_row, k);
            sum += x * x;
        }
        input_row.factor = rms_factor(fold_block(sum, lanes), a.dst.cols, a.eps);
    }
    int8_t *code = a.dst.code + (int64_t)r * a.dst.stride;
    float *scale = a.dst.scale + (int64_t)r * a.dst.n_scale;
    int32_t *sum = a.dst.sum + (int64_t)r * a.dst.n_sum;
    bool one_chunk = a.dst.cols <= ST_CUDA_CHUNK;
    if (a.dst.act_group == 0) {
        float top = __uint_as_float(row_maximum(a, input_row, v, slices));
        if (tid == 0) {
            lanes[0] = 127.0f / top;
            scale[0] = top / 127.0f;
        }
        __syncthreads();
    }
    int32_t row_sum = 0;
    for (int32_t first = 0; first < a.dst.cols; first += ST_CUDA_CHUNK) {
        int32_t n = min(ST_CUDA_CHUNK, a.dst.cols - first), n_slice = (n + SLICE - 1) / SLICE;
        if (a.dst.act_group || !one_chunk)
            load_chunk(a, input_row, first, n, v);
        int32_t group_slices = n_slice;
        if (a.dst.act_group) {
            group_slices = a.dst.act_group / SLICE;
            slice_maxima(v, n_slice, slices);
            finish_groups(slices, n_slice, group_slices, lanes, scale + first / a.dst.act_group);
        }
        write_codes(v, n, n_slice, group_slices, lanes, code + first, (int32_t *)slices);
        if (a.dst.sum_group)
            finish_sums((const int32_t *)slices, n_slice, a.dst.sum_group / SLICE,
                        sum + first / a.dst.sum_group);
        else
            for (int32_t s = tid; s < n_slice; s += ST_CUDA_BLOCK)
                row_sum += (int32_t)slices[s];
        __syncthreads();
    }
    if (a.dst.sum_group == 0) {
        row_sum = sum_block(row_sum, (int32_t *)slices);
        if (tid == 0)
            sum[0] = row_sum;
    }
}
