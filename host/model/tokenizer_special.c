#include "host/model/tokenizer_parts.h"

typedef struct st_special_node {
    uint32_t child, sibling; /* 0: none */
    int32_t token;           /* the token whose text ends here, or -1 */
    unsigned char byte;
    bool control, sealed;
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

void st_special_seal(st_special *special, const bool *is_end, sterna_token bos)
{
    for (uint32_t i = 0; i < special->n_node; i++) {
        st_special_node *node = &special->node[i];
        node->sealed = node->token >= 0 && (node->control || is_end[node->token] || node->token == bos);
    }
}

void st_special_destroy(st_special *special)
{
    st_free(special->node);
    *special = (st_special){0};
}

/* Whether the special token that ends at a node counts; `open`: it touches no quoted byte. */
static bool counts(const st_special_node *node, bool open, bool control, const st_quotes *quotes)
{
    if (open)
        return control || !node->control;
    bool sealed = node->sealed;
    for (size_t i = 0; i < quotes->n_guard && !sealed; i++)
        sealed = quotes->guard[i] == node->token;
    return !sealed;
}

/* Length of the longest special token that begins the text and counts, 0 if there is none; the first `n_open`
 * bytes are not quoted. */
static size_t longest(const st_special *special, const char *text, size_t size, size_t n_open, bool control,
                      const st_quotes *quotes, int32_t *token)
{
    size_t found = 0, at = 0;
    for (uint32_t next = 0; at < size && (next = child_of(special, next, (unsigned char)text[at])) != 0;) {
        const st_special_node *node = &special->node[next];
        at++;
        if (node->token >= 0 && counts(node, at <= n_open, control, quotes)) {
            *token = node->token;
            found = at;
        }
    }
    return found;
}

size_t st_special_find(const st_special *special, const char *text, size_t from, size_t size, bool control,
                       const st_quotes *quotes, int32_t *token, size_t *length)
{
    size_t n_span = quotes ? quotes->n_span : 0, next = 0; /* the first span that ends behind `from` */
    for (; from < size; from++) {
        while (next < n_span && quotes->span[next].to <= from)
            next++;
        size_t n_open = size - from;
        if (next < n_span)
            n_open = quotes->span[next].from > from ? quotes->span[next].from - from : 0;
        *length = longest(special, text + from, size - from, n_open, control, quotes, token);
        if (*length)
            return from;
    }
    return size;
}
