// Published runs as the time model sees them: what their software did, whose factors they have, and
// how much each counts in a fit.
#pragma once

#include <map>

#include "costmodel/stack.h"
#include "planner/calibrate.h"
#include "planner/records/run_case.h"

namespace shardwright {

// Kernels of the shipped stack that the record belongs to, with what the record itself prints:
// attention kernel, fused loss, dispatcher, CUDA graphs. Also sets the plan's overlap of expert and
// tensor traffic where it is printed.
Kernels kernels_of(const RunCase& run, const Kernels& stack);
void set_printed_overlap(const Record& record, Plan* plan);

struct TimedCase {
  RunCase run;
  TimedRun timed;
  bool counts = false;  // has seconds and is not underspecified
};

// Cases whose step time is known. `stacks`: kernels by the name of a shipped stack. Weights: a
// source counts as at most kSourceRows rows, vTrain's composed single-node rows as fewer, an
// underspecified row as a fifth (modelling_runs.md, section 2).
struct TimedRuns {
  std::vector<std::unique_ptr<TimedCase>> cases;  // addresses stay: estimators refer to the models
  std::vector<std::string> refused;               // "id: why"
};
Result<TimedRuns> timed_runs(const std::vector<RecordRow>& rows, const RecordTables& tables,
                             const std::string& profiles_dir);

}  // namespace shardwright
