/* A model file, opened: its shape, its tensors by role, its tokenizer. Nothing is decoded until asked for, so
 * that loading needs the memory of one matrix beside the mapped file. */
#ifndef ST_MODEL_H
#define ST_MODEL_H

#include "host/base/base.h"
#include "host/base/matrix.h"
#include "host/base/numerics.h"
#include "host/base/parallel.h"

/* What a tensor is for. Names of tensors stand only in roles.c. */
typedef enum st_role {
    ST_ROLE_TOKEN_EMBD,  /* [n_vocab][n_embd]; also the head where ST_ROLE_OUTPUT is absent */
    ST_ROLE_OUTPUT_NORM, /* [n_embd] */
    ST_ROLE_OUTPUT,      /* [n_vocab][n_embd] */
    ST_ROLE_ROPE_FREQS,  /* [n_rot / 2] divisors of the frequencies */
    /* per layer */
    ST_ROLE_ATTN_NORM,      /* [n_embd] */
    ST_ROLE_ATTN_Q,         /* [n_head * head_dim][n_embd] */
    ST_ROLE_ATTN_K,         /* [n_kv_head * head_dim][n_embd] */
    ST_ROLE_ATTN_V,         /* likewise */
    ST_ROLE_ATTN_Q_NORM,    /* [head_dim] */
    ST_ROLE_ATTN_K_NORM,    /* [head_dim] */
    ST_ROLE_ATTN_SUB_NORM,  /* [n_head * head_dim] */
    ST_ROLE_ATTN_OUTPUT,    /* [n_embd][n_head * head_dim] */
    ST_ROLE_ATTN_POST_NORM, /* [n_embd] on the branch, before the residual add */
    ST_ROLE_FFN_NORM,       /* [n_embd] */
    ST_ROLE_FFN_GATE,       /* [n_ff][n_embd] */
    ST_ROLE_FFN_UP,         /* [n_ff][n_embd] */
    ST_ROLE_FFN_SUB_NORM,   /* [n_ff] */
    ST_ROLE_FFN_DOWN,       /* [n_embd][n_ff] */
    ST_ROLE_FFN_POST_NORM,  /* [n_embd] */
    ST_ROLE_COUNT
} st_role;

/* The transformer's shape and the flags in which families differ. All numbers were checked against the limits
 * of base.h and against each other. */
typedef struct st_config {
    int32_t n_vocab, n_context, n_embd, n_layer, n_head, n_kv_head, head_dim, n_ff;
    float norm_eps;
    /* rotary positions: angle = pos * freq_scale * base^(-2 i / n_rot) / rope_freqs[i] */
    int32_t n_rot;
    float rope_base, rope_scale;
    st_pairing pairing;
    st_act act;
    float attn_scale;   /* factor of q.k, 1 / sqrt(head_dim) unless the file says otherwise */
    float attn_softcap; /* 0 = none */
    int32_t window; /* sliding window of layers where layer % window_period != window_period - 1; 0 = none */
    int32_t window_period; /* 0: every layer */
    float embed_scale;     /* factor of looked-up embeddings, 1 = none */
    float residual_scale;  /* factor of both branches before the residual add, 1 = none */
    float logit_scale;     /* factor of the logits, 1 = none */
    int32_t act_group;     /* columns per activation scale: 0 = per token (trained W1.58A8) */
} st_config;

/* A decoded matrix together with its memory. */
typedef struct st_decoded {
    st_matrix matrix;
    void *memory; /* owns matrix.data and matrix.scale where they do not point into the file; may be NULL */
    float out_scale; /* the file's factor on the product (tensor `.scale` of 1bitLLM files), 1 = none */
    float *bias;     /* [rows] or NULL; owned */
} st_decoded;
void st_decoded_free(st_decoded *decoded); /* leaves it zeroed */

/* sterna_model is the struct behind the public handle (model.c). */
const st_config *st_model_config(const sterna_model *model);
/* True if the file has a tensor for this role (layer is ignored for roles that are not per layer). */
bool st_model_has(const sterna_model *model, st_role role, int32_t layer);
/* Bytes of the role's tensor in the file, 0 if absent. */
size_t st_model_bytes(const sterna_model *model, st_role role, int32_t layer);
/* Decodes a matrix role to canonical rows, in the pool's threads (NULL: in the caller). Dense types and
 * blocks may point into the mapped file, where they last as long as the model. Refuses non-finite scales with
 * the tensor's name, row and value. */
sterna_status st_model_matrix(const sterna_model *model, st_role role, int32_t layer, st_pool *pool,
                              st_decoded *decoded, sterna_error *error);
/* Gives back the memory that the file's pages of a role take; what is decoded again reads them again. */
void st_model_drop(const sterna_model *model, st_role role, int32_t layer);
/* Decodes a vector role (norm weights, rope_freqs) to f32[n]; n must be the role's length. Non-finite values
 * are refused. */
sterna_status st_model_vector(const sterna_model *model, st_role role, int32_t layer, float *dst, int32_t n,
                              sterna_error *error);

#endif
