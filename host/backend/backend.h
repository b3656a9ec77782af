/* The seam: what the engine asks of a device. One const table of 25 functions per backend, every entry
 * mandatory.
 *
 * Contract common to all ops
 *   - Ops run in the order given, between begin() and end(). They only enqueue and return nothing; the first
 * failure sticks to the device and comes back from end().
 *   - Arguments were checked by the caller (or by the checking wrapper, st_device_open with params.check).
 * Backends assert at most.
 *   - Arithmetic is fixed to the bit: see each op, host/base/numerics.h, and host/ref, which is the
 * definition.
 *   - Rows of a step are tokens (ST_ROWS_TOKEN: batch->n_token rows) or wanted outputs (ST_ROWS_OUT:
 * batch->n_out rows). Rows with pos -1 (out -1) are padding: what ops leave in their rows is unspecified, but
 * they write nothing to the KV cache, and nothing that belongs to another row depends on them.
 *   - Activations are row-major; a row of `dim` f32 starts at row * stride. Buffers never overlap unless an
 * op says so.
 */
#ifndef ST_BACKEND_H
#define ST_BACKEND_H

#include "host/base/base.h"
#include "host/base/matrix.h"
#include "host/base/numerics.h"

typedef struct st_backend st_backend;

/* Backends embed these as the first member of their own structs. */
typedef struct st_device {
    const st_backend *backend;
    size_t max_view; /* bytes that an op may see of one activation or of a layer's keys or values; 0 = any */
} st_device;

typedef struct st_buf {
    size_t bytes;
} st_buf;

typedef struct st_weight {
    st_type type;
    int32_t rows, cols; /* N, K */
    int32_t group;      /* columns per scale, 0 = row */
    size_t bytes;       /* device memory a full pass over this weight reads: codes, scales, bias, outliers */
    bool has_bias;
    bool in_place; /* it reads `data` of its matrix, which was `lasting` */
    int32_t n_outlier;
} st_weight;

/* ---- device ---- */

typedef enum st_op {
    ST_OP_EMBED,
    ST_OP_NORM,
    ST_OP_NORM_QUANT,
    ST_OP_LINEAR,
    ST_OP_ROPE_STORE,
    ST_OP_ATTEND,
    ST_OP_GLU_NORM_QUANT,
    ST_OP_TOPK,
    ST_OP_COUNT
} st_op;

typedef struct st_device_params {
    int32_t n_thread;      /* CPU backends: 1 ... ST_MAX_THREAD; 0 = physical cores */
    bool trace;            /* keep a row per op of the last step */
    bool strict;           /* do not run an op, nor trace it, that the variant forced on it does not take */
    bool check;            /* wrap the device in the checking layer (backend.c) */
    sterna_abort_fn abort; /* asked before each op of a step, in the thread that issues them; may be NULL */
    void *abort_user;
    st_log log;
} st_device_params;

/* Time and bytes of one op of the last step: one row for each op that was issued, in order. An op that a
 * backend runs as part of another one has a row of its own with 0 seconds. */
typedef struct st_trace_row {
    st_op op;
    const char *variant; /* the variant that ran; static string */
    double seconds;
    uint64_t bytes; /* weights, activations and KV read and written, counted once each (st_bytes_*) */
    double start;   /* seconds since begin(), or since the device began with the step's first op */
} st_trace_row;

/* ---- a step's batch: arrays in device memory, written before begin() ---- */

typedef struct st_batch {
    int32_t n_token;    /* rows, padded to a bucket; 1 ... ST_MAX_BATCH */
    int32_t n_seq;      /* rows of table, padded */
    int32_t n_out;      /* wanted rows, padded; may be 0 */
    int32_t max_blocks; /* pages per row of table, padded: positions of a sequence <= 64 * max_blocks */
    st_buf *token;      /* i32 [n_token] */
    st_buf *pos;        /* i32 [n_token] absolute position; -1 = padding row */
    st_buf *seq;        /* i32 [n_token] row of table */
    st_buf *slot;       /* i32 [n_token] where K and V of the row go: page * 64 + pos % 64 */
    st_buf *table;      /* i32 [n_seq][max_blocks] page of positions 64 b ... 64 b + 63 */
    st_buf *length;     /* i32 [n_seq] positions of the sequence after this step */
    st_buf *out;        /* i32 [n_out] token row whose logits are wanted; -1 = padding */
    /* The caller's number for all else that shapes the ops of the step: steps whose batch structs are equal
     * issue the same ops with the same arguments, so a recording of one serves the other. */
    uint64_t stream;
} st_batch;

