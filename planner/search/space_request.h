// SpaceRequest: what plans are asked for, of which model on which cluster being said by Software.
#pragma once

#include <functional>
#include <optional>

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

// Sizes out of range, more ranks than devices, a data type that the device has no rate for.
std::optional<Error> check_request(const Software& software, const SpaceRequest& request);

// What all plans of the request share.
Plan base_plan(const ModelSpec& model, const SpaceRequest& request);
MemoryLimit memory_limit_of(const SpaceRequest& request);

}  // namespace shardwright
