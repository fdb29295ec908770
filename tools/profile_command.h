// `shardwright profile [-o FILE]`: measures this machine and writes it as a cluster.
#pragma once

#include <iosfwd>
#include <string>

#include "executor/profile/machine_profile.h"

namespace shardwright {

// Writes the cluster of this machine to `out_path`, default_machine_path() when empty (its folder
// is made then), whole or not at all, and prints a summary, as a table or as JSON. Progress goes to
// `err` when standard error is a terminal and the options bring none of their own. Returns the exit
// code: 0; 2 with one line on `err` for bad options or a path that cannot be written, found before
// measuring; 4 with one line when an operation failed.
int run_profile(const ProfileOptions& options, const std::string& out_path, bool json,
                std::ostream& out, std::ostream& err);

}  // namespace shardwright
