// `shardwright calibrate --runs`: factors of the time model from runs whose step time is known.
#pragma once

#include <iosfwd>
#include <string>
#include <vector>

namespace shardwright {

struct CalibrateRunsArguments {
  std::vector<std::string> runs;  // files of records, or folders of them
  std::string output;  // stack.json; with `refit` the folder of factors.json and intervals.json
  bool refit = false;  // fit all factors anew, priors included, and cross-validate
};
int run_calibrate_runs(const CalibrateRunsArguments& arguments, std::ostream& out,
                       std::ostream& err);

}  // namespace shardwright
