/* A device that behaves like a GPU with recordings, around one that computes. The first step of a key - all
 * scalars of the batch struct - is recorded while it runs: the arguments of its ops, and the batch's buffers.
 * At later steps of that key begin() returns false, what the ops say is ignored, and end() runs the recorded
 * ones on the recorded buffers. When there is no room the recording that was unused for longest is forgotten.
 */
#ifndef TEST_REPLAY_BACKEND_H
#define TEST_REPLAY_BACKEND_H

#include "host/backend/backend.h"

enum { REPLAY_MAX_KEY = 4096 };

typedef struct replay_op {
    st_op op;
    union {
        st_embed_args embed;
        st_norm_args norm;
        st_norm_quant_args norm_quant;
        st_linear_args linear;
        st_rope_store_args rope_store;
        st_attend_args attend;
        st_glu_norm_quant_args glu_norm_quant;
        st_topk_args topk;
    } args;
    st_qact quant; /* what linear.quant points to */
} replay_op;

typedef struct replay_recording {
    st_batch batch;
    uint64_t used; /* number of the step that used it last; 0 = free */
    replay_op *op; /* [max_op] */
    int n_op, max_op;
} replay_recording;

typedef struct replay_device {
    st_device base;
    st_backend table;
    st_device *inner;
    replay_recording *recording; /* [max_recording] */
    int max_recording;
    replay_recording *current;
    bool replaying;
    uint64_t n_step, n_recorded, n_replayed, n_forgotten;
    st_batch key[REPLAY_MAX_KEY]; /* every one that ever came; the scalars count */
    int n_key;
} replay_device;

/* Takes `inner`. Close it through the table. */
replay_device *replay_open(st_device *inner, int max_recording);
#endif
