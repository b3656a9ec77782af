// A grid: blocks over the processor's cores; in check mode on one of them, interleaved in a seeded order.
#include "tests/softcuda/settings.h"
#include "tests/softcuda/warp.h"

#include <algorithm>
#include <atomic>
#include <memory>
#include <mutex>
#include <numeric>
#include <random>
#include <thread>

namespace softcuda
{

// Of instructions: a warp that spins on what another warp will write gives way after so many.
constexpr int TURN = 1 << 16;
// Check mode's turns are short and of random length, so that blocks and warps meet in many ways.
constexpr int SHORTEST_TURN = 16, LONGEST_TURN = 512;
constexpr size_t BLOCKS_PER_SM = 4; // that are under way at once

static void execute_checked(const Launch &launch, uint64_t count, Ordering &ordering, bool counted)
{
    std::mt19937_64 random(setting(Setting::seed));
    std::vector<uint64_t> order(count);
    std::iota(order.begin(), order.end(), 0);
    std::shuffle(order.begin(), order.end(), random);
    const size_t resident = std::min<uint64_t>(count, BLOCKS_PER_SM * setting(Setting::sms));
    const uint32_t first = ordering.begin(uint32_t(count));
    auto start = [&](Block &block, uint64_t which) { block.start(which, first + uint32_t(which)); };
    Counts counts(*launch.kernel);
    std::vector<std::unique_ptr<Block>> running;
    for (size_t i = 0; i < resident; i++) {
        running.push_back(std::make_unique<Block>(launch, &ordering, counted ? &counts : nullptr));
        start(*running.back(), order[i]);
    }
    for (uint64_t next = resident; !running.empty();) {
        size_t i = random() % running.size();
        Block &block = *running[i];
        bool alive = block.step(SHORTEST_TURN + int(random() % (LONGEST_TURN - SHORTEST_TURN)));
        block.delayed.flush_some(random);
        if (!alive && next < count)
            start(block, order[next++]);
        else if (!alive)
            running.erase(running.begin() + long(i));
    }
    if (counted)
        add_counts(*launch.kernel, counts);
}

static void execute_fast(const Launch &launch, uint64_t count, bool counted)
{
    std::atomic<uint64_t> next{0};
    std::mutex mutex;
    bool failed = false;
    Fault first{};
    auto work = [&] {
        try {
            Counts counts(*launch.kernel);
            Block block(launch, nullptr, counted ? &counts : nullptr);
            for (uint64_t i; (i = next++) < count;) {
                block.start(i, uint32_t(i));
                while (block.step(TURN)) {
                }
            }
            if (counted)
                add_counts(*launch.kernel, counts);
        } catch (const Fault &fault) {
            std::lock_guard<std::mutex> lock(mutex);
            if (!failed)
                first = fault;
            failed = true;
            next = count;
        }
    };
    unsigned cores = unsigned(std::min<uint64_t>(count, std::max(1u, std::thread::hardware_concurrency())));
    std::vector<std::thread> others;
    for (unsigned i = 1; i < cores; i++)
        others.emplace_back(work);
    work();
    for (std::thread &t : others)
        t.join();
    if (failed)
        throw first;
}

void execute(const Launch &launch, std::shared_ptr<Ordering> &previous)
{
    const uint64_t count = uint64_t(launch.grid[0]) * launch.grid[1] * launch.grid[2];
    const bool counted = setting(Setting::statistics) != NO_STATISTICS;
    if (counted)
        add_launch(*launch.kernel);
    if (!setting(Setting::check))
        return execute_fast(launch, count, counted);
    if (!previous || !launch.programmatic)
        previous = std::make_shared<Ordering>();
    execute_checked(launch, count, *previous, counted);
}

} // namespace softcuda
