// From measured operators to the models of a device profile (device_profile.h says the formulas).
// Deterministic: the same timings in the same order give the same numbers.
#pragma once

#include <vector>

#include "costmodel/calibrate/measured_ops.h"
#include "costmodel/op_formulas.h"

namespace shardwright {

// What a device is, as far as fits need it.
struct DeviceFacts {
  double peak_flops_per_s = 0;  // of the operands' type
  double memory_bytes_per_s = 0;
  int64_t processors = 0;
};

// Knots of the tables, and how much they are smoothed.
struct CalibrationGrid {
  std::vector<std::vector<double>> gemm;  // m, n, k
  std::vector<std::vector<double>> unaligned;
  double difference_penalty = 0.5;
  bool tiles = true;  // try the tile model
};
CalibrationGrid full_grid();
// The 80 shapes of a quick profile: m 16 ... 8192, n and k 256 ... 16384. At training sizes, on
// (n, k) pairs left out, it costs about one point of the median and three of the p90 in bf16 (H100
// 3.4 / 9.4 becomes 4.4 / 11.9 %); fp8 with rows that need padding and small n or k lose most. A
// device where waves show (A100: 2.8 / 8.1 becomes 9.5 / 27) needs all timings.
// `shardwright validate --ops --cross --quick` measures it.
CalibrationGrid quick_grid();
bool is_quick_shape(const GemmWork& work);

GemmModel calibrate_gemm(const std::vector<MeasuredOp>& ops, const DeviceFacts& facts,
                         const CalibrationGrid& grid);
// fp8 timings contain the quantisation of x: both models come from the same timings.
// Rows of m = 1 are left out: the data of newer devices times a first call there.
struct Fp8Models {
  GemmModel gemm;
  QuantiseModel quantise;
};
Fp8Models calibrate_fp8(const std::vector<MeasuredOp>& ops, const DeviceFacts& facts,
                        const CalibrationGrid& grid);
// The same with a given quantisation, which few shapes do not show.
GemmModel calibrate_fp8_gemm(const std::vector<MeasuredOp>& ops, const DeviceFacts& facts,
                             const CalibrationGrid& grid, const QuantiseModel& quantise);

AttentionModel calibrate_attention(const std::vector<MeasuredOp>& ops, const DeviceFacts& facts);

// One curve for each collective and number of ranks, in the order of the enumeration; lower
// envelope over sizes, because less never takes longer.
std::vector<CollectiveCurve> calibrate_collectives(const std::vector<MeasuredOp>& ops);

}  // namespace shardwright
