#include "host/model/ternary.h"

#include "host/base/numerics.h"

#include <math.h>
#include <stdatomic.h>
#include <string.h>

enum {
    TQ_BLOCK = 256, /* weights and bytes of code of TQ1_0 and TQ2_0 blocks; an f16 scale follows */
    TQ1_CODES = 52,
    TQ2_CODES = 64,
    TQ_GROUP_BYTES = TQ_BLOCK / 4, /* of canonical codes */
    HALF = 128,                    /* weights that one run of 32 bytes holds in TQ2_0 and I2_S */
    ROWS_AT_ONCE = 64              /* that a thread decodes: some 0.1 ms */
};

/* ---- codes ---- */

/* Four codes, one to a byte, lowest first -> one canonical byte. */
static inline uint8_t pack4(uint32_t codes)
{
    codes |= codes >> 6;
    return (uint8_t)(codes | codes >> 12);
}

/* n % 4 == 0 codes of one byte each */
static void pack_codes(const uint8_t *codes, size_t n, uint8_t *dst)
{
    for (size_t i = 0; i < n / 4; i++) {
        uint32_t word;
        memcpy(&word, codes + 4 * i, 4);
        dst[i] = pack4(word);
    }
}

/* 32 bytes that hold element l * 32 + m in bits 2 l of byte m -> 32 canonical bytes. */
static void regroup_low_first(const uint8_t *src, uint8_t *dst)
{
    for (int l = 0; l < 4; l++)
        for (int i = 0; i < 8; i++) {
            uint32_t word;
            memcpy(&word, src + 4 * i, 4);
            dst[8 * l + i] = pack4(word >> 2 * l & 0x03030303);
        }
}

/* The same with element m in the highest bits; code 3, which I2_S reads as zero, becomes 1. */
static void regroup_high_first(const uint8_t *src, uint8_t *dst)
{
    for (int l = 0; l < 4; l++)
        for (int i = 0; i < 8; i++) {
            uint32_t word;
            memcpy(&word, src + 4 * i, 4);
            word = word >> (6 - 2 * l) & 0x03030303;
            word ^= (word & word >> 1 & 0x01010101) << 1;
            dst[8 * l + i] = pack4(word);
        }
}

static void decode_tq2_0(const uint8_t *block, uint8_t *dst)
{
    regroup_low_first(block, dst);
    regroup_low_first(block + 32, dst + 32);
}

/* Trit n of `count` bytes: the byte is ceil(256 q / 243) of a number q < 243 in base 3, so each
 * multiplication by 3^n modulo 256 leaves the n-th trit as the integer part of three times the fraction. */
static void trits(const uint8_t *src, int count, int n, uint8_t *codes)
{
    static const uint8_t power[5] = {1, 3, 9, 27, 81};
    for (int m = 0; m < count; m++) {
        uint8_t fraction = (uint8_t)(src[m] * power[n]);
        codes[m] = (uint8_t)(fraction * 3 >> 8);
    }
}

static void decode_tq1_0(const uint8_t *block, uint8_t *dst)
{
    uint8_t codes[TQ_BLOCK];
    for (int n = 0; n < 5; n++) {
        trits(block, 32, n, codes + 32 * n);
        trits(block + 32, 16, n, codes + 160 + 16 * n);
    }
    for (int n = 0; n < 4; n++)
        trits(block + 48, 4, n, codes + 240 + 4 * n);
    pack_codes(codes, TQ_BLOCK, dst);
}

/* True if any of the canonical bytes holds a code other than 1. */
static bool any_nonzero(const uint8_t *codes, size_t bytes)
{
    uint8_t different = 0;
    for (size_t i = 0; i < bytes; i++)
        different |= codes[i] ^ ST_TERNARY_ZERO_BYTE;
    return different != 0;
}

static bool any_code3(const uint8_t *codes, size_t bytes)
{
    uint8_t both = 0;
    for (size_t i = 0; i < bytes; i++)
        both |= codes[i] & codes[i] >> 1;
    return (both & 0x55) != 0;
}

/* ---- memory ---- */

