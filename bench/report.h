/* Results of a measurement, for readers as a table and for programs as CSV or JSON. Facts hold for all rows;
 * they stand above a table, in the first columns of CSV, and beside "rows" in JSON. */
#ifndef ST_REPORT_H
#define ST_REPORT_H

#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>

typedef enum st_format { ST_FORMAT_TABLE, ST_FORMAT_MD, ST_FORMAT_CSV, ST_FORMAT_JSON } st_format;
/* "table", "md", "csv" or "json"; false for anything else. */
bool st_format_parse(const char *name, st_format *format);

typedef struct st_column {
    const char *key;   /* in CSV and JSON */
    const char *title; /* in tables; NULL: not for readers */
} st_column;

typedef enum st_cell_kind { ST_CELL_NONE, ST_CELL_TEXT, ST_CELL_COUNT, ST_CELL_REAL } st_cell_kind;
typedef struct st_cell {
    st_cell_kind kind;
    char text[48];
    uint64_t count;
    double real;
    double spread; /* REAL: in % of it, shown in tables where it is 0 or more */
} st_cell;

st_cell st_cell_none(void);
st_cell st_cell_text(const char *text);
st_cell st_cell_count(uint64_t count);
st_cell st_cell_real(double value); /* NONE if it is not finite */
st_cell st_cell_spread(double value, double spread);

/* Whom a row is for: readers get the summary, programs also every single measurement. */
typedef enum st_audience { ST_FOR_ALL, ST_FOR_READERS, ST_FOR_PROGRAMS } st_audience;

typedef struct st_report st_report;

/* NULL when out of memory. `columns` must live as long as the report. */
st_report *st_report_create(const st_column *columns, int n_column);
void st_report_destroy(st_report *report);
/* Strings are copied. `key` as in JSON. */
void st_report_fact(st_report *report, const char *key, st_cell_kind kind, const char *text, double value);
/* A whole number of any size, which a double may not hold: a seed. */
void st_report_count(st_report *report, const char *key, uint64_t count);
/* `cells` has one for each column. */
void st_report_row(st_report *report, const st_cell *cells, st_audience audience);
/* False if memory ran out here or before. Whether writing succeeded is for the caller to see on `out`. */
bool st_report_print(const st_report *report, st_format format, FILE *out);

/* A text as CSV and JSON have it, with the quotes that it needs. */
void st_print_csv_text(const char *text, FILE *out);
void st_print_json_text(const char *text, FILE *out);

#endif
