/* One block of threads, run warp by warp; a warp is 32 lanes in lock step at the lowest program counter. */
#ifndef SOFTCUDA_WARP_H
#define SOFTCUDA_WARP_H

#include "tests/softcuda/delayed.h"
#include "tests/softcuda/memory.h"
#include "tests/softcuda/ordering.h"
#include "tests/softcuda/ptx.h"
#include "tests/softcuda/statistics.h"

#include <deque>

namespace softcuda
{

constexpr uint64_t LOCAL_WINDOW = 1ull << 61;

/* What makes a launch fail; code is a CUresult. */
struct Fault {
    int code;
    std::string message;
};

struct Launch {
    Kernel *kernel;
    uint32_t grid[3], block[3];
    uint32_t dynamic_bytes;
    std::vector<uint8_t> parameters;
};

/* In check mode: a launch among those that may overlap. Blocks are numbered through all of them. */
struct Place {
    uint32_t first = 0, end = 0; /* its blocks */
    uint32_t over_from = 0;      /* who has waited knows that the blocks from here to first are over */
    bool ready = true;           /* they are */
    bool waited = false;         /* a thread of it has waited */
    /* What its threads know from their start, and what it hands on: what was fenced in front of its triggers.
     */
    std::shared_ptr<const Knowledge> known, handed_on;
};

/* Who touched a byte of shared memory at which time of its warp; 0: nobody. */
struct Seen {
    uint32_t time = 0, fences = 0;
    uint16_t thread = 0;
    uint8_t strength = 0;
    bool several = false; /* other lanes of its warp at its time */
};
struct Shadow {
    Seen write, read[2]; /* the last readers of two warps */
    bool pending = false;
};

struct AsyncCopy {
    uint64_t to, from;
    uint32_t bytes, source_bytes;
};

struct Block;

struct Warp {
    std::vector<uint8_t> registers;
    uint32_t pc[LANES];
    uint32_t mask = 0;    /* lanes of the instruction at hand */
    uint32_t live = 0;    /* not exited */
    uint32_t waiting = 0; /* at a barrier, or for the launch in front */
    uint32_t held = 0;    /* at a .sync instruction, until the other lanes that its mask names come */
    uint32_t barrier_pc = 0;
    uint8_t barrier[LANES];   /* at which one */
    uint32_t base = 0;        /* thread of lane 0 */
    uint32_t time = 1;        /* counts the barriers of the warp and of the block */
    uint32_t seen[MAX_WARPS]; /* the times of the block's warps up to which their accesses are visible */
    const Instruction *at = nullptr;
    Block *block = nullptr;
    Range recent; /* the allocation of the last access */
    struct Frame {
        uint32_t pc;
        const Call *call;
    };
    std::vector<Frame> frames[LANES]; /* of the functions that a lane is in */
    std::vector<AsyncCopy> open_copies[LANES];
    std::deque<std::vector<AsyncCopy>> groups[LANES];

    uint8_t *raw(uint32_t slot) { return registers.data() + slot; }
    template <class T> T *lanes(uint32_t slot) { return reinterpret_cast<T *>(raw(slot)); }
    uint64_t get(const Operand &, int lane);
    void set(const Operand &, int lane, uint64_t value);
    [[noreturn]] void fault(int code, int lane, const std::string &what) const;
    void run(int turn);            /* until every lane has exited or waits, or after so many instructions */
    uint32_t meet(uint32_t place); /* at the instruction at hand; the lanes that go on from there */
    uint32_t waiting_at(int barrier) const;
    void enter(uint32_t back);    /* a function */
    void leave();                 /* it, or the kernel */
    void advance(uint32_t lanes); /* they have met at a barrier of the warp */

