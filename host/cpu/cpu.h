/* Inside the CPU backend: device, buffers, device layouts of weights and KV, and the table of variants.
 *
 * Adding an instruction set to an op is one file, <op>_<isa>.c, and one line in cpu.c's table. Every variant
 * gives the bits of host/ref for every number of threads. */
#ifndef ST_CPU_H
#define ST_CPU_H

#include "host/backend/backend.h"
#include "host/base/parallel.h"

#if defined(__x86_64__) || defined(__i386__)
#define ST_CPU_X86 1
#else
#define ST_CPU_X86 0
#endif
#if defined(__aarch64__)
#define ST_CPU_ARM 1
#else
#define ST_CPU_ARM 0
#endif

/* ---- instruction sets (isa.c) ---- */
enum {
    ST_ISA_AVX2 = 1,       /* AVX2 and F16C */
    ST_ISA_AVXVNNI = 2,    /* vpdpbusd on 256 bits, and all of AVX2 */
    ST_ISA_AVX512VNNI = 4, /* vpdpbusd on 512 bits, AVX-512 F, BW and VL, and all of AVX2 */
    ST_ISA_AVX512 = 8,     /* AVX-512 F, BW, VL and DQ, and all of AVX2 */
    ST_ISA_NEON = 16,      /* NEON of AArch64 */
    ST_ISA_NEONDOT = 32    /* sdot of ARMv8.2, and NEON */
};
unsigned st_cpu_isa(void);                                   /* those of this processor that variants use */
bool st_cpu_reads_in_order(void);                            /* fastest, and without prefetches */
void st_cpu_describe(char *name, size_t size);               /* the processor's name */
void st_cpu_isa_text(unsigned isa, char *text, size_t size); /* "avx2 f16c avx_vnni" */

/* ---- device ---- */
typedef struct st_cpu st_cpu;

typedef struct st_cpu_variant {
    st_op op;
    const char *name;
    unsigned isa;                                       /* all of these are needed */
    bool (*takes)(const st_cpu *cpu, const void *args); /* NULL: everything */
    void (*run)(st_cpu *cpu, const void *args);         /* args: the op's st_*_args */
} st_cpu_variant;

enum { ST_CPU_MAX_VARIANT = 16 }; /* of one op */

/* Packed activations of one linear: 12 rows of the most columns, so that any shape has a full block. */
#define ST_CPU_PACKED_BYTES  ((size_t)2 << 20)
#define ST_CPU_SCRATCH_BYTES (ST_MAX_COLS * sizeof(float)) /* of one thread */

struct st_cpu {
    st_device base;
    st_pool *pool;
    int32_t n_slot; /* independent row workers = threads */
    float *scratch; /* f32 [n_slot][ST_MAX_COLS]; a row between two passes of an op */
    int8_t *packed; /* [ST_CPU_PACKED_BYTES] activations in the order a linear reads them */
    unsigned isa;
    bool reads_in_order;
    const st_batch *batch; /* of the step that runs */
    sterna_abort_fn abort; /* may be NULL */
    void *abort_user;
    bool aborted;                              /* the step that runs: its further ops do nothing */
    const st_cpu_variant *forced[ST_OP_COUNT]; /* NULL = automatic */
    bool strict;                               /* of the params */
    const char *name[ST_OP_COUNT][ST_CPU_MAX_VARIANT];
    int n_name[ST_OP_COUNT];
    st_trace_row *trace; /* [ST_CPU_MAX_TRACE], NULL without params.trace */
    int n_trace;
    double begun; /* time of begin() */
};

/* Work below this runs in the caller. A unit is some 0.1 ns of the AVX-512 variants on a Xeon of 2023. There
 * a loop over the pool costs the caller 0.7 to 1.0 us with one other thread that waits for it (medians of
 * 201, also when 50 us lie between two loops), so that from 4 us on the second thread is a gain. */
#define ST_CPU_SERIAL_WORK 40000
/* What an element costs in these units, measured in the first-level cache: 2560 columns are normed in 0.20 us
 * and quantised in 0.59 us; 6912 gates take 2.6 (ReLU^2) to 7.3 us (SiLU); 30 heads of 128 are rotated and
 * stored in 3.1 us, 128256 logits searched in 97 us, 2560 values looked up in 0.25 to 1.1 us. */
