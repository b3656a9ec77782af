/* Command line options: tables, from which parsing, --help and error messages all come. A command has one or
 * more of them; those that several commands share are one table each. */
#ifndef ST_CLI_OPTIONS_H
#define ST_CLI_OPTIONS_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>

typedef enum st_option_kind {
    ST_OPTION_FLAG,   /* bool, takes no value */
    ST_OPTION_INT,    /* int32_t */
    ST_OPTION_SEED,   /* uint64_t */
    ST_OPTION_REAL,   /* float */
    ST_OPTION_SIZE,   /* int64_t, bytes: "512M", with K, M, G or T for powers of 1024 */
    ST_OPTION_CHOICE, /* int32_t: which of the words of `value` */
    ST_OPTION_TEXT,   /* const char *, NULL by default */
    ST_OPTION_TEXTS   /* st_texts: the option may be given more than once */
} st_option_kind;

/* The values of a repeated option, in order. */
typedef struct st_texts {
    const char **text;
    int n;
} st_texts;

typedef struct st_option {
    const char *name;  /* "--ctx-size" */
    const char *alias; /* "-c", or NULL */
    st_option_kind kind;
    size_t offset;     /* of the value in the table's struct */
    double min, max;   /* INT, REAL: both included */
    const char *value; /* what help calls the value: "N", "FILE"; "fair|fifo" for a choice; NULL for flags */
    const char *help;
} st_option;

typedef struct st_option_table {
    const char *title; /* above them in --help */
    const st_option *options;
    int n;
} st_option_table;

/* A table and where its struct is in the command's parameters. */
typedef struct st_option_group {
    const st_option_table *table;
    size_t offset;
} st_option_group;

/* A command of a tool. `params` of `defaults` and `run` is the struct that the groups' offsets are in. */
typedef struct st_command {
    const char *name;
    const char *summary; /* one line for the tool's --help */
    const char *notes;   /* paragraphs after the options in its --help, or NULL */
    const st_option_group *groups;
    int n_group;
    size_t params_size; /* at most ST_PARAMS_MAX */
    void (*defaults)(void *params);
    int (*run)(const void *params); /* returns the exit code */
} st_command;

enum { ST_PARAMS_MAX = 1024 };

typedef enum st_parsed { ST_PARSED_OK, ST_PARSED_HELP, ST_PARSED_ERROR } st_parsed;

/* Reads the arguments after the command's name into `params`, which holds the defaults. On an error,
 * `message` says what is wrong with which option. Texts point into argv. In any case st_options_free releases
 * what `params` got. */
st_parsed st_options_parse(const st_command *command, int argc, char **argv, void *params, char *message,
                           size_t message_size);
void st_options_free(const st_command *command, void *params);
/* Prints usage, each option with its default, and the notes. */
void st_options_help(const st_command *command, FILE *out);

/* The option of this name ("--top-k"), or NULL. */
const st_option *st_option_find(const st_option_table *table, const char *name);

#endif
