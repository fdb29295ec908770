// `shardwright calibrate --ops`: fits a device profile to measured operators.
#pragma once

#include <iosfwd>
#include <string>

namespace shardwright {

struct CalibrateOpsOptions {
  std::string ops;         // folder with gemm/, attention/, collectives/, or one CSV file
  std::string device;      // whose timings to use
  std::string base;        // a profile file with the device's facts; empty: the shipped one
  std::string large_from;  // a shipped device whose table prices the largest products; may be empty
  std::string output;
  bool quick = false;
  bool collectives = true;
};

int run_calibrate_ops(const CalibrateOpsOptions& options, std::ostream& out, std::ostream& err);

}  // namespace shardwright
