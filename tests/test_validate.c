#include "host/cpu/cpu.h"
#include "host/validate/validate.h"
#include "tests/support/fault_backend.h"

#include <criterion/criterion.h>
#include <stdio.h>
#include <string.h>

static void print_row(const st_validate_row *r)
{
    printf("%-14s %-12s %5lld cases, %lld not applicable, %lld misses\n", st_op_name(r->op), r->variant,
           (long long)r->n_case, (long long)r->n_not_applicable, (long long)r->n_miss);
    if (r->n_miss)
        printf("    worst %llu: %s\n    %s\n    %s\n", (unsigned long long)r->worst, r->where, r->parameters,
               r->repeat);
}

/* The thread sanitizer sees nothing with one thread, and is slow: a sixth of the cases, with several. */
#if defined(__SANITIZE_THREAD__)
enum { SAMPLE = 6, SHARE = 1, LEAST_THREADS = 2, MOST_THREADS = 3 };
#else
enum { SAMPLE = 1, SHARE = 6, LEAST_THREADS = 1, MOST_THREADS = 3 };
#endif

Test(validate, cpu_equals_reference)
{
    st_validate_options o;
    st_validate_defaults(&o);
    o.sample = SAMPLE;
    o.share = SHARE;
    o.n_thread_count = MOST_THREADS - LEAST_THREADS + 1;
    for (int i = 0; i < o.n_thread_count; i++)
        o.thread_count[i] = LEAST_THREADS + i;
    static st_validate_result result;
    sterna_error error;
    cr_assert_eq(st_validate(&o, &result, &error), STERNA_OK, "%s", error.message);
    bool seen[ST_OP_COUNT] = {false};
    for (int i = 0; i < result.n_row; i++) {
        print_row(&result.row[i]);
        seen[result.row[i].op] = true;
        cr_expect_gt(result.row[i].n_case, 50 / SAMPLE);
        cr_expect_eq(result.row[i].n_miss, 0);
    }
    for (int op = 0; op < ST_OP_COUNT; op++)
        cr_expect(seen[op], "%s has no variant", st_op_name((st_op)op));
    cr_assert_gt(result.n_case, 3000 / SAMPLE);
    cr_assert_eq(result.n_miss, 0);
}

#if !defined(__SANITIZE_THREAD__) /* one thread: nothing to see there, in most of the suite's time */
/* At least `percent` of an op's cases must notice the fault. */
static void expect_noticed(st_op op, fault_kind kind, int percent, const char *where)
{
    st_validate_options o;
    st_validate_defaults(&o);
    o.backend = fault_backend(op, kind);
    o.op = st_op_name(op);
    o.thread_count[0] = 1;
    static st_validate_result result;
    sterna_error error;
    cr_assert_eq(st_validate(&o, &result, &error), STERNA_OK, "%s", error.message);
    cr_assert_gt(result.n_case, 100);
    cr_expect_geq(result.n_miss * 100, result.n_case * percent, "%s, fault %d: %lld of %lld cases noticed it",
                  st_op_name(op), kind, (long long)result.n_miss, (long long)result.n_case);
    for (int i = 0; i < result.n_row; i++) {
        cr_expect(strstr(result.row[i].where, where), "%s: %s", st_op_name(op), result.row[i].where);
        cr_expect(strstr(result.row[i].repeat, result.row[i].variant), "%s", result.row[i].repeat);
    }
}

Test(validate, sees_the_last_bit_of_a_result)
{
    for (int op = 0; op < ST_OP_COUNT; op++)
        expect_noticed((st_op)op, FAULT_RESULT, 100, "row");
}

/* Keys show only through the weights of a softmax: not where a row sees a single key. */
Test(validate, sees_the_last_bit_of_a_stored_key)
{
    expect_noticed(ST_OP_ROPE_STORE, FAULT_KEY, 70, "attend dst");
}

Test(validate, sees_a_changed_input)
{
    for (int op = 0; op < ST_OP_COUNT; op++)
        if (op != ST_OP_ROPE_STORE) /* without a rotation it has no other input */
            expect_noticed((st_op)op, FAULT_INPUT, 100, "");
}

