// Layers per stage where memory decides, against every way to share them.
#include "planner/search/memory_layers.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <functional>
#include <limits>
#include <random>

#include "planner/search/full_search.h"
#include "tests/planner/search/mixed_cluster.h"
#include "tests/planner/support.h"

namespace shardwright {
namespace {

const char* const kProfiles = SHARDWRIGHT_SOURCE_DIR "/profiles";

std::unique_ptr<Software> software_for(const ModelSpec& model, const ClusterSpec& cluster) {
  auto software = megatron_on(model, cluster, kProfiles);
  EXPECT_FALSE(software->plan_for("any"));
  return software;
}

// Calls each(layers per stage) for every sharing that leaves none without a layer.
void each_sharing(int64_t layers, int64_t stages,
                  const std::function<void(const std::vector<int64_t>&)>& each) {
  std::vector<int64_t> split(stages, 1);
  const std::function<void(int64_t, int64_t)> next = [&](int64_t stage, int64_t left) {
    if (stage + 1 == stages) {
      split[stage] = left;
      return each(split);
    }
    for (int64_t n = 1; n <= left - (stages - stage - 1); ++n) {
      split[stage] = n;
      next(stage + 1, left - n);
    }
  };
  next(0, layers);
}

// Whether anything of the space's shardings and recomputations fits with the plan's layers.
bool something_fits(Software& software, const PlanSpace& space, const MemoryLimit& limit,
                    Plan plan) {
  for (const ShardingChoice& sharding : space.shardings(plan.dp * plan.split.cp)) {
    PlanSpace::set(sharding, &plan);
    for (const RecomputeChoice& choice : space.recomputations()) {
      std::vector<int64_t> counts = {0};
      if (choice.kind == Recompute::kFull) {
        counts = space.recomputed_layers(plan.pp, plan.virtual_stages);
      }
      for (int64_t count : counts) {
        PlanSpace::set(choice, count, &plan);
        if (software.fullest_share(plan, limit) <= 1) return true;
      }
    }
  }
  return false;
}

// The fullest device of the sharing that needs least, with the plan's choices.
double least_bytes(Software& software, Plan plan) {
  double least = std::numeric_limits<double>::infinity();
  each_sharing(software.model().layers(), plan.pp, [&](const std::vector<int64_t>& split) {
    plan.stage_layers = split;
    least = std::min(least, software.device_bytes(plan));
  });
  return least;
}

TEST(MemoryLayers, TheFastestSharingThatFits) {
  std::mt19937 random(11);
  int moved = 0, kept = 0, none = 0;
  for (int round = 0; round < 60; ++round) {
    ModelSpec model = shipped_model(round % 2 == 0 ? "small-gpt" : "tiny-llama");
    model.layer_kind.assign(4 + random() % 5, 0);
    const ClusterSpec cluster = round % 3 == 0 ? mixed_cluster(2, kProfiles)
                                               : load_cluster("h100-sxm-80gb:4", kProfiles).value();
    const auto software = software_for(model, cluster);
    SpaceRequest request;
    request.ranks = 4;
    request.seq = 1024;
    request.global_batch = 32;
    request.constraints.add(ConstraintKind::kPin,
                            round % 4 == 0 ? "recompute=none|full" : "recompute=none");
    request.constraints.add(ConstraintKind::kBan, "optimizer_offload=true");
    if (round % 7 != 0) request.constraints.add(ConstraintKind::kPin, "activation_offload=0");
    if (round % 5 == 0) request.constraints.add(ConstraintKind::kPin, "zero=0");
    const Plan base = base_plan(model, request);
    const PlanSpace space(model, cluster, 4, base, request.constraints);
    const KnownChoices known(*software, space);
    Plan plan = base;
    plan.pp = random() % 2 == 0 ? 2 : 4;
    plan.dp = 4 / plan.pp;
    software->set_usual(&plan);
    plan.stage_layers = software->share_layers(plan);
    const std::vector<int64_t> by_speed = plan.stage_layers;
    // From what nothing fits into to what the layers by speed need.
    double low = std::numeric_limits<double>::infinity(), high = low;
    for (const RecomputeChoice& choice : space.recomputations()) {
      for (const ShardingChoice& sharding : space.shardings(plan.dp)) {
        Plan chosen = plan;
        PlanSpace::set(choice, 0, &chosen);
        PlanSpace::set(sharding, &chosen);
        low = std::min(low, least_bytes(*software, chosen));
        high = std::min(high, software->device_bytes(chosen));
      }
    }
    const double part = -0.1 + 1.2 * static_cast<double>(random() % 1000) / 1000;
    MemoryLimit limit;
    limit.bytes = static_cast<Bytes>(low + part * std::max(high - low, 1000.0));

    const std::vector<int64_t> found = layers_that_fit(*software, known, space, limit, plan);
    double fastest = std::numeric_limits<double>::infinity();
    each_sharing(model.layers(), plan.pp, [&](const std::vector<int64_t>& split) {
      Plan other = plan;
      other.stage_layers = split;
      if (!something_fits(*software, space, limit, other)) return;
      fastest = std::min(fastest, software->slowest_chunk_s(other));
    });
    const bool fits_by_speed = something_fits(*software, space, limit, plan);
    plan.stage_layers = found;
    if (fits_by_speed || fastest == std::numeric_limits<double>::infinity()) {
      EXPECT_EQ(found, by_speed) << round;
      ++(fits_by_speed ? kept : none);
      continue;
    }
    ++moved;
    EXPECT_TRUE(something_fits(*software, space, limit, plan)) << round;
    // Halving the interval of times ends at a part in 10^9 of it.
    EXPECT_NEAR(software->slowest_chunk_s(plan), fastest, 1e-8 * fastest) << round;
  }
  EXPECT_GT(moved, 10);
  EXPECT_GT(kept, 5);
  EXPECT_GT(none, 0);
}

// A pipeline whose first stage holds the most microbatches, every choice that would save memory
// taken away: by speed it does not fit, with fewer layers at the front it does.
TEST(MemoryLayers, SearchFindsAPlanThatFitsOnlySo) {
  const ModelSpec model = shipped_model("llama-3.1-8b");
  const ClusterSpec cluster = load_cluster("h100-sxm-80gb:4", kProfiles).value();
  const auto software = software_for(model, cluster);
  SpaceRequest request;
  request.seq = 4096;
  request.global_batch = 32;
  request.headroom = 0;
  request.memory_limit = Bytes{1} << 50;
  for (const char* pin : {"pp=4", "schedule=1f1b", "virtual_stages=1", "micro_batch=1",
                          "recompute=none", "optimizer_offload=false", "activation_offload=0"}) {
    ASSERT_FALSE(request.constraints.add(ConstraintKind::kPin, pin));
  }
  const auto ample = search_space(*software, request);
  ASSERT_TRUE(ample.ok());
  ASSERT_FALSE(ample->plans.empty());
  const RankedPlan fast = ample->plans.front();
  const double need = software->device_bytes(fast.plan), least = least_bytes(*software, fast.plan);
  ASSERT_LT(least, 0.95 * need);
  request.memory_limit = static_cast<Bytes>((need + least) / 2);
  const auto tight = search_space(*software, request);
  ASSERT_TRUE(tight.ok());
  ASSERT_FALSE(tight->plans.empty());
  const RankedPlan& found = tight->plans.front();
  EXPECT_LE(software->fullest_share(found.plan, memory_limit_of(request)), 1);
  EXPECT_LT(found.plan.stage_layers.front(), fast.plan.stage_layers.front());
  EXPECT_GT(found.step_ns, fast.step_ns);
}

}  // namespace
}  // namespace shardwright
