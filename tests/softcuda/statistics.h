/* What a kernel's warps executed, and how well their accesses fit the memory: the same at every run. */
#ifndef SOFTCUDA_STATISTICS_H
#define SOFTCUDA_STATISTICS_H

#include <cstdint>
#include <vector>

namespace softcuda
{

struct Warp;
struct Instruction;
struct Kernel;

/* Of the blocks that one core ran. Sectors are 32 bytes; an access asks for its distinct bytes. A wavefront
   serves one word of each of the 32 banks; the ideal is as few as the distinct words need. */
struct Counts {
    std::vector<uint64_t> executed; /* warp instructions, by place in the code */
    uint64_t global_bytes = 0, global_sectors = 0, shared_wavefronts = 0, shared_ideal = 0;

    explicit Counts(const Kernel &);
    void count(Warp &, const Instruction &, uint32_t place);

  private:
    void count_global(const std::vector<uint64_t> &addresses, uint32_t bytes);
    void count_shared(const std::vector<uint64_t> &addresses, uint32_t bytes);
};

void add_launch(const Kernel &);
void add_counts(const Kernel &, const Counts &);
/* SOFTCUDA_STATS=table or json, to stderr: a kernel a line of JSON. Forgets what it printed. */
void print_statistics();

} // namespace softcuda
#endif
