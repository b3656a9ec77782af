/* Running a program with its input and output in memory. */
#ifndef SPAWN_H
#define SPAWN_H

#include <stdbool.h>
#include <stddef.h>

enum { SPAWN_MAX_ARG = 32 };

typedef struct spawned {
    int code;        /* exit code, or 1000 + the signal that ended it */
    char *out, *err; /* standard output and error, NUL-terminated */
    size_t out_size; /* without the NUL */
} spawned;

typedef struct spawn_options {
    const char *input; /* for standard input; NULL: empty */
    size_t input_size;
    bool input_terminal;  /* standard input is a terminal */
    const char *out_path; /* standard output goes there instead */
    int signal;           /* sent when the first output has come; 0 = none */
    bool stop_reading;    /* standard output is closed when the first output has come */
} spawn_options;

/* `args` ends with NULL; args[0] is the program. Ends the test program when it cannot be run. */
spawned spawn(const char *const *args, const spawn_options *options);
void spawned_free(spawned *s);

#endif
