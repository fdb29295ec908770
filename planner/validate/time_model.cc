#include "planner/validate/time_model.h"

#include <algorithm>
#include <cmath>
#include <map>
#include <memory>

#include "costmodel/pricer.h"
#include "costmodel/stack.h"
#include "planner/cross_validate.h"
#include "planner/intervals.h"
#include "planner/records/timed_runs.h"
#include "planner/validate/ablation_text.h"
#include "planner/validate/transfer_text.h"

namespace shardwright {
namespace {

// What the estimate of a plan rests on: the factors that move it, at their values.
std::vector<FactorUse> factors_behind(Estimator* estimator, const Plan& plan,
                                      const Factors& factors,
                                      const std::array<std::string, 3>& owners) {
  constexpr double kStep = 0.01;  // of ln value
  constexpr double kNoSlope = 5e-4;
  const double seconds = estimator->estimate(plan).step_s;
  std::vector<FactorUse> out;
  for (size_t i = 0; i < kNumFactors; ++i) {
    const auto factor = static_cast<Factor>(i);
    Factors moved = factors;
    moved.at(factor) *= std::exp(kStep);
    estimator->set_factors(moved);
    const double slope = std::log(estimator->estimate(plan).step_s / seconds) / kStep;
    if (std::abs(slope) < kNoSlope) continue;
    out.push_back(
        {factor, owners[static_cast<size_t>(info_of(factor).owner)], factors.at(factor), slope});
  }
  std::stable_sort(out.begin(), out.end(),
                   [](const FactorUse& a, const FactorUse& b) { return a.slope > b.slope; });
  return out;
}

class StackTimes {
 public:
  StackTimes(const std::string& profiles_dir, const TimeModelOptions& options,
             std::optional<FactorTable> factors)
      : profiles_dir_(profiles_dir),
        stack_(options.stack),
        take_apart_(options.take_apart),
        factors_(std::move(factors)),
        intervals_(load_intervals(profiles_dir)) {}

  Result<TimePrediction> time(const RunCase& run) {
    const Result<Stack>& stack = stack_of(stack_.empty() ? run.stack : stack_);
    if (!stack) return stack.error();
    if (check_supports(run.cluster, run.plan.precision)) {
      return Error{run.id, "precision", name_of(run.plan.precision),
                   "one that the profile of " + run.device + " has a peak for"};
    }
    const TimeInputs inputs = time_inputs(run, stack->kernels);
    const Factors factors = stack->factors.resolve(run.device, inputs.interconnect, stack->name);
    Estimator estimator(inputs.model, run.cluster, inputs.kernels, factors);
    const Estimate estimate = estimator.estimate(inputs.plan);
    TimePrediction out = with_interval(run, estimate.step_s);
    if (run.id == take_apart_) {
      out.parts = estimate.parts;
      out.rests_on = factors_behind(&estimator, inputs.plan, factors,
                                    {run.device, inputs.interconnect, stack->name});
    }
    return out;
  }

 private:
  // Shipped stacks were fitted to runs of their frameworks; a stack that the user gives, or factors
  // moved by given runs, to runs like these.
  TimePrediction with_interval(const RunCase& run, double seconds) const {
    const Knowledge knowledge = !stack_.empty() || factors_ ? Knowledge::kCalibrated
                                : run.known_stack           ? Knowledge::kKnown
                                                            : Knowledge::kUnknown;
    const bool moe = run.model.kinds.back().moe.experts > 0;
    TimePrediction prediction;
    prediction.seconds = seconds;
    if (!intervals_) return prediction;
    if (const Interval* interval = find_interval(*intervals_, knowledge, moe)) {
      prediction.low_s = seconds * std::exp(interval->low);
      prediction.high_s = seconds * std::exp(interval->high);
    }
    return prediction;
  }

  const Result<Stack>& stack_of(const std::string& name) {
    auto found = stacks_.find(name);
    if (found != stacks_.end()) return found->second;
    Result<Stack> stack = load_stack(name, profiles_dir_);
    if (stack && factors_) stack->factors = *factors_;
    return stacks_.emplace(name, std::move(stack)).first->second;
  }

