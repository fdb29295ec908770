// What of a pipeline's choices the framework can express, for the search: its shardings and its
// recomputations, each tried on the plan (Software::refusals).
#pragma once

#include <functional>

#include "planner/search/plan_space.h"
#include "planner/search/software.h"

namespace shardwright {

class KnownChoices {
 public:
  // Told of every choice that is refused.
  using Refused = std::function<void(const Rejection&)>;

  // Both must outlive this.
  KnownChoices(const Software& software, const PlanSpace& space)
      : software_(software), space_(space) {}

  // Why the framework knows no such pipeline, however it is sharded and recomputed: with the whole
  // of the replicas as one group the rules about groups hold if they ever do.
  std::optional<Rejection> pipeline_refusal(const Plan& plan) const;
  std::vector<ShardingChoice> shardings(Plan plan, const Refused& refused = {}) const;
  // Numbers of layers that the recomputation may take. REQUIRES: the plan's sharding is known.
  std::vector<int64_t> layers(const RecomputeChoice& choice, Plan plan,
                              const Refused& refused = {}) const;
  // The same whatever the framework.
  std::vector<int64_t> all_layers(const RecomputeChoice& choice, const Plan& plan) const;

 private:
  bool known(const Plan& plan, const Refused& refused) const;
  const Software& software_;
  const PlanSpace& space_;
};

// Of two of one ZeRO stage: larger groups, then more on the host need less memory.
bool needs_less_memory(const ShardingChoice& a, const ShardingChoice& b);
// Of every ZeRO stage the largest groups, with the optimizer on the host where that is allowed:
// more replicas and less on the device never need more memory.
std::vector<ShardingChoice> smallest_shardings(const std::vector<ShardingChoice>& all);

}  // namespace shardwright
