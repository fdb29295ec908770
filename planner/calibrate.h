// Fits factors to runs whose time is known: a user's one or two, or all published ones.
//
// Minimises  sum over runs of weight * rho(ln(predicted / measured) / kNoise)
//          + sum over factors of ((ln value - ln centre) / spread)^2
// with rho soft-L1, so that a run which the model cannot explain does not bend the rest. All
// published runs together (fit_all) also decide the priors: the centre of an owner's factor is that
// of its family, the family's that of all owners, and the spreads on both levels are estimated from
// the runs (empirical Bayes). Few runs of one's own (fit) then move every factor as far as what is
// known of it leaves in doubt, and no further. Values stay within their plausible ranges.
#pragma once

#include <array>
#include <map>
#include <memory>
#include <string>
#include <vector>

#include "planner/estimate.h"

namespace shardwright {

// ln ratio below which an error means nothing: 2 % within a source, 5 % across them.
constexpr double kNoise = 0.04;

// Weight of a user's own run. A single run scatters by about 5 % around any model that knows its
// stack (median of `validate`), so it counts as (kNoise / 0.057)^2.
constexpr double kOwnRunWeight = 0.25;

using FixedFactors = std::map<Factor, double>;

struct TimedRun {
  std::string id, source;
  std::shared_ptr<Estimator> estimator;  // of the run's model on its cluster
  Plan plan;
  std::string device, interconnect, stack;  // owners of its factors
  double measured_s = 0;
  double weight = 1;
  // Factors that change its predicted time anywhere in their ranges; set by find_what_matters.
  std::array<bool, kNumFactors> matters = all_matter();
  static std::array<bool, kNumFactors> all_matter();
};
// So that a fit need not ask at every step for what does not matter to a run: most factors do not.
void find_what_matters(TimedRun* run);

struct FitReport {
  size_t factors = 0;    // moved: of every owner that a run has
  double effective = 0;  // of them, what the runs decide rather than the prior (trace of the hat)
  double loss = 0;
};

double predicted_s(const TimedRun& run, const FactorTable& table, const FixedFactors& fixed = {});
// Moves the factors of the runs' owners from `known`, as far as known.doubt() lets them.
FactorTable fit(const std::vector<const TimedRun*>& runs, const FactorTable& known,
                FitReport* report = nullptr);
// Fits the factors of all owners and families anew, and what is usual. `start` gives the families.
// `fixed`: values that some factors have for every owner, whatever the runs say: what a term is
// worth shows in what a fit without it reaches.
FactorTable fit_all(const std::vector<const TimedRun*>& runs, const FactorTable& start,
                    FitReport* report = nullptr, const FixedFactors& fixed = {});

}  // namespace shardwright
