#include "host/model/tokenizer_parts.h"

/* The tokens of a piece are a list in an array: node i begins at byte i, merged ones leave the list. */
typedef struct st_bpe_node {
    uint32_t token, next, prev; /* END past either end */
} st_bpe_node;
#define END UINT32_MAX

void st_bpe_scratch_free(st_bpe_scratch *scratch)
{
    st_free(scratch->node);
    st_free(scratch->heap);
    *scratch = (st_bpe_scratch){0};
}

static sterna_status reserve(st_bpe_scratch *scratch, size_t size, sterna_error *error)
{
    if (size <= scratch->capacity)
        return STERNA_OK;
    size_t capacity = 64;
    while (capacity < size)
        capacity *= 2;
    st_bpe_scratch_free(scratch);
    scratch->node = st_alloc(capacity * sizeof *scratch->node);
    /* The heap starts with at most size - 1 pairs, and each of at most size - 1 merges takes one out and puts
     * at most two in. */
    scratch->heap = st_alloc(2 * capacity * sizeof *scratch->heap);
    if (!scratch->node || !scratch->heap)
        return st_fail(error, STERNA_E_MEMORY, "no memory to tokenize a piece of %zu bytes", size);
    scratch->capacity = capacity;
    return STERNA_OK;
}

/* A binary heap, least first, of rank << 32 | byte where the pair begins. A pair is not taken out when one of
 * its tokens is merged away: that shows when it comes up, because the rank names both tokens. */
static void sift_down(uint64_t *heap, size_t n, size_t at)
{
    uint64_t item = heap[at];
    for (size_t child; (child = 2 * at + 1) < n; at = child) {
        if (child + 1 < n && heap[child + 1] < heap[child])
            child++;
        if (item <= heap[child])
            break;
        heap[at] = heap[child];
    }
    heap[at] = item;
}

static void push(uint64_t *heap, size_t *n, uint64_t item)
{
    size_t at = (*n)++;
    for (; at > 0 && item < heap[(at - 1) / 2]; at = (at - 1) / 2)
        heap[at] = heap[(at - 1) / 2];
    heap[at] = item;
}

static uint64_t pop(uint64_t *heap, size_t *n)
{
    uint64_t least = heap[0];
    heap[0] = heap[--*n];
    if (*n > 1)
        sift_down(heap, *n, 0);
    return least;
}

/* Makes nodes of the bytes and a heap of their pairs; returns the heap's size, or SIZE_MAX with *bad = the
 * byte that has no token. */
static size_t start(const st_vocab *vocab, const char *piece, size_t size, st_bpe_scratch *scratch,
                    unsigned char *bad)
{
    st_bpe_node *node = scratch->node;
    size_t n_heap = 0;
    for (size_t i = 0; i < size; i++) {
        int32_t token = vocab->byte_token[(unsigned char)piece[i]];
        if (token < 0) {
            *bad = (unsigned char)piece[i];
            return SIZE_MAX;
        }
        node[i] = (st_bpe_node){(uint32_t)token, i + 1 < size ? (uint32_t)i + 1 : END,
                                i > 0 ? (uint32_t)i - 1 : END};
        uint32_t rank = i > 0 ? st_vocab_rank(vocab, node[i - 1].token, (uint32_t)token) : ST_NO_VALUE;
        if (rank != ST_NO_VALUE)
            scratch->heap[n_heap++] = (uint64_t)rank << 32 | (i - 1);
    }
    for (size_t i = n_heap / 2; i-- > 0;)
        sift_down(scratch->heap, n_heap, i);
    return n_heap;
}

static void merge_all(const st_vocab *vocab, st_bpe_node *node, uint64_t *heap, size_t n_heap)
{
    while (n_heap > 0) {
        uint64_t least = pop(heap, &n_heap);
        const st_merge *merge = &vocab->merge[least >> 32];
        st_bpe_node *left = &node[(uint32_t)least];
        if (left->token != merge->left || left->next == END || node[left->next].token != merge->right)
            continue;
        st_bpe_node *right = &node[left->next];
        left->token = merge->result;
        right->token = ST_NO_VALUE; /* so that pairs that began here are seen to be gone */
        left->next = right->next;
        if (left->next != END) {
            node[left->next].prev = (uint32_t)least;
            uint32_t rank = st_vocab_rank(vocab, left->token, node[left->next].token);
            if (rank != ST_NO_VALUE)
                push(heap, &n_heap, (uint64_t)rank << 32 | (uint32_t)least);
        }
        if (left->prev != END) {
            uint32_t rank = st_vocab_rank(vocab, node[left->prev].token, left->token);
            if (rank != ST_NO_VALUE)
                push(heap, &n_heap, (uint64_t)rank << 32 | left->prev);
        }
    }
}

sterna_status st_bpe_encode(const st_vocab *vocab, const char *piece, size_t size, st_bpe_scratch *scratch,
                            st_token_sink *sink, sterna_error *error)
{
    assert(size > 0 && size <= ST_MAX_TEXT_BYTES);
    sterna_status status = reserve(scratch, size, error);
    if (status)
        return status;
    unsigned char bad = 0;
    size_t n_heap = start(vocab, piece, size, scratch, &bad);
    if (n_heap == SIZE_MAX)
        return st_fail(error, STERNA_E_UNSUPPORTED,
                       "the text has byte 0x%02x, which no token of the vocabulary stands for", bad);
    merge_all(vocab, scratch->node, scratch->heap, n_heap);
    for (uint32_t i = 0; i != END; i = scratch->node[i].next)
        st_token_put(sink, (sterna_token)scratch->node[i].token);
    return STERNA_OK;
}
