#include "tests/softcuda/warp.h"

#include <algorithm>
#include <cstring>
#include <cuda.h>

namespace softcuda
{

void Warp::fault(int code, int lane, const std::string &what) const
{
    const uint32_t *index = block->index;
    throw Fault{code, what + " [kernel " + block->launch->kernel->name + ", block (" +
                          std::to_string(index[0]) + "," + std::to_string(index[1]) + "," +
                          std::to_string(index[2]) + "), thread " + std::to_string(base + uint32_t(lane)) +
                          ", PTX line " + std::to_string(at ? at->line : 0) + ": " + (at ? at->text : "") +
                          "]"};
}

void Warp::run(int turn)
{
    const Instruction *code = block->launch->kernel->code.data();
    while (uint32_t ready = live & ~(waiting | held)) {
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
            if (block->counts && at->flow != Flow::MEET)
                block->counts->count(*this, *at, here - 1);
            switch (at->flow) {
            case Flow::NEXT:
                at->run(*this, *at);
                break;
            case Flow::PAUSE:
                at->run(*this, *at);
                turn = block->pauses() ? 0 : turn;
                break;
            case Flow::BRANCH:
                target = uint32_t(at->args[0].offset);
                if (mask == group)
                    here = target;
                else
                    split = mask;
                break;
            case Flow::CALL:
                enter(here);
                target = block->launch->kernel->calls[size_t(at->mode)].target;
                if (mask == group)
                    here = target;
                else
                    split = mask;
                break;
            case Flow::RETURN:
                group &= ~mask;
                leave();
                next = 0; // they may have gone back to before the others
                break;
            case Flow::EXIT:
                group &= ~mask;
                exit();
                next = 0;
                break;
            case Flow::BARRIER:
                if (block->arrive(*this, here))
                    turn = 0;
                for_active(*this, [&](int lane) { pc[lane] = here; });
                group &= ~waiting;
                break;
            case Flow::MEET:
                group &= ~mask;
                group |= meet(here - 1);
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
    if (held && !waiting_at(LAUNCH_IN_FRONT))
        report_held();
}

uint32_t Warp::waiting_at(int id) const
{
    uint32_t lanes = 0;
    for (uint32_t left = waiting; left; left &= left - 1)
        if (barrier[__builtin_ctz(left)] == id)
            lanes |= left & -left;
    return lanes;
}

uint32_t Warp::named(int lane)
{
    return at->members == NO_SLOT ? ~0u : lanes<uint32_t>(at->members)[lane];
}

uint32_t Warp::held_at(uint32_t place) const
{
    uint32_t lanes = 0;
    for (uint32_t left = held; left; left &= left - 1)
        lanes |= pc[__builtin_ctz(left)] == place ? left & -left : 0;
    return lanes;
}

uint32_t Warp::alike(uint32_t there, uint32_t names)
{
    if (at->members == NO_SLOT)
        return there;
    const uint32_t *masks = lanes<uint32_t>(at->members);
    uint32_t found = 0;
    for (int l = 0; l < LANES; l++)
        found |= uint32_t(masks[l] == names) << l;
    return found & there;
}

// Lanes with different masks are at different meetings, though at the same instruction.
uint32_t Warp::meet(uint32_t place)
{
    const uint32_t came = mask;
    uint32_t met = 0;
    for (uint32_t left = came | held_at(place); left; left &= ~mask) {
        const uint32_t names = named(__builtin_ctz(left));
        mask = alike(left, names);
        if (mask != (at->all_live ? names : names & live))
            continue;
        if (block->counts)
            block->counts->count(*this, *at, place);
        at->run(*this, *at);
        met |= mask;
    }
    held = (held | came) & ~met;
    for (uint32_t left = came & ~met; left; left &= left - 1)
        pc[__builtin_ctz(left)] = place;
    return met;
}

void Warp::exit()
{
    live &= ~mask;
    if (held)
        regroup();
}

void Warp::regroup()
{
    for (uint32_t left = held; left;) {
        const uint32_t place = pc[__builtin_ctz(left)];
        left &= ~held_at(place);
        at = &block->launch->kernel->code[place];
        mask = 0;
        for (uint32_t met = meet(place); met; met &= met - 1)
            pc[__builtin_ctz(met)] = place + 1;
    }
}

// Every lane has exited, waits for the block or is held: what a held one waits for cannot come.
void Warp::report_held()
{
    const int lane = __builtin_ctz(held);
    at = &block->launch->kernel->code[pc[lane]];
    const uint32_t names = named(lane), here = alike(held_at(pc[lane]), names);
    fault(CUDA_ERROR_LAUNCH_FAILED, lane,
          "the mask names lanes " + std::to_string(names) + ", here are lanes " + std::to_string(here) +
              ", and no other lane can come");
}

static void copy_pieces(const Warp &w, int lane, const std::vector<Copy> &copies)
{
    uint8_t *local =
        w.block->local.data() + size_t(w.base + uint32_t(lane)) * w.block->launch->kernel->local_bytes;
    for (const Copy &c : copies)
        memcpy(local + c.to, local + c.from, c.bytes);
}

void Warp::enter(uint32_t back)
{
    const Call *call = &block->launch->kernel->calls[size_t(at->mode)];
    for_active(*this, [&](int lane) {
        frames[lane].push_back({back, call});
        copy_pieces(*this, lane, call->arguments);
    });
}

void Warp::leave()
{
    uint32_t last = 0;
    for_active(*this, [&](int lane) {
        if (frames[lane].empty()) {
            last |= 1u << lane;
            return;
        }
        Frame frame = frames[lane].back();
        frames[lane].pop_back();
        copy_pieces(*this, lane, frame.call->results);
        pc[lane] = frame.pc;
    });
    mask = last;
    exit();
}

void Warp::advance(uint32_t met)
{
    time++;
    if (!block->ordering)
        return;
    std::vector<View *> views;
    for (uint32_t left = met; left; left &= left - 1)
        views.push_back(&block->views[base + uint32_t(__builtin_ctz(left))]);
    Ordering::merge(views);
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
