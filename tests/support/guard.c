#include "tests/support/guard.h"

#include "host/base/base.h"

#include <stdlib.h>
#include <string.h>

#define MARGIN 256
#define POISON 0xff /* as f32: a NaN */

guarded guard_alloc(size_t bytes)
{
    unsigned char *memory = st_alloc(bytes + 2 * MARGIN);
    if (!memory)
        abort();
    memset(memory, POISON, bytes + 2 * MARGIN);
    return (guarded){.data = memory + MARGIN, .bytes = bytes};
}

bool guard_intact(const guarded *g)
{
    for (size_t i = 0; i < MARGIN; i++)
        if (g->data[-1 - (ptrdiff_t)i] != POISON || g->data[g->bytes + i] != POISON)
            return false;
    return true;
}

void guard_free(guarded *g)
{
    st_free(g->data - MARGIN);
    g->data = NULL;
}
