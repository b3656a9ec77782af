#include "host/model/gguf_place.h"

#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>

typedef struct placing {
    const st_gguf_region *region;
    st_gguf_tensor **order; /* [n] by offset */
    int n;
    sterna_error *error;
} placing;

static int compare_offsets(const void *a, const void *b)
{
    const st_gguf_tensor *x = *(st_gguf_tensor *const *)a, *y = *(st_gguf_tensor *const *)b;
    if (x->offset != y->offset)
        return x->offset < y->offset ? -1 : 1;
    return x < y ? -1 : x > y; /* file order, so that messages do not depend on qsort */
}

/* Bytes from a tensor's begin to the next one's, or to the end of the file. Offsets were checked. */
static uint64_t gap_after(const placing *p, int i)
{
    uint64_t end = i + 1 < p->n ? p->order[i + 1]->offset : p->region->size - p->region->data;
    return end - p->order[i]->offset;
}

/* The last tensor's padding may be missing. */
static bool fits(const placing *p, int i, const st_encoding_info *reading)
{
    const st_gguf_tensor *t = p->order[i];
    size_t bytes, padded;
    if (!st_encoding_bytes(reading, t->shape[0], t->n_element, &bytes) ||
        !st_add_size(bytes, p->region->alignment - 1, &padded))
        return false;
    padded &= ~(p->region->alignment - 1);
    uint64_t gap = gap_after(p, i);
    return i + 1 < p->n ? gap == padded : bytes <= gap && gap <= padded;
}

/* Says what is wrong with tensor i, which fits no reading of its type number. */
static sterna_status misfit(const placing *p, int i)
{
    const st_gguf_region *region = p->region;
    const st_gguf_tensor *t = p->order[i];
    const st_encoding_info *e = t->encoding;
    const char *fork = st_encoding_fork(e->type_id);
    char others[160] = "";
    if (fork || st_encoding_candidate(e->type_id, 1))
        snprintf(others, sizeof others, "; no known reading of type %" PRIu32 " fits%s%s%s", e->type_id,
                 fork ? " (it may be " : "", fork ? fork : "", fork ? ")" : "");
    if ((e->flat ? t->n_element : t->shape[0]) % e->block != 0)
        return st_fail(p->error, STERNA_E_FORMAT,
                       "%s: tensor '%s': %s of %" PRId64 " elements, not a multiple of the %" PRIu32
                       " of a %s "
                       "block%s",
                       region->label, t->name, e->flat ? "a tensor" : "rows",
                       e->flat ? t->n_element : t->shape[0], e->block, e->name, others);
    size_t bytes;
    if (!st_encoding_bytes(e, t->shape[0], t->n_element, &bytes))
        return st_fail(p->error, STERNA_E_FORMAT,
                       "%s: tensor '%s': the size of %" PRId64 " elements overflows", region->label, t->name,
                       t->n_element);
    char next[ST_GGUF_MAX_NAME + 32];
    if (i + 1 < p->n)
        snprintf(next, sizeof next, "tensor '%s' follows", p->order[i + 1]->name);
    else
        snprintf(next, sizeof next, "the file ends");
    return st_fail(p->error, STERNA_E_FORMAT,
                   "%s: tensor '%s' at byte %" PRIu64 ": %s of shape %" PRId64 " x %" PRId64 " x %" PRId64
                   " x %" PRId64 " takes %zu bytes (aligned to %zu), but %s after %" PRIu64 "%s",
                   region->label, t->name, region->data + t->offset, e->name, t->shape[0], t->shape[1],
                   t->shape[2], t->shape[3], bytes, region->alignment, next, gap_after(p, i), others);
}

/* One reading must fit every tensor with the type number of tensor `first`. */
static sterna_status classify(placing *p, int first)
{
    uint32_t type_id = p->order[first]->encoding->type_id;
    const st_encoding_info *reading;
    for (int n = 0; (reading = st_encoding_candidate(type_id, n)) != NULL; n++) {
        int i = first;
        while (i < p->n && (p->order[i]->encoding->type_id != type_id || fits(p, i, reading)))
            i++;
        if (i == p->n)
            break;
    }
    for (int i = first; i < p->n; i++) {
        if (p->order[i]->encoding->type_id != type_id)
            continue;
        if (!reading && !fits(p, i, p->order[i]->encoding))
            return misfit(p, i);
        if (reading)
            p->order[i]->encoding = reading;
    }
    return STERNA_OK;
}

static sterna_status check_offsets(const placing *p)
{
    const st_gguf_region *region = p->region;
    uint64_t space = region->size - region->data;
    for (int i = 0; i < p->n; i++)
        if (p->order[i]->offset >= space)
            return st_fail(p->error, STERNA_E_FORMAT,
                           "%s: tensor '%s' begins at offset %" PRIu64
                           " of the data section, which has %" PRIu64 " bytes",
                           region->label, p->order[i]->name, p->order[i]->offset, space);
    if (p->order[0]->offset != 0)
        return st_fail(p->error, STERNA_E_FORMAT,
                       "%s: the first tensor '%s' begins at offset %" PRIu64 " of the data section, not at 0",
                       region->label, p->order[0]->name, p->order[0]->offset);
    return STERNA_OK;
}

static sterna_status place_all(placing *p)
{
    sterna_status status = check_offsets(p);
    if (status)
        return status;
    bool seen[256] = {false}; /* every type number with a candidate is below */
    for (int i = 0; i < p->n; i++) {
        uint32_t type_id = p->order[i]->encoding->type_id;
        assert(type_id < 256);
        if (!seen[type_id] && (status = classify(p, i)))
            return status;
        seen[type_id] = true;
    }
    for (int i = 0; i < p->n; i++) {
        st_gguf_tensor *t = p->order[i];
        bool sized = st_encoding_bytes(t->encoding, t->shape[0], t->n_element, &t->bytes);
        assert(sized);
        (void)sized;
        t->offset += p->region->data;
        t->data = p->region->base + t->offset;
    }
    return STERNA_OK;
}

sterna_status st_gguf_place(const st_gguf_region *region, st_gguf_tensor *tensor, int n_tensor,
                            sterna_error *error)
{
    if (n_tensor == 0)
        return STERNA_OK;
    placing p = {.region = region, .n = n_tensor, .error = error};
    p.order = st_calloc((size_t)n_tensor, sizeof *p.order);
    if (!p.order)
        return st_fail(error, STERNA_E_MEMORY, "%s: out of memory for %d tensors", region->label, n_tensor);
    for (int i = 0; i < n_tensor; i++)
        p.order[i] = &tensor[i];
    qsort(p.order, (size_t)n_tensor, sizeof *p.order, compare_offsets);
    sterna_status status = place_all(&p);
    st_free(p.order);
    return status;
}
