// Layers per chunk, and what a framework overlaps, as a user says them.
#include "planner/search/layer_limits.h"

#include <gtest/gtest.h>

#include <algorithm>

#include "planner/search/full_search.h"
#include "tests/planner/support.h"

namespace shardwright {
namespace {

const char* const kProfiles = SHARDWRIGHT_SOURCE_DIR "/profiles";

Constraints of(const std::vector<std::pair<ConstraintKind, std::string>>& rules) {
  Constraints out;
  for (const auto& [kind, text] : rules) {
    const auto error = out.add(kind, text);
    EXPECT_FALSE(error) << error->line();
  }
  return out;
}

TEST(LayerLimits, ListsAreReadAndWrittenByRuns) {
  EXPECT_EQ(parse_layers("3+4x2+0"), (std::vector<int64_t>{3, 4, 4, 0}));
  EXPECT_EQ(layers_text({3, 4, 4, 0}), "3+4x2+0");
  EXPECT_EQ(layers_text(parse_layers("2+2+2")), "2x3");
  for (const char* bad : {"", "+", "3+", "3,4", "x2", "3x", "3x0", "-1+2", "1x2x3", "99999999999",
                          "1x9999999", "a"}) {
    EXPECT_TRUE(parse_layers(bad).empty()) << bad;
  }
}

TEST(LayerLimits, TakeWhatIsPinned) {
  const LayerLimits none;
  EXPECT_TRUE(none.take(7));
  EXPECT_EQ(none.of(7), nullptr);
  const LayerLimits limits(of(
      {{ConstraintKind::kPin, "stage_layers=5+3|2x4"}, {ConstraintKind::kMin, "stage_layers=2"}}));
  EXPECT_TRUE(limits.take(2));
  EXPECT_FALSE(limits.take(3));
  EXPECT_EQ(*limits.of(4), (std::vector<int64_t>{2, 2, 2, 2}));
  EXPECT_EQ(limits.least(), 2);
  EXPECT_FALSE(limits.most());
}

TEST(LayerLimits, ProblemsNameWhatIsWrong) {
  ModelSpec model = shipped_model("tiny-gpt");
  model.layer_kind.assign(8, 0);
  const auto problem = [&](const Constraints& constraints) {
    const auto error = LayerLimits(constraints).problem(model);
    return error ? error->line() : "";
  };
  EXPECT_EQ(problem(of({{ConstraintKind::kPin, "stage_layers=5+3"}})), "");
  EXPECT_NE(problem(of({{ConstraintKind::kPin, "stage_layers=5+4"}})).find("9 layers"),
            std::string::npos);
  EXPECT_NE(problem(of({{ConstraintKind::kPin, "stage_layers=5+3|4x2"}})).find("two lists"),
            std::string::npos);
  EXPECT_NE(problem(of({{ConstraintKind::kMin, "stage_layers=5"},
                        {ConstraintKind::kMax, "stage_layers=4"}}))
                .find("largest number, 4"),
            std::string::npos);
  Constraints constraints;
  EXPECT_TRUE(constraints.add(ConstraintKind::kBan, "stage_layers=5+3"));
  EXPECT_TRUE(constraints.add(ConstraintKind::kMax, "stage_layers=5+3"));
}

class Limited : public ::testing::Test {
 protected:
  Limited() {
    software_ = std::move(*Software::load(model_, cluster_, "megatron-core-2025", kProfiles));
    request_.ranks = 8;
    request_.seq = 8192;
    request_.global_batch = 64;
    request_.top = 1;
  }
  SpaceResult find(const std::vector<std::pair<ConstraintKind, std::string>>& rules) {
    request_.constraints = of(rules);
    auto result = search_space(*software_, request_);
    EXPECT_TRUE(result.ok()) << (result ? "" : result.error().line());
    return *std::move(result);
  }

