#include "tests/support/linear_scene.h"

#include <stdlib.h>
#include <string.h>

static void must(sterna_status status)
{
    if (status != STERNA_OK)
        abort();
}

void scene_open(scene *s, const char *name, bool check)
{
    sterna_device_params p;
    sterna_device_defaults(&p);
    p.check = check;
    p.trace = true;
    p.n_thread = 1;
    must(sterna_device_open(name, &p, &s->device, NULL));
    memset(s->data, 0x55, sizeof s->data);
    for (int i = 0; i < SCENE_N * 3; i++)
        s->scale[i] = 1.0f;
    sterna_matrix_defaults(&s->m);
    s->m.rows = SCENE_N;
    s->m.cols = SCENE_K;
    s->m.data = s->data;
    s->m.scale = s->scale;
}

sterna_linear *scene_linear(scene *s, int32_t max_tok, int32_t act_group)
{
    sterna_linear_params p;
    sterna_linear_defaults(&p);
    p.max_tok = max_tok;
    p.act_group = act_group;
    sterna_linear *linear;
    must(sterna_linear_create(s->device, &s->m, &p, &linear, NULL));
    return linear;
}

sterna_buffer *scene_buffer(scene *s, size_t bytes)
{
    sterna_buffer *b;
    must(sterna_buffer_create(s->device, bytes, &b, NULL));
    return b;
}
