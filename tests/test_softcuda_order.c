// Threads that meet in memory, on the software CUDA driver: what one may see of another's stores, and when.
// Faults show in a report, in a wrong result under some seed where reports are off, or in both.
#include <criterion/criterion.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#ifdef SOFTCUDA_LIBRARY

#include "tests/support/softcuda/driver.h"

enum error { NOTHING = 0, LAUNCH_FAILED = 719, NOT_SUPPORTED = 801 };
enum check { WITH_REPORTS = 1, WITHOUT_REPORTS = 2 };
enum { SEEDS = 12 };

static void set_check(enum check check, int seed)
{
    char text[16];
    snprintf(text, sizeof text, "%d", check);
    setenv("SOFTCUDA_CHECK", text, 1);
    snprintf(text, sizeof text, "%d", seed);
    setenv("SOFTCUDA_SEED", text, 1);
}

// ---- blocks

// Runs blocks of 64 threads on zeros; out gets the first count ints.
static void run_blocks(handle f, unsigned blocks, int fault, int *out, unsigned count)
{
    const uint64_t bytes = (2 + 64 * (uint64_t)blocks) * 4;
    uint64_t array = device_array(NULL, bytes);
    void *arguments[] = {&array, &fault};
    cr_assert_eq(cu.launch(f, blocks, 1, 1, 64, 1, 1, 0, NULL, arguments, NULL), 0);
    cr_assert_eq(cu.download(out, array, count * 4), 0);
    cr_assert_eq(cu.release_memory(array), 0);
}

enum { BLOCKS = 23 };

// In how many seeds the int at this place of the result is not as expected; check: of the run with the fault.
static void wrong_in_some_seed(const char *name, enum check check, unsigned blocks, int place, int expected)
{
    open_driver();
    handle f = kernel("between", name);
    int wrong[2] = {0, 0};
    for (int seed = 1; seed <= SEEDS; seed++)
        for (int fault = 0; fault < 2; fault++) {
            int out[2];
            set_check(fault ? check : WITH_REPORTS, seed);
            run_blocks(f, blocks, fault, out, 2);
            wrong[fault] += out[place] != expected;
        }
    cr_expect_eq(wrong[0], 0, "%s: wrong without a fault in %d seeds", name, wrong[0]);
    cr_expect_gt(wrong[1], 0, "%s: the fault does not show in %d seeds", name, SEEDS);
}

// No race is in them: the accesses are volatile.
Test(softcuda_order, volatile_message)
{
    wrong_in_some_seed("volatile_message", WITH_REPORTS, 2, 1, 0);
}
Test(softcuda_order, whole_words)
{
    wrong_in_some_seed("whole_words", WITH_REPORTS, 2, 0, 0);
}

Test(softcuda_order, stores_again)
{
    wrong_in_some_seed("stores_again", WITH_REPORTS, 2, 1, 0);
}

Test(softcuda_order, plain_message)
{
    wrong_in_some_seed("plain_message", WITHOUT_REPORTS, 2, 1, 0);
}
Test(softcuda_order, relayed_message)
{
    wrong_in_some_seed("relayed_message", WITHOUT_REPORTS, 2, 1, 0);
}

Test(softcuda_order, word_between_others)
{
    wrong_in_some_seed("word_between_others", WITHOUT_REPORTS, 2, 1, 0);
}

// The last block to arrive adds up what all have written.
enum { SUM = 64 * BLOCKS * (BLOCKS - 1) / 2 + BLOCKS * 64 * 63 / 2 };
Test(softcuda_order, missing_release)
{
    wrong_in_some_seed("missing_release", WITHOUT_REPORTS, BLOCKS, 1, SUM);
}
Test(softcuda_order, fence_of_one_thread)
{
    wrong_in_some_seed("fence_of_one_thread", WITHOUT_REPORTS, BLOCKS, 1, SUM);
}
Test(softcuda_order, fence_of_the_block)
{
    wrong_in_some_seed("fence_of_the_block", WITHOUT_REPORTS, BLOCKS, 1, SUM);
}

Test(softcuda_order, own_stores)
{
    open_driver();
    handle f = kernel("between", "own_stores");
    for (int seed = 1; seed <= SEEDS; seed++) {
        int out[64 * BLOCKS];
        set_check(WITH_REPORTS, seed);
        run_blocks(f, BLOCKS, 0, out, 64 * BLOCKS);
        for (int i = 0; i < 64 * BLOCKS; i++) {
            int expected = 1;
            const int of[] = {i % 64, i % 64, (i % 64) ^ 33, (i % 64 + 1) % 64};
            for (int k = 0; k < 4; k++)
                expected += 3 * of[k] % 256 + 0x5500;
            cr_assert_eq(out[i], expected, "seed %d, int %d: %d, not %d", seed, i, out[i], expected);
        }
    }
}

// ---- warps of one block

// Of kernels/scopes.cu.
enum how { NO_RELEASE = 1, NO_ACQUIRE = 2, HOWS = 32 };

