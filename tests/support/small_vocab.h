/* A small byte-level vocabulary in memory, in the spelling of the files, for tokenizer tests and fuzzing. */
#ifndef SMALL_VOCAB_H
#define SMALL_VOCAB_H

#include "host/model/tokenizer_parts.h"

enum {
    SMALL_BOS,                       /* "<|begin|>", control */
    SMALL_EOS,                       /* "<|end|>", control */
    SMALL_EOT,                       /* "<|end|>now", control: longer than the one it begins with */
    SMALL_THINK,                     /* "<think>", user-defined */
    SMALL_UNUSED,                    /* "[PAD0]", unused */
    SMALL_UNKNOWN,                   /* "<unk>", unknown */
    SMALL_PLAIN,                     /* "a b", normal, but not spelled: a space stands for no byte */
    SMALL_BYTE,                      /* the 256 bytes, in an order of their own: see small_byte() */
    SMALL_MERGED = SMALL_BYTE + 256, /* the results of the merges, by rank, then "whole" */
    SMALL_MAX_TOKEN = SMALL_MERGED + 64,
    SMALL_SPELLED = 64 /* bytes of a spelled token at most */
};

typedef struct small_vocab {
    st_vocab_source source;
    st_gguf_string token[SMALL_MAX_TOKEN], merge[32];
    int32_t type[SMALL_MAX_TOKEN];
    char spelled[SMALL_MAX_TOKEN][SMALL_SPELLED], spelled_merge[32][SMALL_SPELLED];
} small_vocab;

/* Fills `vocab` (which must not move) for a pre-tokenizer. BOS is added where it wants it. */
void small_vocab_init(small_vocab *vocab, const char *pre);
/* Adds a control or user-defined token and returns its id. */
int32_t small_vocab_add(small_vocab *vocab, const char *text, int32_t type);
/* Id of a byte's token. */
int32_t small_byte(unsigned char byte);
/* Id of the token with these bytes that merges make, -1 if there is none. */
int32_t small_merged(const char *bytes);
/* Spells bytes as files do; returns the length, writes no NUL. At most two bytes for each. */
size_t small_spell(const char *bytes, size_t size, char *spelled);

#endif
