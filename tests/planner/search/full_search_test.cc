// Search of the whole space against enumeration of small random parts of it.
#include "planner/search/full_search.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <functional>
#include <random>
#include <tuple>

#include "planner/schedule/schedule.h"
#include "planner/search/chunk_layers.h"
#include "planner/search/pipeline_bound.h"
#include "planner/search/plan_space.h"
#include "tests/planner/search/enumeration.h"
#include "tests/planner/search/mixed_cluster.h"
#include "tests/planner/support.h"

namespace shardwright {
namespace {

const char* const kProfiles = SHARDWRIGHT_SOURCE_DIR "/profiles";

struct Case {
  std::string model, cluster, stack;
  SpaceRequest request;
};

Case random_case(std::mt19937* random) {
  const auto pick = [&](int n) { return static_cast<int>((*random)() % static_cast<unsigned>(n)); };
  Case c;
  c.model =
      std::vector<std::string>{"tiny-gpt", "tiny-llama", "small-gpt", "qwen3-30b-a3b"}[pick(4)];
  c.cluster = std::vector<std::string>{"h100-sxm-80gb:4", "a100-sxm-80gb:4x2", "b200-sxm:2x3",
                                       "mixed"}[pick(4)];
  c.stack =
      std::vector<std::string>{"megatron-core-2025", "torchtitan", "deepspeed-zero3"}[pick(3)];
  SpaceRequest& request = c.request;
  request.seq = 64;
  request.global_batch = std::vector<int64_t>{4, 8, 12, 16}[pick(4)];
  request.top = 1 + pick(4);
  request.headroom = 0;
  Constraints& limits = request.constraints;
  // Parts of the space that enumeration gets through.
  const std::vector<std::string> bans = {"optimizer_offload=true", "overlap_parameters=false",
                                         "overlap_gradients=false", "zero=1|3", "zero=2"};
  for (const std::string& ban : bans) {
    if (pick(2) == 0) limits.add(ConstraintKind::kBan, ban);
  }
  limits.add(ConstraintKind::kMax, "virtual_stages=" + std::to_string(1 + pick(3)));
  limits.add(ConstraintKind::kPin,
             pick(2) == 0 ? "recompute=none|full" : "recompute=none|selective");
  limits.add(ConstraintKind::kMax, "recompute_layers=2");
  const char* const shares[] = {"0", "0|0.5", "0.5", "0|0.5|1"};
  limits.add(ConstraintKind::kPin, std::string("activation_offload=") + shares[pick(4)]);
  limits.add(ConstraintKind::kMax, "cp=2");
  if (pick(2) == 0) limits.add(ConstraintKind::kBan, "shard_group=2");
  limits.add(ConstraintKind::kPin,
             pick(4) == 0 ? "schedule=synthesised|1f1b|zb-v"
                          : "schedule=gpipe|1f1b|breadth-first|zb-h1|zb-h2|zb-v|v-half|dualpipe-v");
  const char* const overlaps[] = {"tensor=true", "tensor=false", "pipeline=false", "pipeline=true",
                                  "experts=true"};
  if (pick(2) == 0) limits.add(ConstraintKind::kPin, std::string("overlap_") + overlaps[pick(5)]);
  if (pick(3) == 0) limits.add(ConstraintKind::kMax, "stage_layers=" + std::to_string(2 + pick(3)));
  if (pick(3) == 0) limits.add(ConstraintKind::kMin, "stage_layers=2");
  return c;
}

bool same_pipeline(const Plan& a, const Plan& b) {
  const auto key = [](const Plan& p) {
    return std::tuple(p.dp, p.tp, p.pp, p.split.cp, p.split.cp_kind, p.split.ep,
                      p.split.expert_tp(p.tp), p.split.sequence_parallel, p.micro_batch);
  };
  return key(a) == key(b);
}

TEST(FullSearch, EqualsEnumeration) {
  std::mt19937 random(7);
  int compared = 0, tight = 0;
  for (int round = 0; round < 100; ++round) {
    Case c = random_case(&random);
    const ModelSpec model = shipped_model(c.model.c_str());
    const ClusterSpec cluster = c.cluster == "mixed" ? mixed_cluster(2, kProfiles)
                                                     : load_cluster(c.cluster, kProfiles).value();
    const auto loaded = Software::load(model, cluster, c.stack, kProfiles);
    ASSERT_TRUE(loaded.ok()) << loaded.error().line();
    Software* const software = loaded->get();
    if (round % 2 == 0) {
      ASSERT_FALSE(software->plan_for("any"));
    }
    c.request.ranks = cluster.num_devices();
    // Once with all memory, then with little more than the smallest plan needs.
    c.request.memory_limit = Bytes{1} << 50;
    for (int pass = 0; pass < 2; ++pass) {
      AllPlans all(*software, c.request, pass > 0);
      std::sort(all.plans.begin(), all.plans.end(), [](const RankedPlan& a, const RankedPlan& b) {
        return std::tuple(a.step_ns, a.memory_peak_bytes) <
               std::tuple(b.step_ns, b.memory_peak_bytes);
      });
      for (const RankedPlan& plan : all.plans) {
        EXPECT_LE(step_bound_s(plan.plan, software->prices(plan.plan)), plan.step_time_s)
            << plan.plan.label();
      }
      std::vector<RankedPlan> fitting;
      for (const RankedPlan& plan : all.plans) {
        if (software->fullest_share(plan.plan, memory_limit_of(c.request)) <= 1) {
          fitting.push_back(plan);
        }
      }
      const auto result = search_space(*software, c.request);
      ASSERT_TRUE(result.ok()) << result.error().line();
      const SpaceStats& stats = result->stats;
      EXPECT_EQ(stats.candidates, all.candidates);
      EXPECT_EQ(stats.candidates,
                stats.pruned_rules + stats.pruned_memory + stats.pruned_bound + stats.simulated);
      ASSERT_EQ(result->plans.empty(), fitting.empty());
      if (fitting.empty()) break;
      ++compared;
      tight += pass;
      EXPECT_EQ(result->plans.front().step_ns, fitting.front().step_ns)
          << result->plans.front().plan.label() << " against " << fitting.front().plan.label();
      // What is faster than the last of the answers is one of them, or a variant of one that is no
      // slower.
      Bytes least = Bytes{1} << 50;
      for (const RankedPlan& found : fitting) {
        least = std::min(least, found.memory_peak_bytes);
        if (found.step_ns >= result->plans.back().step_ns) continue;
        EXPECT_TRUE(std::any_of(result->plans.begin(), result->plans.end(),
                                [&](const RankedPlan& answer) {
                                  return same_pipeline(answer.plan, found.plan) &&
                                         answer.step_ns <= found.step_ns;
                                }))
            << found.plan.label();
      }
      c.request.memory_limit = least + least / 10;
    }
  }
  EXPECT_GT(compared, 80);
  EXPECT_GT(tight, 30);
}

// The same with less memory than any plan needs whose layers go by speed alone.
TEST(FullSearch, EqualsEnumerationWhereLayersGoByMemory) {
  std::mt19937 random(8);
  int compared = 0;
  for (int round = 0; round < 80; ++round) {
    ModelSpec model = shipped_model(round % 2 == 0 ? "small-gpt" : "tiny-llama");
    model.layer_kind.assign(4 + random() % 5, 0);
    const ClusterSpec cluster = round % 3 == 0 ? mixed_cluster(2, kProfiles)
                                               : load_cluster("h100-sxm-80gb:4", kProfiles).value();
    const auto loaded = Software::load(model, cluster, "megatron-core-2025", kProfiles);
    ASSERT_TRUE(loaded.ok()) << loaded.error().line();
    Software* const software = loaded->get();
    ASSERT_FALSE(software->plan_for("any"));
    SpaceRequest request;
    request.ranks = cluster.num_devices();
    request.seq = 1024;
    request.global_batch = 32;
    request.headroom = 0;
    request.top = 2;
    request.memory_limit = Bytes{1} << 50;
    for (const char* pin : {"pp=2|4", "virtual_stages=1", "optimizer_offload=false",
                            "activation_offload=0", "cp=1"}) {
      ASSERT_FALSE(request.constraints.add(ConstraintKind::kPin, pin));
    }
    request.constraints.add(ConstraintKind::kBan, "schedule=synthesised");
    request.constraints.add(ConstraintKind::kPin,
                            round % 4 < 2 ? "recompute=none" : "recompute=none|full");
    double least = 1e18;
    for (const RankedPlan& plan : AllPlans(*software, request).plans) {
      least = std::min(least, software->device_bytes(plan.plan));
    }
    request.memory_limit = static_cast<Bytes>(least * (1 - 0.0005 * (1 + round % 4)));
    const AllPlans all(*software, request, true);
    const auto result = search_space(*software, request);
    ASSERT_TRUE(result.ok()) << result.error().line();
    ASSERT_EQ(result->plans.empty(), all.plans.empty()) << round;
    if (all.plans.empty()) continue;
    ++compared;
    const auto fastest = std::min_element(
        all.plans.begin(), all.plans.end(),
        [](const RankedPlan& a, const RankedPlan& b) { return a.step_ns < b.step_ns; });
    EXPECT_EQ(result->plans.front().step_ns, fastest->step_ns)
        << result->plans.front().plan.label() << " against " << fastest->plan.label();
    EXPECT_NE(result->plans.front().plan.stage_layers,
              software->share_layers(result->plans.front().plan));
  }
  EXPECT_GT(compared, 10);
}

// Without a pipeline nothing is left out: the parts and the fixed cost are the step.
TEST(Evaluate, PartsOfOneStageAddUpToTheStep) {
  const ModelSpec model = shipped_model("llama-3.1-8b");
  const ClusterSpec cluster = load_cluster("h100-sxm-80gb:8x4", kProfiles).value();
  const auto software = Software::load(model, cluster, "megatron-core-2025", kProfiles);
  ASSERT_TRUE(software.ok());
  Plan plan;
  plan.dp = 32;
  plan.seq = 8192;
  plan.global_batch = 256;
  plan.zero = 2;
  plan.precision = DataType::kBf16;
  plan.stage_layers = {model.layers()};
  (*software)->set_usual(&plan);
  const RankedPlan ranked = evaluate(**software, plan);
  const TimeParts& parts = ranked.parts;
  const double fixed = (*software)->prices(plan).fixed;
  EXPECT_NEAR(parts.compute_s + parts.tp_s + parts.dp_s + parts.optimizer_s + fixed,
              ranked.step_time_s, 1e-6);
}

TEST(Constraints, PinsBansAndBounds) {
  Constraints c;
  EXPECT_FALSE(c.add(ConstraintKind::kPin, "tp=4|8"));
  EXPECT_FALSE(c.add(ConstraintKind::kBan, "zero=3"));
  EXPECT_FALSE(c.add(ConstraintKind::kMax, "pp=4"));
  EXPECT_FALSE(c.add(ConstraintKind::kMin, "micro_batch=2"));
  EXPECT_TRUE(c.allows("tp", int64_t{8}));
  EXPECT_FALSE(c.allows("tp", int64_t{2}));
  EXPECT_FALSE(c.allows("zero", int64_t{3}));
  EXPECT_TRUE(c.allows("zero", int64_t{2}));
  EXPECT_FALSE(c.allows("pp", int64_t{8}));
  EXPECT_FALSE(c.allows("micro_batch", int64_t{1}));
  EXPECT_TRUE(c.allows("dp", int64_t{1000}));
  EXPECT_TRUE(c.add(ConstraintKind::kPin, "tp=4").has_value());
  EXPECT_TRUE(c.add(ConstraintKind::kMax, "schedule=1f1b").has_value());
  EXPECT_TRUE(c.add(ConstraintKind::kBan, "recompute=some").has_value());
  EXPECT_EQ(c.bound(ConstraintKind::kMax, "pp"), 4);
  EXPECT_EQ(c.stuck_switch(), "");
  EXPECT_FALSE(c.add(ConstraintKind::kBan, "overlap_tensor=true|false"));
  EXPECT_EQ(c.stuck_switch(), "overlap_tensor");
}

// The slowest chunk is as fast as any contiguous split of small models allows.
TEST(ChunkLayers, SlowestChunkIsMinimal) {
  std::mt19937 random(3);
  ModelSpec model = shipped_model("tiny-gpt");
  for (int round = 0; round < 1000; ++round) {
    const int64_t layers = 2 + static_cast<int64_t>(random() % 7),
                  chunks = 2 + static_cast<int64_t>(random() % 3);
    const size_t kinds = 1 + random() % 2;
    model.kinds.assign(kinds, model.kinds.front());
    model.layer_kind.clear();
    for (int64_t i = 0; i < layers; ++i) {
      model.layer_kind.push_back(kinds == 2 && i >= layers / 2 ? 1 : 0);
    }
    Estimator::PartSeconds parts;
    for (size_t k = 0; k < kinds; ++k) parts.kinds.push_back(1 + static_cast<double>(random() % 5));
    parts.embedding = static_cast<double>(random() % 4);
    parts.head = static_cast<double>(random() % 6);
    ChunkBounds bounds;
    bounds.least = static_cast<int64_t>(random() % 4);
    if (random() % 2 == 0) bounds.most.assign(chunks, 1 + static_cast<int64_t>(random() % 4));
    const std::vector<int64_t> share = chunk_layers(model, parts, chunks, false, {}, bounds);
    const auto within = [&](int64_t count) {
      return count >= std::max<int64_t>(1, bounds.least) &&
             (bounds.most.empty() || count <= bounds.most.front());
    };
    const auto slowest = [&](const std::vector<int64_t>& split) {
      double most = 0;
      int64_t layer = 0;
      for (int64_t c = 0; c < chunks; ++c) {
        double time = (c == 0 ? parts.embedding : 0) + (c == chunks - 1 ? parts.head : 0);
        for (int64_t i = 0; i < split[c]; ++i) time += parts.kinds[model.layer_kind[layer++]];
        most = std::max(most, time);
      }
      return most;
    };
    double best = 1e9;
    std::vector<int64_t> split(chunks, 1);
    const std::function<void(int64_t, int64_t)> all = [&](int64_t chunk, int64_t left) {
      if (chunk == chunks - 1) {
        split[chunk] = left;
        if (within(left)) best = std::min(best, slowest(split));
        return;
      }
      for (int64_t n = 1; n <= left - (chunks - chunk - 1); ++n) {
        if (!within(n)) continue;
        split[chunk] = n;
        all(chunk + 1, left - n);
      }
    };
    all(0, layers);
    if (best == 1e9) {
      EXPECT_TRUE(share.empty());
      continue;
    }
    ASSERT_EQ(static_cast<int64_t>(share.size()), chunks)
        << layers << " layers, " << bounds.least << " or more of each";
    for (int64_t count : share) EXPECT_TRUE(within(count)) << count;
    EXPECT_NEAR(slowest(share), best, 1e-6) << layers << " layers on " << chunks;
  }
}

}  // namespace
}  // namespace shardwright
