#include "cuda/ternary.cuh"

/* One block per token. With a rotation, block by block through shared memory, f32 [rotation.block]. */
extern "C" __global__ void __launch_bounds__(ST_CUDA_BLOCK)
    embed_generic(const __grid_constant__ st_cuda_embed a)
{
    extern __shared__ float v[];
    int32_t r = (int32_t)blockIdx.x, tid = (int32_t)threadIdx.x, cols = a.table.cols;
    if (a.pos[r] < 0)
        return;
    int32_t token = a.token[r];
    float *y = a.dst + (int64_t)r * cols;
    if (a.rotation.block == 0) {
        for (int32_t k = tid; k < cols; k += ST_CUDA_BLOCK)
            y[k] = value_of(a.table, token, k) * a.scale;
        return;
    }
    for (int32_t from = 0; from < cols; from += a.rotation.block) {
        for (int32_t k = tid; k < a.rotation.block; k += ST_CUDA_BLOCK)
            v[k] = value_of(a.table, token, from + k) * a.scale;
        __syncthreads();
        hadamard(v, a.rotation.block, a.rotation.block, a.rotation.norm);
        for (int32_t k = tid; k < a.rotation.block; k += ST_CUDA_BLOCK)
            y[from + k] = a.rotation.sign ? a.rotation.sign[from + k] * v[k] : v[k];
        __syncthreads();
    }
}