enum {
    ST_CPU_WORK_NORM = 1,
    ST_CPU_WORK_NORM_QUANT = 2,
    ST_CPU_WORK_GLU = 6,
    ST_CPU_WORK_ROPE = 8,
    ST_CPU_WORK_TOPK = 8,
    ST_CPU_WORK_EMBED = 3
};
/* The same border for multiplications of attend, of which a thread does 20 a ns. */
#define ST_CPU_SERIAL_ATTEND 80000

/* Calls fn for rows 0 ... n_row - 1, in parallel if n_row * work is worth it. Each call has a scratch row of
 * ST_MAX_COLS f32 to itself. */
typedef void (*st_cpu_row_fn)(const st_cpu *cpu, const void *args, int32_t row, float *scratch);
void st_cpu_rows(st_cpu *cpu, int32_t n_row, int64_t work, st_cpu_row_fn fn, const void *args);

/* ---- buffers ---- */
typedef struct st_cpu_buf {
    st_buf base;
    unsigned char *data; /* 64-byte aligned if owned, 4-byte if wrapped */
    bool owned;
} st_cpu_buf;

static inline void *st_cpu_data(const st_buf *buf)
{
    return ((const st_cpu_buf *)buf)->data;
}

static inline int32_t st_cpu_row_count(const st_cpu *cpu, st_rows rows)
{
    return rows == ST_ROWS_TOKEN ? cpu->batch->n_token : cpu->batch->n_out;
}

/* The source row of row i, -1 for padding. */
static inline int32_t st_cpu_source_row(const st_cpu *cpu, st_rows rows, int32_t i)
{
    if (rows == ST_ROWS_OUT)
        return ((const int32_t *)st_cpu_data(cpu->batch->out))[i];
    return ((const int32_t *)st_cpu_data(cpu->batch->pos))[i] < 0 ? -1 : i;
}

/* The planes of quantised activations. */
typedef struct st_cpu_qact {
    int8_t *code; /* [row][stride] */
    float *scale; /* [row][n_scale] */
    int32_t *sum; /* [row][n_sum] */
    size_t stride;
    int32_t n_scale, n_sum;
} st_cpu_qact;
st_cpu_qact st_cpu_planes(const st_qact *q);

/* ---- weights (weight.c) ----
 * TERNARY: tiles of 16 rows, each [n_step][16 rows][4 bytes], a step being 16 columns: column 4 s + b of the
 *   step stands in bits 2 s of byte b. A 32-byte load is 8 rows, which meet 4 activations broadcast to every
 *   32-bit lane, and no sum ever crosses lanes. Rows and columns past the end have code 1.
 * Q8: the same with steps of 4 columns, [n_step][16 rows][4 bytes], n_step being a multiple of 8 and all past
 *   the end 0.
 * Others: row-major, rows a multiple of 64 bytes apart, zeros past the end.
 * Q8 in blocks that last is no copy, but read where it lies. That is for lookups and f32 input: with int8
 *   input it takes the portable variant.
 * Scales: f32 [rows padded to 16], or as stored [tile][group][16 rows] for groups. */
enum { ST_CPU_TILE = 16, ST_CPU_STEP = 16, ST_CPU_STEP_BYTES = 64 };

typedef struct st_cpu_weight {
    st_weight base;
    st_type scale_type;
    bool has_code3;
    float out_scale;
    int32_t n_tile, n_step, n_group;
    size_t row_bytes;    /* distance of rows or tiles */
    unsigned char *data; /* 64-byte aligned, unless it is the caller's */
    void *scale;
    float *bias;            /* f32 [rows padded to 16], NULL = none */
    int32_t *outlier_start; /* [rows + 1], NULL = none */
    int32_t *outlier_col;   /* [n_outlier] */
    float *outlier;         /* [n_outlier] */
} st_cpu_weight;

/* In the first two of these layouts. */
static inline bool st_cpu_is_tiled(const st_cpu_weight *w)
{
    return w->base.type == ST_TERNARY || (w->base.type == ST_Q8 && !w->base.in_place);
}