  private:
    uint32_t named(int lane);                       /* by its mask, at the instruction at hand */
    uint32_t held_at(uint32_t place) const;         /* the held lanes of this instruction */
    uint32_t alike(uint32_t there, uint32_t names); /* the lanes of these that name those */
    void exit();                                    /* the lanes of the instruction at hand */
    void regroup();                                 /* who waited only for lanes that have exited goes on */
    [[noreturn]] void report_held();
};

/* In the header: loads, stores and shuffles call them for every lane. */
inline uint64_t Warp::get(const Operand &o, int lane)
{
    switch (o.bits) {
    case 8:
        return lanes<uint8_t>(o.slot)[lane];
    case 16:
        return lanes<uint16_t>(o.slot)[lane];
    case 32:
        return lanes<uint32_t>(o.slot)[lane];
    default:
        return lanes<uint64_t>(o.slot)[lane];
    }
}

inline void Warp::set(const Operand &o, int lane, uint64_t value)
{
    if (o.form == Form::SINK)
        return;
    switch (o.bits) {
    case 8:
        lanes<uint8_t>(o.slot)[lane] = uint8_t(value);
        break;
    case 16:
        lanes<uint16_t>(o.slot)[lane] = uint16_t(value);
        break;
    case 32:
        lanes<uint32_t>(o.slot)[lane] = uint32_t(value);
        break;
    default:
        lanes<uint64_t>(o.slot)[lane] = value;
    }
}

/* One of a block's 16 barriers. */
struct Barrier {
    bool used = false;
    uint32_t expected = 0;          /* threads; 0: all that have not exited */
    uint32_t arrived = 0;           /* without waiting */
    uint32_t holding = 0;           /* threads that came with a true predicate */
    uint32_t seen[MAX_WARPS] = {0}; /* by the warps that arrived */
};
/* Instruction::mode; the last two are griddepcontrol's. */
enum BarrierMode { BAR_SYNC, BAR_ARRIVE, BAR_POPC, BAR_AND, BAR_OR, GRID_WAIT, GRID_TRIGGER };
constexpr int BARRIERS = 16, LAUNCH_IN_FRONT = BARRIERS; /* as if that were one more barrier */

struct Block {
    const Launch *launch;
    Counts *counts;     /* null without SOFTCUDA_STATS */
    Ordering *ordering; /* null unless SOFTCUDA_CHECK is set, as is place */
    Place *place;
    uint32_t number = 0, index[3];
    bool triggered = false; /* griddepcontrol.launch_dependents: its turn ends there, the first time */
    bool parked = false;    /* nothing to do until the launch in front is over */
    uint32_t coin = 0;      /* that decides on pauses */
    uint32_t threads;
    std::vector<uint8_t> shared, local;
    std::vector<Shadow> shadow;
    std::vector<View> views; /* of the threads */
    std::vector<Warp> warps;
    Delayed delayed;
    Board board; /* what was shown to the block only */
    Barrier barriers[BARRIERS];

    Block(const Launch &, Counts *, Ordering *order = nullptr, Place *among = nullptr);
    void start(uint64_t which, uint32_t number);
    bool step(int turn);                /* a turn of every warp; false when all threads have exited */
    bool arrive(Warp &, uint32_t here); /* whether the warp's turn ends here */
    /* So does it half the time in check mode, at a place where others may come in between. */
    bool pauses() { return place && (coin = coin * 1664525 + 1013904223) >> 31; }

  private:
    bool depend(Warp &);
    void resume();
    void release(int id);
    bool complete(int id) const;
    void check_whole() const;
};

/* The bytes of an access, after bounds, alignment and (in check mode) race checks; faults otherwise. */
uint8_t *resolve(Warp &, int lane, Space, uint64_t address, uint32_t bytes, Access);
uint64_t address_of(Warp &, int lane, const Operand &);
void check_shared(Warp &, int lane, uint64_t offset, uint32_t bytes, Access);

template <class F> void for_active(Warp &w, F f)
{
    for (uint32_t left = w.mask; left; left &= left - 1)
        f(__builtin_ctz(left));
}

/* A row of an opcode table: decode() picks run() from the modifiers or throws Unsupported. */
struct Opcode {
    const char *name;
    void (*decode)(Instruction &);
};
extern const std::vector<Opcode> ARITHMETIC, CONVERSIONS, ACCESSES, COLLECTIVES;

void decode_approximation(Instruction &);
bool has(const Instruction &, const char *modifier);
/* Throws Unsupported for a modifier that is no type and not in the list of accepted words. */
void accept(const Instruction &, const char *words);

} // namespace softcuda
#endif