static sterna_status out_of_memory(const st_packed *p, size_t bytes, sterna_error *error)
{
    return st_fail(error, STERNA_E_MEMORY, "%s: out of memory for tensor '%s' (%zu bytes)", p->label, p->name,
                   bytes);
}

/* Memory for rows of `type` and, behind them at *scale, `scale_bytes`. Limits of rows and columns keep sizes
 * in range. */
static sterna_status allocate(const st_packed *p, st_type type, size_t scale_bytes, st_decoded *decoded,
                              void **scale, sterna_error *error)
{
    size_t row_bytes = st_row_bytes(type, p->cols);
    size_t data_bytes = st_align_up(row_bytes * (size_t)p->rows, 64);
    decoded->memory = st_alloc(data_bytes + scale_bytes);
    if (!decoded->memory)
        return out_of_memory(p, data_bytes + scale_bytes, error);
    decoded->matrix = (st_matrix){.type = type,
                                  .scale_type = ST_F32,
                                  .rows = p->rows,
                                  .cols = p->cols,
                                  .row_bytes = row_bytes,
                                  .data = decoded->memory};
    *scale = (char *)decoded->memory + data_bytes;
    return STERNA_OK;
}

static sterna_status bad_scale(const st_packed *p, int64_t row, int64_t group, float value,
                               sterna_error *error)
{
    return st_fail(error, STERNA_E_FORMAT, "%s: tensor '%s' (%s): the scale of row %lld, group %lld is %g",
                   p->label, p->name, p->encoding->name, (long long)row, (long long)group, (double)value);
}

/* A matrix for loops over its rows. */
typedef struct rows_of {
    const uint8_t *packed;
    uint8_t *data;
    size_t row_bytes; /* of data */
} rows_of;

static bool f16_is_finite(uint16_t f16)
{
    return (f16 & 0x7c00) != 0x7c00;
}

/* ---- TQ1_0, TQ2_0 ---- */

typedef struct tq_form {
    void (*decode)(const uint8_t *block, uint8_t *dst);
    size_t code_bytes; /* of a block, before its scale */
} tq_form;

/* The scale that all nonzero groups of a row share, if they do; of a zero row the first group's. */
static bool common_scale(const uint16_t *scale, const uint8_t *codes, int32_t n_group, uint16_t *common)
{
    bool found = false, same = true;
    *common = scale[0];
    for (int32_t g = 1; g < n_group; g++)
        same = same && scale[g] == scale[0];
    if (same)
        return true;
    for (int32_t g = 0; g < n_group; g++) {
        if (!any_nonzero(codes + (size_t)g * TQ_GROUP_BYTES, TQ_GROUP_BYTES))
            continue;
        if (found && scale[g] != *common)
            return false;
        *common = scale[g];
        found = true;
    }
    return true;
}

typedef struct tq_rows {
    const st_packed *packed;
    const tq_form *form;
    uint8_t *codes;
    size_t row_bytes;
    uint16_t *group_scale; /* [rows][n_group] */
    float *row_scale;      /* [rows] */
    int32_t n_group;
    atomic_bool grouped, code3; /* some row has several scales, some code is 3 */
} tq_rows;

static void decode_tq_rows(void *context, int64_t first, int64_t count)
{
    tq_rows *t = context;
    size_t row_blocks = t->form->code_bytes + sizeof(uint16_t);
    const uint8_t *block = t->packed->data + (size_t)first * (size_t)t->n_group * row_blocks;
    for (int64_t row = first; row < first + count; row++) {
        uint8_t *dst = t->codes + (size_t)row * t->row_bytes;
        uint16_t *scale = t->group_scale + (size_t)row * (size_t)t->n_group, common = 0;
        for (int32_t g = 0; g < t->n_group; g++, block += row_blocks) {
            t->form->decode(block, dst + (size_t)g * TQ_GROUP_BYTES);
            memcpy(&scale[g], block + t->form->code_bytes, sizeof *scale);
        }
        if (!common_scale(scale, dst, t->n_group, &common))
            t->grouped = true;
        t->row_scale[row] = st_f16_to_f32(common);
        if (any_code3(dst, t->row_bytes))
            t->code3 = true;
    }
}

