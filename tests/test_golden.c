/* The demo model against the framework it was trained in: logits, activation codes and held-out perplexity.
 * The framework adds in another order, so these are tolerances; everything else in this project is exact. */
#include "host/engine/engine.h"
#include "host/model/gguf.h"

#include <criterion/criterion.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define MODEL   STERNA_SOURCE_DIR "/models/sterna-demo.gguf"
#define GOLDEN  STERNA_SOURCE_DIR "/models/sterna-demo-golden.gguf"
#define HELDOUT STERNA_SOURCE_DIR "/models/heldout.txt"

/* ---- the framework's figures ---- */

typedef struct golden {
    st_gguf *file;
    const int32_t *token, *seq_start, *top_id, *column;
    const float *top_logit, *column_logit;
    int32_t n_seq, n_row, n_top, n_column;
} golden;

static const void *tensor_of(const golden *g, const char *name, int32_t *n)
{
    const st_gguf_tensor *t = st_gguf_find_tensor(g->file, name);
    cr_assert_not_null(t, "no tensor %s", name);
    *n = (int32_t)t->shape[0];
    return t->data;
}

static golden open_golden(void)
{
    golden g = {0};
    sterna_error error;
    int32_t n;
    cr_assert_eq(st_gguf_open(GOLDEN, &g.file, &error), STERNA_OK, "%s", error.message);
    g.token = tensor_of(&g, "tokens", &g.n_row);
    g.seq_start = tensor_of(&g, "seq_start", &n);
    g.n_seq = n - 1;
    g.top_id = tensor_of(&g, "top_ids", &g.n_top);
    g.top_logit = tensor_of(&g, "top_logits", &n);
    g.column = tensor_of(&g, "columns", &g.n_column);
    g.column_logit = tensor_of(&g, "column_logits", &n);
    cr_assert_eq(g.seq_start[g.n_seq], g.n_row);
    return g;
}

/* ---- an engine that records ---- */

typedef struct recorder {
    const golden *g;
    int32_t first_row; /* golden row of position 0 */
    int32_t n_vocab;
    /* logits */
    int64_t n_row, n_agree;
    double worst;
    /* codes of sequence 0 */
    bool codes;
    int32_t n_input;  /* quantised inputs seen in this step: four per layer */
    int32_t position; /* of the step's first row */
    int32_t n_token;
    int64_t n_code, n_flipped, n_first_flipped; /* first: of the first layer's first input */
    int32_t worst_code;
} recorder;

static recorder *recording; /* Criterion runs each test in its own process */
static const st_backend *real;

static bool begin(st_device *dev, const st_batch *batch)
{
    recording->n_input = 0;
    recording->n_token = batch->n_token;
    real->read(dev, batch->pos, 0, &recording->position, sizeof recording->position);
    return real->begin(dev, batch);
}

/* CPU backends run ops at once, so the result can be read in the middle of the step. */
static void compare_codes(st_device *dev, const st_qact *q)
{
    static const char *const inputs[] = {"attn", "attn_out", "ffn", "ffn_down"};
    recorder *r = recording;
    char name[32];
    int32_t cols;
    snprintf(name, sizeof name, "codes.%d.%s", r->n_input / 4, inputs[r->n_input % 4]);
    r->n_input++;
    const int8_t *expected = tensor_of(r->g, name, &cols);
    size_t stride = st_qact_planes(q).stride;
    int8_t *codes = malloc(stride * (size_t)r->n_token);
    cr_assert_eq(cols, q->cols);
    real->read(dev, q->buf, 0, codes, stride * (size_t)r->n_token);
    int32_t last = r->g->seq_start[1] - 1; /* the last token of a sequence is not computed when scoring */
    for (int32_t row = 0; row < r->n_token && r->position + row < last; row++)
        for (int32_t c = 0; c < cols; c++) {
            int off = abs(codes[(size_t)row * stride + (size_t)c] -
                          expected[(size_t)(r->position + row) * (size_t)cols + (size_t)c]);
            r->n_code++;
            r->n_flipped += off != 0;
            r->n_first_flipped += off != 0 && r->n_input == 1;
            r->worst_code = off > r->worst_code ? off : r->worst_code;
        }
    free(codes);
}

