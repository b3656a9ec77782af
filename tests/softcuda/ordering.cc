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

Touch touch_of(Warp &w, int lane)
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

Board &Ordering::board_of(const Warp &w, int scope)
{
    return scope == IN_DEVICE ? board_ : w.block->board;
}

bool Ordering::knows(const Touch &t, const Warp &w, int lane) const
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
    if (t.block < b.place->first && t.block >= b.place->over_from && view.waited)
        return true;
    return view.known && covers(*view.known, t);
}

bool Ordering::ordered(const Touch &t, const Warp &w, int lane)
{
    if (knows(t, w, lane))
        return true;
    if (w.at->order == Order::WEAK)
        return false;
    const View &view = w.block->views[w.base + uint32_t(lane)];
    for (int scope = 0; scope < SCOPES; scope++)
        for (uint64_t address : view.pending[scope])
            if (covers(board_of(w, scope).at(address), t))
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

void Ordering::touch(Warp &w, int lane, uint64_t address, Cell &cell, Access access)
{
    Touch me = touch_of(w, lane);
    const Place &here = *w.block->place;
    const bool writes = access == Access::WRITE || access == Access::ATOMIC;
    auto check = [&](const Touch &other, const char *what) {
        // Strong accesses do not race with each other within their scope: 1 is the block, 2 the device.
        int scope = std::min(other.strength, me.strength);
        bool race =
            reports && other.time && !(scope == 2 || (scope == 1 && other.block == me.block)) &&
            (!ordered(other, w, lane) || (other.several && same_warp(other, me) && other.time == me.time));
        const bool before = other.block < here.first, behind = other.block >= here.end;
        if (race)
            w.fault(
                CUDA_ERROR_LAUNCH_FAILED, lane,
                std::string(before                    ? "race with the launch before: "
                            : behind                  ? "race with the launch behind: "
                            : other.block == me.block ? "race: "
                                                      : "race between blocks: ") +
                    (writes ? "write" : "read") + " of byte " + std::to_string(address - w.recent.begin) +
                    " of an allocation, " + what + " by thread " + std::to_string(other.thread) +
                    " of block number " +
                    std::to_string(before ? other.block : other.block - (behind ? here.end : here.first)) +
                    (before || behind ? ", before griddepcontrol.wait"
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
        if (read.block >= here.first || read.late) // before, the launch at hand had not begun
            check(read, "read");
    cell.write = me;
}

static void learn(View &view, const std::vector<const Knowledge *> &news)
{
    if (news.empty())
        return;
    auto more = std::make_shared<Knowledge>(view.known ? *view.known : Knowledge());
    for (const Knowledge *k : news)
        join(*more, *k);
    view.known = more;
}

// All that this thread relies on, and its own accesses so far.
static std::shared_ptr<const Knowledge> everything(Warp &w, int lane)
{
    View &view = view_of(w, lane);
    view.fences++;
    auto all = std::make_shared<Knowledge>(view.known ? *view.known : Knowledge());
    Knowledge own;
    Point &p = own[w.block->number];
    std::copy(w.seen, w.seen + MAX_WARPS, p.times.begin());
    p.times[w.base / LANES] = w.time - 1;
    p.threads[uint16_t(w.base + uint32_t(lane))] = {w.time, view.fences};
    join(*all, own);
    return all;
}

void Ordering::fence(Warp &w, int lane, Scope scope)
{
    View &view = view_of(w, lane);
    std::vector<const Knowledge *> news;
    for (int s = 0; s <= scope; s++) {
        for (uint64_t address : view.pending[s])
            news.push_back(&board_of(w, s).at(address));
        view.pending[s].clear();
    }
    learn(view, news);
    view.fenced[IN_BLOCK] = everything(w, lane);
    if (scope == IN_DEVICE)
        view.fenced[IN_DEVICE] = view.fenced[IN_BLOCK];
}

// The block's own memory is nobody else's.
static int scopes_of(const Warp &w, uint64_t address)
{
    return address < LOCAL_WINDOW ? w.at->strength : 1;
}

void Ordering::strong_write(Warp &w, int lane, uint64_t address, bool releases)
{
    const auto all = releases ? everything(w, lane) : nullptr;
    for (int s = 0; s < scopes_of(w, address); s++) {
        const auto &shown = releases ? all : view_of(w, lane).fenced[s];
        if (shown)
            join(board_of(w, s)[address], *shown);
    }
}

void Ordering::strong_read(Warp &w, int lane, uint64_t address, bool acquires)
{
    View &view = view_of(w, lane);
    std::vector<const Knowledge *> news;
    for (int s = 0; s < scopes_of(w, address); s++) {
        const Board &board = board_of(w, s);
        auto found = board.find(address);
        std::vector<uint64_t> &pending = view.pending[s];
        if (found == board.end())
            continue;
        if (acquires)
            news.push_back(&found->second);
        else if (std::find(pending.begin(), pending.end(), address) == pending.end())
            pending.push_back(address);
    }
    learn(view, news);
}

void Ordering::hand_on(Warp &w)
{
    auto all = std::make_shared<Knowledge>();
    if (w.block->place->handed_on)
        *all = *w.block->place->handed_on;
    for_active(w, [&](int lane) {
        if (const auto &fenced = view_of(w, lane).fenced[IN_DEVICE])
            join(*all, *fenced);
    });
    w.block->place->handed_on = all;
}

void Ordering::merge(std::vector<View *> &views)
{
    std::vector<std::shared_ptr<const Knowledge>> distinct;
    std::vector<uint64_t> pending[SCOPES];
    bool waited = false, reads = false;
    for (const View *v : views) {
        waited |= v->waited;
        if (v->known && std::find(distinct.begin(), distinct.end(), v->known) == distinct.end())
            distinct.push_back(v->known);
        for (int s = 0; s < SCOPES; s++)
            for (uint64_t address : v->pending[s])
                if (std::find(pending[s].begin(), pending[s].end(), address) == pending[s].end()) {
                    pending[s].push_back(address);
                    reads = true;
                }
    }
    if (distinct.empty() && !reads && !waited)
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
        std::copy(pending, pending + SCOPES, v->pending);
        v->waited = waited;
    }
}

} // namespace softcuda
