/* The text of a sample: what may be shown when, and stop strings across the borders of tokens. */
#ifndef ST_TEXT_H
#define ST_TEXT_H

#include "host/base/base.h"

/* What ends a sample beside the model's end tokens. */
typedef struct st_stops {
    int32_t n_token, n_text;
    sterna_token token[STERNA_MAX_STOP];
    int32_t length[STERNA_MAX_STOP]; /* 1 ... STERNA_MAX_STOP_BYTES */
    char text[STERNA_MAX_STOP][STERNA_MAX_STOP_BYTES];
} st_stops;

/* Copies and checks the stops of a request. */
sterna_status st_stops_set(st_stops *stops, const sterna_request *request, int32_t n_vocab,
                           sterna_error *error);
bool st_stops_at(const st_stops *stops, sterna_token token);

/* A beginning of a stop string and of a character at most. */
enum { ST_MAX_HELD = STERNA_MAX_STOP_BYTES + 3 };

/* The end of a sample's text that may not be shown yet. */
typedef struct st_held {
    int32_t n;
    char byte[ST_MAX_HELD];
} st_held;

/* `text` [n_held + n]: what was held, and n new bytes behind it. Returns how many of its bytes may be shown,
 * and holds the rest; where a stop string ends in the new bytes, *stop is its index (else -1), the bytes
 * before it are to be shown, and the rest is gone. Of several the one that begins first counts, then the one
 * of the lower index. */
int32_t st_text_show(const st_stops *stops, st_held *held, const char *text, int32_t n, int32_t *stop);

#endif
