/* Engines on poisoned devices, and requests whose every bit is compared with the same request alone. */
#ifndef ENGINE_RIG_H
#define ENGINE_RIG_H

#include "host/engine/engine.h"

enum { RIG_MAX_TOKEN = 512, RIG_MAX_REQUEST = 64 };

/* Opens a device whose buffers are filled with `poison` when they are created. Ends the test on failure. */
st_device *rig_device(const char *name, int32_t n_thread, uint32_t poison);

/* What came out of a request: tokens, logprobs, and a hash of each row of logits that was sampled from. */
typedef struct rig_result {
    int32_t n;
    sterna_token token[RIG_MAX_TOKEN];
    float logprob[RIG_MAX_TOKEN];
    int32_t n_row;
    uint64_t row[RIG_MAX_TOKEN];
    sterna_finish finish;
} rig_result;

typedef struct rig {
    sterna_engine *engine;
    int32_t n_vocab;
    int32_t n_request; /* submitted so far */
    sterna_request_id id[RIG_MAX_REQUEST];
    rig_result result[RIG_MAX_REQUEST];
} rig;

/* Takes the device. */
void rig_open(rig *r, const sterna_model *model, const sterna_engine_params *params, st_device *dev);
void rig_close(rig *r);
/* Returns the request's index. */
int32_t rig_submit(rig *r, const sterna_request *request);
/* One step and its events; returns the number of unfinished requests. */
int64_t rig_step(rig *r);
/* Takes the events that wait. */
void rig_events(rig *r);
/* Runs one request on an engine of its own with these parameters. */
rig_result rig_alone(const sterna_model *model, const sterna_engine_params *params, st_device *dev,
                     const sterna_request *request);
/* Asserts that the results are the same to the bit; `cut`: `a` may have ended early. */
void rig_compare(const rig_result *a, const rig_result *b, bool cut, const char *what, int number);

#endif
