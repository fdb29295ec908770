#include "planner/calibrate.h"

#include <algorithm>
#include <cmath>

#include "costmodel/check.h"
#include "planner/normal_equations.h"

namespace shardwright {
namespace {

constexpr int kRounds = 25;
constexpr double kStep = 0.02;     // of ln value, for derivatives
constexpr double kLargest = 0.35;  // change of a ln value in one round
constexpr double kDone = 2e-4;

// One value that the fit may move.
struct Unknown {
  Factor factor{};
  std::string owner;    // "" for what is usual
  int64_t parent = -1;  // the unknown that is its centre, or -1
  double centre = 0;    // ln, without a parent
  double spread = 0;
  double value = 0;  // ln
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

void set(const FixedFactors& fixed, Factors* factors) {
  for (const auto& [factor, value] : fixed) factors->at(factor) = value;
}

// Gauss-Newton on the unknowns of a set of runs. Derived classes say which priors they have.
class Fit {
 public:
  explicit Fit(const std::vector<const TimedRun*>& runs, const FixedFactors& fixed = {})
      : runs_(runs), index_(runs.size()), fixed_(fixed) {}

  void minimise() {
    double last = loss();
    for (int round = 0; round < kRounds && !unknowns_.empty(); ++round) {
      const std::vector<double> step = assemble().step();
      const std::vector<double> before = values();
      double scale = 1, now = 0;
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
  }

  FitReport report() const {
    NormalEquations data(0);
    const NormalEquations covariance = assemble(&data).inverse();
    FitReport out{unknowns_.size(), 0, loss()};
    for (size_t i = 0; i < unknowns_.size(); ++i) {
      for (size_t j = 0; j < unknowns_.size(); ++j) {
        out.effective += covariance.at(i, j) * data.at(j, i);
      }
    }
    return out;
  }

 protected:
  double centre_of(const Unknown& u) const {
    return u.parent < 0 ? u.centre : unknowns_[u.parent].value;
  }
  // Normal equations of the reweighted least squares at the current values; `data`: without priors.
  NormalEquations assemble(NormalEquations* data = nullptr) const {
    NormalEquations out(unknowns_.size());
    for (size_t r = 0; r < runs_.size(); ++r) add_run(r, &out);
    if (data != nullptr) *data = out;
    for (size_t i = 0; i < unknowns_.size(); ++i) {
      const Unknown& u = unknowns_[i];
      const double weight = 1 / (u.spread * u.spread);
      const double pull = weight * (u.value - centre_of(u));
      out.at(i, i) += weight;
      out.gradient(i) += pull;
      if (u.parent < 0) continue;
      out.at(u.parent, u.parent) += weight;
      out.at(i, u.parent) -= weight;
      out.at(u.parent, i) -= weight;
      out.gradient(u.parent) -= pull;
    }
    return out;
  }

  const std::vector<const TimedRun*>& runs_;
  std::vector<Unknown> unknowns_;
  std::vector<std::array<size_t, kNumFactors>> index_;  // of a run's factors

 private:
  const FixedFactors fixed_;
  Factors factors_of(size_t r) const {
    Factors out{};
    for (size_t i = 0; i < kNumFactors; ++i) {
      out.values[i] = std::exp(unknowns_[index_[r][i]].value);
    }
    set(fixed_, &out);
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
      const double d = (u.value - centre_of(u)) / u.spread;
      sum += d * d;
    }
    return sum;
  }
  void add_run(size_t r, NormalEquations* out) const {
    Factors factors = factors_of(r);
    const double here = log_ratio(r, factors);
    const double e = here / kNoise;
    const double weight = runs_[r]->weight / std::sqrt(1 + e * e) / (kNoise * kNoise);
    std::array<double, kNumFactors> slope{};
    for (size_t i = 0; i < kNumFactors; ++i) {
      if (!runs_[r]->matters[i] || fixed_.count(static_cast<Factor>(i)) > 0) continue;
      const double value = factors.values[i];
      factors.values[i] = value * std::exp(kStep);
      slope[i] = (log_ratio(r, factors) - here) / kStep;
      factors.values[i] = value;
    }
    const auto& index = index_[r];
    for (size_t i = 0; i < kNumFactors; ++i) {
      if (slope[i] == 0) continue;
      out->gradient(index[i]) += weight * slope[i] * here;
      for (size_t j = 0; j < kNumFactors; ++j) {
        out->at(index[i], index[j]) += weight * slope[i] * slope[j];
      }
    }
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
};

// Every factor of the runs' owners from what is known of it.
class OwnFit : public Fit {
 public:
  OwnFit(const std::vector<const TimedRun*>& runs, const FactorTable& known)
      : Fit(runs), table_(known) {
    std::map<std::pair<Factor, std::string>, size_t> slots;
    for (size_t r = 0; r < runs.size(); ++r) {
      for (size_t i = 0; i < kNumFactors; ++i) {
        const auto factor = static_cast<Factor>(i);
        const std::string& owner = owner_of(*runs[r], factor);
        const auto [slot, fresh] = slots.try_emplace({factor, owner}, unknowns_.size());
        if (fresh) {
          const double value = std::log(known.value(factor, owner));
          unknowns_.push_back({factor, owner, -1, value, doubt(factor, owner), value});
        }
        index_[r][i] = slot->second;
      }
    }
  }
  FactorTable table() const {
    FactorTable out = table_;
    for (const Unknown& u : unknowns_) {
      out.of[static_cast<size_t>(info_of(u.factor).owner)][u.owner][u.factor] = std::exp(u.value);
    }
    return out;
  }

