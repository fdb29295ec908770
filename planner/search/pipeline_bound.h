// A time that no run of a plan's pipeline can beat, from the prices of its chunks.
#pragma once

#include "planner/estimate.h"
#include "planner/plan.h"

namespace shardwright {

// A stage works without a pause at best; before its first forward the chunks before its first one
// have passed one microbatch, and after its last backward they still have theirs. Seconds.
double pipeline_bound_s(const Plan& plan, const PlanPrices& prices);

// The same with what follows: reduction, clipping, update, gathered weights, waiting, fixed cost.
double step_bound_s(const Plan& plan, const PlanPrices& prices);

}  // namespace shardwright
