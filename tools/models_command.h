// `shardwright models show PATH [--json]`: what a model consists of and how many parameters it has.
#pragma once

#include <iosfwd>
#include <string>

namespace shardwright {

// Prints a table for people, or one JSON object. `path` is a config.json, a folder that holds one,
// or the name of a shipped model. Returns the exit code: 0, or 2 with one line on `err`.
int run_models_show(const std::string& path, bool json, std::ostream& out, std::ostream& err);

}  // namespace shardwright
