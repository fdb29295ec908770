// search_space: the best plans of the whole space for a framework's stack, exactly.
//
// Best-first branch and bound. Everything that may still lead to a plan - a layer choice of a mesh,
// one of its pipelines, a leaf - waits in one queue, ordered by a time that no plan below it can
// beat. What comes off first is split into its parts, or, when it is a plan, simulated and put back
// with its simulated time. A simulated plan that comes off first is therefore faster than
// everything else in the space, and whatever is left in the queue is proven slower.
//
// Bounds, each at most the simulated time of every plan below (tests/planner/search):
//   layer choice   all layers as one chunk, shared evenly over the stages, without any waiting
//   pipeline       filling, the slowest stage's work, draining (pipeline_bound.h), without
//   recompute leaf           the same with its recomputation, its exposed reduction, gathering and
//   update
#pragma once

#include <functional>

#include "planner/evaluate.h"
#include "planner/legality.h"
#include "planner/search/constraints.h"
#include "planner/search/software.h"

namespace shardwright {

struct SpaceRequest {
  int64_t ranks = 0;         // 0 = all of the cluster
  int64_t seq = 0;           // tokens per sequence
  int64_t global_batch = 0;  // sequences per step
  DataType precision = DataType::kBf16;
  OptimizerKind optimizer = OptimizerKind::kAdamW;
  Constraints constraints;
  int top = 5;
  double headroom = 0.02;  // of a device's memory, left free
  Bytes memory_limit = 0;  // of a device, instead of what it has; 0 = none
  // Asked now and then; false stops the search, which then returns the best so far.
  struct Progress {
    int64_t decided = 0, candidates = 0;  // plans
    double best_s = 0, bound_s = 0;       // best_s: 0 while none is known
  };
  std::function<bool(const Progress&)> progress;
};

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

// Sizes out of range, more ranks than devices, a data type that the device has no rate for.
std::optional<Error> check_request(const Software& software, const SpaceRequest& request);

// Errors: those of check_request, and pins that leave no degrees (field "pin").
Result<SpaceResult> search_space(Software& software, const SpaceRequest& request);

// Memory of a device that a plan may use: what it has, or the limit, without what is left free.
double usable_bytes(const Software& software, const SpaceRequest& request);

// A plan as the search reports it: simulated, with memory and parts.
// REQUIRES: the plan is legal and has stage_layers.
RankedPlan evaluate(Software& software, const Plan& plan);

}  // namespace shardwright
