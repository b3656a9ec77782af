#include "bench/report.h"

#include <inttypes.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>

enum { MAX_FACT = 128 };

typedef struct fact {
    char key[40];
    st_cell_kind kind;
    char *text;
    double value;
    uint64_t count;
} fact;

typedef struct row {
    st_audience audience;
    st_cell *cells; /* [n_column] */
} row;

struct st_report {
    const st_column *columns;
    int n_column, n_fact, n_row, room;
    bool failed; /* out of memory */
    fact facts[MAX_FACT];
    row *rows;
};

bool st_format_parse(const char *name, st_format *format)
{
    static const char *const names[] = {"table", "md", "csv", "json"};
    for (int i = 0; i < 4; i++)
        if (strcmp(name, names[i]) == 0) {
            *format = (st_format)i;
            return true;
        }
    return false;
}

/* ---- cells ---- */

st_cell st_cell_none(void)
{
    return (st_cell){.kind = ST_CELL_NONE};
}

st_cell st_cell_text(const char *text)
{
    st_cell cell = {.kind = ST_CELL_TEXT};
    snprintf(cell.text, sizeof cell.text, "%s", text);
    return cell;
}

st_cell st_cell_count(uint64_t count)
{
    return (st_cell){.kind = ST_CELL_COUNT, .count = count};
}

st_cell st_cell_spread(double value, double spread)
{
    return isfinite(value) ? (st_cell){.kind = ST_CELL_REAL, .real = value, .spread = spread}
                           : st_cell_none();
}

st_cell st_cell_real(double value)
{
    return st_cell_spread(value, -1.0);
}

/* ---- collecting ---- */

st_report *st_report_create(const st_column *columns, int n_column)
{
    st_report *report = calloc(1, sizeof *report);
    if (!report)
        return NULL;
    report->columns = columns;
    report->n_column = n_column;
    return report;
}

void st_report_destroy(st_report *report)
{
    if (!report)
        return;
    for (int i = 0; i < report->n_fact; i++)
        free(report->facts[i].text);
    for (int i = 0; i < report->n_row; i++)
        free(report->rows[i].cells);
    free(report->rows);
    free(report);
}

void st_report_fact(st_report *report, const char *key, st_cell_kind kind, const char *text, double value)
{
    if (report->n_fact == MAX_FACT) {
        report->failed = true;
        return;
    }
    fact *f = &report->facts[report->n_fact];
    *f = (fact){.kind = kind, .value = value, .count = kind == ST_CELL_COUNT ? (uint64_t)value : 0};
    snprintf(f->key, sizeof f->key, "%s", key);
    if (kind == ST_CELL_TEXT) {
        f->text = malloc(strlen(text) + 1);
        if (!f->text) {
            report->failed = true;
            return;
        }
        strcpy(f->text, text);
    }
    report->n_fact++;
}

void st_report_count(st_report *report, const char *key, uint64_t count)
{
    st_report_fact(report, key, ST_CELL_COUNT, NULL, 0.0);
    if (!report->failed)
        report->facts[report->n_fact - 1].count = count;
}

void st_report_row(st_report *report, const st_cell *cells, st_audience audience)
{
    if (report->n_row == report->room) {
        int room = report->room ? 2 * report->room : 64;
        row *rows = realloc(report->rows, (size_t)room * sizeof *rows);
        if (!rows) {
            report->failed = true;
            return;
        }
        report->rows = rows;
        report->room = room;
    }
    size_t n = (size_t)report->n_column;
    st_cell *copy = calloc(n, sizeof *copy);
    if (!copy) {
        report->failed = true;
        return;
    }
    memcpy(copy, cells, n * sizeof *copy);
    report->rows[report->n_row++] = (row){audience, copy};
}

/* ---- for readers ---- */

enum { CELL_TEXT = 80 };

/* Four significant digits, without an exponent. */
static void print_real(double value, char *text, size_t size)
{
    int decimals = 0;
    for (double scale = fabs(value); decimals < 4 && scale < 999.95 && scale > 0.0; scale *= 10.0)
        decimals++;
    snprintf(text, size, "%.*f", decimals, value);
}

static void print_cell(const st_cell *cell, char text[CELL_TEXT])
{
    char number[48];
    switch (cell->kind) {
    case ST_CELL_TEXT:
        snprintf(text, CELL_TEXT, "%s", cell->text);
        return;
    case ST_CELL_COUNT:
        snprintf(text, CELL_TEXT, "%" PRIu64, cell->count);
        return;
    case ST_CELL_REAL:
        print_real(cell->real, number, sizeof number);
        if (cell->spread >= 0.0)
            snprintf(text, CELL_TEXT, "%s +-%.*f%%", number, cell->spread < 9.95 ? 1 : 0, cell->spread);
        else
            snprintf(text, CELL_TEXT, "%s", number);
        return;
    case ST_CELL_NONE:
        break;
    }
    snprintf(text, CELL_TEXT, "-");
}

static void print_facts(const st_report *r, bool md, FILE *out)
{
    for (int i = 0; i < r->n_fact; i++) {
        const fact *f = &r->facts[i];
        char number[48] = "";
        if (f->kind == ST_CELL_COUNT)
            snprintf(number, sizeof number, "%" PRIu64, f->count);
        else if (f->kind == ST_CELL_REAL)
            snprintf(number, sizeof number, "%g", f->value);
        const char *value = f->kind == ST_CELL_TEXT ? f->text : number;
        fprintf(out, "%s%s: %s\n", md ? "- " : "", f->key, value);
    }
    fputc('\n', out);
}

