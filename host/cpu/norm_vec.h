/* norm for vectors of any width, and the two loops that other ops need of it. */
#ifndef ST_CPU_NORM_VEC_H
#define ST_CPU_NORM_VEC_H

#include "host/cpu/vec.h"

/* st_rms_factor. As many of the 256 lanes as fit the registers at a time; x stays in the first-level cache.
 */
static float rms_factor(const float *x, int32_t n, float eps)
{
    enum { N = VEC == 16 ? 16 : 8 };
    float lane[ST_LANES];
    for (int32_t first = 0; first < ST_LANES; first += N * VEC) {
        vec sum[N];
        UNROLL for (int v = 0; v < N; v++)
        {
            sum[v] = vec_zero();
        }
        int32_t i = first;
        for (; i - first + ST_LANES <= n; i += ST_LANES) {
            UNROLL for (int v = 0; v < N; v++)
            {
                vec a = vec_load(x + i + VEC * v);
                sum[v] = vec_add(sum[v], vec_mul(a, a));
            }
        }
        UNROLL for (int v = 0; v < N; v++)
        {
            if (i + VEC * v < n) {
                vec a = vec_load_first(x + i + VEC * v, (int)st_min(VEC, n - i - VEC * v));
                sum[v] = vec_add(sum[v], vec_mul(a, a));
            }
            vec_store(lane + first + VEC * v, sum[v]);
        }
    }
    float mean = fold_lanes(lane) / (float)n;
    return 1.0f / sqrtf(mean + eps);
}

/* y = (x * factor) * w; y may be x. */
static void scale_row(const float *x, float factor, const float *w, int32_t n, float *y)
{
    const vec f = vec_set(factor);
    int32_t i = 0;
    for (; i + VEC <= n; i += VEC)
        vec_store(y + i, vec_mul(vec_mul(vec_load(x + i), f), vec_load(w + i)));
    for (; i < n; i++)
        y[i] = x[i] * factor * w[i];
}

#endif
