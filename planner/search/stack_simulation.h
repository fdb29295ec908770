// A plan under a framework's software: its step by the walk through its schedule, with memory and
// parts, and as a Program that has run, one rank of each stage.
#pragma once

#include <vector>

#include "planner/evaluate.h"
#include "planner/program/timeline.h"
#include "planner/search/software.h"

namespace shardwright {

// A plan as a search reports it. REQUIRES: the plan is legal and has stage_layers.
RankedPlan evaluate(Software& software, const Plan& plan);

// Of its step: seconds, and what the busiest stage spends them on; `bubble` is the rest.
Estimate estimate_walked(Software& software, const Plan& plan);

struct StackSimulation {
  Program program;
  Timeline timeline;
};
// The makespan is the step time of evaluate().
// REQUIRES: the plan is legal and has stage_layers.
StackSimulation simulate_plan(Software& software, const Plan& plan);

// The Programs of the plans that a search returns, simulated: their step times are those of the
// search's walks.
void simulate_found(Software& software, std::vector<RankedPlan>* plans);

}  // namespace shardwright
