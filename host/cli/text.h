/* Bytes on their way in and out: whole files, UTF-8 at the borders of tokens, growing buffers. */
#ifndef ST_CLI_TEXT_H
#define ST_CLI_TEXT_H

#include "sterna/sterna.h"

#include <stdio.h>

typedef struct st_bytes {
    char *data; /* not terminated; NULL while size is 0 */
    size_t size, capacity;
} st_bytes;

bool st_bytes_append(st_bytes *bytes, const void *data, size_t size); /* false when out of memory */
void st_bytes_free(st_bytes *bytes);
/* Reads all of a file ("-": standard input). On failure `why` is the reason. */
bool st_bytes_read(st_bytes *bytes, const char *path, const char **why);

/* Length of the well-formed character at `text`; 0 if it is not one; -1 if the `size` bytes are a beginning
 * of one. size > 0. */
int st_utf8_length(const char *text, size_t size);
/* How many bytes can be shown without cutting a character that may still be completed. */
size_t st_utf8_showable(const char *text, size_t size);
/* Appends `text` with every byte that is not part of a character replaced by U+FFFD. */
bool st_utf8_append(st_bytes *bytes, const char *text, size_t size);

/* Appends the text of a token. False when out of memory. */
bool st_bytes_append_token(st_bytes *bytes, const sterna_model *model, sterna_token token);

#endif
