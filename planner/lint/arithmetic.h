// $(( )) of a shell script over integers and the script's own variables.
#pragma once

#include <cstdint>
#include <map>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

namespace shardwright {

// By name; an array has several words.
using ShellVariables = std::map<std::string, std::vector<std::string>>;

// What names are made of; what words are separated by, newlines apart.
bool is_name(char c);
bool is_blank(char c);

// + - * / % and brackets. Empty for everything else: other operators, variables that are not known
// or no numbers, division by zero, values beyond 10^12.
std::optional<int64_t> arithmetic_value(std::string_view text, const ShellVariables& known);

}  // namespace shardwright
