// Plans as tables for people, at most 100 columns wide.
#pragma once

#include <string>

#include "planner/search.h"

namespace shardwright {

// The plans best first, then where time and memory of the best one go, then what search did.
// REQUIRES: there is a plan.
std::string plan_table(const ModelSpec& model, const ClusterSpec& cluster,
                       const SearchResult& result);

// "8 8 9 7", or "2 x10, 3 x12, ..." with runs of equal stages put together.
std::string stages_text(const std::vector<int64_t>& stage_layers);

}  // namespace shardwright
