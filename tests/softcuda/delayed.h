/* Strong stores that other blocks do not see yet. Weak ones need no delay: whoever could notice is reported.
 */
#ifndef SOFTCUDA_DELAYED_H
#define SOFTCUDA_DELAYED_H

#include <cstdint>
#include <random>
#include <vector>

namespace softcuda
{

class Delayed
{
  public:
    bool empty() const { return stores_.empty(); }
    void store(uint64_t address, const void *value, uint32_t bytes);
    /* What the block itself reads: memory with its own stores over it. */
    void read(uint64_t address, void *value, uint32_t bytes) const;
    void flush();
    void flush_overlapping(uint64_t address, uint32_t bytes);
    /* Each with even chance; those to one address keep their order. */
    void flush_some(std::mt19937_64 &);

  private:
    struct Store {
        uint64_t address;
        uint32_t bytes;
        uint8_t value[32];
    };
    std::vector<Store> stores_;
};

} // namespace softcuda
#endif
