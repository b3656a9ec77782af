// PTX text -> Module. One statement at a time: a statement ends at ';', a label at ':', a block at a brace.
#include "tests/softcuda/memory.h"
#include "tests/softcuda/text.h"

#include <cstdlib>
#include <cstring>

namespace softcuda
{
namespace
{

using std::string;
using std::vector;

const std::map<string, Special> SPECIALS = {
    {"%tid.x", Special::TID_X},
    {"%tid.y", Special::TID_Y},
    {"%tid.z", Special::TID_Z},
    {"%ctaid.x", Special::CTAID_X},
    {"%ctaid.y", Special::CTAID_Y},
    {"%ctaid.z", Special::CTAID_Z},
    {"%ntid.x", Special::NTID_X},
    {"%ntid.y", Special::NTID_Y},
    {"%ntid.z", Special::NTID_Z},
    {"%nctaid.x", Special::NCTAID_X},
    {"%nctaid.y", Special::NCTAID_Y},
    {"%nctaid.z", Special::NCTAID_Z},
    {"%laneid", Special::LANEID},
    {"%warpid", Special::WARPID},
    {"%lanemask_eq", Special::LANEMASK_EQ},
    {"%lanemask_lt", Special::LANEMASK_LT},
    {"%lanemask_le", Special::LANEMASK_LE},
    {"%lanemask_gt", Special::LANEMASK_GT},
    {"%lanemask_ge", Special::LANEMASK_GE},
    {"%smid", Special::SMID},
    {"%clock", Special::CLOCK},
    {"%dynamic_smem_size", Special::DYNAMIC_SMEM},
};

struct Register {
    uint32_t slot;
    uint8_t bits;
};

class Parser
{
  public:
    explicit Parser(const string &text) : text_(without_comments(text)) {}
    std::unique_ptr<Module> run();

  private:
    string text_;
    size_t at_ = 0;
    int line_ = 1;
    std::unique_ptr<Module> module_ = std::make_unique<Module>();
    std::map<string, string>
        shared_; // declarations outside of kernels: each kernel that uses one has its own
    std::map<string, Symbol> dynamic_; // .extern .shared arrays: they begin where the static ones end
    // of the kernel at hand
    Kernel *kernel_ = nullptr;
    vector<std::map<string, Register>> scopes_;
    std::map<string, Symbol> symbols_;
    std::map<string, int> labels_;
    vector<std::pair<size_t, string>> branches_; // instruction, label

