#include "tests/softcuda/delayed.h"

#include <algorithm>
#include <cstring>

namespace softcuda
{

static uint8_t *memory_at(uint64_t address)
{
    return reinterpret_cast<uint8_t *>(uintptr_t(address));
}

void Delayed::store(uint64_t address, const void *value, uint32_t bytes)
{
    Store s{address, bytes, {}};
    memcpy(s.value, value, bytes);
    stores_.push_back(s);
}

void Delayed::read(uint64_t address, void *value, uint32_t bytes) const
{
    memcpy(value, memory_at(address), bytes);
    for (const Store &s : stores_) {
        uint64_t begin = std::max(address, s.address), end = std::min(address + bytes, s.address + s.bytes);
        if (begin < end)
            memcpy(static_cast<uint8_t *>(value) + (begin - address), s.value + (begin - s.address),
                   end - begin);
    }
}

void Delayed::flush()
{
    for (const Store &s : stores_)
        memcpy(memory_at(s.address), s.value, s.bytes);
    stores_.clear();
}

// All of them: simpler than to keep the order of those that overlap in part.
void Delayed::flush_overlapping(uint64_t address, uint32_t bytes)
{
    bool found = std::any_of(stores_.begin(), stores_.end(), [&](const Store &s) {
        return s.address < address + bytes && address < s.address + s.bytes;
    });
    if (found)
        flush();
}

void Delayed::flush_some(std::mt19937_64 &random)
{
    std::vector<Store> kept;
    for (const Store &s : stores_) {
        bool blocked = std::any_of(kept.begin(), kept.end(), [&](const Store &k) {
            return k.address < s.address + s.bytes && s.address < k.address + k.bytes;
        });
        if (blocked || random() % 2)
            kept.push_back(s);
        else
            memcpy(memory_at(s.address), s.value, s.bytes);
    }
    stores_ = std::move(kept);
}

} // namespace softcuda
