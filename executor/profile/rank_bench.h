// RankBench: one rank's part in a measurement that all active ranks make at the same moment. Cores
// share caches, memory and power, so a rank's speed depends on what its neighbours do.
#pragma once

#include <functional>
#include <string>

#include "executor/comm/communicator.h"
#include "executor/profile/sampling.h"

namespace shardwright {

// Told "gemm forward 12/64" as the work goes on, on the thread of rank 0.
using Progress = std::function<void(const std::string&)>;

class RankBench {
 public:
  // `ranks` are those that measure together and must all make the same calls; it outlives this.
  RankBench(Group& ranks, const Sampling& sampling, Clock clock = thread_cpu_ns);

  // Seconds of one call: the median of each rank, then the mean over ranks. The same on every rank.
  double measure(const std::function<void()>& call);

  double agreed_max(double value);  // over the ranks
  bool leader() const { return ranks_.index() == 0; }
  int ranks() const { return ranks_.size(); }

 private:
  int64_t timed(const std::function<void()>& call);

  Group& ranks_;
  Sampling sampling_;
  Clock clock_;
};

// A list of points to measure before a deadline.
class Section {
 public:
  // deadline_ns on monotonic_ns(). `bench` and `progress` outlive this.
  Section(RankBench& bench, std::string name, size_t points, int64_t deadline_ns,
          const Progress& progress);

  // Whether there is time for the next point, which is expected to take `expected_s` in all. The
  // same answer on every rank. Reports progress.
  bool affords(double expected_s);

 private:
  RankBench& bench_;
  std::string name_;
  size_t points_, done_ = 0;
  int64_t deadline_ns_;
  const Progress& progress_;
};

}  // namespace shardwright
