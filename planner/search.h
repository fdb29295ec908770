// search: the best plans of a space, exactly. Every plan is refused by a rule, refused for its
// memory, excluded because even its lower bound is slower than the plans returned, or simulated.
#pragma once

#include <map>
#include <optional>
#include <string>
#include <vector>

#include "planner/evaluate.h"
#include "planner/legality.h"
#include "planner/space.h"

namespace shardwright {

// candidates = the sum of pruned_rules + pruned_memory + pruned_bound + simulated.
struct SearchStats {
  int64_t candidates = 0;
  std::map<std::string, int64_t> pruned_rules;  // by the first rule that refused a plan
  int64_t pruned_memory = 0;                    // needs too much memory whatever the times are
  int64_t pruned_bound = 0;  // slower than the plans returned, without simulation
  int64_t simulated = 0;
  int64_t simulated_over_memory = 0;  // of the simulated: those that turned out not to fit
  double seconds = 0;                 // filled in by the caller: nothing here reads a clock
  int64_t pruned_by_rules() const;
};

// Why nothing fits, and what would.
struct NearestMiss {
  RankedPlan smallest;       // the plan that misses least memory
  size_t stage = 0;          // where it misses it
  int64_t devices = 0;       // so many devices of this kind would do; 0: not found
  std::string devices_plan;  // label of a plan that fits then
  // One line: what is short, how much, what dominates, and what would fit.
  std::string line() const;
};

struct SearchResult {
  std::vector<RankedPlan> plans;  // best first: by time, then memory, then label
  SearchStats stats;
  std::optional<NearestMiss> miss;    // when no plan fits but some are legal
  std::vector<Rejection> rejections;  // when no plan is legal: the first for each rule
};

// Errors are those of check_request.
Result<SearchResult> search(const ModelSpec& model, const ClusterSpec& cluster,
                            const SearchRequest& request);

// Of plans that all need too much memory, the one that misses least, and the number of devices at
// which one fits. REQUIRES: `plans` is not empty; the plans are legal and have stage_layers.
NearestMiss nearest_miss(const ModelSpec& model, const ClusterSpec& cluster,
                         const SearchRequest& request, const std::vector<Plan>& plans);

}  // namespace shardwright
