#include "host/cli/options.h"
#include "host/cli/tool.h"

#include <errno.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>

static const st_option *find_option(const st_command *command, const char *text, size_t length)
{
    for (int i = 0; i < command->n_option; i++) {
        const st_option *o = &command->options[i];
        if ((strlen(o->name) == length && memcmp(o->name, text, length) == 0) ||
            (o->alias && strlen(o->alias) == length && memcmp(o->alias, text, length) == 0))
            return o;
    }
    return NULL;
}

static bool parse_int(const st_option *o, const char *text, void *at, char *message, size_t size)
{
    char *end;
    errno = 0;
    long long value = strtoll(text, &end, 10);
    if (end == text || *end) {
        snprintf(message, size, "%s: '%s' is not a whole number", o->name, text);
        return false;
    }
    if (errno == ERANGE || (double)value < o->min || (double)value > o->max) {
        snprintf(message, size, "%s: %s is out of range (%.0f ... %.0f)", o->name, text, o->min, o->max);
        return false;
    }
    int32_t number = (int32_t)value;
    memcpy(at, &number, sizeof number);
    return true;
}

static bool parse_seed(const st_option *o, const char *text, void *at, char *message, size_t size)
{
    char *end;
    errno = 0;
    unsigned long long value = strtoull(text, &end, 10);
    if (end == text || *end || strchr(text, '-')) {
        snprintf(message, size, "%s: '%s' is not a whole number from 0", o->name, text);
        return false;
    }
    if (errno == ERANGE) {
        snprintf(message, size, "%s: %s is out of range (0 ... 18446744073709551615)", o->name, text);
        return false;
    }
    uint64_t number = value;
    memcpy(at, &number, sizeof number);
    return true;
}

static bool parse_real(const st_option *o, const char *text, void *at, char *message, size_t size)
{
    char *end;
    double value = strtod(text, &end);
    if (end == text || *end || isnan(value)) {
        snprintf(message, size, "%s: '%s' is not a number", o->name, text);
        return false;
    }
    if (value < o->min || value > o->max) {
        snprintf(message, size, "%s: %s is out of range (%g ... %g)", o->name, text, o->min, o->max);
        return false;
    }
    float number = (float)value;
    memcpy(at, &number, sizeof number);
    return true;
}

static bool parse_value(const st_option *o, const char *text, void *at, char *message, size_t size)
{
    switch (o->kind) {
    case ST_OPTION_INT:
        return parse_int(o, text, at, message, size);
    case ST_OPTION_SEED:
        return parse_seed(o, text, at, message, size);
    case ST_OPTION_REAL:
        return parse_real(o, text, at, message, size);
    case ST_OPTION_TEXT:
        memcpy(at, &text, sizeof text);
        return true;
    case ST_OPTION_FLAG:
        break;
    }
    bool on = true;
    memcpy(at, &on, sizeof on);
    return true;
}

st_parsed st_options_parse(const st_command *command, int argc, char **argv, void *params, char *message,
                           size_t message_size)
{
    for (int i = 0; i < argc; i++) {
        const char *text = argv[i];
        if (strcmp(text, "--help") == 0 || strcmp(text, "-h") == 0)
            return ST_PARSED_HELP;
        const char *equals = strncmp(text, "--", 2) == 0 ? strchr(text, '=') : NULL; /* --name=value */
        size_t length = equals ? (size_t)(equals - text) : strlen(text);
        const st_option *o = find_option(command, text, length);
        if (!o) {
            snprintf(message, message_size, "%s '%.*s' (try %s %s --help)",
                     text[0] == '-' ? "unknown option" : "unexpected argument", (int)length, text,
                     st_tool_name, command->name);
            return ST_PARSED_ERROR;
        }
        const char *value = NULL;
        if (o->kind == ST_OPTION_FLAG && equals) {
            snprintf(message, message_size, "%s takes no value", o->name);
            return ST_PARSED_ERROR;
        }
        if (o->kind != ST_OPTION_FLAG) {
            if (!equals && i + 1 == argc) {
                snprintf(message, message_size, "%s needs a value (%s)", o->name, o->value);
                return ST_PARSED_ERROR;
            }
            value = equals ? equals + 1 : argv[++i];
        }
        if (!parse_value(o, value, (char *)params + o->offset, message, message_size))
            return ST_PARSED_ERROR;
    }
    return ST_PARSED_OK;
}

/* " (default 0.8)", or nothing where the default is to do without. */
static void print_default(const st_option *o, const char *at, FILE *out)
{
    union {
        int32_t whole;
        uint64_t seed;
        float real;
        const char *text;
    } value = {0};
    switch (o->kind) {
    case ST_OPTION_INT:
        memcpy(&value.whole, at, sizeof value.whole);
        fprintf(out, " (default %d)", value.whole);
        break;
    case ST_OPTION_SEED:
        memcpy(&value.seed, at, sizeof value.seed);
        fprintf(out, " (default %llu)", (unsigned long long)value.seed);
        break;
    case ST_OPTION_REAL:
        memcpy(&value.real, at, sizeof value.real);
        fprintf(out, " (default %g)", (double)value.real);
        break;
    case ST_OPTION_TEXT:
        memcpy(&value.text, at, sizeof value.text);
        if (value.text)
            fprintf(out, " (default %s)", value.text);
        break;
    case ST_OPTION_FLAG:
        break;
    }
}

void st_options_help(const st_command *command, FILE *out)
{
    enum { COLUMN = 30 }; /* where the explanations begin */
    _Alignas(max_align_t) char params[ST_PARAMS_MAX] = {0};
    command->defaults(params);
    fprintf(out, "usage: %s %s [options]\n\n%s\n\noptions:\n", st_tool_name, command->name, command->summary);
    for (int i = 0; i < command->n_option; i++) {
        const st_option *o = &command->options[i];
        int width = fprintf(out, "  %s%s%s%s%s", o->alias ? o->alias : "", o->alias ? ", " : "", o->name,
                            o->value ? " " : "", o->value ? o->value : "");
        fprintf(out, "%*s%s", width < COLUMN - 1 ? COLUMN - width : 1, "", o->help);
        print_default(o, params + o->offset, out);
        fputc('\n', out);
    }
    fprintf(out, "  -h, --help%*sthis text\n", COLUMN - 12, "");
    if (command->notes)
        fprintf(out, "\n%s\n", command->notes);
}
