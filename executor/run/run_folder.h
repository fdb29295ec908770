// The run folder: everything that `compare` needs of a run.
//
//   plan.json       the plan that ran, byte for byte
//   metrics.jsonl   one line per training step: step, loss, grad_norm, seconds, tokens_per_s
//   events.out.tfevents.*  the same figures for TensorBoard
//   timeline.json   the measured Timeline (medians over the recorded steps)
//   run.json        "shardwright.run/1": ranks, backend, steps, recorded steps, their makespans
// timeline.json and run.json are written last: a run that died leaves no half a result.
#pragma once

#include <fstream>
#include <optional>
#include <string>

#include "executor/run/tensorboard.h"
#include "executor/run/trainer.h"

namespace shardwright {

struct RunSummary {
  int64_t ranks = 0, steps = 0, tokens_per_step = 0;
  std::string backend;
  std::vector<Nanoseconds> makespans;
  Nanoseconds median_makespan() const;
};
Json to_json(const RunSummary& summary);
Result<RunSummary> read_run_summary(const std::string& folder);
Result<Timeline> read_measured_timeline(const std::string& folder);

class RunFolder {
 public:
  // Creates the folder when it is missing and writes the plan. Refuses a folder that holds a run
  // already, and one that cannot be written.
  static Result<RunFolder> create(const std::string& path, const std::string& plan_text);

  std::optional<Error> add(const StepMetrics& metrics, int64_t tokens_per_step);
  std::optional<Error> finish(const RunSummary& summary, const Timeline& measured);
  const std::string& path() const { return path_; }

 private:
  explicit RunFolder(std::string path) : path_(std::move(path)) {}
  std::string path_;
  std::ofstream metrics_;
  std::optional<TensorBoardFile> events_;
};

}  // namespace shardwright
