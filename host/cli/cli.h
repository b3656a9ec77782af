/* What the tools' commands share. */
#ifndef ST_CLI_H
#define ST_CLI_H

#include "host/cli/options.h"
#include "sterna/sterna.h"

/* Exit codes of every command. */
enum {
    ST_EXIT_OK = 0,
    ST_EXIT_FAILURE = 1,       /* something went wrong while working */
    ST_EXIT_USAGE = 2,         /* the command line is wrong */
    ST_EXIT_INTERRUPTED = 130, /* ended by SIGINT, as a shell counts it */
    ST_EXIT_PIPE = 141         /* the reader of standard output went away, likewise */
};

/* The option that every command with an engine has; an int32_t of sterna_head at `offset`. */
#define ST_HEAD_ROW(offset)                                                                                  \
    {                                                                                                        \
        "--head", NULL, ST_OPTION_CHOICE, offset, 0, 0, "f16|q8",                                            \
            "LM head: f16 = as in the file; q8 = rounded to int8 at load, with int8 activations"             \
    }

extern const st_command st_command_run, st_command_chat, st_command_perplexity, st_command_info,
    st_command_devices, st_command_validate, st_command_profile;

/* Prints "TOOL COMMAND: ..." and a newline on stderr; returns `code`, so that callers can write
 * `return st_cli_fail("run", ST_EXIT_USAGE, "...")`. Control characters in the message become '?'. */
int st_cli_fail(const char *command, int code, const char *format, ...);
/* Flushes; false if that or an earlier write failed, for a reason that st_cli_finish tells. */
bool st_cli_flush(FILE *out);
/* Ends a command that wrote to `out`, called `name` in messages: flushes it, and returns `code` or what
 * became of writing. */
int st_cli_finish(const char *command, FILE *out, const char *name, int code);
/* Reports that writing failed with this errno (0: unknown); returns the exit code. */
int st_cli_write_failed(const char *command, const char *name, int failure);

/* Prints "sterna COMMAND: warning: ..." likewise. */
void st_cli_warn(const char *command, const char *format, ...);

/* "1.18 GB", "437 MB", "12 B": three significant digits, powers of 1000. */
const char *st_cli_bytes(uint64_t bytes, char text[16]);

#endif
