#include "tools/plan_command.h"

#include <chrono>
#include <nlohmann/json.hpp>
#include <ostream>

#include "planner/search.h"
#include "planner/search/shortage.h"
#include "tools/exit_codes.h"
#include "tools/plan_inputs.h"
#include "tools/plan_output.h"
#include "tools/plan_table.h"
#include "tools/questions_command.h"
#include "tools/search_progress.h"
#include "tools/space_table.h"

namespace shardwright {
namespace {

constexpr const char* kCommandLine = "command line";

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
  const Result<PlanLimits> limits = limits_of(arguments);
  if (!limits) return limits.error();
  Result<Constraints> constraints = limits->constraints();
  if (!constraints) return constraints.error();
  request.constraints = *std::move(constraints);
  for (const auto& [name, given] :
       {std::pair("for", !arguments.framework.empty()),
        std::pair("memory-limit", arguments.memory_limit_gib.has_value())}) {
    if (!given) continue;
    return Error{kCommandLine, name, "with the own executor", "a framework's --stack beside it"};
  }
  return request;
}

std::string reason(const SearchResult& result) {
  return result.miss ? result.miss->line() : rules_text(result.rejections);
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

// Plans of this project's own executor: what it can run, by its own exact memory.
int plan_own(const PlanArguments& arguments, const PlanInputs& inputs, std::ostream& out,
             std::ostream& err) {
  const Result<SearchRequest> request = request_of(arguments);
  if (!request.ok()) return refuse(request.error(), err);
  const ModelSpec model = own_model(inputs.model, inputs.cluster);
  const auto result = timed([&] { return search(model, inputs.cluster, *request); });
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
int plan_stack(const PlanArguments& arguments, const std::string& stack, const PlanInputs& inputs,
               std::ostream& out, std::ostream& err) {
  Result<SpaceRequest> request = space_request_of(arguments);
  if (!request.ok()) return refuse(request.error(), err);
  const auto software = load_software(arguments, inputs.model, inputs.cluster, stack);
  if (!software.ok()) return refuse(software.error(), err);
  SearchProgress progress(err);
  request->progress = [&](const SpaceRequest::Progress& state) { return progress.show(state); };
  const auto result = timed([&] { return search_space(**software, *request); });
  if (!result.ok()) return refuse(result.error(), err);
  const auto shortage = shortage_and_remedies(**software, *request, *result);
  progress.clear();
  if (auto error = write_best(arguments, inputs, stack, result->plans)) return refuse(*error, err);
  if (arguments.json) {
    out << plan_json_text(*result, stack, shortage);
  } else if (!result->plans.empty()) {
    const std::string framework = (*software)->framework();
    const std::string limits = framework == "any" ? "" : ", what " + framework + " can express";
    out << space_table(inputs.model, inputs.cluster, stack + limits, *result);
    if (!arguments.out.empty()) out << "\nThe best plan is in " << arguments.out << "\n";
  }
  if (!result->plans.empty()) return kExitOk;
  err << reason_text(*result, shortage) << "\n";
  return kExitNothingFits;
}

std::string stack_of(const PlanArguments& arguments, const ClusterSpec& cluster) {
  const bool own = arguments.stack.empty() && !cluster.device_of(0).overlaps_communication;
  return own ? kOwnStack : stack_for(arguments);
}

}  // namespace

int run_plan(const PlanArguments& arguments, std::ostream& out, std::ostream& err) {
  if (!arguments.question.compare_clusters.empty()) return compare_clusters(arguments, out, err);
  if (arguments.seq == 0 && !arguments.question.max_seq) {
    return refuse({kCommandLine, "seq", "0", "tokens per sequence"}, err);
  }
  const Result<PlanInputs> inputs = load_inputs(arguments);
  if (!inputs.ok()) return refuse(inputs.error(), err);
  const std::string stack = stack_of(arguments, inputs->cluster);
  if (!asks(arguments.question)) {
    return stack == kOwnStack ? plan_own(arguments, *inputs, out, err)
                              : plan_stack(arguments, stack, *inputs, out, err);
  }
  if (stack != kOwnStack) return run_question(arguments, stack, *inputs, out, err);
  return refuse({kCommandLine, "stack", kOwnStack,
                 "a framework's stack (--stack NAME) for questions, objectives and limits"},
                err);
}

}  // namespace shardwright
