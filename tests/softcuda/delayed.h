/* A block's stores to global memory, strong or weak, that other blocks do not see yet: until a fence or a
   release of a thread that knows of them, or the end of the kernel. Some of them are seen earlier, in any
   order, as on a card. */
#ifndef SOFTCUDA_DELAYED_H
#define SOFTCUDA_DELAYED_H

#include "tests/softcuda/ordering.h"

#include <random>
#include <vector>

namespace softcuda
{

class Delayed
{
  public:
    /* One of so many stores is seen by others after each turn of the block. */
    void start(uint32_t odds);
    bool empty() const { return cells_.empty(); }
    /* The bytes of each element become visible together. */
    void store(uint64_t address, const uint8_t *value, uint32_t bytes, uint32_t element, const Touch &by);
    /* What the block itself reads: memory with its own stores over it. */
    void read(uint64_t address, uint8_t *value, uint32_t bytes) const;
    void flush();
    void flush_overlapping(uint64_t address, uint32_t bytes);
    /* Those by whom known(touch) is true. */
    template <class F> void flush_known(F known)
    {
        for (size_t i = cells_.size(); i-- > 0;) {
            Cell &cell = cells_[i];
            for (int half = 0; half < 2; half++)
                if ((cell.held & HALF[half]) && known(cell.by[half]))
                    land(cell, with(cell, half));
            remove_if_empty(i);
        }
    }
    void leak(std::mt19937_64 &);

  private:
    struct Cell {
        uint64_t address; /* a multiple of 8 */
        uint8_t value[8];
        uint8_t held = 0;    /* bytes that memory lacks */
        uint8_t element = 1; /* bytes that others see together */
        Touch by[2];         /* each half's last store */
    };
    static constexpr uint8_t HALF[2] = {0x0f, 0xf0};
    std::vector<Cell> cells_; /* in no order that depends on addresses: those differ between runs */
    std::unordered_map<uint64_t, uint32_t> index_; /* of cells_, by address */
    uint32_t odds_ = 1;

    static void land(Cell &, uint8_t bytes);
    /* What others see together with this half. */
    static uint8_t with(const Cell &cell, int half) { return cell.element == 8 ? 0xff : HALF[half]; }
    void remove_if_empty(size_t i);
};

} // namespace softcuda
#endif
