// Operands: registers, constants, special registers, addresses, labels.
#include "tests/softcuda/parser.h"

#include <algorithm>
#include <cstdlib>
#include <cstring>

namespace softcuda
{

using std::string;
using std::vector;

static const std::map<string, Special> SPECIALS = {
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
        address_space_ = symbol.space;
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

Type immediate_type(const Instruction &in, const string &part)
{
    const string &opcode = in.words[0];
    const size_t index = in.args.size();
    Type type = in.source_type;
    bool amount = ((opcode == "shl" || opcode == "shr" || opcode == "bfe") && index >= 2) ||
                  (opcode == "bfi" && index >= 3);
    bool members = (opcode == "vote" || opcode == "match") && index == 2; // whatever the instruction's type
    if (amount || members)
        type.bits = 32;
    if (opcode == "mad" && index == 3 && in.words[1] == "wide")
        type.bits = uint8_t(type.bits * 2);
    if (opcode == "mov" && part[0] == '{')
        type.bits = uint8_t(type.bits / split(part.substr(1, part.size() - 2)).size());
    return type;
}

} // namespace softcuda