/* The first scale of a matrix that is not finite, as an error. */
static sterna_status check_scales(const st_packed *p, const uint16_t *scale, int64_t n_group,
                                  sterna_error *error)
{
    for (int64_t i = 0; i < p->rows * n_group; i++)
        if (!f16_is_finite(scale[i]))
            return bad_scale(p, i / n_group, i % n_group, st_f16_to_f32(scale[i]), error);
    return STERNA_OK;
}

static sterna_status decode_tq(const st_packed *p, const tq_form *form, st_decoded *decoded,
                               sterna_error *error)
{
    int32_t n_group = p->cols / TQ_BLOCK;
    size_t rows = (size_t)p->rows, scale_bytes = rows * (size_t)n_group * sizeof(uint16_t);
    size_t row_scales = st_align_up(scale_bytes, 64); /* f32 per row, behind the f16 per group */
    void *scales = NULL;
    sterna_status status =
        allocate(p, ST_TERNARY, row_scales + rows * sizeof(float), decoded, &scales, error);
    if (status)
        return status;
    st_matrix *m = &decoded->matrix;
    tq_rows t = {.packed = p,
                 .form = form,
                 .codes = decoded->memory,
                 .row_bytes = m->row_bytes,
                 .group_scale = scales,
                 .row_scale = (float *)(void *)((char *)scales + row_scales),
                 .n_group = n_group};
    st_pool_loop_once(p->pool, p->rows, ROWS_AT_ONCE, decode_tq_rows, &t);
    m->has_code3 = t.code3;
    m->group = t.grouped ? TQ_BLOCK : 0;
    m->scale_type = t.grouped ? ST_F16 : ST_F32;
    m->scale = t.grouped ? (const void *)t.group_scale : t.row_scale;
    return check_scales(p, t.group_scale, n_group, error);
}

static sterna_status decode_tq1_matrix(const st_packed *p, st_decoded *decoded, sterna_error *error)
{
    return decode_tq(p, &(tq_form){decode_tq1_0, TQ1_CODES}, decoded, error);
}

static sterna_status decode_tq2_matrix(const st_packed *p, st_decoded *decoded, sterna_error *error)
{
    return decode_tq(p, &(tq_form){decode_tq2_0, TQ2_CODES}, decoded, error);
}

/* ---- I2_S ---- */

/* Rows that begin inside a run of 128: the runs are those of the flat tensor. */
static void decode_i2_s_flat(const st_packed *p, uint8_t *codes, size_t row_bytes)
{
    uint8_t run[HALF / 4];
    int64_t have = -1, flat = 0;
    for (int32_t row = 0; row < p->rows; row++) {
        uint8_t *dst = codes + (size_t)row * row_bytes;
        memset(dst, ST_TERNARY_ZERO_BYTE, row_bytes);
        for (int32_t col = 0; col < p->cols; col++, flat++) {
            if (flat / HALF != have) {
                have = flat / HALF;
                regroup_high_first(p->data + have * (HALF / 4), run);
            }
            int64_t at = flat % HALF;
            uint8_t code = run[at / 4] >> 2 * (at % 4) & 3;
            dst[col / 4] ^= (uint8_t)((code ^ 1) << 2 * (col % 4)); /* from the zero code 1 */
        }
    }
}

/* Rows of whole runs, which lie one after the other in both. */
static void decode_i2_s_rows(void *context, int64_t first, int64_t count)
{
    const rows_of *r = context;
    size_t end = (size_t)(first + count) * r->row_bytes;
    for (size_t at = (size_t)first * r->row_bytes; at < end; at += HALF / 4)
        regroup_high_first(r->packed + at, r->data + at);
}

