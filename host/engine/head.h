/* The head as int8: a copy of its rows that is read with int8 activations. */
#ifndef ST_HEAD_H
#define ST_HEAD_H

#include "host/model/model.h"

/* A dense or Q8 matrix -> Q8 with one scale per row, the same on every device: row n becomes what st_quantise
 * makes of its values, as f32, in one group of all columns. So a = max(largest magnitude, 1e-5), code = value
 * * (127 / a) rounded to the nearest, ties to even, and scale = a / 127. `to` gets memory of its own, and the
 * bias and out_scale of `from`, which is left without its bias. A value that is not finite is
 * STERNA_E_FORMAT. */
sterna_status st_head_quantise(st_decoded *from, st_pool *pool, st_decoded *to, sterna_error *error);

#endif
