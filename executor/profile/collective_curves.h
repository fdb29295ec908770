// Times of the communicator's collectives and messages, by group size and bytes.
#pragma once

#include <cstdint>
#include <vector>

#include "costmodel/device_profile.h"
#include "executor/ops.h"
#include "executor/profile/rank_bench.h"

namespace shardwright {

struct CollectiveOptions {
  std::vector<Bytes> sizes;  // of messages, ascending
  double seconds = 5;        // for all of them
  int sweeps = 2;            // 1 or 2: of two the faster time counts
};
std::vector<Bytes> collective_sizes(bool quick, Bytes most_bytes);
// Group sizes worth a curve on a machine of so many cores: each up to 8, then powers of two, and
// all.
std::vector<int64_t> group_sizes(int64_t cores);

// Measured on all ranks of `comm` at once; the result is complete on rank 0. A time is from when
// all members (or the message) were there to the end, so it holds no waiting: the median of each
// rank's calls, then the slowest rank. Buffers were written by their ranks just before, as a step
// before the collective does.
std::vector<CollectiveCurve> measure_collectives(Communicator& comm, Ops& ops,
                                                 const CollectiveOptions& options,
                                                 const Progress& progress);

}  // namespace shardwright
