/* The KV cache of a layer: halves in two planes, keys and values, each [page][head][64 positions x head_dim].
 * Keys have a word of two dimensions of all 64 positions together, so that invocations that have neighbouring
 * positions read neighbouring words; values, and keys of odd head_dim, go by position. */
#ifndef ST_KV_GLSL
#define ST_KV_GLSL

/* Half of the plane that dimension d of a slot and head is. */
uint kv_key(uint slot, uint head, uint n_kv_head, uint dim, uint d)
{
    uint begin = (slot / ST_KV_PAGE * n_kv_head + head) * ST_KV_PAGE * dim, position = slot % ST_KV_PAGE;
    return begin + ((dim & 1u) != 0u ? position * dim + d : (d / 2u * ST_KV_PAGE + position) * 2u + (d & 1u));
}

uint kv_value(uint slot, uint head, uint n_kv_head, uint dim, uint d)
{
    return (slot / ST_KV_PAGE * n_kv_head + head) * ST_KV_PAGE * dim + slot % ST_KV_PAGE * dim + d;
}

#endif