static void norm_quant(st_device *dev, const st_norm_quant_args *args)
{
    real->norm_quant(dev, args);
    if (recording->codes && args->rows == ST_ROWS_TOKEN)
        compare_codes(dev, &args->dst);
}

static void glu_norm_quant(st_device *dev, const st_glu_norm_quant_args *args)
{
    real->glu_norm_quant(dev, args);
    if (recording->codes)
        compare_codes(dev, &args->dst);
}

static float golden_logit(const golden *g, int32_t row, int32_t id)
{
    for (int32_t i = 0; i < g->n_top; i++)
        if (g->top_id[(size_t)row * (size_t)g->n_top + (size_t)i] == id)
            return g->top_logit[(size_t)row * (size_t)g->n_top + (size_t)i];
    return -INFINITY;
}

static void compare_logits(void *user, sterna_request_id id, int32_t sample, int32_t position,
                           const float *logits)
{
    (void)id, (void)sample;
    recorder *r = user;
    const golden *g = r->g;
    int32_t row = r->first_row + position, best = 0;
    const int32_t *top_id = g->top_id + (size_t)row * (size_t)g->n_top;
    const float *top_logit = g->top_logit + (size_t)row * (size_t)g->n_top;
    double worst = 0.0;
    for (int32_t i = 0; i < g->n_top; i++)
        worst = fmax(worst, fabs((double)logits[top_id[i]] - (double)top_logit[i]));
    for (int32_t i = 0; i < g->n_column; i++)
        worst = fmax(worst, fabs((double)logits[g->column[i]] -
                                 (double)g->column_logit[(size_t)row * (size_t)g->n_column + (size_t)i]));
    for (int32_t i = 1; i < r->n_vocab; i++)
        best = logits[i] > logits[best] ? i : best;
    r->n_row++;
    r->n_agree += best == top_id[0];
    r->worst = fmax(r->worst, worst);
    if (best != top_id[0]) {
        double margin = (double)top_logit[0] - (double)golden_logit(g, row, best);
        cr_expect(margin < 2.0 * worst, "row %d: %d instead of %d, though %g apart and logits within %g", row,
                  best, top_id[0], margin, worst);
    }
}

/* ---- tests ---- */

static sterna_model *open_model(void)
{
    sterna_model *model;
    sterna_error error;
    cr_assert_eq(sterna_model_open(MODEL, NULL, &model, &error), STERNA_OK, "%s", error.message);
    return model;
}

static st_device *open_device(const char *name)
{
    st_device *dev;
    sterna_error error;
    cr_assert_eq(st_device_open(name, &(st_device_params){0}, &dev, &error), STERNA_OK, "%s", error.message);
    return dev;
}

Test(golden, logits_and_codes, .timeout = 120)
{
    golden g = open_golden();
    sterna_model *model = open_model();
    st_device *dev = open_device("cpu");
    static st_backend table;
    recorder r = {.g = &g, .n_vocab = st_model_config(model)->n_vocab};
    recording = &r;
    real = dev->backend;
    table = *real;
    table.begin = begin;
    table.norm_quant = norm_quant;
    table.glu_norm_quant = glu_norm_quant;
    dev->backend = &table;

    sterna_engine_params params;
    sterna_engine_defaults(&params);
    sterna_engine *engine;
    sterna_error error;
    cr_assert_eq(st_engine_open_on(model, &params, dev, &engine, &error), STERNA_OK, "%s", error.message);
    st_engine_watch(engine, compare_logits, &r);
    float *logprob = malloc((size_t)g.n_row * sizeof *logprob);
    for (int32_t s = 0; s < g.n_seq; s++) {
        int32_t n = g.seq_start[s + 1] - g.seq_start[s];
        r.first_row = g.seq_start[s];
        r.codes = s == 0;
        cr_assert_eq(sterna_score(engine, g.token + r.first_row, n, 1, logprob, &error), STERNA_OK, "%s",
                     error.message);
    }
    double agreement = (double)r.n_agree / (double)r.n_row, flipped = (double)r.n_flipped / (double)r.n_code;
    fprintf(stderr, "golden: top-1 %lld of %lld rows (%.2f %%), logits within %.4g\n", (long long)r.n_agree,
            (long long)r.n_row, 100.0 * agreement, r.worst);
    fprintf(
        stderr,
        "golden: %lld of %lld activation codes flipped (%.4f %%; %lld in the first input), by %d at most\n",
        (long long)r.n_flipped, (long long)r.n_code, 100.0 * flipped, (long long)r.n_first_flipped,
        r.worst_code);
    cr_expect_eq(r.n_row, g.n_row - g.n_seq);
    cr_expect_geq(agreement, 0.99);
    cr_expect_eq(r.n_code, (int64_t)st_model_config(model)->n_layer * (g.seq_start[1] - 1) *
                               (3 * st_model_config(model)->n_embd + st_model_config(model)->n_ff));
    /* Before any difference could grow, only codes that lie on a rounding border flip. From then on a flipped
     * code moves all codes of the next layer a little, and keys and values are f16 here, f32 there. */
    cr_expect_leq(r.n_first_flipped, 2);
    cr_expect_lt(flipped, 0.15);
    free(logprob);
    sterna_engine_close(&engine);
    sterna_model_close(&model);
    st_gguf_close(&g.file);
}

