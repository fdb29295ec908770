// The fit against runs whose factors are known because they were made with them.
#include "planner/calibrate.h"

#include <gtest/gtest.h>

#include <cmath>
#include <nlohmann/json.hpp>

#include "costmodel/cluster_spec.h"
#include "costmodel/hf_config.h"
#include "costmodel/stack.h"
#include "planner/cross_validate.h"

namespace shardwright {
namespace {

const char kProfiles[] = SHARDWRIGHT_SOURCE_DIR "/profiles";

class Calibrate : public testing::Test {
 protected:
  Calibrate()
      : model_(std::move(load_model("llama-3.1-8b", kProfiles)).value()),
        cluster_(std::move(load_cluster("h100-sxm-80gb:8x4", kProfiles)).value()) {}

  // A run of micro-batch `micro` that takes what `truth` says.
  TimedRun run(int64_t micro, int64_t tp, const FactorTable& truth) {
    TimedRun out;
    out.id = std::to_string(micro) + "x" + std::to_string(tp);
    out.source = "made";
    out.estimator = std::make_shared<Estimator>(model_, cluster_, Kernels(), neutral_factors());
    out.plan.tp = tp;
    out.plan.dp = 32 / tp;
    out.plan.micro_batch = micro;
    out.plan.global_batch = 512;
    out.plan.seq = 4096;
    out.plan.precision = DataType::kBf16;
    out.plan.stage_layers = {32};
    out.device = "h100-sxm-80gb";
    out.interconnect = "infiniband-50";
    out.stack = "own";
    out.measured_s = 1;
    out.measured_s = predicted_s(out, truth);
    return out;
  }
  std::vector<TimedRun> runs(const FactorTable& truth) {
    std::vector<TimedRun> out;
    for (int64_t micro : {1, 2, 4}) {
      for (int64_t tp : {1, 2, 8}) out.push_back(run(micro, tp, truth));
    }
    return out;
  }

  ModelSpec model_;
  ClusterSpec cluster_;
};

FactorTable slow_passes() {
  FactorTable truth;
  truth.of[static_cast<size_t>(FactorOwner::kStack)]["own"][Factor::kPass] = 4;
  return truth;
}

TEST_F(Calibrate, NothingMovesWhereThePriorIsRight) {
  const std::vector<TimedRun> made = runs(FactorTable());
  std::vector<const TimedRun*> given;
  for (const TimedRun& one : made) given.push_back(&one);
  const FactorTable fitted = fit(given, FactorTable());
  for (size_t i = 0; i < kNumFactors; ++i) {
    const auto factor = static_cast<Factor>(i);
    EXPECT_NEAR(fitted.value(factor, "own") / FactorTable().value(factor, "own"), 1, 1e-6);
  }
}

// The passes' factor is 2.2 times its usual value. The runs pin the times they see; how the surplus
// is shared between factors that act alike is for the priors, so the factor comes back within the
// spread that its neighbours leave, 25 %.
TEST_F(Calibrate, ManyRunsFindTheFactorThatMadeThem) {
  const std::vector<TimedRun> made = runs(slow_passes());
  std::vector<const TimedRun*> given;
  for (const TimedRun& one : made) given.push_back(&one);
  FitReport report;
  const FactorTable fitted = fit(given, FactorTable(), &report);
  EXPECT_NEAR(fitted.value(Factor::kPass, "own"), 4, 1.0);
  for (const TimedRun& one : made) {
    EXPECT_NEAR(predicted_s(one, fitted) / one.measured_s, 1, 0.02) << one.id;
  }
  EXPECT_GT(report.effective, 0.5);
  EXPECT_LT(report.effective, 9);
}

// One run of its own brings an unknown stack closer on runs it has not seen.
TEST_F(Calibrate, OneRunHelpsTheOthers) {
  const std::vector<TimedRun> made = runs(slow_passes());
  TimedRun one = made[4];
  one.weight = kOwnRunWeight;
  const FactorTable fitted = fit({&one}, FactorTable());
  double before = 0, after = 0;
  for (const TimedRun& other : made) {
    before += std::abs(std::log(predicted_s(other, FactorTable()) / other.measured_s));
    after += std::abs(std::log(predicted_s(other, fitted) / other.measured_s));
  }
  EXPECT_LT(after, 0.5 * before);
}

TEST_F(Calibrate, OneWrongRunAmongNineBendsLittle) {
  std::vector<TimedRun> made = runs(slow_passes());
  made[3].measured_s *= 3;
  std::vector<const TimedRun*> given;
  for (const TimedRun& one : made) given.push_back(&one);
  const FactorTable fitted = fit(given, FactorTable());
  for (size_t i = 0; i < made.size(); ++i) {
    if (i == 3) continue;
    EXPECT_NEAR(predicted_s(made[i], fitted) / made[i].measured_s, 1, 0.12);
  }
}

TEST(Summary, OfThreeErrors) {
  const ErrorSummary s = summarise({std::log(1.1), std::log(0.8), 0});
  EXPECT_EQ(s.rows, 3u);
  EXPECT_NEAR(s.mean, 10, 1e-9);
  EXPECT_NEAR(s.median, 10, 1e-9);
  EXPECT_NEAR(s.max, 20, 1e-9);
  EXPECT_NEAR(s.bias, -10.0 / 3, 1e-9);
}

TEST(Stack, EveryShippedOneReadsAndKeepsItsMeaning) {
  const std::vector<std::string> names = shipped_names("stacks", kProfiles);
  ASSERT_GT(names.size(), 10u);
  for (const std::string& name : names) {
    const Result<Stack> stack = load_stack(name, kProfiles);
    ASSERT_TRUE(stack.ok()) << stack.error().line();
    EXPECT_EQ(stack->name, name);
    const Result<Stack> again = read_stack(to_json(*stack), "again", FactorTable());
    ASSERT_TRUE(again.ok()) << again.error().line();
    EXPECT_EQ(again->kernels, stack->kernels);
    EXPECT_DOUBLE_EQ(again->factors.value(Factor::kPass, name),
                     stack->factors.value(Factor::kPass, name));
  }
}

// Every shipped value lies in its plausible range.
TEST(Factors, ShippedOnesAreInRange) {
  const Result<FactorTable> table = load_factors(kProfiles);
  ASSERT_TRUE(table.ok()) << table.error().line();
  for (const auto& owners : table->of) {
    for (const auto& [owner, values] : owners) {
      for (const auto& [factor, value] : values) {
        EXPECT_GE(value, info_of(factor).low * (1 - 1e-9)) << owner << info_of(factor).name;
        EXPECT_LE(value, info_of(factor).high * (1 + 1e-9)) << owner << info_of(factor).name;
      }
    }
  }
}

}  // namespace
}  // namespace shardwright
