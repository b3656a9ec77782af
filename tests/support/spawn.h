/* Running a program with its input and output in memory, or in a dialogue on a terminal. */
#ifndef SPAWN_H
#define SPAWN_H

#include <stdbool.h>
#include <stddef.h>

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
    const char *watch;    /* ... or instead, when this file has watch_size bytes */
    long watch_size;
    bool stop_reading; /* standard output is closed when the first output has come */
} spawn_options;

/* `args` ends with NULL; args[0] is the program. Ends the test program when it cannot be run. */
spawned spawn(const char *const *args, const spawn_options *options);
void spawned_free(spawned *s);

/* A program whose standard input, output and error are one terminal, which it controls: what is said comes
 * back as echo, lines end with "\r\n", and the bytes 3 and 4 are Ctrl-C and Ctrl-D. */
typedef struct dialogue dialogue;

dialogue *dialogue_open(const char *const *args);
void dialogue_say(dialogue *d, const char *text);
/* Waits until `text` has come, after what was expected before. False if the program ends first, or nothing
 * has come for 30 seconds. */
bool dialogue_expect(dialogue *d, const char *text);
/* All that has come so far, NUL-terminated. */
const char *dialogue_heard(const dialogue *d);
/* Waits for the end (30 seconds; then it is killed). Returns the code as in `spawned`. */
int dialogue_close(dialogue **d);

#endif
