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

// Rows of a source's `rows` that are given together.
std::vector<size_t> given_rows(size_t rows, int given, int choice, int choices) {
  std::vector<size_t> out;
  for (int j = 0; j < given; ++j) {
    const double place = (j + (choice + 0.5) / choices) / given;
    out.push_back(static_cast<size_t>(place * static_cast<double>(rows)));
  }
  return out;
}

void calibrate_with_some(const std::vector<const TimedRun*>& runs, const std::vector<size_t>& own,
                         const FactorTable& without, const CrossOptions& options,
                         std::vector<Residuals>* out) {
  for (int count : options.runs_given) {
    if (own.size() <= static_cast<size_t>(count)) continue;
    for (int choice = 0; choice < options.choices; ++choice) {
      const std::vector<size_t> rows = given_rows(own.size(), count, choice, options.choices);
      std::vector<TimedRun> known;
      for (size_t row : rows) known.push_back(*runs[own[row]]);
      std::vector<const TimedRun*> given;
      for (TimedRun& run : known) {
        run.weight = kOwnRunWeight;
        given.push_back(&run);
      }
      const FactorTable after = fit(given, without);
      for (size_t i = 0; i < own.size(); ++i) {
        if (std::find(rows.begin(), rows.end(), i) != rows.end()) continue;
        (*out)[own[i]].after[count].push_back(log_ratio(*runs[own[i]], after));
      }
    }
  }
}

}  // namespace

std::vector<Residuals> cross_validate(const std::vector<const TimedRun*>& runs,
                                      const FactorTable& fitted, const CrossOptions& options) {
  std::vector<Residuals> out(runs.size());
  std::map<std::string, std::vector<size_t>> sources;
  for (size_t i = 0; i < runs.size(); ++i) {
    out[i].fitted = log_ratio(*runs[i], fitted);
    sources[runs[i]->source].push_back(i);
  }
  FactorTable start;
  start.family = fitted.family;
  for (const auto& [source, own] : sources) {
    std::vector<const TimedRun*> others;
    for (const TimedRun* run : runs) {
      if (run->source != source) others.push_back(run);
    }
    // Priors too are learnt without the source.
    const std::vector<TimedRun> kept = thinned(others);
    std::vector<const TimedRun*> given;
    for (const TimedRun& run : kept) given.push_back(&run);
    const FactorTable without = fit_all(given, start);
    for (size_t i : own) out[i].left_out = log_ratio(*runs[i], without);
    calibrate_with_some(runs, own, without, options, &out);
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
