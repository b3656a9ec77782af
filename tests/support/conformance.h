/* The conformance suite (host/validate) inside a test. Ends the test if it cannot run; expects no misses. */
#ifndef STERNA_TEST_CONFORMANCE_H
#define STERNA_TEST_CONFORMANCE_H

#include "host/validate/validate.h"

#include <criterion/criterion.h>

/* One in `sample` combinations of an op's parameters at the shape m x n x k (see validate.h; 0, 0, 0: at
 * those of the suite), for a variant, or NULL for all. At least `least` cases must have run. */
static inline void conformance_run(const char *device, const char *op, const char *variant, int32_t m,
                                   int32_t n, int32_t k, int sample, int64_t least)
{
    static st_validate_result result;
    st_validate_options o;
    sterna_error error;
    st_validate_defaults(&o);
    o.device = device;
    o.op = op;
    o.variant = variant;
    o.sample = sample;
    o.shape[0] = m;
    o.shape[1] = n;
    o.shape[2] = k;
    cr_assert_eq(st_validate(&o, &result, &error), STERNA_OK, "%s", error.message);
    for (int i = 0; i < result.n_row; i++) {
        const st_validate_row *row = &result.row[i];
        cr_expect_eq(row->n_miss, 0, "%s %s: %lld misses\n%s\n%s\n%s", st_op_name(row->op), row->variant,
                     (long long)row->n_miss, row->where, row->parameters, row->repeat);
        cr_expect_gt(row->n_case, 0, "%s %s was not run", st_op_name(row->op), row->variant);
    }
    cr_expect_geq(result.n_case, least, "%s: %lld cases", op, (long long)result.n_case);
}

#endif
