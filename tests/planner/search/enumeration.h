// Every plan of a small space, legal ones priced and simulated one by one, whatever memory they
// need: what answers of searches are held against. The request's memory decides about layers alone
// (memory_layers.h, which has a test of its own).
#pragma once

#include <vector>

#include "planner/schedule/schedule.h"
#include "planner/search/full_search.h"
#include "planner/search/memory_layers.h"
#include "planner/search/pipeline_bound.h"
#include "planner/search/plan_space.h"

namespace shardwright {

class AllPlans {
 public:
  // REQUIRES: request.ranks is set.
  AllPlans(Software& software, const SpaceRequest& request, bool fitting_only = false)
      : software_(software), limit_(memory_limit_of(request)), fitting_only_(fitting_only) {
    const Plan base = base_plan(software.model(), request);
    const PlanSpace space(software.model(), software.cluster(), request.ranks, base,
                          request.constraints);
    for (const Mesh& mesh : space.meshes()) {
      for (const LayerChoice& layer : space.layers(mesh)) {
        for (const PipelineChoice& pipeline : space.pipelines(mesh.pp)) {
          visit(space, mesh, space.plan_of(mesh, layer, pipeline));
        }
      }
    }
  }
  int64_t candidates = 0;  // legal or not
  std::vector<RankedPlan> plans;

 private:
  void visit(const PlanSpace& space, const Mesh& mesh, Plan plan) {
    software_.set_usual(&plan);
    space.narrow_overlap(&plan);
    const bool legal = check_degrees(software_.model(), plan.ranks(), plan).empty() &&
                       schedule_problem(schedule_shape(plan)).empty() &&
                       (!mesh.unlike || software_.share_batch(&plan));
    if (legal) plan.stage_layers = software_.share_layers(plan, space.layer_limits());
    if (!plan.stage_layers.empty() && plan.schedule == ScheduleKind::kSynthesised) {
      set_schedule_units(software_.prices(plan), &plan);
    }
    const KnownChoices known(software_, space);
    if (!plan.stage_layers.empty() && !known.pipeline_refusal(plan)) {
      plan.stage_layers = layers_that_fit(software_, known, space, limit_, plan);
    }
    for (const RecomputeChoice& recompute : space.recomputations()) {
      std::vector<int64_t> layers = {0};
      if (recompute.kind == Recompute::kFull) {
        layers = space.recomputed_layers(mesh.pp, plan.virtual_stages);
      }
      for (int64_t n : layers) {
        for (const ShardingChoice& sharding : space.shardings(mesh.dp * mesh.cp)) {
          ++candidates;
          PlanSpace::set(recompute, n, &plan);
          PlanSpace::set(sharding, &plan);
          if (plan.stage_layers.empty() || !software_.refusals(plan).empty()) continue;
          if (fitting_only_ && software_.fullest_share(plan, limit_) > 1) continue;
          plans.push_back(evaluate(software_, plan));
        }
      }
    }
  }
  Software& software_;
  MemoryLimit limit_;
  bool fitting_only_;
};

}  // namespace shardwright
