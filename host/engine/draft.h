/* Speculation without a draft model: what followed the last time the text ended like this ("prompt look-up
 * decoding"). Ternary inference is bound by reading weights, so verifying a few more rows costs little. */
#ifndef ST_DRAFT_H
#define ST_DRAFT_H

#include "host/base/base.h"

enum {
    ST_DRAFT_NGRAM = 4,         /* tokens of the end that are looked up, at most; then fewer, down to 2 */
    ST_DRAFT_WINDOW = 16 * 1024 /* tokens that are looked through */
};

/* Continues token[0 ... n-1] by at most `most` tokens; returns how many it wrote to `draft`. */
int32_t st_draft(const int32_t *token, int32_t n, int32_t most, int32_t *draft);

#endif
