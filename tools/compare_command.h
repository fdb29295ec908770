// `shardwright compare DIR`: what was predicted for a run beside what was measured.
#pragma once

#include <iosfwd>
#include <string>

namespace shardwright {

// `folder` is a run folder. Prints tables for people, or one JSON object, and writes a trace with
// both timelines side by side to `trace_path`; when that is empty to trace.json in the folder,
// where a failure is only a note on `err`. Returns the exit code: 0, or 2 with one line on `err`.
int run_compare(const std::string& folder, bool json, const std::string& trace_path,
                std::ostream& out, std::ostream& err);

}  // namespace shardwright
