// How many devices: the best plan by an objective over numbers of devices of one cluster, exactly.
//
// With one price and one power per device every objective here grows with the step time at a given
// number of devices, so on each number the fastest plan is the best one, and the answer is among
// those. Numbers are taken in the order of a bound: the objective at a step time that no plan on so
// many devices can beat (all layers as one chunk, shared evenly, without waiting). A number whose
// bound is worse than the answers is not searched. Nothing is assumed to grow or fall with the
// number: seven nodes may well be slower than four, where the batch does not divide.
#pragma once

#include <map>
#include <optional>
#include <string>
#include <vector>

#include "planner/search/full_search.h"

namespace shardwright {

// What a device costs while it is used, as the user says or a profile's source; 0: not known.
struct DeviceRates {
  double usd_per_hour = 0;
  double watts = 0;
};

// USD and kWh per million tokens of training; 0 where the rate is not known.
double usd_per_mtoken(const DeviceRates& rates, const RankedPlan& plan);
double kwh_per_mtoken(const DeviceRates& rates, const RankedPlan& plan);

enum class Objective { kStep, kTokensPerDevice, kCost, kEnergy, kDevices };
const char* name_of(Objective objective);
bool parse_objective(const std::string& name, Objective* out);
// Whether the rates that it takes are known.
bool is_defined(Objective objective, const DeviceRates& rates);

// What a plan must keep to; 0: anything.
struct DeviceLimits {
  int64_t max_devices = 0;
  double max_watts = 0;  // of all devices together
  double max_usd_per_mtoken = 0;
  double min_tokens_per_s = 0;  // of all devices together
  bool any() const {
    return max_devices > 0 || max_watts > 0 || max_usd_per_mtoken > 0 || min_tokens_per_s > 0;
  }
};

// Below a node the divisors of its devices, then whole nodes in the cluster's order.
std::vector<int64_t> device_counts(const ClusterSpec& cluster);

// The fastest plans on numbers of devices of one cluster, each searched once.
class DeviceCounts {
 public:
  // `software` must outlive this. With request.ranks only that number is a candidate.
  DeviceCounts(Software& software, const SpaceRequest& request, const DeviceRates& rates,
               const DeviceLimits& limits);

  // Numbers of devices that the limits allow, whatever the plan.
  const std::vector<int64_t>& counts() const { return counts_; }
  // No plan on so many devices takes less; infinite when none is legal. Looks at no memory.
  double floor_s(int64_t devices);
  // The fastest plan with at most so much memory of a device (0: as the request says); null when
  // nothing fits. Valid until the next call for the same number.
  Result<const RankedPlan*> fastest(int64_t devices, Bytes memory_limit = 0);
  // Whether a step time on so many devices keeps to the limits.
  bool allowed(int64_t devices, double step_s) const;

  double value(Objective objective, int64_t devices, double step_s) const;
  int64_t searches() const { return searches_; }
  bool complete() const { return complete_; }  // false: request.progress stopped a search
  const SpaceRequest& request() const { return request_; }
  const DeviceRates& rates() const { return rates_; }
  Software& software() { return software_; }
  // What the last search found nothing for: the plan that misses least memory, or the rules.
  const SpaceResult& nothing() const { return nothing_; }

 private:
  Software& software_;
  SpaceRequest request_;
  DeviceRates rates_;
  DeviceLimits limits_;
  std::vector<int64_t> counts_;
  std::map<int64_t, double> floors_;
  std::map<std::pair<int64_t, Bytes>, std::optional<RankedPlan>> fastest_;
  SpaceResult nothing_;
  int64_t searches_ = 0;
  bool complete_ = true;
};

struct CountsAnswer {
  std::vector<RankedPlan> plans;  // best first, one for each number of devices, at most request.top
  int64_t counts = 0, searched = 0;  // numbers of devices: candidates, and those searched
  bool complete = true;
  // When no plan keeps to the limits: the fastest of all that fit, whatever the limits but those
  // on the number of devices.
  std::optional<RankedPlan> fastest;
  SpaceResult nothing;  // when nothing fits at all, of the largest number
};
// REQUIRES: is_defined(objective, rates).
Result<CountsAnswer> best_over_counts(Software& software, const SpaceRequest& request,
                                      const DeviceRates& rates, const DeviceLimits& limits,
                                      Objective objective);

}  // namespace shardwright
