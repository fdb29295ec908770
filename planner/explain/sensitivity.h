// What a plan, and the best plan, would take on slightly other hardware.
#pragma once

#include <functional>
#include <string>
#include <vector>

#include "planner/search/full_search.h"

namespace shardwright {

// What is scaled: memory of a device, its peak rate of products and attention, or the bandwidth of
// a link level.
struct Scaled {
  enum Kind { kMemory, kCompute, kLink };
  Kind kind = kMemory;
  size_t level = 0;  // kLink: of ClusterSpec::levels
  std::string name(const ClusterSpec& cluster) const;
};
// memory, compute, then every link level.
std::vector<Scaled> all_scaled(const ClusterSpec& cluster);

// Compute: peaks grow; efficiencies by shape, floors and memory bandwidth stay. Link: nominal
// bandwidth grows, and of measured curves what lies above their shortest time.
ClusterSpec scale(const ClusterSpec& cluster, const Scaled& what, double factor);

struct Sensitivity {
  Scaled what;
  double factor = 1;
  double plan_s = 0;       // of the plan as it is
  double best_s = 0;       // planned again; 0 when nothing fits
  std::string best_label;  // of that plan
};
// At factors 0.9 and 1.1.
Result<std::vector<Sensitivity>> sensitivities(Software& software, const SpaceRequest& request,
                                               const Plan& plan);

// Where another plan becomes faster than `plan` as the bandwidth of a level changes, by bisection
// to 1 % between 1/8 and 8 times what it has. 0: not in that range, or faster already as it is.
struct BreakEven {
  size_t level = 0;
  double below = 0, above = 0;           // factors
  std::string below_label, above_label;  // the plan that is faster there
};
Result<BreakEven> break_even(Software& software, const SpaceRequest& request, const Plan& plan,
                             size_t level);

}  // namespace shardwright
