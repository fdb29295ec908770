// The times of a plan's pipeline: a bound that no run can beat, and the walk through its schedule.
#pragma once

#include "planner/estimate.h"
#include "planner/plan.h"
#include "planner/schedule/schedule.h"

namespace shardwright {

// All layers, embedding and head as one chunk (Estimator::PartSeconds), and how many layers.
struct WholeSeconds {
  double seconds = 0, pace = 1;
  int64_t layers = 0;
};
// Shared evenly over the stages, without any waiting: no pipeline of these layers takes less.
double layers_bound_s(const Plan& plan, const WholeSeconds& whole);

// Gives a plan with the synthesised schedule the times that it is made for: those of its chunks
// without recomputation and sharding, which `prices` are of.
void set_schedule_units(const PlanPrices& prices, Plan* plan);

// Of the passes and messages alone: step_times.h, schedule/bound.h.
double pipeline_bound_s(const Plan& plan, const PlanPrices& prices);

// The same with what follows: reduction, clipping, update, gathered weights, waiting, fixed cost.
// At most walk_step's.
double step_bound_s(const Plan& plan, const PlanPrices& prices);

// Of a plan whose replicas are unlike (PlanPrices::replicas): each kind of them as a plan of like
// replicas at its prices. They meet once a step, so none of them bounds less than the plan.
struct ReplicaView {
  Plan plan;
  PlanPrices prices;
};
std::vector<ReplicaView> replica_views(const Plan& plan, const PlanPrices& prices);
// The one that is done last, or the plan as it is.
ReplicaView slowest_view(const Plan& plan, const PlanPrices& prices, OrdersMemo* memo);

// A step, from the walk through its schedule: seconds, and of them those in which a stage stands
// still within the pipeline, on average.
struct StepWalk {
  double step_s = 0, bubble_s = 0;
  int64_t slowest_stage = 0;  // the busiest
};
StepWalk walk_step(const Plan& plan, const PlanPrices& prices, OrdersMemo* memo);

// Seconds of a step that a stage is known to spend, all microbatches, pace included; `bubble` is
// not filled in.
EstimateParts stage_parts(const Plan& plan, const PlanPrices& prices, int64_t stage);

}  // namespace shardwright
