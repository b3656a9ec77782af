#include "tests/support/csv.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

/* Copies a cell that begins at *text to *to, NUL-terminated; leaves *text at what ends it. */
static bool take_cell(const char **text, char **to)
{
    const char *at = *text;
    if (*at != '"') {
        size_t n = strcspn(at, ",\n\"");
        memcpy(*to, at, n);
        *to += n;
        at += n;
    } else {
        for (at++; *at && (*at != '"' || at[1] == '"'); at++) {
            at += *at == '"';
            *(*to)++ = *at;
        }
        if (*at++ != '"')
            return false;
    }
    *(*to)++ = '\0';
    *text = at;
    return *at == ',' || *at == '\n';
}

bool csv_read(csv *table, const char *text)
{
    *table = (csv){.n_row = -1, .memory = malloc(2 * strlen(text) + 1)};
    char *to = table->memory;
    while (table->memory && *text) {
        if (++table->n_row > CSV_MAX_ROW)
            return false;
        int n = 0;
        for (;; text++) {
            table->cell[table->n_row][n++] = to;
            if (n == CSV_MAX_COLUMN || !take_cell(&text, &to))
                return false;
            if (*text == '\n')
                break;
        }
        text++;
        if (table->n_row > 0 && n != table->n_column)
            return false;
        table->n_column = n;
    }
    for (int a = 0; a < table->n_column; a++)
        for (int b = 0; b < a; b++)
            if (strcmp(table->cell[0][a], table->cell[0][b]) == 0)
                return false;
    return table->n_row >= 0;
}

void csv_free(csv *table)
{
    free(table->memory);
    table->memory = NULL;
}

const char *csv_text(const csv *table, int row, const char *column)
{
    for (int c = 0; c < table->n_column; c++)
        if (strcmp(table->cell[0][c], column) == 0)
            return table->cell[row + 1][c];
    return NULL;
}

double csv_number(const csv *table, int row, const char *column)
{
    const char *text = csv_text(table, row, column);
    char *end;
    if (!text || !*text)
        return NAN;
    double value = strtod(text, &end);
    return *end ? NAN : value;
}
