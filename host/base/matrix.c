#include "host/base/matrix.h"

#include "host/base/numerics.h"

static float value_at(st_type type, const void *data, size_t index)
{
    switch (type) {
    case ST_F16:
        return st_f16_to_f32(((const uint16_t *)data)[index]);
    case ST_BF16:
        return st_bf16_to_f32(((const uint16_t *)data)[index]);
    case ST_F32:
        return ((const float *)data)[index];
    case ST_Q8:
        return (float)((const int8_t *)data)[index];
    case ST_TERNARY:
        break;
    }
    assert(!"a packed type has no plain elements");
    return 0.0f;
}

float st_matrix_scale(const st_matrix *m, int64_t row, int64_t group)
{
    return value_at(m->scale_type, m->scale, (size_t)row * (size_t)st_matrix_groups(m) + (size_t)group);
}

float st_matrix_value(const st_matrix *m, int64_t row, int64_t col)
{
    const unsigned char *data = (const unsigned char *)m->data + (size_t)row * m->row_bytes;
    if (m->type != ST_TERNARY && m->type != ST_Q8)
        return value_at(m->type, data, (size_t)col);
    float scale = st_matrix_scale(m, row, m->group ? col / m->group : 0);
    float base = m->type == ST_TERNARY ? (float)((int)st_matrix_code(m, row, col) - 1)
                                       : value_at(ST_Q8, data, (size_t)col);
    return base * scale;
}

static bool group_is_legal(int32_t group)
{
    return group == 0 || group == 32 || group == 64 || group == 128 || group == 256;
}

sterna_status st_matrix_check(const st_matrix *m, sterna_error *error)
{
    if (m->rows < 1 || m->rows > ST_MAX_ROWS || m->cols < 1 || m->cols > ST_MAX_COLS)
        return st_fail(error, STERNA_E_LIMIT, "matrix of %d x %d: rows must be 1 ... %d and columns 1 ... %d",
                       m->rows, m->cols, ST_MAX_ROWS, ST_MAX_COLS);
    if (m->type > ST_F32 || !m->data || m->row_bytes < st_row_bytes(m->type, m->cols))
        return st_fail(error, STERNA_E_ARGUMENT,
                       "matrix of type %d has rows of %zu bytes at %p, too few for %d columns", (int)m->type,
                       m->row_bytes, m->data, m->cols);
    if (m->type != ST_TERNARY && m->type != ST_Q8)
        return STERNA_OK;
    if (m->type == ST_TERNARY && m->row_bytes % 16 != 0)
        return st_fail(error, STERNA_E_ARGUMENT, "ternary rows are %zu bytes apart, not a multiple of 16",
                       m->row_bytes);
    if (!group_is_legal(m->group) || !m->scale)
        return st_fail(error, STERNA_E_ARGUMENT,
                       "scale groups of %d columns (allowed: 0 = row, 32, 64, 128, 256)", m->group);
    if (m->scale_type != ST_F32 && (m->group == 0 || (m->scale_type != ST_F16 && m->scale_type != ST_BF16)))
        return st_fail(error, STERNA_E_ARGUMENT, "scales of type %s with groups of %d columns",
                       st_type_name(m->scale_type), m->group);
    return STERNA_OK;
}
