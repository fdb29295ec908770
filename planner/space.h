// The space that search goes through: every way to choose the degrees, the microbatch, the schedule
// and recomputation for a number of ranks, legal or not.
#pragma once

#include <map>
#include <string>
#include <vector>

#include "costmodel/cluster_spec.h"
#include "planner/plan.h"

namespace shardwright {

struct SearchRequest {
  int64_t seq = 0;           // tokens per sequence
  int64_t global_batch = 0;  // sequences per step
  DataType precision = DataType::kFp32;
  OptimizerKind optimizer = OptimizerKind::kAdamW;
  int64_t ranks = 0;  // devices to use; 0 = all of the cluster
  int top = 5;        // plans to return; fewer let search skip more
  // Choices that are fixed: dp, tp, pp, micro_batch, schedule, recompute -> value.
  std::map<std::string, std::string> pins;
};

// "tp=2" into the request. An error names what pins there are.
std::optional<Error> add_pin(const std::string& text, SearchRequest* request);
// Sizes out of range, too many ranks, unknown pins, pinned degrees that the ranks do not divide by,
// a data type that a device has no rate for. Fills in ranks.
std::optional<Error> check_request(const ClusterSpec& cluster, SearchRequest* request);

// Plans without stage_layers, in a fixed order; those that differ in the schedule only are
// neighbours. REQUIRES: check_request was content.
std::vector<Plan> enumerate_plans(const SearchRequest& request);

// Divisors in ascending order. REQUIRES: value >= 1.
std::vector<int64_t> divisors(int64_t value);

}  // namespace shardwright
