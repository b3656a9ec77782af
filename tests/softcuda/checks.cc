// Shared memory, byte by byte: uninitialised reads, copies that nobody waited for, races between threads.
#include "tests/softcuda/warp.h"

#include <algorithm>
#include <cuda.h>

namespace softcuda
{

// Volatile accesses of lanes of one warp race all the same: code that counts on lanes in lock step has them.
enum Strength : uint8_t { WEAK, VOLATILE, STRONG };

static Seen seen_by(Warp &w, int lane, Access access)
{
    Seen me;
    const Instruction &in = *w.at;
    me.time = w.time;
    me.thread = uint16_t(w.base + uint32_t(lane));
    me.fences = w.block->views[me.thread].fences;
    me.strength = access == Access::ATOMIC ? STRONG : !in.strength ? WEAK : in.mode ? VOLATILE : STRONG;
    return me;
}

static bool same_warp(const Seen &a, const Seen &b)
{
    return a.thread / LANES == b.thread / LANES;
}

// Two accesses are ordered by the same thread, by a barrier that both warps passed, by bar.warp.sync, or by
// fences and a flag.
static bool races(const Warp &w, int lane, const Seen &me, const Seen &other)
{
    const bool neighbours = same_warp(me, other);
    const uint8_t both = std::min(me.strength, other.strength);
    if (!w.block->ordering->reports || both == STRONG || (both == VOLATILE && !neighbours))
        return false;
    if (neighbours ? other.time < me.time : other.time <= w.seen[other.thread / LANES])
        return false;
    if (neighbours && other.several)
        return true;
    Touch touch;
    touch.block = w.block->number;
    touch.thread = other.thread;
    touch.time = other.time;
    touch.fences = other.fences;
    return !w.block->ordering->knows(touch, w, lane);
}

static void read_by(Shadow &s, Seen me)
{
    Seen *read = s.read;
    if (same_warp(read[1], me))
        std::swap(read[0], read[1]);
    if (!same_warp(read[0], me)) {
        read[1] = read[0];
    } else if (read[0].time == me.time) {
        me.several = read[0].several || read[0].thread != me.thread;
        me.strength = std::min(me.strength, read[0].strength);
    }
    read[0] = me;
}

void check_shared(Warp &w, int lane, uint64_t offset, uint32_t bytes, Access access)
{
    const Seen me = seen_by(w, lane, access);
    auto fault = [&](const std::string &what, uint64_t byte, const std::string &why) {
        w.fault(CUDA_ERROR_LAUNCH_FAILED, lane, what + " of shared byte " + std::to_string(byte) + why);
    };
    for (uint64_t byte = offset; byte < offset + bytes; byte++) {
        Shadow &s = w.block->shadow[byte];
        if (s.pending)
            fault("access", byte, " before the wait for its cp.async");
        if ((access == Access::READ || access == Access::ATOMIC) && !s.write.time)
            fault("uninitialised read", byte, "");
        if (races(w, lane, me, s.write))
            fault(access == Access::READ ? "race: read" : "race: write", byte,
                  ", written by thread " + std::to_string(s.write.thread));
        if (access == Access::READ) {
            read_by(s, me);
            continue;
        }
        for (const Seen &read : s.read)
            if (races(w, lane, me, read))
                fault("race: write", byte, ", read by thread " + std::to_string(read.thread));
        s.write = me;
    }
}

} // namespace softcuda