Test(softcuda_order, message_in_a_block)
{
    for (int how = 0; how < HOWS; how++)
        for (int seed = 1; seed <= 3; seed++) {
            set_check(WITH_REPORTS, seed);
            open_driver();
            int out[2];
            uint64_t array = device_array(NULL, 3 * 4);
            void *arguments[] = {&array, &how};
            const bool good = !(how & (NO_RELEASE | NO_ACQUIRE));
            cr_expect_eq(cu.launch(kernel("scopes", "message_in_a_block"), 1, 1, 1, 64, 1, 1, 0, NULL,
                                   arguments, NULL),
                         good ? NOTHING : LAUNCH_FAILED, "how %d, seed %d", how, seed);
            if (good) {
                cr_assert_eq(cu.download(out, array, sizeof out), 0);
                cr_expect_eq(out[1], 42, "how %d, seed %d: %d", how, seed, out[1]);
            }
            cr_assert_eq(cu.release(0), 0); // and the error with it
        }
}

// ---- launches that overlap the one in front of them

enum { THREADS = 64, MOST_BLOCKS = 23, INTS = 2 * THREADS * MOST_BLOCKS };
enum how_launched {
    IN_ORDER,
    OVERLAPPING,
    IN_A_GRAPH,
    WITH_AN_EVENT_BETWEEN,
    WITH_ONE_IN_A_GRAPH,
    HOWS_LAUNCHED
};

typedef struct scene {
    const char *kernels[3]; // of dependent_sm90.cu
    int early;              // what is wrong, if anything
    unsigned blocks;
    enum how_launched how;
} scene;

static int launch_all(const scene *s, uint64_t a, handle stream)
{
    handle event;
    void *arguments[] = {&a, (void *)(uintptr_t)&s->early};
    struct launch_attribute overlaps = {.id = PROGRAMMATIC_STREAM_SERIALIZATION, .value = s->how != IN_ORDER};
    cr_assert_eq(cu.event(&event, 0), 0);
    for (int k = 0, error; k < 3 && s->kernels[k]; k++) {
        struct launch_config config = {.grid = {s->blocks, 1, 1},
                                       .block = {THREADS, 1, 1},
                                       .stream = stream,
                                       .attributes = &overlaps,
                                       .attribute_count = k > 0};
        if (k && s->how >= WITH_AN_EVENT_BETWEEN && (error = cu.record(event, stream)) != 0)
            return error;
        error = cu.launch_with(&config, kernel("dependent_sm90", s->kernels[k]), arguments, NULL);
        if (error)
            return error;
    }
    return 0;
}

static int launch_in_graph(const scene *s, uint64_t a, handle stream)
{
    handle graph, exec;
    cr_assert_eq(cu.begin(stream, 0), 0);
    cr_assert_eq(launch_all(s, a, stream), 0);
    cr_assert_eq(cu.end(stream, &graph), 0);
    cr_assert_eq(cu.instantiate(&exec, graph, 0), 0);
    return cu.replay(exec, stream);
}

// The first error, or the two arrays: the first was 0, the second 7.
static int run_scene(const scene *s, enum check check, int seed, int *out)
{
    handle stream;
    const size_t half = s->blocks * THREADS;
    for (size_t i = 0; i < half; i++) {
        out[i] = 0;
        out[half + i] = 7;
    }
    set_check(check, seed);
    setenv("SOFTCUDA_ARCH", "90", 1);
    open_driver();
    cr_assert_eq(cu.stream(&stream, 1), 0);
    uint64_t a = device_array(out, half * 8);
    const bool in_graph = s->how == IN_A_GRAPH || s->how == WITH_ONE_IN_A_GRAPH;
    int error = (in_graph ? launch_in_graph : launch_all)(s, a, stream);
    error = error ? error : cu.stream_synchronize(stream);
    error = error ? error : cu.download(out, a, half * 8);
    cr_expect_eq(cu.release_memory(a), error);
    cr_assert_eq(cu.release(0), 0); // and the error with it
    return error;
}

// How many ints are not what they are with nothing overlapping.
static int wrong_ints(scene s, enum check check, int seed)
{
    static int expected[INTS], out[INTS];
    scene in_order = s;
    int wrong = 0;
    in_order.how = IN_ORDER;
    cr_assert_eq(run_scene(&in_order, WITH_REPORTS, seed, expected), 0);
    cr_assert_eq(run_scene(&s, check, seed, out), 0);
    for (unsigned i = 0; i < 2 * s.blocks * THREADS; i++)
        wrong += out[i] != expected[i];
    return wrong;
}

