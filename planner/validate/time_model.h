// The step time of published runs: the shipped stack of each run, or one that a user gives.
#pragma once

#include <optional>
#include <string>

#include "planner/validate/validate.h"

namespace shardwright {

// Stacks are read once, when first needed. `stack_file` ("" = each run's own) takes the place of
// every run's stack.
TimeModel stack_time_model(const std::string& profiles_dir, const std::string& stack_file);

}  // namespace shardwright
