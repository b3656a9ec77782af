#include "host/cli/tool.h"
#include "host/cli/cli.h"

#include <assert.h>
#include <fcntl.h>
#include <signal.h>
#include <string.h>
#include <unistd.h>

static void print_usage(const st_tool *tool, FILE *out)
{
    fprintf(out, "usage: %s COMMAND [options]\n\n%s\n\ncommands:\n", st_tool_name, tool->about);
    int width = 10;
    for (int i = 0; tool->commands[i]; i++)
        width = (int)strlen(tool->commands[i]->name) > width ? (int)strlen(tool->commands[i]->name) : width;
    for (int i = 0; tool->commands[i]; i++)
        fprintf(out, "  %-*s %s\n", width, tool->commands[i]->name, tool->commands[i]->summary);
    fprintf(out, "\n  %s COMMAND --help   the options of a command\n", st_tool_name);
    fprintf(out, "  %s --version        the version\n", st_tool_name);
}

static int run_command(const st_command *command, int argc, char **argv)
{
    _Alignas(max_align_t) char params[ST_PARAMS_MAX] = {0};
    assert(command->params_size <= sizeof params);
    command->defaults(params);
    char message[512];
    int code = ST_EXIT_OK;
    switch (st_options_parse(command, argc, argv, params, message, sizeof message)) {
    case ST_PARSED_HELP:
        st_options_help(command, stdout);
        code = st_cli_finish(command->name, stdout, "standard output", ST_EXIT_OK);
        break;
    case ST_PARSED_ERROR:
        code = st_cli_fail(command->name, ST_EXIT_USAGE, "%s", message);
        break;
    case ST_PARSED_OK:
        code = command->run(params);
        break;
    }
    st_options_free(command, params);
    return code;
}

/* A closed standard stream would lend its number to the next file that is opened, and messages would go
 * there. */
static void fill_standard_streams(void)
{
    int fd;
    do
        fd = open("/dev/null", O_RDONLY); /* so that writing to it fails and is reported */
    while (fd >= 0 && fd <= STDERR_FILENO);
    if (fd >= 0)
        close(fd);
}

int st_tool_main(const st_tool *tool, int argc, char **argv)
{
    fill_standard_streams();
    /* Longer than any table, so that a write that fails does so in the last flush, which can say why. */
    static char buffer[1 << 20];
    setvbuf(stdout, buffer, _IOFBF, sizeof buffer);
    signal(SIGPIPE, SIG_IGN); /* a reader that goes away shows as EPIPE, and the command ends in order */
    if (argc < 2) {
        print_usage(tool, stderr);
        return ST_EXIT_USAGE;
    }
    const char *name = argv[1];
    if (strcmp(name, "--help") == 0 || strcmp(name, "-h") == 0) {
        print_usage(tool, stdout);
        return st_cli_finish("--help", stdout, "standard output", ST_EXIT_OK);
    }
    if (strcmp(name, "--version") == 0) {
        printf("%s %s\n", st_tool_name, sterna_version());
        return st_cli_finish("--version", stdout, "standard output", ST_EXIT_OK);
    }
    for (int i = 0; tool->commands[i]; i++)
        if (strcmp(tool->commands[i]->name, name) == 0)
            return run_command(tool->commands[i], argc - 2, argv + 2);
    fprintf(stderr, "%s: unknown command '%s' (try %s --help)\n", st_tool_name, name, st_tool_name);
    return ST_EXIT_USAGE;
}
