/* Matrices of the kernel library's users: packing, and checks of everything that one can get wrong. */
#include "host/engine/linear.h"

static_assert(STERNA_LINEAR_MAX_ROWS == ST_MAX_ROWS && STERNA_LINEAR_MAX_COLS == ST_MAX_COLS, "limits");
static_assert(STERNA_LINEAR_MAX_TOK == ST_MAX_BATCH && STERNA_LINEAR_MAX_OUTLIER == ST_MAX_OUTLIER, "limits");
static_assert((int)STERNA_TYPE_TERNARY == (int)ST_TERNARY && (int)STERNA_TYPE_Q8 == (int)ST_Q8 &&
                  (int)STERNA_TYPE_F16 == (int)ST_F16 && (int)STERNA_TYPE_BF16 == (int)ST_BF16 &&
                  (int)STERNA_TYPE_F32 == (int)ST_F32,
              "types");

void sterna_matrix_defaults(sterna_matrix *matrix)
{
    *matrix =
        (sterna_matrix){.struct_size = sizeof *matrix, .scale_type = STERNA_TYPE_F32, .out_scale = 1.0f};
}

/* ---- sizes and packing ---- */

static bool type_is_legal(sterna_matrix_type type)
{
    return (unsigned)type <= (unsigned)STERNA_TYPE_F32;
}

static bool shape_is_legal(int32_t rows, int32_t cols)
{
    return rows >= 1 && rows <= ST_MAX_ROWS && cols >= 1 && cols <= ST_MAX_COLS;
}

static sterna_status refuse_shape(int32_t rows, int32_t cols, sterna_error *error)
{
    return st_fail(error, STERNA_E_LIMIT, "a matrix of %d x %d: rows are 1 ... %d and columns 1 ... %d", rows,
                   cols, ST_MAX_ROWS, ST_MAX_COLS);
}

size_t sterna_matrix_row_bytes(sterna_matrix_type type, int32_t cols)
{
    return type_is_legal(type) && shape_is_legal(1, cols) ? st_row_bytes((st_type)type, cols) : 0;
}

size_t sterna_matrix_bytes(sterna_matrix_type type, int32_t rows, int32_t cols)
{
    return shape_is_legal(rows, 1) ? (size_t)rows * sterna_matrix_row_bytes(type, cols) : 0;
}

sterna_status sterna_matrix_pack(const int8_t *values, int32_t rows, int32_t cols, void *data,
                                 size_t data_bytes, sterna_error *error)
{
    if (!values || !data)
        return st_fail(error, STERNA_E_ARGUMENT, "no values or no place for the rows");
    if (!shape_is_legal(rows, cols))
        return refuse_shape(rows, cols, error);
    size_t row_bytes = st_row_bytes(ST_TERNARY, cols);
    if (data_bytes < (size_t)rows * row_bytes)
        return st_fail(error, STERNA_E_ARGUMENT, "%d x %d codes need %zu bytes, not %zu", rows, cols,
                       (size_t)rows * row_bytes, data_bytes);
    for (int32_t n = 0; n < rows; n++) {
        const int8_t *from = values + (size_t)n * (size_t)cols;
        unsigned char *to = (unsigned char *)data + (size_t)n * row_bytes;
        memset(to, ST_TERNARY_ZERO_BYTE, row_bytes);
        for (int32_t k = 0; k < cols; k++) {
            if (from[k] < -1 || from[k] > 2)
                return st_fail(error, STERNA_E_ARGUMENT, "row %d, column %d is %d, not -1, 0, +1 or +2", n, k,
                               from[k]);
            unsigned shift = 2 * ((unsigned)k & 3), code = (unsigned)(from[k] + 1);
            to[k >> 2] = (unsigned char)((to[k >> 2] & ~(3u << shift)) | code << shift);
        }
    }
    return STERNA_OK;
}

/* ---- fields ---- */

bool st_group_is_legal(int32_t group)
{
    return group == 0 || group == 32 || group == 64 || group == 128 || group == 256;
}

static bool is_scaled(st_type type)
{
    return type == ST_TERNARY || type == ST_Q8;
}

