#include "bench/blas.h"

#include <dlfcn.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

/* Values of cblas.h, whose interface has 32-bit integers in this library. */
enum { ROW_MAJOR = 101, NO_TRANSPOSE = 111, TRANSPOSE = 112 };
#define LIBRARY "libopenblas.so.0"

typedef void (*gemm_fn)(int order, int transpose_a, int transpose_b, int m, int n, int k, float alpha,
                        const float *a, int lda, const float *b, int ldb, float beta, float *c, int ldc);
typedef void (*gemv_fn)(int order, int transpose, int m, int n, float alpha, const float *a, int lda,
                        const float *x, int incx, float beta, float *y, int incy);
typedef void (*set_threads_fn)(int n);
typedef char *(*config_fn)(void);

struct st_blas {
    void *library;
    gemm_fn gemm;
    gemv_fn gemv;
    set_threads_fn set_threads;
    int32_t n_thread;
    char version[48];
};

/* A function's address by name; objects and functions have the same kind of pointers in POSIX. */
static bool find(void *library, const char *name, void *function)
{
    void *address = dlsym(library, name);
    memcpy(function, &address, sizeof address);
    return address != NULL;
}

st_blas *st_blas_open(int32_t n_thread, char *why_not, size_t size)
{
    config_fn config;
    st_blas *b = st_calloc(1, sizeof *b);
    if (!b) {
        snprintf(why_not, size, "out of memory");
        return NULL;
    }
    /* Its threads spin for a while after a product (2^n cycles), in what is measured next. */
    setenv("OPENBLAS_THREAD_TIMEOUT", "4", 0);
    b->n_thread = n_thread;
    b->library = dlopen(LIBRARY, RTLD_NOW | RTLD_LOCAL);
    if (!b->library)
        snprintf(why_not, size, "%s", dlerror());
    else if (!find(b->library, "cblas_sgemm", &b->gemm) || !find(b->library, "cblas_sgemv", &b->gemv) ||
             !find(b->library, "openblas_set_num_threads", &b->set_threads) ||
             !find(b->library, "openblas_get_config", &config))
        snprintf(why_not, size, "%s lacks functions of OpenBLAS", LIBRARY);
    else {
        snprintf(b->version, sizeof b->version, "%.47s", config()); /* "OpenBLAS 0.3.21 ..." */
        char *second = strchr(b->version, ' ');
        second = second ? strchr(second + 1, ' ') : NULL;
        if (second)
            *second = '\0';
        return b;
    }
    st_blas_close(&b);
    return NULL;
}

/* The library stays: closing it would have to end its threads. */
void st_blas_close(st_blas **blas)
{
    st_free(*blas);
    *blas = NULL;
}

const char *st_blas_version(const st_blas *b)
{
    return b->version;
}

void st_blas_multiply(const st_blas *b, const float *w, const float *x, int32_t stride, int32_t n, int32_t k,
                      int32_t rows, float *y)
{
    b->set_threads(b->n_thread);
    if (rows == 1)
        b->gemv(ROW_MAJOR, NO_TRANSPOSE, n, k, 1.0f, w, stride, x, 1, 0.0f, y, 1);
    else
        b->gemm(ROW_MAJOR, NO_TRANSPOSE, TRANSPOSE, rows, n, k, 1.0f, x, stride, w, stride, 0.0f, y, n);
}
