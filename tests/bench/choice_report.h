// What the runs of many plans say about the planner, as figures, text and JSON lines.
//
//   median and p90 of |error|   over the plans; error = 100 * (predicted / measured - 1), measured
//   =
//                               median of all recorded steps of a plan
//   pick                        the plan with the shortest predicted step
//   pick slower by              100 * (measured step of the pick / that of the fastest plan - 1)
//   step errors                 over all plans, what each kind of step was predicted wrongly, in
//                               percent of the plans' measured rank-time: signed and absolute
#pragma once

#include <string>
#include <vector>

#include "costmodel/json.h"
#include "tests/bench/choice_run.h"

namespace shardwright {

struct StepError {
  std::string name;                         // a row of Comparison::by_step
  double signed_pct = 0, absolute_pct = 0;  // negative: predicted too low
  double share_pct = 0;                     // of the measured rank-time that this kind takes
};

struct ChoiceSummary {
  double median_pct = 0, p90_pct = 0;  // of |error|
  size_t pick = 0, fastest = 0;        // indices of plans
  double slower_pct = 0;
  int rounds = 0, disturbed_rounds = 0;  // of all plans together
  std::vector<StepError> step_errors;    // largest absolute error first
};
// REQUIRES: not empty.
ChoiceSummary summarise(const std::vector<PlanOutcome>& outcomes, const ChoiceSettings& settings);

std::string choice_table(const std::string& model, const std::vector<PlanOutcome>& outcomes,
                         const ChoiceSummary& summary);
// One object per plan, one per kind of step and one for the model.
std::vector<Json> choice_lines(const std::string& model, const std::vector<PlanOutcome>& outcomes,
                               const ChoiceSummary& summary);

}  // namespace shardwright