// early: a fault where the launches overlap, and right where an event lies between. Not early: right anyway.
// least: of the ints that are wrong with one block, whose launches always overlap as far as they may.
static void too_early(const char *first, const char *second, const char *third, int least)
{
    static int out[INTS];
    static const char *const modes[] = {"eager", "lazy", "random"};
    int wrong = 0; // with more blocks than run at once
    for (int seed = 1; seed <= SEEDS; seed++)
        for (int many = 0; many < 2; many++)
            for (enum how_launched how = OVERLAPPING; how < HOWS_LAUNCHED; how++) {
                scene s = {{first, second, third}, 0, many ? MOST_BLOCKS : 1, how};
                setenv("SOFTCUDA_STREAMS", modes[seed % 3], 1);
                cr_expect_eq(wrong_ints(s, WITH_REPORTS, seed), 0, "seed %d, how %d", seed, how);
                s.early = 1;
                if (how >= WITH_AN_EVENT_BETWEEN) {
                    cr_expect_eq(wrong_ints(s, WITH_REPORTS, seed), 0, "seed %d, an event", seed);
                    continue;
                }
                const int found = wrong_ints(s, WITHOUT_REPORTS, seed);
                cr_expect(many || found >= least, "seed %d, how %d: %d ints", seed, how, found);
                cr_expect(many || run_scene(&s, WITH_REPORTS, seed, out) == LAUNCH_FAILED, "seed %d", seed);
                wrong += many && found;
            }
    cr_expect_gt(wrong, SEEDS, "many blocks: %d of %d", wrong, 2 * SEEDS);
}

Test(softcuda_dependents, reads_before_the_write)
{
    too_early("first", "reads", NULL, THREADS);
}
Test(softcuda_dependents, reads_what_is_not_visible_yet)
{
    too_early("first_that_triggers_late", "reads", NULL, 1);
}
Test(softcuda_dependents, writes_before_the_read)
{
    too_early("first", "overwrites", NULL, THREADS);
}
Test(softcuda_dependents, writes_before_the_write)
{
    too_early("first", "writes", NULL, THREADS);
}
Test(softcuda_dependents, one_thread_waits)
{
    too_early("first", "waits_in_one_thread", NULL, THREADS - 1);
}
Test(softcuda_dependents, one_in_the_middle_does_not_wait)
{
    too_early("first", "passes_on", "reads_in_time", THREADS);
}

Test(softcuda_dependents, one_in_the_middle_does_not_wait_for_what_is_not_visible_yet)
{
    too_early("first_that_triggers_late", "passes_on", "reads_in_time", 1);
}

// Read before the trigger, so that it may be overwritten; written and fenced before it, so that it may be
// read.
Test(softcuda_dependents, what_is_over_before_the_trigger)
{
    static const scene scenes[] = {{{"first_that_triggers_late", "overwrites"}, 1, 1, OVERLAPPING},
                                   {{"first_that_fences", "reads"}, 1, 1, OVERLAPPING},
                                   {{"first_that_fences", "reads"}, 1, MOST_BLOCKS, OVERLAPPING}};
    for (int seed = 1; seed <= SEEDS; seed++)
        for (int i = 0; i < 3; i++)
            cr_expect_eq(wrong_ints(scenes[i], WITH_REPORTS, seed), 0, "scene %d, seed %d", i, seed);
}

// It gets what it spins on, though the launch in front has nothing else to make it go on.
Test(softcuda_dependents, spins_on_the_launch_in_front)
{
    cr_expect_eq(wrong_ints((scene){{"first", "spins"}, 1, 1, OVERLAPPING}, WITHOUT_REPORTS, 1), 0);
}

// A launch that nothing follows ends, too: for a copy in its stream, in one that waits for it, and for a
// query.
Test(softcuda_dependents, what_comes_after_the_trigger)
{
    setenv("SOFTCUDA_CHECK", "1", 1);
    setenv("SOFTCUDA_ARCH", "90", 1);
    open_driver();
    handle f = kernel("dependent_sm90", "first"), stream, event;
    cr_assert_eq(cu.stream(&stream, 0), 0);
    cr_assert_eq(cu.event(&event, 0), 0);
    for (int way = 0; way < 3; way++) {
        int out[2 * THREADS];
        for (int i = 0; i < 2 * THREADS; i++)
            out[i] = i / THREADS * 7;
        uint64_t a = device_array(out, sizeof out);
        void *arguments[] = {&a};
        cr_assert_eq(cu.launch(f, 1, 1, 1, THREADS, 1, 1, 0, way ? stream : NULL, arguments, NULL), 0);
        if (way == 2) {
            cr_assert_eq(cu.record(event, stream), 0);
            while (cu.query(event))
                ;
        }
        cr_assert_eq(cu.download(out, a, sizeof out), 0);
        cr_expect_eq(out[0], 7, "way %d", way);
        cr_expect_eq(out[THREADS - 1], 7, "way %d", way);
    }
}

Test(softcuda_dependents, unknown_attribute)
{
    open_driver();
    struct launch_attribute unknown = {.id = 4};
    struct launch_config config = {
        .grid = {1, 1, 1}, .block = {64, 1, 1}, .attributes = &unknown, .attribute_count = 1};
    uint64_t out = device_array(NULL, 64 * 4);
    int fault = 0;
    void *arguments[] = {&out, &fault};
    cr_expect_eq(cu.launch_with(&config, kernel("faults", "beyond_the_end"), arguments, NULL), NOT_SUPPORTED);
}

#else

Test(softcuda_order, not_built)
{
    cr_skip_test("softcuda: no nvcc or no libzstd-dev");
}

#endif
