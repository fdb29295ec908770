// A Comparison and the run it belongs to, as text for people and as JSON.
#pragma once

#include <string>

#include "executor/run/run_folder.h"
#include "planner/compare.h"
#include "planner/plan.h"

namespace shardwright {

struct CompareReport {
  Plan plan;
  RunSummary run;
  double loss_first = 0, loss_last = 0;  // of the first and last training step; may be NaN
  Comparison comparison;
};

// At most 100 columns wide. Times are milliseconds of one training step, averaged over the ranks;
// steps beyond the worst ones are summed up.
std::string compare_table(const CompareReport& report);

// Times are seconds of one training step; those of rows are summed over all ranks. An error without
// a measured value and a loss that is no number are null.
Json compare_json(const CompareReport& report);

}  // namespace shardwright
