// plan.json: a Plan with the inputs it was made for and what was predicted for it. The same plan
// gives the same bytes, and reading and writing a file gives the same bytes back.
#pragma once

#include <optional>
#include <string>
#include <vector>

#include "costmodel/json.h"
#include "planner/evaluate.h"
#include "planner/search/plan_limits.h"

namespace shardwright {

// A file (or shorthand) as the user named it, and the digest of what it meant then.
struct InputFile {
  std::string source, digest;
  friend bool operator==(const InputFile&, const InputFile&) = default;
};

struct Prediction {
  double step_time_s = 0, tokens_per_s = 0, bubble_share = 0;
  Bytes memory_peak_bytes = 0;
  TimeParts parts;
  std::vector<StageMemory> stages;
  friend bool operator==(const Prediction&, const Prediction&) = default;
};
Prediction prediction_of(const RankedPlan& ranked);

struct PlanFile {
  InputFile model, cluster;
  std::string stack;  // whose software it is predicted for; empty: this project's own executor
  Plan plan;
  Prediction predicted;
  std::optional<PlanLimits> limits;  // within which a stack's plan is the fastest
};

// Schema "shardwright.plan/1". `groups` and `microbatches` follow from the degrees: they are
// written for people and other programs, and must agree when read.
Json to_json(const PlanFile& file);
std::string plan_text(const PlanFile& file);  // the bytes of plan.json
// Refuses unknown keys, wrong types, values out of range and values that contradict each other.
// Whether the plan suits the model is for legality.h.
Result<PlanFile> read_plan(const Json& json, const std::string& file);

// The choices alone, as they stand in plan.json and in `plan --json`.
Json choices_json(const Plan& plan);
Json to_json(const StageMemory& memory);
Json to_json(const TimeParts& parts);
// Ranks of every tp, dp and pp group of more than one; above kMaxListedRanks the rule by which they
// are numbered.
Json groups_json(const Plan& plan);
constexpr int64_t kMaxListedRanks = 64;

// A plan with the model and the cluster that it was made for, loaded again and compared.
struct LoadedPlan {
  std::string text;  // the bytes of plan.json
  Plan plan;
  Prediction predicted;
  ModelSpec model;  // as own_model, where the stack is this project's own executor
  ClusterSpec cluster;
  std::string stack;  // as in PlanFile
  std::optional<PlanLimits> limits;
};
// The model and the cluster are looked for where the plan says, else relative to the plan's folder.
// Errors: those of the three files, inputs that have changed since (by their digests), and a plan
// that breaks a rule or needs more devices than there are.
Result<LoadedPlan> load_plan(const std::string& path, const std::string& profiles_dir);

// Digests of inputs: a model by the bytes of its config.json, a cluster by its figures, wherever it
// is written. Fails when the model's file cannot be read.
Result<InputFile> describe_model(const std::string& source, const std::string& profiles_dir);
InputFile describe_cluster(const std::string& source, const ClusterSpec& cluster);

}  // namespace shardwright
