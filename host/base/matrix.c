#include "host/base/matrix.h"

#include "host/base/numerics.h"

#include <string.h>

/* A dense element, at any alignment. */
static float value_at(st_type type, const unsigned char *at)
{
    uint16_t half;
    float value;
    if (type == ST_F32) {
        memcpy(&value, at, sizeof value);
        return value;
    }
    memcpy(&half, at, sizeof half);
    return type == ST_F16 ? st_f16_to_f32(half) : st_bf16_to_f32(half);
}

float st_matrix_scale(const st_matrix *m, int64_t row, int64_t group)
{
    return value_at(m->scale_type, st_matrix_scale_at(m, row, group));
}

float st_matrix_value(const st_matrix *m, int64_t row, int64_t col)
{
    const unsigned char *data = (const unsigned char *)m->data + (size_t)row * m->row_bytes;
    if (m->type != ST_TERNARY && m->type != ST_Q8)
        return value_at(m->type, data + (size_t)col * st_row_bytes(m->type, 1));
    float scale = st_matrix_scale(m, row, m->group ? col / m->group : 0);
    float base = m->type == ST_TERNARY ? (float)((int)st_matrix_code(m, row, col) - 1)
                                       : (float)*st_matrix_q8(m, row, col);
    return base * scale;
}

static bool group_is_legal(int32_t group)
{
    return group == 0 || group == 32 || group == 64 || group == 128 || group == 256;
}

static sterna_status check_blocks(const st_matrix *m, sterna_error *error)
{
    if (m->type == ST_Q8 && m->group == ST_BLOCK_COLS && m->scale_type == ST_F16 && !m->scale &&
        m->cols % ST_BLOCK_COLS == 0 && m->row_bytes >= (size_t)m->cols / ST_BLOCK_COLS * ST_BLOCK_BYTES)
        return STERNA_OK;
    return st_fail(error, STERNA_E_ARGUMENT,
                   "blocks of %s with scales of type %s for %d of %d columns, rows are %zu bytes apart",
                   st_type_name(m->type), st_type_name(m->scale_type), m->group, m->cols, m->row_bytes);
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
    if (m->blocks)
        return check_blocks(m, error);
    if (!group_is_legal(m->group) || !m->scale)
        return st_fail(error, STERNA_E_ARGUMENT,
                       "scale groups of %d columns (allowed: 0 = row, 32, 64, 128, 256)", m->group);
    if (m->scale_type != ST_F32 && (m->group == 0 || (m->scale_type != ST_F16 && m->scale_type != ST_BF16)))
        return st_fail(error, STERNA_E_ARGUMENT, "scales of type %s with groups of %d columns",
                       st_type_name(m->scale_type), m->group);
    return STERNA_OK;
}
