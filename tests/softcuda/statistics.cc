#include "tests/softcuda/statistics.h"
#include "tests/softcuda/settings.h"
#include "tests/softcuda/warp.h"

#include <algorithm>
#include <cstdio>
#include <mutex>

namespace softcuda
{
namespace
{

constexpr uint64_t SECTOR = 32, WORD = 4, BANKS = 32;

struct Totals {
    uint64_t launches = 0, global_bytes = 0, global_sectors = 0, shared_wavefronts = 0, shared_ideal = 0;
    std::map<std::string, uint64_t> opcodes;
};
std::mutex mutex;
std::map<std::string, Totals> kernels;

uint64_t distinct(std::vector<uint64_t> values)
{
    std::sort(values.begin(), values.end());
    return uint64_t(std::unique(values.begin(), values.end()) - values.begin());
}

// "ld.global", "mma", "bar": the opcode, and the space where it has one
std::string name_of(const Instruction &in)
{
    for (const char *space : {"global", "shared", "local", "param"})
        if (has(in, space))
            return in.words[0] + "." + space;
    return in.words[0];
}

} // namespace

Counts::Counts(const Kernel &kernel) : executed(kernel.code.size()) {}

void Counts::count_global(const std::vector<uint64_t> &addresses, uint32_t bytes)
{
    std::vector<uint64_t> sectors, each;
    for (uint64_t at : addresses) {
        for (uint64_t s = at / SECTOR; s <= (at + bytes - 1) / SECTOR; s++)
            sectors.push_back(s);
        for (uint32_t i = 0; i < bytes; i++)
            each.push_back(at + i);
    }
    global_sectors += distinct(sectors);
    global_bytes += distinct(each);
}

// Lanes are served in groups whose accesses fit one wavefront: all 32 with words, 8 with 16 bytes.
void Counts::count_shared(const std::vector<uint64_t> &addresses, uint32_t bytes)
{
    const size_t group = bytes <= WORD ? LANES : LANES * WORD / bytes;
    std::vector<uint64_t> all;
    for (size_t first = 0; first < addresses.size(); first += group) {
        std::vector<uint64_t> words[BANKS];
        for (size_t i = first; i < std::min(first + group, addresses.size()); i++)
            for (uint64_t word = addresses[i] / WORD; word <= (addresses[i] + bytes - 1) / WORD; word++) {
                words[word % BANKS].push_back(word);
                all.push_back(word);
            }
        uint64_t most = 0;
        for (const auto &bank : words)
            most = std::max(most, distinct(bank));
        shared_wavefronts += most;
    }
    shared_ideal += (distinct(all) + BANKS - 1) / BANKS;
}

void Counts::count(Warp &w, const Instruction &in, uint32_t place)
{
    executed[place]++;
    const std::string &opcode = in.words[0];
    const bool loads = opcode == "ld" || opcode == "ldu" || opcode == "atom" || opcode == "ldmatrix",
               copies = opcode == "cp" && in.args.size() > 1, stores = opcode == "st" || opcode == "red";
    if (in.space == Space::PARAM || in.space == Space::LOCAL || (!loads && !copies && !stores))
        return;
    uint32_t bytes = in.type.bits / 8 * in.vector, lanes = w.mask;
    if (opcode == "ldmatrix") {
        bytes = 16;
        lanes &= in.mode == 4 ? ~0u : (1u << in.mode * 8) - 1; // the rows of its matrices
    }
    std::vector<uint64_t> global, shared;
    for (uint32_t left = lanes; left; left &= left - 1) {
        int lane = __builtin_ctz(left);
        uint64_t at = address_of(w, lane, in.args[loads]);
        if (copies) {
            bytes = uint32_t(w.get(in.args[2], lane));
            shared.push_back(at);
            global.push_back(address_of(w, lane, in.args[1]));
        } else if (in.space == Space::SHARED || at >= SHARED_WINDOW) {
            shared.push_back(at & ~SHARED_WINDOW);
        } else if (in.space == Space::GLOBAL || at < LOCAL_WINDOW) {
            global.push_back(at);
        }
    }
    if (!global.empty())
        count_global(global, bytes);
    if (!shared.empty())
        count_shared(shared, bytes);
}

void add_launch(const Kernel &kernel)
{
    std::lock_guard<std::mutex> lock(mutex);
    kernels[kernel.name].launches++;
}

void add_counts(const Kernel &kernel, const Counts &c)
{
    std::lock_guard<std::mutex> lock(mutex);
    Totals &t = kernels[kernel.name];
    t.global_bytes += c.global_bytes;
    t.global_sectors += c.global_sectors;
    t.shared_wavefronts += c.shared_wavefronts;
    t.shared_ideal += c.shared_ideal;
    for (size_t i = 0; i < c.executed.size(); i++)
        if (c.executed[i])
            t.opcodes[name_of(kernel.code[i])] += c.executed[i];
}

void print_statistics()
{
    std::lock_guard<std::mutex> lock(mutex);
    const bool json = setting(Setting::statistics) == JSON;
    for (const auto &k : kernels) {
        const Totals &t = k.second;
        const char *format =
            json ? "{\"kernel\":\"%s\",\"launches\":%llu,\"global_bytes\":%llu,\"global_sectors\":%llu,"
                   "\"shared_wavefronts\":%llu,\"shared_ideal\":%llu,\"instructions\":{"
                 : "%s: %llu launches\n  global bytes       %llu\n  global sectors     %llu\n"
                   "  shared wavefronts  %llu\n  shared ideal       %llu\n";
        using Long = unsigned long long;
        fprintf(stderr, format, k.first.c_str(), Long(t.launches), Long(t.global_bytes),
                Long(t.global_sectors), Long(t.shared_wavefronts), Long(t.shared_ideal));
        const char *comma = "";
        for (const auto &o : t.opcodes) {
            if (json)
                fprintf(stderr, "%s\"%s\":%llu", comma, o.first.c_str(), Long(o.second));
            else
                fprintf(stderr, "  %-18s %llu\n", o.first.c_str(), Long(o.second));
            comma = ",";
        }
        if (json)
            fprintf(stderr, "}}\n");
    }
    kernels.clear();
}

} // namespace softcuda
