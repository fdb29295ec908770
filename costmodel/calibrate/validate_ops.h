// How well device profiles price measured operators, by device, type and subset of sizes.
#pragma once

#include <string>
#include <vector>

#include "costmodel/calibrate/calibrate_device.h"

namespace shardwright {

// Relative errors predicted / measured - 1, in percent. bias: the median with its sign.
struct OpsErrors {
  OpKind kind = OpKind::kGemm;
  std::string device, type;
  // "all"; GEMM also "m>=128" and "training" (m, n, k >= 1024), both also with "m%16=0" (rows that
  // need no padding), and "training, <=2^38 FLOP";
  // attention "training" (seq >= 1024, batch * seq >= 4096, heads >= 8, head_dim 64 or 128);
  // collectives ">=1MiB" and ">=32MiB".
  std::string subset;
  int64_t rows = 0;
  double median_abs_pct = 0, p90_abs_pct = 0, max_abs_pct = 0, bias_pct = 0;
};

struct OpsFileReport {
  std::string file;
  int64_t rows = 0;
  std::string refused;           // the whole file: why, else empty
  std::vector<RefusedOp> lines;  // rows of it
};

struct OpsReport {
  std::vector<OpsErrors> errors;  // by kind, device, type, subset
  std::vector<OpsFileReport> files;
};

// Prices every row of the files with the shipped profile of its device. A device without a profile
// refuses the file by name.
OpsReport validate_ops(const std::vector<std::string>& files, const std::string& profiles_dir);

// The same on rows that were left out of the fit: products by (n, k), attention by (heads,
// kv_heads, head_dim), each pair or triple in one of five folds; collectives one message size at a
// time. The profile's tables are fitted anew without them.
OpsReport cross_validate_ops(const std::vector<std::string>& files, const std::string& profiles_dir,
                             const CalibrateOptions& options);

}  // namespace shardwright
