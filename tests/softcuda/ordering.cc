#include "tests/softcuda/ordering.h"
#include "tests/softcuda/warp.h"

#include <algorithm>
#include <cuda.h>

namespace softcuda
{
namespace
{

constexpr uint64_t PAGE = 4096;

void join(Knowledge &into, const Knowledge &from)
{
    for (const auto &block : from) {
        Point &p = into[block.first];
        for (int w = 0; w < MAX_WARPS; w++)
            p.times[size_t(w)] = std::max(p.times[size_t(w)], block.second.times[size_t(w)]);
        for (const auto &thread : block.second.threads) {
            Point::Stamp &s = p.threads[thread.first];
            if (s.time < thread.second.time ||
                (s.time == thread.second.time && s.fences < thread.second.fences))
                s = thread.second;
        }
    }
}

bool covers(const Knowledge &k, const Touch &t)
{
    auto block = k.find(t.block);
    if (block == k.end())
        return false;
    if (t.time <= block->second.times[t.thread / LANES])
        return true;
    auto thread = block->second.threads.find(t.thread);
    if (thread == block->second.threads.end())
        return false;
    const Point::Stamp &s = thread->second;
    return t.time < s.time || (t.time == s.time && t.fences < s.fences);
}

bool same_warp(const Touch &a, const Touch &b)
{
    return a.block == b.block && a.thread / LANES == b.thread / LANES;
}

View &view_of(Warp &w, int lane)
{
    return w.block->views[w.base + uint32_t(lane)];
}

} // namespace

uint32_t Ordering::begin(uint32_t blocks)
{
    first_ = end_;
    end_ += blocks;
    return first_;
}

bool Ordering::ordered(const Touch &t, const Warp &w, int lane) const
{
    const Block &b = *w.block;
    const uint32_t me = w.base + uint32_t(lane), warp = t.thread / LANES;
    if (t.block == b.number) {
        if (t.thread == me)
            return true;
        if (warp == me / LANES ? t.time < w.time : t.time <= w.seen[warp])
            return true;
    }
    const View &view = b.views[me];
    if (t.block < first_)
        return view.waited;
    if (view.known && covers(*view.known, t))
        return true;
    if (w.at->order == Order::WEAK)
        return false;
    for (uint64_t address : view.pending)
        if (covers(published_.at(address), t))
            return true;
    return false;
}

Ordering::Page &Ordering::page_of(uint64_t address)
{
    if (address / PAGE != recent_) {
        recent_ = address / PAGE;
        recent_page_ = &pages_[recent_];
        if (recent_page_->cells.empty())
            recent_page_->cells.resize(PAGE / recent_page_->grain);
    }
    return *recent_page_;
}

void Ordering::access(Warp &w, int lane, uint64_t address, uint32_t bytes, Access access)
{
    Page &page = page_of(address);
    if (page.grain > bytes) {
        std::vector<Cell> fine;
        for (const Cell &cell : page.cells)
            fine.insert(fine.end(), page.grain, cell);
        page.cells = std::move(fine);
        page.grain = 1;
    }
    for (uint64_t at = address % PAGE; at < address % PAGE + bytes; at += page.grain)
        touch(w, lane, address - address % PAGE + at, page.cells[at / page.grain], access);
}

static Touch touch_of(Warp &w, int lane)
{
    Touch me;
    me.block = w.block->number;
    me.thread = uint16_t(w.base + uint32_t(lane));
    me.strength = w.at->strength;
    me.time = w.time;
    me.fences = view_of(w, lane).fences;
    me.late = w.block->triggered;
    return me;
}

void Ordering::touch(Warp &w, int lane, uint64_t address, Cell &cell, Access access) const
{
    Touch me = touch_of(w, lane);
    const bool writes = access == Access::WRITE || access == Access::ATOMIC;
    auto check = [&](const Touch &other, const char *what) {
        // Strong accesses do not race with each other within their scope: 1 is the block, 2 the device.
        int scope = std::min(other.strength, me.strength);
        bool race =
            other.time && !(scope == 2 || (scope == 1 && other.block == me.block)) &&
            (!ordered(other, w, lane) || (other.several && same_warp(other, me) && other.time == me.time));
        if (race)
            w.fault(CUDA_ERROR_LAUNCH_FAILED, lane,
                    std::string(other.block < first_      ? "race with the launch before: "
                                : other.block == me.block ? "race: "
                                                          : "race between blocks: ") +
                        (writes ? "write" : "read") + " of byte " + std::to_string(address - w.recent.begin) +
                        " of an allocation, " + what + " by thread " + std::to_string(other.thread) +
                        " of block number " +
                        std::to_string(other.block < first_ ? other.block : other.block - first_) +
                        (other.block < first_ ? ", before griddepcontrol.wait"
                                              : ", with no barrier, or fence and flag, between"));
    };
    check(cell.write, "written");
    if (!writes) {
        Touch *read = cell.read;
        if (same_warp(read[1], me))
            std::swap(read[0], read[1]);
        if (same_warp(read[0], me))
            me.several = read[0].time == me.time && (read[0].several || read[0].thread != me.thread);
        else if (read[1].time == 0 || read[0].block != me.block)
            read[1] = read[0];
        read[0] = me;
        return;
    }
    for (const Touch &read : cell.read)
        if (read.block >= first_ || read.late) // before, the launch at hand had not begun
            check(read, "read");
    cell.write = me;
}

// All that this thread relies on, and its own accesses so far.
void Ordering::fence(Warp &w, int lane)
{
    View &view = view_of(w, lane);
    if (!view.pending.empty()) {
        auto more = std::make_shared<Knowledge>(view.known ? *view.known : Knowledge());
        for (uint64_t address : view.pending)
            join(*more, published_.at(address));
        view.pending.clear();
        view.known = more;
    }
    view.fences++;
    auto fenced = std::make_shared<Knowledge>(view.known ? *view.known : Knowledge());
    Knowledge own;
    Point &p = own[w.block->number];
    std::copy(w.seen, w.seen + MAX_WARPS, p.times.begin());
    p.times[w.base / LANES] = w.time - 1;
    p.threads[uint16_t(w.base + uint32_t(lane))] = {w.time, view.fences};
    join(*fenced, own);
    view.fenced = fenced;
}

void Ordering::publish(Warp &w, int lane, uint64_t address)
{
    View &view = view_of(w, lane);
    if (view.fenced)
        join(published_[address], *view.fenced);
}

void Ordering::observe(Warp &w, int lane, uint64_t address)
{
    std::vector<uint64_t> &pending = view_of(w, lane).pending;
    if (published_.count(address) && std::find(pending.begin(), pending.end(), address) == pending.end())
        pending.push_back(address);
}

void Ordering::merge(std::vector<View *> &views)
{
    std::vector<std::shared_ptr<const Knowledge>> distinct;
    std::vector<uint64_t> pending;
    bool waited = false;
    for (const View *v : views) {
        waited |= v->waited;
        if (v->known && std::find(distinct.begin(), distinct.end(), v->known) == distinct.end())
            distinct.push_back(v->known);
        for (uint64_t address : v->pending)
            if (std::find(pending.begin(), pending.end(), address) == pending.end())
                pending.push_back(address);
    }
    if (distinct.empty() && pending.empty() && !waited)
        return;
    std::shared_ptr<const Knowledge> all = distinct.empty() ? nullptr : distinct[0];
    if (distinct.size() > 1) {
        auto joined = std::make_shared<Knowledge>();
        for (const auto &k : distinct)
            join(*joined, *k);
        all = joined;
    }
    for (View *v : views) {
        v->known = all;
        v->pending = pending;
        v->waited = waited;
    }
}

} // namespace softcuda
