/* One input of the tokenizer's fuzzer, also replayed by its tests. */
#ifndef TOKENIZER_INPUT_H
#define TOKENIZER_INPUT_H

#include <stddef.h>
#include <stdint.h>

/* Byte 0 chooses the pre-tokenizer (low 3 bits) and the flags; the rest is the text. Encodes it with the
 * small vocabulary, decodes the tokens and compares. With bit 5, the text stands between bytes 0x01, which
 * open and close quoted spans: no control token may touch one. NULL if all is well, else what is not. */
const char *tokenizer_try_input(const uint8_t *data, size_t size);

#endif
