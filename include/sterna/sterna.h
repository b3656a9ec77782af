/* Sterna: ternary language models on CPU, CUDA and Vulkan, with the same bits everywhere.
 *
 * This header is the whole public interface of the engine: devices, models, and a pull-style engine for
 * batched text generation (submit requests, step, take events). Conventions that hold throughout:
 *
 *   - Every fallible function returns a sterna_status (0 or negative) and, where it takes a `sterna_error *`,
 *     stores one precise sentence there when it fails; the pointer may be NULL. Functions without one fail
 *     only for arguments that the caller can see: NULL, an index past the end, a struct_size not set.
 *   - The library never prints, exits or aborts, and has no global state. Diagnostics go to a log callback.
 *   - Structs with a `size_t struct_size` may grow at the end in later versions. Those that the caller fills
 *     are initialised by the matching `*_defaults` function, which sets it. Of those that the library fills,
 *     the caller sets it (to sizeof) and gets as much as fits. One of a newer header is accepted as long as
 *     what this version does not know is zero. The other structs stay as they are.
 *   - Handles are made by `*_open`, which nulls them if it fails, and ended by `*_close`, which takes the
 *     address and nulls it.
 *   - Text is UTF-8. Strings returned by the library belong to the handle they came from.
 *   - Models are immutable and may be shared between threads; an engine belongs to one thread at a time, and
 *     engines on different threads do not know each other.
 *   - Functions block until they are done; only sterna_step, sterna_score and the `*_open` take long. */
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
    STERNA_E_LIMIT = -7,       /* a number or size is beyond a stated limit (context, rows, pages, ...) */
    STERNA_E_ABORTED = -8,     /* the caller's abort or progress callback asked to stop */
    STERNA_E_BUSY = -9         /* not now: take events and run steps, then try again */
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
/* Asked often while something is computed, also from within a step; true stops it with STERNA_E_ABORTED. */
typedef bool (*sterna_abort_fn)(void *user);

/* ---- devices ------------------------------------------------------------------------------------------ */

typedef struct sterna_device_info {
    size_t struct_size;    /* set by the caller */
    char name[64];         /* what --device takes: "cpu", "ref", "cuda:0", "vulkan:1" */
    char description[192]; /* processor or GPU name and driver; or why the backend is not available */
    bool available;        /* false: `description` says why */
    bool software;         /* a software driver: results count, timings do not */
    uint64_t memory_bytes; /* memory of the device (host memory for CPU backends), 0 if unknown */
    char isa[96];          /* instruction sets or optional features in use, space-separated */
} sterna_device_info;

/* How many devices and unavailable backends there are: the indices of sterna_device_describe. */
STERNA_API int sterna_device_count(void);
/* Facts of device `index`, best first. STERNA_E_ARGUMENT for an index that there is not, or without
 * info->struct_size. */
STERNA_API sterna_status sterna_device_describe(int index, sterna_device_info *info);

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

/* ---- chat --------------------------------------------------------------------------------------------- */

/* One message of a conversation; nothing is kept after a call. */
typedef struct sterna_message {
    const char *role;    /* "system", "user" or "assistant" */
    const char *content; /* `length` bytes, no NUL needed; NULL if there are none */
    size_t length;
} sterna_message;

/* Names of the built-in chat formats: what models were trained to see around messages. NULL past the last.
 *   bitnet    BitNet b1.58 2B-4T: "User: ...<|eot_id|>Assistant: "
 *   llama3    "<|start_header_id|>user<|end_header_id|>\n\n...<|eot_id|>"
 *   chatml    "<|im_start|>user\n...<|im_end|>\n"
 *   qwen3     chatml of models that may think (Qwen3, Bonsai): reasoning up to "</think>" is left out of an
 *             assistant's content, as their template does; whether to think is the model's choice.
 *             qwen3-think: the template opens "<think>" for the answer. qwen3-nothink: it puts an empty one
 *             there, which keeps these models from thinking; a template that does so unasked is known by it
 *   falcon3   "<|user|>\n...\n<|assistant|>\n"
 *   falcon-e  "User: ...\nFalcon:"; Falcon-E files declare chatml, to which the 3B model was seen to answer
 *             nothing, so this one is for choosing by name
 *   gemma     "<start_of_turn>user\n...<end_of_turn>\n", system message before the first user's content
 *   plain     "User: ...\nAssistant:", for models without a template */
