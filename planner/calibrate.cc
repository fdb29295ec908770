#include "planner/calibrate.h"

#include <algorithm>
#include <cmath>
#include <tuple>

#include "costmodel/check.h"

namespace shardwright {
namespace {

constexpr int kRounds = 25;
constexpr double kStep = 0.02;     // of ln value, for derivatives
constexpr double kLargest = 0.35;  // change of a ln value in one round
constexpr double kDone = 2e-4;

// One value that the fit may move.
struct Unknown {
  Factor factor{};
  std::string owner;
  double centre = 0;  // ln
  double value = 0;   // ln
};

const std::string& owner_of(const TimedRun& run, Factor factor) {
  switch (info_of(factor).owner) {
    case FactorOwner::kDevice:
      return run.device;
    case FactorOwner::kInterconnect:
      return run.interconnect;
    case FactorOwner::kStack:
      return run.stack;
  }
  return run.stack;
}

class Fit {
 public:
  Fit(const std::vector<const TimedRun*>& runs, const FactorTable& centre)
      : runs_(runs), table_(centre) {
    index_.resize(runs.size());
    std::map<std::pair<Factor, std::string>, size_t> known;
    for (size_t r = 0; r < runs.size(); ++r) {
      for (size_t i = 0; i < kNumFactors; ++i) {
        const auto factor = static_cast<Factor>(i);
        const std::string& owner = owner_of(*runs[r], factor);
        const auto [slot, fresh] = known.try_emplace({factor, owner}, unknowns_.size());
        if (fresh) {
          const double value = std::log(centre.value(factor, owner));
          unknowns_.push_back({factor, owner, value, value});
        }
        index_[r][i] = slot->second;
      }
    }
  }

  FactorTable run(FitReport* report) {
    double last = loss();
    for (int round = 0; round < kRounds && !unknowns_.empty(); ++round) {
      assemble();
      const std::vector<double> before = values();
      double scale = 1, now = 0;
      const std::vector<double> step = solve(-1);
      // Halved until it helps: the model is not linear and values stop at their bounds.
      for (int i = 0; i < 4; ++i, scale /= 2) {
        move(before, step, scale);
        now = loss();
        if (now < last) break;
      }
      if (now >= last) {
        move(before, step, 0);
        break;
      }
      const bool done = last - now < kDone * last;
      last = now;
      if (done) break;
    }
    if (report != nullptr) *report = {unknowns_.size(), effective(), last};
    return table();
  }

 private:
  double spread(const Unknown& u) const { return table_.spread[static_cast<size_t>(u.factor)]; }
  Factors factors_of(size_t r) const {
    Factors out{};
    for (size_t i = 0; i < kNumFactors; ++i) {
      out.values[i] = std::exp(unknowns_[index_[r][i]].value);
    }
    return out;
  }
  double log_ratio(size_t r, const Factors& factors) const {
    runs_[r]->estimator->set_factors(factors);
    return std::log(runs_[r]->estimator->estimate(runs_[r]->plan).step_s / runs_[r]->measured_s);
  }

  double loss() const {
    double sum = 0;
    for (size_t r = 0; r < runs_.size(); ++r) {
      const double e = log_ratio(r, factors_of(r)) / kNoise;
      sum += runs_[r]->weight * 2 * (std::sqrt(1 + e * e) - 1);
    }
    for (const Unknown& u : unknowns_) {
      const double d = (u.value - u.centre) / spread(u);
      sum += d * d;
    }
    return sum;
  }

  // Normal equations of the reweighted least squares at the current values.
  void assemble() {
    const size_t n = unknowns_.size();
    normal_.assign(n * n, 0);
    gradient_.assign(n, 0);
    for (size_t r = 0; r < runs_.size(); ++r) add_run(r);
    data_ = normal_;
    for (size_t i = 0; i < n; ++i) {
      const double weight = 1 / (spread(unknowns_[i]) * spread(unknowns_[i]));
      normal_[i * n + i] += weight;
      gradient_[i] += weight * (unknowns_[i].value - unknowns_[i].centre);
    }
  }
  void add_run(size_t r) {
    const size_t n = unknowns_.size();
    Factors factors = factors_of(r);
    const double here = log_ratio(r, factors);
    const double e = here / kNoise;
    const double weight = runs_[r]->weight / std::sqrt(1 + e * e) / (kNoise * kNoise);
    std::array<double, kNumFactors> slope{};
    for (size_t i = 0; i < kNumFactors; ++i) {
      const double value = factors.values[i];
      factors.values[i] = value * std::exp(kStep);
      slope[i] = (log_ratio(r, factors) - here) / kStep;
      factors.values[i] = value;
    }
    for (size_t i = 0; i < kNumFactors; ++i) {
      if (slope[i] == 0) continue;
      gradient_[index_[r][i]] += weight * slope[i] * here;
      for (size_t j = 0; j < kNumFactors; ++j) {
        normal_[index_[r][i] * n + index_[r][j]] += weight * slope[i] * slope[j];
      }
    }
  }

