/* Sterna's kernel library: one packed ternary matrix on a device, multiplied with int8 activations. No model
 * file, no engine.
 *
 *     sterna_device_open        opens a device by name
 *     sterna_matrix             describes N x K codes, scales, bias and outliers in host memory
 *     sterna_linear_create      checks and uploads one, and allocates for up to max_tok rows of activations
 *     sterna_linear_run         y = W x with x and y in host memory
 *     sterna_buffer_create      device memory; or _wrap: a CUdeviceptr or host memory of your own
 *     sterna_linear_run_device  y = W x with x and y in device memory
 *
 * Max_tok 1 is the GEMV of decoding, more are a GEMM: the variant is chosen for each call.
 *
 * docs/examples/linear.c is a complete program. The conventions of sterna.h hold, and besides:
 *
 *   - Device objects are made by `*_create` or `*_wrap` and ended by `*_destroy`, which takes the address and
 *     nulls it. A device lives until it is closed and its last buffer and linear are destroyed, so the order
 *     of these calls does not matter. NULL is fine for all that end something.
 *   - Threads: a device, with all its buffers and linears, belongs to one thread at a time. Different devices
 *     are independent. The functions that take no device may be called from anywhere.
 *   - Blocking: every call returns when its work is done, on the device as well. Work that your own kernels
 *     enqueued on operands must have ended before the call.
 *   - Memory: `*_open` and `*_create` allocate. sterna_linear_run, _run_device and _quantise, and the calls
 *     that read, write and fill allocate nothing, host or device; with sterna_device_params.check they may.
 *   - Errors: wrong arguments are STERNA_E_ARGUMENT, STERNA_E_LIMIT, or STERNA_E_UNSUPPORTED (int8 input for
 *     dense matrices); they change nothing and leave all handles usable. STERNA_E_MEMORY comes from what
 *     allocates. A failure of the device itself (STERNA_E_DEVICE as a rule) is final for the device: every
 *     later call on it returns it again, and what the call should have written is undefined.
 *   - The functions that run compute in the caller's thread too: it must be in the default floating-point
 *     environment (round to nearest, subnormals kept).
 *
 * Matrices, row-major, N rows (outputs) of K columns (inputs)
 *
 *   STERNA_TYPE_TERNARY: 2 bits an element. Element k of a row stands in bits 2 * (k % 4) and the next of the
 *   row's byte k / 4, that is, code = byte[k / 4] >> 2 * (k % 4) & 3, and its value is code - 1:
 *
 *       byte       0                   1                           code   0   1   2   3
 *       bits       1-0  3-2  5-4  7-6  1-0  3-2 ...                value -1   0  +1  +2
 *       element    0    1    2    3    4    5   ...
 *
 *   Code 3 is legal with `four_levels` only (for formats like Q2_0 that have it). Rows begin `row_bytes`
 *   apart, a multiple of 16 that holds K codes; codes from K to the end of the row's last 16 bytes that hold
 *   any are padding and must be 1, which is zero (a byte of padding is 0x55). What stands between these 16
 *   bytes and the next row is not looked at. sterna_matrix_pack makes such rows from int8 values.
 *
 *   STERNA_TYPE_Q8: int8, -128 ... 127. STERNA_TYPE_F16, BF16, F32: floats, no scales.
 *
 *   Scales of TERNARY and Q8: f32 [N] with `group` 0, one for each row; or [N][ceil(K / group)] of type F16,
 *   BF16 or F32 with `group` 32, 64, 128 or 256, one for each `group` columns (the last group may be short).
 *   Outliers: sparse f16 weights in places whose element is zero ("super weights").
 *
 * Quantised activations: int8 codes q in -127 ... 127, and f32 scales: one for each row (act_group 0), or one
 * for each 32, 64, 128 or 256 columns. Any act_group goes with any group. The library quantises the f32 of
 * each of these groups like this:
 *
 *       a = max(|x_0|, |x_1|, ..., 1e-5f);   f = 127 / a;   q = rint(x * f);   scale = a / 127
 *
 *   rint: ties to even. The maximum is that of the bit patterns of |x|: a NaN or infinity wins and makes the
 *   scale NaN or infinite, so that it shows in every output of the row; a q outside of -127 ... 127, which
 *   only these can make, is 0. Scales that you supply yourself are taken as they are.
 *
 * Arithmetic: the same bits on every device, for every variant, number of threads and number of rows. All
 * floats are IEEE binary32; every + - * / below rounds once, to nearest even; there is no fused multiply-add.
 *
 *   Int8 input. Let a segment be min(group, act_group) columns, where 0 counts as K. For each segment
 *       isum = sum of w * q, an exact integer (w = code - 1, or the int8 of Q8)
 *       t    = (float)isum * (scale_w * scale_a)
 *     (float)isum is exact up to 2^24, which no sum of -1, 0 and +1 exceeds; above it rounds to nearest even.
 *     One segment (it covers K): y = t. More: within each block of 1024 columns, t are added in ascending
 *     order from +0; then the blocks' sums in ascending order from +0.
 *
 *   f32 input. p_k = value_k * x_k, where value is the dense element, or (float)w * scale_w. Lane j of 256
 *     adds p_j, p_(j+256), p_(j+512) ... in ascending order from +0; then, for s = 128, 64 ... 1,
 *     lane[j] = lane[j] + lane[j+s] for all j < s; y = lane[0].
 *
 *   Then, each only where present, in this order:
 *       y = y * out_scale       (present if it is not 1)
 *       y = y + bias[n]
 *       y = y + old y           (accumulate)
 *       y = y + (o * (float)q) * scale_a for each outlier o of the row in ascending column, with the scale of
 *           its column's group (f32 input: y = y + o * x)
 *
 *   The bits of a NaN are the one thing that devices may differ in. Rows of x do not depend on each other.
 *
 * Sources: ternary weights with int8 activations, and the quantiser's rule with its 1e-5: "The Era of 1-bit
 * LLMs: All Large Language Models are in 1.58 Bits" (arXiv 2402.17764) and its "Training Tips, Code and FAQ".
 * Outliers: "The Super Weight in Large Language Models" (arXiv 2411.07191). Orders of sums: this project's
 * own choice, made so that kernels may split K at multiples of 1024 and still agree. */
