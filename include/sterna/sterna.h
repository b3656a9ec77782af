/* Sterna: ternary language models on CPU, CUDA and Vulkan, with the same bits everywhere.
 *
 * This header is the whole public interface of the engine: devices, models, and a pull-style engine for
 * batched text generation (submit requests, step, take events). Conventions that hold throughout:
 *
 *   - Every fallible function returns a sterna_status (0 or negative) and, where it takes a `sterna_error *`,
 *     stores one precise sentence there; the pointer may be NULL.
 *   - The library never prints, exits or aborts, and has no global state. Diagnostics go to a log callback.
 *   - Structs that the caller fills begin with `size_t struct_size`, are initialised by the matching
 *     `*_defaults` function, and may grow at the end in later versions.
 *   - Handles are made by `*_open` and ended by `*_close`, which takes the address and nulls it.
 *   - Text is UTF-8. Strings returned by the library belong to the handle they came from.
 *   - Models are immutable and may be shared between threads; an engine belongs to one thread at a time. */
#ifndef STERNA_STERNA_H
#define STERNA_STERNA_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#if defined(_WIN32)
#define STERNA_API
#else
#define STERNA_API __attribute__((visibility("default")))
#endif

#ifdef __cplusplus
extern "C" {
#endif

#define STERNA_VERSION_MAJOR 0
#define STERNA_VERSION_MINOR 1
#define STERNA_VERSION_PATCH 0

/* ---- status ------------------------------------------------------------------------------------------- */

typedef enum sterna_status {
    STERNA_OK = 0,
    STERNA_E_ARGUMENT = -1,    /* an argument or option is out of its range */
    STERNA_E_MEMORY = -2,      /* host or device memory is exhausted */
    STERNA_E_IO = -3,          /* a file cannot be opened, read or written */
    STERNA_E_FORMAT = -4,      /* a file is damaged or contradicts itself */
    STERNA_E_UNSUPPORTED = -5, /* well-formed, but not something this build can run */
    STERNA_E_DEVICE = -6,      /* no such device, or the device failed */
    STERNA_E_LIMIT = -7,       /* a stated maximum is exceeded (context, batch, queue, ...) */
    STERNA_E_ABORTED = -8      /* the caller's abort callback asked to stop */
} sterna_status;

typedef struct sterna_error {
    sterna_status status;
    char message[508]; /* NUL-terminated, one line, without a trailing full stop or newline */
} sterna_error;

/* Short name of a status, e.g. "format error". Never NULL. */
STERNA_API const char *sterna_status_name(sterna_status status);

/* "MAJOR.MINOR.PATCH". */
STERNA_API const char *sterna_version(void);

typedef enum sterna_log_level { STERNA_LOG_DEBUG, STERNA_LOG_INFO, STERNA_LOG_WARN } sterna_log_level;
/* `line` has no newline and lives only during the call. */
typedef void (*sterna_log_fn)(void *user, sterna_log_level level, const char *line);
/* `done` and `total` are bytes. Returning false aborts the load with STERNA_E_ABORTED. */
typedef bool (*sterna_progress_fn)(void *user, uint64_t done, uint64_t total);

/* ---- devices ------------------------------------------------------------------------------------------ */

typedef struct sterna_device_info {
    char name[64];         /* what --device takes: "cpu", "ref", "cuda:0", "vulkan:1" */
    char description[192]; /* processor or GPU name and driver; or why the backend is not available */
    bool available;        /* false: `description` says why */
    bool software;         /* a software driver: results count, timings do not */
    uint64_t memory_bytes; /* memory of the device (host memory for CPU backends), 0 if unknown */
    char isa[96];          /* instruction sets or optional features in use, space-separated */
} sterna_device_info;

/* Fills at most `max` entries and returns how many devices and unavailable backends there are. */
STERNA_API int sterna_devices(sterna_device_info *list, int max);

/* ---- models ------------------------------------------------------------------------------------------- */

typedef struct sterna_model sterna_model;
typedef int32_t sterna_token;

typedef struct sterna_model_params {
    size_t struct_size;
    sterna_log_fn log;
    sterna_progress_fn progress;
    void *user;             /* passed to both callbacks */
    const char *i2s_layout; /* element order of I2_S tensors, which files do not tell: "x86-128" (default) */
    const char *pretokenizer; /* overrides tokenizer.ggml.pre, or NULL */
} sterna_model_params;

STERNA_API void sterna_model_defaults(sterna_model_params *params);

/* Opens a GGUF file. The file stays mapped until sterna_model_close. */
STERNA_API sterna_status sterna_model_open(const char *path, const sterna_model_params *params,
                                           sterna_model **model, sterna_error *error);
STERNA_API void sterna_model_close(sterna_model **model);

typedef struct sterna_model_info {
    size_t struct_size;
    const char *name;         /* general.name, or "" */
    const char *architecture; /* general.architecture */
    int32_t n_vocab, n_context, n_embd, n_layer, n_head, n_kv_head, head_dim, n_ff;
    uint64_t n_parameter;         /* all weights */
    uint64_t n_ternary_parameter; /* those stored as ternary */
    uint64_t file_bytes;
    sterna_token bos, eos; /* -1 where there is none */
    bool add_bos;
} sterna_model_info;

/* `info->struct_size` must be set by the caller. */
STERNA_API sterna_status sterna_model_describe(const sterna_model *model, sterna_model_info *info);

/* One tensor of the file, for listings. Returns false past the last. Any out pointer may be NULL. */
STERNA_API bool sterna_model_tensor(const sterna_model *model, int index, const char **name,
                                    const char **type, int64_t shape[4], uint64_t *bytes);
/* One metadata entry as text (arrays are abbreviated). Returns false past the last. */
STERNA_API bool sterna_model_metadata(const sterna_model *model, int index, const char **key, char *value,
                                      size_t value_size);

/* Text -> tokens. Writes at most `max` ids; returns the number needed, or a negative status.
 * `add_special`: put BOS/EOS where the model wants them. `parse_special`: recognise control tokens' text. */
STERNA_API int64_t sterna_tokenize(const sterna_model *model, const char *text, size_t length,
                                   sterna_token *tokens, size_t max, bool add_special, bool parse_special,
                                   sterna_error *error);
/* The bytes of one token (not necessarily whole UTF-8 characters). Returns the number of bytes, writes at
 * most `max`, no NUL. Control tokens have no text unless `special`. Negative status for an unknown id. */
STERNA_API int sterna_token_text(const sterna_model *model, sterna_token token, char *text, size_t max,
                                 bool special);
/* True for end-of-sequence, end-of-turn and the like. */
STERNA_API bool sterna_token_is_end(const sterna_model *model, sterna_token token);

/* ---- engine ------------------------------------------------------------------------------------------- */

typedef struct sterna_engine sterna_engine;
typedef int64_t sterna_request_id; /* positive; never reused within an engine */

typedef struct sterna_engine_params {
    size_t struct_size;
    const char *device; /* "auto", "cpu", "ref", "cuda:0", ... ; "auto" never picks a software driver */
    int32_t n_thread;   /* CPU threads; 0 = physical cores; never more than may be used at once */
    int32_t n_context;  /* positions per sequence; 0 = the model's */
    int32_t n_sequence; /* sequences that run at the same time */
    int32_t n_batch;    /* tokens per step at most (prefill chunk + decode rows) */
    int64_t kv_bytes;   /* KV cache limit in bytes; 0 = n_sequence * n_context */
    bool hash_logits;   /* hash every sampled logits row into the statistics */
    bool check;         /* debug wrapper: check every op's arguments and the replayed stream */
    sterna_log_fn log;
    sterna_progress_fn progress; /* while weights are uploaded */
    void *user;
} sterna_engine_params;

STERNA_API void sterna_engine_defaults(sterna_engine_params *params);

/* The model must outlive the engine. All memory of the engine is allocated here. */
STERNA_API sterna_status sterna_engine_open(const sterna_model *model, const sterna_engine_params *params,
                                            sterna_engine **engine, sterna_error *error);
STERNA_API void sterna_engine_close(sterna_engine **engine);
/* The device that runs it ("auto" resolved). */
STERNA_API void sterna_engine_device(const sterna_engine *engine, sterna_device_info *info);

typedef struct sterna_sampling {
    float temperature; /* 0 = greedy */
    int32_t top_k;     /* 0 = all */
    float top_p;       /* 1 = off */
    float min_p;       /* 0 = off */
    uint64_t seed;
} sterna_sampling;

typedef struct sterna_request {
    size_t struct_size;
    const sterna_token *prompt; /* copied; at least one token */
    int32_t n_prompt;
    int32_t n_predict; /* generated tokens at most; -1 = until an end token or the context is full */
    bool ignore_end;   /* do not stop at end tokens */
    sterna_sampling sampling;
} sterna_request;

STERNA_API void sterna_request_defaults(sterna_request *request);

/* Queues a request. STERNA_E_LIMIT if the prompt does not fit the context or the queue is full. */
STERNA_API sterna_status sterna_submit(sterna_engine *engine, const sterna_request *request,
                                       sterna_request_id *id, sterna_error *error);
/* Ends a request at once; it produces one last event with STERNA_FINISH_CANCEL. Unknown ids are an error. */
STERNA_API sterna_status sterna_cancel(sterna_engine *engine, sterna_request_id id, sterna_error *error);
/* Runs one batched step. Returns the number of requests still unfinished (0 = nothing left to do) or a
 * negative status; a device failure is final for the engine. Blocks until the step is computed. */
STERNA_API int64_t sterna_step(sterna_engine *engine, sterna_error *error);

typedef enum sterna_finish {
    STERNA_FINISH_NONE,   /* not finished */
    STERNA_FINISH_STOP,   /* an end token */
    STERNA_FINISH_LENGTH, /* n_predict or the context is exhausted */
    STERNA_FINISH_CANCEL,
    STERNA_FINISH_ERROR /* `error` of the event says why */
} sterna_finish;

typedef struct sterna_event {
    sterna_request_id id;
    sterna_token token;   /* -1 when the event carries no token */
    sterna_finish finish; /* other than NONE: the last event of this request */
    float logprob;        /* natural logarithm of the token's probability before sampling filters */
    double seconds_queued, seconds_prompt, seconds_decode; /* set with the last event */
    int32_t n_prompt, n_generated;                         /* set with the last event */
    sterna_error error;                                    /* set with STERNA_FINISH_ERROR */
} sterna_event;

/* Takes the oldest event; false if there is none. Events of a step stay until taken; their number is bounded
 * by n_sequence per step plus one per cancelled request, and sterna_step refuses to run on a full queue. */
STERNA_API bool sterna_next(sterna_engine *engine, sterna_event *event);

typedef struct sterna_statistics {
    /* `prompt` counts the steps in which some row belongs to a prompt, with all their rows; `decode` the
     * steps in which every row continues a text. So tokens / seconds and bytes / seconds are rates. */
    uint64_t n_prompt_token, n_decode_token, n_step;
    double seconds_prompt, seconds_decode;
    uint64_t bytes_prompt, bytes_decode; /* weight and KV bytes these steps had to move */
    uint64_t n_logits_row;               /* rows in the hash */
    uint64_t logits_hash;                /* order-independent over requests; 0 if hash_logits is off */
    uint64_t weight_bytes, kv_bytes, scratch_bytes; /* device memory held */
} sterna_statistics;

STERNA_API void sterna_engine_statistics(const sterna_engine *engine, sterna_statistics *statistics);

/* Scores tokens: log-probability of tokens[i] given tokens[0..i-1] for i = 1 ... n-1 into logprob[i-1],
 * computed as one batched prefill in chunks. Requires an idle engine and n <= n_context. Blocks. */
STERNA_API sterna_status sterna_score(sterna_engine *engine, const sterna_token *tokens, int32_t n,
                                      float *logprob, sterna_error *error);

#ifdef __cplusplus
}
#endif
#endif
