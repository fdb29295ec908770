// From measured times to the models of a device profile: the baseline formula and a table of what
// the formula misses.
#pragma once

#include <array>
#include <vector>

#include "costmodel/calibrate/rounding.h"
#include "costmodel/device_profile.h"
#include "executor/profile/grids.h"

namespace shardwright {

template <typename OneWork>
struct Measured {
  OneWork work;
  double seconds = 0;
};

struct Peaks {
  double flops_per_s = 0;
  double bytes_per_s = 0;
};

// A value at a knot of each axis.
struct TablePoint {
  std::array<double, 3> at;
  double value = 0;
};
// Cells without a point take the mean of those with one that are the fewest knots away: where a
// corner was too expensive to measure, the formula gives the growth and the neighbour the
// correction. REQUIRES: at least one point, each on knots.
LogTable fill_table(const Knots& knots, const std::vector<TablePoint>& points);

GemmModel fit_gemm(const Knots& knots, const std::vector<Measured<GemmWork>>& times,
                   const Peaks& peaks);
AttentionModel fit_attention(const Knots& knots, const std::vector<Measured<AttentionWork>>& times,
                             const Peaks& peaks);

}  // namespace shardwright
