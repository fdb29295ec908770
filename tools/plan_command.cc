#include "tools/plan_command.h"

#include <chrono>
#include <filesystem>
#include <nlohmann/json.hpp>
#include <ostream>

#include "costmodel/hf_config.h"
#include "planner/plan_json.h"
#include "planner/search.h"
#include "planner/search/full_search.h"
#include "tools/exit_codes.h"
#include "tools/plan_output.h"
#include "tools/plan_table.h"
#include "tools/search_progress.h"
#include "tools/space_table.h"

namespace shardwright {
namespace {

constexpr const char* kCommandLine = "command line";

struct Inputs {
  ModelSpec model;
  ClusterSpec cluster;
  InputFile model_file, cluster_file;
};

Result<SearchRequest> request_of(const PlanArguments& arguments) {
  SearchRequest request;
  request.seq = arguments.seq;
  request.global_batch = arguments.global_batch;
  request.ranks = arguments.ranks;
  request.top = arguments.top;
  request.precision = arguments.precision == "bf16" ? DataType::kBf16 : DataType::kFp32;
  if (arguments.precision != name_of(request.precision)) {
    return Error{kCommandLine, "precision", printable(arguments.precision), "fp32 or bf16"};
  }
  request.optimizer = arguments.optimizer == "sgd" ? OptimizerKind::kSgd : OptimizerKind::kAdamW;
  if (arguments.optimizer != name_of(request.optimizer)) {
    return Error{kCommandLine, "optimizer", printable(arguments.optimizer), "adamw or sgd"};
  }
  for (const std::string& pin : arguments.pins) {
    if (auto error = add_pin(pin, &request)) return *error;
  }
  for (const auto* others : {&arguments.bans, &arguments.mins, &arguments.maxs}) {
    if (others->empty()) continue;
    return Error{kCommandLine, "bound", others->front(), "pins only with --stack shardwright"};
  }
  return request;
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
  if (arguments.headroom < 0 || arguments.headroom >= 1) {
    return Error{kCommandLine, "headroom", std::to_string(arguments.headroom), "from 0 to below 1"};
  }
  request.headroom = arguments.headroom;
  request.memory_limit = static_cast<Bytes>(arguments.memory_limit_gib * (int64_t{1} << 30));
  const std::pair<ConstraintKind, const std::vector<std::string>*> lists[] = {
      {ConstraintKind::kPin, &arguments.pins},
      {ConstraintKind::kBan, &arguments.bans},
      {ConstraintKind::kMin, &arguments.mins},
      {ConstraintKind::kMax, &arguments.maxs}};
  for (const auto& [kind, texts] : lists) {
    for (const std::string& text : *texts) {
      if (auto error = request.constraints.add(kind, text)) return *error;
    }
  }
  return request;
}

Result<std::string> cluster_source(const PlanArguments& arguments) {
  if (!arguments.cluster.empty()) return arguments.cluster;
  const std::string machine = default_machine_path();
  std::error_code ignored;
  if (std::filesystem::exists(machine, ignored)) return machine;
  return Error{printable(machine, 1000), "", "no such file",
               "a profile of this machine: run `shardwright profile` first, or give --cluster"};
}

Result<Inputs> load_inputs(const PlanArguments& arguments) {
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
  return Inputs{*std::move(model), *std::move(cluster), *model_file, cluster_file};
}

std::string reason(const SearchResult& result) {
  if (result.miss) return result.miss->line();
  std::string text = "no legal plan:";
  for (const Rejection& rejection : result.rejections) {
    text.append(&rejection == &result.rejections.front() ? " " : "; ").append(rejection.line());
  }
  return text;
}

std::optional<Error> write_best(const PlanArguments& arguments, const Inputs& inputs,
                                const std::string& stack, const std::vector<RankedPlan>& plans) {
  if (arguments.out.empty() || plans.empty()) return std::nullopt;
  return write_file_atomically(
      arguments.out, plan_text({inputs.model_file, inputs.cluster_file, stack, plans.front().plan,
                                prediction_of(plans.front())}));
}

// What `find` finds, with the seconds that it takes.
template <typename Find>
auto timed(Find&& find) {
  const auto start = std::chrono::steady_clock::now();
  auto result = find();
  const std::chrono::duration<double> taken = std::chrono::steady_clock::now() - start;
  if (result.ok()) result->stats.seconds = taken.count();
  return result;
}

int refuse(const Error& error, std::ostream& err) {
  err << error.line() << "\n";
  return kExitBadInput;
}

// Plans of this project's own executor: what it can run, by its own exact memory.
int plan_own(const PlanArguments& arguments, const Inputs& inputs, std::ostream& out,
             std::ostream& err) {
  const Result<SearchRequest> request = request_of(arguments);
  if (!request.ok()) return refuse(request.error(), err);
  const auto result = timed([&] { return search(inputs.model, inputs.cluster, *request); });
  if (!result.ok()) return refuse(result.error(), err);
  if (auto error = write_best(arguments, inputs, "", result->plans)) return refuse(*error, err);
  if (arguments.json) {
    out << plan_json_text(*result);
  } else if (!result->plans.empty()) {
    out << plan_table(inputs.model, inputs.cluster, *result);
    if (!arguments.out.empty()) out << "\nThe best plan is in " << arguments.out << "\n";
  }
  if (!result->plans.empty()) return kExitOk;
  err << reason(*result) << "\n";
  return kExitNothingFits;
}

// Plans of a framework's stack: the whole space.
int plan_stack(const PlanArguments& arguments, const std::string& stack, const Inputs& inputs,
               std::ostream& out, std::ostream& err) {
  Result<SpaceRequest> request = space_request_of(arguments);
  if (!request.ok()) return refuse(request.error(), err);
  const auto software = Software::load(inputs.model, inputs.cluster, stack, default_profiles_dir());
  if (!software.ok()) return refuse(software.error(), err);
  if (!arguments.framework.empty()) {
    if (auto error = (*software)->plan_for(arguments.framework)) return refuse(*error, err);
  }
  SearchProgress progress(err);
  request->progress = [&](const SpaceRequest::Progress& state) { return progress.show(state); };
  const auto result = timed([&] { return search_space(**software, *request); });
  progress.clear();
  if (!result.ok()) return refuse(result.error(), err);
  if (auto error = write_best(arguments, inputs, stack, result->plans)) return refuse(*error, err);
  if (arguments.json) {
    out << plan_json_text(*result, stack);
  } else if (!result->plans.empty()) {
    const std::string framework = (*software)->framework();
    const std::string limits = framework == "any" ? "" : ", what " + framework + " can express";
    out << space_table(inputs.model, inputs.cluster, stack + limits, *result);
    if (!arguments.out.empty()) out << "\nThe best plan is in " << arguments.out << "\n";
  }
  if (!result->plans.empty()) return kExitOk;
  err << reason_text(*result) << "\n";
  return kExitNothingFits;
}

std::string stack_of(const PlanArguments& arguments, const ClusterSpec& cluster) {
  if (!arguments.stack.empty()) return arguments.stack;
  return cluster.device_of(0).overlaps_communication ? kUsualStack : kOwnStack;
}

}  // namespace

int run_plan(const PlanArguments& arguments, std::ostream& out, std::ostream& err) {
  const Result<Inputs> inputs = load_inputs(arguments);
  if (!inputs.ok()) return refuse(inputs.error(), err);
  const std::string stack = stack_of(arguments, inputs->cluster);
  return stack == kOwnStack ? plan_own(arguments, *inputs, out, err)
                            : plan_stack(arguments, stack, *inputs, out, err);
}

}  // namespace shardwright