static sterna_status decode_i2_s_matrix(const st_packed *p, st_decoded *decoded, sterna_error *error)
{
    float scale;
    size_t n_run = (size_t)p->rows * (size_t)p->cols / HALF;
    memcpy(&scale, p->data + n_run * (HALF / 4), sizeof scale);
    if (!isfinite(scale))
        return bad_scale(p, 0, 0, scale, error);
    void *scales = NULL;
    sterna_status status = allocate(p, ST_TERNARY, (size_t)p->rows * sizeof(float), decoded, &scales, error);
    if (status)
        return status;
    uint8_t *codes = decoded->memory;
    if (p->cols % HALF != 0)
        decode_i2_s_flat(p, codes, decoded->matrix.row_bytes);
    else
        st_pool_loop_once(p->pool, p->rows, ROWS_AT_ONCE, decode_i2_s_rows,
                          &(rows_of){p->data, codes, decoded->matrix.row_bytes});
    float *row_scale = scales;
    for (int32_t row = 0; row < p->rows; row++)
        row_scale[row] = scale;
    decoded->matrix.scale = row_scale;
    return STERNA_OK;
}

/* ---- dense and int8 ---- */

/* Blocks are used where the file has them: only their scales are looked at. */
typedef struct q8_rows {
    const st_packed *packed;
    int32_t n_block; /* of a row */
    atomic_bool bad; /* some scale is not finite */
} q8_rows;

/* Of block i of the matrix. */
static uint16_t block_scale(const st_packed *p, int64_t i)
{
    uint16_t f16;
    memcpy(&f16, p->data + i * ST_BLOCK_BYTES, sizeof f16);
    return f16;
}

static void check_q8_0_rows(void *context, int64_t first, int64_t count)
{
    q8_rows *q = context;
    bool good = true;
    for (int64_t i = first * q->n_block; i < (first + count) * q->n_block; i++)
        good &= f16_is_finite(block_scale(q->packed, i));
    if (!good)
        q->bad = true;
}

static sterna_status decode_q8_0_matrix(const st_packed *p, st_decoded *decoded, sterna_error *error)
{
    q8_rows q = {.packed = p, .n_block = p->cols / ST_BLOCK_COLS};
    st_pool_loop_once(p->pool, p->rows, ROWS_AT_ONCE, check_q8_0_rows, &q);
    for (int64_t i = 0; q.bad && i < (int64_t)p->rows * q.n_block; i++) /* names the first */
        if (!f16_is_finite(block_scale(p, i)))
            return bad_scale(p, i / q.n_block, i % q.n_block, st_f16_to_f32(block_scale(p, i)), error);
    decoded->matrix = (st_matrix){.type = ST_Q8,
                                  .scale_type = ST_F16,
                                  .rows = p->rows,
                                  .cols = p->cols,
                                  .group = ST_BLOCK_COLS,
                                  .blocks = true,
                                  .row_bytes = (size_t)q.n_block * ST_BLOCK_BYTES,
                                  .lasting = true,
                                  .data = p->data};
    return STERNA_OK;
}

static sterna_status decode_dense(const st_packed *p, st_type type, st_decoded *decoded, sterna_error *error)
{
    size_t unit = type == ST_F32 ? 4 : 2;
    if ((uintptr_t)p->data % unit == 0) {
        decoded->matrix = (st_matrix){.type = type,
                                      .scale_type = ST_F32,
                                      .rows = p->rows,
                                      .cols = p->cols,
                                      .row_bytes = st_row_bytes(type, p->cols),
                                      .lasting = true,
                                      .data = p->data};
        return STERNA_OK;
    }
    void *unused = NULL;
    sterna_status status = allocate(p, type, 0, decoded, &unused, error);
    if (!status)
        memcpy(decoded->memory, p->data, p->bytes);
    return status;
}

static sterna_status decode_f32_matrix(const st_packed *p, st_decoded *decoded, sterna_error *error)
{
    return decode_dense(p, ST_F32, decoded, error);
}

static sterna_status decode_f16_matrix(const st_packed *p, st_decoded *decoded, sterna_error *error)
{
    return decode_dense(p, ST_F16, decoded, error);
}

static sterna_status decode_bf16_matrix(const st_packed *p, st_decoded *decoded, sterna_error *error)
{
    return decode_dense(p, ST_BF16, decoded, error);
}

/* ---- the table ---- */

