#include "tests/support/json_rows.h"

#include <stdio.h>
#include <stdlib.h>

static void fail(const char *what, const char *text)
{
    fprintf(stderr, "%s: %s\n", what, text);
    abort();
}

json_t *json_of(spawned s)
{
    json_error_t error;
    if (s.code != 0 || s.err[0] != '\0')
        fail("it failed", s.err);
    json_t *root = json_loads(s.out, JSON_REJECT_DUPLICATES, &error);
    if (!root)
        fail(error.text, s.out);
    spawned_free(&s);
    return root;
}

double json_number(const json_t *row, const char *key)
{
    const json_t *value = json_object_get(row, key);
    if (!json_is_number(value))
        fail("no number", key);
    return json_number_value(value);
}

const char *json_text(const json_t *row, const char *key)
{
    const char *text = json_string_value(json_object_get(row, key));
    if (!text)
        fail("no text", key);
    return text;
}

bool json_is_none(const json_t *row, const char *key)
{
    return json_is_null(json_object_get(row, key));
}
