#include "host/model/tokenizer_parts.h"

bool st_table_create(st_table *table, size_t n_value)
{
    assert(n_value < (size_t)1 << 30);
    size_t n_slot = 16;
    while (n_slot < 2 * n_value) /* at most half full: one or two probes */
        n_slot *= 2;
    table->slot = st_alloc(n_slot * sizeof *table->slot);
    if (!table->slot)
        return false;
    for (size_t i = 0; i < n_slot; i++)
        table->slot[i] = (st_table_slot){0, ST_NO_VALUE};
    table->mask = (uint32_t)(n_slot - 1);
    return true;
}

void st_table_destroy(st_table *table)
{
    st_free(table->slot);
    *table = (st_table){0};
}

uint32_t st_table_hash_text(const char *text, size_t size)
{
    uint64_t hash = st_hash(ST_HASH_SEED, text, size);
    return (uint32_t)(hash ^ hash >> 32);
}

void st_table_insert(st_table *table, uint32_t hash, uint32_t value)
{
    uint32_t at = hash;
    while (table->slot[at & table->mask].value != ST_NO_VALUE)
        at++;
    table->slot[at & table->mask] = (st_table_slot){hash, value};
}
