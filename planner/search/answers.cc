#include "planner/search/answers.h"

#include <algorithm>
#include <tuple>

namespace shardwright {
namespace {

bool better(const RankedPlan& a, const RankedPlan& b) {
  const auto rank = [](const RankedPlan& one) {
    return std::tuple(one.step_ns, one.plan.schedule == ScheduleKind::kSynthesised,
                      one.memory_peak_bytes, one.plan.label());
  };
  return rank(a) < rank(b);
}

bool same_answer(const RankedPlan& a, const RankedPlan& b) {
  const auto degrees = [](const Plan& p) {
    return std::tuple(p.dp, p.tp, p.pp, p.split.cp, p.split.cp_kind, p.split.ep,
                      p.split.expert_tp(p.tp), p.split.sequence_parallel, p.micro_batch);
  };
  return a.step_ns == b.step_ns && degrees(a.plan) == degrees(b.plan);
}

}  // namespace

void Answers::note(const RankedPlan& simulated) {
  // Plans of one time may turn out to be one answer.
  if (!known_times_.insert(simulated.step_ns).second) return;
  times_.push(to_seconds(simulated.step_ns));
  if (static_cast<int>(times_.size()) > most_) times_.pop();
  if (static_cast<int>(times_.size()) == most_) worst_s_ = times_.top();
}

void Answers::accept(RankedPlan plan) {
  const bool known = std::any_of(plans_.begin(), plans_.end(),
                                 [&](const RankedPlan& one) { return same_answer(one, plan); });
  if (!known) plans_.push_back(std::move(plan));
}

void Answers::accept_best(std::vector<RankedPlan>* simulated) {
  for (RankedPlan& plan : *simulated) {
    if (!plan.stages.empty()) plans_.push_back(std::move(plan));
  }
  std::sort(plans_.begin(), plans_.end(), better);
  if (static_cast<int>(plans_.size()) > most_) plans_.resize(most_);
}

}  // namespace shardwright
