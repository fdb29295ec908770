#include "costmodel/device_name.h"

#include <algorithm>
#include <cctype>

namespace shardwright {

std::string dashed_name(std::string_view text, size_t longest) {
  std::string out;
  for (const char c : text) {
    const auto byte = static_cast<unsigned char>(c);
    if (byte < 0x80 && std::isalnum(byte) != 0) {
      out += static_cast<char>(std::tolower(byte));
    } else if (!out.empty() && out.back() != '-') {
      out += '-';
    }
  }
  out.resize(std::min(out.size(), longest));
  while (!out.empty() && out.back() == '-') out.pop_back();
  return out;
}

}  // namespace shardwright
