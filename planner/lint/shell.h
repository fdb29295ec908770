// Commands of a shell script, as far as launch scripts of training jobs need: variables and arrays
// that the script itself sets are expanded, words are split and unquoted as bash does it, nothing
// is run. What only a running shell knows (command output, the environment, arguments) stays
// unknown.
//
// Every command is taken in the order of the text: both branches of an `if` and the body of a loop
// once. Here-documents and redirections are skipped.
#pragma once

#include <string>
#include <string_view>
#include <vector>

#include "costmodel/result.h"

namespace shardwright {

// Marks a part of a word whose value is not known: kUnknown NAME kUnknown.
constexpr char kUnknown = '\x01';
bool is_unknown(std::string_view word);
// "$NAME" in place of each mark, for messages.
std::string shown(std::string_view word);

struct ShellCommand {
  std::vector<std::string> words;
};
struct ShellScript {
  std::vector<ShellCommand> commands;
  std::vector<std::string> directives;  // words of lines that begin with #SBATCH
};
// Fails when a quote or a bracket is not closed, or the text is too long when expanded.
Result<ShellScript> read_shell(std::string_view text, const std::string& file);

}  // namespace shardwright
