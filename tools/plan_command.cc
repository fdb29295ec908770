#include "tools/plan_command.h"

#include <chrono>
#include <filesystem>
#include <nlohmann/json.hpp>
#include <ostream>

#include "costmodel/hf_config.h"
#include "planner/plan_json.h"
#include "planner/search.h"
#include "tools/exit_codes.h"
#include "tools/plan_table.h"

namespace shardwright {
namespace {

constexpr const char* kCommandLine = "command line";

struct Inputs {
  ModelSpec model;
  ClusterSpec cluster;
  InputFile model_file, cluster_file;
  SearchRequest request;
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
  const Result<SearchRequest> request = request_of(arguments);
  if (!request.ok()) return request.error();
  Result<ModelSpec> model = load_model(arguments.model, profiles);
  if (!model.ok()) return model.error();
  const Result<InputFile> model_file = describe_model(arguments.model, profiles);
  if (!model_file.ok()) return model_file.error();
  const Result<std::string> source = cluster_source(arguments);
  if (!source.ok()) return source.error();
  Result<ClusterSpec> cluster = load_cluster(*source, profiles);
  if (!cluster.ok()) return cluster.error();
  const InputFile cluster_file = describe_cluster(*source, *cluster);
  return Inputs{*std::move(model), *std::move(cluster), *model_file, cluster_file, *request};
}

Json to_json(const RankedPlan& ranked) {
  Json json = choices_json(ranked.plan);
  json["label"] = ranked.plan.label();
  json["step_time_s"] = ranked.step_time_s;
  json["tokens_per_s"] = ranked.tokens_per_s;
  json["memory_peak_bytes"] = ranked.memory_peak_bytes;
  json["bubble_share"] = ranked.bubble_share;
  json["time_parts"] = to_json(ranked.parts);
  json["stages"] = Json::array();
  for (const StageMemory& stage : ranked.stages) json["stages"].push_back(to_json(stage));
  return json;
}

Json to_json(const SearchStats& stats) {
  return {{"candidates", stats.candidates},
          {"pruned_rules", stats.pruned_by_rules()},
          {"pruned_by_rule", stats.pruned_rules},
          {"pruned_memory", stats.pruned_memory},
          {"pruned_bound", stats.pruned_bound},
          {"simulated", stats.simulated},
          {"simulated_over_memory", stats.simulated_over_memory},
          {"seconds", stats.seconds}};
}

Json to_json(const NearestMiss& miss) {
  Json json;
  json["smallest"] = to_json(miss.smallest);
  json["stage"] = miss.stage;
  json["missing_bytes"] = miss.smallest.stages[miss.stage].missing();
  json["devices_that_fit"] = miss.devices;
  json["plan_on_them"] = miss.devices_plan;
  return json;
}

Json to_json(const SearchResult& result) {
  Json json;
  json["plans"] = Json::array();
  for (const RankedPlan& ranked : result.plans) json["plans"].push_back(to_json(ranked));
  json["search"] = to_json(result.stats);
  if (result.miss) json["nearest"] = to_json(*result.miss);
  if (!result.rejections.empty()) {
    json["rejections"] = Json::array();
    for (const Rejection& rejection : result.rejections) {
      json["rejections"].push_back(rejection.line());
    }
  }
  return json;
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
                                const SearchResult& result) {
  if (arguments.out.empty() || result.plans.empty()) return std::nullopt;
  const RankedPlan& best = result.plans.front();
  return write_file_atomically(arguments.out, plan_text({inputs.model_file, inputs.cluster_file,
                                                         best.plan, prediction_of(best)}));
}

Result<SearchResult> timed_search(const Inputs& inputs) {
  const auto start = std::chrono::steady_clock::now();
  Result<SearchResult> result = search(inputs.model, inputs.cluster, inputs.request);
  const std::chrono::duration<double> taken = std::chrono::steady_clock::now() - start;
  if (result.ok()) result->stats.seconds = taken.count();
  return result;
}

int refuse(const Error& error, std::ostream& err) {
  err << error.line() << "\n";
  return kExitBadInput;
}

}  // namespace

int run_plan(const PlanArguments& arguments, std::ostream& out, std::ostream& err) {
  const Result<Inputs> inputs = load_inputs(arguments);
  if (!inputs.ok()) return refuse(inputs.error(), err);
  const Result<SearchResult> result = timed_search(*inputs);
  if (!result.ok()) return refuse(result.error(), err);
  if (auto error = write_best(arguments, *inputs, *result)) return refuse(*error, err);
  if (arguments.json) {
    out << to_json(*result).dump(2, ' ', false, Json::error_handler_t::replace) << "\n";
  } else if (!result->plans.empty()) {
    out << plan_table(inputs->model, inputs->cluster, *result);
    if (!arguments.out.empty()) out << "\nThe best plan is in " << arguments.out << "\n";
  }
  if (!result->plans.empty()) return kExitOk;
  err << reason(*result) << "\n";
  return kExitNothingFits;
}

}  // namespace shardwright
