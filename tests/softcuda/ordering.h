/* Check mode's view of memory: which threads touched a byte last, and which touches a thread may rely on,
   because a barrier, or a fence and a flag or an atomic, lie between.

   A warp's time advances at each of its barriers. A thread shows what came before its last fence with every
   strong write (atomic, volatile, relaxed), and relies on what it found there only after a fence of its own,
   or when it reads past the first-level cache; a write that releases shows, and a read that acquires relies,
   at once. All that holds within a block for any scope, and between blocks for the device's. Barriers hand on
   what their threads rely on.
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
enum Scope { IN_BLOCK, IN_DEVICE, SCOPES };

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
/* What strong writes to an address have shown so far. */
using Board = std::unordered_map<uint64_t, Knowledge>;

struct View {
    std::shared_ptr<const Knowledge> known, fenced[SCOPES]; /* fenced: what its next strong write shows */
    std::vector<uint64_t> pending[SCOPES]; /* where it read since its last fence what others showed */
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
Touch touch_of(Warp &, int lane); /* by the instruction at hand */

/* Of a launch, or of one and those that may begin before the one in front of them is over. */
class Ordering
{
  public:
    const bool reports; /* races; else they only have their effect */

    explicit Ordering(bool with_reports) : reports(with_reports) {}
    /* Faults if the access of global memory races with an earlier one. */
    void access(Warp &, int lane, uint64_t address, uint32_t bytes, Access);
    /* Whether the touch comes before whatever this lane does now. */
    bool knows(const Touch &, const Warp &, int lane) const;
    void fence(Warp &, int lane, Scope);
    /* By the instruction at hand, with its strength; addresses of shared memory are generic ones. */
    void strong_write(Warp &, int lane, uint64_t address, bool releases);
    void strong_read(Warp &, int lane, uint64_t address, bool acquires);
    static void merge(std::vector<View *> &); /* at a barrier of these threads */
    static void hand_on(Warp &);              /* to the launch behind */

  private:
    struct Cell {
        Touch write, read[2]; /* the last readers of two warps, of two blocks where there are */
    };
    struct Page {
        uint32_t grain = 4; /* bytes of a cell: 1 once somebody touched less than 4 */
        std::vector<Cell> cells;
    };
    std::unordered_map<uint64_t, Page> pages_;
    Board board_;
    uint64_t recent_ = ~0ull;
    Page *recent_page_ = nullptr;

    Page &page_of(uint64_t address);
    Board &board_of(const Warp &, int scope);
    bool ordered(const Touch &, const Warp &, int lane);
    void touch(Warp &, int lane, uint64_t address, Cell &, Access);
};

} // namespace softcuda
#endif
