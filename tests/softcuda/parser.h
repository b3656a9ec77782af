/* PTX text -> Module. One statement at a time: a statement ends at ';', a label at ':', a block at a brace.
 */
#ifndef SOFTCUDA_PARSER_H
#define SOFTCUDA_PARSER_H

#include "tests/softcuda/memory.h"
#include "tests/softcuda/text.h"

namespace softcuda
{

struct Register {
    uint32_t slot;
    uint8_t bits;
};

/* Bytes of a thread's local memory: where an argument or a result of a function lies. */
struct Piece {
    uint32_t offset, bytes;
};
/* A .func: its text, and what the kernel at hand made of it. There is one copy a kernel, with registers and
   parameters of its own, so that a function cannot call itself. */
struct Function {
    std::string header;
    size_t at;
    int line;
    int first = -1; /* instruction */
    std::vector<Piece> results, parameters;
    std::vector<std::string> callees;
};
/* A call instruction, until its function has a place. */
struct OpenCall {
    std::string caller, callee;
    size_t instruction;
    std::vector<Piece> results, arguments;
};

class Parser
{
  public:
    explicit Parser(const std::string &text) : text_(without_comments(text)) {}
    std::unique_ptr<Module> run();

  private:
    std::string text_;
    size_t at_ = 0;
    int line_ = 1;
    std::unique_ptr<Module> module_ = std::make_unique<Module>();
    std::map<std::string, std::string>
        shared_; // declarations outside of kernels: each kernel that uses one has its own
    std::map<std::string, Function> functions_;
    std::map<std::string, Symbol> dynamic_; // .extern .shared arrays: they begin where the static ones end
    // of the kernel at hand
    Kernel *kernel_ = nullptr;
    std::vector<std::map<std::string, Register>> scopes_;
    std::map<std::string, Symbol> symbols_;
    std::map<std::string, int> labels_;
    std::vector<std::pair<size_t, std::string>> branches_; // instruction, label
    std::vector<OpenCall> calls_;
    std::string function_;               // at hand; empty: the kernel
    Space address_space_ = Space::PARAM; // of the symbol in the last address

    [[noreturn]] void refuse(const std::string &what) const
    {
        throw Unsupported("PTX line " + std::to_string(line_) + ": " + what);
    }
    std::string statement(char &end);
    uint32_t new_slot(unsigned bits);
    const Register *find_register(const std::string &) const;
    bool find_symbol(const std::string &, Symbol &);
    Operand constant(uint64_t value, uint8_t bits);
    Operand special(Special);
    Operand operand(const std::string &, Type);
    Operand address(const std::string &);
    void variable(const std::string &);
    void initialise(const std::string &, uint8_t *to, uint64_t bytes, unsigned element);
    void registers(const std::string &);
    void instruction(std::string);
    void call(const std::string &text, Instruction);
    void entry(const std::string &header);
    void entry_header(const std::string &header);
    void function(const std::string &name);
    void remember_function(const std::string &header);
    void parameters(const std::string &list, std::vector<Piece> *formal);
    Piece local_variable(const std::string &name, uint32_t align, uint32_t bytes);
    void body();
    void resolve_branches(size_t first);
    void resolve_calls();
    void refuse_recursion(const std::string &name, std::vector<std::string> above) const;
};

/* The type that an immediate has as the next operand: not every operand is of the instruction's type. */
Type immediate_type(const Instruction &, const std::string &part);

} // namespace softcuda
#endif
