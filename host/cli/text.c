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

bool st_bytes_read(st_bytes *bytes, const char *path, size_t max, char why[128])
{
    bool standard = strcmp(path, "-") == 0, done = true;
    errno = 0;
    FILE *file = standard ? stdin : fopen(path, "rb");
    if (!file) {
        snprintf(why, 128, "%s", strerror(errno));
        return false;
    }
    char block[1 << 14];
    size_t n;
    while (done && bytes->size <= max && (n = fread(block, 1, sizeof block, file)) > 0)
        done = st_bytes_append(bytes, block, n);
    if (!done) {
        snprintf(why, 128, "out of memory after %zu bytes", bytes->size);
    } else if (ferror(file)) {
        snprintf(why, 128, "%s", strerror(errno));
        done = false;
    } else if (bytes->size > max) {
        snprintf(why, 128, "it has more than %zu bytes", max);
        done = false;
    }
    if (!standard)
        fclose(file);
    if (!done)
        st_bytes_free(bytes);
    return done;
}

/* Length of the well-formed character at `text`; 0 if it is not one or has more than `size` bytes. */
static int utf8_length(const char *text, size_t size)
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
        if ((size_t)i == size || c[i] < low || c[i] > high)
            return 0;
        low = 0x80;
        high = 0xbf;
    }
    return length;
}

bool st_utf8_append(st_bytes *bytes, const char *text, size_t size)
{
    for (size_t at = 0; at < size;) {
        int length = utf8_length(text + at, size - at);
        if (!st_bytes_append(bytes, length > 0 ? text + at : "\xef\xbf\xbd", length > 0 ? (size_t)length : 3))
            return false;
        at += length > 0 ? (size_t)length : 1;
    }
    return true;
}

bool st_bytes_append_token(st_bytes *bytes, const sterna_model *model, sterna_token token, bool special)
{
    int n = sterna_token_text(model, token, NULL, 0, special);
    if (n <= 0)
        return true;
    if (!reserve(bytes, (size_t)n))
        return false;
    bytes->size += (size_t)sterna_token_text(model, token, bytes->data + bytes->size, (size_t)n, special);
    return true;
}

/* Value of two hexadecimal digits, or -1. */
static int hex_byte(const char *text)
{
    static const char digits[] = "0123456789abcdef0123456789ABCDEF";
    int value = 0;
    for (int i = 0; i < 2; i++) {
        const char *digit = text[i] ? strchr(digits, text[i]) : NULL;
        if (!digit)
            return -1;
        value = 16 * value + (int)(digit - digits) % 16;
    }
    return value;
}

char *st_text_unescape(const char *text, char why[128])
{
    static const char names[] = "ntr\\", bytes[] = "\n\t\r\\";
    char *plain = malloc(strlen(text) + 1), *to = plain;
    if (!plain) {
        snprintf(why, 128, "out of memory");
        return NULL;
    }
    while (*text) {
        const char *name = text[0] == '\\' && text[1] ? strchr(names, text[1]) : NULL;
        int byte = text[0] == '\\' && text[1] == 'x' ? hex_byte(text + 2) : -1;
        if (text[0] != '\\') {
            *to++ = *text++;
        } else if (name) {
            *to++ = bytes[name - names];
            text += 2;
        } else if (byte > 0) {
            *to++ = (char)byte;
            text += 4;
        } else {
            snprintf(why, 128, "%.4s is not one of the escapes \\n \\t \\r \\\\ \\x01 ... \\xff", text);
            free(plain);
            return NULL;
        }
    }
    *to = '\0';
    return plain;
}
