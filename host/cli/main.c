/* sterna: the command line tool. Commands are tables; see options.h. */
#include "host/cli/cli.h"
#include "host/cli/tool.h"

const char st_tool_name[] = "sterna";

static const st_command *const commands[] = {
#if STERNA_TEXT
    &st_command_run,  &st_command_chat,    &st_command_perplexity,
#endif
    &st_command_info, &st_command_devices, &st_command_validate,   &st_command_profile, NULL,
};

int main(int argc, char **argv)
{
    const st_tool tool = {"Runs ternary language models with the same bits on every backend.", commands};
    return st_tool_main(&tool, argc, argv);
}
