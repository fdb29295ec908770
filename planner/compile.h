// compile: from a Plan to the Program of every rank.
#pragma once

#include "costmodel/model_spec.h"
#include "planner/plan.h"
#include "planner/program/instruction.h"

namespace shardwright {

struct CompileOptions {
  // Communication on lanes of its own, beside compute. Without it everything shares the compute
  // lane, as on CPU ranks, whose messages move only while somebody copies them.
  bool overlap = true;
  // One rank per stage (tp 0, dp 0) instead of all: by symmetry the same times, at a cost that does
  // not grow with dp and tp. Enough for simulate, not for verify and execute.
  bool representative = false;
  // Of these replicas: those that stand for others where replicas are unlike.
  std::vector<int64_t> replicas = {0};
};

// REQUIRES: the plan is legal for the model (legality.h).
Program compile(const ModelSpec& model, const Plan& plan, const CompileOptions& options);

}  // namespace shardwright
