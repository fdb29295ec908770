#include "tools/explain_command.h"

#include <nlohmann/json.hpp>
#include <ostream>

#include "planner/plan_json.h"
#include "tools/exit_codes.h"
#include "tools/explain_table.h"
#include "tools/plan_inputs.h"

namespace shardwright {
namespace {

constexpr const char* kCommandLine = "command line";

bool has_experts(const ModelSpec& model) { return model.kinds.back().moe.experts > 0; }

std::optional<Error> ask_hardware(const ExplainArguments& arguments, Software& software,
                                  const SpaceRequest& request, const Plan& plan,
                                  ExplainReport* report) {
  if (arguments.sensitivity) {
    Result<std::vector<Sensitivity>> found = sensitivities(software, request, plan);
    if (!found) return found.error();
    report->sensitivities = *std::move(found);
  }
  if (!arguments.break_even) return std::nullopt;
  for (size_t level = 0; level < software.cluster().levels.size(); ++level) {
    const Result<BreakEven> found = break_even(software, request, plan, level);
    if (!found) return found.error();
    report->break_evens.push_back(*found);
  }
  return std::nullopt;
}

// As the plan was made, unless the arguments say otherwise.
PlanLimits limits_of(const ExplainArguments& arguments, const LoadedPlan& loaded) {
  PlanLimits limits = loaded.limits.value_or(PlanLimits());
  if (!arguments.framework.empty()) limits.framework = arguments.framework;
  limits.headroom = arguments.headroom.value_or(limits.headroom);
  return limits;
}

// What the search was asked for is in the plan's file.
Error of_plan_file(Error error, const ExplainArguments& arguments) {
  if (error.file != kCommandLine) return error;
  error.file = printable(arguments.plan, 1000);
  error.field = "limits." + error.field;
  return error;
}

Result<ExplainReport> explain_stack(const ExplainArguments& arguments, const LoadedPlan& loaded) {
  const std::string profiles = default_profiles_dir();
  const auto software = Software::load(loaded.model, loaded.cluster, loaded.stack, profiles);
  if (!software) return software.error();
  const PlanLimits limits = limits_of(arguments, loaded);
  if (!limits.framework.empty()) {
    if (auto error = (*software)->plan_for(limits.framework)) {
      if (!arguments.framework.empty()) return *error;
      return Error{printable(arguments.plan, 1000), "limits.for", error->found, error->expected};
    }
  }
  const Result<IntervalTable> intervals = load_intervals(profiles);
  if (!intervals) return intervals.error();
  const Interval* known =
      find_interval(*intervals, knowledge_of((*software)->stack()), has_experts(loaded.model));
  const Interval interval = known != nullptr ? *known : Interval{};
  SpaceRequest request = request_like(loaded.plan);
  request.top = arguments.top;
  if (auto error = limit(limits, &request)) return *error;
  SpaceRequest free = request;  // of everything but memory
  free.constraints = Constraints();
  ExplainReport report;
  report.limits = limits.line();
  Result<Explanation> explanation = explain(**software, request, loaded.plan, interval);
  if (!explanation) return of_plan_file(explanation.error(), arguments);
  report.explanation = *std::move(explanation);
  if (!request.constraints.empty()) {
    free.top = 1;
    Result<SpaceResult> found = search_space(**software, free);
    if (!found) return found.error();
    if (!found->plans.empty()) report.unlimited = std::move(found->plans.front());
  }
  if (!arguments.why_not.empty()) {
    Result<WhyNot> answer =
        why_not(**software, free, arguments.why_not, report.explanation->plan, interval);
    if (!answer) return answer.error();
    report.why_not = *std::move(answer);
  }
  if (auto error = ask_hardware(arguments, **software, request, loaded.plan, &report)) {
    return *error;
  }
  return report;
}

Result<ExplainReport> explain_own(const ExplainArguments& arguments, const LoadedPlan& loaded) {
  if (!arguments.why_not.empty() || arguments.sensitivity || arguments.break_even) {
    return Error{arguments.plan, "stack", "none",
                 "a plan for a framework's software (plan --stack NAME) for why-not, sensitivity "
                 "and break-even"};
  }
  ExplainReport report;
  report.own = evaluate_plan(loaded.model, loaded.cluster, loaded.plan);
  return report;
}

}  // namespace

int run_explain(const ExplainArguments& arguments, std::ostream& out, std::ostream& err) {
  const auto refuse = [&](const Error& error) {
    err << error.line() << "\n";
    return kExitBadInput;
  };
  if (arguments.headroom) {
    if (auto error = check_headroom(*arguments.headroom)) return refuse(*error);
  }
  const auto loaded = load_plan(arguments.plan, default_profiles_dir());
  if (!loaded) return refuse(loaded.error());
  const Result<ExplainReport> report =
      loaded->stack.empty() ? explain_own(arguments, *loaded) : explain_stack(arguments, *loaded);
  if (!report) return refuse(report.error());
  if (arguments.json) {
    out << explain_json(*report, loaded->cluster)
               .dump(2, ' ', false, Json::error_handler_t::replace)
        << "\n";
  } else {
    out << explain_table(*report, loaded->cluster);
  }
  return kExitOk;
}

}  // namespace shardwright
