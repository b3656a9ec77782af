/* JSON that a program printed, and the fields of its rows. */
#ifndef JSON_ROWS_H
#define JSON_ROWS_H

#include "tests/support/spawn.h"

#include <jansson.h>

/* What it printed, which must be all that it did; frees `s`. Ends the test program otherwise. */
json_t *json_of(spawned s);
/* Ends the test program where the field is no number, or no text. */
double json_number(const json_t *row, const char *key);
const char *json_text(const json_t *row, const char *key);
bool json_is_none(const json_t *row, const char *key); /* there, and null */

#endif
