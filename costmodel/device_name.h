// Names of devices as profiles and files have them.
#pragma once

#include <string>
#include <string_view>

namespace shardwright {

// Letters and digits in lower case, every run of other characters one '-', none at the ends:
// "AMD EPYC 9654" is "amd-epyc-9654". Cut to `longest` characters first; may be empty.
std::string dashed_name(std::string_view text, size_t longest);

}  // namespace shardwright
