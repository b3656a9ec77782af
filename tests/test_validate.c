#include "host/validate/validate.h"

#include <criterion/criterion.h>
#include <stdio.h>

static void print_row(const st_validate_row *r)
{
    printf("%-14s %-12s %5lld cases, %lld not applicable, %lld misses\n", st_op_name(r->op), r->variant,
           (long long)r->n_case, (long long)r->n_not_applicable, (long long)r->n_miss);
    if (r->n_miss)
        printf("    worst %llu: %s\n    %s\n    %s\n", (unsigned long long)r->worst, r->where, r->parameters,
               r->repeat);
}

Test(validate, cpu_equals_reference)
{
    st_validate_options o;
    st_validate_defaults(&o);
    o.n_thread_count = 3;
    for (int i = 0; i < 3; i++)
        o.thread_count[i] = i + 1;
    static st_validate_result result;
    sterna_error error;
    cr_assert_eq(st_validate(&o, &result, &error), STERNA_OK, "%s", error.message);
    bool seen[ST_OP_COUNT] = {false};
    for (int i = 0; i < result.n_row; i++) {
        print_row(&result.row[i]);
        seen[result.row[i].op] = true;
        cr_expect_gt(result.row[i].n_case, 0);
        cr_expect_eq(result.row[i].n_miss, 0);
    }
    for (int op = 0; op < ST_OP_COUNT; op++)
        cr_expect(seen[op], "%s has no variant", st_op_name((st_op)op));
    cr_assert_gt(result.n_case, 3000);
    cr_assert_eq(result.n_miss, 0);
}
