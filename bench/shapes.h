/* What ops are measured on: matrices by size, and what the layers of models have. */
#ifndef ST_SHAPES_H
#define ST_SHAPES_H

#include "host/backend/backend.h"

/* An op and its sizes, but for the number of rows. */
typedef struct st_op_shape {
    st_op op;
    char name[48]; /* "3840x2560", "bitnet-2b down" */
    st_type type;  /* LINEAR, EMBED: of the matrix */
    int32_t group, act_group;
    int32_t n, k; /* LINEAR, EMBED: rows and columns; TOPK: n logits; others: k columns */
    int32_t n_head, n_kv_head, head_dim; /* ATTEND, ROPE_STORE */
    bool dense;                          /* LINEAR: a head, whose type is not that of the layers */
} st_op_shape;

enum { ST_MAX_OP_SHAPE = 512 };

typedef struct st_op_shapes {
    st_op_shape shape[ST_MAX_OP_SHAPE];
    int n;
} st_op_shapes;

/* Adds what `item` - "3840x2560", or a model's name - has of an op; type and group are left to the caller.
 * False with a message where it is neither, has a size out of range, or there is no room. `*has`: it has
 * something of the op; a matrix has only LINEAR. */
bool st_op_shapes_add(st_op_shapes *shapes, st_op op, const char *item, bool *has, char *message,
                      size_t size);

#endif
