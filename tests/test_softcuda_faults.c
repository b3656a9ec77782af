// The software CUDA driver has to see planted faults, and nothing in the same code without them.
#include <criterion/criterion.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#ifdef SOFTCUDA_LIBRARY

#include "tests/support/softcuda/driver.h"

enum error {
    NOTHING = 0,
    INVALID_VALUE = 1,
    NOT_READY = 600,
    ILLEGAL_ADDRESS = 700,
    MISALIGNED = 716,
    LAUNCH_FAILED = 719
};

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
#define PLANTED_MEETING(name)                                                                                \
    Test(softcuda_meeting, name)                                                                             \
    {                                                                                                        \
        planted("meeting", #name, 1, LAUNCH_FAILED);                                                         \
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
PLANTED(tail_one_too_long, ILLEGAL_ADDRESS)
PLANTED(misaligned_load, MISALIGNED)
PLANTED(misaligned_copy, MISALIGNED)
PLANTED(shuffle_from_an_absent_lane, LAUNCH_FAILED)
PLANTED(group_waited_for_too_early, LAUNCH_FAILED)
PLANTED(producer_forgets_to_arrive, LAUNCH_FAILED)
PLANTED(producer_arrives_too_early, LAUNCH_FAILED)
PLANTED(barrier_of_two_counts, LAUNCH_FAILED)
PLANTED(counts_at_a_barrier, LAUNCH_FAILED)
PLANTED(counter_read_too_early, LAUNCH_FAILED)
PLANTED_BETWEEN(two_blocks_write)
PLANTED_BETWEEN(reads_what_others_write)
PLANTED_BETWEEN(within_a_block)
PLANTED_BETWEEN(neighbours_bytes)
PLANTED_BETWEEN(plain_read_of_a_counter)
PLANTED_BETWEEN(missing_release)
PLANTED_BETWEEN(missing_acquire)
PLANTED_BETWEEN(fence_of_one_thread)
PLANTED_BETWEEN(fence_of_the_block)
PLANTED_BETWEEN(plain_message)
PLANTED_BETWEEN(relayed_message)
PLANTED_BETWEEN(own_stores)
PLANTED_BETWEEN(word_between_others)
PLANTED_MEETING(lane_exits_before_the_shuffle)
PLANTED_MEETING(lane_waits_for_the_block)
PLANTED_MEETING(lanes_wait_for_each_other)
PLANTED_MEETING(masks_that_differ)
PLANTED_MEETING(lane_is_not_in_its_mask)
PLANTED_MEETING(barrier_with_a_lane_missing)
PLANTED_MEETING(matrix_with_a_lane_missing)
PLANTED_MEETING(rows_with_a_lane_missing)
PLANTED_MEETING(lanes_have_exited)
PLANTED_MEETING(matches_any)
PLANTED_MEETING(matches_all)

// Lanes of the same warp whose numbers are the same after a division by 5.
static int matching(int thread)
{
    int lanes = 0;
    for (int lane = 0; lane < 32; lane++)
        if (((thread & ~31) + lane) / 5 == thread / 5)
            lanes |= (int)(1u << lane);
    return lanes;
}

// Without its fault each of them gives the values that lanes in lock step would get.
Test(softcuda_meeting, values)
{
    static const char *const names[] = {"lanes_have_exited",
                                        "lane_exits_before_the_shuffle",
                                        "lane_waits_for_the_block",
                                        "matches_any",
                                        "lanes_wait_for_each_other",
                                        "masks_that_differ",
                                        "matches_all",
                                        "lane_is_not_in_its_mask",
                                        "barrier_with_a_lane_missing",
                                        "rows_with_a_lane_missing",
                                        "matrix_with_a_lane_missing"};
    enum { KERNELS = sizeof names / sizeof names[0], THREADS = 64 };
    for (int check = 0; check < 2; check++) {
        setenv("SOFTCUDA_CHECK", check ? "1" : "0", 1);
        open_driver();
        uint64_t out = device_array(NULL, THREADS * 4);
        int fault = 0, result[THREADS];
        void *arguments[] = {&out, &fault};
        for (int k = 0; k < KERNELS; k++) {
            cr_assert_eq(
                cu.launch(kernel("meeting", names[k]), 1, 1, 1, THREADS, 1, 1, 0, NULL, arguments, NULL), 0);
            cr_assert_eq(cu.download(result, out, sizeof result), 0);
            for (int i = 0; i < THREADS; i++) {
                const int warp = i & ~31, half = i & ~15;
                const int left = warp ? 10000 + 3200 + 35 : i < 20 ? 10000 + 2000 + 3 : 0;
                const int expected[KERNELS] = {
                    left,         i ^ 5, (int)~0x3ffu,  matching(i),       32 * warp + 496, 16 * half + 120,
                    warp ? 0 : 2, !warp, (i ^ 1) + 100, warp + i % 32 / 4, 16 + i};
                cr_expect_eq(result[i], expected[k], "%s, check %d, thread %d: %d, not %d", names[k], check,
                             i, result[i], expected[k]);
            }
        }
    }
}

// The report names the lanes that wait, not the last ones that ran.
static handle stuck_kernel;
static void launch_stuck_kernel(void)
{
    uint64_t out = device_array(NULL, 64 * 4);
    int fault = 1;
    void *arguments[] = {&out, &fault};
    cr_expect_eq(cu.launch(stuck_kernel, 1, 1, 1, 64, 1, 1, 0, NULL, arguments, NULL), LAUNCH_FAILED);
}

Test(softcuda_meeting, report)
{
    char text[500];
    open_driver();
    stuck_kernel = kernel("meeting", "lane_waits_for_the_block");
    capture_stderr(launch_stuck_kernel, text, sizeof text);
    // all but lane 7
    cr_expect(strstr(text, "the mask names lanes 4294967295, here are lanes 4294967167") &&
                  strstr(text, "vote.sync"),
              "'%s'", text);
}

Test(softcuda_faults, predicates_at_a_barrier)
{
    open_driver();
    int result[96], fault = 0;
    uint64_t out = device_array(NULL, sizeof result);
    void *arguments[] = {&out, &fault};
    cr_assert_eq(
        cu.launch(kernel("faults", "counts_at_a_barrier"), 1, 1, 1, 96, 1, 1, 0, NULL, arguments, NULL), 0);
    cr_assert_eq(cu.download(result, out, sizeof result), 0);
    for (int i = 0; i < 96; i++)
        cr_expect_eq(result[i], 32 + 1000, "thread %d: %d", i, result[i]);
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

// ---- streams: wrong only in an order that a card may choose

enum { ROUNDS = 300 };
enum sync { NO_SYNC, WAITS_FOR_THE_EVENT, WAITS_FOR_THE_DEFAULT_STREAM };

// One stream fills an array, another one copies it; the number of rounds in which the copy is not the fill.
static int wrong_copies(const char *mode, enum sync sync)
{
    enum { N = 64 };
    setenv("SOFTCUDA_STREAMS", mode, 1);
    handle f = kernel("faults", "slow_fill"), streams[2], event;
    const bool blocking = sync == WAITS_FOR_THE_DEFAULT_STREAM;
    cr_assert_eq(cu.stream(&streams[0], !blocking), 0);
    cr_assert_eq(cu.stream(&streams[1], 1), 0);
    cr_assert_eq(cu.event(&event, 0), 0);
    uint64_t array = device_array(NULL, N * 4);
    int wrong = 0;
    for (int round = 1; round <= ROUNDS; round++) {
        int n = N, copy[N];
        void *arguments[] = {&array, &n, &round};
        cr_assert_eq(cu.launch(f, 1, 1, 1, 32, 1, 1, 0, streams[0], arguments, NULL), 0);
        cr_assert_eq(cu.record(event, streams[0]), 0);
        if (sync == WAITS_FOR_THE_EVENT)
            cr_assert_eq(cu.wait(streams[1], event, 0), 0);
        handle copying = blocking ? NULL : streams[1];
        cr_assert_eq(cu.download_async(copy, array, sizeof copy, copying), 0);
        cr_assert_eq(cu.stream_synchronize(copying), 0);
        wrong += copy[0] != round || copy[N - 1] != round;
        cr_assert_eq(cu.synchronize(), 0);
    }
    return wrong;
}

Test(softcuda_streams, without_the_event)
{
    open_driver();
    cr_expect_eq(wrong_copies("eager", NO_SYNC), 0, "eager streams hide it");
    cr_expect_gt(wrong_copies("lazy", NO_SYNC), 0);
    int wrong = wrong_copies("random", NO_SYNC);
    cr_expect(wrong > 0 && wrong < ROUNDS, "%d of %d", wrong, ROUNDS);
}

Test(softcuda_streams, with_the_event)
{
    open_driver();
    cr_expect_eq(wrong_copies("lazy", WAITS_FOR_THE_EVENT), 0);
    cr_expect_eq(wrong_copies("random", WAITS_FOR_THE_EVENT), 0);
    cr_expect_eq(wrong_copies("lazy", WAITS_FOR_THE_DEFAULT_STREAM), 0);
    cr_expect_eq(wrong_copies("random", WAITS_FOR_THE_DEFAULT_STREAM), 0);
}

Test(softcuda_streams, default_stream_does_not_wait_for_others)
{
    setenv("SOFTCUDA_STREAMS", "lazy", 1);
    open_driver();
    int before = 1, after = 2, n = 1, seen;
    uint64_t p = device_array(&before, 4);
    void *arguments[] = {&p, &n, &after};
    for (unsigned not_blocking = 0; not_blocking < 2; not_blocking++) {
        handle stream;
        cr_assert_eq(cu.upload(p, &before, 4), 0);
        cr_assert_eq(cu.stream(&stream, not_blocking), 0);
        cr_assert_eq(cu.launch(kernel("faults", "slow_fill"), 1, 1, 1, 32, 1, 1, 0, stream, arguments, NULL),
                     0);
        cr_assert_eq(cu.download(&seen, p, 4), 0);
        cr_expect_eq(seen, not_blocking ? before : after);
        cr_assert_eq(cu.synchronize(), 0);
    }
}

// The host writes over what a copy has not read yet.
Test(softcuda_streams, source_overwritten_before_its_copy)
{
    open_driver();
    for (int late = 0; late < 2; late++) {
        setenv("SOFTCUDA_STREAMS", late ? "lazy" : "eager", 1);
        int source = 1, seen;
        uint64_t p = device_array(NULL, 4);
        cr_assert_eq(cu.upload_async(p, &source, 4, NULL), 0);
        source = 2;
        cr_assert_eq(cu.download(&seen, p, 4), 0);
        cr_expect_eq(seen, late ? 2 : 1);
    }
}

Test(softcuda_streams, polling_ends)
{
    setenv("SOFTCUDA_STREAMS", "lazy", 1);
    open_driver();
    handle event;
    int value = 0, source = 3;
    uint64_t p = device_array(&source, 4);
    cr_assert_eq(cu.event(&event, 0), 0);
    cr_assert_eq(cu.download_async(&value, p, 4, NULL), 0);
    cr_assert_eq(cu.record(event, NULL), 0);
    int polls = 0;
    while (cu.query(event) == NOT_READY)
        polls++;
    cr_expect_gt(polls, 0);
    cr_expect_eq(value, source);
}

// ---- memory and graphs

static handle graph_of_copy(uint64_t to, const void *from, handle stream)
{
    handle graph, exec;
    cr_assert_eq(cu.begin(stream, 0), 0);
    cr_assert_eq(cu.upload_async(to, from, 4, stream), 0);
    cr_assert_eq(cu.end(stream, &graph), 0);
    cr_assert_eq(cu.instantiate(&exec, graph, 0), 0);
    return exec;
}

Test(softcuda_memory, graph_copies_read_host_memory_at_replay)
{
    open_driver();
    int source = 1, seen;
    handle stream;
    cr_assert_eq(cu.stream(&stream, 1), 0);
    uint64_t p = device_array(NULL, 4);
    handle exec = graph_of_copy(p, &source, stream);
    for (source = 5; source < 8; source++) {
        cr_assert_eq(cu.replay(exec, stream), 0);
        cr_assert_eq(cu.stream_synchronize(stream), 0);
        cr_assert_eq(cu.download(&seen, p, 4), 0);
        cr_expect_eq(seen, source);
    }
}

static handle stale_graph, stale_stream;
static void replay_stale_graph(void)
{
    cr_expect_eq(cu.replay(stale_graph, stale_stream), INVALID_VALUE);
}

Test(softcuda_memory, graph_with_a_stale_pointer)
{
    open_driver();
    int source = 1;
    char text[500];
    cr_assert_eq(cu.stream(&stale_stream, 1), 0);
    uint64_t p = device_array(NULL, 4);
    stale_graph = graph_of_copy(p, &source, stale_stream);
    cr_assert_eq(cu.replay(stale_graph, stale_stream), 0);
    cr_assert_eq(cu.release_memory(p), 0);
    device_array(NULL, 4); // does not get the freed address
    capture_stderr(replay_stale_graph, text, sizeof text);
    cr_expect(strstr(text, "freed memory"), "'%s'", text);
}

Test(softcuda_memory, kernel_of_a_graph_with_a_stale_pointer)
{
    open_driver();
    handle stream, graph, exec;
    int n = 1, value = 1;
    uint64_t p = device_array(NULL, 4);
    void *arguments[] = {&p, &n, &value};
    cr_assert_eq(cu.stream(&stream, 1), 0);
    cr_assert_eq(cu.begin(stream, 0), 0);
    cr_assert_eq(cu.launch(kernel("faults", "slow_fill"), 1, 1, 1, 32, 1, 1, 0, stream, arguments, NULL), 0);
    cr_assert_eq(cu.end(stream, &graph), 0);
    cr_assert_eq(cu.instantiate(&exec, graph, 0), 0);
    cr_assert_eq(cu.replay(exec, stream), 0);
    cr_assert_eq(cu.release_memory(p), 0);
    cr_expect_eq(cu.replay(exec, stream), ILLEGAL_ADDRESS);
}

Test(softcuda_memory, freed_twice)
{
    open_driver();
    uint64_t p = device_array(NULL, 4);
    cr_expect_eq(cu.release_memory(p), 0);
    cr_expect_eq(cu.release_memory(p), INVALID_VALUE);
}

static void release_context(void)
{
    cr_assert_eq(cu.release(0), 0);
}

Test(softcuda_memory, leak_at_the_end_of_the_context)
{
    char text[500];
    setenv("SOFTCUDA_CHECK", "1", 1);
    for (int leaks = 0; leaks < 2; leaks++) {
        open_driver();
        uint64_t p = device_array(NULL, 400);
        if (!leaks)
            cr_assert_eq(cu.release_memory(p), 0);
        capture_stderr(release_context, text, sizeof text);
        cr_expect_eq(strstr(text, "leak: 1 allocation") != NULL, leaks, "'%s'", text);
    }
}

#else

Test(softcuda_faults, not_built)
{
    cr_skip_test("softcuda: no nvcc or no libzstd-dev");
}

#endif
