/* Strings of PTX: parts, words, types. */
#ifndef SOFTCUDA_TEXT_H
#define SOFTCUDA_TEXT_H

#include "tests/softcuda/ptx.h"

namespace softcuda
{

std::string trimmed(const std::string &);
std::vector<std::string> split(const std::string &); /* "a, {b, c}, [d+4]" -> its top-level parts */
std::vector<std::string> words_of(const std::string &, const char *separators);
bool type_named(const std::string &word, Type &);  /* "u32", "pred" */
std::string without_comments(const std::string &); /* lines stay where they are */

} // namespace softcuda
#endif
