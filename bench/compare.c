#include "bench/compare.h"

#include "host/cli/cli.h"

#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#if STERNA_TEXT
#include <jansson.h>
#endif

static void append(char key[ST_COMPARE_KEY], const char *text)
{
    size_t used = strlen(key);
    snprintf(key + used, ST_COMPARE_KEY - used, "%s|", text);
}

void st_compare_key_text(char key[ST_COMPARE_KEY], const char *text)
{
    append(key, text);
}

void st_compare_key_number(char key[ST_COMPARE_KEY], double value)
{
    char number[32];
    snprintf(number, sizeof number, "%.9g", value);
    append(key, isfinite(value) ? number : "-");
}

double st_compare_spread(double old_percent, double new_percent)
{
    return sqrt(old_percent * old_percent + new_percent * new_percent);
}

const char *st_compare_verdict(double ratio, double spread_percent)
{
    double margin = isfinite(spread_percent) ? spread_percent / 100.0 : 0.0;
    return ratio > 1.0 + margin ? "faster" : ratio < 1.0 / (1.0 + margin) ? "slower" : "same";
}

#if STERNA_TEXT

typedef struct old_row {
    const json_t *row;
    char key[ST_COMPARE_KEY];
    bool found;
} old_row;

struct st_compare {
    json_t *root;  /* an object with "rows", or an array of rows */
    old_row *rows; /* [n] */
    int n;
};

/* One JSON value, or an array of those that stand on a line each. */
static json_t *read_file(FILE *file, json_error_t *error)
{
    json_t *first = json_loadf(file, JSON_DISABLE_EOF_CHECK | JSON_REJECT_DUPLICATES, error);
    int c;
    while ((c = fgetc(file)) == '\n' || c == ' ')
        ;
    if (!first || c == EOF)
        return first;
    json_t *array = json_array();
    json_array_append_new(array, first);
    while (c != EOF) {
        ungetc(c, file);
        json_t *next = json_loadf(file, JSON_DISABLE_EOF_CHECK | JSON_REJECT_DUPLICATES, error);
        if (!next) {
            json_decref(array);
            return NULL;
        }
        json_array_append_new(array, next);
        while ((c = fgetc(file)) == '\n' || c == ' ')
            ;
    }
    return array;
}

/* False if a key field is missing, or the row only tells what its own run lacked. */
static bool make_key(old_row *old, const char *const *keys, int n_key)
{
    const char *verdict = json_string_value(json_object_get(old->row, "verdict"));
    if (verdict && strcmp(verdict, "missing") == 0)
        return false;
    for (int i = 0; i < n_key; i++) {
        const json_t *value = json_object_get(old->row, keys[i]);
        if (!value)
            return false;
        if (json_is_string(value))
            st_compare_key_text(old->key, json_string_value(value));
        else
            st_compare_key_number(old->key, json_is_number(value) ? json_number_value(value) : (double)NAN);
    }
    return true;
}

static int take_rows(const char *command, const char *path, const char *const *keys, int n_key, st_compare *c)
{
    const json_t *list = json_is_array(c->root) ? c->root : json_object_get(c->root, "rows");
    json_t *single = NULL;
    if (!list && json_is_object(c->root) && (single = json_array()))
        json_array_append(single, c->root); /* JSON lines with one line */
    list = list ? list : single;
    size_t n = json_array_size(list);
    c->rows = calloc(n + 1, sizeof *c->rows);
    for (size_t i = 0; c->rows && i < n; i++) {
        old_row *old = &c->rows[c->n];
        *old = (old_row){.row = json_array_get(list, i)};
        c->n += make_key(old, keys, n_key);
    }
    json_decref(single);
    if (!c->rows)
        return st_cli_fail(command, ST_EXIT_FAILURE, "out of memory for the rows of %s", path);
    if (c->n == 0)
        return st_cli_fail(command, ST_EXIT_USAGE, "--compare: %s has no rows of sterna-bench %s", path,
                           command);
    return ST_EXIT_OK;
}

int st_compare_open(const char *command, const char *path, const char *const *keys, int n_key,
                    st_compare **compare)
{
    json_error_t error;
    FILE *file = fopen(path, "rb");
    if (!file)
        return st_cli_fail(command, ST_EXIT_USAGE, "--compare: cannot open %s", path);
    st_compare *c = *compare = calloc(1, sizeof *c);
    if (c)
        c->root = read_file(file, &error);
    fclose(file);
    int code = !c         ? st_cli_fail(command, ST_EXIT_FAILURE, "out of memory")
               : !c->root ? st_cli_fail(command, ST_EXIT_USAGE, "--compare: %s is not JSON: line %d: %s",
                                        path, error.line, error.text)
                          : take_rows(command, path, keys, n_key, c);
    if (code != ST_EXIT_OK)
        st_compare_close(compare);
    return code;
}

void st_compare_close(st_compare **compare)
{
    st_compare *c = *compare;
    if (!c)
        return;
    json_decref(c->root);
    free(c->rows);
    free(c);
    *compare = NULL;
}

int st_compare_find(st_compare *c, const char *key)
{
    for (int i = 0; i < c->n; i++)
        if (!c->rows[i].found && strcmp(c->rows[i].key, key) == 0) {
            c->rows[i].found = true;
            return i;
        }
    return -1;
}

int st_compare_unfound(const st_compare *c, int row)
{
    while (row < c->n && c->rows[row].found)
        row++;
    return row < c->n ? row : -1;
}

double st_compare_number(const st_compare *c, int row, const char *name)
{
    const json_t *value = json_object_get(c->rows[row].row, name);
    return json_is_number(value) ? json_number_value(value) : (double)NAN;
}

const char *st_compare_text(const st_compare *c, int row, const char *name)
{
    return json_string_value(json_object_get(c->rows[row].row, name));
}

const char *st_compare_fact(const st_compare *c, const char *name)
{
    const char *text = json_string_value(json_object_get(c->root, name));
    return text ? text : st_compare_text(c, 0, name);
}

#else

int st_compare_open(const char *command, const char *path, const char *const *keys, int n_key,
                    st_compare **compare)
{
    (void)path, (void)keys, (void)n_key;
    *compare = NULL;
    return st_cli_fail(command, ST_EXIT_USAGE, "--compare: this build cannot read JSON (STERNA_TEXT=OFF)");
}

void st_compare_close(st_compare **compare)
{
    (void)compare;
}

int st_compare_find(st_compare *c, const char *key)
{
    (void)c, (void)key;
    return -1;
}

int st_compare_unfound(const st_compare *c, int row)
{
    (void)c, (void)row;
    return -1;
}

double st_compare_number(const st_compare *c, int row, const char *name)
{
    (void)c, (void)row, (void)name;
    return (double)NAN;
}

const char *st_compare_text(const st_compare *c, int row, const char *name)
{
    (void)c, (void)row, (void)name;
    return NULL;
}

const char *st_compare_fact(const st_compare *c, const char *name)
{
    (void)c, (void)name;
    return NULL;
}

#endif