typedef enum st_rows { ST_ROWS_TOKEN, ST_ROWS_OUT } st_rows;

/* ---- activations quantised to int8 ----
 * One buffer of three planes, in natural column order:
 *   codes  i8  [n_row][stride]   stride = cols rounded up to 128; columns past `cols` are 0
 *   scale  f32 [n_row][n_scale]  n_scale = act_group ? ceil(cols / act_group) : 1
 *   sum    i32 [n_row][n_sum]    sums of codes over sum_group columns (0 = the whole row)
 * each plane begins at a multiple of 64 bytes. act_group and sum_group are 0, 32, 64, 128 or 256. A linear
 * that consumes the buffer uses segments of min(its weight's group, act_group) columns (0 counts as all), and
 * sum_group must be exactly that. The descriptor is the same for producer and consumer. */
typedef struct st_qact {
    st_buf *buf;
    int32_t max_row; /* rows the planes are laid out for */
    int32_t cols;
    int32_t act_group, sum_group;
} st_qact;

typedef struct st_qact_layout {
    size_t stride, scale_offset, sum_offset, bytes; /* bytes of the whole buffer */
    int32_t n_scale, n_sum;
} st_qact_layout;
st_qact_layout st_qact_planes(const st_qact *q); /* q->buf is not looked at */

/* ---- rotation of activations (Bonsai-2): x -> H(sign * x) per block; see st_hadamard ---- */
typedef struct st_rotation {
    int32_t block; /* 0 = none, else a power of two up to 4096 that divides cols */
    st_buf *sign;  /* f32 [cols] of +-1, or NULL for all +1 */
} st_rotation;

/* ---- KV cache: one buffer of pages of 64 positions, f16, layout private to the backend ---- */
typedef struct st_kv {
    st_buf *buf; /* st_kv_bytes() */
    int32_t n_page, n_layer, n_kv_head, head_dim;
} st_kv;
size_t st_kv_bytes(int32_t n_page, int32_t n_layer, int32_t n_kv_head, int32_t head_dim); /* K and V */

/* ---- arguments of the ops ---- */

/* dst[r] = value(table[token[r]]) * scale, then unrotated if asked: sign * H(x). f32 [n_token][cols]. */
typedef struct st_embed_args {
    const st_weight *table; /* [n_vocab][cols], any type */
    float scale;
    st_rotation rotation;
    st_buf *dst; /* f32 [n_token][table->cols] */
} st_embed_args;

/* y = (x * factor) * weight with factor = st_rms_factor(x, dim, eps); dst = y, or dst = dst + y if
 * accumulate. With ST_ROWS_OUT row i reads src row out[i] and writes dst row i. dst may be src with
 * ST_ROWS_TOKEN. */
typedef struct st_norm_args {
    const st_buf *src;    /* f32 [rows][dim] */
    st_buf *dst;          /* f32 [rows][dim] */
    const st_buf *weight; /* f32 [dim] */
    int32_t dim;
    float eps;
    bool accumulate;
    st_rows rows;
} st_norm_args;

/* y = (x * factor) * weight, or x itself without weight; rotated if asked; then quantised per act_group
 * (st_quantise). Row selection as in norm. */
typedef struct st_norm_quant_args {
    const st_buf *src;    /* f32 [rows][dst.cols] */
    const st_buf *weight; /* f32 [dst.cols], or NULL: no normalisation */
    float eps;
    st_rotation rotation;
    st_qact dst;
    st_rows rows;
} st_norm_quant_args;

/* dst[r][column + n] = W[n] . x[r] for all n < weight->rows.
 *
 * int8 input, TERNARY or Q8 weight: let a segment be min(weight group, act group) columns, isum = sum code *
 * q - sum q (Q8: sum w * q) over it, in integers. one segment:   y = (float)isum * (scale_w * scale_a) more
 * segments: t_s = (float)isum_s * (scale_w * scale_a); within each block of 1024 columns t_s are added in
 *                  ascending order from +0, then the blocks' sums in ascending order from +0.
 * f32 input, any weight: y = 256-lane sum over k of value(n, k) * x[k], value as in st_matrix_value.
 * Then, where present: y = y * out_scale; y = y + bias[n]; y = y + old dst; then for each outlier of the row
 * in ascending column: y = y + (o * q) * scale_a(of its column) (f32 input: y + o * x). */
