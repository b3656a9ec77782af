/* Random calls of the kernel library, with what the model says must come out. */
#ifndef TEST_LINEAR_CASE_H
#define TEST_LINEAR_CASE_H

#include "tests/support/linear_model.h"

enum { CASE_INPUTS = 3 }; /* sterna_input */

typedef struct linear_case {
    sterna_matrix m;
    int32_t act_group, n_tok, n_scale;
    bool accumulate;
    bool takes[CASE_INPUTS];
    float *x;      /* f32 [n_tok][K] */
    int8_t *codes; /* i8 [n_tok][K], not those of x */
    float *scales; /* f32 [n_tok][n_scale] */
    float *old;    /* f32 [n_tok][N] */
    float *want[CASE_INPUTS];
    char name[160];
} linear_case;

typedef struct linear_spec {
    sterna_matrix_type type, scale_type;
    int32_t rows, cols, n_tok, group, act_group;
    bool four_levels, bias, accumulate, out_scale, outliers, wide_rows;
} linear_spec;

linear_case linear_case_create(const linear_spec *spec, uint32_t seed);
void linear_case_free(linear_case *c);
/* Parameters of case i: all pairs of group and act_group come up for TERNARY and Q8. */
linear_spec linear_spec_of(int i);

#endif
