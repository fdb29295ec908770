// Which plans are possible at all: every rule that a plan must obey for a model and a number of
// devices, in one table. Whether a legal plan fits into memory or is any good is decided elsewhere.
#pragma once

#include <string>
#include <vector>

#include "costmodel/model_spec.h"
#include "planner/plan.h"

namespace shardwright {

struct Rejection {
  std::string rule;  // a name of rule_names()
  std::string what;  // the values: "8 KV heads are not divisible by tp 3"
  std::string line() const { return rule + ": " + what; }
  friend bool operator==(const Rejection&, const Rejection&) = default;
};

// In the order in which they are checked.
std::vector<std::string> rule_names();

// Everything but `stage_layers`, which search chooses only for degrees that are possible.
// Any values may be asked about. Empty when all rules are obeyed; when a degree, a batch or seq is
// out of range only that is reported, because the other rules divide by them.
std::vector<Rejection> check_degrees(const ModelSpec& model, int64_t num_devices, const Plan& plan);
// The whole plan. `num_devices` are the devices that it shall use.
std::vector<Rejection> check_plan(const ModelSpec& model, int64_t num_devices, const Plan& plan);

// The longest pipeline that is planned: stages times microbatches of a step.
constexpr int64_t kMaxPipelineSlots = int64_t{1} << 18;

// Why the plan's replicas cannot have unlike batches, whatever these are; "" when they can.
std::string unlike_batches_problem(const Plan& plan);

}  // namespace shardwright