static sterna_status check_scale_fields(const st_matrix *m, sterna_error *error)
{
    const char *type = st_type_name(m->type);
    if (!is_scaled(m->type)) {
        if (m->scale || m->group != 0)
            return st_fail(error, STERNA_E_ARGUMENT, "%s matrices have no scales and no groups (group is %d)",
                           type, m->group);
        return STERNA_OK;
    }
    if (!m->scale)
        return st_fail(error, STERNA_E_ARGUMENT, "no scales for a %s matrix", type);
    if (!st_group_is_legal(m->group))
        return st_fail(error, STERNA_E_ARGUMENT, "group is %d, not 0, 32, 64, 128 or 256", m->group);
    if (m->scale_type != ST_F32 && (m->group == 0 || (m->scale_type != ST_F16 && m->scale_type != ST_BF16)))
        return st_fail(error, STERNA_E_ARGUMENT, "scale_type is %d, not %s", (int)m->scale_type,
                       m->group ? "F16, BF16 or F32" : "F32 (scales of rows)");
    size_t size = st_row_bytes(m->scale_type, 1);
    if ((uintptr_t)m->scale % size != 0)
        return st_fail(error, STERNA_E_ARGUMENT, "the scales at %p are not aligned to %zu bytes", m->scale,
                       size);
    return STERNA_OK;
}

static sterna_status check_fields(const sterna_matrix *u, const st_matrix *m, sterna_error *error)
{
    if (!shape_is_legal(m->rows, m->cols))
        return refuse_shape(m->rows, m->cols, error);
    if (!m->data)
        return st_fail(error, STERNA_E_ARGUMENT, "no data for a matrix of %d x %d", m->rows, m->cols);
    size_t needed = st_row_bytes(m->type, m->cols),
           unit = m->type == ST_TERNARY ? 16 : st_row_bytes(m->type, 1);
    size_t all;
    if (m->row_bytes < needed || m->row_bytes % unit != 0 ||
        !st_mul_size((size_t)m->rows, m->row_bytes, &all))
        return st_fail(error, STERNA_E_ARGUMENT,
                       "row_bytes is %zu; %d %s columns need at least %zu, and a multiple of %zu",
                       m->row_bytes, m->cols, st_type_name(m->type), needed, unit);
    if (m->type != ST_TERNARY && (uintptr_t)m->data % unit != 0)
        return st_fail(error, STERNA_E_ARGUMENT, "the data at %p is not aligned to %zu bytes", m->data, unit);
    if (m->type != ST_TERNARY && u->four_levels)
        return st_fail(error, STERNA_E_ARGUMENT, "four_levels is set for a %s matrix", st_type_name(m->type));
    if (!isfinite(u->out_scale))
        return st_fail(error, STERNA_E_ARGUMENT, "out_scale is %g", (double)u->out_scale);
    return check_scale_fields(m, error);
}

/* ---- contents ---- */

static sterna_status check_scales(const st_matrix *m, sterna_error *error)
{
    int32_t groups = st_matrix_groups(m);
    for (int32_t n = 0; n < m->rows; n++)
        for (int32_t g = 0; g < groups; g++) {
            float scale = st_matrix_scale(m, n, g);
            if (!isfinite(scale))
                return st_fail(error, STERNA_E_ARGUMENT, "the scale of row %d, group %d is %g", n, g,
                               (double)scale);
        }
    return STERNA_OK;
}

/* Code 3 has both bits of its field: whole words show whether a row has one. */
static bool row_has_code3(const st_matrix *m, int32_t row)
{
    const unsigned char *codes = (const unsigned char *)m->data + (size_t)row * m->row_bytes;
    size_t bytes = st_row_bytes(ST_TERNARY, m->cols);
    uint64_t threes = 0, word;
    for (size_t at = 0; at < bytes; at += sizeof word) {
        memcpy(&word, codes + at, sizeof word);
        threes |= word & word >> 1;
    }
    return threes & UINT64_C(0x5555555555555555);
}

static sterna_status check_codes(st_matrix *m, bool four_levels, sterna_error *error)
{
    int32_t end = (int32_t)(4 * st_row_bytes(ST_TERNARY, m->cols));
    for (int32_t n = 0; n < m->rows; n++) {
        for (int32_t k = m->cols; k < end; k++)
            if (st_matrix_code(m, n, k) != 1)
                return st_fail(error, STERNA_E_ARGUMENT,
                               "row %d has code %d in column %d, which is padding (%d columns) and must be 1",
                               n, st_matrix_code(m, n, k), k, m->cols);
        if (!row_has_code3(m, n))
            continue;
        m->has_code3 = true;
        for (int32_t k = 0; !four_levels; k++)
            if (st_matrix_code(m, n, k) == 3)
                return st_fail(error, STERNA_E_ARGUMENT,
                               "row %d, column %d has code 3 (+2), but four_levels is not set", n, k);
    }
    return STERNA_OK;
}

