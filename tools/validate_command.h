// `shardwright validate`: predictions beside published runs.
#pragma once

#include <iosfwd>
#include <string>
#include <vector>

namespace shardwright {

struct ValidateArguments {
  std::vector<std::string> paths;  // files of records, or folders of them
  bool json = false;
  bool markdown = false;
  std::string stack;    // a stack file in place of every run's own
  std::string explain;  // id of one row whose memory is taken apart
};
int run_validate(const ValidateArguments& arguments, std::ostream& out, std::ostream& err);

}  // namespace shardwright
