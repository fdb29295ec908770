// What the planner's tests share: small models, clusters with round numbers, files.
#pragma once

#include <gtest/gtest.h>

#include <algorithm>
#include <cstdlib>
#include <fstream>
#include <random>
#include <sstream>
#include <string>

#include "costmodel/cluster_spec.h"
#include "costmodel/hf_config.h"
#include "planner/compile.h"
#include "planner/legality.h"

namespace shardwright {

inline const char kProfiles[] = SHARDWRIGHT_SOURCE_DIR "/profiles";

// tiny-gpt: tied, learned positions, 4 heads. tiny-llama: untied, RoPE, 4 heads, 2 KV heads. Both
// have 4 layers of width 128 and 256 bytes as vocabulary.
inline ModelSpec shipped_model(const std::string& name) {
  Result<ModelSpec> model = load_model(name, kProfiles);
  EXPECT_TRUE(model.ok()) << model.error().line();
  return std::move(model).value();
}

// Nodes of `per_node` devices of 1 TFLOP/s and 100 GB/s, 10 GB/s inside a node, 1 GB/s between.
inline ClusterSpec test_cluster(int64_t per_node, int64_t nodes, bool overlap,
                                Bytes memory_bytes = int64_t{1} << 40) {
  DeviceProfile device;
  device.name = "test";
  device.memory_bytes = memory_bytes;
  device.memory_bytes_per_s = 1e11;
  device.peak_flops_per_s[DataType::kFp32] = 1e12;
  device.overlaps_communication = overlap;
  device.rates.resize(1);
  ClusterSpec cluster;
  cluster.name = cluster.source = "test";
  cluster.groups = {{"test", per_node, nodes}};
  cluster.levels.push_back({"inside", per_node, 1e10, 1e-6, "switch", {}});
  if (nodes > 1) cluster.levels.push_back({"between", per_node * nodes, 1e9, 1e-5, "switch", {}});
  cluster.devices["test"] = device;
  return cluster;
}

// Layers spread as evenly as they go, more of them in front.
inline Plan test_plan(const ModelSpec& model, int64_t dp, int64_t tp, int64_t pp,
                      int64_t microbatches, ScheduleKind schedule = ScheduleKind::kOneFOneB) {
  Plan plan;
  plan.dp = dp;
  plan.tp = tp;
  plan.pp = pp;
  plan.global_batch = dp * microbatches;
  plan.seq = 16;
  plan.schedule = schedule;
  for (int64_t stage = 0; stage < pp; ++stage) {
    plan.stage_layers.push_back((model.layers() + pp - 1 - stage) / pp);
  }
  return plan;
}

// A random plan that obeys every rule, on at most 8 ranks.
inline Plan random_plan(const ModelSpec& model, std::mt19937* random) {
  const auto pick = [&](int64_t low, int64_t high) {
    return low + static_cast<int64_t>((*random)() % static_cast<uint64_t>(high - low + 1));
  };
  for (;;) {
    const int64_t pp = pick(1, 4);
    Plan plan = test_plan(model, pick(1, 4), pick(1, 4), pp, 1);
    plan.micro_batch = pick(1, 3);
    plan.global_batch = plan.dp * plan.micro_batch * pick(1, 9);
    plan.schedule = pick(0, 1) == 0 ? ScheduleKind::kGPipe : ScheduleKind::kOneFOneB;
    plan.recompute = pick(0, 1) == 0 ? Recompute::kNone : Recompute::kFull;
    plan.rank_order = static_cast<RankOrder>(pick(0, kRankOrders - 1));
    if (pp > 1 && pick(0, 1) == 0) {
      // Uneven stages: a layer moves from the first to the last.
      plan.stage_layers.front() -= 1;
      plan.stage_layers.back() += 1;
    }
    if (plan.ranks() <= 8 && check_plan(model, plan.ranks(), plan).empty()) return plan;
  }
}

// Random in the pipeline too: every schedule, virtual stages, ends without layers.
inline Plan random_pipeline(const ModelSpec& model, std::mt19937* random) {
  const auto pick = [&](int64_t low, int64_t high) {
    return low + static_cast<int64_t>((*random)() % static_cast<uint64_t>(high - low + 1));
  };
  for (;;) {
    Plan plan = test_plan(model, pick(1, 2), pick(1, 2), pick(1, 4), 1);
    plan.schedule = static_cast<ScheduleKind>(pick(0, kScheduleKinds - 1));
    plan.virtual_stages = pick(1, 3);
    plan.micro_batch = pick(1, 2);
    plan.global_batch = plan.dp * plan.micro_batch * pick(1, 12);
    plan.recompute = pick(0, 1) == 0 ? Recompute::kNone : Recompute::kFull;
    plan.rank_order = static_cast<RankOrder>(pick(0, kRankOrders - 1));
    const int64_t chunks = plan.pp * plan.virtual_stages;
    plan.stage_layers.assign(static_cast<size_t>(chunks), 0);
    for (int64_t i = 0; i < model.layers(); ++i) ++plan.stage_layers[(i + 1) % chunks];
    if (plan.ranks() <= 8 && check_plan(model, plan.ranks(), plan).empty()) return plan;
  }
}

// Of those, plans with several chunks a stage that the executor runs (executable.cc).
inline Plan random_chunked_plan(const ModelSpec& model, std::mt19937* random) {
  for (;;) {
    const Plan plan = random_pipeline(model, random);
    const bool runs =
        !splits_backward(plan.schedule) && plan.schedule != ScheduleKind::kSynthesised;
    const bool layers =
        std::count(plan.stage_layers.begin(), plan.stage_layers.end(), int64_t{0}) == 0;
    if (plan.virtual_stages > 1 && runs && layers) return plan;
  }
}

// And in how sequences and states are split over replicas: what is simulated and verified, but not
// run.
inline Plan random_split(const ModelSpec& model, std::mt19937* random) {
  const auto pick = [&](int64_t low, int64_t high) {
    return low + static_cast<int64_t>((*random)() % static_cast<uint64_t>(high - low + 1));
  };
  for (;;) {
    Plan plan = random_pipeline(model, random);
    plan.split.cp = pick(1, 2);
    plan.split.cp_kind = pick(0, 1) == 0 ? CpKind::kRing : CpKind::kAllToAll;
    plan.split.sequence_parallel = plan.tp > 1 && pick(0, 1) == 0;
    plan.zero = pick(0, 3);
    const int64_t replicas = plan.dp * plan.split.cp;
    plan.shard_group = plan.zero > 0 && pick(0, 1) == 0 ? pick(1, replicas) : 0;
    plan.recompute = static_cast<Recompute>(pick(0, 2));
    if (plan.recompute == Recompute::kSelective) plan.recompute_modules = kRecomputeCoreAttention;
    plan.overlap.gradients = pick(0, 1) == 0;
    plan.overlap.parameters = pick(0, 1) == 0;
    plan.overlap.pipeline = pick(0, 1) == 0;
    plan.optimizer_offload = pick(0, 1) * 0.3;
    if (pick(0, 2) == 0) {
      plan.replica_batches.assign(static_cast<size_t>(plan.dp), plan.global_batch / plan.dp);
      plan.replica_batches.front() += plan.micro_batch * (plan.virtual_stages > 1 ? plan.pp : 1);
      plan.global_batch += plan.replica_batches.front() - plan.replica_batches.back();
      if (plan.dp == 1) plan.global_batch = plan.replica_batches.front();
    }
    if (plan.ranks() <= 16 && check_plan(model, plan.ranks(), plan).empty()) return plan;
  }
}

inline std::string read_text(const std::string& path) {
  std::ifstream in(path, std::ios::binary);
  std::ostringstream text;
  text << in.rdbuf();
  return text.str();
}

// Golden files are what a person has read and found right. SHARDWRIGHT_UPDATE_GOLDEN=1 writes them
// anew; look at the difference before committing it.
inline void expect_golden(const std::string& path, const std::string& found) {
  if (std::getenv("SHARDWRIGHT_UPDATE_GOLDEN") != nullptr) {
    std::ofstream(path, std::ios::binary) << found;
  }
  EXPECT_EQ(found, read_text(path)) << path;
}

}  // namespace shardwright