  // Cholesky; REQUIRES the prior's weight on the diagonal, which makes it positive definite.
  std::vector<double> factorise() const {
    const size_t n = unknowns_.size();
    std::vector<double> lower(n * n, 0);
    for (size_t i = 0; i < n; ++i) {
      for (size_t j = 0; j <= i; ++j) {
        double sum = normal_[i * n + j];
        for (size_t k = 0; k < j; ++k) sum -= lower[i * n + k] * lower[j * n + k];
        lower[i * n + j] = i == j ? std::sqrt(std::max(sum, 1e-12)) : sum / lower[j * n + j];
      }
    }
    return lower;
  }
  static void substitute(const std::vector<double>& lower, size_t n, std::vector<double>* x) {
    for (size_t i = 0; i < n; ++i) {
      for (size_t k = 0; k < i; ++k) (*x)[i] -= lower[i * n + k] * (*x)[k];
      (*x)[i] /= lower[i * n + i];
    }
    for (size_t i = n; i-- > 0;) {
      for (size_t k = i + 1; k < n; ++k) (*x)[i] -= lower[k * n + i] * (*x)[k];
      (*x)[i] /= lower[i * n + i];
    }
  }
  std::vector<double> solve(double sign) const {
    std::vector<double> x = gradient_;
    for (double& one : x) one *= sign;
    substitute(factorise(), unknowns_.size(), &x);
    return x;
  }
  // Trace of normal^-1 * data.
  double effective() {
    assemble();
    const size_t n = unknowns_.size();
    const std::vector<double> lower = factorise();
    double trace = 0;
    for (size_t j = 0; j < n; ++j) {
      std::vector<double> column(n);
      for (size_t i = 0; i < n; ++i) column[i] = data_[i * n + j];
      substitute(lower, n, &column);
      trace += column[j];
    }
    return trace;
  }

  std::vector<double> values() const {
    std::vector<double> out;
    for (const Unknown& u : unknowns_) out.push_back(u.value);
    return out;
  }
  void move(const std::vector<double>& from, const std::vector<double>& step, double scale) {
    for (size_t i = 0; i < unknowns_.size(); ++i) {
      const FactorInfo& info = info_of(unknowns_[i].factor);
      const double by = std::clamp(scale * step[i], -kLargest, kLargest);
      unknowns_[i].value = std::clamp(from[i] + by, std::log(info.low), std::log(info.high));
    }
  }
  FactorTable table() const {
    FactorTable out = table_;
    for (const Unknown& u : unknowns_) {
      const auto kind = static_cast<size_t>(info_of(u.factor).owner);
      out.of[kind][u.owner][u.factor] = std::exp(u.value);
    }
    return out;
  }

  const std::vector<const TimedRun*>& runs_;
  FactorTable table_;
  std::vector<Unknown> unknowns_;
  std::vector<std::array<size_t, kNumFactors>> index_;
  std::vector<double> normal_, data_, gradient_;
};

// The usual value and spread of a factor from its owners' values, as far as there are some: the
// stated prior counts as kPriorOwners owners.
void learn_priors(FactorTable* table) {
  constexpr double kPriorOwners = 2;
  for (size_t i = 0; i < kNumFactors; ++i) {
    const FactorInfo& info = factor_infos()[i];
    double count = kPriorOwners, sum = kPriorOwners * std::log(info.usual);
    double squares = 0;
    std::vector<double> values;
    for (const auto& [owner, own] : table->of[static_cast<size_t>(info.owner)]) {
      const auto found = own.find(static_cast<Factor>(i));
      if (found == own.end() || owner.empty()) continue;
      values.push_back(std::log(found->second));
      sum += values.back();
      count += 1;
    }
    const double mean = sum / count;
    for (double value : values) squares += (value - mean) * (value - mean);
    squares += kPriorOwners * info.spread * info.spread;
    table->usual[i] = std::exp(mean);
    table->spread[i] = std::clamp(std::sqrt(squares / count), info.spread / 2, info.spread * 2);
  }
}

}  // namespace

double predicted_s(const TimedRun& run, const FactorTable& table) {
  run.estimator->set_factors(table.resolve(run.device, run.interconnect, run.stack));
  return run.estimator->estimate(run.plan).step_s;
}

FactorTable fit(const std::vector<const TimedRun*>& runs, const FactorTable& centre,
                FitReport* report) {
  return Fit(runs, centre).run(report);
}

FactorTable fit_all(const std::vector<const TimedRun*>& runs, const FactorTable& start,
                    FitReport* report) {
  FactorTable centre = start;
  for (auto& owners : centre.of) owners.clear();
  FactorTable fitted;
  for (int round = 0; round < 3; ++round) {
    fitted = fit(runs, centre, report);
    if (round == 2) break;
    learn_priors(&fitted);
    centre.usual = fitted.usual;
    centre.spread = fitted.spread;
  }
  return fitted;
}

}  // namespace shardwright
