// The formula under the tables of a device profile, fitted to measured times.
#pragma once

#include <vector>

namespace shardwright {

// t0 = floor_s + s_per_flop flops + s_per_byte bytes.
struct Baseline {
  double floor_s = 0, s_per_flop = 0, s_per_byte = 0;
};
struct BaselinePoint {
  double flops = 0, bytes = 0, seconds = 0;
};
// Least squares of the relative error, no constant negative: constants that would be are left out.
// REQUIRES: at least one point, all numbers positive.
Baseline fit_baseline(const std::vector<BaselinePoint>& points);

}  // namespace shardwright
