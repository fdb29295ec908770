// `shardwright plan` with a question: the largest microbatch or sequence, the fewest devices for a
// deadline, an objective other than the step time, a Pareto front, or several clusters.
#pragma once

#include <iosfwd>
#include <string>

#include "tools/plan_inputs.h"

namespace shardwright {

// Whether anything is asked beyond the fastest plans on the devices given.
bool asks(const QuestionArguments& question);

// Both print as run_plan does, with its exit codes.
int run_question(const PlanArguments& arguments, const std::string& stack, const PlanInputs& inputs,
                 std::ostream& out, std::ostream& err);
int compare_clusters(const PlanArguments& arguments, std::ostream& out, std::ostream& err);

}  // namespace shardwright
