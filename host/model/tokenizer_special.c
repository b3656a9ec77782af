#include "host/model/tokenizer_parts.h"

typedef struct st_special_node {
    uint32_t child, sibling; /* 0: none */
    int32_t token;           /* the token whose text ends here, or -1 */
    unsigned char byte;
    bool control;
} st_special_node;

static bool is_special(uint8_t type)
{
    return type == ST_TOKEN_CONTROL || type == ST_TOKEN_USER || type == ST_TOKEN_UNKNOWN;
}

/* The child of `parent` for a byte, 0 if none. */
static uint32_t child_of(const st_special *special, uint32_t parent, unsigned char byte)
{
    if (parent == 0)
        return special->first[byte];
    uint32_t at = special->node[parent].child;
    while (at != 0 && special->node[at].byte != byte)
        at = special->node[at].sibling;
    return at;
}

static uint32_t add_child(st_special *special, uint32_t parent, unsigned char byte)
{
    uint32_t at = special->n_node++;
    special->node[at] = (st_special_node){.token = -1, .byte = byte};
    if (parent == 0) {
        special->first[byte] = at;
    } else {
        special->node[at].sibling = special->node[parent].child;
        special->node[parent].child = at;
    }
    return at;
}

sterna_status st_special_create(const st_vocab *vocab, st_special *special, sterna_error *error)
{
    *special = (st_special){0};
    size_t n_byte = 0;
    for (int32_t token = 0; token < vocab->n_token; token++)
        if (is_special(vocab->type[token]))
            n_byte += st_vocab_bytes(vocab, token).length;
    special->node =
        st_calloc(n_byte + 1, sizeof *special->node); /* at most one node per byte, and the root */
    if (!special->node)
        return st_fail(error, STERNA_E_MEMORY, "no memory for special tokens of %zu bytes", n_byte);
    special->n_node = 1;
    for (int32_t token = 0; token < vocab->n_token; token++) {
        st_gguf_string text = st_vocab_bytes(vocab, token);
        if (!is_special(vocab->type[token]) || text.length == 0)
            continue;
        uint32_t at = 0;
        for (size_t i = 0; i < text.length; i++) {
            uint32_t next = child_of(special, at, (unsigned char)text.data[i]);
            at = next ? next : add_child(special, at, (unsigned char)text.data[i]);
        }
        special->node[at].token = token;
        special->node[at].control = vocab->type[token] != ST_TOKEN_USER;
    }
    return STERNA_OK;
}

void st_special_destroy(st_special *special)
{
    st_free(special->node);
    *special = (st_special){0};
}

size_t st_special_find(const st_special *special, const char *text, size_t size, bool control, int32_t *token,
                       size_t *length)
{
    for (size_t from = 0; from < size; from++) {
        size_t found = 0;
        size_t at = from;
        for (uint32_t node = 0;
             at < size && (node = child_of(special, node, (unsigned char)text[at])) != 0;) {
            at++;
            if (special->node[node].token >= 0 && (control || !special->node[node].control)) {
                *token = special->node[node].token;
                found = at - from;
            }
        }
        if (found) {
            *length = found;
            return from;
        }
    }
    return size;
}
