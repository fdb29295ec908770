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
  // A run during which other programs took more than this share of the cores is repeated, at most
  // so often; of all repetitions the one with the least load counts, whatever it measured.
  double most_load = 0.1;
  int most_repeats = 3;
};

struct PlanOutcome {
  Plan plan;
  Nanoseconds predicted_ns = 0;             // what the planner says of one training step
  std::vector<Nanoseconds> measured_steps;  // every recorded step of all rounds, ascending
  Nanoseconds measured_ns() const { return measured_steps.at(measured_steps.size() / 2); }
  // 100 * (predicted / measured - 1), measured being the median step.
  double error_pct() const;
  int disturbed_rounds = 0;  // that never ran without such a load
  // Of the round whose median step is the median of the rounds.
  Comparison comparison;
};

// Called after every run: the round from 0 on, and how many of its runs must be repeated so far.
using RoundProgress = std::function<void(int round, size_t disturbed)>;

// In the order of `plans`. Throws ExecError when a run fails.
std::vector<PlanOutcome> run_plans(const ModelSpec& model, const ClusterSpec& cluster,
                                   const std::vector<Plan>& plans, const ChoiceSettings& settings,
                                   const RoundProgress& progress);

}  // namespace shardwright
