/* Random contents of an op's operands. Speed hardly depends on them, but all-equal ones would save power. */
#ifndef ST_OPS_FILL_H
#define ST_OPS_FILL_H

#include "host/backend/backend.h"

/* The matrix's memory: data, then scales. Release `data` and `scale` with st_free. */
sterna_status st_fill_matrix(st_type type, int32_t group, int32_t n, int32_t k, st_matrix *matrix,
                             sterna_error *error);
/* A new buffer of n f32 from -1 to 1. */
sterna_status st_fill_reals(st_device *dev, int64_t n, st_buf **buf, sterna_error *error);
/* A new buffer of quantised rows, with sums. */
sterna_status st_fill_quant(st_device *dev, st_qact *quant, sterna_error *error);
sterna_status st_fill_integers(st_device *dev, const int32_t *values, int64_t n, st_buf **buf,
                               sterna_error *error);

#endif
