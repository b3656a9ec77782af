/* Lists and ranges in option values. Each function returns false where the text is not what it wants. */
#ifndef ST_LISTS_H
#define ST_LISTS_H

#include <stdbool.h>
#include <stdint.h>

enum { ST_MAX_LIST = 16, ST_MAX_SERIES = 64 };

/* "1,8,32" up to `end`, a character that must follow the list: numbers of min ... max. */
bool st_parse_counts(const char *text, char end, int32_t min, int32_t max, int32_t *list, int *n);
/* "1,8-32+8,1-512*2": numbers and ranges of min ... max, ST_MAX_SERIES of them at most. A range counts up by
 * 1, by the number after '+', or by the factor (2 or more) after '*', and ends with the last that is not past
 * its end. */
bool st_parse_series(const char *text, int32_t min, int32_t max, int32_t *list, int *n);
/* "0.5,2,inf": numbers greater than 0. */
bool st_parse_rates(const char *text, double *list, int *n);
/* "16..64" or "32" */
bool st_parse_range(const char *text, int32_t min, int32_t max, int32_t range[2]);

#endif
