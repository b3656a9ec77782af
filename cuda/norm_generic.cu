#include "cuda/numerics.cuh"

/* One block per row; dst may be src, since a thread reads an element last before it writes it. */
extern "C" __global__ void __launch_bounds__(ST_CUDA_BLOCK)
    norm_generic(const __grid_constant__ st_cuda_norm a)
{
    __shared__ float lanes[ST_CUDA_BLOCK];
    int32_t r = (int32_t)blockIdx.x, from = source_row(a.rows, r);
    if (from < 0)
        return;
    const float *x = a.src + (int64_t)from * a.dim;
    float *y = a.dst + (int64_t)r * a.dim;
    float sum = 0.0f;
    for (int32_t k = (int32_t)threadIdx.x; k < a.dim; k += ST_CUDA_BLOCK)
        sum += x[k] * x[k];
    float factor = rms_factor(fold_block(sum, lanes), a.dim, a.eps);
    for (int32_t k = (int32_t)threadIdx.x; k < a.dim; k += ST_CUDA_BLOCK) {
        float v = (x[k] * factor) * a.weight[k];
        y[k] = a.accumulate ? y[k] + v : v;
    }
}
