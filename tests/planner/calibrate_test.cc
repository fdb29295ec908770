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

// bf16, pp 1, no experts: neither casts nor messages nor routing can matter; passes and pace must.
TEST_F(Calibrate, FindsWhatMattersToARun) {
  TimedRun one = run(1, 8, FactorTable());
  find_what_matters(&one);
  const auto matters = [&](Factor factor) { return one.matters[static_cast<size_t>(factor)]; };
  for (Factor factor : {Factor::kGemm, Factor::kAttention, Factor::kPass, Factor::kNodeLink,
                        Factor::kPace, Factor::kFixed}) {
    EXPECT_TRUE(matters(factor)) << info_of(factor).name;
  }
  for (Factor factor : {Factor::kFp8Gemm, Factor::kQuantise, Factor::kMessage, Factor::kPermute,
                        Factor::kHostMoe, Factor::kUnaligned}) {
    EXPECT_FALSE(matters(factor)) << info_of(factor).name;
  }
}

// What a fit finds does not depend on whether it was told what matters.
TEST_F(Calibrate, LeavingOutWhatDoesNotMatterChangesNoFit) {
  std::vector<TimedRun> made = runs(slow_passes());
  std::vector<const TimedRun*> given;
  for (const TimedRun& one : made) given.push_back(&one);
  const FactorTable all = fit(given, FactorTable());
  for (TimedRun& one : made) find_what_matters(&one);
  const FactorTable some = fit(given, FactorTable());
  EXPECT_EQ(all.of, some.of);
}

// Runs without attention are predicted without attention, and a refit without it cannot know it.
TEST_F(Calibrate, AFixedFactorStaysWhereItIs) {
  const FixedFactors none = {{Factor::kAttention, 0}};
  std::vector<TimedRun> made = runs(FactorTable());
  for (TimedRun& one : made) {
    const double without = predicted_s(one, FactorTable(), none);
    EXPECT_LT(without, 0.99 * one.measured_s);
    one.measured_s = without;
  }
  std::vector<const TimedRun*> given;
  for (const TimedRun& one : made) given.push_back(&one);
  const FactorTable fitted = fit_all(given, FactorTable(), nullptr, none);
  for (const TimedRun& one : made) {
    EXPECT_NEAR(predicted_s(one, fitted, none) / one.measured_s, 1, 1e-6) << one.id;
  }
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

// One run, one factor in doubt: a Gaussian prior of variance s^2 around 0 and one observation d of
// slope k and noise n / sqrt(w) leave x = k d s^2 / (k^2 s^2 + n^2 / w).
TEST_F(Calibrate, OneRunMovesTheOnlyFactorInDoubtByTheClosedForm) {
  TimedRun one = run(2, 2, FactorTable());
  FactorTable known;
  for (size_t i = 0; i < kNumFactors; ++i) {
    const auto kind = static_cast<size_t>(factor_infos()[i].owner);
    const std::string owner = std::array{one.device, one.interconnect, one.stack}[kind];
    known.uncertainty[kind][owner][static_cast<Factor>(i)] = 1e-6;
  }
  const auto stack = static_cast<size_t>(FactorOwner::kStack);
  known.uncertainty[stack]["own"][Factor::kPass] = 0.2;
  FactorTable more = known;
  more.of[stack]["own"][Factor::kPass] = known.value(Factor::kPass, "own") * std::exp(0.02);
  const double slope = std::log(predicted_s(one, more) / predicted_s(one, known)) / 0.02;
  ASSERT_GT(slope, 0.02);
  // A tenth of the noise: there soft-L1 differs from the square by a quarter of a percent.
  const double observed = 0.1 * kNoise;
  one.measured_s *= std::exp(observed);
  one.weight = kOwnRunWeight;
  // The pace is in doubt by the site's 5 % too, so the run is shared between two factors.
  FactorTable faster = known;
  faster.of[stack]["own"][Factor::kPace] = std::exp(0.02);
  const double pace = std::log(predicted_s(one, faster) / predicted_s(one, known)) / 0.02;
  const double noise = kNoise * kNoise / kOwnRunWeight;
  const double all = slope * slope * 0.04 + pace * pace * 0.0025 + noise;
  const FactorTable fitted = fit({&one}, known);
  const auto moved = [&](Factor factor) {
    return std::log(fitted.value(factor, "own") / known.value(factor, "own"));
  };
  // 2 %: the slopes are differences, and rho.
  EXPECT_NEAR(moved(Factor::kPass) / (slope * observed * 0.04 / all), 1, 0.02);
  EXPECT_NEAR(moved(Factor::kPace) / (pace * observed * 0.0025 / all), 1, 0.02);
}

// Of a factor that no run touches the prior remains on all three levels: what is usual has the
// stated spread, the family lies around it, the owner around the family.
TEST_F(Calibrate, ARefitLeavesThePriorOfWhatNoRunTouches) {
  const std::vector<TimedRun> made = runs(FactorTable());
  std::vector<const TimedRun*> given;
  for (const TimedRun& one : made) given.push_back(&one);
  FactorTable start;
  const auto device = static_cast<size_t>(FactorOwner::kDevice);
  start.family[device]["h100-sxm-80gb"] = "hopper";
  const FactorTable fitted = fit_all(given, start);
  const FactorInfo& info = info_of(Factor::kFp8Gemm);
  const auto i = static_cast<size_t>(Factor::kFp8Gemm);
  EXPECT_NEAR(fitted.value(Factor::kFp8Gemm, "h100-sxm-80gb"), info.usual, 1e-9);
  EXPECT_NEAR(fitted.within[i], start.within[i], 1e-9);
  EXPECT_NEAR(fitted.spread[i], std::sqrt(2) * info.spread, 1e-9);
  EXPECT_NEAR(fitted.uncertainty[device].at("h100-sxm-80gb").at(Factor::kFp8Gemm),
              std::sqrt(2) * info.spread, 1e-9);
  EXPECT_NEAR(fitted.uncertainty[device].at("hopper").at(Factor::kFp8Gemm),
              std::hypot(info.spread,
                         std::sqrt(info.spread * info.spread - start.within[i] * start.within[i])),
              1e-9);
}

// Runs of one member tell of another: more than of a stack without a family.
TEST_F(Calibrate, AFamilyCarriesWhatItsMembersShow) {
  const std::vector<TimedRun> made = runs(slow_passes());
  std::vector<const TimedRun*> given;
  for (const TimedRun& one : made) given.push_back(&one);
  FactorTable start;
  start.family[static_cast<size_t>(FactorOwner::kStack)] = {{"own", "kind"}, {"other", "kind"}};
  const FactorTable fitted = fit_all(given, start);
  const double own = fitted.value(Factor::kPass, "own");
  const double other = fitted.value(Factor::kPass, "other");
  const double stranger = fitted.value(Factor::kPass, "stranger");
  EXPECT_GT(own, 1.05 * other);
  EXPECT_GT(other, 1.05 * stranger);
  EXPECT_GT(stranger, FactorTable().value(Factor::kPass, "stranger"));
  EXPECT_LT(fitted.doubt(Factor::kPass, "own"), fitted.doubt(Factor::kPass, "other"));
  EXPECT_LT(fitted.doubt(Factor::kPass, "other"), fitted.doubt(Factor::kPass, "stranger"));
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
    // Families are known wherever a stack is read.
    const Result<Stack> again = read_stack(to_json(*stack), "again", *load_families(kProfiles));
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
