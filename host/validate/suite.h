/* Inside the conformance suite: what the files of the ops build their cases from. */
#ifndef ST_VALIDATE_SUITE_H
#define ST_VALIDATE_SUITE_H

#include "host/validate/validate.h"

#include <setjmp.h>

enum { ST_CASE_MAX_BUF = 24, ST_CASE_MAX_PLANE = 8 };

typedef struct st_suite st_suite;
typedef struct st_case st_case;

/* A case's buffers and weight on one device. */
typedef struct st_rig {
    st_device *dev;
    st_buf *buf[ST_CASE_MAX_BUF];
    void *guarded[ST_CASE_MAX_BUF]; /* host devices: the memory that buf wraps, with guards on both sides */
    st_weight *weight;
} st_rig;

typedef enum st_plane_type { ST_PLANE_F32, ST_PLANE_I32, ST_PLANE_I8 } st_plane_type;

/* Part of an output buffer that a miss is described by. Rows whose `live` entry is negative are padding. */
typedef struct st_plane {
    const char *name;
    st_plane_type type;
    int buf;
    size_t offset, row_bytes;
    int32_t n_row, n_col;
    const int32_t *live; /* [n_row], or NULL: all */
} st_plane;

typedef struct st_case_buf {
    size_t bytes;
    unsigned char *before, *expected; /* contents before the call and as the reference leaves them */
    bool internal;                    /* layout private to the device: filled with NaN, never compared */
} st_case_buf;

/* Indices of the batch arrays among the buffers. */
typedef struct st_case_batch {
    int32_t n_token, n_seq, n_out, max_blocks;
    int token, pos, seq, slot, table, length, out;
    const int32_t *host_pos, *host_out; /* which rows are padding */
} st_case_batch;

struct st_case {
    st_suite *suite;
    st_op op;
    int32_t m, n, k;
    char parameters[256];
    uint64_t random; /* state of st_random */
    int n_buf, n_plane;
    st_case_buf buf[ST_CASE_MAX_BUF];
    st_plane plane[ST_CASE_MAX_PLANE];
    /* weight, if n_part > 0 */
    st_matrix part[2];
    int n_part;
    float *bias;
    float out_scale;
    st_outliers outliers;
    bool with_nan; /* the results may have NaN */
    const void *args;
    void (*run)(const st_case *c, st_rig *rig);
};

/* ---- suite.c: life of a case ---- */
/* Starts a case; `format` names its parameters, which with the shape and the seed settle its contents. */
st_case *st_case_begin(st_suite *suite, st_op op, int32_t m, int32_t n, int32_t k, const char *format, ...)
    ST_PRINTF(6, 7);
/* Runs it on the reference and on every device, variant and thread count; frees it. */
void st_case_end(st_case *c);
/* Memory until the end of the case. */
void *st_case_alloc(st_case *c, size_t bytes);
/* Adds a buffer; contents NULL = NaN. Returns its index. */
int st_case_buf_add(st_case *c, const void *contents, size_t bytes);
int st_case_buf_internal(st_case *c, size_t bytes);
void st_case_plane(st_case *c, st_plane plane);
st_qact st_case_qact(const st_qact *q, const st_rig *rig, int buf);
/* The planes of a quantised buffer, for descriptions and padding. */
void st_case_qact_planes(st_case *c, const st_qact *q, int buf, int32_t n_row, const int32_t *live);
/* Ends the suite with an error; does not return. */
void st_suite_fail(st_suite *suite, sterna_status status, const char *format, ...) ST_PRINTF(3, 4);
const st_validate_options *st_suite_options(const st_suite *suite);
/* Combinations of this run for an op that has `tile` of them in size TILE, and `real` ones of real shapes. */
int st_suite_tile_count(const st_suite *suite, int tile);
int st_suite_real_count(const st_suite *suite, int real);
/* Replaces the dimensions by those that were asked for, if any. */
void st_suite_shape(const st_suite *suite, int32_t *m, int32_t *n, int32_t *k);
/* A fixed pseudo-random number of case i for each `salt`: parameters that are drawn with different salts meet
 * in all pairs. */
uint32_t st_mix(int i, int salt);
/* An item of a list for case i, and true in one of n cases. */
#define ST_PICK(list, i, salt) ((list)[st_mix(i, salt) % (sizeof(list) / sizeof(list)[0])])
#define ST_ONE_IN(n, i, salt)  (st_mix(i, salt) % (n) == 0)

/* ---- batch.c ---- */
/* One sequence of m tokens at positions 0 ... m - 1; some rows are padding if asked for. n_out > 0: that many
 * wanted rows, some of them padding. */
st_case_batch st_case_rows(st_case *c, int32_t m, int32_t n_out, bool padding);
st_batch st_rig_batch(const st_case *c, const st_rig *rig, const st_case_batch *batch);
void st_rig_begin(const st_rig *rig, const st_batch *batch);
void st_rig_end(const st_case *c, const st_rig *rig);

/* ---- fill.c ---- */
typedef enum st_fill {
    ST_FILL_UNIFORM,
    ST_FILL_ZERO,
    ST_FILL_PLUS,        /* all at the positive limit */
    ST_FILL_MINUS,       /* activations at the negative limit, weights at the positive one */
    ST_FILL_ALTERNATING, /* +limit, -limit */
    ST_FILL_SINGLE,      /* one non-zero element per row */
    ST_FILL_LIMIT,       /* limits with random signs, extreme scales */
    ST_FILL_COUNT
} st_fill;
extern const char *const st_fill_names[ST_FILL_COUNT];

uint64_t st_random(st_case *c);
int32_t st_random_below(st_case *c, int32_t n);
float st_random_real(st_case *c); /* [-1, 1) */
/* f32 [rows][cols] */
float *st_fill_floats(st_case *c, st_fill fill, int64_t rows, int64_t cols);
int32_t *st_fill_signs(st_case *c, int32_t n); /* f32 +-1 as bits */
/* A weight of c->n x c->k in one or two parts. `code3`: values of +2 occur (TERNARY). `blocks` are for k that
 * is a multiple of 32, others get no blocks. */
typedef struct st_weight_spec {
    st_type type, scale_type;
    int32_t group;
    bool code3, blocks, lasting, two_parts, bias, outliers, out_scale;
} st_weight_spec;
void st_fill_weight(st_case *c, st_fill fill, const st_weight_spec *spec);
/* The parameters of a weight in combination i; *k becomes a number of columns that they are for. */
st_weight_spec st_pick_weight(int i, st_type type, st_type scale_type, int32_t *k);
/* The parameters of a quantiser over k columns in combination i. */
typedef struct st_quant_spec {
    int32_t act_group, sum_group;
    int32_t block; /* of the rotation; 0 = none */
    bool sign;
} st_quant_spec;
st_quant_spec st_pick_quant(int i, int32_t k);
/* Quantised activations of m rows, written as planes. */
void *st_fill_qact(st_case *c, st_fill fill, const st_qact *q);

/* ---- the ops ---- */
void st_validate_embed(st_suite *suite);
void st_validate_norm(st_suite *suite);
void st_validate_norm_quant(st_suite *suite);
void st_validate_linear(st_suite *suite);
void st_validate_rope_store(st_suite *suite);
void st_validate_attend(st_suite *suite);
void st_validate_glu_norm_quant(st_suite *suite);
void st_validate_topk(st_suite *suite);

#endif
