// What one rank measures of compute at a given number of active ranks, and the RateSet made of it.
#pragma once

#include <array>
#include <map>
#include <vector>

#include "executor/profile/model_fit.h"
#include "executor/profile/rank_bench.h"
#include "executor/profile/work_runner.h"

namespace shardwright {

struct MeasuredRates {
  int64_t active_ranks = 1;
  std::array<std::vector<Measured<GemmWork>>, 3> gemm;            // by GemmLayout
  std::array<std::vector<Measured<AttentionWork>>, 2> attention;  // forward, backward
  std::map<PassKind, std::vector<Measured<PassWork>>> passes;
};

// All ranks of `bench` call this at once and return the same. Measures every point in two sweeps
// and keeps the faster time. Stops adding points when the time is over; every list has its cheapest
// point.
MeasuredRates measure_rates(RankBench& bench, WorkRunner& runner, const GridOptions& grid,
                            double seconds, const Progress& progress);

// The largest rates that were reached: of products and attention, and of passes that do not fit
// into caches.
Peaks peaks_of(const MeasuredRates& rates);

RateSet fit_rates(const MeasuredRates& rates, const GridOptions& grid, const Peaks& peaks);

}  // namespace shardwright
