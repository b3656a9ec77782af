/* Rows of an earlier run, to set beside those of this one: read from what a command wrote as JSON or JSON
 * lines. Rows are the same where all their key fields are. */
#ifndef ST_COMPARE_H
#define ST_COMPARE_H

#include <stdbool.h>
#include <stddef.h>

typedef struct st_compare st_compare;

enum { ST_COMPARE_KEY = 320 };

/* A row that lacks one of the `keys` is left out, a file without any row refused. Fails with a message and an
 * exit code other than ST_EXIT_OK. */
int st_compare_open(const char *command, const char *path, const char *const *keys, int n_key,
                    st_compare **compare);
void st_compare_close(st_compare **compare);

/* Appends a value to a key: texts as they are, numbers by st_compare_key_number. Begin with an empty text. */
void st_compare_key_text(char key[ST_COMPARE_KEY], const char *text);
void st_compare_key_number(char key[ST_COMPARE_KEY], double value);

/* The row with this key, or -1; it counts as found from then on. */
int st_compare_find(st_compare *compare, const char *key);
/* The first row from number `row` on that was not found; -1 if there is none. */
int st_compare_unfound(const st_compare *compare, int row);
/* A field of a row; NaN, or NULL, where it is no number, or no text. */
double st_compare_number(const st_compare *compare, int row, const char *name);
const char *st_compare_text(const st_compare *compare, int row, const char *name);
/* A text beside the rows ("device_description"), or NULL. */
const char *st_compare_fact(const st_compare *compare, const char *name);

/* How much faster the new one is, and the spread of that in %: of two independent measurements. */
double st_compare_spread(double old_percent, double new_percent);
/* "faster", "slower", or "same" where the ratio is within its spread. */
const char *st_compare_verdict(double ratio, double spread_percent);

#endif
