// `shardwright clusters show CLUSTER [--json]` and `shardwright clusters list [--json]`: what the
// planner knows about a cluster, and what is shipped.
#pragma once

#include <iosfwd>
#include <string>

namespace shardwright {

// Prints groups, devices and link levels as a table for people, or the whole cluster as the JSON
// that load_cluster reads, devices inline. `text` is a path, a shorthand such as
// "h100-sxm-80gb:8x64" or a shipped name. Returns the exit code: 0, or 2 with one line on `err`.
int run_clusters_show(const std::string& text, bool json, std::ostream& out, std::ostream& err);

// Prints the shipped devices and clusters. A shipped file that does not read is an error.
int run_clusters_list(bool json, std::ostream& out, std::ostream& err);

}  // namespace shardwright
