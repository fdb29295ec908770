#include "planner/cross_validate.h"

#include <algorithm>
#include <cmath>

namespace shardwright {
namespace {

double log_ratio(const TimedRun& run, const FactorTable& table) {
  return std::log(predicted_s(run, table) / run.measured_s);
}

// Of runs that weigh little every kThin-th stands for its neighbours: a thousand composed rows need
// not be priced again for every source that is left out.
std::vector<TimedRun> thinned(const std::vector<const TimedRun*>& runs) {
  constexpr size_t kThin = 12;
  constexpr double kLight = 0.02;
  std::vector<TimedRun> kept;
  size_t light = 0;
  for (const TimedRun* run : runs) {
    const bool stands = run->weight >= kLight || light++ % kThin == 0;
    if (!stands) continue;
    kept.push_back(*run);
    if (run->weight < kLight) kept.back().weight *= kThin;
  }
  return kept;
}

// Mean |ln| of every run of the source over fits that each know one other of its runs.
void calibrate_with_one(const std::vector<const TimedRun*>& runs, const std::vector<size_t>& own,
                        const FactorTable& without, int choices, std::vector<Residuals>* out) {
  std::vector<double> sum(own.size(), 0), signed_sum(own.size(), 0);
  std::vector<int> times(own.size(), 0);
  const size_t step = std::max<size_t>(1, own.size() / static_cast<size_t>(choices));
  for (size_t given = step / 2; given < own.size(); given += step) {
    TimedRun one = *runs[own[given]];
    one.weight = kOwnRunWeight;
    const FactorTable after = fit({&one}, without);
    for (size_t i = 0; i < own.size(); ++i) {
      if (i == given || runs[own[i]]->stack != one.stack) continue;
      const double error = log_ratio(*runs[own[i]], after);
      sum[i] += std::abs(error);
      signed_sum[i] += error;
      ++times[i];
    }
  }
  for (size_t i = 0; i < own.size(); ++i) {
    (*out)[own[i]].after_one = times[i] > 0 ? sum[i] / times[i] : NAN;
    (*out)[own[i]].after_one_signed = times[i] > 0 ? signed_sum[i] / times[i] : NAN;
  }
}

}  // namespace

std::vector<Residuals> cross_validate(const std::vector<const TimedRun*>& runs,
                                      const FactorTable& fitted, int choices) {
  std::vector<Residuals> out(runs.size());
  std::map<std::string, std::vector<size_t>> sources;
  for (size_t i = 0; i < runs.size(); ++i) {
    out[i].fitted = log_ratio(*runs[i], fitted);
    sources[runs[i]->source].push_back(i);
  }
  for (const auto& [source, own] : sources) {
    std::vector<const TimedRun*> others;
    for (const TimedRun* run : runs) {
      if (run->source != source) others.push_back(run);
    }
    // Priors too are learnt without the source.
    const std::vector<TimedRun> kept = thinned(others);
    std::vector<const TimedRun*> given;
    for (const TimedRun& run : kept) given.push_back(&run);
    const FactorTable without = fit_all(given, FactorTable());
    for (size_t i : own) out[i].left_out = log_ratio(*runs[i], without);
    calibrate_with_one(runs, own, without, choices, &out);
  }
  return out;
}

ErrorSummary summarise(std::vector<double> log_ratios) {
  ErrorSummary out;
  out.rows = log_ratios.size();
  if (log_ratios.empty()) return out;
  std::vector<double> errors;
  for (double ratio : log_ratios) {
    const double error = 100 * (std::exp(ratio) - 1);
    out.bias += error / static_cast<double>(out.rows);
    errors.push_back(std::abs(error));
  }
  std::sort(errors.begin(), errors.end());
  for (double error : errors) out.mean += error / static_cast<double>(out.rows);
  const auto at = [&](double share) {
    return errors[std::min(errors.size() - 1,
                           static_cast<size_t>(share * static_cast<double>(errors.size())))];
  };
  out.median = at(0.5);
  out.p90 = at(0.9);
  out.max = errors.back();
  return out;
}

}  // namespace shardwright