static sterna_token *heldout_tokens(const sterna_model *model, int64_t *n)
{
    FILE *file = fopen(HELDOUT, "rb");
    cr_assert_not_null(file);
    cr_assert_eq(fseek(file, 0, SEEK_END), 0);
    size_t size = (size_t)ftell(file);
    rewind(file);
    char *text = malloc(size);
    cr_assert_eq(fread(text, 1, size, file), size);
    fclose(file);
    sterna_token *tokens = malloc(size * sizeof *tokens);
    sterna_error error;
    *n = sterna_tokenize(model, text, size, tokens, size, false, false, &error);
    cr_assert_gt(*n, 0, "%s", error.message);
    free(text);
    return tokens;
}

/* Windows of 255 tokens of the text, each after BOS. */
Test(golden, heldout_perplexity, .timeout = 300)
{
    enum { WINDOW = 255 };
    golden g = open_golden();
    sterna_model *model = open_model();
    sterna_error error;
    int64_t n = 0, expected_n = 0;
    sterna_token *tokens = heldout_tokens(model, &n);
    cr_assert_eq(st_gguf_get_int(g.file, "sterna.heldout.tokens", 1, INT32_MAX, &expected_n, &error),
                 STERNA_OK, "%s", error.message);
    const st_gguf_kv *kv = st_gguf_find(g.file, "sterna.heldout.nll");
    cr_assert(kv && kv->type == ST_GGUF_F64);
    double expected;
    memcpy(&expected, kv->data, sizeof expected);
    cr_assert_eq(n, expected_n, "%lld tokens instead of %lld", (long long)n, (long long)expected_n);

    sterna_engine_params params;
    sterna_engine_defaults(&params);
    params.device = "cpu";
    params.n_context = WINDOW + 1;
    params.n_thread = 1; /* threads that wait for a busy machine cost more than they bring */
    sterna_engine *engine;
    cr_assert_eq(sterna_engine_open(model, &params, &engine, &error), STERNA_OK, "%s", error.message);
    double nll = 0.0;
    for (int64_t first = 0; first < n; first += WINDOW) {
        sterna_token window[WINDOW + 1] = {0}; /* BOS is 0 */
        float logprob[WINDOW];
        int32_t count = (int32_t)st_min(WINDOW, n - first);
        memcpy(window + 1, tokens + first, (size_t)count * sizeof *window);
        cr_assert_eq(sterna_score(engine, window, count + 1, 1, logprob, &error), STERNA_OK, "%s",
                     error.message);
        for (int32_t i = 0; i < count; i++)
            nll -= (double)logprob[i];
    }
    double perplexity = exp(nll / (double)n), reference = exp(expected / (double)n);
    fprintf(stderr, "golden: held-out perplexity %.4f over %lld tokens, framework %.4f (%+.4f %%)\n",
            perplexity, (long long)n, reference, 100.0 * (perplexity / reference - 1.0));
    cr_expect_lt(fabs(perplexity / reference - 1.0), 0.005);
    free(tokens);
    sterna_engine_close(&engine);
    sterna_model_close(&model);
    st_gguf_close(&g.file);
}
