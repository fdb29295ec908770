// Search against a brute force that shares nothing with it but the rules, the cost model and
// simulate on all ranks.
#include "planner/search.h"

#include <algorithm>
#include <tuple>

#include "planner/balance.h"
#include "planner/program/finished_sends.h"
#include "tests/planner/support.h"

namespace shardwright {
namespace {

SearchRequest request(int64_t seq, int64_t global_batch, int top) {
  SearchRequest out;
  out.seq = seq;
  out.global_batch = global_batch;
  out.top = top;
  return out;
}

using Key = std::tuple<Nanoseconds, Bytes, std::string>;

struct BruteForce {
  std::vector<Key> plans;  // those that fit, best first
  int64_t candidates = 0, illegal = 0;

  void consider(const ModelSpec& model, const ClusterSpec& cluster, Plan plan) {
    ++candidates;
    if (!check_degrees(model, cluster.num_devices(), plan).empty()) {
      ++illegal;
      return;
    }
    plan.stage_layers = balanced_chunks(model, cluster, plan);
    ASSERT_TRUE(check_plan(model, cluster.num_devices(), plan).empty());
    const bool overlap = cluster.device_of(0).overlaps_communication;
    const Program program = compile(model, plan, {overlap, false});
    const StepTable table(model, program, plan.optimizer);
    const Timeline timeline =
        simulate_own(program, Readiness(program), price(program, table, cluster));
    for (const RankTimeline& rank : timeline.ranks) {
      if (rank.peak_bytes > cluster.device_of(rank.rank).memory_bytes) return;
    }
    plans.emplace_back(timeline.makespan(), timeline.peak_bytes(), plan.label());
  }
};

// What the executor runs: chunks of a stage as many as its layers have divisors, or two.
std::vector<std::pair<ScheduleKind, int64_t>> pipelines(const ModelSpec& model, int64_t pp) {
  std::vector<std::pair<ScheduleKind, int64_t>> out = {{ScheduleKind::kGPipe, 1},
                                                       {ScheduleKind::kOneFOneB, 1}};
  const int64_t layers = model.layers() / pp;
  for (int64_t v = 2; v <= layers && pp > 1; ++v) {
    if (layers % v != 0 && v != 2) continue;
    out.emplace_back(ScheduleKind::kOneFOneB, v);
    out.emplace_back(ScheduleKind::kBreadthFirst, v);
  }
  return out;
}

BruteForce brute_force(const ModelSpec& model, const ClusterSpec& cluster,
                       const SearchRequest& request) {
  BruteForce out;
  const int64_t n = cluster.num_devices(), batch = request.global_batch;
  Plan plan;
  plan.seq = request.seq;
  plan.global_batch = batch;
  for (plan.dp = 1; plan.dp <= n; ++plan.dp) {
    for (plan.tp = 1; plan.tp <= n; ++plan.tp) {
      for (plan.pp = 1; plan.pp <= n; ++plan.pp) {
        if (plan.dp * plan.tp * plan.pp != n) continue;
        for (plan.micro_batch = 1; plan.micro_batch <= batch; ++plan.micro_batch) {
          const bool divides = batch % (plan.dp * plan.micro_batch) == 0;
          if (!divides && (batch % plan.dp == 0 || plan.micro_batch > 1)) continue;
          for (auto recompute : {Recompute::kNone, Recompute::kFull}) {
            plan.recompute = recompute;
            for (const auto& [schedule, v] : pipelines(model, plan.pp)) {
              plan.schedule = schedule;
              plan.virtual_stages = v;
              out.consider(model, cluster, plan);
            }
          }
        }
      }
    }
  }
  std::sort(out.plans.begin(), out.plans.end());
  return out;
}

std::vector<Key> keys(const SearchResult& result) {
  std::vector<Key> out;
  for (const RankedPlan& ranked : result.plans) {
    out.emplace_back(ranked.step_ns, ranked.memory_peak_bytes, ranked.plan.label());
  }
  return out;
}

struct Space {
  const char* name;
  const char* model;
  int64_t per_node, nodes, global_batch;
  bool overlap;
  Bytes memory;
};
const Space kSpaces[] = {
    {"cpu4", "tiny-gpt", 4, 1, 12, false, int64_t{1} << 40},
    {"gpu8", "tiny-llama", 4, 2, 16, true, int64_t{1} << 40},
    {"gpu8_tight", "tiny-llama", 4, 2, 16, true, 9'000'000},
    {"cpu6_odd_nodes", "tiny-gpt", 3, 2, 6, false, 14'000'000},
};
class SearchSpace : public testing::TestWithParam<Space> {};

TEST_P(SearchSpace, EqualsBruteForce) {
  const Space& space = GetParam();
  const ModelSpec model = shipped_model(space.model);
  const ClusterSpec cluster =
      test_cluster(space.per_node, space.nodes, space.overlap, space.memory);
  const SearchRequest all = request(64, space.global_batch, 100000);
  const BruteForce expected = brute_force(model, cluster, all);
  ASSERT_GT(expected.plans.size(), 5U);
  const Result<SearchResult> found = search(model, cluster, all);
  ASSERT_TRUE(found.ok()) << found.error().line();
  EXPECT_EQ(keys(*found), expected.plans);
  const SearchStats& stats = found->stats;
  EXPECT_EQ(stats.candidates, expected.candidates);
  EXPECT_EQ(stats.pruned_by_rules(), expected.illegal);
  EXPECT_EQ(stats.pruned_bound, 0);
  const int64_t too_large = stats.pruned_memory + stats.simulated_over_memory;
  EXPECT_EQ(too_large,
            expected.candidates - expected.illegal - static_cast<int64_t>(expected.plans.size()));
  for (int top : {1, 3}) {
    const Result<SearchResult> best = search(model, cluster, request(64, space.global_batch, top));
    ASSERT_TRUE(best.ok());
    EXPECT_EQ(keys(*best), std::vector<Key>(expected.plans.begin(), expected.plans.begin() + top));
    EXPECT_EQ(best->stats.candidates, best->stats.pruned_by_rules() + best->stats.pruned_memory +
                                          best->stats.pruned_bound + best->stats.simulated);
  }
}
INSTANTIATE_TEST_SUITE_P(All, SearchSpace, testing::ValuesIn(kSpaces),
                         [](const auto& info) { return std::string(info.param.name); });

// One that the executor runs, with several chunks a stage.
Plan random_loops(const ModelSpec& model, std::mt19937* random) {
  for (;;) {
    Plan plan = random_pipeline(model, random);
    const bool whole =
        plan.schedule == ScheduleKind::kOneFOneB || plan.schedule == ScheduleKind::kBreadthFirst;
    if (whole && plan.virtual_stages > 1) return plan;
  }
}

// The bound never exceeds the simulated time, and one rank per stage stands for all where it may.
TEST(Evaluate, BoundAndRepresentativeAgreeWithAllRanks) {
  std::mt19937 random(10);
  const ModelSpec gpt = shipped_model("tiny-gpt"), llama = shipped_model("tiny-llama");
  int symmetric = 0;
  for (int i = 0; i < 80; ++i) {
    const ModelSpec& model = i % 2 == 0 ? gpt : llama;
    const Plan plan = i % 4 < 2 ? random_plan(model, &random) : random_loops(model, &random);
    const ClusterSpec cluster = test_cluster(1 + static_cast<int64_t>(random() % 8), 8, i % 3 == 0);
    const RankedPlan ranked = evaluate_plan(model, cluster, plan);
    EXPECT_LE(PlanCosts(model, cluster, plan).fastest_ns(), ranked.step_ns) << plan.label();
    const Program program = compile(model, plan, options_for(cluster, plan, true));
    const StepTable table(model, program, plan.optimizer);
    const Timeline timeline =
        simulate_own(program, Readiness(program), price(program, table, cluster));
    EXPECT_EQ(ranked.step_ns, timeline.makespan()) << plan.label();
    EXPECT_EQ(ranked.memory_peak_bytes, timeline.peak_bytes()) << plan.label();
    if (cluster.device_of(0).overlaps_communication) {
      // What run reserves, rank by rank.
      Bytes most = 0;
      for (const RankPeak& peak : device_peaks(program)) most = std::max(most, peak.bytes);
      EXPECT_EQ(ranked.memory_peak_bytes, most) << plan.label();
      EXPECT_EQ(ranked.stages[tightest(ranked.stages)].peak(), most) << plan.label();
    }
    symmetric += is_symmetric(cluster, plan) ? 1 : 0;
    if (plan.pp == 1) {
      EXPECT_EQ(PlanCosts(model, cluster, plan).fastest_ns(), ranked.step_ns) << plan.label();
    }
  }
  EXPECT_GT(symmetric, 20);
  EXPECT_LT(symmetric, 80);
}

// Without pipeline and overlap the parts of the time are the step.
TEST(Evaluate, PartsOfASerialStepAddUp) {
  const ModelSpec model = shipped_model("tiny-gpt");
  const RankedPlan ranked =
      evaluate_plan(model, test_cluster(8, 1, false), test_plan(model, 2, 2, 1, 4));
  const TimeParts& p = ranked.parts;
  EXPECT_NEAR(p.compute_s + p.tp_s + p.pp_s + p.dp_s + p.optimizer_s, ranked.step_time_s, 1e-12);
  EXPECT_GT(p.tp_s, 0);
  EXPECT_GT(p.dp_s, 0);
  EXPECT_EQ(p.pp_s, 0);
}

class SearchPins : public testing::Test {
 protected:
  Result<SearchResult> run(std::vector<std::string> pins) {
    SearchRequest asked = request(64, 16, 1000);
    for (const std::string& pin : pins) {
      if (auto error = asked.constraints.add(ConstraintKind::kPin, pin)) return *error;
    }
    return search(model_, cluster_, asked);
  }
  std::string error_of(std::vector<std::string> pins) {
    const Result<SearchResult> result = run(std::move(pins));
    return result.ok() ? "" : result.error().line();
  }
  const ModelSpec model_ = shipped_model("tiny-llama");
  const ClusterSpec cluster_ = test_cluster(8, 1, true);
};

TEST_F(SearchPins, HoldInEveryPlan) {
  const auto result = run({"tp=2", "micro_batch=4", "schedule=gpipe", "recompute=full"});
  ASSERT_TRUE(result.ok()) << result.error().line();
  ASSERT_FALSE(result->plans.empty());
  for (const RankedPlan& ranked : result->plans) {
    EXPECT_EQ(ranked.plan.tp, 2);
    EXPECT_EQ(ranked.plan.micro_batch, 4);
    EXPECT_EQ(ranked.plan.schedule, ScheduleKind::kGPipe);
    EXPECT_EQ(ranked.plan.recompute, Recompute::kFull);
  }
}

TEST_F(SearchPins, AllOfThemLeaveOnePlan) {
  const auto result = run({"dp=2", "tp=2", "pp=2", "virtual_stages=1", "micro_batch=2",
                           "schedule=1f1b", "recompute=none"});
  ASSERT_TRUE(result.ok());
  EXPECT_EQ(result->stats.candidates, 1);
  ASSERT_EQ(result->plans.size(), 1U);
  EXPECT_EQ(result->plans[0].plan.label(), "dp2 tp2 pp2 mb2 1f1b none");
}

TEST_F(SearchPins, BadOnesAreRefused) {
  EXPECT_EQ(error_of({"tp=two"}), "command line: pin tp: found \"two\", expected a whole number");
  EXPECT_EQ(error_of({"tp=2", "tp=4"}),
            "command line: pin tp: found a second value, 4, expected each choice given once");
  EXPECT_EQ(error_of({"tp=3"}),
            "command line: pin: found no degrees, expected some with dp * tp * pp = 8 ranks");
  EXPECT_EQ(error_of({"schedule=zb-h1"}),
            "command line: schedule: found none left, expected gpipe, 1f1b or breadth-first");
  EXPECT_EQ(error_of({"cp=1"}),
            "command line: cp: found a constraint on it, expected choices of the own executor: dp, "
            "tp, pp, virtual_stages, stage_layers, micro_batch, schedule, recompute");
}

TEST_F(SearchPins, EmptyChunksAreRefused) {
  EXPECT_EQ(error_of({"stage_layers=0+4"}),
            "command line: pin stage_layers: found a chunk of none, expected layers for every "
            "chunk, with the own executor");
}

TEST_F(SearchPins, BansBoundsAndLayersHold) {
  SearchRequest asked = request(64, 16, 1000);
  asked.constraints.add(ConstraintKind::kPin, "stage_layers=1+3|1x4");
  asked.constraints.add(ConstraintKind::kMax, "pp=2");
  asked.constraints.add(ConstraintKind::kBan, "schedule=gpipe");
  const auto result = search(model_, cluster_, asked);
  ASSERT_TRUE(result.ok()) << result.error().line();
  ASSERT_FALSE(result->plans.empty());
  bool interleaved = false;
  for (const RankedPlan& ranked : result->plans) {
    const Plan& plan = ranked.plan;
    EXPECT_EQ(plan.pp, 2);
    EXPECT_NE(plan.schedule, ScheduleKind::kGPipe);
    EXPECT_EQ(plan.stage_layers,
              plan.virtual_stages == 1 ? (std::vector<int64_t>{1, 3}) : std::vector<int64_t>(4, 1));
    interleaved = interleaved || plan.virtual_stages == 2;
  }
  EXPECT_TRUE(interleaved);
}

TEST_F(SearchPins, AnIllegalPinSaysWhichRule) {
  const auto result = run({"tp=4"});
  ASSERT_TRUE(result.ok());
  EXPECT_TRUE(result->plans.empty());
  EXPECT_FALSE(result->miss.has_value());
  ASSERT_FALSE(result->rejections.empty());
  EXPECT_EQ(result->rejections[0].line(), "kv_heads: 2 KV heads are not divisible by tp 4");
}

TEST(Search, RequestsOutOfRangeAreRefused) {
  const ModelSpec model = shipped_model("tiny-gpt");
  const ClusterSpec cluster = test_cluster(4, 1, false);
  EXPECT_FALSE(search(model, cluster, request(0, 4, 1)).ok());
  EXPECT_FALSE(search(model, cluster, request(16, -4, 1)).ok());
  EXPECT_FALSE(search(model, cluster, request(16, 4, 0)).ok());
  SearchRequest many = request(16, 4, 1);
  many.ranks = 5;
  const auto refused = search(model, cluster, many);
  ASSERT_FALSE(refused.ok());
  EXPECT_EQ(refused.error().line(),
            "command line: ranks: found 5, expected a whole number from 1 to 4");
  SearchRequest fp8 = request(16, 4, 1);
  fp8.precision = DataType::kFp8;
  EXPECT_FALSE(search(model, cluster, fp8).ok());
}

TEST(Search, FewerRanksThanDevices) {
  SearchRequest two = request(16, 4, 100);
  two.ranks = 2;
  const auto result = search(shipped_model("tiny-gpt"), test_cluster(4, 1, false), two);
  ASSERT_TRUE(result.ok());
  for (const RankedPlan& ranked : result->plans) EXPECT_EQ(ranked.plan.ranks(), 2);
}

// 1 MB a device hold no model: the nearest plan has the smallest peak of all, and with the number
// of devices named something does fit.
TEST(Search, NothingFitsNamesWhatWould) {
  const ModelSpec model = shipped_model("tiny-llama");
  const Bytes little = 6'000'000;
  const ClusterSpec cluster = test_cluster(2, 1, false, little);
  const SearchRequest asked = request(64, 4, 5);
  const auto result = search(model, cluster, asked);
  ASSERT_TRUE(result.ok());
  EXPECT_TRUE(result->plans.empty());
  ASSERT_TRUE(result->miss.has_value());
  const NearestMiss& miss = *result->miss;
  Bytes smallest = std::numeric_limits<Bytes>::max();
  for (const Key& key : brute_force(model, test_cluster(2, 1, false), asked).plans) {
    smallest = std::min(smallest, std::get<1>(key));
  }
  EXPECT_EQ(miss.smallest.memory_peak_bytes, smallest);
  EXPECT_NE(miss.line().find("nothing fits: the smallest plan"), std::string::npos);
  ASSERT_GT(miss.devices, 2);
  const auto larger = search(model, test_cluster(miss.devices, 1, false, little), asked);
  ASSERT_TRUE(larger.ok());
  EXPECT_FALSE(larger->plans.empty());
  // With exactly the memory that is said to suffice the plan is found.
  const auto enough = search(model, test_cluster(2, 1, false, smallest), asked);
  ASSERT_TRUE(enough.ok());
  ASSERT_EQ(enough->plans.size(), 1U);
  EXPECT_EQ(enough->plans[0].plan.label(), miss.smallest.plan.label());
}

TEST(Search, DivisorsAscend) {
  EXPECT_EQ(divisors(1), std::vector<int64_t>{1});
  EXPECT_EQ(divisors(12), (std::vector<int64_t>{1, 2, 3, 4, 6, 12}));
  EXPECT_EQ(divisors(49), (std::vector<int64_t>{1, 7, 49}));
}

}  // namespace
}  // namespace shardwright
