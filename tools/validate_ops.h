// `shardwright validate --ops`: errors of predicted operators against measured ones.
#pragma once

#include <iosfwd>
#include <string>
#include <vector>

namespace shardwright {

struct ValidateOpsOptions {
  std::vector<std::string> paths;  // CSV files, or folders with gemm/, attention/, collectives/
  bool cross = false;              // on shapes left out of the fit
  bool quick = false;              // with --cross: of a quick profile's fit
  bool json = false;
};

// Returns the exit code. Refused rows and files go into the report, not to `err`.
int run_validate_ops(const ValidateOpsOptions& options, std::ostream& out, std::ostream& err);

}  // namespace shardwright
