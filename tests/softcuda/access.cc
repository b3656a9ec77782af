// Loads, stores, atomics and asynchronous copies.
#include "tests/softcuda/warp.h"

#include <algorithm>
#include <cstring>
#include <cuda.h>
#include <mutex>

namespace softcuda
{

/* With a base of 32 bits the sum has 32, too: compilers count on it that a negative one comes back. */
uint64_t address_of(Warp &w, int lane, const Operand &o)
{
    if (o.slot == NO_SLOT)
        return uint64_t(o.offset);
    uint64_t sum = uint64_t(o.offset) + w.get(o, lane);
    return o.bits == 32 ? uint32_t(sum) : sum;
}

uint8_t *resolve(Warp &w, int lane, Space space, uint64_t address, uint32_t bytes, Access access)
{
    auto outside = [&](const char *name, uint64_t size) {
        w.fault(CUDA_ERROR_ILLEGAL_ADDRESS, lane,
                std::string(name) + " access of " + std::to_string(bytes) + " bytes at " +
                    std::to_string(int64_t(address)) + " is outside of its " + std::to_string(size) +
                    " bytes");
    };
    if (space == Space::GENERIC) {
        bool shared = address >= SHARED_WINDOW, local = !shared && address >= LOCAL_WINDOW;
        space = shared ? Space::SHARED : local ? Space::LOCAL : Space::GLOBAL;
        address -= shared ? SHARED_WINDOW : local ? LOCAL_WINDOW : 0;
    }
    if (address % bytes)
        w.fault(CUDA_ERROR_MISALIGNED_ADDRESS, lane,
                "misaligned access of " + std::to_string(bytes) + " bytes at " + std::to_string(address));
    Block &block = *w.block;
    if (space == Space::SHARED) {
        if (address > block.shared.size() || bytes > block.shared.size() - address)
            outside("shared", block.shared.size());
        if (block.ordering)
            check_shared(w, lane, address, bytes, access);
        return block.shared.data() + address;
    }
    if (space == Space::LOCAL) {
        uint32_t size = block.launch->kernel->local_bytes;
        if (address > size || bytes > size - address)
            outside("local", size);
        return block.local.data() + size_t(w.base + uint32_t(lane)) * size + address;
    }
    if (!w.recent.holds(address, bytes)) {
        w.recent = memory().find(address);
        if (!w.recent.holds(address, bytes)) {
            Range near = w.recent;
            w.recent = Range();
            if (memory().was_freed(address))
                w.fault(CUDA_ERROR_ILLEGAL_ADDRESS, lane,
                        "global access of " + std::to_string(bytes) + " bytes at " + std::to_string(address) +
                            " is in freed memory");
            w.fault(CUDA_ERROR_ILLEGAL_ADDRESS, lane,
                    "global access of " + std::to_string(bytes) + " bytes at " + std::to_string(address) +
                        " is outside: the allocation below has " + std::to_string(near.end - near.begin) +
                        " bytes, this is byte " + std::to_string(address - near.begin));
        }
    }
    if (block.ordering)
        block.ordering->access(w, lane, address, bytes, access);
    return reinterpret_cast<uint8_t *>(uintptr_t(address));
}

namespace
{

bool is_global(const Warp &w, const Instruction &in, uint64_t address)
{
    return w.block->ordering &&
           (in.space == Space::GLOBAL || (in.space == Space::GENERIC && address < LOCAL_WINDOW));
}

void fence(Warp &w, int lane)
{
    w.block->ordering->fence(w, lane);
    w.block->delayed.flush();
}

void run_load(Warp &w, const Instruction &in)
{
    const uint32_t bytes = in.type.bits / 8;
    const bool extend = in.type.kind == Kind::S;
    for_active(w, [&](int l) {
        uint64_t address = address_of(w, l, in.args[1]);
        const uint8_t *from = in.space == Space::PARAM
                                  ? w.block->launch->parameters.data() + address
                                  : resolve(w, l, in.space, address, bytes * in.vector, Access::READ);
        uint8_t seen[32];
        if (!w.block->delayed.empty() && is_global(w, in, address)) {
            w.block->delayed.read(address, seen, bytes * in.vector);
            from = seen;
        }
        if (in.strength == 2 && is_global(w, in, address)) {
            w.block->ordering->observe(w, l, address);
            if (in.order == Order::ACQUIRE)
                fence(w, l);
        }
        for (int i = 0; i < in.vector; i++) {
            uint64_t value = 0;
            memcpy(&value, from + bytes * uint32_t(i), bytes);
            if (extend)
                value = uint64_t(int64_t(value << (64 - in.type.bits)) >> (64 - in.type.bits));
            w.set(in.vector > 1 ? in.args[0].parts[size_t(i)] : in.args[0], l, value);
        }
    });
}

void run_store(Warp &w, const Instruction &in)
{
    const uint32_t bytes = in.type.bits / 8;
    for_active(w, [&](int l) {
        const uint64_t address = address_of(w, l, in.args[0]);
        uint8_t *to = resolve(w, l, in.space, address, bytes * in.vector, Access::WRITE);
        uint8_t value[32 + 8]; // 8: the last element is written as a whole word
        for (int i = 0; i < in.vector; i++) {
            uint64_t v = w.get(in.vector > 1 ? in.args[1].parts[size_t(i)] : in.args[1], l);
            memcpy(value + bytes * uint32_t(i), &v, sizeof v);
        }
        if (in.strength != 2 || !is_global(w, in, address)) {
            memcpy(to, value, bytes * in.vector);
            return;
        }
        if (in.order == Order::RELEASE)
            fence(w, l);
        w.block->ordering->publish(w, l, address);
        w.block->delayed.store(address, value, bytes * in.vector);
    });
}

// Its place in the memory model. Atomics are relaxed and of the device where they say nothing.
void decode_order_of(Instruction &in, bool atomic)
{
    const bool acquires = has(in, "acquire"), releases = has(in, "release"), both = has(in, "acq_rel");
    const bool is_volatile = has(in, "volatile") || has(in, "cv");
    if (acquires || releases || both || is_volatile || atomic || has(in, "relaxed")) {
        in.order = acquires   ? Order::ACQUIRE
                   : releases ? Order::RELEASE
                   : both     ? Order::BOTH
                              : Order::RELAXED;
        in.strength = has(in, "cta") ? 1 : 2;
    } else if (has(in, "cg")) {
        in.order = Order::FRESH;
    }
}

const char *const ORDERS =
    "weak volatile relaxed acquire release acq_rel cta gpu sys generic global shared shared::cta "
    "local param const nc v2 v4 v8 L1::no_allocate L1::evict_first L1::evict_last L2::64B L2::128B "
    "L2::256B ca cg cs lu cv wb wt";
void decode_load(Instruction &in)
{
    accept(in, ORDERS);
    decode_order_of(in, false);
    in.run = run_load;
}
void decode_store(Instruction &in)
{
    accept(in, ORDERS);
    decode_order_of(in, false);
    in.run = run_store;
}

// ---- atomics: one lock serialises those of all blocks
std::mutex atomics;

enum Atomic { ADD, MIN, MAX, AND, OR, XOR, EXCHANGE, CAS };
uint64_t combined(int how, Type type, uint64_t old, uint64_t b, uint64_t c)
{
    unsigned up = 64u - type.bits;
    bool less = type.kind == Kind::S ? int64_t(b << up) < int64_t(old << up) : b << up < old << up;
    float x, y;
    switch (how) {
    case ADD:
        if (type.kind != Kind::F)
            return old + b;
        memcpy(&x, &old, 4);
        memcpy(&y, &b, 4);
        x += y;
        old = 0;
        memcpy(&old, &x, 4);
        return old;
    case MIN:
        return less ? b : old;
    case MAX:
        return less ? old : b;
    case AND:
        return old & b;
    case OR:
        return old | b;
    case XOR:
        return old ^ b;
    case EXCHANGE:
        return b;
    default:
        return old == b ? c : old;
    }
}
void run_atomic(Warp &w, const Instruction &in)
{
    const size_t first = in.words[0] == "atom"; // red returns nothing
    const uint32_t bytes = in.type.bits / 8;
    for_active(w, [&](int l) {
        const uint64_t address = address_of(w, l, in.args[first]);
        uint8_t *at = resolve(w, l, in.space, address, bytes, Access::ATOMIC);
        const bool ordered = in.strength == 2 && is_global(w, in, address);
        if (ordered && (in.order == Order::RELEASE || in.order == Order::BOTH))
            fence(w, l);
        if (ordered) {
            w.block->delayed.flush_overlapping(address, bytes);
            w.block->ordering->observe(w, l, address);
            w.block->ordering->publish(w, l, address);
        }
        uint64_t b = w.get(in.args[first + 1], l), c = in.mode == CAS ? w.get(in.args[first + 2], l) : 0,
                 old = 0;
        std::lock_guard<std::mutex> lock(atomics);
        memcpy(&old, at, bytes);
        uint64_t value = combined(in.mode, in.type, old, b, c);
        memcpy(at, &value, bytes);
        if (first)
            w.set(in.args[0], l, old);
        if (ordered && (in.order == Order::ACQUIRE || in.order == Order::BOTH))
            fence(w, l);
    });
}
void decode_atomic(Instruction &in)
{
    static const std::map<std::string, int> modes = {{"add", ADD},       {"min", MIN}, {"max", MAX},
                                                     {"and", AND},       {"or", OR},   {"xor", XOR},
                                                     {"exch", EXCHANGE}, {"cas", CAS}};
    accept(in, (std::string(ORDERS) + " add min max and or xor exch cas").c_str());
    in.mode = -1;
    for (const std::string &word : in.words)
        if (modes.count(word))
            in.mode = modes.at(word);
    decode_order_of(in, true);
    if (in.mode < 0 || (in.type.kind == Kind::F && (in.mode != ADD || in.type.bits != 32)))
        throw Unsupported("instruction '" + in.text + "': this atomic operation");
    in.run = run_atomic;
}

// ---- cp.async: the bytes land when their group is waited for
void mark(Warp &w, const AsyncCopy &copy, bool pending)
{
    if (w.block->ordering)
        for (uint32_t i = 0; i < copy.bytes; i++)
            w.block->shadow[copy.to + i].pending = pending;
}
void land(Warp &w, int lane, const std::vector<AsyncCopy> &group)
{
    for (const AsyncCopy &copy : group) {
        mark(w, copy, false);
        uint8_t *to = w.block->shared.data() + copy.to;
        memset(to, 0, copy.bytes);
        if (copy.source_bytes)
            memcpy(to, resolve(w, lane, Space::GLOBAL, copy.from, copy.bytes, Access::READ),
                   copy.source_bytes);
    }
}
void run_copy(Warp &w, const Instruction &in)
{
    for_active(w, [&](int l) {
        AsyncCopy copy;
        copy.to = address_of(w, l, in.args[0]);
        copy.from = address_of(w, l, in.args[1]);
        copy.bytes = uint32_t(w.get(in.args[2], l));
        copy.source_bytes =
            in.args.size() > 3 ? std::min(copy.bytes, uint32_t(w.get(in.args[3], l))) : copy.bytes;
        copy.to = uint64_t(resolve(w, l, Space::SHARED, copy.to, copy.bytes, Access::ASYNC) -
                           w.block->shared.data());
        if (copy.source_bytes)
            resolve(w, l, Space::GLOBAL, copy.from, copy.bytes, Access::READ);
        mark(w, copy, true);
        w.open_copies[l].push_back(copy);
    });
}
void run_commit(Warp &w, const Instruction &)
{
    for_active(w, [&](int l) {
        w.groups[l].push_back(std::move(w.open_copies[l]));
        w.open_copies[l].clear();
    });
}
void run_wait(Warp &w, const Instruction &in)
{
    bool all = in.args.empty();
    if (all)
        run_commit(w, in);
    for_active(w, [&](int l) {
        for (size_t keep = all ? 0 : size_t(w.get(in.args[0], l)); w.groups[l].size() > keep;) {
            land(w, l, w.groups[l].front());
            w.groups[l].pop_front();
        }
    });
}
void decode_copy(Instruction &in)
{
    accept(
        in,
        "async commit_group wait_group wait_all ca cg shared shared::cta global L2::64B L2::128B L2::256B");
    if (!has(in, "async"))
        throw Unsupported("instruction '" + in.text + "' is not known");
    in.run = has(in, "commit_group")                        ? run_commit
             : has(in, "wait_group") || has(in, "wait_all") ? run_wait
                                                            : run_copy;
}

void run_nothing(Warp &, const Instruction &) {}
void decode_nothing(Instruction &in)
{
    accept(in, "global L1 L2");
    in.run = run_nothing;
}
void run_grid_wait(Warp &w, const Instruction &)
{
    if (w.block->ordering)
        for_active(w, [&](int l) { w.block->views[w.base + uint32_t(l)].waited = true; });
}
void run_grid_launch(Warp &w, const Instruction &)
{
    w.block->triggered = true;
}
void decode_grid(Instruction &in)
{
    accept(in, "wait launch_dependents");
    in.run = has(in, "wait") ? run_grid_wait : run_grid_launch;
}
void run_fence(Warp &w, const Instruction &)
{
    if (w.block->ordering)
        for_active(w, [&](int l) { fence(w, l); });
}
// A fence of the block orders nothing between blocks.
void decode_fence(Instruction &in)
{
    accept(in, "gl cta sys gpu sc acq_rel");
    in.run = has(in, "cta") ? run_nothing : run_fence;
}

} // namespace

const std::vector<Opcode> ACCESSES = {{"ld", decode_load},          {"ldu", decode_load},
                                      {"st", decode_store},         {"atom", decode_atomic},
                                      {"red", decode_atomic},       {"cp", decode_copy},
                                      {"membar", decode_fence},     {"fence", decode_fence},
                                      {"prefetch", decode_nothing}, {"griddepcontrol", decode_grid}};

} // namespace softcuda
