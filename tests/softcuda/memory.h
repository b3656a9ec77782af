/* Device memory: allocations of the host's heap that remember their exact size. */
#ifndef SOFTCUDA_MEMORY_H
#define SOFTCUDA_MEMORY_H

#include <cstdint>
#include <deque>
#include <map>
#include <mutex>

namespace softcuda
{

struct Range {
    uint64_t begin = 0, end = 0;
    bool holds(uint64_t at, uint64_t bytes) const { return at >= begin && at <= end && bytes <= end - at; }
};

class Memory
{
  public:
    uint64_t allocate(uint64_t bytes);            /* 0 when there is none left; contents are garbage */
    bool release(uint64_t address);               /* false if no allocation begins there */
    void adopt(uint64_t address, uint64_t bytes); /* of a module: not counted */
    void forget(uint64_t address);
    Range find(uint64_t address); /* the allocation around it, or the nearest below */
    uint64_t free_bytes();
    uint64_t total_bytes();
    uint64_t live_count();
    bool was_freed(uint64_t address); /* lately */

  private:
    struct Block {
        uint64_t bytes;
        bool owned;
    };
    std::mutex mutex_;
    std::map<uint64_t, Block> blocks_;
    std::deque<Range> freed_; /* their addresses are not given out again for a while */
    uint64_t used_ = 0, calls_ = 0, freed_bytes_ = 0;
};

Memory &memory();

} // namespace softcuda
#endif
