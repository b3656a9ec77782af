/* What SPIR-V modules promise about floats beyond what GLSL can say.
 *
 * Without these a driver may flush subnormals (RADV does), round otherwise, or take NaN for impossible. A
 * device that has a control must be asked for it; a module that asks for what a device lacks is invalid. So
 * the modules in the library ask for nothing, and get what a device has when it is opened. */
#ifndef ST_VULKAN_SPIRV_H
#define ST_VULKAN_SPIRV_H

#include <stddef.h>
#include <stdint.h>

enum {
    ST_VULKAN_DENORM_PRESERVE = 1, /* shaderDenormPreserveFloat32 */
    ST_VULKAN_ROUND_EVEN = 2,      /* shaderRoundingModeRTEFloat32 */
    ST_VULKAN_NAN_PRESERVE = 4     /* shaderSignedZeroInfNanPreserveFloat32 */
};

/* Most words that st_vulkan_spirv_controls adds. */
#define ST_VULKAN_CONTROL_WORDS 25

/* Copies a module of `count` words with one entry point, and the controls added, to `to`, which has room for
 * count + ST_VULKAN_CONTROL_WORDS; returns its words. */
size_t st_vulkan_spirv_controls(const uint32_t *from, size_t count, unsigned controls, uint32_t *to);

#endif
