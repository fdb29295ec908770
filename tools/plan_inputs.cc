#include "tools/plan_inputs.h"

#include <algorithm>
#include <filesystem>
#include <nlohmann/json.hpp>
#include <ostream>

#include "costmodel/hf_config.h"
#include "planner/export/job_pricer.h"
#include "tools/exit_codes.h"

namespace shardwright {
namespace {

constexpr const char* kCommandLine = "command line";
constexpr int64_t kMaxGib = 1 << 20;  // of a device; far beyond any

Result<std::string> cluster_source(const PlanArguments& arguments) {
  if (!arguments.cluster.empty()) return arguments.cluster;
  const std::string machine = default_machine_path();
  std::error_code ignored;
  if (std::filesystem::exists(machine, ignored)) return machine;
  return Error{printable(machine, 1000), "", "no such file",
               "a profile of this machine: run `shardwright profile` first, or give --cluster"};
}

}  // namespace

Result<PlanInputs> load_inputs(const PlanArguments& arguments) {
  const std::string profiles = default_profiles_dir();
  Result<ModelSpec> model = load_model(arguments.model, profiles);
  if (!model.ok()) return model.error();
  const Result<InputFile> model_file = describe_model(arguments.model, profiles);
  if (!model_file.ok()) return model_file.error();
  const Result<std::string> source = cluster_source(arguments);
  if (!source.ok()) return source.error();
  Result<ClusterSpec> cluster = load_cluster(*source, profiles);
  if (!cluster.ok()) return cluster.error();
  const InputFile cluster_file = describe_cluster(*source, *cluster);
  return PlanInputs{*std::move(model), *std::move(cluster), *model_file, cluster_file};
}

Result<PlanLimits> limits_of(const PlanArguments& arguments) {
  if (auto error = check_headroom(arguments.headroom)) return *error;
  PlanLimits limits{arguments.pins, arguments.bans,      arguments.mins,
                    arguments.maxs, arguments.framework, arguments.headroom};
  if (arguments.memory_limit_gib) {
    const double gib = *arguments.memory_limit_gib;
    if (!(gib > 0 && gib <= static_cast<double>(kMaxGib))) {
      return Error{kCommandLine, "memory-limit", std::to_string(gib),
                   "GiB above 0, at most " + std::to_string(kMaxGib)};
    }
    limits.memory_limit = std::max<Bytes>(1, static_cast<Bytes>(gib * (int64_t{1} << 30)));
  }
  return limits;
}

Result<SpaceRequest> space_request_of(const PlanArguments& arguments) {
  SpaceRequest request;
  request.seq = arguments.seq;
  request.global_batch = arguments.global_batch;
  request.ranks = arguments.ranks;
  request.top = arguments.top;
  if (!parse_data_type(arguments.precision, &request.precision)) {
    return Error{kCommandLine, "precision", printable(arguments.precision),
                 "fp32, fp16, bf16, fp8 or another data type of the device"};
  }
  request.optimizer = arguments.optimizer == "sgd" ? OptimizerKind::kSgd : OptimizerKind::kAdamW;
  if (arguments.optimizer != name_of(request.optimizer)) {
    return Error{kCommandLine, "optimizer", printable(arguments.optimizer), "adamw or sgd"};
  }
  const Result<PlanLimits> limits = limits_of(arguments);
  if (!limits) return limits.error();
  if (auto error = limit(*limits, &request)) return *error;
  return request;
}

std::optional<Error> check_headroom(double share) {
  if (share >= 0 && share < 1) return std::nullopt;
  return Error{kCommandLine, "headroom", std::to_string(share), "from 0 to below 1"};
}

std::string stack_for(const PlanArguments& arguments) {
  if (!arguments.stack.empty()) return arguments.stack;
  Framework framework = Framework::kMegatron;
  if (!parse_framework(arguments.framework, &framework)) framework = Framework::kMegatron;
  return usual_stack(framework);
}

Result<std::unique_ptr<Software>> load_software(const PlanArguments& arguments,
                                                const ModelSpec& model, const ClusterSpec& cluster,
                                                const std::string& stack) {
  auto software = Software::load(model, cluster, stack, default_profiles_dir());
  if (software.ok() && !arguments.framework.empty()) {
    if (auto error = (*software)->plan_for(arguments.framework)) return *error;
  }
  return software;
}

std::optional<Error> write_best(const PlanArguments& arguments, const PlanInputs& inputs,
                                const std::string& stack, const std::vector<RankedPlan>& plans) {
  if (arguments.out.empty() || plans.empty()) return std::nullopt;
  PlanFile file{inputs.model_file,  inputs.cluster_file,          stack,
                plans.front().plan, prediction_of(plans.front()), std::nullopt};
  if (!stack.empty()) {
    Result<PlanLimits> limits = limits_of(arguments);
    if (!limits) return limits.error();
    file.limits = *std::move(limits);
  }
  return write_file_atomically(arguments.out, plan_text(file));
}

int refuse(const Error& error, std::ostream& err) {
  err << error.line() << "\n";
  return kExitBadInput;
}

}  // namespace shardwright