STERNA_API const char *sterna_chat_format(int index);

/* The format of the model's own template, by marks in its text. "plain" means that the file has no template.
 * A template that is not known, and a format whose control tokens the vocabulary lacks, are refused with
 * STERNA_E_UNSUPPORTED: choose a format by name then. The name lives as long as the library. */
STERNA_API sterna_status sterna_chat_detect(const sterna_model *model, const char **format,
                                            sterna_error *error);

/* Texts that end an answer in this format besides the end tokens, such as "\nUser:" in "plain": cut the
 * answer before the first of them. `format` is a name; of the model's own format sterna_chat_detect tells it.
 * Sets *n (may be NULL); NULL with 0 where there are none, and for an unknown format. They live as long as
 * the library. */
STERNA_API const char *const *sterna_chat_stops(const char *format, int32_t *n);

/* A conversation -> tokens, BOS exactly once where the format or the model wants it, no EOS. `format` NULL:
 * the model's own. `add_generation`: ends with the prompt for the assistant's answer. Writes at most `max`
 * ids; returns the number needed, or a negative status.
 *
 * Contents are words only: no control token, end token or mark of the format is ever recognised in one, nor
 * across its border; otherwise the tokens are those of the whole text. They may hold any bytes, NUL and
 * invalid UTF-8 included (an answer may have been cut within a character), may be empty, and lose the white
 * space at their ends in the formats that trim. STERNA_E_ARGUMENT, naming the message: a role that is not one
 * of the three; a system message that is not the first; no message at all; in "gemma", whose template demands
 * it, messages that do not go user, assistant, user, ... (elsewhere a role may speak twice, and an assistant
 * first). Where a format marks turns with plain words ("plain", "falcon-e") a content can imitate them.
 *
 * The tokens of messages[0 ... k] without the generation prompt begin those of messages[0 ... k + 1], so that
 * a prefix cache serves every turn (falcon3 in a vocabulary that is not Falcon3's may differ after a content
 * that ends in white space). */
STERNA_API int64_t sterna_chat_tokenize(const sterna_model *model, const char *format,
                                        const sterna_message *messages, size_t n_message, bool add_generation,
                                        sterna_token *tokens, size_t max, sterna_error *error);

/* ---- engine ------------------------------------------------------------------------------------------- */

/* Runs many requests at the same time, one token of each per step ("continuous batching"):
 *
 *     submit as many as there are;
 *     do {
 *         left = sterna_step(engine, &error);
 *         while ((event = sterna_next(engine)))
 *             use(event);
 *     } while (left > 0);
 *
 * What a request gets - tokens, text, log-probabilities - is the same to the bit, whatever runs beside it and
 * however steps are cut. Scheduling only decides when:
 *   - Requests start in the order of submission as soon as one of n_sequence slots and KV pages for their
 *     prompt are free; at most STERNA_MAX_QUEUE wait. A step takes one row of every sequence that is
 *     generating, fills up to n_batch rows with prompts, and uses what is left to verify drafts.
 *   - The KV cache is made of pages of 64 positions. Full pages are shared between sequences whose tokens
 *     agree from the start, also with requests that have ended, until their memory is needed.
 *   - A sequence takes pages as it grows. When there are none left, the youngest sequence gives its pages
 *     back and is computed again later; the oldest never has to, so every request ends. */
typedef struct sterna_engine sterna_engine;
typedef int64_t sterna_request_id; /* of an engine: 1, 2, 3 ... in the order of submission */

enum {
    STERNA_MAX_QUEUE = 1024,       /* requests that wait */
    STERNA_MAX_SAMPLE = 128,       /* continuations of one request */
    STERNA_MAX_LOGPROB = 20,       /* alternatives reported with a token */
    STERNA_MAX_DRAFT = 15,         /* draft tokens of a sequence in a step */
    STERNA_MAX_STOP = 16,          /* stop strings of a request, and stop tokens */
    STERNA_MAX_STOP_BYTES = 256,   /* bytes of one stop string */
    STERNA_MAX_BIAS = 512,         /* logit biases of a request */
    STERNA_MAX_PENALTY_LAST = 1024 /* tokens that penalties look back at */
};