static bool shown(const st_report *r, int column)
{
    return r->columns[column].title != NULL;
}

static int width_of(const st_report *r, int column)
{
    int width = (int)strlen(r->columns[column].title);
    for (int i = 0; i < r->n_row; i++) {
        char text[CELL_TEXT];
        print_cell(&r->rows[i].cells[column], text);
        int length = (int)strlen(text);
        if (r->rows[i].audience != ST_FOR_PROGRAMS && length > width)
            width = length;
    }
    return width;
}

/* Text in the first column is aligned to the left, everything else to the right. */
static void print_table(const st_report *r, bool md, FILE *out)
{
    print_facts(r, md, out);
    for (int line = md ? -2 : -1; line < r->n_row; line++) {
        if (line >= 0 && r->rows[line].audience == ST_FOR_PROGRAMS)
            continue;
        bool header = line == (md ? -2 : -1), rule = md && line == -1;
        const char *gap = md ? "| " : "";
        for (int c = 0; c < r->n_column; c++) {
            char text[CELL_TEXT];
            if (!shown(r, c))
                continue;
            int width = width_of(r, c);
            if (header)
                snprintf(text, sizeof text, "%s", r->columns[c].title);
            else if (rule)
                snprintf(text, sizeof text, "---:");
            else
                print_cell(&r->rows[line].cells[c], text);
            fprintf(out, "%s%*s", gap, md ? 0 : width, text);
            gap = md ? " | " : "  ";
        }
        fprintf(out, md ? " |\n" : "\n");
    }
}

/* ---- for programs ---- */

void st_print_csv_text(const char *text, FILE *out)
{
    if (!strpbrk(text, ",\"\r\n")) {
        fputs(text, out);
        return;
    }
    fputc('"', out);
    for (; *text; text++)
        fprintf(out, *text == '"' ? "\"\"" : "%c", *text);
    fputc('"', out);
}

void st_print_json_text(const char *text, FILE *out)
{
    fputc('"', out);
    for (const unsigned char *c = (const unsigned char *)text; *c; c++) {
        if (*c == '"' || *c == '\\')
            fprintf(out, "\\%c", *c);
        else if (*c < 0x20 || *c == 0x7f)
            fprintf(out, "\\u%04x", *c);
        else
            fputc(*c, out);
    }
    fputc('"', out);
}

static void print_value(const st_cell *cell, bool json, FILE *out)
{
    switch (cell->kind) {
    case ST_CELL_TEXT:
        (json ? st_print_json_text : st_print_csv_text)(cell->text, out);
        return;
    case ST_CELL_COUNT:
        fprintf(out, "%" PRIu64, cell->count);
        return;
    case ST_CELL_REAL:
        fprintf(out, "%.9g", cell->real);
        return;
    case ST_CELL_NONE:
        break;
    }
    fputs(json ? "null" : "", out);
}

static void print_fact_value(const fact *f, bool json, FILE *out)
{
    if (f->kind == ST_CELL_TEXT)
        (json ? st_print_json_text : st_print_csv_text)(f->text, out);
    else if (f->kind == ST_CELL_COUNT)
        fprintf(out, "%" PRIu64, f->count);
    else
        fprintf(out, "%.9g", f->value);
}

static void print_csv(const st_report *r, FILE *out)
{
    for (int i = 0; i < r->n_fact; i++)
        fprintf(out, "%s,", r->facts[i].key);
    for (int c = 0; c < r->n_column; c++)
        fprintf(out, "%s%s", c ? "," : "", r->columns[c].key);
    fputc('\n', out);
    for (int line = 0; line < r->n_row; line++) {
        if (r->rows[line].audience == ST_FOR_READERS)
            continue;
        for (int i = 0; i < r->n_fact; i++) {
            print_fact_value(&r->facts[i], false, out);
            fputc(',', out);
        }
        for (int c = 0; c < r->n_column; c++) {
            fputs(c ? "," : "", out);
            print_value(&r->rows[line].cells[c], false, out);
        }
        fputc('\n', out);
    }
}

static void print_json(const st_report *r, FILE *out)
{
    fputs("{\n", out);
    for (int i = 0; i < r->n_fact; i++) {
        fprintf(out, "  \"%s\": ", r->facts[i].key);
        print_fact_value(&r->facts[i], true, out);
        fputs(",\n", out);
    }
    fputs("  \"rows\": [", out);
    const char *gap = "\n";
    for (int line = 0; line < r->n_row; line++) {
        if (r->rows[line].audience == ST_FOR_READERS)
            continue;
        fprintf(out, "%s    {", gap);
        for (int c = 0; c < r->n_column; c++) {
            fprintf(out, "%s\"%s\": ", c ? ", " : "", r->columns[c].key);
            print_value(&r->rows[line].cells[c], true, out);
        }
        fputc('}', out);
        gap = ",\n";
    }
    fputs("\n  ]\n}\n", out);
}

bool st_report_print(const st_report *report, st_format format, FILE *out)
{
    if (report->failed)
        return false;
    switch (format) {
    case ST_FORMAT_TABLE:
    case ST_FORMAT_MD:
        print_table(report, format == ST_FORMAT_MD, out);
        break;
    case ST_FORMAT_CSV:
        print_csv(report, out);
        break;
    case ST_FORMAT_JSON:
        print_json(report, out);
        break;
    }
    return true;
}
