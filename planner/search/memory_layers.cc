#include "planner/search/memory_layers.h"

#include <algorithm>
#include <limits>
#include <map>
#include <set>
#include <tuple>

namespace shardwright {
namespace {

// The choices of a pipeline that need least memory: of every ZeRO stage the largest groups, of
// every recomputation the most layers, as much on the host as may be, of what the framework knows.
// Asking about memory is cheap, about the framework is not: what no sharing of layers can make fit
// is left out first.
class Smallest {
 public:
  Smallest(Software& software, const KnownChoices& known, const PlanSpace& space,
           const MemoryLimit& limit)
      : software_(software), known_(known), limit_(limit), recomputations_(space.recomputations()) {
    std::stable_sort(recomputations_.begin(), recomputations_.end(),
                     [](const RecomputeChoice& a, const RecomputeChoice& b) {
                       return a.activation_offload > b.activation_offload;
                     });
  }

  std::vector<Plan> of(Plan plan, const std::vector<ShardingChoice>& all) {
    std::map<int64_t, std::vector<ShardingChoice>> stages;
    for (const ShardingChoice& choice : all) stages[choice.zero].push_back(choice);
    std::vector<Plan> out;
    for (auto& [zero, choices] : stages) {
      std::stable_sort(choices.begin(), choices.end(), needs_less);
      PlanSpace::set(choices.front(), &plan);
      if (!may_fit(plan)) continue;
      for (const ShardingChoice& choice : choices) {
        PlanSpace::set(choice, &plan);
        PlanSpace::set(RecomputeChoice(), 0, &plan);
        if (!software_.refusals(plan).empty()) continue;
        add(plan, &out);
        break;
      }
    }
    return out;
  }

 private:
  static bool needs_less(const ShardingChoice& a, const ShardingChoice& b) {
    const auto group = [](const ShardingChoice& c) {
      return c.shard_group == 0 ? std::numeric_limits<int64_t>::max() : c.shard_group;
    };
    return std::tuple(group(a), a.optimizer_offload) > std::tuple(group(b), b.optimizer_offload);
  }
  bool may_fit(Plan plan) {
    return std::any_of(recomputations_.begin(), recomputations_.end(),
                       [&](const RecomputeChoice& choice) {
                         PlanSpace::set(choice, 0, &plan);
                         return software_.emptiest_share(plan, limit_) <= 1;
                       });
  }
  void add(Plan plan, std::vector<Plan>* out) {
    std::set<std::pair<Recompute, uint32_t>> done;
    for (const RecomputeChoice& choice : recomputations_) {
      if (done.count({choice.kind, choice.modules})) continue;
      PlanSpace::set(choice, 0, &plan);
      if (software_.emptiest_share(plan, limit_) > 1) continue;
      const std::vector<int64_t> layers = known_.layers(choice, plan);
      if (layers.empty()) continue;
      done.insert({choice.kind, choice.modules});
      PlanSpace::set(choice, layers.back(), &plan);
      out->push_back(plan);
    }
  }

  Software& software_;
  const KnownChoices& known_;
  const MemoryLimit& limit_;
  std::vector<RecomputeChoice> recomputations_;
};

}  // namespace

std::vector<int64_t> layers_that_fit(Software& software, const KnownChoices& known,
                                     const PlanSpace& space, const MemoryLimit& limit,
                                     const Plan& plan) {
  const bool by_count = plan.pp > 1 && plan.virtual_stages == 1 &&
                        plan.schedule != ScheduleKind::kSynthesised &&
                        software.model().kinds.size() == 1;
  if (!by_count || software.fullest_share(plan, limit) <= 1) return plan.stage_layers;
  const std::vector<Plan> smallest =
      Smallest(software, known, space, limit).of(plan, space.shardings(plan.dp * plan.split.cp));
  const bool fits = std::any_of(smallest.begin(), smallest.end(), [&](const Plan& one) {
    return software.fullest_share(one, limit) <= 1;
  });
  std::vector<int64_t> best = plan.stage_layers;
  if (fits) return best;
  double least = std::numeric_limits<double>::infinity();
  for (Plan one : smallest) {
    if (!software.fit_layers(limit, &one)) continue;
    const double slowest = software.slowest_chunk_s(one);
    if (slowest >= least || known.pipeline_refusal(one)) continue;
    least = slowest;
    best = one.stage_layers;
  }
  return best;
}

}  // namespace shardwright
