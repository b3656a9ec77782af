#include "host/cli/cli.h"
#include "host/cli/tool.h"

#include <errno.h>
#include <stdarg.h>
#include <string.h>

static void print_line(const char *command, const char *kind, const char *format, va_list args)
{
    char line[1024];
    vsnprintf(line, sizeof line, format, args);
    for (char *c = line; *c; c++)
        if ((unsigned char)*c < 0x20 || *c == 0x7f) /* arguments and files may hold terminal sequences */
            *c = '?';
    fprintf(stderr, "%s %s: %s%s\n", st_tool_name, command, kind, line);
}

int st_cli_fail(const char *command, int code, const char *format, ...)
{
    va_list args;
    va_start(args, format);
    print_line(command, "", format, args);
    va_end(args);
    return code;
}

void st_cli_warn(const char *command, const char *format, ...)
{
    va_list args;
    va_start(args, format);
    print_line(command, "warning: ", format, args);
    va_end(args);
}

int st_cli_write_failed(const char *command, const char *name, int failure)
{
    if (failure == EPIPE)
        return ST_EXIT_PIPE;
    return st_cli_fail(command, ST_EXIT_FAILURE, "cannot write to %s: %s", name,
                       failure ? strerror(failure) : "an earlier write failed");
}

static int first_failure; /* errno of the first flush that failed; later ones fail without a reason */

bool st_cli_flush(FILE *out)
{
    errno = 0;
    bool good = fflush(out) == 0 && !ferror(out);
    if (!good && !first_failure)
        first_failure = errno;
    return good;
}

int st_cli_finish(const char *command, FILE *out, const char *name, int code)
{
    return st_cli_flush(out) ? code : st_cli_write_failed(command, name, first_failure);
}

const char *st_cli_bytes(uint64_t bytes, char text[16])
{
    static const char *const units[] = {"B", "kB", "MB", "GB", "TB", "PB", "EB"};
    double value = (double)bytes;
    int unit = 0;
    while (value >= 999.5 && unit < 6) {
        value /= 1000.0;
        unit++;
    }
    snprintf(text, 16, "%.*f %s",
             unit == 0 || value >= 99.95 ? 0
             : value >= 9.995            ? 1
                                         : 2,
             value, units[unit]);
    return text;
}
