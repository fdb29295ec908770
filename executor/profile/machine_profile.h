// Measures this machine through the executor's own Ops and communicator, as a cluster of one node
// whose devices are its cores. It is device profile and cluster in one file.
//
// Points too expensive for the time given are left out: tables take the correction of the nearest
// point measured, curves go on from their last two points, and a machine of many cores is measured
// at few counts of active ranks (rank_counts).
#pragma once

#include <cstdint>
#include <vector>

#include "costmodel/cluster_spec.h"
#include "executor/profile/rank_bench.h"

namespace shardwright {

struct ProfileOptions {
  double max_seconds = 60;  // of wall time; much less leaves more of the tables to the formula
  bool quick = false;       // few points, a few seconds: for tests, not for planning
  Progress progress;        // may be empty
};

// Active ranks to measure at: 1, powers of two and all cores, but at most four counts.
std::vector<int64_t> rank_counts(int64_t cores);

// Refuses a max_seconds below 1. Throws ExecError when an operation fails.
Result<ClusterSpec> profile_machine(const ProfileOptions& options);

}  // namespace shardwright
