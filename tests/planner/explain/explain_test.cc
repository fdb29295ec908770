// Explanations against sums that must hold and against plans enumerated one by one.
#include "planner/explain/explain.h"

#include <cmath>
#include <limits>
#include <numeric>

#include "planner/explain/sensitivity.h"
#include "planner/explain/why_not.h"
#include "planner/search/plan_space.h"
#include "tests/planner/support.h"

namespace shardwright {
namespace {

class Explain : public testing::Test {
 protected:
  void SetUp() override {
    model_ = shipped_model("tiny-llama");
    auto cluster = load_cluster("h100-sxm-80gb:2x2", kProfiles);
    ASSERT_TRUE(cluster.ok());
    cluster_ = *std::move(cluster);
    auto software = Software::load(model_, cluster_, "megatron-core-2025", kProfiles);
    ASSERT_TRUE(software.ok()) << software.error().line();
    software_ = *std::move(software);
    request_.ranks = 4;
    request_.seq = 256;
    request_.global_batch = 8;
    request_.top = 3;
    // Small enough to enumerate: one choice of everything that is not asked about.
    for (const char* pin :
         {"recompute=none", "overlap_gradients=true", "zero=0", "optimizer_offload=false",
          "schedule=1f1b", "virtual_stages=1", "cp=1", "rank_order=tp-cp-dp-pp"}) {
      ASSERT_FALSE(request_.constraints.add(ConstraintKind::kPin, pin)) << pin;
    }
    interval_.low = std::log(0.9);
    interval_.high = std::log(1.1);
  }
  RankedPlan best() {
    const auto found = search_space(*software_, request_);
    EXPECT_TRUE(found.ok() && !found->plans.empty());
    return found->plans.front();
  }

