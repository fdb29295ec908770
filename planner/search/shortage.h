// Why nothing fits, and what would: the plan of a space that misses least memory, what it misses
// and where, and what would change that.
#pragma once

#include <optional>
#include <string>

#include "planner/search/full_search.h"

namespace shardwright {

struct Shortage {
  RankedPlan plan;           // needs least memory of all plans of the space
  RankMemory memory;         // of its fullest stage, at the fullest moment
  double usable_bytes = 0;   // of a device: without what is left free
  double missing_bytes = 0;  // memory.device_bytes - usable_bytes
  // What would do, looked for among plans that take one sequence at a time, recompute everything
  // and have one chunk a stage, as far as the request allows that: they need least memory.
  // Twice, four times, ... as many nodes of this kind, the first of which has such a plan that
  // fits: so many devices, and the fastest one there. Empty when none was found, or asked for.
  int64_t devices = 0;
  std::string devices_plan;
  // When choices are constrained and one fits without that: the fastest such plan.
  std::optional<RankedPlan> unconstrained;

  const MemoryPart& largest_part() const;
  std::string line() const;  // "nothing fits: ...", for people
};

// Empty when a plan fits, or when no plan is legal.
std::optional<Shortage> shortage_of(Software& software, const SpaceRequest& request,
                                    const SpaceResult& result);
// The same with `devices` and `unconstrained`, which take further searches.
std::optional<Shortage> shortage_and_remedies(Software& software, const SpaceRequest& request,
                                              const SpaceResult& result);

}  // namespace shardwright
