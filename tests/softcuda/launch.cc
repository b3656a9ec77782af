// A grid: blocks over the processor's cores; in check mode on one of them.
#include "tests/softcuda/overlap.h"
#include "tests/softcuda/settings.h"

#include <algorithm>
#include <atomic>
#include <mutex>
#include <thread>

namespace softcuda
{

// Of instructions: a warp that spins on what another warp will write gives way after so many.
constexpr int TURN = 1 << 16;

static void execute_fast(const Launch &launch, uint64_t count, bool counted)
{
    std::atomic<uint64_t> next{0};
    std::mutex mutex;
    bool failed = false;
    Fault first{};
    auto work = [&] {
        try {
            Counts counts(*launch.kernel);
            Block block(launch, counted ? &counts : nullptr);
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

void execute(std::shared_ptr<const Launch> launch, std::shared_ptr<Overlap> &overlap)
{
    const bool counted = setting(Setting::statistics) != NO_STATISTICS;
    if (counted)
        add_launch(*launch->kernel);
    if (!setting(Setting::check))
        return execute_fast(*launch, uint64_t(launch->grid[0]) * launch->grid[1] * launch->grid[2], counted);
    if (!overlap)
        overlap = std::make_shared<Overlap>();
    overlap->begin(launch);
}

} // namespace softcuda
