// What a framework cannot express: for each of them a table of rules, checked before anything is
// written and when a job is read. legality.h says what no framework can do.
#pragma once

#include <string>
#include <vector>

#include "costmodel/cluster_spec.h"
#include "planner/export/framework.h"
#include "planner/legality.h"

namespace shardwright {

// Empty when the framework can say all of it. Rejection::rule names the choice ("schedule",
// "zero"), Rejection::what says what the framework lacks. REQUIRES: the plan obeys legality.h.
std::vector<Rejection> check_expressible(Framework framework, const ModelSpec& model,
                                         const Plan& plan);

// The part of them that the framework itself refuses, however the job is written.
std::vector<Rejection> check_runnable(Framework framework, const ModelSpec& model,
                                      const Plan& plan);

// torchtitan's name of the plan's schedule; empty when it has none.
std::string torchtitan_schedule(const Plan& plan);

}  // namespace shardwright
