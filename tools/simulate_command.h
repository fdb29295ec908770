// `shardwright simulate plan.json`: the predicted timeline of a plan.
#pragma once

#include <iosfwd>
#include <string>

namespace shardwright {

struct SimulateArguments {
  std::string plan;      // plan.json
  std::string trace;     // where the Chrome/Perfetto trace is written; empty: nowhere
  bool program = false;  // print the program as text instead of the tables
  bool json = false;
};

// Prints step time, bubble and memory per rank (for many ranks: of one rank per stage) with the
// instruction at which the peak stands. Exit codes: 0, or 2 with one line on `err`.
int run_simulate(const SimulateArguments& arguments, std::ostream& out, std::ostream& err);

}  // namespace shardwright
