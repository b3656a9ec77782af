/* Engines on poisoned devices, and requests whose every bit is compared with the same request alone. */
#ifndef ENGINE_RIG_H
#define ENGINE_RIG_H

#include "host/engine/engine.h"

enum { RIG_MAX_TOKEN = 512, RIG_MAX_SAMPLE = 64, RIG_MAX_TEXT = 4096 };

/* Opens a device whose buffers are filled with `poison` when they are created. Ends the test on failure. */
st_device *rig_device(const char *name, int32_t n_thread, uint32_t poison);

/* What came out of a sample: tokens with their logprobs and those of the likeliest, text, and a hash of each
 * row of logits that was sampled from. */
typedef struct rig_result {
    int32_t n;
    sterna_token token[RIG_MAX_TOKEN];
    float logprob[RIG_MAX_TOKEN];
    uint64_t top[RIG_MAX_TOKEN]; /* hashes */
    int32_t n_row;
    uint64_t row[RIG_MAX_TOKEN];
    char text[RIG_MAX_TEXT];
    int32_t n_text;
    sterna_event last; /* the last event; finish NONE: not yet */
} rig_result;

typedef struct rig {
    sterna_engine *engine;
    int32_t n_vocab;
    int32_t n_sample; /* submitted so far, those of a request one after the other */
    sterna_request_id id[RIG_MAX_SAMPLE];
    int32_t sample[RIG_MAX_SAMPLE];
    rig_result result[RIG_MAX_SAMPLE];
} rig;

/* Takes the device. */
void rig_open(rig *r, const sterna_model *model, const sterna_engine_params *params, st_device *dev);
void rig_close(rig *r);
/* Returns the index of the request's first sample. */
int32_t rig_submit(rig *r, const sterna_request *request);
/* One step and its events; returns the number of unfinished samples. */
int64_t rig_step(rig *r);
/* Takes the events that wait. */
void rig_events(rig *r);
/* Runs one request on an engine of its own with these parameters; the result of its sample number `sample`.
 */
rig_result rig_alone(const sterna_model *model, const sterna_engine_params *params, st_device *dev,
                     const sterna_request *request, int32_t sample);
/* Asserts that the results are the same to the bit; `cut`: `a` may have ended early. */
void rig_compare(const rig_result *a, const rig_result *b, bool cut, const char *what, int number);

#endif
