// Shared memory, byte by byte: uninitialised reads, copies that nobody waited for, races between threads.
#include "tests/softcuda/warp.h"

#include <cuda.h>

namespace softcuda
{

// Two accesses are ordered by a barrier of the block, or within a warp by bar.warp.sync or the same thread.
static bool ordered(uint32_t other, uint32_t thread, uint32_t generation, uint32_t warp_generation,
                    const Warp &w)
{
    if (generation != w.block->generation || other == thread)
        return true;
    return other / LANES == thread / LANES && warp_generation != w.generation;
}

void check_shared(Warp &w, int lane, uint64_t offset, uint32_t bytes, Access access)
{
    const uint32_t me = w.base + uint32_t(lane);
    for (uint32_t i = 0; i < bytes; i++) {
        Shadow &s = w.block->shadow[offset + i];
        std::string where = " of shared byte " + std::to_string(offset + i);
        if (s.pending)
            w.fault(CUDA_ERROR_LAUNCH_FAILED, lane, "access" + where + " before the wait for its cp.async");
        if ((access == Access::READ || access == Access::ATOMIC) && !s.initialised)
            w.fault(CUDA_ERROR_LAUNCH_FAILED, lane, "uninitialised read" + where);
        if (access == Access::ATOMIC)
            continue;
        if (s.initialised && !ordered(s.writer, me, s.write_generation, s.write_warp_generation, w))
            w.fault(CUDA_ERROR_LAUNCH_FAILED, lane,
                    std::string("race: ") + (access == Access::READ ? "read" : "write") + where +
                        ", written by thread " + std::to_string(s.writer));
        if (access == Access::READ) {
            bool same = s.read_generation == w.block->generation;
            bool mine = s.reader / LANES == me / LANES;
            s.many_warps = same && (s.many_warps || !mine);
            s.many_readers = same && (s.many_readers || s.reader != me) &&
                             (s.many_warps || s.read_warp_generation == w.generation);
            s.reader = uint16_t(me);
            s.read_generation = w.block->generation;
            s.read_warp_generation = w.generation;
            continue;
        }
        bool read = s.read_generation == w.block->generation;
        bool other_lane = s.many_readers && s.read_warp_generation == w.generation;
        if (read && (s.many_warps || other_lane ||
                     !ordered(s.reader, me, s.read_generation, s.read_warp_generation, w)))
            w.fault(CUDA_ERROR_LAUNCH_FAILED, lane,
                    "race: write" + where + ", read by thread " + std::to_string(s.reader));
        s.initialised = true;
        s.writer = uint16_t(me);
        s.write_generation = w.block->generation;
        s.write_warp_generation = w.generation;
    }
}

} // namespace softcuda