typedef struct st_linear_args {
    const st_weight *weight;
    const st_qact *quant; /* int8 input, or NULL */
    const st_buf *src;    /* f32 [rows][weight->cols], or NULL; exactly one of the two */
    st_buf *dst;          /* f32 [rows][stride] */
    int32_t column, stride;
    bool accumulate;
    st_rows rows; /* ST_ROWS_OUT: n_out consecutive rows, already gathered by a norm */
} st_linear_args;

/* For each row: each query and key head gets (x * factor) * weight per head if its norm is present; then the
 * pairs of its first n_rot dimensions are rotated by the table row of its position: (a, b) -> (a c - b s, a s
 * + b c), each product rounded. Queries are written back in place; keys and values go to the KV cache as f16
 * at slot[r]. */
typedef struct st_rope_store_args {
    st_buf *qkv; /* f32 [n_token][stride]: heads of q at column 0, then n_kv_head of k, then of v */
    int32_t stride;
    int32_t n_head, n_kv_head, head_dim;
    const st_buf *q_norm, *k_norm; /* f32 [head_dim], or NULL */
    float eps;
    const st_buf *cos_sin; /* f32 [n_position][n_rot / 2][2] */
    int32_t n_rot;         /* even, 0 ... head_dim */
    st_pairing pairing;
    int32_t layer;
    st_kv kv;
} st_rope_store_args;

/* Per row and query head h (key head h / (n_head / n_kv_head)), over visible positions j of its sequence:
 *   visible:  j < length[seq]; causal: j <= pos; window > 0: pos - window < j, and j < pos + window if not
 * causal s_j = st_dot_qk(q, k_j) * scale; softcap > 0: s_j = softcap * st_tanh(s_j * inv_softcap),
 * inv_softcap = 1 / softcap Keys fall in partitions of 256 absolute positions. In each with a visible key: m
 * = max s, p_j = st_exp(s_j - m), d = 256-lane sum of p_j (lane = position mod 256; hidden lanes 0), o = sum
 * of p_j * v_j in ascending j from +0. The first such partition gives (M, D, O); each further one, ascending:
 * n = max(M, m), a = st_exp(M - n), b = st_exp(m - n), D = D a + d b, O = O a + o b, M = n. Result: O * (1 /
 * D). Hidden values never take part. */
typedef struct st_attend_args {
    const st_buf *qkv; /* f32 [n_token][stride], queries at column 0, after rope_store */
    int32_t stride;
    st_buf *dst; /* f32 [n_token][n_head * head_dim] */
    int32_t n_head, n_kv_head, head_dim;
    int32_t layer;
    float scale;
    int32_t window; /* 0 = none */
    float softcap;  /* 0 = none */
    bool causal;
    st_kv kv;
} st_attend_args;

/* h = act(gate) * up, then as norm_quant. */
typedef struct st_glu_norm_quant_args {
    const st_buf *src; /* f32 [n_token][2 * dst.cols]: gate, then up */
    st_act act;
    const st_buf *weight; /* f32 [dst.cols], or NULL: no normalisation */
    float eps;
    st_rotation rotation;
    st_qact dst;
} st_glu_norm_quant_args;

/* One change to a row's logits before selection: l' = l * (l > 0 ? positive : negative) + add, product and
 * sum rounded. A repetition penalty p is positive = 1 / p, negative = p; presence and frequency penalties and
 * logit bias go to add (-inf bans). */
typedef struct st_adjustment {
    int32_t token;
    float positive, negative, add;
} st_adjustment;

static inline float st_adjusted(const st_adjustment *a, float l)
{
    return l * (l > 0.0f ? a->positive : a->negative) + a->add;
}

typedef struct st_candidate {
    int32_t token;
    float value; /* adjusted logit */
    float raw;   /* logit as computed */
} st_candidate;

