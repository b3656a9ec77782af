// Control flow, and instructions in which lanes see each other: shuffles, votes, reductions, matrices.
#include "tests/softcuda/warp.h"

#include <algorithm>
#include <cstring>
#include <cuda.h>

namespace softcuda
{
namespace
{

void decode_branch(Instruction &in)
{
    accept(in, "uni");
    in.flow = Flow::BRANCH;
}
void decode_exit(Instruction &in)
{
    accept(in, "uni");
    in.flow = Flow::EXIT;
}
void decode_return(Instruction &in)
{
    accept(in, "uni");
    in.flow = Flow::RETURN;
}
void run_trap(Warp &w, const Instruction &)
{
    w.fault(CUDA_ERROR_LAUNCH_FAILED, __builtin_ctz(w.mask), "trap");
}
void decode_trap(Instruction &in)
{
    in.run = run_trap;
}

// A .sync instruction: run is called with the lanes that its mask names. Those that have exited count as
// there, except where the manual says that none may have.
enum Exited { ARE_THERE, ARE_MISSING };
void meeting(Instruction &in, Run run, uint32_t members, Exited exited)
{
    in.all_live = exited == ARE_MISSING;
    in.flow = Flow::MEET;
    in.run = run;
    in.members = members;
}

void run_warp_barrier(Warp &w, const Instruction &)
{
    w.advance(w.mask);
}
void decode_barrier(Instruction &in)
{
    for (Operand &o : in.args)
        if (o.negated && &o != &in.args.back())
            throw Unsupported("instruction '" + in.text + "': a negated operand");
    accept(in, "sync arrive red warp aligned cta popc and or");
    if (has(in, "warp")) {
        meeting(in, run_warp_barrier, in.slots[0], ARE_MISSING);
        return;
    }
    in.mode = has(in, "arrive") ? BAR_ARRIVE
              : !has(in, "red") ? BAR_SYNC
              : has(in, "popc") ? BAR_POPC
              : has(in, "and")  ? BAR_AND
                                : BAR_OR;
    in.flow = Flow::BARRIER;
}

// ---- shfl.sync.mode.b32 d{|p}, a, b, c, mask
enum Shuffle { UP, DOWN, BUTTERFLY, INDEX };
void run_shuffle(Warp &w, const Instruction &in)
{
    uint32_t a[LANES], result[LANES], valid = 0;
    memcpy(a, w.raw(in.slots[1]), sizeof a);
    for_active(w, [&](int l) {
        int b = int(w.get(in.args[2], l)) & 31, c = int(w.get(in.args[3], l)), segment = c >> 8 & 31,
            clamp = c & 31;
        int limit = (l & segment) | (clamp & ~segment), from;
        bool p;
        switch (in.mode) {
        case UP:
            from = l - b;
            p = from >= limit;
            break;
        case DOWN:
            from = l + b;
            p = from <= limit;
            break;
        case BUTTERFLY:
            from = l ^ b;
            p = from <= limit;
            break;
        default:
            from = (l & segment) | (b & ~segment);
            p = from <= limit;
        }
        from = p ? from : l;
        if (!(w.mask >> from & 1))
            w.fault(CUDA_ERROR_LAUNCH_FAILED, l,
                    "shuffle from lane " + std::to_string(from) + ", which is not here");
        result[l] = a[from];
        valid |= uint32_t(p) << l;
    });
    const Operand &d = in.args[0];
    for_active(w, [&](int l) {
        w.set(d.form == Form::VECTOR ? d.parts[0] : d, l, result[l]);
        if (d.form == Form::VECTOR)
            w.set(d.parts[1], l, valid >> l & 1);
    });
}
void decode_shuffle(Instruction &in)
{
    accept(in, "sync up down bfly idx");
    in.mode = has(in, "up") ? UP : has(in, "down") ? DOWN : has(in, "bfly") ? BUTTERFLY : INDEX;
    meeting(in, run_shuffle, in.slots[4], ARE_THERE);
}

enum Vote { BALLOT, ANY, ALL, UNIFORM };
void run_vote(Warp &w, const Instruction &in)
{
    uint32_t set = 0;
    for_active(w, [&](int l) { set |= uint32_t(w.get(in.args[1], l) != 0) << l; });
    uint32_t result = in.mode == BALLOT ? set
                      : in.mode == ANY  ? set != 0
                      : in.mode == ALL  ? set == w.mask
                                        : set == 0 || set == w.mask;
    for_active(w, [&](int l) { w.set(in.args[0], l, result); });
}
void decode_vote(Instruction &in)
{
    accept(in, "sync ballot any all uni");
    in.mode = has(in, "ballot") ? BALLOT : has(in, "any") ? ANY : has(in, "all") ? ALL : UNIFORM;
    meeting(in, run_vote, in.slots[2], ARE_THERE);
}

// ---- match.any.sync d, a, mask; match.all.sync d{|p}, a, mask
enum Match { OF_ANY, OF_ALL };
void run_match(Warp &w, const Instruction &in)
{
    uint32_t same[LANES] = {0};
    for_active(w, [&](int l) {
        for_active(w, [&](int other) {
            same[l] |= uint32_t(w.get(in.args[1], l) == w.get(in.args[1], other)) << other;
        });
    });
    const Operand &d = in.args[0];
    for_active(w, [&](int l) {
        const uint32_t lanes = in.mode == OF_ALL && same[l] != w.mask ? 0 : same[l];
        w.set(d.form == Form::VECTOR ? d.parts[0] : d, l, lanes);
        if (d.form == Form::VECTOR)
            w.set(d.parts[1], l, lanes != 0);
    });
}
void decode_match(Instruction &in)
{
    accept(in, "sync any all");
    in.mode = has(in, "all") ? OF_ALL : OF_ANY;
    meeting(in, run_match, in.slots[2], ARE_THERE);
}
void run_activemask(Warp &w, const Instruction &in)
{
    for_active(w, [&](int l) { w.set(in.args[0], l, w.mask); });
}
void decode_activemask(Instruction &in)
{
    accept(in, "");
    in.run = run_activemask;
}

enum Reduction { ADD, MIN, MAX, AND, OR, XOR };
void run_redux(Warp &w, const Instruction &in)
{
    uint32_t total = 0;
    bool first = true, is_signed = in.type.kind == Kind::S;
    for_active(w, [&](int l) {
        uint32_t v = uint32_t(w.get(in.args[1], l));
        bool less = is_signed ? int32_t(v) < int32_t(total) : v < total;
        switch (first ? -1 : in.mode) {
        case -1:
            total = v;
            break;
        case ADD:
            total += v;
            break;
        case MIN:
            total = less ? v : total;
            break;
        case MAX:
            total = less ? total : v;
            break;
        case AND:
            total &= v;
            break;
        case OR:
            total |= v;
            break;
        default:
            total ^= v;
        }
        first = false;
    });
    for_active(w, [&](int l) { w.set(in.args[0], l, total); });
}
void decode_redux(Instruction &in)
{
    accept(in, "sync add min max and or xor");
    in.mode = has(in, "add")   ? ADD
              : has(in, "min") ? MIN
              : has(in, "max") ? MAX
              : has(in, "and") ? AND
              : has(in, "or")  ? OR
                               : XOR;
    meeting(in, run_redux, in.slots[2], ARE_THERE);
}

/* mma of bytes, D[M][8] = A[M][K] * B[K][8] + C (PTX ISA 9.1, 9.7.14.5.3, .9 and .10). With group = lane / 4
   and member = lane % 4, register r of a lane holds of A: row group + 8 * (r & 1) for M = 16, columns 4 *
   member + 16 * (r >> 1) ...+3; of B: column group, rows 4 * member + 16 * r ...+3; of C and D: row group + 8
   * (r >> 1), column 2 * member + (r & 1).
 */
template <class A, class B, int M, int K> void run_mma(Warp &w, const Instruction &in)
{
    constexpr int HALVES = M / 8, DEPTH = K / 16;
    A a[M][K];
    B b[K][8];
    for (int l = 0; l < LANES; l++) {
        int group = l / 4, member = l % 4;
        for (int r = 0; r < HALVES * DEPTH; r++) {
            const Operand &o = in.args[1].form == Form::VECTOR ? in.args[1].parts[size_t(r)] : in.args[1];
            memcpy(&a[group + 8 * (r % HALVES)][4 * member + 16 * (r / HALVES)],
                   w.lanes<uint32_t>(o.slot) + l, 4);
        }
        for (int r = 0; r < DEPTH; r++) {
            const Operand &o = in.args[2].form == Form::VECTOR ? in.args[2].parts[size_t(r)] : in.args[2];
            uint32_t four = w.lanes<uint32_t>(o.slot)[l];
            for (int i = 0; i < 4; i++)
                b[4 * member + 16 * r + i][group] = B(four >> (8 * i));
        }
    }
    for (int row = 0; row < M; row++) {
        uint32_t sum[8] = {0};
        for (int k = 0; k < K; k++)
            for (int n = 0; n < 8; n++)
                sum[n] += uint32_t(int(a[row][k]) * int(b[k][n]));
        for (int n = 0; n < 8; n++) {
            size_t lane = size_t(row % 8 * 4 + n / 2), r = size_t(row / 8 * 2 + n % 2);
            w.lanes<uint32_t>(in.args[0].parts[r].slot)[lane] =
                sum[n] + w.lanes<uint32_t>(in.args[3].parts[r].slot)[lane];
        }
    }
}
template <int M, int K> Run mma_of(bool a_signed, bool b_signed)
{
    return a_signed   ? b_signed ? run_mma<int8_t, int8_t, M, K> : run_mma<int8_t, uint8_t, M, K>
             : b_signed ? run_mma<uint8_t, int8_t, M, K>
                      : run_mma<uint8_t, uint8_t, M, K>;
}
void decode_mma(Instruction &in)
{
    accept(in, "sync aligned m8n8k16 m16n8k16 m16n8k32 row col");
    size_t n = in.words.size();
    const std::string &a = in.words[n - 3], &b = in.words[n - 2];
    if ((a != "s8" && a != "u8") || (b != "s8" && b != "u8") || in.words[n - 1] != "s32")
        throw Unsupported("instruction '" + in.text + "': matrices of these types");
    bool sa = a == "s8", sb = b == "s8";
    Run run = has(in, "m8n8k16")    ? mma_of<8, 16>(sa, sb)
              : has(in, "m16n8k16") ? mma_of<16, 16>(sa, sb)
                                    : mma_of<16, 32>(sa, sb);
    meeting(in, run, NO_SLOT, ARE_MISSING);
}

// ldmatrix (PTX ISA 9.1, 9.7.14.5.15): lane i of each eight points to a row of 16 bytes; lane l gets pair l %
// 4 of row l / 4, or the transpose.
void run_ldmatrix(Warp &w, const Instruction &in)
{
    const uint8_t *rows[LANES];
    for (int l = 0; l < in.mode * 8; l++)
        rows[l] =
            resolve(w, l, Space::SHARED, address_of(w, l, in.args[1]) & ~SHARED_WINDOW, 16, Access::READ);
    bool transposed = in.words.end() != std::find(in.words.begin(), in.words.end(), "trans");
    for (int l = 0; l < LANES; l++)
        for (int m = 0; m < in.mode; m++) {
            uint16_t pair[2];
            for (int i = 0; i < 2; i++) {
                int row = transposed ? l % 4 * 2 + i : l / 4, column = transposed ? l / 4 : l % 4 * 2 + i;
                memcpy(&pair[i], rows[m * 8 + row] + 2 * column, 2);
            }
            const Operand &d = in.args[0].form == Form::VECTOR ? in.args[0].parts[size_t(m)] : in.args[0];
            w.set(d, l, pair[0] | uint32_t(pair[1]) << 16);
        }
}
void decode_ldmatrix(Instruction &in)
{
    accept(in, "sync aligned m8n8 x1 x2 x4 trans shared shared::cta");
    in.mode = has(in, "x4") ? 4 : has(in, "x2") ? 2 : 1;
    meeting(in, run_ldmatrix, NO_SLOT, ARE_MISSING);
}

} // namespace

const std::vector<Opcode> COLLECTIVES = {
    {"bra", decode_branch},
    {"ret", decode_return},
    {"exit", decode_exit},
    {"trap", decode_trap},
    {"bar", decode_barrier},
    {"barrier", decode_barrier},
    {"shfl", decode_shuffle},
    {"vote", decode_vote},
    {"match", decode_match},
    {"redux", decode_redux},
    {"mma", decode_mma},
    {"ldmatrix", decode_ldmatrix},
    {"activemask", decode_activemask},
};

} // namespace softcuda
