/* What the suites that run the built tool share; include after criterion.h. */
#ifndef CLI_RIG_H
#define CLI_RIG_H

#include "tests/support/spawn.h"
#include "tests/support/tiny_model.h"

#include <criterion/criterion.h>
#include <jansson.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#define RUN(options, ...) spawn((const char *const[]){STERNA_BINARY, __VA_ARGS__, NULL}, options)
#define DEMO_MODEL        STERNA_SOURCE_DIR "/models/sterna-demo.gguf"

/* A random model with this context at `path`; unlink it in the end. */
static inline void make_model(int32_t n_context, char path[TINY_PATH])
{
    tiny_spec spec;
    tiny_defaults(&spec);
    spec.n_context = n_context;
    tiny_write(&spec, path);
}

/* A new file with these bytes at `path`; unlink it in the end. */
static inline void write_file(char path[64], const char *data, size_t size)
{
    strcpy(path, "/tmp/sterna-cli-XXXXXX");
    int fd = mkstemp(path);
    cr_assert(fd >= 0 && write(fd, data, size) == (ssize_t)size);
    close(fd);
}

/* The contents of a file, NUL-terminated; free them. */
static inline char *read_file(const char *path)
{
    FILE *file = fopen(path, "rb");
    cr_assert(file && fseek(file, 0, SEEK_END) == 0, "%s", path);
    size_t size = (size_t)ftell(file);
    rewind(file);
    char *data = calloc(size + 1, 1);
    cr_assert(data && fread(data, 1, size, file) == size);
    fclose(file);
    return data;
}

static inline void expect_contents(const char *path, const char *expected)
{
    char *text = read_file(path);
    cr_expect_str_eq(text, expected, "%s holds: %s", path, text);
    free(text);
}

/* Code and standard error of a command that must fail before it writes anything. */
static inline void expect_failure(spawned s, int code, const char *message)
{
    cr_expect_eq(s.code, code, "code %d instead of %d: %s", s.code, code, s.err);
    cr_expect_str_eq(s.err, message, "instead of '%s': %s", message, s.err);
    cr_expect_eq(s.out_size, 0u, "output: %s", s.out);
    spawned_free(&s);
}

static inline void expect_output(spawned s, int code, const char *part)
{
    cr_expect_eq(s.code, code, "code %d instead of %d: %s", s.code, code, s.err);
    cr_expect(strstr(s.out, part), "'%s' is not in: %s", part, s.out);
    spawned_free(&s);
}

/* The JSON values of lines; release with json_decref. */
static inline json_t *parse_lines(const char *text)
{
    json_t *list = json_array();
    json_error_t error;
    while (*text) {
        size_t size = strcspn(text, "\n");
        json_t *line = json_loadb(text, size, JSON_ALLOW_NUL, &error);
        cr_assert_not_null(line, "%s: %.*s", error.text, (int)size, text);
        json_array_append_new(list, line);
        text += size + (text[size] == '\n');
    }
    return list;
}

/* The results of a command that must succeed. */
static inline json_t *results_of(spawned s)
{
    cr_assert_eq(s.code, 0, "code %d: %s", s.code, s.err);
    json_t *list = parse_lines(s.out);
    spawned_free(&s);
    return list;
}

/* A text of the result, "" if there is none. */
static inline const char *text_of(const json_t *result, const char *key)
{
    const char *text = json_string_value(json_object_get(result, key));
    return text ? text : "";
}

static inline json_int_t number_of(const json_t *result, const char *key)
{
    return json_integer_value(json_object_get(result, key));
}

#endif
