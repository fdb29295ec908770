#include "costmodel/json_text.h"

#include <algorithm>
#include <nlohmann/json.hpp>

namespace shardwright {
namespace {

constexpr size_t kWidth = 100;

// Numbers, and short lists of numbers, go side by side.
bool is_flat(const Json& value) {
  return value.is_array() && std::all_of(value.begin(), value.end(), [](const Json& item) {
           return item.is_number() || (item.is_array() && item.size() <= 3 && is_flat(item));
         });
}

void put(const Json& value, size_t indent, size_t used, std::string* out);

void put_flat(const Json& list, size_t indent, size_t used, std::string* out) {
  *out += '[';
  size_t column = used + 1;
  for (size_t i = 0; i < list.size(); ++i) {
    std::string item = list[i].dump();
    // "[1,2]" as "[1, 2]".
    for (size_t at = item.find(','); at != std::string::npos; at = item.find(',', at + 1)) {
      item.insert(at + 1, " ");
    }
    if (i + 1 < list.size()) item += ',';
    if (i > 0 && column + 1 + item.size() > kWidth) {
      *out += '\n' + std::string(indent + 1, ' ');
      column = indent + 1;
    } else if (i > 0) {
      *out += ' ';
      ++column;
    }
    *out += item;
    column += item.size();
  }
  *out += ']';
}

void put_items(const Json& value, size_t indent, std::string* out) {
  const bool object = value.is_object();
  *out += object ? "{" : "[";
  bool first = true;
  for (const auto& item : value.items()) {
    *out += (first ? "\n" : ",\n") + std::string(indent + 2, ' ');
    first = false;
    const std::string key = object ? Json(item.key()).dump() + ": " : "";
    *out += key;
    put(item.value(), indent + 2, indent + 2 + key.size(), out);
  }
  *out += '\n' + std::string(indent, ' ') + (object ? "}" : "]");
}

void put(const Json& value, size_t indent, size_t used, std::string* out) {
  if (!value.is_structured() || value.empty()) {
    *out += value.dump();
  } else if (is_flat(value)) {
    put_flat(value, indent, used, out);
  } else {
    put_items(value, indent, out);
  }
}

}  // namespace

std::string page_text(const Json& value) {
  std::string out;
  put(value, 0, 0, &out);
  return out + "\n";
}

}  // namespace shardwright