static sterna_status check_floats(const st_matrix *m, sterna_error *error)
{
    for (int32_t n = 0; n < m->rows; n++)
        for (int32_t k = 0; k < m->cols; k++) {
            float value = st_matrix_value(m, n, k);
            if (!isfinite(value))
                return st_fail(error, STERNA_E_ARGUMENT, "row %d, column %d is %g", n, k, (double)value);
        }
    return STERNA_OK;
}

static bool element_is_zero(const st_matrix *m, int32_t row, int32_t col)
{
    if (m->type == ST_TERNARY)
        return st_matrix_code(m, row, col) == 1;
    if (m->type == ST_Q8)
        return ((const int8_t *)m->data)[(size_t)row * m->row_bytes + (size_t)col] == 0;
    return st_matrix_value(m, row, col) == 0.0f;
}

static sterna_status check_outliers(const st_matrix *m, const st_outliers *o, sterna_error *error)
{
    if (o->count < 0 || o->count > ST_MAX_OUTLIER)
        return st_fail(error, STERNA_E_LIMIT, "n_outlier is %d, not 0 ... %d", o->count, ST_MAX_OUTLIER);
    if (o->count > 0 && (!o->row || !o->col || !o->f16))
        return st_fail(error, STERNA_E_ARGUMENT, "%d outliers, but not all three of their arrays", o->count);
    for (int32_t i = 0; i < o->count; i++) {
        int32_t row = o->row[i], col = o->col[i];
        if (row < 0 || row >= m->rows || col < 0 || col >= m->cols)
            return st_fail(error, STERNA_E_ARGUMENT,
                           "outlier %d is in row %d, column %d of a matrix of %d x %d", i, row, col, m->rows,
                           m->cols);
        if (i > 0 && (row < o->row[i - 1] || (row == o->row[i - 1] && col <= o->col[i - 1])))
            return st_fail(
                error, STERNA_E_ARGUMENT,
                "outlier %d (row %d, column %d) does not come after outlier %d (row %d, column %d)", i, row,
                col, i - 1, o->row[i - 1], o->col[i - 1]);
        float value = st_f16_to_f32(o->f16[i]);
        if (!isfinite(value))
            return st_fail(error, STERNA_E_ARGUMENT, "outlier %d (row %d, column %d) is %g", i, row, col,
                           (double)value);
        if (!element_is_zero(m, row, col))
            return st_fail(error, STERNA_E_ARGUMENT,
                           "outlier %d replaces row %d, column %d, which is not zero", i, row, col);
    }
    return STERNA_OK;
}

sterna_status st_matrix_of(const sterna_matrix *theirs, sterna_matrix *u, st_matrix *m, st_outliers *o,
                           sterna_error *error)
{
    if (!theirs)
        return st_fail(error, STERNA_E_ARGUMENT, "no matrix");
    sterna_matrix_defaults(u);
    sterna_status status =
        st_struct_read(u, sizeof *u, sizeof *u, theirs, "a matrix", "sterna_matrix_defaults", error);
    if (status != STERNA_OK)
        return status;
    if (!type_is_legal(u->type))
        return st_fail(error, STERNA_E_ARGUMENT, "there is no matrix type %d", (int)u->type);
    *m = (st_matrix){.type = (st_type)u->type,
                     .scale_type = (st_type)u->scale_type,
                     .rows = u->rows,
                     .cols = u->cols,
                     .group = u->group,
                     .row_bytes = u->row_bytes ? u->row_bytes : sterna_matrix_row_bytes(u->type, u->cols),
                     .data = u->data,
                     .scale = u->scale};
    *o = (st_outliers){u->n_outlier, u->outlier_row, u->outlier_col, u->outlier_f16};
    status = check_fields(u, m, error);
    if (status == STERNA_OK && is_scaled(m->type))
        status = check_scales(m, error);
    if (status == STERNA_OK && m->type == ST_TERNARY)
        status = check_codes(m, u->four_levels, error);
    if (status == STERNA_OK && !is_scaled(m->type))
        status = check_floats(m, error);
    for (int32_t n = 0; status == STERNA_OK && u->bias && n < m->rows; n++)
        if (!isfinite(u->bias[n]))
            status = st_fail(error, STERNA_E_ARGUMENT, "bias %d is %g", n, (double)u->bias[n]);
    if (status == STERNA_OK)
        status = check_outliers(m, o, error);
    assert(status != STERNA_OK || st_matrix_check(m, NULL) == STERNA_OK);
    return status;
}

sterna_status sterna_matrix_check(const sterna_matrix *matrix, sterna_error *error)
{
    sterna_matrix u;
    st_matrix m;
    st_outliers o;
    return st_matrix_of(matrix, &u, &m, &o, error);
}