typedef struct st_topk_stats {
    float max, sum_exp; /* of raw logits: max, 256-lane sum of st_exp(l - max) over token ids */
    float adjusted_max, adjusted_sum_exp; /* the same after adjustments */
    float want, want_adjusted;            /* logit of want[i]; 0 where want is -1 */
} st_topk_stats;

/* Per out row: the k largest adjusted logits, descending, ties by ascending token. -0 counts as +0 (max is
 * never -0). NaN logits rank above all others and make max NaN, so that the caller sees them; the bits of a
 * NaN are the one thing that devices may differ in. */
typedef struct st_topk_args {
    const st_buf *logits; /* f32 [n_out][n_vocab]; unchanged */
    int32_t n_vocab;
    int32_t k;          /* 1 ... min(n_vocab, ST_MAX_TOPK) */
    int32_t max_adjust; /* rows of `adjust` are this long; 0 = no adjustments */
    const st_buf
        *adjust; /* st_adjustment [n_out][max_adjust], ascending distinct tokens; NULL if max_adjust == 0 */
    const st_buf *n_adjust; /* i32 [n_out]; NULL if max_adjust == 0 */
    const st_buf *want;     /* i32 [n_out], -1 = none */
    st_buf *candidates;     /* st_candidate [n_out][k] */
    st_buf *stats;          /* st_topk_stats [n_out] */
} st_topk_args;

/* ---- the table ---- */

struct st_backend {
    const char *name; /* "ref", "cpu", "cuda", "vulkan" */

    /* Devices of this kind on this machine, 0 if none; then `why_not` says why (static or thread-local
     * string). */
    int (*count)(const char **why_not);
    /* Facts of device `index` without opening it. `list->name` is complete ("cpu", "cuda:1"). */
    void (*info)(int index, sterna_device_info *info);
    sterna_status (*open)(int index, const st_device_params *params, st_device **dev, sterna_error *error);
    void (*close)(st_device *dev); /* every buffer and weight was destroyed before */
    /* Names of an op's variants on this device, most general first; returns their number. The array is
     * static. */
    int (*variants)(const st_device *dev, st_op op, const char *const **names);
    /* Makes an op use this variant wherever the variant's predicate allows (else the generic one); NULL =
     * automatic. */
    sterna_status (*force)(st_device *dev, st_op op, const char *variant, sterna_error *error);
    /* Rows of the last ended step, in order; copies at most `max`, returns how many there are. Needs
     * params.trace. */
    int (*trace)(const st_device *dev, st_trace_row *rows, int max);

    /* Contents are undefined. `bytes` > 0. */
    sterna_status (*buf_create)(st_device *dev, size_t bytes, st_buf **buf, sterna_error *error);
    void (*buf_destroy)(st_device *dev, st_buf *buf); /* NULL is fine */
    /* Wraps memory the caller owns: host memory for CPU backends, a CUdeviceptr. What a handle must satisfy
     * only the backend knows: one that it cannot use (alignment) is STERNA_E_ARGUMENT; a backend that can use
     * none, as Vulkan, says STERNA_E_UNSUPPORTED. */
    sterna_status (*buf_wrap)(st_device *dev, void *native, size_t bytes, st_buf **buf, sterna_error *error);
    /* Blocking, outside of begin/end; ranges were checked. Failures stick to the device. */
    void (*write)(st_device *dev, st_buf *buf, size_t offset, const void *src, size_t bytes);
    void (*read)(st_device *dev, const st_buf *buf, size_t offset, void *dst, size_t bytes);
    void (*fill)(st_device *dev, st_buf *buf, uint32_t word); /* whole buffer, repeated 32-bit word */

    /* Uploads matrices stacked by rows (fused q/k/v, gate/up): all parts share type, group, scale_type, cols
     * and blocks. The parts' memory is not needed afterwards, but for `data` that is `lasting`. bias: f32
     * [rows] or NULL; out_scale: 1 = none; outliers or NULL. */
    sterna_status (*weight_create)(st_device *dev, const st_matrix *parts, int n_part, const float *bias,
                                   float out_scale, const st_outliers *outliers, st_weight **weight,
                                   sterna_error *error);
    void (*weight_destroy)(st_device *dev, st_weight *weight); /* NULL is fine */

