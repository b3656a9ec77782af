// Shared memory, byte by byte: uninitialised reads, copies that nobody waited for, races between threads.
#include "tests/softcuda/warp.h"

#include <algorithm>
#include <cuda.h>

namespace softcuda
{

// Two accesses are ordered by a barrier that both warps passed, by bar.warp.sync, or by the same thread.
static bool ordered(const Warp &w, uint32_t me, uint32_t other, uint32_t time)
{
    if (other == me || time == 0)
        return true;
    return other / LANES == me / LANES ? time < w.time : time <= w.seen[other / LANES];
}

static void read_by(Shadow &s, const Warp &w, uint32_t me)
{
    auto mine = [&](int i) { return s.read_time[i] && s.reader[i] / LANES == me / LANES; };
    bool same_time = false;
    if (mine(1) || !mine(0)) {
        std::swap(s.reader[0], s.reader[1]);
        std::swap(s.read_time[0], s.read_time[1]);
        s.several = false;
    } else {
        same_time = s.read_time[0] == w.time;
    }
    s.several = same_time && (s.several || s.reader[0] != me);
    s.reader[0] = uint16_t(me);
    s.read_time[0] = w.time;
}

void check_shared(Warp &w, int lane, uint64_t offset, uint32_t bytes, Access access)
{
    const uint32_t me = w.base + uint32_t(lane);
    auto fault = [&](const std::string &what, uint64_t byte, const std::string &why) {
        w.fault(CUDA_ERROR_LAUNCH_FAILED, lane, what + " of shared byte " + std::to_string(byte) + why);
    };
    for (uint64_t byte = offset; byte < offset + bytes; byte++) {
        Shadow &s = w.block->shadow[byte];
        if (s.pending)
            fault("access", byte, " before the wait for its cp.async");
        if ((access == Access::READ || access == Access::ATOMIC) && !s.write_time)
            fault("uninitialised read", byte, "");
        if (access == Access::ATOMIC)
            continue;
        if (!ordered(w, me, s.writer, s.write_time))
            fault(access == Access::READ ? "race: read" : "race: write", byte,
                  ", written by thread " + std::to_string(s.writer));
        if (access == Access::READ) {
            read_by(s, w, me);
            continue;
        }
        bool lanes = s.several && s.reader[0] / LANES == me / LANES && s.read_time[0] == w.time;
        for (int i = 0; i < 2; i++)
            if (lanes || !ordered(w, me, s.reader[i], s.read_time[i]))
                fault("race: write", byte, ", read by thread " + std::to_string(s.reader[i]));
        s.writer = uint16_t(me);
        s.write_time = w.time;
    }
}

} // namespace softcuda
