/* The frame of a command line tool: `NAME COMMAND [options]`. */
#ifndef ST_TOOL_H
#define ST_TOOL_H

#include "host/cli/options.h"

typedef struct st_tool {
    const char *about;                 /* one line for --help */
    const st_command *const *commands; /* NULL at the end */
} st_tool;

/* The tool's name in messages; each tool's main.c defines it. */
extern const char st_tool_name[];

/* main(): finds the command, reads its options and runs it; returns the exit code. */
int st_tool_main(const st_tool *tool, int argc, char **argv);

#endif
