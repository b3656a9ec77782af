/* Matrices with random contents, and their elements as doubles by an own reading of the format. */
#ifndef TEST_RANDOM_MATRIX_H
#define TEST_RANDOM_MATRIX_H

#include "host/base/matrix.h"

typedef struct random_matrix {
    st_matrix m;
    unsigned char *data;
    void *scale;
} random_matrix;

/* Rows stand 16 bytes further apart than they must, with 0xff between. Scales are powers of two from 2^-3 to
 * 2^3 with either sign, int8 values at most 15, dense values small multiples of 1/8: exact in every type, and
 * sums of a few thousand products are exact in f32. */
random_matrix random_matrix_create(st_type type, int32_t rows, int32_t cols, int32_t group,
                                   st_type scale_type, bool code3, uint32_t seed);
void random_matrix_free(random_matrix *r);
/* The integer of a TERNARY or Q8 element, the scale of its column, and the value of any element. */
int random_matrix_integer(const random_matrix *r, int32_t row, int32_t col);
double random_matrix_scale(const random_matrix *r, int32_t row, int32_t col);
double random_matrix_value(const random_matrix *r, int32_t row, int32_t col);

#endif
