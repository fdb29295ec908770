#include "planner/search/known_choices.h"

#include <limits>
#include <map>
#include <tuple>

namespace shardwright {
namespace {

bool of_sharding(const Rejection& r) {
  return r.rule == "zero" || r.rule == "shard_group" || r.rule == "optimizer" ||
         r.rule == "optimizer_offload" || r.rule == "overlap_gradients" ||
         r.rule == "overlap_parameters";
}
bool of_recompute(const Rejection& r) { return r.rule.rfind("recompute", 0) == 0; }

}  // namespace

std::optional<Rejection> KnownChoices::pipeline_refusal(const Plan& plan) const {
  for (Rejection& rejection : software_.refusals(plan)) {
    if (!of_sharding(rejection) && !of_recompute(rejection)) return std::move(rejection);
  }
  return std::nullopt;
}

bool KnownChoices::known(const Plan& plan, const Refused& refused) const {
  const std::vector<Rejection> refusals = software_.refusals(plan);
  if (!refusals.empty() && refused) refused(refusals.front());
  return refusals.empty();
}

std::vector<ShardingChoice> KnownChoices::shardings(Plan plan, const Refused& refused) const {
  std::vector<ShardingChoice> out;
  PlanSpace::set(RecomputeChoice(), 0, &plan);
  for (const ShardingChoice& choice : space_.shardings(plan.dp * plan.split.cp)) {
    PlanSpace::set(choice, &plan);
    if (known(plan, refused)) out.push_back(choice);
  }
  return out;
}

std::vector<int64_t> KnownChoices::layers(const RecomputeChoice& choice, Plan plan,
                                          const Refused& refused) const {
  std::vector<int64_t> out;
  for (int64_t layers : all_layers(choice, plan)) {
    PlanSpace::set(choice, layers, &plan);
    if (known(plan, refused)) out.push_back(layers);
  }
  return out;
}

std::vector<int64_t> KnownChoices::all_layers(const RecomputeChoice& choice,
                                              const Plan& plan) const {
  if (choice.kind != Recompute::kFull) return {0};
  return space_.recomputed_layers(plan.pp, plan.virtual_stages);
}

bool needs_less_memory(const ShardingChoice& a, const ShardingChoice& b) {
  const auto rank = [](const ShardingChoice& c) {
    const int64_t group = c.shard_group == 0 ? std::numeric_limits<int64_t>::max() : c.shard_group;
    return std::tuple(group, c.optimizer_offload);
  };
  return rank(a) > rank(b);
}

std::vector<ShardingChoice> smallest_shardings(const std::vector<ShardingChoice>& all) {
  std::map<int64_t, ShardingChoice> best;
  for (const ShardingChoice& choice : all) {
    const auto [entry, fresh] = best.try_emplace(choice.zero, choice);
    if (!fresh && needs_less_memory(choice, entry->second)) entry->second = choice;
  }
  std::vector<ShardingChoice> out;
  for (const auto& [zero, choice] : best) out.push_back(choice);
  return out;
}

}  // namespace shardwright
