/* The struct behind sterna_model, shared by the files of this folder only. */
#ifndef ST_MODEL_PRIVATE_H
#define ST_MODEL_PRIVATE_H

#include "host/model/gguf.h"
#include "host/model/model.h"

/* The tensors of one role. */
typedef struct st_slot {
    const st_gguf_tensor *tensor; /* NULL if absent */
    const st_gguf_tensor *bias;   /* [rows], or NULL */
    const st_gguf_tensor *scale;  /* one number, or NULL */
} st_slot;

struct st_tokenizer;

struct sterna_model {
    st_gguf *gguf;
    st_log log;
    char *name, *architecture; /* NUL-terminated copies */
    st_config config;
    st_slot *slots; /* [n_layer][ST_ROLE_COUNT]; roles that are not per layer stand in layer 0 */
    uint64_t n_parameter, n_ternary_parameter;
    struct st_tokenizer *tokenizer; /* NULL without text or if the file has none that this build can use */
    sterna_error tokenizer_error;   /* why it is NULL */
};

/* Opens a model on a container; takes it over, also on failure (*gguf becomes NULL). */
sterna_status st_model_open_gguf(st_gguf **gguf, const sterna_model_params *params, sterna_model **model,
                                 sterna_error *error);

/* A token id of the metadata, -1 if there is none or it is out of range. */
sterna_token st_model_special(const sterna_model *model, const char *key);

#endif
