/* sterna-bench make-model: a file with random weights and a published model's shape. */
#include "bench/commands.h"
#include "bench/setup.h"

#include <inttypes.h>
#include <string.h>

typedef struct make_params {
    st_shape_params shape;
    const char *output;
    uint64_t seed;
    bool list;
} make_params;

static void make_defaults(void *params)
{
    *(make_params *)params = (make_params){.seed = 1};
}

static int list_shapes(void)
{
    printf("%-12s %-13s %7s %8s %6s %6s %9s %6s %6s\n", "shape", "architecture", "vocab", "context", "embd",
           "layers", "heads", "width", "ff");
    for (int i = 0; st_synthetic_shape(i); i++) {
        const st_synthetic *s = st_synthetic_shape(i);
        char heads[24];
        snprintf(heads, sizeof heads, "%d / %d", s->n_head, s->n_kv_head);
        printf("%-12s %-13s %7d %8d %6d %6d %9s %6d %6d\n", s->name, s->arch, s->n_vocab, s->n_context,
               s->n_embd, s->n_layer, heads, s->head_dim, s->n_ff);
    }
    return st_cli_finish("make-model", stdout, "standard output", ST_EXIT_OK);
}

static int make_run(const void *params)
{
    const make_params *p = params;
    st_synthetic shape;
    if (p->list)
        return list_shapes();
    if (!p->shape.shape)
        return st_cli_fail("make-model", ST_EXIT_USAGE, "no shape: give one with --shape NAME (see --list)");
    int code = st_setup_shape("make-model", &p->shape, p->seed, &shape);
    if (code != ST_EXIT_OK)
        return code;
    if (!p->output)
        return st_cli_fail("make-model", ST_EXIT_USAGE, "no file: give one with --output FILE");
    return st_setup_write("make-model", &shape, p->output);
}

#define AT(field) offsetof(make_params, field)
static const st_option options[] = {
    ST_SHAPE_ROWS(make_params, shape),
    {"--output", "-o", ST_OPTION_TEXT, AT(output), 0, 0, "FILE", "the file to write"},
    {"--seed", "-s", ST_OPTION_SEED, AT(seed), 0, 0, "N", "seed of the weights"},
    {"--list", "-l", ST_OPTION_FLAG, AT(list), 0, 0, NULL, "list the shapes"},
};

static const st_option_table table = {"options", options, sizeof options / sizeof options[0]};
static const st_option_group groups[] = {{&table, 0}};

const st_command st_command_make_model = {
    .name = "make-model",
    .summary = "Write a model file with random weights in the shape of a published model.",
    .notes = "The file is valid, but says nothing sensible and has no tokenizer. The same options give the "
             "same\nbytes.",
    .groups = groups,
    .n_group = sizeof groups / sizeof groups[0],
    .params_size = sizeof(make_params),
    .defaults = make_defaults,
    .run = make_run,
};