    [[noreturn]] void refuse(const string &what) const
    {
        throw Unsupported("PTX line " + std::to_string(line_) + ": " + what);
    }
    string statement(char &end);
    uint32_t new_slot(unsigned bits);
    const Register *find_register(const string &) const;
    bool find_symbol(const string &, Symbol &);
    Operand constant(uint64_t value, uint8_t bits);
    Operand special(Special);
    Operand operand(const string &, Type);
    Operand address(const string &);
    void variable(const string &);
    void initialise(const string &, uint8_t *to, uint64_t bytes, unsigned element);
    void registers(const string &);
    void instruction(string);
    void entry(const string &header);
    void entry_header(const string &header);
    void body();
};

// The next statement without its end. Braces of operands and initialisers belong to the statement: they
// follow text.
string Parser::statement(char &end)
{
    string s;
    int depth = 0;
    for (; at_ < text_.size(); at_++) {
        char c = text_[at_];
        if (c == '\n') {
            line_++;
            string t = trimmed(s);
            for (const char *whole_line : {".loc", ".version", ".target", ".address_size", ".file"})
                if (t.compare(0, strlen(whole_line), whole_line) == 0)
                    s.clear();
        }
        bool code = trimmed(s).empty() || s.find(".entry") != string::npos ||
                    s.find(".func") != string::npos || s.find(".section") != string::npos;
        if (depth == 0 && (c == ';' || (c == '}' && code) || (c == '{' && code) ||
                           (c == ':' && text_[at_ + 1] != ':' && (at_ == 0 || text_[at_ - 1] != ':') &&
                            trimmed(s).find_first_of(" \t.{[") == string::npos))) {
            at_++;
            end = c;
            return trimmed(s);
        }
        depth += (c == '{') - (c == '}');
        s += c;
    }
    end = 0;
    return trimmed(s);
}

uint32_t Parser::new_slot(unsigned bits)
{
    uint32_t slot = kernel_->register_bytes;
    kernel_->register_bytes += std::max(64u, unsigned(LANES) * bits / 8);
    return slot;
}

const Register *Parser::find_register(const string &name) const
{
    for (size_t i = scopes_.size(); i--;) {
        auto found = scopes_[i].find(name);
        if (found != scopes_[i].end())
            return &found->second;
    }
    return nullptr;
}

bool Parser::find_symbol(const string &name, Symbol &symbol)
{
    auto declared = shared_.find(name);
    if (declared != shared_.end() && !symbols_.count(name))
        variable(declared->second);
    const std::map<string, Symbol> *const tables[] = {&symbols_, &dynamic_, &module_->globals};
    for (const auto *table : tables) {
        auto found = table->find(name);
        if (found == table->end())
            continue;
        symbol = found->second;
        if (table == &dynamic_)
            symbol.address = (kernel_->shared_bytes + 15) / 16 * 16;
        return true;
    }
    return false;
}

Operand Parser::constant(uint64_t value, uint8_t bits)
{
    Operand o;
    o.bits = bits;
    for (const Constant &c : kernel_->constants)
        if (c.value == value && c.bits == bits) {
            o.slot = c.slot;
            return o;
        }
    o.slot = new_slot(bits);
    kernel_->constants.push_back({o.slot, bits, value});
    return o;
}

Operand Parser::special(Special which)
{
    Operand o;
    for (const SpecialSlot &s : kernel_->specials)
        if (s.which == which) {
            o.slot = s.slot;
            return o;
        }
    o.slot = new_slot(32);
    kernel_->specials.push_back({o.slot, which});
    return o;
}

Operand Parser::address(const string &text)
{
    Operand o;
    o.form = Form::ADDRESS;
    string inner = trimmed(text.substr(1, text.find(']') - 1));
    size_t plus = inner.find('+');
    string base = trimmed(inner.substr(0, plus));
    if (plus != string::npos)
        o.offset = strtoll(trimmed(inner.substr(plus + 1)).c_str(), nullptr, 0);
    Symbol symbol;
    if (const Register *r = find_register(base)) {
        o.slot = r->slot;
        o.bits = r->bits;
    } else if (find_symbol(base, symbol)) {
        o.offset += int64_t(symbol.address);
    } else if (isdigit(base[0])) {
        o.offset += strtoll(base.c_str(), nullptr, 0);
    } else {
        refuse("unknown name '" + base + "'");
    }
    return o;
}

Operand Parser::operand(const string &s, Type type)
{
    Operand o;
    if (s.empty())
        refuse("an empty operand");
    size_t bar = s.find('|');
    if (s[0] == '{' || bar != string::npos) {
        o.form = Form::VECTOR;
        vector<string> parts = bar == string::npos
                                   ? split(s.substr(1, s.rfind('}') - 1))
                                   : vector<string>{trimmed(s.substr(0, bar)), trimmed(s.substr(bar + 1))};
        for (const string &part : parts)
            o.parts.push_back(operand(part, type));
        return o;
    }
    if (s[0] == '[')
        return address(s);
    if (s == "_") {
        o.form = Form::SINK;
        return o;
    }
    bool negated = s[0] == '!';
    string name = negated ? s.substr(1) : s;
    if (const Register *r = find_register(name)) {
        o.slot = r->slot;
        o.bits = r->bits;
        o.negated = negated;
        return o;
    }
    auto found = SPECIALS.find(name);
    if (found != SPECIALS.end())
        return special(found->second);
    uint8_t bits = type.bits;
    if (name[0] == '0' && strchr("fFdD", name[1]) && name[1])
        return constant(strtoull(name.c_str() + 2, nullptr, 16), strchr("fF", name[1]) ? 32 : 64);
    if (isdigit(name[0]))
        return constant(strtoull(name.c_str(), nullptr, 0), bits);
    if (name[0] == '-')
        return constant(uint64_t(strtoll(name.c_str(), nullptr, 0)), bits);
    Symbol symbol;
    if (find_symbol(name, symbol))
        return constant(symbol.address, 64);
    if (name[0] == '%')
        refuse("unknown special register '" + name + "'");
    o.form = Form::LABEL;
    branches_.push_back({kernel_->code.size(), name});
    return o;
}

void Parser::initialise(const string &list, uint8_t *to, uint64_t bytes, unsigned element)
{
    vector<string> values =
        list[0] == '{' ? split(list.substr(1, list.rfind('}') - 1)) : vector<string>{list};
    for (size_t i = 0; i < values.size() && (i + 1) * element <= bytes; i++) {
        bool hex = values[i].size() > 2 && values[i][0] == '0' && strchr("fFdD", values[i][1]);
        uint64_t value = hex ? strtoull(values[i].c_str() + 2, nullptr, 16)
                             : uint64_t(strtoll(values[i].c_str(), nullptr, 0));
        memcpy(to + i * element, &value, element);
    }
}

// .shared .align 16 .b8 name[32];  .global .u32 name = 5;  .extern .shared .b8 name[];
void Parser::variable(const string &s)
{
    size_t equals = s.find('=');
    string declaration = trimmed(s.substr(0, equals));
    size_t bracket = declaration.find('[');
    vector<string> words = words_of(declaration.substr(0, bracket), " \t\n");
    string name = words.back();
    Type type;
    uint64_t align = 0, count = 1;
    for (size_t i = 0; i < words.size(); i++) {
        if (words[i] == ".align")
            align = strtoull(words[i + 1].c_str(), nullptr, 10);
        type_named(words[i].substr(1), type);
    }
    if (bracket != string::npos && declaration[bracket + 1] == ']') {
        dynamic_[name] = {Space::SHARED, 0, 0};
        return;
    }
    for (size_t i = bracket; i != string::npos; i = declaration.find('[', i + 1))
        count *= strtoull(declaration.c_str() + i + 1, nullptr, 10);
    uint64_t bytes = count * type.bits / 8;
    align = align ? align : type.bits / 8;
    if (s.find(".shared") != string::npos || s.find(".local") != string::npos) {
        if (!kernel_) {
            shared_[name] = s;
            return;
        }
        bool shared = s.find(".shared") != string::npos;
        uint32_t &size = shared ? kernel_->shared_bytes : kernel_->local_bytes;
        size = uint32_t((size + align - 1) / align * align);
        symbols_[name] = {shared ? Space::SHARED : Space::LOCAL, size, bytes};
        size += uint32_t(bytes);
        return;
    }
    module_->storage.emplace_back(new uint8_t[bytes + 256]());
    uint8_t *at = module_->storage.back().get();
    at += (256 - uintptr_t(at) % 256) % 256;
    if (equals != string::npos)
        initialise(trimmed(s.substr(equals + 1)), at, bytes, type.bits / 8);
    memory().adopt(uint64_t(uintptr_t(at)), bytes);
    module_->globals[name] = {Space::GLOBAL, uint64_t(uintptr_t(at)), bytes};
}

// .reg .b32 %r<200>;  .reg .pred p, q;
void Parser::registers(const string &s)
{
    string rest = trimmed(s.substr(4));
    size_t space = rest.find_first_of(" \t");
    Type type;
    if (!type_named(rest.substr(1, space - 1), type))
        refuse("registers of type '" + rest.substr(0, space) + "'");
    for (const string &name : split(rest.substr(space))) {
        size_t less = name.find('<');
        int count = less == string::npos ? 1 : atoi(name.c_str() + less + 1);
        for (int i = 0; i < count; i++) {
            string full = less == string::npos ? name : name.substr(0, less) + std::to_string(i);
            scopes_.back()[full] = {new_slot(type.bits), type.bits};
        }
    }
}

// The type that an immediate has as the next operand: not every operand is of the instruction's type.
static Type immediate_type(const Instruction &in, const string &part)
{
    const string &opcode = in.words[0];
    const size_t index = in.args.size();
    Type type = in.source_type;
    bool amount = ((opcode == "shl" || opcode == "shr" || opcode == "bfe") && index >= 2) ||
                  (opcode == "bfi" && index >= 3);
    if (amount)
        type.bits = 32;
    if (opcode == "mad" && index == 3 && in.words[1] == "wide")
        type.bits = uint8_t(type.bits * 2);
    if (opcode == "mov" && part[0] == '{')
        type.bits = uint8_t(type.bits / split(part.substr(1, part.size() - 2)).size());
    return type;
}

void Parser::instruction(string s)
{
    Instruction in;
    in.line = line_;
    in.text = s;
    if (s[0] == '@') {
        size_t space = s.find_first_of(" \t");
        in.guard_negated = s[1] == '!';
        const Register *r =
            find_register(s.substr(in.guard_negated ? 2 : 1, space - (in.guard_negated ? 2 : 1)));
        if (!r)
            refuse("the guard of '" + s + "'");
        in.guard = r->slot;
        s = trimmed(s.substr(space));
    }
    size_t space = s.find_first_of(" \t\n");
    string opcode = s.substr(0, space);
    in.words = words_of(opcode, ".");
    int types = 0;
    for (const string &word : in.words) {
        Type type;
        if (&word != &in.words[0] && type_named(word, type)) {
            if (types++ == 0)
                in.type = type;
            in.source_type = type;
        }
        in.space = word == "global" || word == "const" ? Space::GLOBAL
                   : word.compare(0, 6, "shared") == 0 ? Space::SHARED
                   : word == "local"                   ? Space::LOCAL
                   : word == "param"                   ? Space::PARAM
                                                       : in.space;
        if (word == "v2" || word == "v4" || word == "v8")
            in.vector = uint8_t(word[1] - '0');
    }
    if (space != string::npos)
        for (const string &part : split(s.substr(space)))
            in.args.push_back(operand(part, immediate_type(in, part)));
    for (size_t i = 0; i < in.args.size() && i < 5; i++)
        in.slots[i] = in.args[i].slot;
    try {
        decode(in);
    } catch (const Unsupported &e) {
        refuse(e.what());
    }
    kernel_->code.push_back(std::move(in));
}

void Parser::entry_header(const string &header)
{
    size_t name_at = header.find(".entry") + 6, open = header.find('(', name_at);
    kernel_->name = trimmed(words_of(header.substr(name_at, open - name_at), " \t\n").at(0));
    size_t close = open == string::npos ? name_at : header.find(')', open);
    if (open != string::npos)
        for (const string &p : split(header.substr(open + 1, close - open - 1))) {
            size_t bracket = p.find('[');
            vector<string> words = words_of(p.substr(0, bracket), " \t\n");
            Type type;
            uint32_t align = 0, count = bracket == string::npos ? 1 : uint32_t(atoi(p.c_str() + bracket + 1));
            bool pointer = false, typed = false;
            for (size_t i = 0; i < words.size(); i++) {
                pointer |= words[i] == ".ptr";
                if (words[i] == ".align" && !pointer)
                    align = uint32_t(atoi(words[i + 1].c_str()));
                typed = (words[i][0] == '.' && !typed && type_named(words[i].substr(1), type)) || typed;
            }
            align = align ? align : type.bits / 8;
            uint32_t at = (kernel_->parameter_bytes + align - 1) / align * align,
                     bytes = count * type.bits / 8;
            kernel_->parameters.push_back({at, bytes});
            symbols_[words.back()] = {Space::PARAM, at, bytes};
            kernel_->parameter_bytes = at + bytes;
        }
    size_t limit = header.find(".maxntid", close);
    if (limit != string::npos) {
        kernel_->max_threads = 1;
        for (const string &n :
             split(header.substr(limit + 8, header.find_first_of("\n.", limit + 9) - limit - 8)))
            kernel_->max_threads *= atoi(n.c_str());
    }
}

void Parser::body()
{
    for (;;) {
        char end;
        string s = statement(end);
        if (end == '{') {
            scopes_.emplace_back();
        } else if (end == '}') {
            scopes_.pop_back();
            if (scopes_.empty())
                return;
        } else if (end == ':') {
            labels_[s] = int(kernel_->code.size());
        } else if (end == 0) {
            refuse("the text ends inside of kernel " + kernel_->name);
        } else if (s.compare(0, 4, ".reg") == 0) {
            registers(s);
        } else if (s.compare(0, 7, ".shared") == 0 || s.compare(0, 6, ".local") == 0) {
            variable(s);
        } else if (s[0] == '.') {
            if (s.compare(0, 7, ".pragma") != 0)
                refuse("unknown directive '" + s + "'");
        } else if (!s.empty()) {
            instruction(s);
        }
    }
}

void Parser::entry(const string &header)
{
    auto kernel = std::make_unique<Kernel>();
    kernel_ = kernel.get();
    symbols_.clear();
    labels_.clear();
    branches_.clear();
    scopes_.assign(1, {});
    entry_header(header);
    body();
    for (const auto &branch : branches_) {
        auto found = labels_.find(branch.second);
        if (found == labels_.end())
            refuse("unknown name '" + branch.second + "' in " + kernel_->name);
        for (Operand &o : kernel_->code[branch.first].args)
            if (o.form == Form::LABEL)
                o.offset = found->second;
    }
    module_->kernels[kernel->name] = std::move(kernel);
    kernel_ = nullptr;
}

std::unique_ptr<Module> Parser::run()
{
    for (char end;;) {
        string s = statement(end);
        if (end == 0)
            return std::move(module_);
        if (end == '{' && s.find(".entry") != string::npos)
            entry(s);
        else if (end == '{')
            refuse("a block that is no kernel: '" + s.substr(0, 60) + "'");
        else if (s.find(".shared") != string::npos || s.find(".global") != string::npos ||
                 s.find(".const") != string::npos)
            variable(s);
    }
}

} // namespace

Module::~Module()
{
    for (const auto &global : globals)
        memory().forget(global.second.address);
}

std::unique_ptr<Module> parse_module(const string &text)
{
    return Parser(text).run();
}

} // namespace softcuda
