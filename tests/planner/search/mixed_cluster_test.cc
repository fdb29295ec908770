// Clusters of several kinds of devices: stages share layers by speed and memory by size.
#include "tests/planner/search/mixed_cluster.h"

#include <gtest/gtest.h>

#include <numeric>

#include "planner/search/full_search.h"
#include "tests/planner/support.h"

namespace shardwright {
namespace {

const char* const kProfiles = SHARDWRIGHT_SOURCE_DIR "/profiles";

std::unique_ptr<Software> software_for(const ModelSpec& model, const ClusterSpec& cluster) {
  return megatron_on(model, cluster, kProfiles);
}

SpaceRequest request_of(int64_t ranks) {
  SpaceRequest request;
  request.ranks = ranks;
  request.seq = 4096;
  request.global_batch = 64;
  request.precision = DataType::kBf16;
  request.top = 1;
  return request;
}

RankedPlan best_on(const ModelSpec& model, const ClusterSpec& cluster,
                   const SpaceRequest& request) {
  const auto result = search_space(*software_for(model, cluster), request);
  EXPECT_TRUE(result.ok());
  return result->plans.front();
}

Plan two_stages(const ModelSpec& model, int64_t dp) {
  Plan plan;
  plan.dp = dp;
  plan.pp = 2;
  plan.seq = 4096;
  plan.global_batch = 64;
  plan.precision = DataType::kBf16;
  plan.stage_layers = {model.layers() / 2, model.layers() - model.layers() / 2};
  return plan;
}

// Each stage costs what it costs where all devices are like its own. The levels of links are the
// same in all three clusters, the factors of a device go with the device.
TEST(MixedCluster, StagesHaveTheirOwnDevicesPrices) {
  const ModelSpec model = shipped_model("tiny-llama");
  const ClusterSpec mixed = mixed_cluster(4, kProfiles);
  const auto software = software_for(model, mixed);
  Plan plan = two_stages(model, 4);
  software->set_usual(&plan);
  const PlanPrices prices = software->prices(plan);
  for (int stage = 0; stage < 2; ++stage) {
    ClusterSpec alike = mixed;
    alike.groups[1 - stage].device = mixed.groups[stage].device;
    const PlanPrices expected = software_for(model, alike)->prices(plan);
    EXPECT_DOUBLE_EQ(prices.chunks[stage].forward, expected.chunks[stage].forward);
    EXPECT_DOUBLE_EQ(prices.chunks[stage].backward, expected.chunks[stage].backward);
    EXPECT_DOUBLE_EQ(prices.stages[stage].update, expected.stages[stage].update);
  }
}

TEST(MixedCluster, AStageOfBothKindsIsAsSlowAsTheSlower) {
  const ModelSpec model = shipped_model("tiny-llama");
  const ClusterSpec mixed = mixed_cluster(4, kProfiles);
  ClusterSpec slow = mixed;
  slow.groups[1].device = mixed.groups[0].device;
  Plan plan = two_stages(model, 8);
  plan.pp = 1;
  plan.stage_layers = {model.layers()};
  const auto software = software_for(model, mixed), slower = software_for(model, slow);
  software->set_usual(&plan);
  EXPECT_DOUBLE_EQ(software->prices(plan).chunks[0].forward,
                   slower->prices(plan).chunks[0].forward);
}

TEST(MixedCluster, MemoryIsThatOfTheStagesDevices) {
  const ModelSpec model = shipped_model("tiny-llama");
  ClusterSpec mixed = mixed_cluster(4, kProfiles);
  mixed.devices[mixed.groups[1].device].memory_bytes = Bytes{1} << 30;
  const auto software = software_for(model, mixed);
  const Plan plan = two_stages(model, 4);
  const std::vector<StageMemory> stages = software->stages(plan);
  EXPECT_EQ(stages[0].available, mixed.devices[mixed.groups[0].device].memory_bytes);
  EXPECT_EQ(stages[1].available, Bytes{1} << 30);
  const double small = static_cast<double>(stages[1].peak()) / static_cast<double>(Bytes{1} << 30);
  const double large =
      static_cast<double>(stages[0].peak()) / static_cast<double>(stages[0].available);
  // Bytes of the parts are whole numbers.
  EXPECT_NEAR(software->fullest_share(plan, {}), std::max(small, large), 1e-6);
}

// The shipped example: 16 A100 and 16 H100 together beat the 16 H100 alone, the 16 A100 alone, and
// themselves when the H100 are taken for A100.
TEST(MixedCluster, BeatsWhatIsBestOnOneKind) {
  const ModelSpec model = shipped_model("llama-3.1-8b");
  const ClusterSpec mixed = load_cluster("mixed-a100-h100", kProfiles).value();
  const RankedPlan best = best_on(model, mixed, request_of(32));
  for (const char* alone : {"h100-sxm-80gb:8x2", "a100-sxm-80gb:8x2"}) {
    const ClusterSpec cluster = load_cluster(alone, kProfiles).value();
    EXPECT_LT(best.step_ns, best_on(model, cluster, request_of(16)).step_ns) << alone;
  }
  ClusterSpec slow = mixed;
  slow.groups[1].device = mixed.groups[0].device;
  EXPECT_LT(best.step_ns, best_on(model, slow, request_of(32)).step_ns);
  ASSERT_EQ(best.plan.pp % 2, 0) << best.plan.label();
  int64_t slower = 0, faster = 0;
  for (size_t chunk = 0; chunk < best.plan.stage_layers.size(); ++chunk) {
    const bool fast = stage_of_chunk(best.plan, static_cast<int64_t>(chunk)) >= best.plan.pp / 2;
    (fast ? faster : slower) += best.plan.stage_layers[chunk];
  }
  EXPECT_GT(faster, slower);
}

// With dp outermost a replica lies on one kind of devices, and those of H100 take more of the batch
// than those of A100. Frameworks' equal batches are no limit here.
TEST(MixedCluster, UnlikeBatchesBeatEqualOnes) {
  const ModelSpec model = shipped_model("llama-3.1-8b");
  const ClusterSpec mixed = load_cluster("mixed-a100-h100", kProfiles).value();
  const auto software = software_for(model, mixed);
  ASSERT_FALSE(software->plan_for("any"));
  const auto best = [&](SpaceRequest request, const std::string& pin, bool equal) {
    if (!pin.empty()) {
      EXPECT_FALSE(request.constraints.add(ConstraintKind::kPin, pin));
    }
    if (equal) {
      EXPECT_FALSE(request.constraints.add(ConstraintKind::kBan, "unlike_batches=true"));
    }
    const auto found = search_space(*software, request);
    EXPECT_TRUE(found.ok() && !found->plans.empty());
    return found->plans.front();
  };
  // Without a pipeline: equal batches wait for the A100 and are slower than the H100 alone.
  SpaceRequest request = request_of(32);
  const RankedPlan unlike = best(request, "pp=1", false);
  ASSERT_FALSE(unlike.plan.replica_batches.empty()) << unlike.plan.label();
  EXPECT_LT(unlike.plan.replica_batches.front(), unlike.plan.replica_batches.back());  // A100 first
  const ClusterSpec alone = load_cluster("h100-sxm-80gb:8x2", kProfiles).value();
  const auto fast = software_for(model, alone);
  ASSERT_FALSE(fast->plan_for("any"));
  const auto homogeneous = search_space(*fast, request_of(16));
  EXPECT_LT(unlike.step_ns, homogeneous->plans.front().step_ns);
  EXPECT_GT(best(request, "pp=1", true).step_ns, homogeneous->plans.front().step_ns);
  // With a batch that can be shared finely, of all plans whose replicas lie on one kind; and never
  // worse where stages may share the kinds instead.
  request.global_batch = 1024;
  const std::string one_kind = "rank_order=tp-cp-pp-dp";
  EXPECT_LT(best(request, one_kind, false).step_ns, best(request, one_kind, true).step_ns);
  EXPECT_LE(best(request, "", false).step_ns, best(request, "", true).step_ns);
}

// Each kind of replica takes what it takes where all devices are like its own; what they do
// together takes what it takes on the slower.
TEST(MixedCluster, ReplicasHaveTheirOwnDevicesPrices) {
  const ModelSpec model = shipped_model("llama-3.1-8b");
  const ClusterSpec mixed = mixed_cluster(4, kProfiles);
  const auto software = software_for(model, mixed);
  Plan plan = two_stages(model, 4);
  plan.rank_order = RankOrder::kTpCpPpDp;
  plan.replica_batches = {12, 12, 20, 20};
  software->set_usual(&plan);
  const PlanPrices prices = software->prices(plan);
  ASSERT_EQ(prices.replicas.size(), 2u);
  for (int kind = 0; kind < 2; ++kind) {
    ClusterSpec alike = mixed;
    alike.groups[1 - kind].device = mixed.groups[kind].device;
    const auto own = software_for(model, alike);
    Plan same = plan;
    same.replica_batches.clear();
    const PlanPrices expected = own->prices(same);
    EXPECT_EQ(prices.replicas[kind].replica, 2 * kind);
    EXPECT_EQ(prices.replicas[kind].microbatches, kind == 0 ? 12 : 20);
    for (int chunk = 0; chunk < 2; ++chunk) {
      EXPECT_EQ(prices.replicas[kind].chunks[chunk].forward, expected.chunks[chunk].forward);
      EXPECT_EQ(prices.replicas[kind].chunks[chunk].backward, expected.chunks[chunk].backward);
    }
    EXPECT_GE(prices.stages[0].reduction, expected.stages[0].reduction);
  }
  // Equal batches wait for the slower; half as many microbatches there and half more here do not.
  Plan equal = plan;
  equal.replica_batches.clear();
  EXPECT_LT(evaluate(*software, plan).step_ns, evaluate(*software, equal).step_ns);
  EXPECT_EQ(simulate_plan(*software, plan).timeline.makespan(), evaluate(*software, plan).step_ns);
  // Its Program has both kinds of replicas, and each its number of microbatches.
  const Program program = simulate_plan(*software, plan).program;
  EXPECT_EQ(program.ranks.size(), 4u);
  EXPECT_EQ(program.replica_microbatches, (std::vector<int>{12, 12, 20, 20}));
}

}  // namespace
}  // namespace shardwright