/* Which prompts get the rows of a step that generating sequences leave. */
typedef enum sterna_prefill {
    STERNA_PREFILL_FAIR, /* half of the rows to the oldest prompt, the others to the shortest rest first */
    STERNA_PREFILL_FIFO  /* all to the oldest: prompts are finished in order, late short ones wait */
} sterna_prefill;

/* How the weights of the LM head are held, and what they are multiplied with. */
typedef enum sterna_head {
    STERNA_HEAD_F16, /* as the file has them, whatever their type; unless that is ternary, activations are f32
                      */
    /* int8 with one scale per row, made at load, and int8 activations: half the memory and bandwidth of f16,
     * other logits, which are again the same bits on every device. Row n is rounded as activations are: a =
     * largest magnitude (at least 1e-5), code = w * (127 / a) to the nearest, ties to even, scale = a / 127.
     * A tied embedding stays exact. A ternary head stays ternary, and the log is told. */
    STERNA_HEAD_Q8
} sterna_head;

/* Defaults in brackets. */
typedef struct sterna_engine_params {
    size_t struct_size;
    const char *device; /* ["auto"], "cpu", "ref", "cuda:0", ... ; "auto" never picks a software driver */
    int32_t
        n_thread; /* CPU threads, at most 256; [0] = physical cores; never more than may be used at once */
    int32_t n_context;  /* positions per sequence; [0] = the model's, which may take much memory */
    int32_t n_sequence; /* sequences that run at the same time, 1 ... 1024 [1] */
    int32_t n_batch; /* rows (tokens) per step at most, n_sequence ... 8192 [512]; fewer, and the log is told,
                      * on a device whose ops see less of a buffer */
    int32_t n_draft; /* speculation: draft tokens per sequence and step, 0 ... STERNA_MAX_DRAFT [0 = off] */
    /* KV cache limit in bytes; [0] = n_sequence * n_context positions. If fewer than n_context fit, they are
     * the context; fewer, too, on a device whose ops see less of a buffer. The log is told of both. */
    int64_t kv_bytes;
    sterna_prefill prefill; /* [FAIR] */
    bool no_prefix_cache;   /* compute every prompt from its first token */
    bool hash_logits;       /* hash every sampled logits row into the statistics */
    bool check;             /* debug wrapper: check every op's arguments and the replayed stream */
    sterna_log_fn log;
    sterna_progress_fn progress; /* while weights are uploaded */
    sterna_abort_fn abort;       /* asked during steps and scoring */
    void *user;                  /* passed to the callbacks */
    sterna_head head;            /* [F16] */
} sterna_engine_params;

STERNA_API void sterna_engine_defaults(sterna_engine_params *params);

/* The model must outlive the engine. All memory of the engine is allocated here, sized by n_sequence,
 * n_context, n_batch, n_draft and kv_bytes; the log callback is told how much. */
STERNA_API sterna_status sterna_engine_open(const sterna_model *model, const sterna_engine_params *params,
                                            sterna_engine **engine, sterna_error *error);
STERNA_API void sterna_engine_close(sterna_engine **engine);
/* The device that runs it ("auto" resolved). info->struct_size is set by the caller. */
STERNA_API sterna_status sterna_engine_device(const sterna_engine *engine, sterna_device_info *info);

typedef struct sterna_logit_bias {
    sterna_token token;
    float bias; /* added to its logit; -INFINITY bans the token */
} sterna_logit_bias;

/* A row of logits becomes a token in this order: penalties and biases; top_k; typical_p; top_p; min_p;
 * temperature; the draw. Each filter keeps tokens of what the one before has left, by their probabilities
 * among themselves at temperature 1, at least one. Defaults in brackets: the likeliest token, always. */
