/* sterna-bench: how fast it is. */
#include "bench/commands.h"
#include "host/cli/tool.h"

const char st_tool_name[] = "sterna-bench";

static const st_command *const commands[] = {
    &st_command_ops,   &st_command_model,      &st_command_throughput,
    &st_command_serve, &st_command_make_model, NULL,
};

int main(int argc, char **argv)
{
    const st_tool tool = {"Measures Sterna: kernels, engine, scheduling.", commands};
    return st_tool_main(&tool, argc, argv);
}
