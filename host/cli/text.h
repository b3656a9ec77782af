/* Bytes on their way in and out: whole files, UTF-8, growing buffers. */
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
/* Reads all of a file of at most `max` bytes ("-": standard input). On failure `why` is the reason. */
bool st_bytes_read(st_bytes *bytes, const char *path, size_t max, char why[128]);

/* Appends `text` with every byte that is not part of a character replaced by U+FFFD. */
bool st_utf8_append(st_bytes *bytes, const char *text, size_t size);

/* Appends the text of a token, control tokens' too if `special`. False when out of memory. */
bool st_bytes_append_token(st_bytes *bytes, const sterna_model *model, sterna_token token, bool special);

/* Replaces \n \t \r \\ and \xHH in `text`. Returns a new NUL-terminated string; NULL and the reason (in words
 * that follow "is not a text: ") for other escapes, \x00, or when memory is exhausted. */
char *st_text_unescape(const char *text, char why[128]);

#endif
