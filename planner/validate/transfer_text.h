// What predictions are worth on software that no fit has seen, and how that improves with a few
// runs of it: by groups, by sources, and as the width of the interval that holds 80 %.
#pragma once

#include <string>
#include <vector>

#include "planner/cross_validate.h"
#include "planner/records/timed_runs.h"

namespace shardwright {

// Markdown. `residuals` by position in timed.cases, with after[count] for every count above 0;
// count 0 stands for the source left out. Underspecified rows are not counted.
std::string transfer_text(const TimedRuns& timed, const std::vector<Residuals>& residuals,
                          const std::vector<int>& counts);

}  // namespace shardwright
