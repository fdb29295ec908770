// The times of a plan's pipeline: a bound that no run can beat, and the walk through its schedule.
#pragma once

#include "planner/estimate.h"
#include "planner/plan.h"

namespace shardwright {

// Of the passes and messages alone: step_times.h, schedule/bound.h.
double pipeline_bound_s(const Plan& plan, const PlanPrices& prices);

// The same with what follows: reduction, clipping, update, gathered weights, waiting, fixed cost.
// At most walk_step's.
double step_bound_s(const Plan& plan, const PlanPrices& prices);

// A step, from the walk through its schedule: seconds, and of them those in which a stage stands
// still within the pipeline, on average.
struct StepWalk {
  double step_s = 0, bubble_s = 0;
  int64_t slowest_stage = 0;  // the busiest
};
StepWalk walk_step(const Plan& plan, const PlanPrices& prices);

}  // namespace shardwright
