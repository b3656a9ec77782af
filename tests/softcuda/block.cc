// A block: its threads' special registers, its turns and its barriers.
#include "tests/softcuda/warp.h"

#include <algorithm>
#include <cstring>
#include <cuda.h>

namespace softcuda
{

static uint32_t special_value(const Launch &launch, const uint32_t *index, uint32_t thread, Special which)
{
    const uint32_t *n = launch.block, lane = thread % LANES;
    switch (which) {
    case Special::TID_X:
        return thread % n[0];
    case Special::TID_Y:
        return thread / n[0] % n[1];
    case Special::TID_Z:
        return thread / n[0] / n[1];
    case Special::LANEID:
        return lane;
    case Special::WARPID:
        return thread / LANES;
    case Special::LANEMASK_EQ:
        return 1u << lane;
    case Special::LANEMASK_LT:
        return (1u << lane) - 1;
    case Special::LANEMASK_LE:
        return (2u << lane) - 1;
    case Special::LANEMASK_GT:
        return ~((2u << lane) - 1);
    case Special::LANEMASK_GE:
        return ~((1u << lane) - 1);
    case Special::DYNAMIC_SMEM:
        return launch.dynamic_bytes;
    case Special::SMID:
        return 0;
    default:
        break;
    }
    int which_axis = (int(which) - int(Special::CTAID_X)) % 3;
    if (which <= Special::CTAID_Z)
        return index[which_axis];
    return which <= Special::NTID_Z ? n[which_axis] : launch.grid[which_axis];
}

Block::Block(const Launch &l, Counts *count, Ordering *order, Place *among)
    : launch(&l), counts(count), ordering(order), place(among), threads(l.block[0] * l.block[1] * l.block[2])
{
    const Kernel &kernel = *l.kernel;
    shared.resize((kernel.shared_bytes + 15) / 16 * 16 + l.dynamic_bytes);
    local.resize(size_t(kernel.local_bytes) * threads);
    warps.resize((threads + LANES - 1) / LANES);
    for (size_t i = 0; i < warps.size(); i++) {
        Warp &w = warps[i];
        w.block = this;
        w.base = uint32_t(i) * LANES;
        w.registers.resize(kernel.register_bytes);
        for (const Constant &c : kernel.constants) {
            Operand o;
            o.slot = c.slot;
            o.bits = c.bits;
            for (int lane = 0; lane < LANES; lane++)
                w.set(o, lane, c.value);
        }
    }
}

static uint32_t all_lanes(const Block &b, const Warp &w)
{
    uint32_t count = std::min(b.threads - w.base, uint32_t(LANES));
    return count == LANES ? ~0u : (1u << count) - 1;
}

void Block::start(uint64_t which, uint32_t as)
{
    number = as;
    triggered = false;
    parked = false;
    for (int axis = 0; axis < 3; axis++) {
        index[axis] = uint32_t(which % launch->grid[axis]);
        which /= launch->grid[axis];
    }
    std::fill(shared.begin(), shared.end(), uint8_t(0xA5));
    if (ordering) {
        shadow.assign(shared.size(), Shadow());
        views.assign(threads, View());
        for (View &view : views)
            view.known = place->known;
        board.clear();
    }
    for (Barrier &b : barriers)
        b = Barrier();
    for (Warp &w : warps) {
        w.live = all_lanes(*this, w);
        w.waiting = 0;
        w.held = 0;
        w.time = 1;
        memset(w.seen, 0, sizeof w.seen);
        memset(w.pc, 0, sizeof w.pc);
        for (const SpecialSlot &s : launch->kernel->specials)
            for (uint32_t lane = 0; lane < LANES; lane++)
                w.lanes<uint32_t>(s.slot)[lane] = special_value(*launch, index, w.base + lane, s.which);
        for (int lane = 0; lane < LANES; lane++) {
            w.frames[lane].clear();
            w.open_copies[lane].clear();
            w.groups[lane].clear();
        }
    }
}

bool Block::step(int turn)
{
    bool alive = false, ready = false, depends = false;
    const bool before = triggered;
    if (place && place->ready)
        resume();
    for (Warp &w : warps)
        if (triggered == before)
            w.run(turn);
    for (const Warp &w : warps) {
        const bool waits = w.waiting_at(LAUNCH_IN_FRONT) != 0;
        alive |= w.live != 0;
        ready |= (w.live & ~w.waiting & ~(waits ? w.held : 0)) != 0;
        depends |= waits;
    }
    bool released = false;
    for (int id = 0; id < BARRIERS; id++)
        if (barriers[id].used && complete(id)) {
            release(id);
            released = true;
        }
    parked = depends && !ready && !released;
    if (alive && !ready && !released && !parked) {
        const Warp &w = *std::find_if(warps.begin(), warps.end(), [](const Warp &x) { return x.live; });
        w.fault(CUDA_ERROR_LAUNCH_FAILED, __builtin_ctz(w.live),
                "deadlock: every thread waits, and no barrier has all that it expects");
    }
    return alive;
}

static void has_waited(Block &b, const Warp &w, uint32_t lanes)
{
    for (uint32_t left = lanes; left; left &= left - 1) {
        b.views[w.base + uint32_t(__builtin_ctz(left))].waited = true;
        b.place->waited = true;
    }
}

// The launch in front is over.
void Block::resume()
{
    for (Warp &w : warps) {
        const uint32_t lanes = w.waiting_at(LAUNCH_IN_FRONT);
        has_waited(*this, w, lanes);
        w.waiting &= ~lanes;
    }
}

// griddepcontrol. Without check mode a launch begins when the one in front is over.
bool Block::depend(Warp &w)
{
    if (!place)
        return false;
    if (w.at->mode == GRID_TRIGGER) {
        if (triggered)
            return false;
        triggered = true;
        Ordering::hand_on(w);
        return true;
    }
    if (place->ready) {
        has_waited(*this, w, w.mask);
        return false;
    }
    w.waiting |= w.mask;
    for_active(w, [&](int l) { w.barrier[l] = LAUNCH_IN_FRONT; });
    return false;
}

// What this warp and those that it has met did so far is visible to whoever leaves the barrier.
static void bring(Barrier &b, const Warp &w)
{
    for (int v = 0; v < MAX_WARPS; v++)
        b.seen[v] = std::max(b.seen[v], w.seen[v]);
    b.seen[w.base / LANES] = w.time;
}

// bar.sync id{, threads}; bar.arrive id, threads; bar.red d, id{, threads}, p: by the lanes of the mask
bool Block::arrive(Warp &w, uint32_t here)
{
    const Instruction &in = *w.at;
    if (in.mode >= GRID_WAIT)
        return depend(w);
    const bool reduces = in.mode >= BAR_POPC;
    const size_t first = reduces, count = in.args.size() - 2 * reduces;
    const int lane = __builtin_ctz(w.mask), id = count ? int(w.get(in.args[first], lane)) : 0;
    const uint32_t expected = count > 1 ? uint32_t(w.get(in.args[first + 1], lane)) : 0;
    const std::string name = "barrier " + std::to_string(id);
    if (id < 0 || id >= BARRIERS || expected % LANES || expected > warps.size() * LANES)
        w.fault(CUDA_ERROR_LAUNCH_FAILED, lane, name + " of " + std::to_string(expected) + " threads");
    Barrier &b = barriers[id];
    if (b.used && b.expected != expected)
        w.fault(CUDA_ERROR_LAUNCH_FAILED, lane,
                name + " expects " + std::to_string(b.expected) + " threads for some and " +
                    std::to_string(expected) + " for others");
    b.used = true;
    b.expected = expected;
    if (in.mode == BAR_ARRIVE) {
        if (w.mask != w.live)
            w.fault(CUDA_ERROR_LAUNCH_FAILED, lane, "divergent barrier: only some lanes arrive");
        b.arrived += LANES;
        bring(b, w);
        w.time++;
        return false;
    }
    if (ordering && (w.waiting & ~w.waiting_at(LAUNCH_IN_FRONT)) && w.barrier_pc != here)
        w.fault(CUDA_ERROR_LAUNCH_FAILED, lane, "divergent barrier: lanes of a warp wait at different ones");
    w.barrier_pc = here;
    w.waiting |= w.mask;
    for_active(w, [&](int l) {
        w.barrier[l] = uint8_t(id);
        if (reduces)
            b.holding += (w.get(in.args.back(), l) != 0) != in.args.back().negated;
    });
    return false;
}

bool Block::complete(int id) const
{
    const Barrier &b = barriers[id];
    uint32_t arrived = b.arrived;
    bool all = true;
    for (const Warp &w : warps) {
        bool whole = w.live && w.waiting_at(id) == w.live;
        arrived += whole ? LANES : 0;
        all &= whole || !w.live;
    }
    return b.expected ? arrived >= b.expected : all;
}

// In check mode all threads wait at one place of the code for a barrier of all, and none has left before.
void Block::check_whole() const
{
    const Warp *first = nullptr;
    for (const Warp &w : warps) {
        uint32_t all = all_lanes(*this, w);
        if (w.live != all)
            w.fault(CUDA_ERROR_LAUNCH_FAILED, __builtin_ctz(all & ~w.live),
                    "divergent barrier: this thread has exited, others wait");
        first = first ? first : &w;
        if (w.barrier_pc != first->barrier_pc)
            w.fault(CUDA_ERROR_LAUNCH_FAILED, 0, "divergent barrier: warps wait at different ones");
    }
}

static uint32_t reduced(const Barrier &b, uint32_t threads, int mode)
{
    return mode == BAR_POPC ? b.holding : mode == BAR_AND ? b.holding == threads : b.holding != 0;
}

void Block::release(int id)
{
    Barrier &b = barriers[id];
    if (ordering && !b.expected)
        check_whole();
    std::vector<View *> met;
    std::vector<Warp *> leaving;
    uint32_t waited = 0;
    for (Warp &w : warps)
        if (uint32_t lanes = w.waiting_at(id)) {
            leaving.push_back(&w);
            waited += uint32_t(__builtin_popcount(lanes));
            bring(b, w);
            for (uint32_t left = ordering ? lanes : 0; left; left &= left - 1)
                met.push_back(&views[w.base + uint32_t(__builtin_ctz(left))]);
        }
    for (Warp *w : leaving) {
        const Instruction &in = launch->kernel->code[w->barrier_pc - 1];
        for (uint32_t left = w->waiting_at(id); left; left &= left - 1)
            if (in.mode >= BAR_POPC)
                w->set(in.args[0], __builtin_ctz(left), reduced(b, waited, in.mode));
        memcpy(w->seen, b.seen, sizeof w->seen);
        w->time++;
        w->waiting &= ~w->waiting_at(id);
    }
    Ordering::merge(met);
    b = Barrier();
}

} // namespace softcuda
