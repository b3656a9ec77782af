/* Command line options: one table per command, from which parsing, --help and error messages all come. */
#ifndef ST_CLI_OPTIONS_H
#define ST_CLI_OPTIONS_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>

typedef enum st_option_kind {
    ST_OPTION_FLAG, /* bool, takes no value */
    ST_OPTION_INT,  /* int32_t */
    ST_OPTION_SEED, /* uint64_t */
    ST_OPTION_REAL, /* float */
    ST_OPTION_TEXT  /* const char *, NULL by default */
} st_option_kind;

typedef struct st_option {
    const char *name;  /* "--ctx-size" */
    const char *alias; /* "-c", or NULL */
    st_option_kind kind;
    size_t offset;     /* of the value in the command's parameters */
    double min, max;   /* INT, REAL: both included */
    const char *value; /* what help calls the value: "N", "FILE"; NULL for flags */
    const char *help;
} st_option;

/* A command of a tool. `params` of `defaults` and `run` is the struct that the options' offsets are in. */
typedef struct st_command {
    const char *name;
    const char *summary; /* one line for the tool's --help */
    const char *notes;   /* paragraphs after the options in its --help, or NULL */
    const st_option *options;
    int n_option;
    size_t params_size; /* at most ST_PARAMS_MAX */
    void (*defaults)(void *params);
    int (*run)(const void *params); /* returns the exit code */
} st_command;

enum { ST_PARAMS_MAX = 1024 };

typedef enum st_parsed { ST_PARSED_OK, ST_PARSED_HELP, ST_PARSED_ERROR } st_parsed;

/* Reads the arguments after the command's name into `params`, which holds the defaults. On an error,
 * `message` says what is wrong with which option. Texts point into argv. */
st_parsed st_options_parse(const st_command *command, int argc, char **argv, void *params, char *message,
                           size_t message_size);
/* Prints usage, each option with its default, and the notes. */
void st_options_help(const st_command *command, FILE *out);

#endif
