// The part of YAML that configuration files of launchers use: maps by indentation, lists of "- ",
// scalars on one line (plain, 'single' or "double" quoted, [a, b] and {} of scalars), comments.
// Everything else (anchors, tags, block text, several documents) is refused by name.
#pragma once

#include <string>
#include <string_view>

#include "costmodel/json.h"

namespace shardwright {

// Scalars become null, booleans, numbers or text as YAML 1.1's core has them (yes and no stay
// text). Fails on what is not understood, on duplicate keys, and on nesting deeper than 32.
Result<Json> parse_yaml(std::string_view text, const std::string& file);

}  // namespace shardwright
