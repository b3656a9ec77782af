// .sync instructions whose lanes come one after another. One planted fault a kernel where fault is 1; the
// same kernel without it where fault is 0.

// Runs the instruction with operands %0 (result), %1 (rounds) and %2... after so many rounds of a loop. The
// loop lies behind the instruction and leaves for it by one jump: whoever is through it has the lowest
// program counter.
#define AFTER_ROUNDS(name, instruction)                                                                      \
    "{\n.reg .pred over, holds;\n.reg .s32 left;\nmov.s32 left, %1;\nbra " name "_LOOP;\n" name              \
    "_MEET:\n" instruction "\nbra " name "_DONE;\n" name "_LOOP:\nsub.s32 left, left, 1;\n"                  \
    "setp.le.s32 over, left, 0;\n@over bra " name "_MEET;\nbra " name "_LOOP;\n" name "_DONE:\n}"

// Rounds before the meeting: other lanes come first in each warp.
static __device__ int rounds()
{
    return (int)(threadIdx.x * 7 % 32 + threadIdx.x / 32);
}

extern "C" __global__ void lane_exits_before_the_shuffle(int *out, int fault)
{
    int v = (int)threadIdx.x, got;
    if (fault && threadIdx.x == 39)
        return;
    asm volatile(AFTER_ROUNDS("SHUFFLE", "shfl.sync.bfly.b32 %0, %2, 5, 31, -1;")
                 : "=r"(got)
                 : "r"(rounds()), "r"(v));
    out[threadIdx.x] = got;
}
// Lane 7 of each warp waits for the block, the others for lane 7.
extern "C" __global__ void lane_waits_for_the_block(int *out, int fault)
{
    unsigned votes;
    if (fault && threadIdx.x % 32 == 7)
        asm volatile("bar.sync 0;" ::: "memory");
    asm volatile(AFTER_ROUNDS("VOTE", "setp.gt.s32 holds, %2, 9;\nvote.sync.ballot.b32 %0, holds, -1;")
                 : "=r"(votes)
                 : "r"(rounds()), "r"((int)threadIdx.x % 32));
    if (!fault || threadIdx.x % 32 != 7)
        asm volatile("bar.sync 0;" ::: "memory");
    out[threadIdx.x] = (int)votes;
}
extern "C" __global__ void lanes_wait_for_each_other(int *out, int fault)
{
    int sum;
    if (fault && threadIdx.x < 16)
        asm volatile("bar.warp.sync -1;" ::: "memory");
    asm volatile(AFTER_ROUNDS("SUM", "redux.sync.add.s32 %0, %2, -1;")
                 : "=r"(sum)
                 : "r"(rounds()), "r"((int)threadIdx.x));
    if (fault && threadIdx.x >= 16)
        asm volatile("bar.warp.sync -1;" ::: "memory");
    out[threadIdx.x] = sum;
}
// The halves of a warp have a mask each; lane 4 names a lane of the other half.
extern "C" __global__ void masks_that_differ(int *out, int fault)
{
    int sum, mask = threadIdx.x & 16 ? (int)0xffff0000 : 0xffff;
    if (fault && threadIdx.x == 4)
        mask = 0x1ffff;
    asm volatile(AFTER_ROUNDS("SUM", "redux.sync.add.s32 %0, %2, %3;")
                 : "=r"(sum)
                 : "r"(rounds()), "r"((int)threadIdx.x), "r"(mask));
    out[threadIdx.x] = sum;
}
extern "C" __global__ void lane_is_not_in_its_mask(int *out, int fault)
{
    int any, mask = fault ? 0x7fffffff : -1;
    asm volatile(AFTER_ROUNDS("ANY", "setp.eq.s32 holds, %2, 31;\nvote.sync.any.pred holds, holds, %3;\n"
                                     "selp.s32 %0, 1, 0, holds;")
                 : "=r"(any)
                 : "r"(rounds()), "r"((int)threadIdx.x), "r"(mask));
    out[threadIdx.x] = any;
}
// Lanes 20 and up of the first warp have exited, and count as there; but they have no values to give.
extern "C" __global__ void lanes_have_exited(int *out, int fault)
{
    int got, sum, all, any;
    if (threadIdx.x >= 20 && threadIdx.x < 32)
        return;
    asm volatile(AFTER_ROUNDS("INDEX", "shfl.sync.idx.b32 %0, %2, %3, 31, -1;")
                 : "=r"(got)
                 : "r"(rounds()), "r"((int)threadIdx.x), "r"(fault ? 25 : 3));
    asm volatile(AFTER_ROUNDS("SUM", "redux.sync.add.s32 %0, 1, -1;") : "=r"(sum) : "r"(rounds()));
    asm volatile(AFTER_ROUNDS("ALL", "match.all.sync.b32 %0, %2, -1;") : "=r"(all) : "r"(rounds()), "r"(7));
    asm volatile(AFTER_ROUNDS("ANY", "setp.gt.s32 holds, %1, -1;\nvote.sync.ballot.b32 %0, holds, -1;")
                 : "=r"(any)
                 : "r"(rounds()));
    out[threadIdx.x] = got + 100 * sum + 10000 * (all == any);
}
// Each lane finds those whose numbers are as its own after a division by 5.
extern "C" __global__ void matches_any(int *out, int fault)
{
    int lanes, mask = fault ? 0x7fffffff : -1;
    asm volatile(AFTER_ROUNDS("MATCH", "match.any.sync.b32 %0, %2, %3;")
                 : "=r"(lanes)
                 : "r"(rounds()), "r"((int)threadIdx.x / 5), "r"(mask));
    out[threadIdx.x] = lanes;
}
// All lanes of the first warp have one value; the second warp's differ in the upper half.
extern "C" __global__ void matches_all(int *out, int fault)
{
    int lanes;
    long long value = (long long)(threadIdx.x / 33) << 40 | 5;
    if (fault && threadIdx.x == 7)
        asm volatile("bar.sync 0;" ::: "memory");
    asm volatile(AFTER_ROUNDS("MATCH", "match.all.sync.b64 %0|holds, %2, -1;\n@holds add.s32 %0, %0, 3;")
                 : "=r"(lanes)
                 : "r"(rounds()), "l"(value));
    if (!fault || threadIdx.x != 7)
        asm volatile("bar.sync 0;" ::: "memory");
    out[threadIdx.x] = lanes;
}
// Each lane reads what its neighbour wrote before the barrier, and all agree that they came.
extern "C" __global__ void barrier_with_a_lane_missing(int *out, int fault)
{
    __shared__ volatile int s[64];
    int got;
    s[threadIdx.x] = (int)threadIdx.x;
    if (fault && threadIdx.x == 20)
        return;
    asm volatile(AFTER_ROUNDS("BARRIER", "bar.warp.sync -1;\nsetp.ge.s32 holds, %1, 0;\n"
                                         "vote.sync.all.pred holds, holds, -1;\nselp.s32 %0, 100, 0, holds;")
                 : "=r"(got)
                 : "r"(rounds())
                 : "memory");
    out[threadIdx.x] = got + s[threadIdx.x ^ 1];
}
// Matrices of ones: each element is 16 and the lane's number.
extern "C" __global__ void matrix_with_a_lane_missing(int *out, int fault)
{
    int d;
    if (fault && threadIdx.x == 0)
        return;
    asm volatile(AFTER_ROUNDS("MATRIX", ".reg .s32 other;\nmma.sync.aligned.m8n8k16.row.col.s32.s8.s8.s32 "
                                        "{%0, other}, {%2}, {%2}, {%3, %3};")
                 : "=r"(d)
                 : "r"(rounds()), "r"(0x01010101), "r"((int)threadIdx.x));
    out[threadIdx.x] = d;
}
// Row r of the matrix holds its number in each pair: lane l gets row l / 4.
extern "C" __global__ void rows_with_a_lane_missing(int *out, int fault)
{
    __shared__ int s[64][4];
    int pair;
    for (int i = 0; i < 4; i++)
        s[threadIdx.x][i] = (int)threadIdx.x;
    __syncwarp();
    unsigned row = (unsigned)__cvta_generic_to_shared(s[threadIdx.x]);
    if (fault && threadIdx.x == 63)
        return;
    asm volatile(AFTER_ROUNDS("ROWS", "ldmatrix.sync.aligned.m8n8.x1.shared.b16 {%0}, [%2];")
                 : "=r"(pair)
                 : "r"(rounds()), "r"(row)
                 : "memory");
    out[threadIdx.x] = pair;
}
