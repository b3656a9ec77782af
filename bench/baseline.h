/* What a linear is compared with: the same product of dense weights, by plain loops and by libraries. */
#ifndef ST_BASELINE_H
#define ST_BASELINE_H

#include "host/base/base.h"

typedef struct st_baseline st_baseline;

/* The baselines there are, in the order of reports. */
enum { ST_BASELINE_FP16, ST_BASELINE_OPENBLAS, ST_BASELINE_CUBLAS, ST_BASELINE_COUNT };
const char *st_baseline_name(int which); /* "fp16-loop" */
const char *st_baseline_type(int which); /* of the weights: "f16" */

/* y [rows][n] = x [rows][k] . W [n][k], rows <= max_row, with copies of W used in turn through `footprint`
 * bytes. NULL where that cannot be: `why_not` says why. */
st_baseline *st_baseline_open(int which, int32_t n, int32_t k, int32_t max_row, int32_t n_thread,
                              size_t footprint, char *why_not, size_t size);
void st_baseline_close(st_baseline **baseline);
/* Multiplies once, with the next copy. */
void st_baseline_run(st_baseline *baseline, int32_t rows);
/* What runs: "avx512" loops, a library's version. */
const char *st_baseline_how(const st_baseline *baseline);
uint64_t st_baseline_bytes(const st_baseline *baseline, int32_t rows); /* as st_bytes_linear counts */
/* Sets x [rows][k] and takes y [rows][n] of the next product with W as it is; for tests. */
void st_baseline_set_input(st_baseline *baseline, const float *x, int32_t rows);
float st_baseline_weight(const st_baseline *baseline, int32_t row, int32_t col);
float st_baseline_result(const st_baseline *baseline, int32_t row, int32_t out);

/* ---- loops of an instruction set (baseline_fp16_<isa>.c) ---- */

/* Strides are multiples of 32, and what is past k is zero. `rows` rows of x against ST_FP16_TILE rows of W: y
 * [rows][stride_y]. One row: weights are converted on the way; more: once, into `scratch` f32
 * [ST_FP16_TILE][stride]. */
enum { ST_FP16_TILE = 16 };
typedef struct st_fp16_loops {
    const char *name;
    bool (*supported)(void);
    /* NULL: the compiler did not have the instruction set */
    void (*tile)(const uint16_t *w, const float *x, int32_t stride, int32_t rows, float *scratch, float *y,
                 int32_t stride_y);
} st_fp16_loops;
extern const st_fp16_loops st_fp16_avx512, st_fp16_avx2;

#endif
