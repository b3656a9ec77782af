/* What the parser makes of PTX text, and what a warp executes: instructions with every operand resolved. */
#ifndef SOFTCUDA_PTX_H
#define SOFTCUDA_PTX_H

#include <cstdint>
#include <map>
#include <memory>
#include <stdexcept>
#include <string>
#include <vector>

namespace softcuda
{

enum class Kind : uint8_t { U, S, F, B, P };
struct Type {
    Kind kind = Kind::B;
    uint8_t bits = 32;
};

enum class Space : uint8_t { GENERIC, GLOBAL, SHARED, LOCAL, PARAM };
enum class Form : uint8_t { LANES, ADDRESS, VECTOR, LABEL, SINK };

constexpr int LANES = 32;
constexpr uint32_t NO_SLOT = ~0u;
/* Generic addresses of shared memory start here: no host pointer is this high. */
constexpr uint64_t SHARED_WINDOW = 1ull << 62;

/* Every operand is an array of 32 lanes in the warp's register file: immediates and special registers have
   slots of their own, filled before the warp starts, so that an instruction never asks what its operand is.
 */
struct Operand {
    Form form = Form::LANES;
    uint8_t bits = 32;          /* of a lane */
    bool negated = false;       /* !p */
    uint32_t slot = NO_SLOT;    /* byte offset into the register file; of the base for ADDRESS */
    int64_t offset = 0;         /* ADDRESS: added to the base; LABEL: index of an instruction */
    std::vector<Operand> parts; /* VECTOR */
};

struct Warp;
struct Instruction;
using Run = void (*)(Warp &, const Instruction &);
/* PAUSE: as NEXT, but others may come in behind it. MEET: a .sync instruction, which runs once all lanes that
   its mask names have come. BARRIER: griddepcontrol, too. */
enum class Flow : uint8_t { NEXT, PAUSE, BRANCH, CALL, RETURN, EXIT, BARRIER, MEET };
/* FRESH reads past the first-level cache; the others are in the memory model's sense. */
enum class Order : uint8_t { WEAK, FRESH, RELAXED, ACQUIRE, RELEASE, BOTH };

struct Instruction {
    Run run = nullptr;
    Flow flow = Flow::NEXT;
    uint32_t slots[5] = {NO_SLOT, NO_SLOT, NO_SLOT, NO_SLOT, NO_SLOT}; /* of args with Form::LANES */
    uint32_t guard = NO_SLOT;
    bool guard_negated = false;
    uint32_t members = NO_SLOT; /* MEET: of its mask; without one it names the whole warp */
    bool all_live = false;      /* MEET: none of those lanes may have exited */
    Space space = Space::GENERIC;
    uint8_t vector = 1;
    Order order = Order::WEAK;
    uint8_t strength = 0; /* 0: weak; 1: strong within the block; 2: within the device */
    Type type, source_type;
    int mode = 0; /* whatever the decoder and run() of this opcode agree on; of loads and stores: volatile */
    std::vector<Operand> args;
    std::vector<std::string> words; /* the opcode and its modifiers */
    std::string text;
    int line = 0;
};

struct Symbol {
    Space space;
    uint64_t address; /* offset in its space, or a device address */
    uint64_t bytes;
};

struct Parameter {
    uint32_t offset, bytes;
};

/* A value that a slot holds before the first instruction. */
struct Constant {
    uint32_t slot;
    uint8_t bits;
    uint64_t value;
};

enum class Special : uint8_t {
    TID_X,
    TID_Y,
    TID_Z,
    CTAID_X,
    CTAID_Y,
    CTAID_Z,
    NTID_X,
    NTID_Y,
    NTID_Z,
    NCTAID_X,
    NCTAID_Y,
    NCTAID_Z,
    LANEID,
    WARPID,
    LANEMASK_EQ,
    LANEMASK_LT,
    LANEMASK_LE,
    LANEMASK_GT,
    LANEMASK_GE,
    SMID,
    CLOCK,
    DYNAMIC_SMEM
};
struct SpecialSlot {
    uint32_t slot;
    Special which;
};

/* Bytes of a thread's local memory that go from caller to function, and back. */
struct Copy {
    uint32_t from, to, bytes;
};
struct Call {
    uint32_t target; /* instruction */
    std::vector<Copy> arguments, results;
};

/* What ptxas made of the kernel, from the cubin beside the PTX; registers is 0 where there is no such cubin.
 */
struct Resources {
    int registers = 0;
    uint32_t shared = 0;
};

struct Kernel {
    std::string name;
    std::vector<Parameter> parameters;
    uint32_t parameter_bytes = 0, shared_bytes = 0, local_bytes = 0, register_bytes = 0;
    int max_threads = 1024;
    std::vector<Instruction> code;
    std::vector<Constant> constants;
    std::vector<SpecialSlot> specials;
    std::vector<Call> calls; /* Instruction::mode of a call says which */
    Resources resources;
    uint32_t dynamic_limit = 48 * 1024; /* raised by cuFuncSetAttribute */
};

struct Module {
    std::map<std::string, std::unique_ptr<Kernel>> kernels;
    std::map<std::string, Symbol> globals;
    std::vector<std::unique_ptr<uint8_t[]>> storage;
    ~Module();
};

/* PTX that cannot be run: unknown instruction, modifier, directive. The message names it and its line. */
struct Unsupported : std::runtime_error {
    using std::runtime_error::runtime_error;
};

std::unique_ptr<Module> parse_module(const std::string &text);
/* Chooses run() by opcode and modifiers; throws Unsupported. */
void decode(Instruction &);

} // namespace softcuda
#endif
