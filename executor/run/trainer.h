// Trainer: runs a Program for many steps on the ranks of a communicator and gathers what was
// measured.
#pragma once

#include <functional>
#include <string>
#include <vector>

#include "executor/run/interpreter.h"

namespace shardwright {

struct StepMetrics {
  int64_t step = 0;
  double loss = 0;
  double grad_norm = 0;
  double seconds = 0;  // wall time of the step on rank 0
};

struct TrainOptions {
  int64_t steps = 1;
  // The first steps touch memory and fill caches for the first time: executed, not recorded.
  int64_t unrecorded_steps = 2;
  int64_t most_recorded = 100;
  TrainSettings settings;
};

// What rank 0 knows in the end.
struct TrainResult {
  std::vector<StepMetrics> metrics;
  // Per instruction the median over the recorded steps of start, end and every step, relative to
  // the step's first start on any rank. Medians keep the order that every single step kept.
  Timeline measured;
  std::vector<Nanoseconds> makespans;  // of every recorded step
};

// What a rank leaves behind for tests: called on every rank after the last step, before it ends.
using RankEnd = std::function<void(const Interpreter&)>;
// Called on rank 0 after every step.
using StepDone = std::function<void(const StepMetrics&)>;

// Runs on one rank; all ranks of `comm` must call it. The result is complete on rank 0 only.
// Throws ExecError.
TrainResult train_rank(const ModelSpec& model, const Program& program, const StepTable& steps,
                       Ops& ops, Communicator& comm, const TrainOptions& options,
                       const SampleSource& samples, const StepDone& done = {},
                       const RankEnd& at_end = {});

}  // namespace shardwright
