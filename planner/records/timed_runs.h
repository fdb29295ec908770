// Published runs as the time model sees them: what their software did, whose factors they have, and
// how much each counts in a fit.
#pragma once

#include <map>

#include "costmodel/stack.h"
#include "planner/calibrate.h"
#include "planner/records/run_case.h"

namespace shardwright {

// What the estimator needs of a record, beside its cluster.
struct TimeInputs {
  ModelSpec model;  // with the vocabulary as the software pads it
  Plan plan;
  Kernels kernels;           // the stack's, with what the record itself prints
  std::string interconnect;  // owner of the network's factors
};
TimeInputs time_inputs(const RunCase& run, const Kernels& stack);

struct TimedCase {
  RunCase run;
  TimedRun timed;
  bool counts = false;  // has seconds and is not underspecified
};

// Cases whose step time is known. `stacks`: kernels by the name of a shipped stack. Weights: a
// source counts as at most kSourceRows rows, vTrain's composed single-node rows as fewer, an
// underspecified row as a fifth: the fit has to live with what its source does not print.
struct TimedRuns {
  std::vector<std::unique_ptr<TimedCase>> cases;  // addresses stay: estimators refer to the models
  std::vector<std::string> refused;               // "id: why"
};
Result<TimedRuns> timed_runs(const std::vector<RecordRow>& rows, const RecordTables& tables,
                             const std::string& profiles_dir);

}  // namespace shardwright
