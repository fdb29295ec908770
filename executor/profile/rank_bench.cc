#include "executor/profile/rank_bench.h"

#include <utility>

#include "costmodel/units.h"

namespace shardwright {

RankBench::RankBench(Group& ranks, const Sampling& sampling, Clock clock)
    : ranks_(ranks), sampling_(sampling), clock_(std::move(clock)) {}

double RankBench::agreed_max(double value) {
  if (ranks_.size() > 1) ranks_.all_reduce(&value, 1, ReduceOp::kMax);
  return value;
}

int64_t RankBench::timed(const std::function<void()>& call) {
  const int64_t begin_ns = clock_();
  call();
  return clock_() - begin_ns;
}

double RankBench::measure(const std::function<void()>& call) {
  // The first call compiles kernels and touches pages; a second one gauges how often to repeat. All
  // ranks repeat equally often, so that none measures beside an idle neighbour.
  ranks_.barrier();
  double call_ns = agreed_max(static_cast<double>(timed(call)));
  if (call_ns < static_cast<double>(sampling_.longest_warm_ns)) {
    call_ns = agreed_max(static_cast<double>(timed(call)));
  }
  const Repeats repeats = repeats_of(sampling_, static_cast<int64_t>(call_ns));
  ranks_.barrier();
  double seconds = median_seconds(repeats, clock_, call);
  if (ranks_.size() > 1) ranks_.all_reduce(&seconds, 1, ReduceOp::kSum);
  return seconds / ranks_.size();
}

Section::Section(RankBench& bench, std::string name, size_t points, int64_t deadline_ns,
                 const Progress& progress)
    : bench_(bench),
      name_(std::move(name)),
      points_(points),
      deadline_ns_(deadline_ns),
      progress_(progress) {}

bool Section::affords(double expected_s) {
  ++done_;
  const double past_s = to_seconds(monotonic_ns()) + expected_s - to_seconds(deadline_ns_);
  const bool in_time = bench_.agreed_max(past_s) <= 0;
  if (in_time && bench_.leader() && progress_) {
    progress_(name_ + " " + std::to_string(done_) + "/" + std::to_string(points_));
  }
  return in_time;
}

}  // namespace shardwright
