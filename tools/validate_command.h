// `shardwright validate`: predictions beside published runs.
#pragma once

#include <iosfwd>
#include <string>
#include <vector>

#include "planner/validate/time_model.h"

namespace shardwright {

struct ValidateArguments {
  std::vector<std::string> paths;  // files of records, or folders of them
  bool json = false;
  bool markdown = false;
  bool cross = false;  // each row by a fit that has seen nothing of its source
  // With `cross`: errors after that many runs of the left-out source were given.
  std::vector<int> runs_given;
  bool ablations = false;  // what every term is worth
  TimeModelOptions time;   // with the id of a row whose memory and time are taken apart
};
int run_validate(const ValidateArguments& arguments, std::ostream& out, std::ostream& err);

}  // namespace shardwright
