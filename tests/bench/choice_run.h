// Runs many plans of one model on this machine's ranks, interleaved and repeated, and compares each
// with its prediction.
#pragma once

#include <functional>
#include <string>
#include <vector>

#include "costmodel/cluster_spec.h"
#include "costmodel/model_spec.h"
#include "planner/compare.h"
#include "planner/plan.h"

namespace shardwright {

struct ChoiceSettings {
  int rounds = 5;  // times that every plan is run; the order differs from round to round
  int steps = 3;   // recorded training steps of a run, after one that is not recorded
};

struct PlanOutcome {
  Plan plan;
  Nanoseconds predicted_ns = 0;             // what the planner says of one training step
  std::vector<Nanoseconds> measured_steps;  // every recorded step of all rounds, ascending
  Nanoseconds measured_ns() const { return measured_steps.at(measured_steps.size() / 2); }
  // 100 * (predicted / measured - 1), measured being the median step.
  double error_pct() const;
  // Of the round whose median step is the median of the rounds.
  Comparison comparison;
};

// In the order of `plans`. Calls progress(runs done, runs in all) after every run.
// Throws ExecError when a run fails.
std::vector<PlanOutcome> run_plans(const ModelSpec& model, const ClusterSpec& cluster,
                                   const std::vector<Plan>& plans, const ChoiceSettings& settings,
                                   const std::function<void(int, int)>& progress);

}  // namespace shardwright
