// The space that search goes through: what this project's own executor can run. Every way to choose
// the degrees, the microbatch, the schedule with its virtual stages, and recomputation for a number
// of ranks, legal or not.
#pragma once

#include <string>
#include <vector>

#include "costmodel/cluster_spec.h"
#include "planner/plan.h"
#include "planner/search/constraints.h"

namespace shardwright {

struct SearchRequest {
  int64_t seq = 0;           // tokens per sequence
  int64_t global_batch = 0;  // sequences per step
  DataType precision = DataType::kFp32;
  OptimizerKind optimizer = OptimizerKind::kAdamW;
  int64_t ranks = 0;        // devices to use; 0 = all of the cluster
  int top = 5;              // plans to return; fewer let search skip more
  Constraints constraints;  // of dp, tp, pp, virtual_stages, stage_layers, micro_batch, schedule
                            // and recompute
};

// Sizes out of range, too many ranks, constraints on what is no choice here or that leave none, a
// data type that a device has no rate for. Fills in ranks.
std::optional<Error> check_request(const ModelSpec& model, const ClusterSpec& cluster,
                                   SearchRequest* request);

// Plans without stage_layers, in a fixed order; those that differ in the schedule only are
// neighbours. REQUIRES: check_request was content.
std::vector<Plan> enumerate_plans(const ModelSpec& model, const SearchRequest& request);
// The layers per chunk of one of them: pinned, or balanced. REQUIRES: its degrees are legal.
std::vector<int64_t> layers_of(const ModelSpec& model, const ClusterSpec& cluster,
                               const SearchRequest& request, const Plan& plan);

// Divisors in ascending order. REQUIRES: value >= 1.
std::vector<int64_t> divisors(int64_t value);

}  // namespace shardwright