typedef sterna_status (*decode_fn)(const st_packed *packed, st_decoded *decoded, sterna_error *error);

static const decode_fn decoders[ST_ENC_DECODED] = {
    [ST_ENC_F32] = decode_f32_matrix,   [ST_ENC_F16] = decode_f16_matrix,
    [ST_ENC_BF16] = decode_bf16_matrix, [ST_ENC_Q8_0] = decode_q8_0_matrix,
    [ST_ENC_TQ1_0] = decode_tq1_matrix, [ST_ENC_TQ2_0] = decode_tq2_matrix,
    [ST_ENC_I2_S] = decode_i2_s_matrix,
};

bool st_encoding_is_ternary(st_encoding encoding)
{
    return encoding == ST_ENC_TQ1_0 || encoding == ST_ENC_TQ2_0 || encoding == ST_ENC_I2_S;
}

bool st_encoding_is_matrix(st_encoding encoding)
{
    return encoding < ST_ENC_DECODED;
}

bool st_encoding_is_vector(st_encoding encoding)
{
    return encoding == ST_ENC_F32 || encoding == ST_ENC_F16 || encoding == ST_ENC_BF16;
}

sterna_status st_ternary_decode(const st_packed *packed, st_decoded *decoded, sterna_error *error)
{
    *decoded = (st_decoded){.out_scale = 1.0f};
    const st_encoding_info *e = packed->encoding;
    if (!st_encoding_is_matrix(e->encoding))
        return st_fail(
            error, STERNA_E_UNSUPPORTED,
            "%s: tensor '%s' is %s, which this version cannot decode (it can: F32, F16, BF16, Q8_0, "
            "TQ1_0, TQ2_0, I2_S)",
            packed->label, packed->name, e->name);
    if (packed->rows < 1 || packed->rows > ST_MAX_ROWS || packed->cols < 1 || packed->cols > ST_MAX_COLS)
        return st_fail(error, STERNA_E_LIMIT,
                       "%s: tensor '%s' has %d rows of %d columns, allowed are 1 to %d and 1 to %d",
                       packed->label, packed->name, packed->rows, packed->cols, ST_MAX_ROWS, ST_MAX_COLS);
    size_t bytes;
    if (!st_encoding_bytes(e, packed->cols, (int64_t)packed->rows * packed->cols, &bytes) ||
        bytes != packed->bytes)
        return st_fail(error, STERNA_E_FORMAT, "%s: tensor '%s': %zu bytes do not hold %d x %d weights in %s",
                       packed->label, packed->name, packed->bytes, packed->rows, packed->cols, e->name);
    sterna_status status = decoders[e->encoding](packed, decoded, error);
    if (status)
        st_decoded_free(decoded);
    return status;
}

sterna_status st_ternary_vector(const st_packed *packed, float *dst, sterna_error *error)
{
    st_encoding encoding = packed->encoding->encoding;
    if (!st_encoding_is_vector(encoding))
        return st_fail(error, STERNA_E_UNSUPPORTED,
                       "%s: tensor '%s' is %s, but vectors must be F32, F16 or BF16", packed->label,
                       packed->name, packed->encoding->name);
    int64_t n = (int64_t)packed->rows * packed->cols;
    assert(packed->bytes == (size_t)n * packed->encoding->bytes);
    for (int64_t i = 0; i < n; i++) {
        uint16_t half;
        if (encoding == ST_ENC_F32) {
            memcpy(&dst[i], packed->data + 4 * i, 4);
        } else {
            memcpy(&half, packed->data + 2 * i, 2);
            dst[i] = encoding == ST_ENC_F16 ? st_f16_to_f32(half) : st_bf16_to_f32(half);
        }
        if (!isfinite(dst[i]))
            return st_fail(error, STERNA_E_FORMAT, "%s: tensor '%s': value %lld is %g", packed->label,
                           packed->name, (long long)i, (double)dst[i]);
    }
    return STERNA_OK;
}

void st_decoded_free(st_decoded *decoded)
{
    st_free(decoded->memory);
    st_free(decoded->bias);
    *decoded = (st_decoded){0};
}