  const ModelSpec model_ = shipped_model("llama-3.1-8b");
  const ClusterSpec cluster_ = *load_cluster("h100-sxm-80gb:8", kProfiles);
  std::unique_ptr<Software> software_;
  SpaceRequest request_;
};

TEST_F(Limited, APinnedListIsThePlansAndNoOtherNumberOfChunksIsLookedAt) {
  const SpaceResult result = find({{ConstraintKind::kPin, "stage_layers=7+9+8x2"}});
  ASSERT_FALSE(result.plans.empty());
  const Plan& plan = result.plans.front().plan;
  EXPECT_EQ(plan.stage_layers, (std::vector<int64_t>{7, 9, 8, 8}));
  EXPECT_EQ(plan.pp * plan.virtual_stages, 4);
}

// Only with several chunks a stage may the first and the last be empty.
TEST_F(Limited, APinnedListObeysTheRules) {
  const std::pair<ConstraintKind, std::string> list = {ConstraintKind::kPin,
                                                       "stage_layers=0+16x2+0"};
  const SpaceResult one = find({list, {ConstraintKind::kPin, "pp=4"}});
  EXPECT_TRUE(one.plans.empty());
  EXPECT_EQ(one.stats.by_rule.count("stage_layers"), 1U);
  const SpaceResult two = find({list, {ConstraintKind::kPin, "pp=2"}});
  ASSERT_FALSE(two.plans.empty());
  EXPECT_TRUE(check_plan(model_, 8, two.plans.front().plan).empty());
}

TEST_F(Limited, BoundsHoldForEveryChunk) {
  const std::pair<ConstraintKind, std::string> pp = {ConstraintKind::kPin, "pp=4"};
  const SpaceResult free = find({pp, {ConstraintKind::kPin, "virtual_stages=1"}});
  const SpaceResult even = find(
      {pp, {ConstraintKind::kPin, "virtual_stages=1"}, {ConstraintKind::kMax, "stage_layers=8"}});
  ASSERT_FALSE(even.plans.empty());
  EXPECT_EQ(even.plans.front().plan.stage_layers, (std::vector<int64_t>(4, 8)));
  EXPECT_LE(free.plans.front().step_ns, even.plans.front().step_ns);
  const SpaceResult none = find({pp, {ConstraintKind::kMin, "stage_layers=9"}});
  EXPECT_TRUE(none.plans.empty());
  EXPECT_GT(none.stats.by_rule.at("layers"), 0);
}

// Overlap is what the framework does until it is said otherwise; what it cannot do is refused.
TEST_F(Limited, OverlapsAreUsualUnlessPinned) {
  const std::pair<ConstraintKind, std::string> tp = {ConstraintKind::kPin, "tp=8"};
  EXPECT_FALSE(find({tp}).plans.front().plan.overlap.tensor);
  const SpaceResult pinned = find({tp, {ConstraintKind::kPin, "overlap_tensor=true"}});
  EXPECT_TRUE(pinned.plans.front().plan.overlap.tensor);
  EXPECT_TRUE(pinned.plans.front().plan.split.sequence_parallel);
  const SpaceResult without = find({tp,
                                    {ConstraintKind::kPin, "overlap_tensor=true"},
                                    {ConstraintKind::kPin, "sequence_parallel=false"}});
  EXPECT_TRUE(without.plans.empty());
  EXPECT_EQ(without.stats.by_rule.at("overlap_tensor"), without.stats.candidates);
  request_.constraints = of({{ConstraintKind::kBan, "overlap_experts=true|false"}});
  EXPECT_FALSE(search_space(*software_, request_).ok());
}

// Megatron gathers weights behind the forward only where it reduces gradients behind the backward.
TEST_F(Limited, OverlapOfShardsIsWhatTheFrameworkDoes) {
  const std::pair<ConstraintKind, std::string> zero = {ConstraintKind::kPin, "zero=1"};
  const std::pair<ConstraintKind, std::string> late = {ConstraintKind::kPin,
                                                       "overlap_gradients=false"};
  EXPECT_FALSE(find({zero, late}).plans.front().plan.overlap.parameters);
  const SpaceResult pinned = find({zero, late, {ConstraintKind::kPin, "overlap_parameters=true"}});
  EXPECT_TRUE(pinned.plans.empty());
  EXPECT_GT(pinned.stats.by_rule.at("overlap_parameters"), 0);
}

// Plain 1F1B of Megatron sends between its computes, interleaved beside them.
TEST_F(Limited, PipelineOverlapIsRefusedWhereTheFrameworkHasNone) {
  const std::pair<ConstraintKind, std::string> pp = {ConstraintKind::kPin, "pp=4"};
  const SpaceResult pinned = find({pp, {ConstraintKind::kPin, "overlap_pipeline=true"}});
  ASSERT_FALSE(pinned.plans.empty());
  EXPECT_GT(pinned.plans.front().plan.virtual_stages, 1);
  EXPECT_GT(pinned.stats.by_rule.at("overlap_pipeline"), 0);
  const SpaceResult banned = find({pp, {ConstraintKind::kBan, "overlap_pipeline=true"}});
  EXPECT_FALSE(banned.plans.front().plan.overlap.pipeline);
}

TEST_F(Limited, TheCapOfASynthesisedScheduleMayBePinned) {
  ASSERT_FALSE(software_->plan_for("any"));
  const SpaceResult result = find({{ConstraintKind::kPin, "pp=4"},
                                   {ConstraintKind::kPin, "schedule=synthesised"},
                                   {ConstraintKind::kPin, "virtual_stages=1"},
                                   {ConstraintKind::kPin, "schedule_cap=5"}});
  ASSERT_FALSE(result.plans.empty());
  EXPECT_EQ(result.plans.front().plan.schedule_cap, 5);
}

}  // namespace
}  // namespace shardwright
