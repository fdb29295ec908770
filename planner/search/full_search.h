// search_space: the best plans of the whole space for a framework's stack, exactly.
//
// Best-first branch and bound. Everything that may still lead to a plan - a layer choice of a mesh,
// one of its pipelines, a leaf - waits in one queue, ordered by a time that no plan below it can
// beat. What comes off first is split into its parts, or, when it is a plan, simulated and put back
// with its simulated time. A simulated plan that comes off first is therefore faster than
// everything else in the space, and whatever is left in the queue is proven slower.
//
// Bounds, each at most the simulated time of every plan below (tests/planner/search):
//   layer choice     all layers as one chunk, shared evenly over the stages, without any waiting
//   pipeline         what its schedule takes at least (pipeline_bound.h), without recomputation
//   recomputation    the same with its recomputation
//   leaf             the same with its exposed reduction, gathering and update
#pragma once

#include "planner/evaluate.h"
#include "planner/legality.h"
#include "planner/search/space_request.h"
#include "planner/search/stack_simulation.h"

namespace shardwright {

// candidates = pruned_rules + pruned_memory + pruned_bound + simulated.
struct SpaceStats {
  int64_t candidates = 0, pruned_rules = 0, pruned_memory = 0, pruned_bound = 0, simulated = 0;
  int64_t priced = 0;  // of all: those whose own bound was computed
  std::map<std::string, int64_t> by_rule;
  double lower_bound_s = 0;       // no plan of the space is predicted faster
  double optimality_gap_pct = 0;  // of the best plan above it; 0 when the search ended
  bool complete = true;           // false: stopped
  double seconds = 0;             // filled in by the caller
};

struct SpaceResult {
  std::vector<RankedPlan> plans;  // best first
  SpaceStats stats;
  // When nothing fits: the plan that misses least memory.
  std::optional<RankedPlan> nearest;
  std::vector<Rejection> rejections;  // when nothing is legal: the first for each rule
};

// Errors: those of check_request, and pins that leave no degrees (field "pin").
Result<SpaceResult> search_space(Software& software, const SpaceRequest& request);

}  // namespace shardwright
