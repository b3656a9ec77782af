/* sterna devices: what this machine can run on, and why it cannot on the rest. */
#include "host/cli/cli.h"

#include <stdlib.h>
#include <string.h>
#if STERNA_TEXT
#include <jansson.h>
#endif

typedef struct devices_params {
    bool json;
} devices_params;

static void print_table(const sterna_device_info *list, int n, FILE *out)
{
    fprintf(out, "%-10s %-10s %9s  %s\n", "device", "state", "memory", "description");
    for (int i = 0; i < n; i++) {
        const sterna_device_info *d = &list[i];
        char bytes[16] = "-";
        if (d->memory_bytes)
            st_cli_bytes(d->memory_bytes, bytes);
        fprintf(out, "%-10s %-10s %9s  %s%s%s%s\n", d->name,
                !d->available ? "missing"
                : d->software ? "software"
                              : "ready",
                bytes, d->description, d->isa[0] ? " [" : "", d->isa, d->isa[0] ? "]" : "");
    }
}

#if STERNA_TEXT
static bool print_json(const sterna_device_info *list, int n, FILE *out)
{
    json_t *array = json_array();
    for (int i = 0; array && i < n; i++) {
        const sterna_device_info *d = &list[i];
        json_t *entry =
            json_pack("{s:s, s:s, s:b, s:b, s:I, s:s}", "name", d->name, "description", d->description,
                      "available", (int)d->available, "software", (int)d->software, "memory_bytes",
                      (json_int_t)d->memory_bytes, "isa", d->isa);
        if (!entry || json_array_append_new(array, entry) != 0) {
            json_decref(array);
            return false;
        }
    }
    bool done = array && json_dumpf(array, out, JSON_INDENT(2)) == 0;
    json_decref(array);
    fputc('\n', out);
    return done;
}
#endif

static void devices_defaults(void *params)
{
    *(devices_params *)params = (devices_params){.json = false};
}

static int devices_run(const void *params)
{
    const devices_params *p = params;
    int n = sterna_device_count(), code = ST_EXIT_OK;
    sterna_device_info *list = calloc((size_t)n, sizeof *list);
    if (!list)
        return st_cli_fail("devices", ST_EXIT_FAILURE, "out of memory");
    for (int i = 0; i < n; i++) {
        list[i].struct_size = sizeof list[i];
        sterna_device_describe(i, &list[i]);
    }
    if (!p->json)
        print_table(list, n, stdout);
#if STERNA_TEXT
    else if (!print_json(list, n, stdout) && !ferror(stdout))
        code = st_cli_fail("devices", ST_EXIT_FAILURE, "out of memory");
#else
    else
        code = st_cli_fail("devices", ST_EXIT_USAGE, "--json: this build has no JSON (STERNA_TEXT=OFF)");
#endif
    free(list);
    return st_cli_finish("devices", stdout, "standard output", code);
}

static const st_option options[] = {
    {"--json", NULL, ST_OPTION_FLAG, offsetof(devices_params, json), 0, 0, NULL,
     "print a JSON array instead of a table"},
};

static const st_option_table table = {"options", options, sizeof options / sizeof options[0]};
static const st_option_group groups[] = {{&table, 0}};

const st_command st_command_devices = {
    .name = "devices",
    .summary = "List the devices of this machine, and why the other backends are not available.",
    .groups = groups,
    .n_group = 1,
    .params_size = sizeof(devices_params),
    .defaults = devices_defaults,
    .run = devices_run,
};