#ifndef STERNA_LINEAR_H
#define STERNA_LINEAR_H

#include "sterna/sterna.h"

#ifdef __cplusplus
extern "C" {
#endif

/* Limits. */
#define STERNA_LINEAR_MAX_ROWS    1048576 /* N */
#define STERNA_LINEAR_MAX_COLS    131072  /* K */
#define STERNA_LINEAR_MAX_TOK     8192    /* rows of activations in one call */
#define STERNA_LINEAR_MAX_OUTLIER 65536   /* of one matrix */

/* ---- devices ------------------------------------------------------------------------------------------ */

typedef struct sterna_device sterna_device;

typedef struct sterna_device_params {
    size_t struct_size;
    int32_t n_thread; /* CPU threads; 0 = physical cores; never more than may be used at once */
    bool trace;       /* measure: see sterna_device_trace */
    bool check;       /* debug: verify the arguments of every op, and operands that your kernels wrote */
    sterna_log_fn log;
    void *user; /* passed to log */
} sterna_device_params;

STERNA_API void sterna_device_defaults(sterna_device_params *params);

/* Opens "auto" (or NULL), "cpu", "ref", "cuda:0" ...; sterna_device_describe lists them. "auto" never picks a
 * software driver. params may be NULL: defaults. */
STERNA_API sterna_status sterna_device_open(const char *name, const sterna_device_params *params,
                                            sterna_device **device, sterna_error *error);
STERNA_API void sterna_device_close(sterna_device **device);
/* The device's name in that list ("auto" resolved). Lives as long as the handle. */
STERNA_API const char *sterna_device_name(const sterna_device *device);

/* The two ops of this library are "norm_quant", which quantises, and "linear". A device has one or more
 * variants of each. Returns the name of number `index`, most general first; NULL past the last, and for other
 * ops. Static text. */
STERNA_API const char *sterna_device_variant(const sterna_device *device, const char *op, int index);
/* Makes an op use this variant wherever it can run, elsewhere the most general one; NULL = automatic.
 * sterna_device_trace tells which one ran. */
STERNA_API sterna_status sterna_device_force(sterna_device *device, const char *op, const char *variant,
                                             sterna_error *error);
/* Op `index` of the last call of sterna_linear_run, _run_device or _quantise that computed anything, if
 * params.trace was set. bytes: what the op must move at least, weights and activations counted once. Returns
 * false past the last op. Any out pointer may be NULL; op and variant are static text. */
STERNA_API bool sterna_device_trace(const sterna_device *device, int index, const char **op,
                                    const char **variant, double *seconds, uint64_t *bytes);

/* ---- device memory ------------------------------------------------------------------------------------ */

typedef struct sterna_buffer sterna_buffer;

/* `bytes` > 0; the contents are undefined. */
STERNA_API sterna_status sterna_buffer_create(sterna_device *device, size_t bytes, sterna_buffer **buffer,
                                              sterna_error *error);
/* Memory of your own, which must outlive the buffer: "cpu" and "ref" take the address of host memory, aligned
 * to 4 bytes; CUDA a CUdeviceptr, cast to void *. Your own code may read and write it between calls. Vulkan's
 * buffers belong to one VkDevice, and that of Sterna is private: STERNA_E_UNSUPPORTED. */
STERNA_API sterna_status sterna_buffer_wrap(sterna_device *device, void *native, size_t bytes,
                                            sterna_buffer **buffer, sterna_error *error);
STERNA_API void sterna_buffer_destroy(sterna_buffer **buffer);
STERNA_API size_t sterna_buffer_bytes(const sterna_buffer *buffer);
/* Copies to and from host memory; offset and bytes are in bytes, and 0 bytes is fine. */
STERNA_API sterna_status sterna_buffer_write(sterna_buffer *buffer, size_t offset, const void *src,
                                             size_t bytes, sterna_error *error);
STERNA_API sterna_status sterna_buffer_read(const sterna_buffer *buffer, size_t offset, void *dst,
                                            size_t bytes, sterna_error *error);
/* Fills the whole buffer with a 32-bit word. */
STERNA_API sterna_status sterna_buffer_fill(sterna_buffer *buffer, uint32_t word, sterna_error *error);

/* ---- matrices ----------------------------------------------------------------------------------------- */

typedef enum sterna_matrix_type {
    STERNA_TYPE_TERNARY,
    STERNA_TYPE_Q8,
    STERNA_TYPE_F16,
    STERNA_TYPE_BF16,
    STERNA_TYPE_F32
} sterna_matrix_type;

/* A matrix in host memory. Nothing is owned; the memory is not needed once sterna_linear_create returns. */
typedef struct sterna_matrix {
    size_t struct_size;
    sterna_matrix_type type; /* TERNARY */
    int32_t rows;            /* N, 1 ... STERNA_LINEAR_MAX_ROWS */
    int32_t cols;            /* K, 1 ... STERNA_LINEAR_MAX_COLS */
    const void *data;        /* [N][row_bytes], aligned to the element (TERNARY: any address) */
    size_t row_bytes;        /* distance of rows; 0 = sterna_matrix_row_bytes(type, cols) */
    bool four_levels;        /* TERNARY: code 3, +2, may occur; otherwise it is an error */

    int32_t group;                 /* TERNARY, Q8: columns per scale: 0 (the whole row), 32, 64, 128 or 256 */
    sterna_matrix_type scale_type; /* F32; with a group also F16 or BF16 */
    const void *scale;             /* [N][group ? ceil(K / group) : 1], finite; NULL for dense types */

    float out_scale;   /* 1 = none */
    const float *bias; /* [N], or NULL */

    /* Sorted by row, then column; [n_outlier] each, or NULL without any. */
    int32_t n_outlier; /* 0 ... STERNA_LINEAR_MAX_OUTLIER */
    const int32_t *outlier_row, *outlier_col;
    const uint16_t *outlier_f16; /* finite; the element that it replaces is zero */
} sterna_matrix;

/* TERNARY, F32 row scales, out_scale 1, and nothing else. */
STERNA_API void sterna_matrix_defaults(sterna_matrix *matrix);
/* Bytes of one row of K elements, and of N rows that far apart. 0 if the type or a dimension is out of its
 * limits. */
STERNA_API size_t sterna_matrix_row_bytes(sterna_matrix_type type, int32_t cols);
STERNA_API size_t sterna_matrix_bytes(sterna_matrix_type type, int32_t rows, int32_t cols);
/* Packs values -1, 0, +1 (and +2, for a matrix with four_levels), int8 [N][K], into TERNARY rows
 * sterna_matrix_row_bytes apart, padding included. data_bytes: the size of `data`. */
STERNA_API sterna_status sterna_matrix_pack(const int8_t *values, int32_t rows, int32_t cols, void *data,
                                            size_t data_bytes, sterna_error *error);
/* Everything that sterna_linear_create checks of a matrix: fields, every scale, bias, code, padding and
 * outlier. The error names the first element that is wrong. */
STERNA_API sterna_status sterna_matrix_check(const sterna_matrix *matrix, sterna_error *error);

/* ---- linear ------------------------------------------------------------------------------------------- */

typedef struct sterna_linear sterna_linear;

typedef struct sterna_linear_params {
    size_t struct_size;
    int32_t max_tok;   /* rows of activations in one call at most; default 1 */
    int32_t act_group; /* columns per activation scale: 0 (the whole row), 32, 64, 128 or 256 */
    bool device_only;  /* no sterna_linear_run: saves f32 [max_tok][K + N] on the device, and host memory */
} sterna_linear_params;

STERNA_API void sterna_linear_defaults(sterna_linear_params *params);

/* Checks and uploads the matrix. params may be NULL: defaults. */
STERNA_API sterna_status sterna_linear_create(sterna_device *device, const sterna_matrix *matrix,
                                              const sterna_linear_params *params, sterna_linear **linear,
                                              sterna_error *error);
STERNA_API void sterna_linear_destroy(sterna_linear **linear);

typedef struct sterna_linear_info {
    size_t struct_size;
    sterna_matrix_type type;
    int32_t rows, cols, group, act_group, max_tok;
    uint64_t weight_bytes;  /* device memory that one pass reads: codes, scales, bias, outliers */
    uint64_t scratch_bytes; /* device memory for activations and results */
} sterna_linear_info;

/* `info->struct_size` must be set by the caller. */
STERNA_API sterna_status sterna_linear_describe(const sterna_linear *linear, sterna_linear_info *info);

/* What x is. Int8 input needs a TERNARY or Q8 matrix; F32 goes with every type. */
typedef enum sterna_input {
    STERNA_INPUT_QUANTISE, /* f32, which the library quantises: the default */
    STERNA_INPUT_INT8,     /* codes and scales */
    STERNA_INPUT_F32       /* f32, used as it is */
} sterna_input;

/* Operands in host memory. y must not overlap the others. */
typedef struct sterna_linear_host_args {
    size_t struct_size;
    int32_t n_tok; /* rows, 1 ... max_tok */
    sterna_input input;
    const float *x;      /* QUANTISE, F32: f32 [n_tok][K] */
    const int8_t *codes; /* INT8: i8 [n_tok][K] */
    const float *scales; /* INT8: f32 [n_tok][act_group ? ceil(K / act_group) : 1] */
    size_t x_stride;     /* elements from a row of x or codes to the next; 0 = K */
    float *y;            /* f32 [n_tok][N] */
    size_t y_stride;     /* floats from a row of y to the next; 0 = N. What is between is left alone */
    bool accumulate;     /* y = W x + old y */
} sterna_linear_host_args;

STERNA_API void sterna_linear_host_defaults(sterna_linear_host_args *host);
STERNA_API sterna_status sterna_linear_run(sterna_linear *linear, const sterna_linear_host_args *host,
                                           sterna_error *error);

/* Operands in buffers of the linear's device, from their first byte on. For INT8, x holds planes as
 * sterna_linear_planes says. x and y must not overlap. */
typedef struct sterna_linear_device_args {
    size_t struct_size;
    int32_t n_tok; /* rows, 1 ... max_tok */
    sterna_input input;
    const sterna_buffer *x; /* QUANTISE, F32: f32 [n_tok][K]; INT8: planes */
    int32_t x_rows;         /* INT8: rows that the planes are laid out for; 0 = n_tok */
    sterna_buffer *y;       /* f32 [n_tok][y_stride] */
    int32_t y_column;       /* where in a row of y the N results go: several linears may share y */
    int32_t y_stride;       /* floats from a row of y to the next; 0 = y_column + N */
    bool accumulate;        /* y = W x + old y */
} sterna_linear_device_args;

STERNA_API void sterna_linear_device_defaults(sterna_linear_device_args *operands);
/* Quantises if asked, then multiplies: one submission to the device. */
STERNA_API sterna_status sterna_linear_run_device(sterna_linear *linear,
                                                  const sterna_linear_device_args *operands,
                                                  sterna_error *error);

/* Quantised activations in one buffer of three planes, each row-major and in natural column order:
 *
 *     i8  codes [n_row][code_stride]  from byte 0; code_stride = K rounded up to 128; columns past K are 0
 *     f32 scale [n_row][n_scale]      from byte scale_offset
 *     i32 sum   [n_row][n_sum]        from byte sum_offset: the sum of the codes of each segment of sum_group
 *                                     columns (0 = all K; the last may be short)
 *
 * so that a kernel of your own can write them. With sterna_device_params.check, sterna_linear_run_device
 * reads them back and verifies codes, padding and sums. */
typedef struct sterna_planes {
    size_t struct_size;
    size_t code_stride, scale_offset, sum_offset; /* bytes; offsets are multiples of 64 */
    size_t bytes;                                 /* of the whole buffer */
    int32_t n_scale, n_sum;                       /* of one row */
    int32_t act_group, sum_group;                 /* sum_group = min(group, act_group), 0 counting as K */
} sterna_planes;

/* The planes of int8 input for this linear, laid out for n_row rows, 1 ... STERNA_LINEAR_MAX_TOK.
 * `planes->struct_size` must be set by the caller. */
STERNA_API sterna_status sterna_linear_planes(const sterna_linear *linear, int32_t n_row,
                                              sterna_planes *planes, sterna_error *error);
/* Quantises rows 0 ... n_tok - 1 of x, f32 [n_tok][K], into planes laid out for plane_rows rows (0 = n_tok).
 * Linears whose K, act_group and sum_group are the same share planes. */
STERNA_API sterna_status sterna_linear_quantise(sterna_linear *linear, int32_t n_tok, const sterna_buffer *x,
                                                sterna_buffer *planes, int32_t plane_rows,
                                                sterna_error *error);
/* The same rule on the host, for one row: f32 [cols] -> i8 [cols] and f32 [act_group ? ceil(cols / act_group)
 * : 1]. */
STERNA_API sterna_status sterna_quantise_row(const float *x, int32_t cols, int32_t act_group, int8_t *codes,
                                             float *scales, sterna_error *error);

#ifdef __cplusplus
}
#endif
#endif
