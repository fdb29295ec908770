// What the terms of the time model are worth: errors by group when one is left out, with the other
// factors as they were and with all of them fitted again.
#pragma once

#include <string>
#include <vector>

#include "planner/calibrate.h"
#include "planner/records/timed_runs.h"

namespace shardwright {

struct Ablation {
  const char* name;
  FixedFactors fixed;  // 0 takes a term's time away, 1 the correction of what was measured alone
};
const std::vector<Ablation>& ablations();

// Markdown: a row for every ablation, a column for every group of kLeastRows counted rows or more,
// "without refit / with refit" as mean |error| in percent. `known`: the factors of the first
// figure. A fit over all runs for every row: minutes for thousands of runs.
std::string ablation_text(const TimedRuns& timed, const FactorTable& known);
constexpr int kLeastRows = 30;

}  // namespace shardwright
