// The plans that a search returns, fastest first, and how slow a plan may be to still be one.
#pragma once

#include <limits>
#include <queue>
#include <set>
#include <vector>

#include "planner/evaluate.h"

namespace shardwright {

class Answers {
 public:
  explicit Answers(int most) : most_(most) {}

  // A plan has been simulated: what is slower than all of so many needs no looking at.
  void note(const RankedPlan& simulated);
  double worst_s() const { return worst_s_; }  // infinity: anything may be an answer

  // No plan that is still open is faster. Of plans with the same degrees and the same time only the
  // first is an answer: what frameworks know before a synthesised schedule, then least memory.
  void accept(RankedPlan plan);
  // Of a search that was stopped: the best of these as well. Plans without stages are none.
  void accept_best(std::vector<RankedPlan>* simulated);
  bool full() const { return static_cast<int>(plans_.size()) >= most_; }
  std::vector<RankedPlan>& plans() { return plans_; }

 private:
  int most_;
  std::vector<RankedPlan> plans_;
  std::priority_queue<double> times_;  // of the best that were noted, the worst on top
  std::set<Nanoseconds> known_times_;
  double worst_s_ = std::numeric_limits<double>::infinity();
};

}  // namespace shardwright
