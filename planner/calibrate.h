// Fits factors to runs whose time is known: a user's one or two, or all published ones.
//
// Minimises  sum over runs of weight * rho(ln(predicted / measured) / kNoise)
//          + sum over factors of ((ln value - ln centre) / spread)^2
// with rho soft-L1, so that a run which the model cannot explain does not bend the rest, and a
// centre and spread for every factor, so that few runs move few factors a little. Values stay
// within their plausible ranges.
#pragma once

#include <memory>
#include <string>
#include <vector>

#include "planner/estimate.h"

namespace shardwright {

// ln ratio below which an error means nothing: 2 % within a source, 5 % across them.
constexpr double kNoise = 0.04;

// Weight of a user's own run: a single run scatters by about 8 % around any model (validate), so it
// counts as (kNoise / 0.08)^2.
constexpr double kOwnRunWeight = 0.25;

struct TimedRun {
  std::string id, source;
  std::shared_ptr<Estimator> estimator;  // of the run's model on its cluster
  Plan plan;
  std::string device, interconnect, stack;  // owners of its factors
  double measured_s = 0;
  double weight = 1;
};

struct FitReport {
  size_t factors = 0;    // moved: of every owner that a run has
  double effective = 0;  // of them, what the runs decide rather than the prior (trace of the hat)
  double loss = 0;
};

double predicted_s(const TimedRun& run, const FactorTable& table);
// Priors are centred at `centre`, which also says what owners without runs keep.
FactorTable fit(const std::vector<const TimedRun*>& runs, const FactorTable& centre,
                FitReport* report = nullptr);
// As fit, with the usual value and the spread of every factor estimated from its owners.
FactorTable fit_all(const std::vector<const TimedRun*>& runs, const FactorTable& start,
                    FitReport* report = nullptr);

}  // namespace shardwright
