#include "tests/softcuda/overlap.h"
#include "tests/softcuda/settings.h"

#include <algorithm>
#include <numeric>

namespace softcuda
{

// Of instructions. Turns are short and of random length, so that blocks and warps meet in many ways.
constexpr int SHORTEST_TURN = 16, LONGEST_TURN = 512;
constexpr size_t BLOCKS_PER_SM = 4; // that are under way at once
// Of blocks' turns: a launch that spins on what the one in front will write gives way after so many.
constexpr uint32_t PATIENCE = 1 << 14;
// After each turn other blocks see one of 1, 2, 4 ... of a block's stores: some blocks hide theirs for long.
constexpr uint32_t LEAKS = 6;

Overlap::Overlap() : ordering_(setting(Setting::check) == 1), random_(setting(Setting::seed)) {}

bool Overlap::is_over(const Grid &grid)
{
    return grid.running.empty() && grid.next == grid.order.size();
}

bool Overlap::has_triggered(const Grid &grid)
{
    auto triggered = [](const std::unique_ptr<Block> &block) { return block->triggered; };
    return grid.next == grid.order.size() && std::all_of(grid.running.begin(), grid.running.end(), triggered);
}

bool Overlap::over() const
{
    return std::all_of(grids_.begin(), grids_.end(), [](const auto &grid) { return is_over(*grid); });
}

// What is in front of the one in front is over, too, if that one has waited for it.
void Overlap::follow(size_t grid)
{
    const Grid &front = *grids_[grid - 1];
    Place &place = grids_[grid]->place;
    place.first = front.place.end;
    place.known = front.place.handed_on;
    place.ready = is_over(front);
    place.over_from = front.place.waited ? front.place.over_from : front.place.first;
}

void Overlap::start(Grid &grid, Block &block)
{
    const uint64_t which = grid.order[grid.next++];
    block.start(which, grid.place.first + uint32_t(which));
    block.coin = uint32_t(random_());
    block.delayed.start(1u << random_() % LEAKS);
}

void Overlap::begin(std::shared_ptr<const Launch> launch)
{
    grids_.push_back(std::make_unique<Grid>());
    Grid &grid = *grids_.back();
    if (grids_.size() > 1)
        follow(grids_.size() - 1);
    const uint64_t count = uint64_t(launch->grid[0]) * launch->grid[1] * launch->grid[2];
    grid.place.end = grid.place.first + uint32_t(count);
    grid.launch = launch;
    if (setting(Setting::statistics) != NO_STATISTICS)
        grid.counts = std::make_unique<Counts>(*launch->kernel);
    grid.order.resize(count);
    std::iota(grid.order.begin(), grid.order.end(), 0);
    std::shuffle(grid.order.begin(), grid.order.end(), random_);
    while (grid.next < std::min<uint64_t>(count, BLOCKS_PER_SM * setting(Setting::sms))) {
        grid.running.push_back(std::make_unique<Block>(*launch, grid.counts.get(), &ordering_, &grid.place));
        start(grid, *grid.running.back());
    }
    while (!has_triggered(grid))
        (steps_ < PATIENCE && step_one(grid, true)) || step_any();
}

void Overlap::finish()
{
    while (!over())
        step_any();
}

// The newest launch first.
bool Overlap::step_any()
{
    const size_t count = grids_.size(), skip = steps_ >= PATIENCE ? random_() % count : 0;
    for (size_t i = 0; i < count; i++)
        if (step_one(*grids_[(2 * count - 1 - i - skip) % count], false))
            return true;
    return false;
}

bool Overlap::step_one(Grid &grid, bool untriggered)
{
    std::vector<size_t> able;
    for (size_t i = 0; i < grid.running.size(); i++) {
        const Block &block = *grid.running[i];
        if ((grid.place.ready || !block.parked) && !(untriggered && block.triggered))
            able.push_back(i);
    }
    if (able.empty())
        return false;
    step(grid, able[random_() % able.size()]);
    return true;
}

void Overlap::step(Grid &grid, size_t which)
{
    Block &block = *grid.running[which];
    const bool alive = block.step(SHORTEST_TURN + int(random_() % (LONGEST_TURN - SHORTEST_TURN)));
    steps_++;
    block.delayed.leak(random_);
    if (!grid.left.empty()) {
        const size_t i = random_() % grid.left.size();
        grid.left[i].leak(random_);
        if (grid.left[i].empty())
            grid.left.erase(grid.left.begin() + long(i));
    }
    if (block.parked)
        block.delayed.flush(); // before the launch in front goes on, which then overwrites or reads them
    if (alive)
        return;
    steps_ = 0;
    if (!block.delayed.empty())
        grid.left.push_back(std::move(block.delayed));
    if (grid.next < grid.order.size())
        start(grid, block);
    else
        grid.running.erase(grid.running.begin() + long(which));
    if (is_over(grid))
        end(grid);
}

void Overlap::end(Grid &grid)
{
    for (Delayed &stores : grid.left)
        stores.flush();
    grid.left.clear();
    if (grid.counts)
        add_counts(*grid.launch->kernel, *grid.counts);
    grid.counts.reset();
    grid.order.clear();
    grid.next = 0;
    for (size_t i = 1; i < grids_.size(); i++)
        if (grids_[i - 1].get() == &grid)
            follow(i);
}

} // namespace softcuda