    /* Starts a step. The batch struct and its arrays stay as they are until end(). False: a recording of a
     * step with the same key will be replayed, and ops until end() are ignored. */
    bool (*begin)(st_device *dev, const st_batch *batch);
    /* Runs what was enqueued and waits. Returns the first failure since open (sticky), or STERNA_OK. A step
     * that params.abort stopped has computed nothing that may be used: STERNA_E_ABORTED, not sticky. A device
     * on which an op cannot be kept from running need not ask. */
    sterna_status (*end)(st_device *dev, sterna_error *error);

    void (*embed)(st_device *dev, const st_embed_args *args);
    void (*norm)(st_device *dev, const st_norm_args *args);
    void (*norm_quant)(st_device *dev, const st_norm_quant_args *args);
    void (*linear)(st_device *dev, const st_linear_args *args);
    void (*rope_store)(st_device *dev, const st_rope_store_args *args);
    void (*attend)(st_device *dev, const st_attend_args *args);
    void (*glu_norm_quant)(st_device *dev, const st_glu_norm_quant_args *args);
    void (*topk)(st_device *dev, const st_topk_args *args);
};

/* ---- backend.c ---- */

extern const st_backend st_backend_ref, st_backend_cpu, st_backend_cuda, st_backend_vulkan;

/* Every device of every backend, then a line for each backend that has none or is not in this build, with the
 * reason. Returns how many entries there are, and fills in number `index` if it is one of them. */
int st_device_list(int index, sterna_device_info *info);
/* Opens a device by name: "auto", "ref", "cpu", "cuda", "cuda:1" ... With params->check the device is wrapped
 * by the checking layer: arguments of every call are verified (a violation is STERNA_E_ARGUMENT from end() or
 * the call itself, naming op, argument and numbers), buffers' owners and ranges too, and the argument stream
 * of replayed steps is compared with the recorded one. */
sterna_status st_device_open(const char *name, const st_device_params *params, st_device **dev,
                             sterna_error *error);
void st_device_close(st_device **dev);
const char *st_op_name(st_op op); /* "norm_quant" */
/* The op of that name, or ST_OP_COUNT. */
st_op st_op_by_name(const char *name);

/* Checking layer (checked.c): takes ownership of `inner`. */
sterna_status st_checked_open(st_device *inner, const st_device_params *params, st_device **dev,
                              sterna_error *error);

/* Bytes an op must move for n_row rows: weights once, activations read and written once, KV of visible keys
 * (n_key: their sum over rows). For traces, profiles and rooflines; the same for every backend (layout.c). */
uint64_t st_bytes_embed(const st_embed_args *args, int32_t n_row);
uint64_t st_bytes_norm(const st_norm_args *args, int32_t n_row);
uint64_t st_bytes_norm_quant(const st_norm_quant_args *args, int32_t n_row);
uint64_t st_bytes_linear(const st_linear_args *args, int32_t n_row);
uint64_t st_bytes_rope_store(const st_rope_store_args *args, int32_t n_row);
uint64_t st_bytes_attend(const st_attend_args *args, int32_t n_row, uint64_t n_key);
uint64_t st_bytes_glu_norm_quant(const st_glu_norm_quant_args *args, int32_t n_row);
uint64_t st_bytes_topk(const st_topk_args *args, int32_t n_row);

/* ---- rows.c: for devices that hold the batch's arrays where the host cannot look ---- */

/* Host copies of a step's arrays, for what an op costs. */
typedef struct st_batch_rows {
    int32_t n_token, n_out; /* rows that are not padding */
    int32_t n_row;          /* token rows, with padding */
    int32_t pos[ST_MAX_BATCH], seq[ST_MAX_BATCH], length[ST_MAX_SEQUENCE];
} st_batch_rows;
/* Reads them from the device. Outside of begin/end. */
void st_batch_rows_read(st_device *dev, const st_batch *batch, st_batch_rows *rows);
/* Positions that the rows of the step see, together, as attend has it. */
uint64_t st_visible_keys(const st_attend_args *args, const st_batch_rows *rows);
/* st_bytes_* of the op whose st_*_args these are. */
uint64_t st_bytes_of(st_op op, const void *args, const st_batch_rows *rows);
/* Whether a recording of a step of `a` serves one of `b`. */
bool st_batch_same(const st_batch *a, const st_batch *b);

#endif
