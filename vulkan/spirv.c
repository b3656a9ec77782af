#include "vulkan/spirv.h"

#include <string.h>

enum { HEADER = 5, EXTENSION = 10, ENTRY_POINT = 15, EXECUTION_MODE = 16, CAPABILITY = 17, BITS = 32 };

static const struct {
    unsigned control;
    uint32_t capability, mode;
} controls_of[] = {{ST_VULKAN_DENORM_PRESERVE, 4464, 4459},
                   {ST_VULKAN_ROUND_EVEN, 4467, 4462},
                   {ST_VULKAN_NAN_PRESERVE, 4466, 4461}};
enum { N_CONTROL = sizeof controls_of / sizeof controls_of[0] };

/* OpExtension "SPV_KHR_float_controls", which ends in a word of zeros. */
static size_t add_extension(uint32_t *to)
{
    static const char name[] = "SPV_KHR_float_controls";
    enum { WORDS = sizeof name / 4 + 1 };
    uint32_t text[WORDS] = {0};
    for (size_t i = 0; i < sizeof name; i++)
        text[i / 4] |= (uint32_t)(unsigned char)name[i] << 8 * (i % 4);
    to[0] = (WORDS + 1u) << 16 | EXTENSION;
    memcpy(to + 1, text, sizeof text);
    return WORDS + 1;
}

/* Capabilities come first in a module, extensions after all of them, execution modes after the entry point.
 */
size_t st_vulkan_spirv_controls(const uint32_t *from, size_t count, unsigned controls, uint32_t *to)
{
    size_t n = HEADER;
    memcpy(to, from, HEADER * sizeof *to);
    for (int i = 0; i < N_CONTROL; i++)
        if (controls & controls_of[i].control) {
            to[n++] = 2u << 16 | CAPABILITY;
            to[n++] = controls_of[i].capability;
        }
    int extended = controls == 0;
    for (size_t at = HEADER; at < count;) {
        uint32_t size = from[at] >> 16, opcode = from[at] & 0xffff;
        if (!extended && opcode != CAPABILITY) {
            n += add_extension(to + n);
            extended = 1;
        }
        memcpy(to + n, from + at, size * sizeof *to);
        n += size;
        for (int i = 0; opcode == ENTRY_POINT && i < N_CONTROL; i++)
            if (controls & controls_of[i].control) {
                const uint32_t mode[] = {4u << 16 | EXECUTION_MODE, from[at + 2], controls_of[i].mode, BITS};
                memcpy(to + n, mode, sizeof mode);
                n += 4;
            }
        at += size;
    }
    return n;
}
