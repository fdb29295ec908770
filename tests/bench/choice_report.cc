#include "tests/bench/choice_report.h"

#include <algorithm>
#include <cmath>
#include <cstdio>
#include <map>
#include <nlohmann/json.hpp>

namespace shardwright {
namespace {

constexpr size_t kMostStepRows = 15;
constexpr size_t kWorstSteps = 4;  // of a plan, in JSON

// The smallest value that `share` of all values do not exceed.
double quantile(std::vector<double> values, double share) {
  std::sort(values.begin(), values.end());
  const double rank = std::ceil(share * static_cast<double>(values.size()));
  return values[static_cast<size_t>(std::max(1.0, rank)) - 1];
}

Nanoseconds step_quantile(const PlanOutcome& outcome, double share) {
  return outcome.measured_steps[static_cast<size_t>(
      share * static_cast<double>(outcome.measured_steps.size() - 1))];
}

std::vector<StepError> step_errors(const std::vector<PlanOutcome>& outcomes) {
  std::map<std::string, StepError> by_name;
  double all = 0;  // rank-time of all plans
  for (const PlanOutcome& outcome : outcomes) {
    const Comparison& c = outcome.comparison;
    all += static_cast<double>(c.measured_step_ns) * c.ranks;
    for (const CompareRow& row : c.by_step) {
      StepError& error = by_name[row.name];
      error.name = row.name;
      error.signed_pct += static_cast<double>(row.miss_ns());
      error.absolute_pct += std::abs(static_cast<double>(row.miss_ns()));
      error.share_pct += static_cast<double>(row.measured_ns);
    }
  }
  std::vector<StepError> out;
  for (auto& [name, error] : by_name) {
    for (double* sum : {&error.signed_pct, &error.absolute_pct, &error.share_pct}) {
      *sum *= 100 / all;
    }
    out.push_back(error);
  }
  std::stable_sort(out.begin(), out.end(), [](const StepError& a, const StepError& b) {
    return a.absolute_pct > b.absolute_pct;
  });
  return out;
}

template <typename... Values>
std::string printed(const char* format, Values... values) {
  char line[256];
  std::snprintf(line, sizeof line, format, values...);
  return line;
}

double ms(Nanoseconds ns) { return to_seconds(ns) * 1e3; }

std::string row_text(const PlanOutcome& outcome) {
  return printed("%-36s %10.2f %10.2f %10.2f %10.2f %+8.1f%%\n", outcome.plan.label().c_str(),
                 ms(outcome.predicted_ns), ms(outcome.measured_ns()),
                 ms(step_quantile(outcome, 0.1)), ms(step_quantile(outcome, 0.9)),
                 outcome.error_pct());
}

// The steps that the plan was predicted most wrongly for, in percent of its measured rank-time.
Json worst_steps(const Comparison& comparison) {
  Json out = Json::object();
  const double all = static_cast<double>(comparison.measured_step_ns) * comparison.ranks;
  for (const CompareRow& row : comparison.by_step) {
    if (out.size() == kWorstSteps) break;
    out[row.name] = 100 * static_cast<double>(row.miss_ns()) / all;
  }
  return out;
}

}  // namespace

ChoiceSummary summarise(const std::vector<PlanOutcome>& outcomes, const ChoiceSettings& settings) {
  ChoiceSummary summary;
  std::vector<double> errors;
  for (size_t i = 0; i < outcomes.size(); ++i) {
    errors.push_back(std::abs(outcomes[i].error_pct()));
    summary.rounds += settings.rounds;
    summary.disturbed_rounds += outcomes[i].disturbed_rounds;
    if (outcomes[i].predicted_ns < outcomes[summary.pick].predicted_ns) summary.pick = i;
    if (outcomes[i].measured_ns() < outcomes[summary.fastest].measured_ns()) summary.fastest = i;
  }
  summary.median_pct = quantile(errors, 0.5);
  summary.p90_pct = quantile(errors, 0.9);
  summary.slower_pct = 100 * (to_seconds(outcomes[summary.pick].measured_ns()) /
                                  to_seconds(outcomes[summary.fastest].measured_ns()) -
                              1);
  summary.step_errors = step_errors(outcomes);
  return summary;
}

std::string choice_table(const std::string& model, const std::vector<PlanOutcome>& outcomes,
                         const ChoiceSummary& summary) {
  std::string out =
      printed("%s: %zu plans, milliseconds of one step\n", model.c_str(), outcomes.size()) +
      printed("%-36s %10s %10s %10s %10s %9s\n", "plan", "predicted", "measured", "p10", "p90",
              "error");
  for (const PlanOutcome& outcome : outcomes) out += row_text(outcome);
  out += printed("\n%-30s %10s %10s %10s\n", "step, % of rank-time", "absolute", "signed", "share");
  const size_t shown = std::min(summary.step_errors.size(), kMostStepRows);
  for (size_t i = 0; i < shown; ++i) {
    const StepError& error = summary.step_errors[i];
    out += printed("%-30s %9.2f%% %+9.2f%% %9.2f%%\n", error.name.c_str(), error.absolute_pct,
                   error.signed_pct, error.share_pct);
  }
  out += printed("\n%s: |error| median %.1f%%, p90 %.1f%%\n", model.c_str(), summary.median_pct,
                 summary.p90_pct);
  out += "  pick    " + row_text(outcomes[summary.pick]);
  out += "  fastest " + row_text(outcomes[summary.fastest]);
  out += printed("  pick slower by %.1f%%\n", summary.slower_pct);
  if (summary.disturbed_rounds == 0) return out;
  return out + printed("  other programs were busy during %d of %d runs\n",
                       summary.disturbed_rounds, summary.rounds);
}

std::vector<Json> choice_lines(const std::string& model, const std::vector<PlanOutcome>& outcomes,
                               const ChoiceSummary& summary) {
  std::vector<Json> lines;
  for (const PlanOutcome& outcome : outcomes) {
    lines.push_back({{"record", "plan"},
                     {"model", model},
                     {"plan", outcome.plan.label()},
                     {"predicted_s", to_seconds(outcome.predicted_ns)},
                     {"measured_s", to_seconds(outcome.measured_ns())},
                     {"p10_s", to_seconds(step_quantile(outcome, 0.1))},
                     {"p90_s", to_seconds(step_quantile(outcome, 0.9))},
                     {"samples", outcome.measured_steps.size()},
                     {"error_pct", outcome.error_pct()},
                     {"worst_steps_pct", worst_steps(outcome.comparison)}});
  }
  for (const StepError& error : summary.step_errors) {
    lines.push_back({{"record", "step"},
                     {"model", model},
                     {"step", error.name},
                     {"absolute_pct", error.absolute_pct},
                     {"signed_pct", error.signed_pct},
                     {"share_pct", error.share_pct}});
  }
  lines.push_back({{"record", "model"},
                   {"model", model},
                   {"plans", outcomes.size()},
                   {"runs", summary.rounds},
                   {"disturbed_runs", summary.disturbed_rounds},
                   {"median_abs_error_pct", summary.median_pct},
                   {"p90_abs_error_pct", summary.p90_pct},
                   {"pick", outcomes[summary.pick].plan.label()},
                   {"fastest", outcomes[summary.fastest].plan.label()},
                   {"pick_slower_pct", summary.slower_pct}});
  return lines;
}

}  // namespace shardwright
