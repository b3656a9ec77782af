/* Any bytes opened as a model file, for fuzzing and for replaying its findings. */
#ifndef MODEL_INPUT_H
#define MODEL_INPUT_H

#include <stddef.h>
#include <stdint.h>

/* Reads all metadata, decodes every tensor and role, and uses the tokenizer. NULL, or what went wrong without
 * a crash. */
const char *model_try_input(const uint8_t *data, size_t size);

#endif