Test(validate, sees_a_write_past_the_end)
{
    for (int op = 0; op < ST_OP_COUNT; op++)
        expect_noticed((st_op)op, FAULT_GUARD, 100, "");
}

#endif

Test(validate, refuses_what_makes_no_sense)
{
    static const struct {
        const char *op, *variant;
        int32_t shape[3];
        const char *message;
    } wrong[] = {{"linera", NULL, {0}, "there is no op 'linera'"},
                 {"linear", "sse", {0}, "device cpu has no variant 'sse' of linear"},
                 {NULL, NULL, {1, 2, 3}, "a shape needs an op, since each has its own dimensions"},
                 {"attend", NULL, {1, 4, 600}, "shape 1x4x600: attend has at most 1024 heads of 2 ... 512"},
                 {"topk", NULL, {1, 4, 5}, "shape 1x4x5: topk returns at most 256 of the 4 tokens"}};
    for (size_t i = 0; i < sizeof wrong / sizeof wrong[0]; i++) {
        st_validate_options o;
        st_validate_defaults(&o);
        o.op = wrong[i].op;
        o.variant = wrong[i].variant;
        memcpy(o.shape, wrong[i].shape, sizeof o.shape);
        static st_validate_result result;
        sterna_error error = {STERNA_OK, ""};
        cr_expect_eq(st_validate(&o, &result, &error), STERNA_E_ARGUMENT);
        cr_expect_str_eq(error.message, wrong[i].message);
    }
}

Test(validate, shape_and_seed_repeat_a_case)
{
    static st_validate_result result;
    st_validate_options o;
    st_validate_defaults(&o);
    o.backend = fault_backend(ST_OP_LINEAR, FAULT_RESULT);
    o.op = "linear";
    o.variant = "portable";
    o.thread_count[0] = 1;
    sterna_error error;
    cr_assert_eq(st_validate(&o, &result, &error), STERNA_OK);
    cr_assert_eq(result.n_row, 1);
    char where[sizeof result.row[0].where];
    strcpy(where, result.row[0].where);
    const char *shape = strstr(result.row[0].repeat, "--shape ");
    cr_assert(shape && sscanf(shape, "--shape %dx%dx%d", &o.shape[0], &o.shape[1], &o.shape[2]) == 3);
    cr_assert_eq(st_validate(&o, &result, &error), STERNA_OK);
    cr_expect_str_eq(result.row[0].where, where);
}

/* The CPU, whose linears are counted. */
static st_backend counting;
static int64_t n_asked, n_ran;

static sterna_status open_counting(int index, const st_device_params *params, st_device **dev,
                                   sterna_error *error)
{
    sterna_status status = st_backend_cpu.open(index, params, dev, error);
    if (status == STERNA_OK)
        (*dev)->backend = &counting;
    return status;
}

static void counted_linear(st_device *dev, const st_linear_args *args)
{
    st_backend_cpu.linear(dev, args);
    n_asked++;
    n_ran += st_backend_cpu.trace(dev, NULL, 0); /* of this step, which has no other op */
}

/* Nothing stands in for a variant that does not take a case: neither its time is spent nor is it counted. */
Test(validate, what_a_variant_does_not_take_is_not_run)
{
    static st_validate_result result;
    st_validate_options o;
    st_validate_defaults(&o);
    counting = st_backend_cpu;
    counting.open = open_counting;
    counting.linear = counted_linear;
    o.backend = &counting;
    o.op = "linear";
    o.sample = 8;
    o.thread_count[0] = 1;
    sterna_error error;
    cr_assert_eq(st_validate(&o, &result, &error), STERNA_OK, "%s", error.message);
    cr_expect_eq(n_ran, result.n_case, "%lld cases, %lld runs", (long long)result.n_case, (long long)n_ran);
    cr_expect_eq(n_asked - n_ran, result.n_not_applicable);
    cr_expect(result.n_row == 1 || result.n_not_applicable > 0);
}
