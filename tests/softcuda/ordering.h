/* Check mode's view of global memory: which threads touched a byte last, and which touches a thread may rely
   on, because a barrier, or a fence and a flag or an atomic, lie between.

   A warp's time advances at each of its barriers. A thread publishes what came before its last fence with
   every strong write (atomic, volatile, relaxed), and relies on what it found there only after a fence of its
   own, or when it reads past the first-level cache. Barriers hand on what their threads rely on.
 */
#ifndef SOFTCUDA_ORDERING_H
#define SOFTCUDA_ORDERING_H

#include <array>
#include <cstdint>
#include <map>
#include <memory>
#include <string>
#include <unordered_map>
#include <vector>

namespace softcuda
{

constexpr int MAX_WARPS = 32; /* of a block */

struct Warp;
enum class Access { READ, WRITE, ATOMIC, ASYNC };

/* Of one block: the times of its warps up to which everything is visible; beyond them, single threads up to
   one of their fences. */
struct Point {
    struct Stamp {
        uint32_t time, fences;
    };
    std::array<uint32_t, MAX_WARPS> times{};
    std::map<uint16_t, Stamp> threads;
};
using Knowledge = std::map<uint32_t, Point>; /* by number of the block */

struct View {
    std::shared_ptr<const Knowledge> known, fenced; /* fenced: what its next strong write publishes */
    std::vector<uint64_t> pending; /* where it read since its last fence what others published */
    uint32_t fences = 0;
    bool waited = false; /* griddepcontrol.wait: the launch before is over */
};

struct Touch {
    uint32_t block = 0;
    uint16_t thread = 0;
    uint8_t strength = 0;
    bool several = false; /* other lanes of this warp at the same time */
    bool late = false;    /* after its block let the dependent launch begin */
    uint32_t time = 0;    /* 0: nobody yet */
    uint32_t fences = 0;
};

/* Of a launch, or of one and those that may begin before the one in front of them is over. */
class Ordering
{
  public:
    /* Blocks from here on are of the next launch; the number of its first. */
    uint32_t begin(uint32_t blocks);
    /* Faults if the access races with an earlier one. */
    void access(Warp &, int lane, uint64_t address, uint32_t bytes, Access);
    void fence(Warp &, int lane);
    void publish(Warp &, int lane, uint64_t address); /* a strong write */
    void observe(Warp &, int lane, uint64_t address); /* a strong read */
    static void merge(std::vector<View *> &);         /* at a barrier of these threads */

  private:
    struct Cell {
        Touch write, read[2]; /* the last readers of two warps, of two blocks where there are */
    };
    struct Page {
        uint32_t grain = 4; /* bytes of a cell: 1 once somebody touched less than 4 */
        std::vector<Cell> cells;
    };
    std::unordered_map<uint64_t, Page> pages_;
    std::unordered_map<uint64_t, Knowledge> published_;
    uint32_t first_ = 0, end_ = 0; /* blocks of the launch at hand */
    uint64_t recent_ = ~0ull;
    Page *recent_page_ = nullptr;

    Page &page_of(uint64_t address);
    bool ordered(const Touch &, const Warp &, int lane) const;
    void touch(Warp &, int lane, uint64_t address, Cell &, Access) const;
};

} // namespace softcuda
#endif
