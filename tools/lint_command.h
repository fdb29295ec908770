// `shardwright lint`: what an existing job of another trainer will do.
#pragma once

#include <iosfwd>
#include <string>
#include <vector>

namespace shardwright {

struct LintArguments {
  std::string job;  // a launch script, a command line in a file, JSON or YAML
  std::string model, cluster;
  std::string framework;  // else recognised
  std::string stack;
  std::vector<std::string> set;  // KEY=VALUE that the job leaves to a training script
  bool json = false;
};
// 0 when the job is fine, 3 when it does not fit or is illegal, 2 when it cannot be read.
int run_lint(const LintArguments& arguments, std::ostream& out, std::ostream& err);

}  // namespace shardwright
