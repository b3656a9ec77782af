/* The commands of sterna-bench: one file and one line of main.c's table each. */
#ifndef ST_BENCH_COMMANDS_H
#define ST_BENCH_COMMANDS_H

#include "host/cli/options.h"

extern const st_command st_command_throughput, st_command_serve, st_command_make_model, st_command_ops,
    st_command_model;

#endif