sterna_status st_cpu_weight_create(st_device *dev, const st_matrix *parts, int n_part, const float *bias,
                                   float out_scale, const st_outliers *outliers, st_weight **weight,
                                   sterna_error *error);
void st_cpu_weight_destroy(st_device *dev, st_weight *weight);
float st_cpu_weight_scale(const st_cpu_weight *w, int32_t row, int32_t group);
/* Q8: codes of four columns from `col`, a multiple of 4. */
static inline const int8_t *st_cpu_weight_q8(const st_cpu_weight *w, int32_t row, int32_t col)
{
    const int8_t *data = (const int8_t *)w->data;
    if (!st_cpu_is_tiled(w))
        return data + (size_t)row * w->row_bytes + (size_t)(col + 2 * (col / ST_BLOCK_COLS + 1));
    return data + (size_t)(row / ST_CPU_TILE) * w->row_bytes + (size_t)(col / 4) * ST_CPU_STEP_BYTES +
           (size_t)(row % ST_CPU_TILE) * 4;
}
/* Decodes one row to f32 [cols]: value as in st_matrix_value. */
void st_cpu_weight_row(const st_cpu_weight *w, int32_t row, float *dst);

/* ---- linear: what its variants share (linear.c) ---- */
typedef struct st_cpu_linear {
    const st_cpu_weight *weight;
    const st_linear_args *args;
    st_cpu_qact q;    /* int8 input */
    const float *src; /* f32 input */
    float *dst;       /* column 0 of this linear in row 0 */
    int32_t n_row;
    int32_t segment, n_segment;  /* columns that share weight scale and activation scale; their count */
    int32_t per_weight, per_act; /* segments per weight group and per activation group */
} st_cpu_linear;
st_cpu_linear st_cpu_linear_open(const st_cpu *cpu, const st_linear_args *args);
/* Finishes rows first ... first + count - 1 of W for activation row t: out_scale, bias, old value, outliers.
 */
void st_cpu_linear_store(const st_cpu_linear *l, int32_t t, int32_t first, int32_t count, const float *y);
/* True if the product is too small for threads. */
bool st_cpu_linear_serial(const st_cpu_linear *l);
/* Whether variants that read in order take calls: where the processor likes it, or forced on any. */
static inline bool st_cpu_in_order(const st_cpu *cpu)
{
    return cpu->reads_in_order || cpu->forced[ST_OP_LINEAR];
}
/* Runs fn over n tiles of rows of W, in parallel if the product is worth it. */
void st_cpu_linear_loop(st_cpu *cpu, const st_cpu_linear *l, int64_t n, st_loop_fn fn, void *context);

/* ---- KV cache: per page, layer and key head a block of K [head_dim][64] and V [64][head_dim] f16 ----
 * K is transposed so that a vector holds one dimension of consecutive positions, and the lanes of st_dot_qk
 * are separate vectors. */
static inline uint16_t *st_cpu_kv_block(const st_kv *kv, int32_t page, int32_t layer, int32_t head)
{
    size_t index =
        ((size_t)page * (size_t)kv->n_layer + (size_t)layer) * (size_t)kv->n_kv_head + (size_t)head;
    return (uint16_t *)st_cpu_data(kv->buf) + index * 2 * ST_KV_PAGE * (size_t)kv->head_dim;
}

/* One row and head of attend: what it sees (attend.c). */
typedef struct st_cpu_view {
    int32_t row, head, kv_head;
    int32_t first, end;   /* visible positions */
    const int32_t *table; /* pages of the sequence */
    const float *query;   /* f32 [head_dim] */
    float *dst;           /* f32 [head_dim] */
} st_cpu_view;
/* False for padding rows. */
bool st_cpu_view_open(const st_cpu *cpu, const st_attend_args *args, int32_t row, int32_t head,
                      st_cpu_view *v);
/* Positions row sees: [*first, *end). */
void st_cpu_visible(const st_cpu *cpu, const st_attend_args *args, int32_t row, int32_t *first, int32_t *end);
/* Runs fn(args, view) for all rows and heads. */
typedef void (*st_cpu_view_fn)(const st_attend_args *args, const st_cpu_view *view);
void st_cpu_attend_loop(st_cpu *cpu, const st_attend_args *args, st_cpu_view_fn fn);