  ModelSpec model_;
  ClusterSpec cluster_;
  std::unique_ptr<Software> software_;
  SpaceRequest request_;
  Interval interval_;
};

TEST_F(Explain, PartsAddUpToTheStep) {
  const auto explained = explain(*software_, request_, best().plan, interval_);
  ASSERT_TRUE(explained.ok()) << explained.error().line();
  double sum = 0;
  for (const NamedSeconds& part : explained->time.parts) sum += part.seconds;
  EXPECT_NEAR(sum, explained->plan.step_time_s, 1e-12);  // rounding of a dozen additions
  EXPECT_GT(explained->time.mfu, 0);
  EXPECT_LT(explained->time.mfu, 1);
  for (const Comparison& other : explained->others) {
    double lost = 0;
    for (const NamedSeconds& part : other.lost) lost += part.seconds;
    EXPECT_NEAR(lost, other.lost_s, 1e-12);
    EXPECT_GE(other.lost_s, 0);
    EXPECT_FALSE(other.choices.empty());
  }
}

// 6 FLOPs a weight of a product and token, 6 of causal attention a score pair of a head's width.
TEST_F(Explain, UtilisationIsTheModelsWorkOverThePeak) {
  const RankedPlan plan = best();
  const LayerSpec& layer = model_.layer(0);
  const double h = static_cast<double>(model_.hidden),
               f = static_cast<double>(layer.mlp.ffn_hidden);
  const double q = static_cast<double>(layer.attention.heads * layer.attention.head_dim);
  const double kv = static_cast<double>(layer.attention.kv_heads * layer.attention.head_dim);
  const double weights =
      static_cast<double>(model_.layers()) * (h * (q + 2 * kv) + q * h + 3 * h * f);
  const double attention = static_cast<double>(model_.layers()) * 256 * q;
  const double per_token = 6 * (weights + static_cast<double>(model_.vocab) * h) + 6 * attention;
  const double peak = cluster_.device_of(0).peak_flops_per_s.at(DataType::kBf16);
  const TimeBreakdown time = time_breakdown(*software_, plan.plan);
  EXPECT_NEAR(time.mfu, per_token * 256 * 8 / (4 * peak * plan.step_time_s), 1e-9);
}

TEST_F(Explain, FullestStageIsWhatSearchWeighs) {
  const RankedPlan plan = best();
  const MemoryBreakdown memory = memory_breakdown(*software_, plan.plan);
  ASSERT_EQ(memory.stages.size(), static_cast<size_t>(plan.plan.pp));
  const RankMemory& full = memory.stages[memory.fullest];
  EXPECT_DOUBLE_EQ(full.device_bytes, software_->device_bytes(plan.plan));
  double sum = 0;
  for (const MemoryPart& part : full.parts) sum += part.bytes;
  EXPECT_NEAR(sum, full.allocated_bytes, 1);  // a byte of rounding
}

TEST_F(Explain, TieWhereTheGapIsWithinTheSpreadOfWhatDiffers) {
  const RankedPlan a = best();
  Plan doubled = a.plan;  // the same microbatches twice: what differs is about a step
  doubled.global_batch *= 2;
  const RankedPlan b = evaluate(*software_, doubled);
  const Comparison apart = compare_plans(*software_, a, b, interval_);
  double squares = 0;
  const TimeBreakdown here = time_breakdown(*software_, a.plan);
  const TimeBreakdown there = time_breakdown(*software_, doubled);
  for (size_t i = 0; i < here.parts.size(); ++i) {
    squares += std::pow(there.parts[i].seconds - here.parts[i].seconds, 2);
  }
  EXPECT_NEAR(apart.spread_s, 0.1 * std::sqrt(squares),
              1e-9);  // half the width is 10 %; sums of ns
  EXPECT_FALSE(apart.tie);
  EXPECT_TRUE(compare_plans(*software_, a, a, interval_).tie);
  EXPECT_TRUE(differences(a.plan, a.plan).empty());
}

TEST_F(Explain, WhyNotNamesTheRule) {
  // tiny-llama has 2 KV heads.
  const auto answer = why_not(*software_, request_, "tp=4", best(), interval_);
  ASSERT_TRUE(answer.ok()) << answer.error().line();
  EXPECT_EQ(answer->kind, WhyNot::kRule);
  EXPECT_NE(answer->line().find("kv_heads: 2 KV heads are not divisible by tp 4"),
            std::string::npos)
      << answer->line();
  const auto degrees = why_not(*software_, request_, "tp=3", best(), interval_);
  ASSERT_TRUE(degrees.ok());
  EXPECT_EQ(degrees->kind, WhyNot::kRule);
  EXPECT_FALSE(why_not(*software_, request_, "tp", best(), interval_).ok());
}

// The best plan with the pins, found by trying every legal one.
TEST_F(Explain, WhyNotLosesWhatEnumerationSays) {
  const RankedPlan top = best();
  for (const auto& [tp, pp] : {std::pair<int64_t, int64_t>{2, 1}, {1, 2}, {2, 2}, {1, 4}}) {
    double fastest = std::numeric_limits<double>::infinity();
    for (int64_t mb : {1, 2, 4, 8}) {
      for (bool sequence : {false, true}) {
        Plan plan = top.plan;
        plan.tp = tp;
        plan.pp = pp;
        plan.dp = 4 / tp / pp;
        plan.micro_batch = mb;
        plan.split.sequence_parallel = sequence;
        if (sequence && tp == 1) continue;
        if (plan.global_batch % (plan.dp * mb) != 0) continue;
        software_->set_usual(&plan);
        // 4 layers; all ways to share them out. Search takes one of them.
        std::vector<std::vector<int64_t>> shares = {{4}};
        if (pp == 2) shares = {{1, 3}, {2, 2}, {3, 1}};
        if (pp == 4) shares = {{1, 1, 1, 1}};
        for (const auto& share : shares) {
          plan.stage_layers = share;
          if (!check_plan(model_, 4, plan).empty()) continue;
          fastest = std::min(fastest, evaluate(*software_, plan).step_time_s);
        }
      }
    }
    const std::string pins = "tp=" + std::to_string(tp) + ",pp=" + std::to_string(pp);
    const auto answer = why_not(*software_, request_, pins, top, interval_);
    ASSERT_TRUE(answer.ok()) << answer.error().line();
    ASSERT_TRUE(answer->against) << pins << ": " << answer->line();
    EXPECT_NEAR(answer->against->lost_s, fastest - top.step_time_s, 2e-9) << pins;
  }
}

TEST_F(Explain, WhyNotSaysWhatMemoryIsMissing) {
  const RankedPlan top = best();
  SpaceRequest small = request_;
  const Plan& plan = top.plan;
  small.memory_limit = static_cast<Bytes>(software_->device_bytes(plan) / 4);
  small.headroom = 0.5;
  const auto answer = why_not(*software_, small, "tp=1,pp=1,micro_batch=1", top, interval_);
  ASSERT_TRUE(answer.ok());
  ASSERT_EQ(answer->kind, WhyNot::kMemory) << answer->line();
  EXPECT_NEAR(
      answer->missing_bytes,
      software_->device_bytes(answer->plan->plan) - static_cast<double>(small.memory_limit) / 2, 1);
}

TEST_F(Explain, ScaledClusterDiffersInOneFigure) {
  const ClusterSpec faster = scale(cluster_, {Scaled::kCompute, 0}, 1.1);
  EXPECT_DOUBLE_EQ(faster.device_of(0).peak_flops_per_s.at(DataType::kBf16),
                   1.1 * cluster_.device_of(0).peak_flops_per_s.at(DataType::kBf16));
  EXPECT_EQ(faster.device_of(0).memory_bytes, cluster_.device_of(0).memory_bytes);
  const ClusterSpec wider = scale(cluster_, {Scaled::kLink, 1}, 2);
  EXPECT_DOUBLE_EQ(wider.levels[1].bytes_per_s, 2 * cluster_.levels[1].bytes_per_s);
  EXPECT_DOUBLE_EQ(wider.levels[0].bytes_per_s, cluster_.levels[0].bytes_per_s);
}

// On either side of the bandwidth that bisection found (to 1 %), by planning there anew. The inner
// level: the factors of the interconnect between nodes are not touched.
TEST_F(Explain, AnotherPlanTakesOverAtTheBreakEven) {
  const RankedPlan top = best();
  const auto found = break_even(*software_, request_, top.plan, 0);
  ASSERT_TRUE(found.ok()) << found.error().line();
  const auto overtaken = [&](double factor) {
    const ClusterSpec cluster = scale(cluster_, {Scaled::kLink, 0}, factor);
    auto software = Software::load(model_, cluster, "megatron-core-2025", kProfiles);
    const auto planned = search_space(**software, request_);
    return planned->plans.front().step_time_s < evaluate(**software, top.plan).step_time_s - 2e-9;
  };
  for (double factor : {found->below, found->above}) {
    if (factor == 0) continue;
    EXPECT_TRUE(overtaken(factor));
    EXPECT_FALSE(overtaken(factor < 1 ? factor * 1.011 : factor / 1.011)) << factor;
  }
  if (found->below == 0) {
    EXPECT_FALSE(overtaken(1.0 / 8));
  }
  if (found->above == 0) {
    EXPECT_FALSE(overtaken(8));
  }
}

TEST_F(Explain, BetterHardwareIsNeverSlower) {
  const RankedPlan top = best();
  const auto all = sensitivities(*software_, request_, top.plan);
  ASSERT_TRUE(all.ok()) << all.error().line();
  ASSERT_EQ(all->size(), 2 * (2 + cluster_.levels.size()));
  for (const Sensitivity& s : *all) {
    if (s.factor > 1) {
      EXPECT_LE(s.plan_s, top.step_time_s + 1e-9) << s.what.name(cluster_);
    } else {
      EXPECT_GE(s.plan_s, top.step_time_s - 1e-9) << s.what.name(cluster_);
    }
    EXPECT_GT(s.best_s, 0);
    EXPECT_LE(s.best_s, s.plan_s + 1e-9);
    if (s.what.kind == Scaled::kMemory) {
      EXPECT_DOUBLE_EQ(s.plan_s, top.step_time_s);
    }
  }
}

}  // namespace
}  // namespace shardwright
