// Measured operators: timings of GEMMs, attention and collectives on one device, as read from CSV
// files named DEVICE.TYPE.csv. The header line says which operator a file holds.
#pragma once

#include <string>
#include <vector>

#include "costmodel/result.h"
#include "costmodel/work.h"

namespace shardwright {

enum class OpKind { kGemm, kAttention, kCollectives };
const char* name_of(OpKind kind);  // "gemm", "attention", "collectives": the folders' names

// One timing. What does not belong to the file's kind keeps its default.
struct MeasuredOp {
  int64_t line = 0;  // in the file, for errors
  double seconds = 0;
  GemmWork gemm;
  AttentionWork attention;
  CollectiveKind collective = CollectiveKind::kAllReduce;
  int64_t ranks = 0;  // of the collective
  Bytes bytes = 0;    // its message in the sense of nccl-tests
};

struct RefusedOp {
  int64_t line = 0;
  std::string reason;
};

struct MeasuredOps {
  std::string file;
  OpKind kind = OpKind::kGemm;
  std::string device;     // "h100-sxm-80gb"
  std::string type_name;  // "bf16", "fp8"; "nccl" for collectives
  DataType type = DataType::kBf16;
  std::vector<MeasuredOp> ops;
  std::vector<RefusedOp> refused;  // rows that are no numbers, not positive, or too few
};

// Refuses a file without a known header or with a name that is not DEVICE.TYPE.csv; a row that
// cannot be read goes to `refused` with its line.
Result<MeasuredOps> read_measured_ops(const std::string& path);

// The CSV files of each path: a file itself, a folder's, and those of its gemm/, attention/ and
// collectives/. Sorted within a path; an error when there are none.
Result<std::vector<std::string>> find_measured_ops(const std::vector<std::string>& paths);

}  // namespace shardwright
