/* Metadata of a model file -> st_config, for the architectures that this version knows. */
#ifndef ST_CONFIG_H
#define ST_CONFIG_H

#include "host/model/gguf.h"
#include "host/model/model.h"

/* In what the families differ. */
typedef struct st_arch {
    const char *name; /* general.architecture */
    st_pairing pairing;
    st_act act;
    bool sub_norm;    /* norms on the inputs of attn_output and ffn_down */
    bool has_output;  /* may have a head of its own */
    bool has_bias;    /* biases on q, k, v and o are allowed */
    bool full_rotary; /* n_rot must equal head_dim */
} st_arch;

/* NULL if this version does not know it. */
const st_arch *st_arch_find(const char *name);

sterna_status st_config_read(const st_gguf *gguf, const st_arch **arch, st_config *config,
                             sterna_error *error);

#endif
