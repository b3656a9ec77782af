// The software CUDA driver has to see planted faults, and nothing in the same code without them.
#include <criterion/criterion.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>

#ifdef SOFTCUDA_LIBRARY

#include "tests/support/softcuda/driver.h"

enum error { NOTHING = 0, ILLEGAL_ADDRESS = 700, MISALIGNED = 716, LAUNCH_FAILED = 719 };

// The kernel's fault gives the error, which sticks; without the fault there is none.
static void planted(const char *image, const char *name, unsigned blocks, enum error error)
{
    setenv("SOFTCUDA_CHECK", "1", 1);
    open_driver();
    handle f = kernel(image, name);
    uint64_t out = device_array(NULL, 64 * 4 + (blocks - 1) * 66 * 4);
    for (int fault = 0; fault < 2; fault++) {
        void *arguments[] = {&out, &fault};
        cr_assert_eq(cu.fill(out, 0, 64 + (blocks - 1) * 66), 0);
        int got = cu.launch(f, blocks, 1, 1, 64, 1, 1, 0, NULL, arguments, NULL);
        cr_assert_eq(got, fault ? error : NOTHING, "%s, fault %d: error %d", name, fault, got);
        cr_assert_eq(cu.synchronize(), fault ? error : NOTHING, "the error does not stick");
    }
}
#define PLANTED(name, error)                                                                                 \
    Test(softcuda_faults, name)                                                                              \
    {                                                                                                        \
        planted("faults", #name, 1, error);                                                                  \
    }
#define PLANTED_BETWEEN(name)                                                                                \
    Test(softcuda_between, name)                                                                             \
    {                                                                                                        \
        planted("between", #name, 11, LAUNCH_FAILED);                                                        \
    }
PLANTED(missing_barrier, LAUNCH_FAILED)
PLANTED(overwrites_too_early, LAUNCH_FAILED)
PLANTED(beyond_the_end, ILLEGAL_ADDRESS)
PLANTED(beyond_shared, ILLEGAL_ADDRESS)
PLANTED(misaligned, MISALIGNED)
PLANTED(uninitialised, LAUNCH_FAILED)
PLANTED(unwaited_copy, LAUNCH_FAILED)
PLANTED(divergent_barrier, LAUNCH_FAILED)
PLANTED(wrong_mask, LAUNCH_FAILED)
PLANTED(missing_warp_barrier, LAUNCH_FAILED)
PLANTED_BETWEEN(two_blocks_write)
PLANTED_BETWEEN(reads_what_others_write)
PLANTED_BETWEEN(within_a_block)
PLANTED_BETWEEN(neighbours_bytes)
PLANTED_BETWEEN(plain_read_of_a_counter)
PLANTED_BETWEEN(missing_release)
PLANTED_BETWEEN(missing_acquire)
PLANTED_BETWEEN(fence_of_one_thread)
PLANTED_BETWEEN(fence_of_the_block)

enum { SEEDS = 12 };

static void set_seed(int seed)
{
    char text[16];
    snprintf(text, sizeof text, "%d", seed);
    setenv("SOFTCUDA_CHECK", "1", 1);
    setenv("SOFTCUDA_SEED", text, 1);
}

// Volatile accesses do not race, but without a fence they become visible in any order: some seed shows it.
Test(softcuda_between, volatile_message)
{
    open_driver();
    handle f = kernel("between", "volatile_message");
    int wrong[2] = {0, 0};
    for (int seed = 1; seed <= SEEDS; seed++)
        for (int fault = 0; fault < 2; fault++) {
            set_seed(seed);
            uint64_t out = device_array(NULL, 16);
            int result[4];
            void *arguments[] = {&out, &fault};
            cr_assert_eq(cu.launch(f, 2, 1, 1, 64, 1, 1, 0, NULL, arguments, NULL), 0);
            cr_assert_eq(cu.download(result, out, sizeof result), 0);
            wrong[fault] += result[1];
        }
    cr_expect_eq(wrong[0], 0);
    cr_expect_gt(wrong[1], 0);
}

Test(softcuda_between, last_arriver_adds_up)
{
    enum { BLOCKS = 23 };
    open_driver();
    handle f = kernel("between", "missing_release");
    for (int seed = 1; seed <= SEEDS; seed++) {
        set_seed(seed);
        uint64_t out = device_array(NULL, (BLOCKS * 64 + 2) * 4);
        int fault = 0, result[2];
        void *arguments[] = {&out, &fault};
        cr_assert_eq(cu.launch(f, BLOCKS, 1, 1, 64, 1, 1, 0, NULL, arguments, NULL), 0);
        cr_assert_eq(cu.download(result, out, sizeof result), 0);
        cr_expect_eq(result[1], 64 * BLOCKS * (BLOCKS - 1) / 2 + BLOCKS * 64 * 63 / 2, "seed %d: %d", seed,
                     result[1]);
    }
}

Test(softcuda_faults, too_many_threads_and_too_much_shared)
{
    open_driver();
    handle f = kernel("faults", "beyond_the_end");
    uint64_t out = device_array(NULL, 64 * 4);
    int fault = 0;
    void *arguments[] = {&out, &fault};
    cr_assert_eq(cu.launch(f, 1, 1, 1, 1025, 1, 1, 0, NULL, arguments, NULL), 1);
    cr_assert_eq(cu.launch(f, 1, 1, 1, 64, 1, 1, 48 * 1024 + 1, NULL, arguments, NULL), 1);
    cr_assert_eq(cu.launch(f, 1, 1, 1, 64, 1, 1, 48 * 1024, NULL, arguments, NULL), 0);
}

Test(softcuda_faults, host_reads_before_its_sync)
{
    setenv("SOFTCUDA_STREAMS", "lazy", 1);
    open_driver();
    int value = 5;
    uint64_t p = device_array(NULL, 4);
    cr_assert_eq(cu.download_async(&value, p, 4, NULL), 0);
    cr_assert_eq(value, 5, "a lazy copy must not have happened yet");
    cr_assert_eq(cu.synchronize(), 0);
    cr_assert_eq(value, 0);
}

Test(softcuda, graph_reads_memory_at_replay)
{
    open_driver();
    int value = 1, n = 1;
    handle stream, graph, exec;
    uint64_t da = device_array(&value, 4), dsum = device_array(NULL, 4);
    void *arguments[] = {&da, &dsum, &n};
    handle f = kernel("basic", "reduce");
    cr_assert_eq(cu.stream(&stream, 1), 0);
    cr_assert_eq(cu.begin(stream, 0), 0);
    cr_assert_eq(cu.launch(f, 1, 1, 1, 32, 1, 1, 0, stream, arguments, NULL), 0);
    cr_assert_eq(cu.end(stream, &graph), 0);
    cr_assert_eq(cu.instantiate(&exec, graph, 0), 0);
    int expected[] = {0, 3, 10};
    for (int i = 0, sum; i < 3; i++) {
        cr_assert_eq(cu.download(&sum, dsum, 4), 0);
        cr_assert_eq(sum, expected[i]);
        value = 3 + 4 * i;
        cr_assert_eq(cu.upload(da, &value, 4), 0);
        cr_assert_eq(cu.replay(exec, stream), 0);
    }
}

#else

Test(softcuda_faults, not_built)
{
    cr_skip_test("softcuda: no nvcc or no libzstd-dev");
}

#endif
