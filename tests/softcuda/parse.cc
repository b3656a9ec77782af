// Statements: declarations, instructions, kernels, functions.
#include "tests/softcuda/parser.h"

#include <cstdlib>
#include <cstring>

namespace softcuda
{

using std::string;
using std::vector;

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
    if (in.words[0] == "call")
        return call(s.substr(space), std::move(in));
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
    if (in.space == Space::PARAM && address_space_ == Space::LOCAL)
        in.space = Space::LOCAL; // of a call, not of the kernel
    for (size_t i = 0; i < in.args.size() && i < 5; i++)
        in.slots[i] = in.args[i].slot;
    try {
        decode(in);
    } catch (const Unsupported &e) {
        refuse(e.what());
    }
    kernel_->code.push_back(std::move(in));
}

Piece Parser::local_variable(const string &name, uint32_t align, uint32_t bytes)
{
    uint32_t at = (kernel_->local_bytes + align - 1) / align * align;
    kernel_->local_bytes = at + bytes;
    symbols_[name] = {Space::LOCAL, at, bytes};
    return {at, bytes};
}

// .param .align 4 .b8 name[16], .param .b32 name ...: of the kernel, or the formal ones of a function
void Parser::parameters(const string &list, vector<Piece> *formal)
{
    for (const string &p : split(list)) {
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
        uint32_t bytes = count * type.bits / 8;
        if (formal) {
            formal->push_back(local_variable(words.back(), align, bytes));
            continue;
        }
        uint32_t at = (kernel_->parameter_bytes + align - 1) / align * align;
        kernel_->parameters.push_back({at, bytes});
        symbols_[words.back()] = {Space::PARAM, at, bytes};
        kernel_->parameter_bytes = at + bytes;
    }
}

void Parser::entry_header(const string &header)
{
    size_t name_at = header.find(".entry") + 6, open = header.find('(', name_at);
    kernel_->name = trimmed(words_of(header.substr(name_at, open - name_at), " \t\n").at(0));
    size_t close = open == string::npos ? name_at : header.find(')', open);
    if (open != string::npos)
        parameters(header.substr(open + 1, close - open - 1), nullptr);
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
        } else if (s.compare(0, 6, ".param") == 0) {
            vector<Piece> pieces;
            parameters(s, &pieces);
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
    calls_.clear();
    function_.clear();
    for (auto &f : functions_)
        f.second.first = -1;
    scopes_.assign(1, {});
    entry_header(header);
    body();
    resolve_branches(0);
    resolve_calls();
    module_->kernels[kernel->name] = std::move(kernel);
    kernel_ = nullptr;
}

// Of a kernel or function whose first branch this is: its labels are its own.
void Parser::resolve_branches(size_t first)
{
    for (size_t i = first; i < branches_.size(); i++) {
        auto found = labels_.find(branches_[i].second);
        if (found == labels_.end())
            refuse("unknown name '" + branches_[i].second + "' in " + kernel_->name);
        for (Operand &o : kernel_->code[branches_[i].first].args)
            if (o.form == Form::LABEL)
                o.offset = found->second;
    }
    labels_.clear();
}

std::unique_ptr<Module> Parser::run()
{
    for (char end;;) {
        string s = statement(end);
        if (end == 0)
            return std::move(module_);
        if (end == '{' && s.find(".entry") != string::npos)
            entry(s);
        else if (end == '{' && s.find(".func") != string::npos)
            remember_function(s);
        else if (end == '{')
            refuse("a block that is no kernel: '" + s.substr(0, 60) + "'");
        else if (s.find(".shared") != string::npos || s.find(".global") != string::npos ||
                 s.find(".const") != string::npos)
            variable(s);
    }
}

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
