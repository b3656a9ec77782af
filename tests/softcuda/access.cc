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

// In check mode, of a strong access of memory that other threads share: its generic address; else 0.
uint64_t strong_at(const Warp &w, const Instruction &in, uint64_t address)
{
    if (!in.strength || !w.block->ordering)
        return 0;
    if (in.space == Space::SHARED)
        return SHARED_WINDOW + address;
    return is_global(w, in, address) || (in.space == Space::GENERIC && address >= SHARED_WINDOW) ? address
                                                                                                 : 0;
}

// What these lanes know of goes out to all blocks.
void flush_known(Warp &w, uint32_t lanes)
{
    Block &block = *w.block;
    block.delayed.flush_known([&](const Touch &by) {
        for (uint32_t left = lanes; left; left &= left - 1)
            if (block.ordering->knows(by, w, __builtin_ctz(left)))
                return true;
        return false;
    });
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
        if (uint64_t at = strong_at(w, in, address))
            w.block->ordering->strong_read(w, l, at, in.order == Order::ACQUIRE);
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
        if (uint64_t at = strong_at(w, in, address)) {
            w.block->ordering->strong_write(w, l, at, in.order == Order::RELEASE);
            if (in.order == Order::RELEASE && in.strength == 2)
                flush_known(w, 1u << l);
        }
        if (is_global(w, in, address))
            w.block->delayed.store(address, value, bytes * in.vector, bytes, touch_of(w, l));
        else
            memcpy(to, value, bytes * in.vector);
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
        in.mode = is_volatile;
        in.flow = in.space == Space::SHARED ? Flow::NEXT : Flow::PAUSE;
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
        const bool acquires = in.order == Order::ACQUIRE || in.order == Order::BOTH,
                   releases = in.order == Order::RELEASE || in.order == Order::BOTH;
        if (releases && in.strength == 2 && is_global(w, in, address))
            flush_known(w, 1u << l);
        if (is_global(w, in, address))
            w.block->delayed.flush_overlapping(address, bytes);
        if (uint64_t strong = strong_at(w, in, address)) {
            if (first) // red's read is no acquire pattern
                w.block->ordering->strong_read(w, l, strong, acquires);
            w.block->ordering->strong_write(w, l, strong, releases);
        }
        uint64_t b = w.get(in.args[first + 1], l), c = in.mode == CAS ? w.get(in.args[first + 2], l) : 0,
                 old = 0;
        std::lock_guard<std::mutex> lock(atomics);
        memcpy(&old, at, bytes);
        uint64_t value = combined(in.mode, in.type, old, b, c);
        memcpy(at, &value, bytes);
        if (first)
            w.set(in.args[0], l, old);
    });
}
void decode_atomic(Instruction &in)
{
    static const std::map<std::string, int> modes = {{"add", ADD},       {"min", MIN}, {"max", MAX},
                                                     {"and", AND},       {"or", OR},   {"xor", XOR},
                                                     {"exch", EXCHANGE}, {"cas", CAS}};
    accept(in, (std::string(ORDERS) + " add min max and or xor exch cas").c_str());
    decode_order_of(in, true);
    in.mode = -1;
    for (const std::string &word : in.words)
        if (modes.count(word))
            in.mode = modes.at(word);
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
        if (copy.source_bytes) {
            resolve(w, lane, Space::GLOBAL, copy.from, copy.bytes, Access::READ);
            w.block->delayed.read(copy.from, to, copy.source_bytes);
        }
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
void decode_grid(Instruction &in)
{
    accept(in, "wait launch_dependents");
    in.flow = Flow::BARRIER;
    in.mode = has(in, "wait") ? GRID_WAIT : GRID_TRIGGER;
}
void run_fence(Warp &w, const Instruction &in)
{
    if (!w.block->ordering)
        return;
    for_active(w, [&](int l) { w.block->ordering->fence(w, l, Scope(in.mode)); });
    if (in.mode == IN_DEVICE)
        flush_known(w, w.mask);
}
// A fence of the block orders nothing between blocks.
void decode_fence(Instruction &in)
{
    accept(in, "gl cta sys gpu sc acq_rel");
    in.mode = has(in, "cta") ? IN_BLOCK : IN_DEVICE;
    in.run = run_fence;
    in.flow = Flow::PAUSE;
}

} // namespace

const std::vector<Opcode> ACCESSES = {{"ld", decode_load},          {"ldu", decode_load},
                                      {"st", decode_store},         {"atom", decode_atomic},
                                      {"red", decode_atomic},       {"cp", decode_copy},
                                      {"membar", decode_fence},     {"fence", decode_fence},
                                      {"prefetch", decode_nothing}, {"griddepcontrol", decode_grid}};

} // namespace softcuda
