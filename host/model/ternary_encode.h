/* Canonical ternary weights -> file encodings: the counterpart of ternary.h, for converters and tests. */
#ifndef ST_TERNARY_ENCODE_H
#define ST_TERNARY_ENCODE_H

#include "host/model/gguf_types.h"

/* Weights to be encoded, one code to a byte. */
typedef struct st_codes {
    const uint8_t *code; /* [rows][cols] 0, 1, 2; TQ2_0 also 3 */
    int32_t rows, cols;
    int32_t group;      /* columns per scale: 0 = whole row, else 256 */
    const float *scale; /* [rows][group ? ceil(cols / group) : 1] */
} st_codes;

/* Encodes as TQ1_0, TQ2_0 (f16 scales, rounded) or I2_S (one f32 scale for the tensor, x86 order) into `dst`
 * of exactly st_encoding_bytes(). Refuses what the encoding cannot express: other columns, codes or scales;
 * `name` stands in messages. */
sterna_status st_ternary_encode(st_encoding encoding, const st_codes *codes, unsigned char *dst,
                                const char *name, sterna_error *error);

/* f32 -> codes and scale as ggml's TQ quantiser does: scale = max |x|, code = round(x / scale) + 1. Exact for
 * values that are already -s, 0 or s. Returns the scale. */
float st_ternarise(const float *x, int32_t n, uint8_t *code);

/* f32 -> Q8_0: per 32 values an f16 scale max |x| / 127 and int8 codes; n % 32 == 0. `dst` has n / 32 * 34
 * bytes. */
void st_q8_0_encode(const float *x, int64_t n, unsigned char *dst);

#endif
