#include "bench/lists.h"

#include <ctype.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>

/* A whole number without a sign; moves *text past it. */
static bool take_count(const char **text, int32_t min, int32_t max, int32_t *value)
{
    char *end;
    if (!isdigit((unsigned char)**text))
        return false;
    long number = strtol(*text, &end, 10);
    if (number < min || number > max)
        return false;
    *value = (int32_t)number;
    *text = end;
    return true;
}

bool st_parse_counts(const char *text, char end, int32_t min, int32_t max, int32_t *list, int *n)
{
    for (*n = 0; *n < ST_MAX_LIST; text++) {
        if (!take_count(&text, min, max, &list[*n]))
            return false;
        ++*n;
        if (*text == end)
            return true;
        if (*text != ',')
            return false;
    }
    return false;
}

/* One number or range, appended; moves *text past it. */
static bool take_range(const char **text, int32_t min, int32_t max, int32_t *list, int *n)
{
    int32_t first, last, step = 1, factor = 1;
    if (!take_count(text, min, max, &first))
        return false;
    last = first;
    if (**text == '-') {
        ++*text;
        if (!take_count(text, min, max, &last) || last < first)
            return false;
        char sign = **text;
        if (sign == '+' || sign == '*') {
            ++*text;
            if (!take_count(text, sign == '+' ? 1 : 2, INT32_MAX, sign == '+' ? &step : &factor))
                return false;
            step = sign == '+' ? step : 0;
        }
        if (sign == '*' && first == 0)
            return false;
    }
    for (int64_t value = first; value <= last; value = value * factor + step) {
        if (*n == ST_MAX_SERIES)
            return false;
        list[(*n)++] = (int32_t)value;
    }
    return true;
}

bool st_parse_series(const char *text, int32_t min, int32_t max, int32_t *list, int *n)
{
    for (*n = 0; take_range(&text, min, max, list, n); text++) {
        if (*text == '\0')
            return true;
        if (*text != ',')
            return false;
    }
    return false;
}

bool st_parse_rates(const char *text, double *list, int *n)
{
    for (*n = 0; *n < ST_MAX_LIST; text++) {
        char *end;
        double rate = strtod(text, &end);
        if (end == text || !(rate > 0.0))
            return false;
        list[(*n)++] = rate;
        text = end;
        if (*text == '\0')
            return true;
        if (*text != ',')
            return false;
    }
    return false;
}

bool st_parse_range(const char *text, int32_t min, int32_t max, int32_t range[2])
{
    if (!take_count(&text, min, max, &range[0]))
        return false;
    range[1] = range[0];
    if (*text == '\0')
        return true;
    if (strncmp(text, "..", 2) != 0)
        return false;
    text += 2;
    return take_count(&text, min, max, &range[1]) && *text == '\0' && range[0] <= range[1];
}
