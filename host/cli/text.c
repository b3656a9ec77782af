#include "host/cli/text.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

static bool reserve(st_bytes *bytes, size_t more)
{
    if (more <= bytes->capacity - bytes->size)
        return true;
    if (more > SIZE_MAX / 4 - bytes->size)
        return false;
    size_t capacity = 2 * (bytes->size + more);
    char *data = realloc(bytes->data, capacity);
    if (!data)
        return false;
    bytes->data = data;
    bytes->capacity = capacity;
    return true;
}

bool st_bytes_append(st_bytes *bytes, const void *data, size_t size)
{
    if (size == 0)
        return true;
    if (!reserve(bytes, size))
        return false;
    memcpy(bytes->data + bytes->size, data, size);
    bytes->size += size;
    return true;
}

void st_bytes_free(st_bytes *bytes)
{
    free(bytes->data);
    *bytes = (st_bytes){0};
}

bool st_bytes_read(st_bytes *bytes, const char *path, const char **why)
{
    bool standard = strcmp(path, "-") == 0, done = true;
    errno = 0;
    FILE *file = standard ? stdin : fopen(path, "rb");
    if (!file) {
        *why = strerror(errno);
        return false;
    }
    char block[1 << 14];
    size_t n;
    while (done && (n = fread(block, 1, sizeof block, file)) > 0)
        done = st_bytes_append(bytes, block, n);
    if (!done)
        *why = "out of memory";
    else if (ferror(file)) {
        *why = strerror(errno);
        done = false;
    }
    if (!standard)
        fclose(file);
    if (!done)
        st_bytes_free(bytes);
    return done;
}

int st_utf8_length(const char *text, size_t size)
{
    const unsigned char *c = (const unsigned char *)text;
    unsigned first = c[0], low = 0x80, high = 0xbf; /* range of the second byte */
    int length = first < 0x80   ? 1
                 : first < 0xc2 ? 0
                 : first < 0xe0 ? 2
                 : first < 0xf0 ? 3
                 : first < 0xf5 ? 4
                                : 0;
    if (first == 0xe0)
        low = 0xa0; /* shorter forms exist below */
    else if (first == 0xed)
        high = 0x9f; /* surrogates */
    else if (first == 0xf0)
        low = 0x90;
    else if (first == 0xf4)
        high = 0x8f; /* past U+10FFFF */
    for (int i = 1; i < length; i++) {
        if ((size_t)i == size)
            return -1;
        if (c[i] < low || c[i] > high)
            return 0;
        low = 0x80;
        high = 0xbf;
    }
    return length;
}

size_t st_utf8_showable(const char *text, size_t size)
{
    /* Only the last three bytes can be the beginning of an unfinished character. */
    for (size_t back = size < 3 ? size : 3; back > 0; back--)
        if (st_utf8_length(text + size - back, back) < 0)
            return size - back;
    return size;
}

bool st_utf8_append(st_bytes *bytes, const char *text, size_t size)
{
    for (size_t at = 0; at < size;) {
        int length = st_utf8_length(text + at, size - at);
        if (!st_bytes_append(bytes, length > 0 ? text + at : "\xef\xbf\xbd", length > 0 ? (size_t)length : 3))
            return false;
        at += length > 0 ? (size_t)length : 1;
    }
    return true;
}

bool st_bytes_append_token(st_bytes *bytes, const sterna_model *model, sterna_token token)
{
    int n = sterna_token_text(model, token, NULL, 0, false);
    if (n <= 0)
        return true;
    if (!reserve(bytes, (size_t)n))
        return false;
    bytes->size += (size_t)sterna_token_text(model, token, bytes->data + bytes->size, (size_t)n, false);
    return true;
}
