/* Model files with random weights and the shapes of published models, for measurements: how fast a model runs
 * does not depend on what it says. A file is valid in every respect, but has no tokenizer. */
#ifndef ST_SYNTHETIC_H
#define ST_SYNTHETIC_H

#include "host/base/base.h"

typedef struct st_synthetic {
    const char *name; /* of the shape, and general.name of the file */
    const char *arch;
    int32_t n_vocab, n_context, n_embd, n_layer, n_head, n_kv_head, head_dim, n_ff;
    float rope_base;
    bool tied;             /* no head of its own */
    const char *matrix;    /* encoding of the layers: "I2_S", "TQ2_0" or "TQ1_0" */
    const char *embedding; /* of embedding and head: "F16", "Q8_0", "BF16" or "F32" */
    uint64_t seed;
} st_synthetic;

/* The known shapes, smallest first; NULL past the last. */
const st_synthetic *st_synthetic_shape(int index);
const st_synthetic *st_synthetic_find(const char *name); /* NULL if there is none */

/* Writes the file, in memory of one ternary matrix. The same description gives the same bytes. Weights are
 * scaled so that activations stay near 1 and logits have a standard deviation near 1. The incomplete file is
 * removed on a failure; `progress` (may be NULL) is told bytes and may stop it. */
sterna_status st_synthetic_write(const st_synthetic *model, const char *path, sterna_progress_fn progress,
                                 void *user, sterna_error *error);

#endif
