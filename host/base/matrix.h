/* The canonical matrix: what every file encoding is decoded to and every backend uploads from.
 *
 * TERNARY rows hold 2-bit codes, row-major, element k of a row in bits 2*(k%4) of byte k/4, value = code - 1.
 * Code 3 (value +2) is legal where a file format has four levels (Q2_0); `has_code3` says whether any occurs.
 * Rows are `row_bytes` apart (a multiple of 16) and padded with code 1, which is zero.
 * A row's scales are either one f32 (group == 0) or one f16/bf16/f32 for each group of columns, as stored.
 * Dense types (F32, F16, BF16) are plain row-major arrays; Q8 is int8 with scales like those of TERNARY. It
 * may also lie in `blocks` as files have them: an f16 scale and 32 codes, at any alignment. */
#ifndef ST_MATRIX_H
#define ST_MATRIX_H

#include "host/base/base.h"

typedef enum st_type { ST_TERNARY, ST_Q8, ST_F16, ST_BF16, ST_F32 } st_type;

enum { ST_BLOCK_COLS = 32, ST_BLOCK_BYTES = 2 + ST_BLOCK_COLS };

typedef struct st_matrix {
    st_type type;
    st_type scale_type; /* TERNARY, Q8: ST_F32, ST_F16 or ST_BF16; group == 0 demands ST_F32 */
    int32_t rows;       /* N, output features, 1 ... ST_MAX_ROWS */
    int32_t cols;       /* K, input features, 1 ... ST_MAX_COLS */
    int32_t group;     /* columns per scale: 0 (whole row), 32, 64, 128 or 256; the last group may be short */
    bool has_code3;    /* TERNARY: some value is +2 */
    bool blocks;       /* Q8: scales stand between the codes; `group` is 32 and divides `cols` */
    size_t row_bytes;  /* distance between rows of `data` */
    bool lasting;      /* `data` stays as it is while a weight made of it lives: it may be used in place */
    const void *data;  /* [rows][row_bytes]; not owned */
    const void *scale; /* [rows][st_matrix_groups()]; NULL for dense types and blocks; not owned */
} st_matrix;

/* Sparse fp16 weights that replace a base code of zero ("super weights"), sorted by row, then column. */
typedef struct st_outliers {
    int32_t count;       /* <= ST_MAX_OUTLIER */
    const int32_t *row;  /* [count] */
    const int32_t *col;  /* [count], ascending within a row */
    const uint16_t *f16; /* [count] */
} st_outliers;

#define ST_TERNARY_ZERO_BYTE 0x55 /* four codes 1 */

static inline int32_t st_matrix_groups(const st_matrix *m)
{
    return m->group ? (int32_t)st_ceil_div(m->cols, m->group) : 1;
}

/* Bytes of one canonical row without regard to alignment of later rows: what `row_bytes` must be, but for
 * rows of blocks. */
static inline size_t st_row_bytes(st_type type, int64_t cols)
{
    switch (type) {
    case ST_TERNARY:
        return st_align_up((size_t)(cols + 3) / 4, 16);
    case ST_Q8:
        return (size_t)cols;
    case ST_F16:
    case ST_BF16:
        return (size_t)cols * 2;
    case ST_F32:
        break;
    }
    return (size_t)cols * 4;
}

/* Code 0..3 of an element of a TERNARY matrix. */
static inline uint8_t st_matrix_code(const st_matrix *m, int64_t row, int64_t col)
{
    const uint8_t *codes = (const uint8_t *)m->data + (size_t)row * m->row_bytes;
    return (uint8_t)(codes[col >> 2] >> (2 * (col & 3)) & 3);
}

/* Code of an element of a Q8 matrix; the rest of its group follows it. */
static inline const int8_t *st_matrix_q8(const st_matrix *m, int64_t row, int64_t col)
{
    int64_t scales = m->blocks ? 2 * (col / ST_BLOCK_COLS + 1) : 0;
    return (const int8_t *)m->data + (size_t)row * m->row_bytes + scales + col;
}

/* Where a TERNARY or Q8 matrix has the scale of a group, as stored. */
static inline const unsigned char *st_matrix_scale_at(const st_matrix *m, int64_t row, int64_t group)
{
    if (m->blocks)
        return (const unsigned char *)m->data + (size_t)row * m->row_bytes + group * ST_BLOCK_BYTES;
    size_t index = (size_t)row * (size_t)st_matrix_groups(m) + (size_t)group;
    return (const unsigned char *)m->scale + index * st_row_bytes(m->scale_type, 1);
}

static inline const char *st_type_name(st_type type)
{
    static const char *const names[] = {"ternary", "q8", "f16", "bf16", "f32"};
    return names[type];
}

/* Scale of a group as f32; exact. `scale` may be dense types' NULL only if the matrix is dense. */
float st_matrix_scale(const st_matrix *m, int64_t row, int64_t group);
/* Any element of any type as f32: code-1 or int8 times the scale (one rounding), or the dense value (exact).
 */
float st_matrix_value(const st_matrix *m, int64_t row, int64_t col);
/* Checks every field against the comment above (not the contents of `data`). */
sterna_status st_matrix_check(const st_matrix *m, sterna_error *error);

#endif
