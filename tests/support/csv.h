/* A CSV text (RFC 4180) as a table of strings. */
#ifndef CSV_H
#define CSV_H

#include <stdbool.h>

enum { CSV_MAX_COLUMN = 96, CSV_MAX_ROW = 512 };

typedef struct csv {
    int n_column, n_row;                         /* rows without the header */
    char *cell[CSV_MAX_ROW + 1][CSV_MAX_COLUMN]; /* cell[0]: the header */
    char *memory;
} csv;

/* False if rows differ in length, two headers are the same, a quote is not closed, or the last line does not
 * end. */
bool csv_read(csv *table, const char *text);
void csv_free(csv *table);
/* The cell of row 0 ... n_row - 1 under a header; NULL if there is no such column. */
const char *csv_text(const csv *table, int row, const char *column);
double csv_number(const csv *table, int row, const char *column); /* NaN if it is none */

#endif
