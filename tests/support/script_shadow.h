/* What a scripted device does in place of arithmetic: its KV cache holds, for each position, the state of the
 * text up to it (script_text.h), so that whatever a device would get wrong in silence is seen and named.
 *
 *   begin       rows, lengths, outputs and tables agree; no two rows go to the same slot
 *   rope_store  no page is written that another sequence reads; each row continues the position before it, as
 *               read through the table
 *   attend      all positions that a row sees hold one text from its start: each stored where its table says,
 *               never overwritten, never left over from something else
 *   linear      onto the wanted rows: script_logits of the row's text
 *   topk        as defined, on these logits
 *   end         steps with equal batch structs had equal ops with equal arguments
 *
 * A step that is aborted leaves garbage in the slots of its rows. */
#ifndef TEST_SCRIPT_SHADOW_H
#define TEST_SCRIPT_SHADOW_H

#include "tests/support/script_text.h"

enum { SCRIPT_MAX_KEY = 1 << 14 }; /* different batch structs whose op streams are compared */

typedef struct script_slot {
    script_state state;
    int32_t token, pos; /* pos -1: nothing was stored here, or garbage */
    bool pending;       /* stored in this step; the state is not known yet */
} script_slot;

/* Who touched a page in which step; 0 = nobody yet. */
typedef struct script_page {
    uint64_t written, listed; /* number of the step << 16 | sequence */
} script_page;

typedef struct script_shadow {
    sterna_error failure; /* the first violation; status 0 = none */
    int32_t abort_at;     /* the next step is aborted before its op of this number; -1 = never */
    /* of the step in progress */
    const st_batch *batch; /* NULL outside of a step */
    const int32_t *token, *pos, *seq, *slot, *table, *length, *out;
    uint64_t number; /* of the step, from 1 */
    int32_t n_op;
    bool aborted;
    int32_t n_stored, n_attended; /* layers */
    uint64_t stream;              /* hash of the ops and their arguments */
    int32_t *reach;               /* [ST_MAX_SEQUENCE] positions that rows of a sequence see; 0 = no rows */
    /* the cache */
    const st_buf *kv;
    int32_t n_page, n_layer;
    script_slot *cache;     /* [n_layer][n_page * ST_KV_PAGE] */
    int32_t *n_good;        /* [n_layer][n_page] slots from the first known to hold one text */
    script_page *page;      /* [n_page] */
    uint64_t *slot_written; /* [n_page * ST_KV_PAGE] number of the step */
    /* op streams by batch struct */
    struct script_key {
        uint64_t key, stream; /* key 0: free */
    } * keys;                 /* [SCRIPT_MAX_KEY] open addressing */
    int32_t n_key;
    /* facts of the last step */
    int32_t n_row, n_sequence, n_out; /* without padding */
} script_shadow;

script_shadow *script_shadow_open(void);
void script_shadow_close(script_shadow *shadow);

void script_shadow_begin(script_shadow *shadow, const st_batch *batch);
sterna_status script_shadow_end(script_shadow *shadow, sterna_error *error);
void script_shadow_embed(script_shadow *shadow, const st_embed_args *a);
void script_shadow_norm(script_shadow *shadow, const st_norm_args *a);
void script_shadow_norm_quant(script_shadow *shadow, const st_norm_quant_args *a);
void script_shadow_linear(script_shadow *shadow, const st_linear_args *a);
void script_shadow_rope_store(script_shadow *shadow, const st_rope_store_args *a);
void script_shadow_attend(script_shadow *shadow, const st_attend_args *a);
void script_shadow_glu_norm_quant(script_shadow *shadow, const st_glu_norm_quant_args *a);
void script_shadow_topk(script_shadow *shadow, const st_topk_args *a);

/* Host memory behind a buffer of a scripted device. */
void *script_data(const st_buf *buf);
#endif
