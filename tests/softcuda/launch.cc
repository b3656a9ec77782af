// A grid: blocks over the processor's cores, in order, or in a seeded order in check mode.
#include "tests/softcuda/settings.h"
#include "tests/softcuda/warp.h"

#include <atomic>
#include <cstdio>
#include <cstdlib>
#include <mutex>
#include <numeric>
#include <random>
#include <thread>

namespace softcuda
{

void execute(const Launch &launch)
{
    const bool check = setting(Setting::check);
    const uint64_t count = uint64_t(launch.grid[0]) * launch.grid[1] * launch.grid[2];
    std::vector<uint64_t> order;
    if (check) {
        order.resize(count);
        std::iota(order.begin(), order.end(), 0);
        std::mt19937_64 random(setting(Setting::seed));
        for (uint64_t i = count; i > 1; i--)
            std::swap(order[i - 1], order[random() % i]);
    }
    std::atomic<uint64_t> next{0};
    std::mutex mutex;
    bool failed = false;
    Fault first{};
    auto work = [&] {
        try {
            Block block(launch, check);
            for (uint64_t i; (i = next++) < count;)
                block.run(check ? order[i] : i);
        } catch (const Fault &fault) {
            std::lock_guard<std::mutex> lock(mutex);
            if (!failed)
                first = fault;
            failed = true;
            next = count;
        }
    };
    // Reports of the check mode do not depend on timing.
    unsigned cores = check ? 1 : std::min<uint64_t>(count, std::max(1u, std::thread::hardware_concurrency()));
    std::vector<std::thread> others;
    for (unsigned i = 1; i < cores; i++)
        others.emplace_back(work);
    work();
    for (std::thread &t : others)
        t.join();
    if (failed)
        throw first;
}

} // namespace softcuda
