#include "tests/softcuda/memory.h"
#include "tests/softcuda/settings.h"

#include <cstdlib>
#include <cstring>

namespace softcuda
{

constexpr uint64_t KEPT_BYTES = 64 << 20; // of freed memory, so that who still uses it is found out

Memory &memory()
{
    static Memory *instance = new Memory; // outlives the modules of other static objects
    return *instance;
}

uint64_t Memory::total_bytes()
{
    return setting(Setting::memory);
}

uint64_t Memory::free_bytes()
{
    std::lock_guard<std::mutex> lock(mutex_);
    uint64_t total = total_bytes();
    return total > used_ ? total - used_ : 0;
}

uint64_t Memory::allocate(uint64_t bytes)
{
    std::lock_guard<std::mutex> lock(mutex_);
    if (++calls_ == setting(Setting::fail_alloc) || bytes > total_bytes() || used_ + bytes > total_bytes())
        return 0;
    void *p = aligned_alloc(512, (bytes + 511) / 512 * 512);
    if (!p)
        return 0;
    memset(p, 0xC7, bytes); // nobody may count on zeros
    blocks_[uint64_t(uintptr_t(p))] = {bytes, true};
    used_ += bytes;
    return uint64_t(uintptr_t(p));
}

bool Memory::release(uint64_t address)
{
    std::lock_guard<std::mutex> lock(mutex_);
    auto found = blocks_.find(address);
    if (found == blocks_.end() || !found->second.owned)
        return false;
    used_ -= found->second.bytes;
    freed_bytes_ += found->second.bytes;
    freed_.push_back({address, address + found->second.bytes});
    blocks_.erase(found);
    while (freed_bytes_ > KEPT_BYTES) {
        free(reinterpret_cast<void *>(uintptr_t(freed_.front().begin)));
        freed_bytes_ -= freed_.front().end - freed_.front().begin;
        freed_.pop_front();
    }
    return true;
}

bool Memory::was_freed(uint64_t address)
{
    std::lock_guard<std::mutex> lock(mutex_);
    for (const Range &r : freed_)
        if (r.holds(address, 1))
            return true;
    return false;
}

void Memory::adopt(uint64_t address, uint64_t bytes)
{
    std::lock_guard<std::mutex> lock(mutex_);
    blocks_[address] = {bytes, false};
}

void Memory::forget(uint64_t address)
{
    std::lock_guard<std::mutex> lock(mutex_);
    blocks_.erase(address);
}

Range Memory::find(uint64_t address)
{
    std::lock_guard<std::mutex> lock(mutex_);
    auto next = blocks_.upper_bound(address);
    if (next == blocks_.begin())
        return {};
    --next;
    return {next->first, next->first + next->second.bytes};
}

uint64_t Memory::live_count()
{
    std::lock_guard<std::mutex> lock(mutex_);
    uint64_t count = 0;
    for (const auto &block : blocks_)
        count += block.second.owned;
    return count;
}

} // namespace softcuda
