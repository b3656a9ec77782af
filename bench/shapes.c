#include "bench/shapes.h"

#include "host/convert/synthetic.h"

#include <ctype.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

/* Layers of models that no synthetic file has the architecture of: matrices only. */
static const struct {
    const char *name;
    int32_t n_embd, q_rows, kv_rows, n_ff; /* 0: not there */
} layers[] = {
    {"bonsai-8b", 4096, 4096, 1024, 12288},
    {"bonsai-27b", 5120, 0, 0, 17408},
};
enum { N_LAYERS = sizeof layers / sizeof layers[0] };

static bool add(st_op_shapes *shapes, st_op_shape shape, const char *model, const char *part)
{
    if (shapes->n == ST_MAX_OP_SHAPE)
        return false;
    snprintf(shape.name, sizeof shape.name, "%s%s%s", model, part ? " " : "", part ? part : "");
    shapes->shape[shapes->n++] = shape;
    return true;
}

static bool add_matrix(st_op_shapes *shapes, const char *model, const char *part, int32_t n, int32_t k)
{
    return n == 0 || add(shapes, (st_op_shape){.op = ST_OP_LINEAR, .n = n, .k = k}, model, part);
}

static bool add_layer(st_op_shapes *shapes, const char *name, int32_t embd, int32_t q, int32_t kv, int32_t ff)
{
    return add_matrix(shapes, name, "qkv", q + 2 * kv, embd) &&
           add_matrix(shapes, name, "o", q ? embd : 0, q) &&
           add_matrix(shapes, name, "gate_up", 2 * ff, embd) && add_matrix(shapes, name, "down", embd, ff);
}

static bool add_model(st_op_shapes *shapes, st_op op, const st_synthetic *m)
{
    int32_t q = m->n_head * m->head_dim, kv = m->n_kv_head * m->head_dim;
    st_op_shape shape = {.op = op, .n = m->n_vocab, .k = m->n_embd};
    switch (op) {
    case ST_OP_LINEAR:
        shape.dense = true;
        return add_layer(shapes, m->name, m->n_embd, q, kv, m->n_ff) && add(shapes, shape, m->name, "head");
    case ST_OP_ATTEND:
    case ST_OP_ROPE_STORE:
        shape.n_head = m->n_head;
        shape.n_kv_head = m->n_kv_head;
        shape.head_dim = m->head_dim;
        break;
    case ST_OP_GLU_NORM_QUANT:
        shape.k = m->n_ff;
        break;
    default:
        break;
    }
    return add(shapes, shape, m->name, NULL);
}

static bool matrix_size(const char *item, long size[2])
{
    char *end;
    if (!isdigit((unsigned char)*item))
        return false;
    size[0] = strtol(item, &end, 10);
    if (*end != 'x' || !isdigit((unsigned char)end[1]))
        return false;
    size[1] = strtol(end + 1, &end, 10);
    return *end == '\0';
}

bool st_op_shapes_add(st_op_shapes *shapes, st_op op, const char *item, bool *has, char *message, size_t size)
{
    long s[2];
    bool room = true;
    *has = true;
    const st_synthetic *model = st_synthetic_find(item);
    if (model) {
        room = add_model(shapes, op, model);
    } else if (matrix_size(item, s)) {
        if (s[0] < 1 || s[0] > ST_MAX_ROWS || s[1] < 1 || s[1] > ST_MAX_COLS) {
            snprintf(message, size, "'%s' is not a matrix of at most %dx%d", item, ST_MAX_ROWS, ST_MAX_COLS);
            return false;
        }
        *has = op == ST_OP_LINEAR;
        room = !*has || add_matrix(shapes, item, NULL, (int32_t)s[0], (int32_t)s[1]);
    } else {
        int i = 0;
        while (i < N_LAYERS && strcmp(layers[i].name, item) != 0)
            i++;
        if (i == N_LAYERS) {
            snprintf(
                message, size,
                "'%s' is neither NxK nor a shape (sterna-bench make-model --list names them; also %s, %s)",
                item, layers[0].name, layers[1].name);
            return false;
        }
        *has = op == ST_OP_LINEAR;
        room = !*has || add_layer(shapes, layers[i].name, layers[i].n_embd, layers[i].q_rows,
                                  layers[i].kv_rows, layers[i].n_ff);
    }
    if (!room)
        snprintf(message, size, "more than %d shapes", ST_MAX_OP_SHAPE);
    return room;
}