  std::string profiles_dir_, stack_, take_apart_;
  std::optional<FactorTable> factors_;
  Result<IntervalTable> intervals_;  // an error: predictions have no interval
  std::map<std::string, Result<Stack>> stacks_;
};

Result<FactorTable> calibrated_factors(const std::string& profiles_dir, const std::string& file) {
  const Result<std::vector<RecordRow>> rows = read_record_files({file});
  if (!rows) return rows.error();
  const Result<RecordTables> tables = RecordTables::load(profiles_dir);
  if (!tables) return tables.error();
  const Result<TimedRuns> timed = timed_runs(*rows, *tables, profiles_dir);
  if (!timed) return timed.error();
  if (timed->cases.empty()) {
    return Error{file, "", timed->refused.empty() ? "no step time" : timed->refused.front(),
                 "at least one run whose step time is known"};
  }
  std::vector<const TimedRun*> runs;
  for (const auto& one : timed->cases) {
    one->timed.weight = kOwnRunWeight;
    runs.push_back(&one->timed);
  }
  const Result<FactorTable> shipped = load_factors(profiles_dir);
  if (!shipped) return shipped.error();
  return fit(runs, *shipped);
}

}  // namespace

Result<TimeModel> stack_time_model(const std::string& profiles_dir,
                                   const TimeModelOptions& options) {
  std::optional<FactorTable> factors;
  if (!options.calibrate_with.empty()) {
    Result<FactorTable> fitted = calibrated_factors(profiles_dir, options.calibrate_with);
    if (!fitted) return fitted.error();
    factors = *std::move(fitted);
  }
  // A stack that cannot be read is refused here, once, and not row by row.
  if (!options.stack.empty()) {
    const Result<Stack> stack = load_stack(options.stack, profiles_dir);
    if (!stack) return stack.error();
  }
  const auto times = std::make_shared<StackTimes>(profiles_dir, options, std::move(factors));
  return TimeModel([times](const RunCase& run) { return times->time(run); });
}

namespace {

struct Judged {
  TimedRuns timed;
  FactorTable shipped;
};

Result<Judged> judge(const std::vector<RecordRow>& rows, const std::string& profiles_dir) {
  const Result<RecordTables> tables = RecordTables::load(profiles_dir);
  if (!tables) return tables.error();
  Result<TimedRuns> timed = timed_runs(rows, *tables, profiles_dir);
  if (!timed) return timed.error();
  Result<FactorTable> shipped = load_factors(profiles_dir);
  if (!shipped) return shipped.error();
  return Judged{*std::move(timed), *std::move(shipped)};
}

struct Crossed {
  TimedRuns timed;
  std::vector<Residuals> residuals;  // by position in timed.cases
};

Result<Crossed> cross(const std::vector<RecordRow>& rows, const std::string& profiles_dir,
                      const CrossOptions& options) {
  Result<Judged> judged = judge(rows, profiles_dir);
  if (!judged) return judged.error();
  std::vector<const TimedRun*> runs;
  for (const auto& one : judged->timed.cases) runs.push_back(&one->timed);
  Crossed out;
  out.residuals = cross_validate(runs, judged->shipped, options);
  out.timed = std::move(judged->timed);
  return out;
}

}  // namespace

Result<TimeModel> left_out_time_model(const std::vector<RecordRow>& rows,
                                      const std::string& profiles_dir) {
  const Result<Crossed> crossed = cross(rows, profiles_dir, {});
  if (!crossed) return crossed.error();
  auto seconds = std::make_shared<std::map<std::string, double>>();
  for (size_t i = 0; i < crossed->residuals.size(); ++i) {
    const TimedRun& run = crossed->timed.cases[i]->timed;
    (*seconds)[run.id] = run.measured_s * std::exp(crossed->residuals[i].left_out);
  }
  return TimeModel([seconds](const RunCase& run) -> Result<TimePrediction> {
    const auto found = seconds->find(run.id);
    if (found == seconds->end()) return Error{run.id, "measured", "nothing", "a step time"};
    TimePrediction prediction;
    prediction.seconds = found->second;
    return prediction;
  });
}

Result<std::string> transfer_of(const std::vector<RecordRow>& rows, const std::string& profiles_dir,
                                const std::vector<int>& counts) {
  CrossOptions options;
  for (int count : counts) {
    if (count > 0) options.runs_given.push_back(count);
  }
  const Result<Crossed> crossed = cross(rows, profiles_dir, options);
  if (!crossed) return crossed.error();
  return transfer_text(crossed->timed, crossed->residuals, counts);
}

Result<std::string> ablations_of(const std::vector<RecordRow>& rows,
                                 const std::string& profiles_dir) {
  const Result<Judged> judged = judge(rows, profiles_dir);
  if (!judged) return judged.error();
  return ablation_text(judged->timed, judged->shipped);
}

}  // namespace shardwright
