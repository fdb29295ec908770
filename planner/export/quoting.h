// Values as they may stand in files of other languages: whatever a name holds, it stays one value.
#pragma once

#include <string>
#include <string_view>
#include <vector>

namespace shardwright {

// One word of a POSIX shell: as it is when nothing in it is special, else in single quotes. A zero
// byte, which no shell can hold, becomes '?'.
std::string shell_word(std::string_view text);
std::string shell_words(const std::vector<std::string>& words);  // joined by blanks
// A double-quoted scalar of YAML, with JSON's escapes (YAML 1.2 takes them all).
std::string yaml_text(std::string_view text);
// For a comment: one line of printable ASCII, at most `limit` bytes.
std::string comment_text(std::string_view text, size_t limit = 200);
// For a name that nothing quotes (a job, a file): letters, digits, '.', '_' and '-' only.
std::string plain_name(std::string_view text, size_t limit = 60);

}  // namespace shardwright
