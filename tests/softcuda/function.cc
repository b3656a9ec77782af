// Functions that were not inlined, and their calls. Arguments and results are copied in local memory.
#include "tests/softcuda/parser.h"

#include <algorithm>

namespace softcuda
{

using std::string;
using std::vector;

// The text between the parenthesis at open and its partner.
static string inside(const string &s, size_t open)
{
    return s.substr(open + 1, s.find(')', open) - open - 1);
}

// .func (results) name(parameters): its body is read again by each kernel that calls it.
void Parser::remember_function(const string &header)
{
    size_t at = header.find(".func") + 5, open = header.find('(', at);
    bool returns = open != string::npos && trimmed(header.substr(at, open - at)).empty();
    size_t name_at = returns ? header.find(')', open) + 1 : at;
    string name = words_of(header.substr(name_at), " \t\n(").at(0);
    functions_[name] = {header, at_, line_, -1, {}, {}, {}};
    for (int depth = 1; depth && at_ < text_.size(); at_++) {
        depth += (text_[at_] == '{') - (text_[at_] == '}');
        line_ += text_[at_] == '\n';
    }
}

// call.uni (results), name, (arguments);
void Parser::call(const string &text, Instruction in)
{
    OpenCall open{function_, "", kernel_->code.size(), {}, {}};
    auto pieces = [&](const string &list) {
        vector<Piece> found;
        for (const string &name : split(inside(list, 0))) {
            Symbol symbol;
            if (!find_symbol(name, symbol) || symbol.space != Space::LOCAL)
                refuse("'" + name + "' is no parameter of a call");
            found.push_back({uint32_t(symbol.address), uint32_t(symbol.bytes)});
        }
        return found;
    };
    for (const string &part : split(text)) {
        if (part[0] != '(' && !open.callee.empty())
            refuse("an indirect call: '" + text + "'");
        else if (part[0] != '(')
            open.callee = part;
        else if (open.callee.empty())
            open.results = pieces(part);
        else
            open.arguments = pieces(part);
    }
    if (!functions_.count(open.callee))
        refuse("a call of '" + open.callee + "', which has no body here");
    if (!function_.empty())
        functions_[function_].callees.push_back(open.callee);
    in.flow = Flow::CALL;
    calls_.push_back(open);
    kernel_->code.push_back(std::move(in));
}

void Parser::function(const string &name)
{
    Function &f = functions_.at(name);
    const size_t back = at_, first_branch = branches_.size();
    const int back_line = line_;
    auto symbols = symbols_;
    at_ = f.at;
    line_ = f.line;
    function_ = name;
    f.first = int(kernel_->code.size());
    scopes_.assign(1, {});
    size_t open = f.header.find('('), last = f.header.rfind('(');
    bool returns =
        trimmed(f.header.substr(f.header.find(".func") + 5, open - f.header.find(".func") - 5)).empty();
    f.results.clear();
    f.parameters.clear();
    if (returns)
        parameters(inside(f.header, open), &f.results);
    if (last != string::npos && (!returns || last != open))
        parameters(inside(f.header, last), &f.parameters);
    body();
    resolve_branches(first_branch);
    symbols_ = symbols;
    at_ = back;
    line_ = back_line;
}

void Parser::refuse_recursion(const string &name, vector<string> above) const
{
    if (std::find(above.begin(), above.end(), name) != above.end())
        refuse("the function '" + name + "' calls itself");
    above.push_back(name);
    for (const string &callee : functions_.at(name).callees)
        refuse_recursion(callee, above);
}

// Appends the functions that the kernel needs, and tells each call where its function and its pieces are.
void Parser::resolve_calls()
{
    for (size_t i = 0; i < calls_.size(); i++) {
        const string callee = calls_[i].callee;
        if (functions_.at(callee).first < 0)
            function(callee);
    }
    for (const OpenCall &open : calls_) {
        const Function &f = functions_.at(open.callee);
        refuse_recursion(open.callee, {});
        if (open.arguments.size() != f.parameters.size() || open.results.size() != f.results.size())
            refuse("a call of '" + open.callee + "' with other parameters than it has");
        Call call;
        call.target = uint32_t(f.first);
        for (size_t i = 0; i < open.arguments.size(); i++)
            call.arguments.push_back(
                {open.arguments[i].offset, f.parameters[i].offset, f.parameters[i].bytes});
        for (size_t i = 0; i < open.results.size(); i++)
            call.results.push_back({f.results[i].offset, open.results[i].offset, f.results[i].bytes});
        kernel_->code[open.instruction].mode = int(kernel_->calls.size());
        kernel_->calls.push_back(call);
    }
}

} // namespace softcuda
