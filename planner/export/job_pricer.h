// Time and memory of a plan under the software that will run it, wherever the plan comes from: what
// export writes beside the flags and what lint answers are the same numbers.
#pragma once

#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "planner/export/framework.h"
#include "planner/search/software.h"

namespace shardwright {

// The models that stand for a framework as a job uses it; what is not set is as the stack has it.
struct JobSoftware {
  std::string stack;         // of profiles/stacks
  std::string memory_stack;  // of profiles/memory
  std::optional<bool> flash, fused_loss, node_dispatch;
};
// The stack that stands for a framework's current release: what plans for it are priced by unless
// another is named, and its exported jobs.
const char* usual_stack(Framework framework);
// As export writes jobs.
JobSoftware exported_software(Framework framework, const Plan& plan);

struct JobPrediction {
  Estimate time;
  std::optional<double> low_s, high_s;  // 80 % interval of the step time
  std::vector<RankMemory> stages;       // the rank of each stage
  double device_bytes = 0;              // what a device has
  const RankMemory& fullest() const;
  bool fits() const { return fullest().device_bytes <= device_bytes; }
};

// Not for several threads at once.
class JobPricer {
 public:
  // `model` and `cluster` must outlive this. Fails when the stacks cannot be read.
  static Result<JobPricer> create(const ModelSpec& model, const ClusterSpec& cluster,
                                  const JobSoftware& software, const std::string& profiles_dir);
  // REQUIRES: the plan obeys legality.h and the cluster's devices support its precision.
  JobPrediction predict(const Plan& plan);
  double step_s(const Plan& plan);
  double device_bytes(const Plan& plan) { return software_->device_bytes(plan); }
  bool fits(const Plan& plan) {
    return device_bytes(plan) <= static_cast<double>(software_->available());
  }

 private:
  JobPricer() = default;
  std::unique_ptr<Software> software_;
  MemoryStack memory_;
  double low_ = 0, high_ = 0;  // ln(measured / predicted)
  bool has_interval_ = false;
};

// "1.234 s a step, 61.2 GiB of 79.6 GiB on the fullest rank (stack ..., memory ...)"
std::string prediction_line(const JobPrediction& predicted, const JobSoftware& software);

}  // namespace shardwright