typedef struct sterna_request {
    size_t struct_size;
    const sterna_token *prompt; /* at least one token, as many as the context holds at most */
    int32_t n_prompt;
    int32_t n_predict; /* generated tokens at most; [-1] = until an end or the context is full */
    int32_t n_sample;  /* continuations of the prompt, 1 ... STERNA_MAX_SAMPLE [1]; the same ones at
                          temperature 0 */
    int32_t n_logprob; /* likeliest tokens reported beside each generated one, 0 ... STERNA_MAX_LOGPROB [0] */
    int32_t n_draft;   /* draft tokens per step, from 0 to the engine's n_draft; [-1] = as many as that */
    bool ignore_end; /* do not stop at the model's end tokens (stop tokens and strings still count) [false] */
    const sterna_token *stop_token; /* tokens that end a sample: reported as the last token, without text */
    int32_t n_stop_token;           /* 0 ... STERNA_MAX_STOP [0] */
    const char *const *stop; /* NUL-terminated strings that end a sample when its text has them, whatever
                              * tokens they are made of; the prompt's text does not count */
    int32_t n_stop;          /* 0 ... STERNA_MAX_STOP [0] */
    float temperature;       /* [0] = the likeliest token, whatever the filters say */
    int32_t top_k;           /* keep the k likeliest; [0] = all */
    float typical_p; /* 0 ... 1: keep the most typical ones up to this mass (Meister et al. 2022, "Locally
                      * typical sampling"); [1] = all */
    float top_p;     /* 0 ... 1: keep the likeliest up to this mass; [1] = all */
    float min_p;     /* 0 ... 1: keep those with min_p times the probability of the likeliest; [0] = all */
    /* Penalties look at the last penalty_last_n tokens, prompt included: a logit of a token that occurs there
     * is divided by `repetition_penalty` if it is positive, else multiplied; then frequency_penalty times its
     * number of occurrences, and presence_penalty once, are subtracted. */
    float repetition_penalty;      /* greater than 0; [1] = none */
    float presence_penalty;        /* [0] = none */
    float frequency_penalty;       /* [0] = none */
    int32_t penalty_last_n;        /* 0 ... STERNA_MAX_PENALTY_LAST [64] */
    const sterna_logit_bias *bias; /* distinct tokens */
    int32_t n_bias;                /* 0 ... STERNA_MAX_BIAS */
    uint64_t seed; /* random numbers are Philox4x32-10 of (seed, sample, index of the generated token) [0] */
    void *user;    /* comes back with every event */
} sterna_request;

STERNA_API void sterna_request_defaults(sterna_request *request);

/* Queues a request; everything it points to is copied. STERNA_E_LIMIT if it can never run (the prompt does
 * not fit the context, or its KV pages not the cache), STERNA_E_BUSY if the queue is full. `id` may be NULL.
 */
STERNA_API sterna_status sterna_submit(sterna_engine *engine, const sterna_request *request,
                                       sterna_request_id *id, sterna_error *error);
/* Ends a request at once; each of its unfinished samples gets one last event with STERNA_FINISH_CANCEL. Ids
 * of requests that are not in the queue or running are an error; STERNA_E_BUSY if there is no room for the
 * events. */
STERNA_API sterna_status sterna_cancel(sterna_engine *engine, sterna_request_id id, sterna_error *error);
/* Runs one batched step. Returns the number of samples still unfinished (0 = nothing left to do) or a
 * negative status: after STERNA_E_ABORTED the step has not happened and may be run again; after STERNA_E_BUSY
 * events have to be taken first; a device failure is final for the engine. Blocks until the step is computed.
 */
STERNA_API int64_t sterna_step(sterna_engine *engine, sterna_error *error);

typedef enum sterna_finish {
    STERNA_FINISH_NONE, /* not finished */
    STERNA_FINISH_STOP, /* the event's token is an end or stop token, or a stop string is met: its `stop` >= 0
                         */
    STERNA_FINISH_LENGTH, /* n_generated is n_predict, or the context is full */
    STERNA_FINISH_CANCEL,
    STERNA_FINISH_ERROR /* `error` of the event says why */
} sterna_finish;

typedef struct sterna_logprob {
    sterna_token token;
    float logprob; /* natural logarithm of its probability before penalties, biases and filters */
} sterna_logprob;

/* One generated token, or the end of a sample, or both. The library makes it and sets struct_size: programs
 * that may meet an older library copy no more than that. */
