/* Check mode: the launches of a stream that may overlap, their blocks interleaved in a seeded order. A launch
   begins at the first moment that is allowed: when each block of the one in front has triggered
   (griddepcontrol.launch_dependents) or exited. Then it runs up to its griddepcontrol.wait before those in
   front go on. */
#ifndef SOFTCUDA_OVERLAP_H
#define SOFTCUDA_OVERLAP_H

#include "tests/softcuda/warp.h"

#include <random>

namespace softcuda
{

class Overlap
{
  public:
    Overlap();
    /* Runs the launch until one behind it may begin. Throws Fault, as does finish. */
    void begin(std::shared_ptr<const Launch>);
    void finish();
    bool over() const;

  private:
    struct Grid {
        std::shared_ptr<const Launch> launch;
        Place place;
        std::unique_ptr<Counts> counts; /* null without SOFTCUDA_STATS */
        std::vector<uint64_t> order;    /* of its blocks */
        size_t next = 0;                /* of these that starts */
        std::vector<std::unique_ptr<Block>> running;
        std::vector<Delayed> left; /* by blocks that have exited */
    };
    Ordering ordering_;
    std::mt19937_64 random_;
    std::vector<std::unique_ptr<Grid>> grids_; /* since the stream was idle */
    uint32_t steps_ = 0;                       /* since a block of theirs exited */

    static bool is_over(const Grid &);
    static bool has_triggered(const Grid &);
    void follow(size_t grid);
    void start(Grid &, Block &);
    bool step_one(Grid &, bool untriggered);
    bool step_any();
    void step(Grid &, size_t block);
    void end(Grid &);
};

/* Runs all blocks; throws Fault. In check mode those that come after a trigger may remain for later: overlap
   has them. It is null where the launch has to wait for what is in front of it. */
void execute(std::shared_ptr<const Launch>, std::shared_ptr<Overlap> &);

} // namespace softcuda
#endif