 private:
  // The same code is not equally fast on every site: sources of one stack differ by 3 to 8 %
  // (clocks, storage, network), which is in no factor of the stack.
  double doubt(Factor factor, const std::string& owner) const {
    constexpr double kSite = 0.05;
    const double known = table_.doubt(factor, owner);
    return factor == Factor::kPace ? std::hypot(known, kSite) : known;
  }
  const FactorTable& table_;
};

// Owners around their families, families around what is usual.
class FamilyFit : public Fit {
 public:
  FamilyFit(const std::vector<const TimedRun*>& runs, const FactorTable& start,
            const FixedFactors& fixed)
      : Fit(runs, fixed), start_(start) {
    for (size_t i = 0; i < kNumFactors; ++i) {
      const FactorInfo& info = factor_infos()[i];
      const double usual = std::log(info.usual);
      unknowns_.push_back({static_cast<Factor>(i), "", -1, usual, info.spread, usual});
      levels_.push_back(kUsual);
      between_[i] = std::sqrt(info.spread * info.spread - start.within[i] * start.within[i]);
      within_[i] = start.within[i];
    }
    for (size_t r = 0; r < runs.size(); ++r) {
      for (size_t i = 0; i < kNumFactors; ++i) index_[r][i] = add(i, *runs[r]);
    }
    set_spreads();
  }

  void run() {
    for (int round = 0; round < 3; ++round) {
      minimise();
      learn_spreads();
    }
    minimise();
  }

  FactorTable table() const {
    FactorTable out = start_;
    const NormalEquations covariance = assemble().inverse();
    for (size_t k = 0; k < unknowns_.size(); ++k) {
      const Unknown& u = unknowns_[k];
      const auto i = static_cast<size_t>(u.factor);
      const auto kind = static_cast<size_t>(info_of(u.factor).owner);
      const double variance = covariance.at(k, k);
      if (levels_[k] == kUsual) {
        out.usual[i] = std::exp(u.value);
        out.within[i] = within_[i];
        out.spread[i] = std::sqrt(variance + between_[i] * between_[i] + within_[i] * within_[i]);
        continue;
      }
      out.of[kind][u.owner][u.factor] = std::exp(u.value);
      out.uncertainty[kind][u.owner][u.factor] = std::sqrt(variance);
    }
    return out;
  }

 private:
  enum Level { kOwner, kLoneOwner, kFamily, kUsual };

