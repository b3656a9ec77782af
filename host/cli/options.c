#include "host/cli/options.h"
#include "host/cli/tool.h"

#include <errno.h>
#include <inttypes.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>

static bool is_called(const char *name, const char *text, size_t length)
{
    return name && strlen(name) == length && memcmp(name, text, length) == 0;
}

static const st_option *find(const st_option_table *table, const char *text, size_t length)
{
    for (int i = 0; i < table->n; i++)
        if (is_called(table->options[i].name, text, length) ||
            is_called(table->options[i].alias, text, length))
            return &table->options[i];
    return NULL;
}

const st_option *st_option_find(const st_option_table *table, const char *name)
{
    return find(table, name, strlen(name));
}

/* ---- one kind of value each ---- */

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

static bool parse_size(const st_option *o, const char *text, void *at, char *message, size_t size)
{
    static const char units[] = "KMGT";
    char *end;
    errno = 0;
    unsigned long long value = strtoull(text, &end, 10);
    const char *unit = *end ? strchr(units, *end) : NULL;
    if (end == text || strchr(text, '-') || (*end && (!unit || end[1]))) {
        snprintf(message, size, "%s: '%s' is not a number of bytes, such as 512M or 2G", o->name, text);
        return false;
    }
    int shift = unit ? 10 * (int)(unit - units + 1) : 0;
    if (errno == ERANGE || value > (unsigned long long)INT64_MAX >> shift) {
        snprintf(message, size, "%s: %s is more than %" PRId64 " bytes", o->name, text, INT64_MAX);
        return false;
    }
    int64_t number = (int64_t)(value << shift);
    memcpy(at, &number, sizeof number);
    return true;
}

/* The word after `index` bars, and its length. */
static const char *choice(const char *words, int32_t index, size_t *length)
{
    for (; index > 0; index--)
        words = strchr(words, '|') + 1;
    *length = strcspn(words, "|");
    return words;
}

static bool parse_choice(const st_option *o, const char *text, void *at, char *message, size_t size)
{
    int32_t n = 1;
    for (const char *bar = o->value; (bar = strchr(bar, '|')) != NULL; bar++)
        n++;
    for (int32_t i = 0; i < n; i++) {
        size_t length;
        const char *word = choice(o->value, i, &length);
        if (strlen(text) == length && memcmp(text, word, length) == 0) {
            memcpy(at, &i, sizeof i);
            return true;
        }
    }
    snprintf(message, size, "%s: '%s' is not one of %s", o->name, text, o->value);
    return false;
}

static bool parse_texts(const st_option *o, const char *text, void *at, char *message, size_t size)
{
    st_texts list;
    memcpy(&list, at, sizeof list);
    const char **grown = realloc(list.text, (size_t)(list.n + 1) * sizeof *grown);
    if (!grown) {
        snprintf(message, size, "%s: out of memory", o->name);
        return false;
    }
    grown[list.n] = text;
    list = (st_texts){grown, list.n + 1};
    memcpy(at, &list, sizeof list);
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
    case ST_OPTION_SIZE:
        return parse_size(o, text, at, message, size);
    case ST_OPTION_CHOICE:
        return parse_choice(o, text, at, message, size);
    case ST_OPTION_TEXTS:
        return parse_texts(o, text, at, message, size);
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

/* ---- the command line ---- */

/* The option, and where its value goes; NULL if no group has it. */
static const st_option *find_in_groups(const st_command *command, const char *text, size_t length,
                                       void *params, void **at)
{
    for (int g = 0; g < command->n_group; g++) {
        const st_option *o = find(command->groups[g].table, text, length);
        if (o) {
            *at = (char *)params + command->groups[g].offset + o->offset;
            return o;
        }
    }
    return NULL;
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
        void *at = NULL;
        const st_option *o = find_in_groups(command, text, length, params, &at);
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
        if (!parse_value(o, value, at, message, message_size))
            return ST_PARSED_ERROR;
    }
    return ST_PARSED_OK;
}

void st_options_free(const st_command *command, void *params)
{
    for (int g = 0; g < command->n_group; g++) {
        const st_option_table *table = command->groups[g].table;
        for (int i = 0; i < table->n; i++) {
            st_texts list;
            if (table->options[i].kind != ST_OPTION_TEXTS)
                continue;
            void *at = (char *)params + command->groups[g].offset + table->options[i].offset;
            memcpy(&list, at, sizeof list);
            free(list.text);
            memset(at, 0, sizeof list);
        }
    }
}

/* ---- help ---- */

/* " (default 0.8)", or nothing where the default is to do without. */
static void print_default(const st_option *o, const char *at, FILE *out)
{
    union {
        int32_t whole;
        int64_t bytes;
        uint64_t seed;
        float real;
        const char *text;
    } value = {0};
    size_t length;
    switch (o->kind) {
    case ST_OPTION_INT:
        memcpy(&value.whole, at, sizeof value.whole);
        fprintf(out, " (default %d)", value.whole);
        break;
    case ST_OPTION_SEED:
        memcpy(&value.seed, at, sizeof value.seed);
        fprintf(out, " (default %" PRIu64 ")", value.seed);
        break;
    case ST_OPTION_REAL:
        memcpy(&value.real, at, sizeof value.real);
        fprintf(out, " (default %g)", (double)value.real);
        break;
    case ST_OPTION_SIZE:
        memcpy(&value.bytes, at, sizeof value.bytes);
        fprintf(out, " (default %" PRId64 ")", value.bytes);
        break;
    case ST_OPTION_CHOICE:
        memcpy(&value.whole, at, sizeof value.whole);
        const char *word = choice(o->value, value.whole, &length);
        fprintf(out, " (default %.*s)", (int)length, word);
        break;
    case ST_OPTION_TEXT:
        memcpy(&value.text, at, sizeof value.text);
        if (value.text)
            fprintf(out, " (default %s)", value.text);
        break;
    case ST_OPTION_TEXTS:
        fprintf(out, " (may be repeated)");
        break;
    case ST_OPTION_FLAG:
        break;
    }
}

static void print_option(const st_option *o, const char *at, FILE *out)
{
    enum { COLUMN = 30 }; /* where the explanations begin */
    int width = fprintf(out, "  %s%s%s%s%s", o->alias ? o->alias : "", o->alias ? ", " : "", o->name,
                        o->value ? " " : "", o->value ? o->value : "");
    fprintf(out, "%*s%s", width < COLUMN - 1 ? COLUMN - width : 1, "", o->help);
    print_default(o, at, out);
    fputc('\n', out);
}

void st_options_help(const st_command *command, FILE *out)
{
    _Alignas(max_align_t) char params[ST_PARAMS_MAX] = {0};
    command->defaults(params);
    fprintf(out, "usage: %s %s [options]\n\n%s\n", st_tool_name, command->name, command->summary);
    for (int g = 0; g < command->n_group; g++) {
        const st_option_table *table = command->groups[g].table;
        fprintf(out, "\n%s:\n", table->title);
        for (int i = 0; i < table->n; i++)
            print_option(&table->options[i], params + command->groups[g].offset + table->options[i].offset,
                         out);
    }
    fprintf(out, "\n%-30s%s\n", "  -h, --help", "this text");
    if (command->notes)
        fprintf(out, "\n%s\n", command->notes);
}
