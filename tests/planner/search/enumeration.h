// Every plan of a small space, legal ones priced and simulated one by one, whatever memory they
// need: what answers of searches are held against.
#pragma once

#include <vector>

#include "planner/schedule/schedule.h"
#include "planner/search/full_search.h"
#include "planner/search/plan_space.h"

namespace shardwright {

class AllPlans {
 public:
  // REQUIRES: request.ranks is set.
  AllPlans(Software& software, const SpaceRequest& request) : software_(software) {
    base_.seq = request.seq;
    base_.global_batch = request.global_batch;
    base_.precision = request.precision;
    base_.optimizer = request.optimizer;
    base_.mtp_layers = software.model().mtp_layers;
    const PlanSpace space(software.model(), request.ranks, base_, request.constraints);
    for (const Mesh& mesh : space.meshes()) {
      for (const LayerChoice& layer : space.layers(mesh)) {
        for (const PipelineChoice& pipeline : space.pipelines(mesh.pp)) {
          visit(space, mesh, space.plan_of(mesh, layer, pipeline));
        }
      }
    }
  }
  std::vector<RankedPlan> plans;

 private:
  void visit(const PlanSpace& space, const Mesh& mesh, Plan plan) {
    software_.set_usual(&plan);
    if (!check_degrees(software_.model(), plan.ranks(), plan).empty()) return;
    if (!schedule_problem(schedule_shape(plan)).empty()) return;
    plan.stage_layers = software_.share_layers(plan);
    if (plan.stage_layers.empty()) return;
    for (const RecomputeChoice& recompute : space.recomputations()) {
      std::vector<int64_t> layers = {0};
      if (recompute.kind == Recompute::kFull) {
        layers = space.recomputed_layers(mesh.pp, plan.virtual_stages);
      }
      for (int64_t n : layers) {
        for (const ShardingChoice& sharding : space.shardings(mesh.dp * mesh.cp)) {
          PlanSpace::set(recompute, n, &plan);
          PlanSpace::set(sharding, &plan);
          if (software_.refusals(plan).empty()) plans.push_back(evaluate(software_, plan));
        }
      }
    }
  }
  Software& software_;
  Plan base_;
};

}  // namespace shardwright
