// The step time of published runs: the shipped stack of each run, one that a user gives, or the
// shipped ones moved by a few runs that are given.
#pragma once

#include <string>

#include "planner/validate/validate.h"

namespace shardwright {

struct TimeModelOptions {
  std::string stack;           // a stack file or a shipped stack, in place of every run's own
  std::string calibrate_with;  // a file of records whose step times move the factors first
  std::string take_apart;      // id of the run whose parts and factors are wanted
};
// Fails when the runs to calibrate with cannot be read or none of them has a step time. Stacks are
// read once, when first needed.
Result<TimeModel> stack_time_model(const std::string& profiles_dir,
                                   const TimeModelOptions& options);

// Every run as predicted by a fit to the others that has seen nothing of its source. Takes minutes
// for thousands of runs. Fails as timed_runs does.
Result<TimeModel> left_out_time_model(const std::vector<RecordRow>& rows,
                                      const std::string& profiles_dir);

// transfer_text of the rows: errors after so many runs of a left-out source were given. Takes
// minutes, as left_out_time_model does, and fails like it.
Result<std::string> transfer_of(const std::vector<RecordRow>& rows, const std::string& profiles_dir,
                                const std::vector<int>& counts);

// ablation_text of the rows under the shipped factors. Takes minutes and fails as they do.
Result<std::string> ablations_of(const std::vector<RecordRow>& rows,
                                 const std::string& profiles_dir);

}  // namespace shardwright
