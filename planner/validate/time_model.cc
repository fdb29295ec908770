#include "planner/validate/time_model.h"

#include <map>
#include <memory>

#include "costmodel/pricer.h"
#include "costmodel/stack.h"
#include "planner/records/timed_runs.h"

namespace shardwright {
namespace {

class StackTimes {
 public:
  StackTimes(std::string profiles_dir, std::string stack_file)
      : profiles_dir_(std::move(profiles_dir)), stack_file_(std::move(stack_file)) {}

  Result<double> time(const RunCase& run) {
    const Result<Stack>& stack = stack_of(stack_file_.empty() ? run.stack : stack_file_);
    if (!stack) return stack.error();
    if (check_supports(run.cluster, run.plan.precision)) {
      return Error{run.id, "precision", name_of(run.plan.precision),
                   "one that the profile of " + run.device + " has a peak for"};
    }
    const TimeInputs inputs = time_inputs(run, stack->kernels);
    const Factors factors = stack->factors.resolve(run.device, inputs.interconnect, stack->name);
    Estimator estimator(inputs.model, run.cluster, inputs.kernels, factors);
    return estimator.estimate(inputs.plan).step_s;
  }

 private:
  const Result<Stack>& stack_of(const std::string& name) {
    auto found = stacks_.find(name);
    if (found == stacks_.end()) {
      found = stacks_.emplace(name, load_stack(name, profiles_dir_)).first;
    }
    return found->second;
  }

  std::string profiles_dir_, stack_file_;
  std::map<std::string, Result<Stack>> stacks_;
};

}  // namespace

TimeModel stack_time_model(const std::string& profiles_dir, const std::string& stack_file) {
  const auto times = std::make_shared<StackTimes>(profiles_dir, stack_file);
  return [times](const RunCase& run) { return times->time(run); };
}

}  // namespace shardwright
