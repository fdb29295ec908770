// What is to be said of an existing job of another trainer: the plan it amounts to, what is illegal
// or contradictory in it, whether it fits, how fast it will be, what it wastes, and which single
// change helps most.
#pragma once

#include <optional>
#include <string>
#include <vector>

#include "planner/legality.h"
#include "planner/lint/job.h"

namespace shardwright {

// Time of a step that a better plan might not spend.
struct Waste {
  std::string what;
  double seconds = 0;
};

// The plan with one choice changed (a degree takes ranks from dp or gives them back).
struct Change {
  std::string what;  // "tp 8 -> 4 (dp 4 -> 8)"
  Plan plan;
  double step_s = 0;
  double device_bytes = 0;  // of the fullest rank
};

struct LintReport {
  Job job;
  std::string checked_against;             // the version of the framework's flags
  std::vector<Rejection> rejections;       // rules of the model and limits of the framework
  std::optional<JobPrediction> predicted;  // when the plan breaks no rule
  std::string not_predicted;               // why there is no prediction
  std::vector<Waste> waste;                // largest first
  std::vector<Change>
      changes;  // that fit and are faster, or fit where the job does not; best first
  bool fine() const {
    return rejections.empty() && job.illegal.empty() && predicted && predicted->fits();
  }
};

struct LintOptions {
  std::optional<Framework> framework;  // else recognised
  std::string stack;                   // a stack, in place of the framework's own
};
// Fails when the job cannot be read or its software's stacks cannot.
Result<LintReport> lint(const JobInput& input, const LintOptions& options);

// Parts of lint, by file. REQUIRES: the plan obeys legality.h.
std::vector<Waste> waste_of(const ModelSpec& model, const Job& job, const JobPrediction& predicted,
                            JobPricer* pricer);  // waste.cc
std::vector<Change> single_changes(const JobInput& input, const Job& job,
                                   const JobPrediction& predicted, JobPricer* pricer);  // advice.cc

}  // namespace shardwright
