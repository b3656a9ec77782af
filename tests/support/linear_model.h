/* The arithmetic of sterna/linear.h, written from its text alone: nothing of the library is called. */
#ifndef TEST_LINEAR_MODEL_H
#define TEST_LINEAR_MODEL_H

#include "sterna/linear.h"

/* f32 [cols] -> i8 [cols] and f32 [act_group ? ceil(cols / act_group) : 1] */
void model_quantise(const float *x, int32_t cols, int32_t act_group, int8_t *codes, float *scales);

/* One row of activations: f32, or codes and scales. */
typedef struct model_row {
    const float *x; /* NULL: int8 */
    const int8_t *codes;
    const float *scales;
    int32_t act_group;
} model_row;

/* f32 [N]; with `accumulate` y holds the old values. */
void model_linear(const sterna_matrix *m, const model_row *row, bool accumulate, float *y);

/* f16 and bf16 as f32. */
float model_half(uint16_t h);
float model_bfloat(uint16_t h);

#endif
