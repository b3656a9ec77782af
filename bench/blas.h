/* OpenBLAS, loaded at run time if it is there. */
#ifndef ST_BLAS_H
#define ST_BLAS_H

#include "host/base/base.h"

typedef struct st_blas st_blas;

/* NULL where there is none: `why_not` says why. */
st_blas *st_blas_open(int32_t n_thread, char *why_not, size_t size);
void st_blas_close(st_blas **blas);
const char *st_blas_version(const st_blas *blas);
/* y [rows][n] = x [rows][k] . W [n][k]; rows of x and W are `stride` apart. */
void st_blas_multiply(const st_blas *blas, const float *w, const float *x, int32_t stride, int32_t n,
                      int32_t k, int32_t rows, float *y);

#endif
