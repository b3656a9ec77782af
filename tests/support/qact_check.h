/* Judges one quantised row against the doubles it should stand for. */
#ifndef TEST_QACT_CHECK_H
#define TEST_QACT_CHECK_H

#include "host/backend/backend.h"

/* NULL if row `row` of the planes is what the quantiser makes of x, double [cols], give or take `slack` (the
 * relative error of the f32 operations before it); else what is wrong. Codes may be off by one only where x
 * is within `slack` of a tie. Planes that no row of the layout owns are not looked at. */
const char *qact_wrong(const st_qact *q, const unsigned char *planes, int32_t row, const double *x,
                       double slack);
/* True if a row of all planes still holds the NaN pattern of case_output. */
bool qact_untouched(const st_qact *q, const unsigned char *planes, int32_t row);

#endif
