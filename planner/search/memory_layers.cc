#include "planner/search/memory_layers.h"

#include <algorithm>
#include <limits>
#include <map>
#include <set>

namespace shardwright {
namespace {

// The choices of a pipeline that need least memory: of every ZeRO stage the largest groups, of
// every recomputation the most layers, as much on the host as may be, of what the framework knows.
class Smallest {
 public:
  // What a plan takes of its devices; above 1 it is left out.
  using Share = double (Software::*)(const Plan&, const MemoryLimit&);

  Smallest(Software& software, const KnownChoices& known, const PlanSpace& space,
           const MemoryLimit& limit)
      : software_(software), known_(known), limit_(limit), recomputations_(space.recomputations()) {
    std::stable_sort(recomputations_.begin(), recomputations_.end(),
                     [](const RecomputeChoice& a, const RecomputeChoice& b) {
                       return a.activation_offload > b.activation_offload;
                     });
  }

  // Calls visit(plan) for each until it returns true; whether it did. Asking about memory is cheap,
  // about the framework is not: what `share` leaves out is not asked about.
  template <typename Visit>
  bool any(Plan plan, const std::vector<ShardingChoice>& all, Share share, Visit&& visit) {
    std::map<int64_t, std::vector<ShardingChoice>> stages;
    for (const ShardingChoice& choice : all) stages[choice.zero].push_back(choice);
    for (auto& [zero, choices] : stages) {
      std::stable_sort(choices.begin(), choices.end(), needs_less_memory);
      PlanSpace::set(choices.front(), &plan);
      if (!may_fit(plan, share)) continue;
      for (const ShardingChoice& choice : choices) {
        PlanSpace::set(choice, &plan);
        PlanSpace::set(RecomputeChoice(), 0, &plan);
        if (!software_.refusals(plan).empty()) continue;
        if (any_recomputation(plan, share, visit)) return true;
        break;
      }
    }
    return false;
  }

 private:
  bool fits(const Plan& plan, Share share) { return (software_.*share)(plan, limit_) <= 1; }
  bool may_fit(Plan plan, Share share) {
    return std::any_of(recomputations_.begin(), recomputations_.end(),
                       [&](const RecomputeChoice& choice) {
                         PlanSpace::set(choice, 0, &plan);
                         return fits(plan, share);
                       });
  }
  template <typename Visit>
  bool any_recomputation(Plan plan, Share share, Visit&& visit) {
    std::set<std::pair<Recompute, uint32_t>> done;
    for (const RecomputeChoice& choice : recomputations_) {
      if (done.count({choice.kind, choice.modules})) continue;
      PlanSpace::set(choice, 0, &plan);
      if (!fits(plan, share)) continue;
      const std::vector<int64_t> layers = known_.layers(choice, plan);
      if (layers.empty()) continue;
      done.insert({choice.kind, choice.modules});
      PlanSpace::set(choice, layers.back(), &plan);
      if (visit(plan)) return true;
    }
    return false;
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
  const bool by_count =
      plan.pp > 1 && plan.virtual_stages == 1 && plan.schedule != ScheduleKind::kSynthesised &&
      software.model().kinds.size() == 1 && space.layer_limits().of(plan.pp) == nullptr;
  if (!by_count || software.fullest_share(plan, limit) <= 1) return plan.stage_layers;
  Smallest smallest(software, known, space, limit);
  const std::vector<ShardingChoice>& shardings = space.shardings(plan.dp * plan.split.cp);
  const bool fits = smallest.any(plan, shardings, &Software::fullest_share, [&](const Plan& one) {
    return software.fullest_share(one, limit) <= 1;
  });
  std::vector<int64_t> best = plan.stage_layers;
  if (fits) return best;
  double least = std::numeric_limits<double>::infinity();
  smallest.any(plan, shardings, &Software::emptiest_share, [&](Plan one) {
    if (!software.fit_layers(limit, &one, space.layer_limits())) return false;
    const double slowest = software.slowest_chunk_s(one);
    if (slowest >= least || known.pipeline_refusal(one)) return false;
    least = slowest;
    best = one.stage_layers;
    return false;
  });
  return best;
}

}  // namespace shardwright