/* ---- topk: what its variants share (topk_portable.c) ---- */
typedef struct st_cpu_selection {
    st_candidate *best; /* [k], descending */
    int32_t k, n;
} st_cpu_selection;
/* Offers a candidate; tokens must come in ascending order. */
void st_cpu_select(st_cpu_selection *s, st_candidate c);

typedef struct st_cpu_topk_row {
    const float *logits;
    int32_t n_vocab, n_adjust;
    const st_adjustment *adjust;
    st_cpu_selection best;
    st_topk_stats *stats;
} st_cpu_topk_row;
/* False for padding rows. Sets the wanted logits. */
bool st_cpu_topk_row_open(const st_cpu *cpu, const st_topk_args *args, int32_t row, st_cpu_topk_row *r);
float st_cpu_topk_max(float max);
/* Copies n logits from `first` and applies adjustments from index `at` on; returns the index of the next. */
int32_t st_cpu_adjusted_block(const st_cpu_topk_row *r, int32_t first, int32_t n, int32_t at, float *block);

/* ---- the ops ---- */
/* Second half of both quantising ops: x [dst.cols] is normalised if there is a weight, rotated and quantised
 * into row `row`. */
typedef struct st_cpu_quantiser {
    const st_buf *weight; /* may be NULL */
    float eps;
    st_rotation rotation;
    const st_qact *dst;
} st_cpu_quantiser;
/* The inner loops of both quantising ops, one set for each instruction set. */
typedef struct st_cpu_quant_loops {
    void (*normalise)(const float *x, const float *weight, int32_t n, float eps, float *y); /* y may be x */
    void (*hadamard)(float *x, int64_t n, int32_t block);                                   /* st_hadamard */
    float (*quantise)(const float *x, int32_t n, int8_t *code); /* st_quantise without the sum; the scale */
    int32_t (*sum)(const int8_t *code, int32_t n);
} st_cpu_quant_loops;
extern const st_cpu_quant_loops st_cpu_quant_portable;
/* y: a row of scratch, may be x. */
void st_cpu_quantise_row(const st_cpu_quant_loops *loops, const st_cpu_quantiser *z, const float *x, float *y,
                         int32_t row);
/* All of norm_quant for row r. */
void st_cpu_norm_quant_row(const st_cpu_quant_loops *loops, const st_cpu *cpu, const st_norm_quant_args *args,
                           int32_t r, float *scratch);

void st_cpu_embed_portable(st_cpu *cpu, const void *args);
void st_cpu_norm_portable(st_cpu *cpu, const void *args);
void st_cpu_norm_quant_portable(st_cpu *cpu, const void *args);
void st_cpu_linear_portable(st_cpu *cpu, const void *args);
void st_cpu_rope_store_portable(st_cpu *cpu, const void *args);
void st_cpu_attend_portable(st_cpu *cpu, const void *args);
void st_cpu_glu_norm_quant_portable(st_cpu *cpu, const void *args);
void st_cpu_topk_portable(st_cpu *cpu, const void *args);

