/* The shaders' words, as the build compiled them. */
#include "vulkan/shaders.h"

static const uint32_t embed[] = {
#include <embed.spv.inc>
};
static const uint32_t norm[] = {
#include <norm.spv.inc>
};
static const uint32_t norm_quant[] = {
#include <norm_quant.spv.inc>
};
static const uint32_t glu_norm_quant[] = {
#include <glu_norm_quant.spv.inc>
};
static const uint32_t rope_store[] = {
#include <rope_store.spv.inc>
};
static const uint32_t attend[] = {
#include <attend.spv.inc>
};
static const uint32_t topk[] = {
#include <topk.spv.inc>
};
static const uint32_t linear_float[] = {
#include <linear_float.spv.inc>
};
static const uint32_t linear_gemv[] = {
#include <linear_gemv.spv.inc>
};
static const uint32_t linear_gemv_dot[] = {
#include <linear_gemv_dot.spv.inc>
};
static const uint32_t linear_tile[] = {
#include <linear_tile.spv.inc>
};
static const uint32_t linear_tile_dot[] = {
#include <linear_tile_dot.spv.inc>
};
/* Written by a newer compiler than distributions have; the source stands beside it. */
static const uint32_t linear_coopmat[] = {
#include "vulkan/shaders/linear_coopmat.spv.inc"
};

const st_vulkan_code st_vulkan_codes[ST_VULKAN_N_SHADER] = {
#define CODE(symbol) {#symbol, symbol, sizeof symbol},
    ST_VULKAN_SHADERS(CODE)
#undef CODE
};
