// Answers to questions against going through every plan of tiny spaces.
#include "planner/search/questions.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <functional>
#include <random>
#include <set>

#include "planner/search/pareto.h"
#include "tests/planner/search/enumeration.h"
#include "tests/planner/support.h"

namespace shardwright {
namespace {

constexpr Bytes kMemory = Bytes{1} << 50;

struct Setting {
  ModelSpec model;
  ClusterSpec cluster;
  std::unique_ptr<Software> software;
  SpaceRequest request;
};

// A part of the space that enumeration gets through, random in model, cluster, stack and limits.
std::unique_ptr<Setting> random_setting(std::mt19937* random, const std::string& cluster) {
  const auto pick = [&](int n) { return static_cast<int>((*random)() % static_cast<unsigned>(n)); };
  auto out = std::make_unique<Setting>();
  out->model = shipped_model(pick(2) == 0 ? "tiny-gpt" : "tiny-llama");
  out->cluster = load_cluster(cluster, kProfiles).value();
  const char* const stacks[] = {"megatron-core-2025", "torchtitan", "deepspeed-zero3"};
  out->software = Software::load(out->model, out->cluster, stacks[pick(3)], kProfiles).value();
  EXPECT_FALSE(out->software->plan_for("any"));
  EXPECT_FALSE(out->software->plan_for("any"));  // more plans to be wrong about
  SpaceRequest& request = out->request;
  request.ranks = out->cluster.num_devices();
  request.seq = 64;
  request.global_batch = std::vector<int64_t>{4, 8, 12}[pick(3)];
  request.headroom = 0;
  request.memory_limit = kMemory;
  Constraints& limits = request.constraints;
  for (const char* ban :
       {"optimizer_offload=true", "overlap_parameters=false", "overlap_gradients=false", "zero=2",
        "schedule=zb-h2|zb-v|v-half", "activation_offload=0.5|1"}) {
    EXPECT_FALSE(limits.add(ConstraintKind::kBan, ban));
  }
  EXPECT_FALSE(limits.add(ConstraintKind::kMax, "virtual_stages=1"));
  EXPECT_FALSE(limits.add(ConstraintKind::kMax, "recompute_layers=1"));
  EXPECT_FALSE(limits.add(ConstraintKind::kPin, "recompute=none|full"));
  if (pick(2) == 0) {
    EXPECT_FALSE(limits.add(ConstraintKind::kMax, "cp=2"));
  }
  return out;
}

std::vector<RankedPlan> plans_of(const Setting& setting, int64_t ranks = 0) {
  SpaceRequest request = setting.request;
  if (ranks > 0) request.ranks = ranks;
  return AllPlans(*setting.software, request).plans;
}
bool fits(const RankedPlan& plan, Bytes limit) { return plan.memory_peak_bytes < limit; }

// A limit that about `share` of the plans keep to.
Bytes limit_for(const std::vector<RankedPlan>& plans, double share) {
  std::vector<Bytes> needs;
  for (const RankedPlan& plan : plans) needs.push_back(plan.memory_peak_bytes);
  std::sort(needs.begin(), needs.end());
  return needs[static_cast<size_t>(share * static_cast<double>(needs.size() - 1))] + 1;
}

TEST(Questions, LargestMicroBatchOfTheSpaceAndOfThePlan) {
  std::mt19937 random(11);
  int short_of_next = 0;
  for (int round = 0; round < 20; ++round) {
    const auto setting =
        random_setting(&random, round % 2 == 0 ? "h100-sxm-80gb:4" : "b200-sxm:2x3");
    const std::vector<RankedPlan> all = plans_of(*setting);
    const Bytes limit = limit_for(all, 0.3 + 0.5 * (round % 3) / 2);
    setting->request.memory_limit = limit;
    const auto answer = max_micro_batch(*setting->software, setting->request);
    ASSERT_TRUE(answer.ok()) << answer.error().line();
    ASSERT_TRUE(answer->found.has_value());
    const LargestMicroBatch& found = *answer->found;
    EXPECT_TRUE(found.complete);
    int64_t largest = 0, same = 0;
    Nanoseconds fastest = 0;
    for (const RankedPlan& plan : all) {
      if (!fits(plan, limit)) continue;
      const int64_t size = plan.plan.micro_batch;
      if (size > largest || (size == largest && plan.step_ns < fastest)) fastest = plan.step_ns;
      largest = std::max(largest, size);
      Plan other = plan.plan;
      other.micro_batch = found.best.plan.micro_batch;
      // A label names every choice but layers per chunk, which follow.
      if (other.label() == found.best.plan.label()) same = std::max(same, size);
    }
    EXPECT_EQ(found.largest.plan.micro_batch, largest);
    EXPECT_EQ(found.same.plan.micro_batch, same);
    if (largest > found.same.plan.micro_batch) {
      EXPECT_EQ(found.largest.step_ns, fastest);
    }
    if (!found.next) continue;
    ++short_of_next;
    EXPECT_GT(found.next->missing_bytes, 0);
    EXPECT_GT(found.next->plan.plan.micro_batch, same);
  }
  EXPECT_GE(short_of_next, 3);
}

TEST(Questions, LongestSequenceIsTheLongestThatAnyPlanFits) {
  std::mt19937 random(5);
  int odd = 0, rounds = 0;
  for (int round = 0; round < 8; ++round) {
    // Six devices: sequences of an odd number of units suit cp 1 and 3 alone.
    const auto setting =
        random_setting(&random, round % 2 == 0 ? "h100-sxm-80gb:4" : "b200-sxm:2x3");
    setting->model.position = Position::kRope;  // no longest position
    const int64_t unit = 32;
    setting->request.seq = unit * (3 + static_cast<int64_t>(random() % 12));
    setting->request.memory_limit = limit_for(plans_of(*setting), 0.1) + 1000;
    const auto answer = max_seq(*setting->software, setting->request, unit);
    ASSERT_TRUE(answer.ok()) << answer.error().line();
    int64_t longest = 0;
    for (int64_t seq = unit; seq <= unit * 72; seq += unit) {
      setting->request.seq = seq;
      const std::vector<RankedPlan> all = plans_of(*setting);
      const bool any = std::any_of(all.begin(), all.end(), [&](const RankedPlan& plan) {
        return fits(plan, setting->request.memory_limit + 1);
      });
      if (any) longest = seq;
    }
    ASSERT_LT(longest, unit * 72) << "beyond what the test looks at";
    ASSERT_EQ(answer->found.has_value(), longest > 0);
    if (longest == 0) continue;
    EXPECT_EQ(answer->found->seq, longest);
    EXPECT_EQ(answer->found->plan.plan.seq, longest);
    odd += longest / unit % 2;
    ++rounds;
  }
  EXPECT_GT(rounds, 4);
  EXPECT_GT(odd, 1);
}

TEST(Questions, NumbersOfDevices) {
  EXPECT_EQ(device_counts(load_cluster("h100-sxm-80gb:8x3", kProfiles).value()),
            (std::vector<int64_t>{1, 2, 4, 8, 16, 24}));
  EXPECT_EQ(device_counts(load_cluster("h100-sxm-80gb:6", kProfiles).value()),
            (std::vector<int64_t>{1, 2, 3, 6}));
}

// On every number of devices all plans; the objective of each from its own definition.
TEST(Questions, ObjectivesOverNumbersOfDevices) {
  std::mt19937 random(23);
  const DeviceRates rates{2.5, 700};
  int limited = 0;
  for (int round = 0; round < 12; ++round) {
    const auto setting = random_setting(&random, "h100-sxm-80gb:2x3");
    setting->request.top = 1;
    const int64_t tokens = setting->request.seq * setting->request.global_batch;
    const std::vector<int64_t> counts = {1, 2, 4, 6};
    std::vector<RankedPlan> all;
    for (int64_t ranks : counts) {
      for (RankedPlan& plan : plans_of(*setting, ranks)) all.push_back(std::move(plan));
    }
    const Bytes limit = limit_for(all, 0.6);
    setting->request.memory_limit = limit;
    setting->request.ranks = 0;
    DeviceLimits limits;
    const RankedPlan& any = all[random() % all.size()];
    if (round % 3 == 1) limits.max_usd_per_mtoken = usd_per_mtoken(rates, any);
    if (round % 3 == 2) limits.min_tokens_per_s = any.tokens_per_s;
    if (round % 4 == 3) limits.max_watts = 700 * 4.5;
    for (Objective objective : {Objective::kStep, Objective::kTokensPerDevice, Objective::kCost,
                                Objective::kEnergy, Objective::kDevices}) {
      const auto value = [&](const RankedPlan& plan) -> double {
        const double n = static_cast<double>(plan.plan.ranks());
        const double hours = plan.step_time_s / 3600;
        const double mtokens = static_cast<double>(tokens) / 1e6;
        if (objective == Objective::kStep) return plan.step_time_s;
        if (objective == Objective::kCost) return 2.5 * n * hours / mtokens;
        if (objective == Objective::kEnergy) return 0.7 * n * hours / mtokens;
        if (objective == Objective::kDevices) return n;
        return n * plan.step_time_s;
      };
      double best = 1e300;
      for (const RankedPlan& plan : all) {
        const double n = static_cast<double>(plan.plan.ranks());
        const double usd = 2.5 * n * plan.step_time_s / 3600 / (static_cast<double>(tokens) / 1e6);
        if (!fits(plan, limit)) continue;
        if (limits.max_watts > 0 && n > 4.5) continue;
        if (limits.max_usd_per_mtoken > 0 && usd > limits.max_usd_per_mtoken) continue;
        if (limits.min_tokens_per_s > 0 && plan.tokens_per_s < limits.min_tokens_per_s) continue;
        best = std::min(best, value(plan));
      }
      const auto answer =
          best_over_counts(*setting->software, setting->request, rates, limits, objective);
      ASSERT_TRUE(answer.ok()) << answer.error().line();
      ASSERT_EQ(answer->plans.empty(), best == 1e300);
      limited += limits.any();
      if (answer->plans.empty()) {
        EXPECT_TRUE(answer->fastest.has_value());
        continue;
      }
      // Simulated times are whole nanoseconds of steps of milliseconds.
      EXPECT_NEAR(value(answer->plans.front()), best, best * 1e-9) << name_of(objective);
    }
  }
  EXPECT_GT(limited, 20);
}

TEST(Questions, FloorsAreNoPlansTime) {
  std::mt19937 random(29);
  for (int round = 0; round < 10; ++round) {
    const auto setting = random_setting(&random, "a100-sxm-80gb:2x3");
    const int64_t ranks = std::vector<int64_t>{1, 2, 4, 6}[round % 4];
    setting->request.ranks = ranks;
    DeviceCounts counts(*setting->software, setting->request, {}, {});
    const double floor = counts.floor_s(ranks);
    for (const RankedPlan& plan : plans_of(*setting, ranks)) {
      EXPECT_LE(floor, plan.step_time_s + 1e-8) << plan.plan.label();
    }
  }
}

TEST(Questions, ParetoFrontsAreThoseOfAllPlans) {
  std::mt19937 random(31);
  const DeviceRates rates{1, 500};
  const Measure measures[] = {Measure::kStep, Measure::kMemory, Measure::kDevices, Measure::kCost,
                              Measure::kEnergy};
  size_t points = 0;
  for (int round = 0; round < 4; ++round) {
    const auto setting = random_setting(&random, "h100-sxm-80gb:2x2");
    std::vector<RankedPlan> all;
    for (int64_t ranks : {1, 2, 4}) {
      for (RankedPlan& plan : plans_of(*setting, ranks)) all.push_back(std::move(plan));
    }
    const Bytes limit = limit_for(all, round % 2 == 0 ? 1.0 : 0.5);
    setting->request.memory_limit = limit;
    setting->request.ranks = 0;
    for (Measure first : measures) {
      for (Measure second : measures) {
        if (first >= second) continue;
        const auto at = [&](const RankedPlan& plan) {
          return std::pair(measure_of(first, rates, plan), measure_of(second, rates, plan));
        };
        std::set<std::pair<double, double>> values, expected;
        for (const RankedPlan& plan : all) {
          if (fits(plan, limit)) values.insert(at(plan));
        }
        // In order of the first measure, those that improve the second.
        double least = 1e300;
        for (const auto& [a, b] : values) {
          if (b < least) expected.insert({a, b});
          least = std::min(least, b);
        }
        const auto front =
            pareto_front(*setting->software, setting->request, rates, {}, {first, second, 0});
        ASSERT_TRUE(front.ok()) << front.error().line();
        const std::string pair = std::string(name_of(first)) + "," + name_of(second);
        ASSERT_EQ(front->points.size(), expected.size()) << pair << " in round " << round;
        auto next = expected.begin();
        for (const RankedPlan& point : front->points) {
          // The same figures added up in another order.
          EXPECT_NEAR(at(point).first, next->first, 1e-9 * next->first) << pair;
          EXPECT_NEAR(at(point).second, next->second, 1e-9 * next->second) << pair;
          ++next;
        }
        points += front->points.size();
      }
    }
  }
  EXPECT_GT(points, 75u);
}

TEST(Questions, ShortageSaysWhatIsShortWhereAndWhatWouldDo) {
  const ModelSpec model = shipped_model("llama-3.1-8b");
  const ClusterSpec cluster = load_cluster("h100-sxm-80gb:1", kProfiles).value();
  const auto software = Software::load(model, cluster, "megatron-core-2025", kProfiles).value();
  EXPECT_FALSE(software->plan_for("any"));
  SpaceRequest request;
  request.seq = 4096;
  request.global_batch = 8;
  EXPECT_FALSE(request.constraints.add(ConstraintKind::kBan, "optimizer_offload=true"));
  request.ranks = 1;
  const auto result = search_space(*software, request);
  ASSERT_TRUE(result.ok());
  ASSERT_TRUE(result->plans.empty());
  const auto shortage = shortage_and_remedies(*software, request, *result);
  ASSERT_TRUE(shortage.has_value());
  EXPECT_EQ(shortage->usable_bytes, 0.98 * 80 * (int64_t{1} << 30));
  EXPECT_DOUBLE_EQ(shortage->missing_bytes, shortage->memory.device_bytes - shortage->usable_bytes);
  EXPECT_EQ(static_cast<Bytes>(shortage->memory.device_bytes), shortage->plan.memory_peak_bytes);
  // No other plan needs less.
  for (const char* pin : {"micro_batch=2", "recompute=none", "micro_batch=8"}) {
    SpaceRequest pinned = request;
    EXPECT_FALSE(pinned.constraints.add(ConstraintKind::kPin, pin));
    const auto other = search_space(*software, pinned);
    ASSERT_TRUE(other.ok());
    ASSERT_TRUE(other->nearest.has_value());
    EXPECT_GE(other->nearest->memory_peak_bytes, shortage->plan.memory_peak_bytes) << pin;
  }
  // The ban is to blame: the optimizer on the host would leave room.
  ASSERT_TRUE(shortage->unconstrained.has_value());
  EXPECT_GT(shortage->unconstrained->plan.optimizer_offload, 0);
  EXPECT_NE(shortage->line().find("without the given choices"), std::string::npos);
}

TEST(Questions, ShortageNamesTheFirstDoublingThatFits) {
  const ModelSpec model = shipped_model("llama-3.1-8b");
  SpaceRequest request;
  request.seq = 1024;
  request.global_batch = 8;
  request.memory_limit = Bytes{20} << 30;
  const auto answer = [&](int64_t devices) {
    const ClusterSpec cluster =
        load_cluster("h100-sxm-80gb:1x" + std::to_string(devices), kProfiles).value();
    const auto software = Software::load(model, cluster, "torchtitan", kProfiles).value();
    EXPECT_FALSE(software->plan_for("any"));
    const auto result = search_space(*software, request);
    EXPECT_TRUE(result.ok());
    const auto shortage = shortage_and_remedies(*software, request, *result);
    return shortage ? shortage->devices : devices;
  };
  const int64_t devices = answer(1);
  EXPECT_GT(devices, 1);
  EXPECT_EQ(answer(devices), devices);
  EXPECT_EQ(answer(devices / 2), devices);
}

}  // namespace
}  // namespace shardwright