  size_t add(size_t i, const TimedRun& run) {
    const auto factor = static_cast<Factor>(i);
    const std::string& owner = owner_of(run, factor);
    const std::string& family = start_.family_of(info_of(factor).owner, owner);
    if (family.empty()) return add(factor, owner, i, kLoneOwner);
    return add(factor, owner, add(factor, family, i, kFamily), kOwner);
  }
  size_t add(Factor factor, const std::string& owner, size_t parent, Level level) {
    const auto [slot, fresh] = slots_.try_emplace({factor, owner}, unknowns_.size());
    if (fresh) {
      const double value = unknowns_[parent].value;
      unknowns_.push_back({factor, owner, static_cast<int64_t>(parent), 0, 1, value});
      levels_.push_back(level);
    }
    return slot->second;
  }
  void set_spreads() {
    for (size_t k = 0; k < unknowns_.size(); ++k) {
      const auto i = static_cast<size_t>(unknowns_[k].factor);
      if (levels_[k] == kOwner) unknowns_[k].spread = within_[i];
      if (levels_[k] == kFamily) unknowns_[k].spread = between_[i];
      if (levels_[k] == kLoneOwner) unknowns_[k].spread = std::hypot(within_[i], between_[i]);
    }
  }
  // One step of expectation maximisation: the spread is the mean square of what is expected of the
  // distances, their own doubt included. The stated prior counts as kPriorOwners owners.
  void learn_spreads() {
    constexpr double kPriorOwners = 4;
    const NormalEquations covariance = assemble().inverse();
    for (auto [level, spreads] : {std::pair{kOwner, &within_}, {kFamily, &between_}}) {
      std::array<double, kNumFactors> sum{}, count{};
      for (size_t k = 0; k < unknowns_.size(); ++k) {
        if (levels_[k] != level) continue;
        const Unknown& u = unknowns_[k];
        const auto p = static_cast<size_t>(u.parent);
        const double distance = u.value - unknowns_[p].value;
        sum[static_cast<size_t>(u.factor)] += distance * distance + covariance.at(k, k) +
                                              covariance.at(p, p) - 2 * covariance.at(k, p);
        count[static_cast<size_t>(u.factor)] += 1;
      }
      for (size_t i = 0; i < kNumFactors; ++i) {
        const FactorInfo& info = factor_infos()[i];
        const double prior =
            level == kOwner
                ? start_.within[i]
                : std::sqrt(info.spread * info.spread - start_.within[i] * start_.within[i]);
        (*spreads)[i] =
            std::sqrt((sum[i] + kPriorOwners * prior * prior) / (count[i] + kPriorOwners));
      }
    }
    set_spreads();
  }

  const FactorTable& start_;
  std::vector<Level> levels_;
  std::map<std::pair<Factor, std::string>, size_t> slots_;
  std::array<double, kNumFactors> within_{}, between_{};
};

}  // namespace

std::array<bool, kNumFactors> TimedRun::all_matter() {
  std::array<bool, kNumFactors> all;
  all.fill(true);
  return all;
}

double predicted_s(const TimedRun& run, const FactorTable& table, const FixedFactors& fixed) {
  Factors factors = table.resolve(run.device, run.interconnect, run.stack);
  set(fixed, &factors);
  run.estimator->set_factors(factors);
  return run.estimator->estimate(run.plan).step_s;
}

void find_what_matters(TimedRun* run) {
  Factors factors = FactorTable().resolve(run->device, run->interconnect, run->stack);
  const auto seconds = [&] {
    run->estimator->set_factors(factors);
    return run->estimator->estimate(run->plan).step_s;
  };
  const double usual = seconds();
  for (size_t i = 0; i < kNumFactors; ++i) {
    const FactorInfo& info = factor_infos()[i];
    const double value = factors.values[i];
    factors.values[i] = info.high;
    run->matters[i] = seconds() != usual;
    factors.values[i] = info.low;
    run->matters[i] = run->matters[i] || seconds() != usual;
    factors.values[i] = value;
  }
}

FactorTable fit(const std::vector<const TimedRun*>& runs, const FactorTable& known,
                FitReport* report) {
  OwnFit fit(runs, known);
  fit.minimise();
  if (report != nullptr) *report = fit.report();
  return fit.table();
}

FactorTable fit_all(const std::vector<const TimedRun*>& runs, const FactorTable& start,
                    FitReport* report, const FixedFactors& fixed) {
  FamilyFit fit(runs, start, fixed);
  fit.run();
  if (report != nullptr) *report = fit.report();
  return fit.table();
}

}  // namespace shardwright
