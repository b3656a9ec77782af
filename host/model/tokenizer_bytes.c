#include "host/model/tokenizer_parts.h"

/* 188 bytes are spelled as the Latin-1 character of the same number. The others, which print badly, are
 * spelled in ascending order as U+0100, U+0101 ...: 0x00-0x20, then 0x7f-0xa0, then 0xad. */
int st_byte_of_char(uint32_t code_point)
{
    if (code_point < 0x100) {
        bool moved = code_point <= 0x20 || (code_point >= 0x7f && code_point <= 0xa0) || code_point == 0xad;
        return moved ? -1 : (int)code_point;
    }
    uint32_t moved = code_point - 0x100;
    if (moved <= 0x20)
        return (int)moved;
    moved += 0x7f - 0x21;
    if (moved <= 0xa0)
        return (int)moved;
    return moved == 0xa1 ? 0xad : -1;
}

size_t st_utf8_char(const char *text, size_t size, uint32_t *code_point)
{
    static const uint32_t least[] = {0, 0, 0x80, 0x800, 0x10000}; /* by length: less is overlong */
    const unsigned char *at = (const unsigned char *)text;
    uint32_t value = at[0];
    size_t length = value < 0x80   ? 1
                    : value < 0xc0 ? 0
                    : value < 0xe0 ? 2
                    : value < 0xf0 ? 3
                    : value < 0xf8 ? 4
                                   : 0;
    if (length == 0 || length > size)
        return 0;
    if (length > 1)
        value &= 0x7fu >> length;
    for (size_t i = 1; i < length; i++) {
        if ((at[i] & 0xc0) != 0x80)
            return 0;
        value = value << 6 | (at[i] & 0x3fu);
    }
    if (value < least[length] || (value >= 0xd800 && value < 0xe000) || value > 0x10ffff)
        return 0;
    if (code_point)
        *code_point = value;
    return length;
}

bool st_bytes_unspell(const char *text, size_t size, char *bytes, size_t *n_byte)
{
    size_t n = 0;
    for (size_t at = 0; at < size;) {
        uint32_t code_point;
        size_t length = st_utf8_char(text + at, size - at, &code_point);
        int byte = length ? st_byte_of_char(code_point) : -1;
        if (byte < 0)
            return false;
        bytes[n++] = (char)byte;
        at += length;
    }
    *n_byte = n;
    return true;
}
