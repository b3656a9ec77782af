/* What is measured: a model, from a file or synthetic, and an engine. */
#ifndef ST_SETUP_H
#define ST_SETUP_H

#include "bench/report.h"
#include "host/cli/cli.h"
#include "host/convert/synthetic.h"

/* ---- options that commands share: their rows go into the commands' tables ---- */

typedef struct st_shape_params {
    const char *shape, *encoding, *embedding;
    int32_t layers; /* 0 = as the shape has */
} st_shape_params;

typedef struct st_setup_params {
    const char *model, *model_dir, *device;
    st_shape_params shape;
    int32_t threads, batch_size, draft, head;
} st_setup_params;

/* clang-format off */
#define ST_SHAPE_ROWS(params, field)                                                                         \
    {"--shape", NULL, ST_OPTION_TEXT, offsetof(params, field.shape), 0, 0, "NAME",                           \
     "random weights in the shape of a published model; make-model --list names them"},                      \
    {"--layers", NULL, ST_OPTION_INT, offsetof(params, field.layers), 0, 512, "N",                           \
     "with --shape: number of layers; 0 = the shape's"},                                                     \
    {"--encoding", NULL, ST_OPTION_TEXT, offsetof(params, field.encoding), 0, 0, "NAME",                     \
     "with --shape: matrices as i2_s (default), tq2_0 or tq1_0"},                                            \
    {"--embedding", NULL, ST_OPTION_TEXT, offsetof(params, field.embedding), 0, 0, "NAME",                   \
     "with --shape: embedding and head as f16 (default), q8_0, bf16 or f32"}

#define ST_SETUP_ROWS(params, field)                                                                         \
    {"--model", "-m", ST_OPTION_TEXT, offsetof(params, field.model), 0, 0, "FILE",                           \
     "GGUF file with ternary weights"},                                                                      \
    ST_SHAPE_ROWS(params, field.shape),                                                                      \
    {"--model-dir", NULL, ST_OPTION_TEXT, offsetof(params, field.model_dir), 0, 0, "DIR",                    \
     "with --shape: keep the file there and use it again; default: a temporary file"},                       \
    {"--device", "-d", ST_OPTION_TEXT, offsetof(params, field.device), 0, 0, "NAME",                         \
     "where to run; sterna devices lists them"},                                                             \
    {"--threads", "-t", ST_OPTION_INT, offsetof(params, field.threads), 0, 256, "N",                         \
     "CPU threads; 0 = physical cores"},                                                                     \
    {"--batch-size", "-b", ST_OPTION_INT, offsetof(params, field.batch_size), 1, 8192, "N",                  \
     "tokens per step at most"},                                                                             \
    ST_HEAD_ROW(offsetof(params, field.head)),                                                               \
    {"--draft", NULL, ST_OPTION_INT, offsetof(params, field.draft), 0, STERNA_MAX_DRAFT, "N",                \
     "speculation: draft tokens per sequence and step at most; 0 = off"}
/* clang-format on */

st_setup_params st_setup_defaults(void);

/* ---- functions that fail with a message return an exit code other than ST_EXIT_OK ---- */

/* The shape with what the options change of it. */
int st_setup_shape(const char *command, const st_shape_params *params, uint64_t seed, st_synthetic *shape);
/* Writes a synthetic model, with progress on a terminal. */
int st_setup_write(const char *command, const st_synthetic *shape, const char *path);
/* Opens the model that the options name, and writes it first where needed. */
int st_setup_model(const char *command, const st_setup_params *params, sterna_model **model);
typedef struct st_engine_size {
    int32_t n_sequence, n_context;
    sterna_prefill prefill;
    bool prefix_cache;
} st_engine_size;
int st_setup_engine(const char *command, const st_setup_params *params, const st_engine_size *size,
                    const sterna_model *model, sterna_engine **engine);
/* Facts about model, device and options. */
void st_setup_facts(const char *command, const st_setup_params *params, const sterna_model *model,
                    const sterna_device_info *device, st_report *report);

/* From the first call on SIGINT and SIGTERM set a flag; a second one ends the process. */
void st_setup_catch_interrupts(void);
bool st_setup_interrupted(void);
/* A line on standard error that the next one replaces, where that is a terminal. NULL erases it. */
void st_setup_progress(const char *format, ...);

#endif
