#include "tests/softcuda/warp.h"

#include <algorithm>
#include <cstring>
#include <cuda.h>

namespace softcuda
{

// A warp that spins on what another warp will write gives way after so many instructions.
constexpr int TURN = 1 << 16;

void Warp::fault(int code, int lane, const std::string &what) const
{
    const uint32_t *index = block->index;
    throw Fault{code, what + " [kernel " + block->launch->kernel->name + ", block (" +
                          std::to_string(index[0]) + "," + std::to_string(index[1]) + "," +
                          std::to_string(index[2]) + "), thread " + std::to_string(base + uint32_t(lane)) +
                          ", PTX line " + std::to_string(at ? at->line : 0) + ": " + (at ? at->text : "") +
                          "]"};
}

// Runs until every lane has exited or waits, or the turn is over.
void Warp::run()
{
    const Instruction *code = block->launch->kernel->code.data();
    int turn = TURN;
    while (uint32_t ready = live & ~waiting) {
        uint32_t here = ~0u, next = ~0u, group = 0;
        for (uint32_t left = ready; left; left &= left - 1)
            here = std::min(here, pc[__builtin_ctz(left)]);
        for (uint32_t left = ready; left; left &= left - 1) {
            int lane = __builtin_ctz(left);
            if (pc[lane] == here)
                group |= 1u << lane;
            else
                next = std::min(next, pc[lane]);
        }
        uint32_t split = 0; // lanes that take a branch alone
        uint32_t target = 0;
        while (group && !split && here < next && turn-- > 0) {
            at = &code[here];
            mask = group;
            if (at->guard != NO_SLOT) {
                const uint8_t *p = raw(at->guard);
                uint32_t set = 0;
                for (int l = 0; l < LANES; l++)
                    set |= uint32_t(p[l] != 0) << l;
                mask &= at->guard_negated ? ~set : set;
            }
            here++;
            if (!mask)
                continue;
            switch (at->flow) {
            case Flow::NEXT:
                at->run(*this, *at);
                break;
            case Flow::BRANCH:
                target = uint32_t(at->args[0].offset);
                if (mask == group)
                    here = target;
                else
                    split = mask;
                break;
            case Flow::EXIT:
                live &= ~mask;
                group &= ~mask;
                break;
            case Flow::BARRIER:
                if (waiting && barrier_pc != here && block->checked)
                    fault(CUDA_ERROR_LAUNCH_FAILED, __builtin_ctz(mask),
                          "divergent barrier: lanes of a warp wait at different ones");
                barrier_pc = here;
                waiting |= mask;
                for_active(*this, [&](int lane) { pc[lane] = here; });
                group &= ~mask;
                break;
            }
        }
        for (uint32_t left = group; left; left &= left - 1) {
            int lane = __builtin_ctz(left);
            pc[lane] = split >> lane & 1 ? target : here;
        }
        if (turn <= 0)
            return;
    }
}

static uint32_t special_value(const Launch &launch, const uint32_t *index, uint32_t thread, Special which)
{
    const uint32_t *n = launch.block, lane = thread % LANES;
    switch (which) {
    case Special::TID_X:
        return thread % n[0];
    case Special::TID_Y:
        return thread / n[0] % n[1];
    case Special::TID_Z:
        return thread / n[0] / n[1];
    case Special::LANEID:
        return lane;
    case Special::WARPID:
        return thread / LANES;
    case Special::LANEMASK_EQ:
        return 1u << lane;
    case Special::LANEMASK_LT:
        return (1u << lane) - 1;
    case Special::LANEMASK_LE:
        return (2u << lane) - 1;
    case Special::LANEMASK_GT:
        return ~((2u << lane) - 1);
    case Special::LANEMASK_GE:
        return ~((1u << lane) - 1);
    case Special::DYNAMIC_SMEM:
        return launch.dynamic_bytes;
    case Special::SMID:
        return 0;
    default:
        break;
    }
    int which_axis = (int(which) - int(Special::CTAID_X)) % 3;
    if (which <= Special::CTAID_Z)
        return index[which_axis];
    return which <= Special::NTID_Z ? n[which_axis] : launch.grid[which_axis];
}

Block::Block(const Launch &l, bool check)
    : launch(&l), checked(check), threads(l.block[0] * l.block[1] * l.block[2])
{
    const Kernel &kernel = *l.kernel;
    shared.resize((kernel.shared_bytes + 15) / 16 * 16 + l.dynamic_bytes);
    local.resize(size_t(kernel.local_bytes) * threads);
    warps.resize((threads + LANES - 1) / LANES);
    for (size_t i = 0; i < warps.size(); i++) {
        Warp &w = warps[i];
        w.block = this;
        w.base = uint32_t(i) * LANES;
        w.registers.resize(kernel.register_bytes);
        for (const Constant &c : kernel.constants) {
            Operand o;
            o.slot = c.slot;
            o.bits = c.bits;
            for (int lane = 0; lane < LANES; lane++)
                w.set(o, lane, c.value);
        }
    }
}

void Block::run(uint64_t number)
{
    uint64_t left = number;
    for (int axis = 0; axis < 3; axis++) {
        index[axis] = uint32_t(left % launch->grid[axis]);
        left /= launch->grid[axis];
    }
    memset(shared.data(), 0xA5, shared.size());
    if (checked)
        shadow.assign(shared.size(), Shadow());
    for (Warp &w : warps) {
        uint32_t count = std::min(threads - w.base, uint32_t(LANES));
        w.live = count == LANES ? ~0u : (1u << count) - 1;
        w.waiting = 0;
        memset(w.pc, 0, sizeof w.pc);
        for (const SpecialSlot &s : launch->kernel->specials)
            for (uint32_t lane = 0; lane < LANES; lane++)
                w.lanes<uint32_t>(s.slot)[lane] = special_value(*launch, index, w.base + lane, s.which);
        for (int lane = 0; lane < LANES; lane++) {
            w.open_copies[lane].clear();
            w.groups[lane].clear();
        }
    }
    for (bool alive = true; alive;) {
        bool all_wait = true;
        alive = false;
        for (Warp &w : warps) {
            w.run();
            alive |= w.live != 0;
            all_wait &= (w.live & ~w.waiting) == 0;
        }
        if (alive && all_wait)
            release_barrier();
    }
}

// All live threads wait. In check mode they must wait at one barrier, and none may have left before.
void Block::release_barrier()
{
    const Warp *first = nullptr;
    for (Warp &w : warps) {
        uint32_t count = std::min(threads - w.base, uint32_t(LANES));
        uint32_t all = count == LANES ? ~0u : (1u << count) - 1;
        if (checked && w.live != all)
            w.fault(CUDA_ERROR_LAUNCH_FAILED, __builtin_ctz(all & ~w.live),
                    "divergent barrier: this thread has exited, others wait");
        if (w.live && !first)
            first = &w;
        if (checked && w.live && w.barrier_pc != first->barrier_pc)
            w.fault(CUDA_ERROR_LAUNCH_FAILED, 0, "divergent barrier: warps wait at different ones");
        w.waiting = 0;
        w.generation++;
    }
    generation++;
}

bool has(const Instruction &in, const char *modifier)
{
    return std::find(in.words.begin() + 1, in.words.end(), modifier) != in.words.end();
}

void accept(const Instruction &in, const char *words)
{
    static const char *const types = " u8 s8 b8 u16 s16 b16 f16 u32 s32 b32 f32 u64 s64 b64 f64 pred ";
    std::string accepted = " " + std::string(words) + types;
    for (size_t i = 1; i < in.words.size(); i++)
        if (accepted.find(" " + in.words[i] + " ") == std::string::npos)
            throw Unsupported("instruction '" + in.text + "': modifier ." + in.words[i] + " is not known");
    for (const Operand &o : in.args)
        if (o.negated)
            throw Unsupported("instruction '" + in.text + "': a negated operand");
}

void decode(Instruction &in)
{
    for (const auto *table : {&ARITHMETIC, &CONVERSIONS, &ACCESSES, &COLLECTIVES})
        for (const Opcode &opcode : *table)
            if (in.words[0] == opcode.name) {
                opcode.decode(in);
                if (in.flow == Flow::NEXT && !in.run)
                    throw Unsupported("instruction '" + in.text + "': not for this type");
                return;
            }
    throw Unsupported("instruction '" + in.text + "' is not known");
}

} // namespace softcuda
