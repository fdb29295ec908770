// Choices of a plan that are not the user's: those without effect (how weights are gathered when
// none are sharded, how an axis of one rank communicates), and overlap that a framework decides
// itself. Plans that differ in nothing else are the same job, and no file of the framework can say
// which of them is meant.
#pragma once

#include "costmodel/model_spec.h"
#include "planner/export/framework.h"
#include "planner/plan.h"

namespace shardwright {

// The plan with every idle choice at its default. Its predicted time and memory are the same.
Plan without_idle_choices(const ModelSpec& model, const Plan& plan);

// What overlaps when the framework runs the plan, of a plan without idle choices.
Overlap overlap_run_by(Framework framework, const Plan& plan);

// The plan as the framework runs it: without idle choices, and with its own overlap where it has no
// switch. `changed` names what differs from the plan in effect: "overlap_parameters=false".
Plan as_run_by(Framework framework, const ModelSpec& model, const Plan& plan,
               std::vector<std::string>* changed);

}  // namespace shardwright
