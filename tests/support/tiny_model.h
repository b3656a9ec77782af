/* Seeded random model files of any supported architecture, shape and encoding, for tests that need a model.
 */
#ifndef TINY_MODEL_H
#define TINY_MODEL_H

#include "host/model/gguf_write.h"
#include "host/model/model.h"

enum {
    TINY_BOS,
    TINY_EOS,
    TINY_EOT,
    TINY_BYTE,                    /* the token of byte b is TINY_BYTE + b */
    TINY_VOCAB = TINY_BYTE + 256, /* least vocabulary; tokens past it are unused ones named "[PAD<id>]" */
    TINY_PATH = 64
};

typedef enum tiny_scales { TINY_SCALE_TENSOR, TINY_SCALE_ROW, TINY_SCALE_GROUP } tiny_scales;

typedef struct tiny_spec {
    const char *arch; /* "bitnet-b1.58", "bitnet-25", "bitnet" or "llama" */
    int32_t n_vocab, n_context, n_embd, n_layer, n_head, n_kv_head, head_dim, n_ff, n_rot;
    st_encoding matrix;    /* TQ1_0, TQ2_0, I2_S */
    st_encoding embedding; /* any that decode */
    st_encoding output;    /* of the head where there is one */
    tiny_scales scales;    /* of TQ matrices; I2_S always has one a tensor */
    bool tied;             /* no head of its own */
    bool biases;           /* llama: q, k, v and o */
    bool tensor_scales;    /* a `.scale` beside each layer matrix */
    bool rope_freqs;
    bool tokenizer;
    uint32_t alignment;
    uint64_t seed;
} tiny_spec;

/* bitnet-b1.58: 2 layers of 256, 4 / 2 heads of 64, ff 512, context 256, 272 tokens, tied F16 embedding,
 * TQ2_0 with a scale per tensor, tokenizer. */
void tiny_defaults(tiny_spec *spec);
/* Smaller, for suites that run many steps: 128 columns, heads of 32, ff 128, I2_S. */
void tiny_small(tiny_spec *spec);

/* Writes the model to a new temporary file and stores its path; the caller removes it. Ends the test program
 * with a message when that fails. */
void tiny_write(const tiny_spec *spec, char path[TINY_PATH]);
/* The same, opened; the file is already removed. Close with sterna_model_close. */
sterna_model *tiny_open(const tiny_spec *spec);
/* The file's bytes in memory; release with st_free. */
unsigned char *tiny_bytes(const tiny_spec *spec, size_t *size);

/* Ends the test program with a message unless `good`. */
void tiny_check(bool good, const char *what);

/* Deterministic random numbers. */
uint64_t tiny_random(uint64_t *state);
float tiny_uniform(uint64_t *state); /* [-1, 1) */

#endif
