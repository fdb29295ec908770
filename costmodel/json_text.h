// JSON for people who read and compare files: objects one key a line, lists of numbers filled to
// the width of a page.
#pragma once

#include <string>

#include "costmodel/json.h"

namespace shardwright {

// Ends with a newline. The same value gives the same bytes.
std::string page_text(const Json& value);

}  // namespace shardwright