typedef struct sterna_event {
    size_t struct_size;
    sterna_request_id id;
    void *user;           /* the request's */
    int32_t sample;       /* 0 ... n_sample - 1 */
    sterna_token token;   /* -1 when the event carries no token */
    float logprob;        /* of the token, as in sterna_logprob */
    sterna_finish finish; /* other than NONE: the last event of this sample */
    /* Text that may be shown now: whole characters, nothing of a stop string, and nothing that may still
     * become one. With the last event everything that was held back comes out. A token that ends the sample
     * has no text. Not NUL-terminated; empty without a tokenizer. */
    const char *text;
    int32_t n_text;            /* bytes */
    const sterna_logprob *top; /* the likeliest tokens, descending */
    int32_t n_top;             /* the request's n_logprob, or 0 without a token */
    /* set with the last event of a sample */
    int32_t stop;          /* index of the stop string that ended it, else -1 */
    int32_t n_prompt;      /* tokens */
    int32_t n_cached;      /* tokens of the prompt that were not computed, thanks to shared pages */
    int32_t n_generated;   /* tokens, one of the end included */
    int32_t n_draft;       /* draft tokens that were verified */
    int32_t n_accepted;    /* those that turned out right */
    int32_t n_preempted;   /* times it lost its pages */
    double seconds_queued; /* from submission to its start */
    double seconds_prompt; /* from there to its first token */
    double seconds_decode; /* from there to its end */
    sterna_error error;    /* set with STERNA_FINISH_ERROR */
} sterna_event;

/* Takes the oldest event; NULL if there is none. It belongs to the engine and lives until the next
 * sterna_step, sterna_cancel or sterna_engine_close. Events stay until they are taken; their number is
 * bounded, and sterna_step refuses to run when there is no room for those of a step. */
STERNA_API const sterna_event *sterna_next(sterna_engine *engine);

typedef struct sterna_statistics {
    size_t struct_size; /* set by the caller */
    /* `prompt` counts the steps in which some row belongs to a prompt (or is computed again after a
     * preemption), with all their rows; `decode` the steps in which every row continues a text. So
     * tokens / seconds and bytes / seconds are rates. */
    uint64_t n_prompt_token, n_decode_token, n_step;
    double seconds_prompt, seconds_decode;
    double seconds_host; /* part of both: scheduling, sampling and text, while the device waits */
    uint64_t bytes_prompt, bytes_decode; /* weight and KV bytes these steps had to move */
    uint64_t n_generated;                /* tokens that came out */
    uint64_t n_logits_row;               /* rows in the hash */
    uint64_t logits_hash;                /* order-independent over requests; 0 if hash_logits is off */
    uint64_t n_cached;                   /* prompt tokens found in shared pages */
    uint64_t n_preempted;                /* times a sequence lost its pages */
    uint64_t n_draft, n_accepted;        /* draft tokens verified, and right */
    uint64_t weight_bytes, kv_bytes, scratch_bytes;    /* device memory held */
    int32_t n_waiting, n_running, n_page, n_page_used; /* at the moment; pages used by running sequences */
} sterna_statistics;

STERNA_API sterna_status sterna_engine_statistics(const sterna_engine *engine, sterna_statistics *statistics);

/* Scores tokens: log-probability of tokens[i] given tokens[0 ... i-1] for i = first ... n-1 into
 * logprob[i - first], computed as one batched prefill in chunks. 1 <= first <= n <= n_context. STERNA_E_BUSY
 * while requests are unfinished. When it fails or is aborted, `logprob` may have been written in part.
 * Blocks. */
STERNA_API sterna_status sterna_score(sterna_engine *engine, const sterna_token *tokens, int32_t n,
                                      int32_t first, float *logprob, sterna_error *error);
/* The same; top[i - first], an array as long as logprob, is the likeliest token in the place of tokens[i]: of
 * several the one with the lowest id. */
STERNA_API sterna_status sterna_score_top(sterna_engine *engine, const sterna_token *tokens, int32_t n,
                                          int32_t first, float *logprob, sterna_token *top,
                                          sterna_error *error);

#ifdef __cplusplus
}
#endif
#endif
