// CollectiveBench: times single collectives and messages among the ranks of a communicator.
#pragma once

#include "costmodel/work.h"
#include "executor/comm/communicator.h"
#include "executor/ops.h"

namespace shardwright {

class CollectiveBench {
 public:
  // Made on all ranks at once, for messages of up to most_bytes. comm and ops outlive this.
  CollectiveBench(Communicator& comm, Ops& ops, Bytes most_bytes);
  ~CollectiveBench();
  CollectiveBench(const CollectiveBench&) = delete;
  CollectiveBench& operator=(const CollectiveBench&) = delete;

  Group& world() { return world_; }  // all ranks, of the host communicator

  // Seconds of one call among the first `members` ranks (a message: from rank 0 to rank 1), while
  // the others wait. All ranks call this and get the same, which is positive: the median of each
  // rank's calls, of the slowest rank. On a device several calls are timed together and waiting is
  // within them. REQUIRES: a kind that communicators have, bytes in range.
  double measure(CollectiveKind kind, int64_t members, Bytes bytes);

  // What measuring the next size will take, when a call of the present one takes so long.
  static double expected_s(double call_s);

 private:
  double agreed_max(double value);
  double call(CollectiveKind kind, int64_t members, Bytes bytes);
  double device_call(CollectiveKind kind, int64_t members, int64_t elements);
  Timing perform(CollectiveKind kind, int64_t members, int64_t elements);
  Timing message(CollectiveKind kind, int64_t elements);

  Communicator& comm_;
  Ops& ops_;
  Group& world_;
  float *in_, *out_;
  double* pair_;  // what a step's end sums
};

}  // namespace shardwright