void st_cpu_norm_avx2(st_cpu *cpu, const void *args);
void st_cpu_norm_quant_avx2(st_cpu *cpu, const void *args);
void st_cpu_attend_avx2(st_cpu *cpu, const void *args);
void st_cpu_glu_norm_quant_avx2(st_cpu *cpu, const void *args);
void st_cpu_norm_avx512(st_cpu *cpu, const void *args);
void st_cpu_norm_quant_avx512(st_cpu *cpu, const void *args);
void st_cpu_glu_norm_quant_avx512(st_cpu *cpu, const void *args);
void st_cpu_topk_avx512(st_cpu *cpu, const void *args);
void st_cpu_rope_store_avx2(st_cpu *cpu, const void *args);
void st_cpu_rope_store_avx512(st_cpu *cpu, const void *args);
void st_cpu_embed_avx2(st_cpu *cpu, const void *args);
void st_cpu_embed_avx512(st_cpu *cpu, const void *args);
void st_cpu_attend_avx512(st_cpu *cpu, const void *args);
void st_cpu_topk_avx2(st_cpu *cpu, const void *args);
bool st_cpu_linear_avx2_takes(const st_cpu *cpu, const void *args);
void st_cpu_linear_avx2(st_cpu *cpu, const void *args);
bool st_cpu_linear_avx2_order_takes(const st_cpu *cpu, const void *args);
void st_cpu_linear_avx2_order(st_cpu *cpu, const void *args);
bool st_cpu_linear_dense_avx2_takes(const st_cpu *cpu, const void *args);
void st_cpu_linear_dense_avx2(st_cpu *cpu, const void *args);
bool st_cpu_linear_avxvnni_takes(const st_cpu *cpu, const void *args);
void st_cpu_linear_avxvnni(st_cpu *cpu, const void *args);
bool st_cpu_linear_avx512vnni_takes(const st_cpu *cpu, const void *args);
void st_cpu_linear_avx512vnni(st_cpu *cpu, const void *args);
bool st_cpu_linear_avx512vnni_order_takes(const st_cpu *cpu, const void *args);
void st_cpu_linear_avx512vnni_order(st_cpu *cpu, const void *args);
bool st_cpu_linear_q8_avx2_takes(const st_cpu *cpu, const void *args);
void st_cpu_linear_q8_avx2(st_cpu *cpu, const void *args);
bool st_cpu_linear_q8_avx2_order_takes(const st_cpu *cpu, const void *args);
void st_cpu_linear_q8_avx2_order(st_cpu *cpu, const void *args);
bool st_cpu_linear_float_avx2_takes(const st_cpu *cpu, const void *args);
void st_cpu_linear_float_avx2(st_cpu *cpu, const void *args);
bool st_cpu_linear_dense_avx512_takes(const st_cpu *cpu, const void *args);
void st_cpu_linear_dense_avx512(st_cpu *cpu, const void *args);
bool st_cpu_linear_float_avx512_takes(const st_cpu *cpu, const void *args);
void st_cpu_linear_float_avx512(st_cpu *cpu, const void *args);
bool st_cpu_linear_q8_avx512vnni_takes(const st_cpu *cpu, const void *args);
void st_cpu_linear_q8_avx512vnni(st_cpu *cpu, const void *args);
bool st_cpu_linear_q8_avx512vnni_order_takes(const st_cpu *cpu, const void *args);
void st_cpu_linear_q8_avx512vnni_order(st_cpu *cpu, const void *args);

void st_cpu_embed_neon(st_cpu *cpu, const void *args);
void st_cpu_norm_neon(st_cpu *cpu, const void *args);
void st_cpu_norm_quant_neon(st_cpu *cpu, const void *args);
void st_cpu_rope_store_neon(st_cpu *cpu, const void *args);
void st_cpu_attend_neon(st_cpu *cpu, const void *args);
void st_cpu_glu_norm_quant_neon(st_cpu *cpu, const void *args);
void st_cpu_topk_neon(st_cpu *cpu, const void *args);
bool st_cpu_linear_neon_takes(const st_cpu *cpu, const void *args);
void st_cpu_linear_neon(st_cpu *cpu, const void *args);
bool st_cpu_linear_neondot_takes(const st_cpu *cpu, const void *args);
void st_cpu_linear_neondot(st_cpu *cpu, const void *args);
bool st_cpu_linear_q8_neon_takes(const st_cpu *cpu, const void *args);
void st_cpu_linear_q8_neon(st_cpu *cpu, const void *args);
bool st_cpu_linear_q8_neondot_takes(const st_cpu *cpu, const void *args);
void st_cpu_linear_q8_neondot(st_cpu *cpu, const void *args);
bool st_cpu_linear_dense_neon_takes(const st_cpu *cpu, const void *args);
void st_cpu_linear_dense_neon(st_cpu *cpu, const void *args);
bool st_cpu_linear_float_neon_takes(const st_cpu *cpu, const void *args);
void st_cpu_linear_float_neon(st_cpu *cpu, const void *args);

#endif
