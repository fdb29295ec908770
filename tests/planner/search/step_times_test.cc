// The walk through a schedule and the simulation of the plan's Program are two programs for one
// question; whatever the plan, they agree to the nanosecond.
#include "planner/search/step_times.h"

#include <gtest/gtest.h>

#include <map>
#include <random>

#include "planner/search/full_search.h"
#include "planner/search/stack_simulation.h"
#include "tests/planner/support.h"

namespace shardwright {
namespace {

class RandomPlans {
 public:
  explicit RandomPlans(unsigned seed) : random_(seed) {}

  int64_t pick(int64_t low, int64_t high) {
    return low + static_cast<int64_t>(random_() % static_cast<uint64_t>(high - low + 1));
  }
  bool coin() { return pick(0, 1) == 0; }

  // Legal for the model, on at most `devices`.
  Plan next(const ModelSpec& model, int64_t devices) {
    for (;;) {
      Plan plan = draw(model);
      if (plan.ranks() <= devices && check_plan(model, plan.ranks(), plan).empty()) return plan;
    }
  }

 private:
  Plan draw(const ModelSpec& model) {
    Plan plan = test_plan(model, pick(1, 4), pick(1, 4), pick(1, 6), 1);
    // All but the synthesised one, which is made for a plan that has a schedule.
    plan.schedule = static_cast<ScheduleKind>(pick(0, kScheduleKinds - 2));
    plan.virtual_stages = pick(1, 4);
    plan.micro_batch = pick(1, 2);
    plan.global_batch = plan.dp * plan.micro_batch * pick(1, 24);
    plan.seq = 64;
    plan.precision = coin() ? DataType::kBf16 : DataType::kFp8;
    plan.optimizer = coin() ? OptimizerKind::kAdamW : OptimizerKind::kSgd;
    const int64_t chunks = plan.pp * plan.virtual_stages;
    plan.stage_layers.assign(static_cast<size_t>(chunks), 0);
    const int64_t shift = pick(0, 1);
    for (int64_t i = 0; i < model.layers(); ++i) ++plan.stage_layers[(i + shift) % chunks];
    plan.split.cp = pick(1, 2);
    plan.split.cp_kind = coin() ? CpKind::kRing : CpKind::kAllToAll;
    plan.split.sequence_parallel = plan.tp > 1 && coin();
    if (model.kinds.back().moe.experts > 0) {
      plan.split.ep = int64_t{1} << pick(0, 3);
      plan.split.etp = pick(0, 1) == 0 ? 0 : (coin() ? 1 : plan.tp);
    }
    plan.zero = pick(0, 3);
    const int64_t replicas = plan.dp * plan.split.cp;
    plan.shard_group = plan.zero > 0 && coin() ? pick(1, replicas) : 0;
    plan.recompute = static_cast<Recompute>(pick(0, 2));
    if (plan.recompute == Recompute::kSelective) plan.recompute_modules = kRecomputeCoreAttention;
    if (plan.recompute == Recompute::kFull) plan.recompute_layers = pick(0, 2);
    plan.overlap = {coin(), coin(), coin(), coin(), coin()};
    plan.optimizer_offload = coin() ? 0 : 0.5;
    if (pick(0, 3) == 0) plan.activation_offload = coin() ? 0.5 : 1;
    plan.rank_order = static_cast<RankOrder>(pick(0, kRankOrders - 1));
    return plan;
  }

  std::mt19937 random_;
};

TEST(StepTimes, WalkAndProgramAgree) {
  RandomPlans plans(17);
  std::map<ScheduleKind, int> seen;
  int sharded = 0, tied = 0, near = 0;
  for (const char* stack : {"megatron-core-2025", "torchtitan", "deepspeed-zero3"}) {
    for (const char* name : {"tiny-gpt", "tiny-llama", "small-gpt", "qwen3-30b-a3b"}) {
      const ModelSpec model = shipped_model(name);
      for (const char* shorthand : {"h100-sxm-80gb:8x8", "a100-sxm-80gb:4x16"}) {
        const ClusterSpec cluster = load_cluster(shorthand, kProfiles).value();
        const auto software = Software::load(model, cluster, stack, kProfiles);
        ASSERT_TRUE(software.ok()) << software.error().line();
        for (int i = 0; i < 60; ++i) {
          Plan plan = plans.next(model, cluster.num_devices());
          if (shorthand[0] == 'a') plan.precision = DataType::kBf16;  // which has no fp8
          const StackSimulation simulation = simulate_plan(**software, plan);
          EXPECT_EQ(simulation.timeline.makespan(), evaluate(**software, plan).step_ns)
              << plan.label() << " under " << stack;
          ++seen[plan.schedule];
          sharded += plan.zero > 0;
          near += plan.rank_order == RankOrder::kTpCpPpDp && plan.pp > 1 && plan.dp > 1;
          tied += model.tied_embeddings && plan.pp > 1;
        }
      }
    }
  }
  for (int kind = 0; kind + 1 < kScheduleKinds; ++kind) {
    EXPECT_GT(seen[static_cast<ScheduleKind>(kind)], 20) << kind;
  }
  EXPECT_GT(sharded, 300);
  EXPECT_GT(tied, 100);
  EXPECT_GT(near, 100);
}

}  // namespace
}  // namespace shardwright
