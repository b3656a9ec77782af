#include "tests/softcuda/delayed.h"

#include <algorithm>
#include <cstring>

namespace softcuda
{

static uint8_t *memory_at(uint64_t address)
{
    return reinterpret_cast<uint8_t *>(uintptr_t(address));
}

// The bytes of a cell from here to there, as a mask.
static uint8_t bytes_between(uint64_t cell, uint64_t begin, uint64_t end)
{
    begin = std::max(begin, cell) - cell;
    end = std::min(end, cell + 8) - cell;
    return uint8_t((0xffu << begin) & ~(~0u << end));
}

// Nobody can know of one of them without the other.
static bool at_once(const Touch &a, const Touch &b)
{
    return a.thread == b.thread && a.time == b.time && a.fences == b.fences;
}

void Delayed::start(uint32_t odds)
{
    odds_ = odds;
    cells_.clear();
    index_.clear();
}

void Delayed::store(uint64_t address, const uint8_t *value, uint32_t bytes, uint32_t element, const Touch &by)
{
    for (uint64_t at = address / 8 * 8; at < address + bytes; at += 8) {
        auto found = index_.emplace(at, uint32_t(cells_.size()));
        if (found.second) {
            cells_.emplace_back();
            cells_.back().address = at;
        }
        Cell &cell = cells_[found.first->second];
        const uint64_t begin = std::max(at, address), end = std::min(at + 8, address + bytes);
        const uint8_t mine = bytes_between(at, begin, end);
        for (int half = 0; half < 2; half++)
            if (mine & HALF[half]) {
                if ((cell.held & HALF[half]) && !at_once(cell.by[half], by))
                    land(cell, with(cell, half));
                cell.by[half] = by;
            }
        memcpy(cell.value + (begin - at), value + (begin - address), end - begin);
        cell.held |= mine;
        cell.element = std::max(cell.element, uint8_t(std::min(element, 8u)));
    }
}

void Delayed::read(uint64_t address, uint8_t *value, uint32_t bytes) const
{
    memcpy(value, memory_at(address), bytes);
    for (uint64_t at = address / 8 * 8; at < address + bytes; at += 8) {
        auto found = index_.find(at);
        if (found == index_.end())
            continue;
        const Cell &cell = cells_[found->second];
        for (uint32_t left = cell.held & bytes_between(at, address, address + bytes); left;
             left &= left - 1) {
            const uint32_t byte = uint32_t(__builtin_ctz(left));
            value[at + byte - address] = cell.value[byte];
        }
    }
}

void Delayed::land(Cell &cell, uint8_t bytes)
{
    for (uint32_t left = cell.held & bytes; left; left &= left - 1) {
        const uint32_t byte = uint32_t(__builtin_ctz(left));
        memory_at(cell.address)[byte] = cell.value[byte];
    }
    cell.held &= uint8_t(~bytes);
}

void Delayed::remove_if_empty(size_t i)
{
    if (cells_[i].held)
        return;
    index_.erase(cells_[i].address);
    if (i + 1 < cells_.size()) {
        cells_[i] = cells_.back();
        index_[cells_[i].address] = uint32_t(i);
    }
    cells_.pop_back();
}

void Delayed::flush()
{
    for (Cell &cell : cells_)
        land(cell, 0xff);
    cells_.clear();
    index_.clear();
}

void Delayed::flush_overlapping(uint64_t address, uint32_t bytes)
{
    for (uint64_t at = address / 8 * 8; at < address + bytes; at += 8) {
        auto found = index_.find(at);
        if (found == index_.end())
            continue;
        const size_t i = found->second;
        const uint64_t element = cells_[i].element;
        land(cells_[i], bytes_between(at, address / element * element,
                                      (address + bytes + element - 1) / element * element));
        remove_if_empty(i);
    }
}

void Delayed::leak(std::mt19937_64 &random)
{
    size_t count = cells_.size() / odds_ + (random() % odds_ < cells_.size() % odds_);
    for (; count; count--) {
        const size_t i = random() % cells_.size();
        Cell &cell = cells_[i];
        for (uint32_t byte = 0; byte < 8; byte += cell.element)
            if (random() % 2)
                land(cell,
                     bytes_between(cell.address, cell.address + byte, cell.address + byte + cell.element));
        remove_if_empty(i);
        if (cells_.empty())
            return;
    }
}

} // namespace softcuda
