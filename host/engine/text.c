#include "host/engine/text.h"

#include <string.h>

sterna_status st_stops_set(st_stops *stops, const sterna_request *r, int32_t n_vocab, sterna_error *error)
{
    if (r->n_stop_token < 0 || r->n_stop_token > STERNA_MAX_STOP)
        return st_fail(error, STERNA_E_ARGUMENT, "n_stop_token is %d, not 0 ... %d", r->n_stop_token,
                       STERNA_MAX_STOP);
    if (r->n_stop < 0 || r->n_stop > STERNA_MAX_STOP)
        return st_fail(error, STERNA_E_ARGUMENT, "n_stop is %d, not 0 ... %d", r->n_stop, STERNA_MAX_STOP);
    if ((r->n_stop_token > 0 && !r->stop_token) || (r->n_stop > 0 && !r->stop))
        return st_fail(error, STERNA_E_ARGUMENT, "%s is NULL",
                       r->n_stop_token > 0 && !r->stop_token ? "stop_token" : "stop");
    stops->n_token = r->n_stop_token;
    stops->n_text = r->n_stop;
    for (int32_t i = 0; i < r->n_stop_token; i++) {
        if (r->stop_token[i] < 0 || r->stop_token[i] >= n_vocab)
            return st_fail(error, STERNA_E_ARGUMENT, "stop token %d is %d, not 0 ... %d", i, r->stop_token[i],
                           n_vocab - 1);
        stops->token[i] = r->stop_token[i];
    }
    for (int32_t i = 0; i < r->n_stop; i++) {
        size_t length = r->stop[i] ? strlen(r->stop[i]) : 0;
        if (length < 1 || length > STERNA_MAX_STOP_BYTES)
            return st_fail(error, STERNA_E_ARGUMENT, "stop string %d has %zu bytes, not 1 ... %d", i, length,
                           STERNA_MAX_STOP_BYTES);
        stops->length[i] = (int32_t)length;
        memcpy(stops->text[i], r->stop[i], length);
    }
    return STERNA_OK;
}

bool st_stops_at(const st_stops *stops, sterna_token token)
{
    for (int32_t i = 0; i < stops->n_token; i++)
        if (stops->token[i] == token)
            return true;
    return false;
}

/* Position of the first stop string in the text, or n; *stop is its index. */
static int32_t find_stop(const st_stops *stops, const char *text, int32_t n, int32_t *stop)
{
    for (int32_t at = 0; at < n; at++)
        for (int32_t i = 0; i < stops->n_text; i++)
            if (stops->length[i] <= n - at &&
                memcmp(text + at, stops->text[i], (size_t)stops->length[i]) == 0) {
                *stop = i;
                return at;
            }
    *stop = -1;
    return n;
}

/* Where the longest end of the text begins that a stop string may begin with. */
static int32_t possible_stop(const st_stops *stops, const char *text, int32_t n)
{
    int32_t longest = 0;
    for (int32_t i = 0; i < stops->n_text; i++)
        longest = stops->length[i] - 1 > longest ? stops->length[i] - 1 : longest;
    for (int32_t at = n > longest ? n - longest : 0; at < n; at++)
        for (int32_t i = 0; i < stops->n_text; i++)
            if (n - at < stops->length[i] && memcmp(text + at, stops->text[i], (size_t)(n - at)) == 0)
                return at;
    return n;
}

/* The text without the beginning of a UTF-8 character at its end. */
static int32_t whole_characters(const char *text, int32_t n)
{
    for (int32_t back = 1; back <= 3 && back <= n; back++) {
        unsigned char byte = (unsigned char)text[n - back];
        if ((byte & 0xc0) == 0x80) /* continues a character */
            continue;
        int32_t length = byte >= 0xf0 && byte < 0xf8 ? 4 : byte >= 0xe0 ? 3 : byte >= 0xc0 ? 2 : 1;
        return byte < 0xf8 && length > back ? n - back : n;
    }
    return n;
}

int32_t st_text_show(const st_stops *stops, st_held *held, const char *text, int32_t n, int32_t *stop)
{
    n += held->n;
    held->n = 0;
    int32_t at = find_stop(stops, text, n, stop);
    if (*stop >= 0)
        return at;
    int32_t shown = whole_characters(text, possible_stop(stops, text, n));
    held->n = n - shown;
    assert(held->n <= ST_MAX_HELD);
    memcpy(held->byte, text + shown, (size_t)held->n);
    return shown;
}
