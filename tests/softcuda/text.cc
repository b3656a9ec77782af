// Strings of PTX: parts, words, types.
#include "tests/softcuda/text.h"

#include <cstdlib>
#include <map>

namespace softcuda
{

using std::string;
using std::vector;

string trimmed(const string &s)
{
    size_t first = s.find_first_not_of(" \t\r\n"), last = s.find_last_not_of(" \t\r\n");
    return first == string::npos ? "" : s.substr(first, last - first + 1);
}

vector<string> split(const string &s)
{
    vector<string> parts;
    string part;
    int depth = 0;
    for (char c : s) {
        depth += (c == '{' || c == '[' || c == '(') - (c == '}' || c == ']' || c == ')');
        if (c == ',' && depth == 0) {
            parts.push_back(trimmed(part));
            part.clear();
        } else {
            part += c;
        }
    }
    if (!trimmed(part).empty())
        parts.push_back(trimmed(part));
    return parts;
}

vector<string> words_of(const string &s, const char *separators)
{
    vector<string> words;
    for (size_t at = 0; (at = s.find_first_not_of(separators, at)) != string::npos;) {
        size_t end = s.find_first_of(separators, at);
        words.push_back(s.substr(at, end - at));
        at = end == string::npos ? s.size() : end;
    }
    return words;
}

bool type_named(const string &word, Type &type)
{
    static const std::map<char, Kind> kinds = {
        {'u', Kind::U}, {'s', Kind::S}, {'b', Kind::B}, {'f', Kind::F}};
    if (word == "pred") {
        type = {Kind::P, 8};
        return true;
    }
    auto kind = word.empty() ? kinds.end() : kinds.find(word[0]);
    string digits = word.empty() ? "" : word.substr(1);
    if (kind == kinds.end() || !(digits == "8" || digits == "16" || digits == "32" || digits == "64"))
        return false;
    type = {kind->second, uint8_t(atoi(digits.c_str()))};
    return true;
}

string without_comments(const string &text)
{
    string out;
    for (size_t i = 0; i < text.size(); i++) {
        if (text.compare(i, 2, "//") == 0) {
            i = std::min(text.find('\n', i), text.size() - 1);
            out += '\n';
        } else if (text.compare(i, 2, "/*") == 0) {
            size_t end = std::min(text.find("*/", i + 2), text.size() - 2);
            for (; i < end + 1; i++)
                if (text[i] == '\n')
                    out += '\n';
        } else {
            out += text[i];
        }
    }
    return out;
}

} // namespace softcuda
