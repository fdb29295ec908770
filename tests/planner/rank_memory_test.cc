#include "planner/rank_memory.h"

#include <gtest/gtest.h>

#include <numeric>

namespace shardwright {
namespace {

constexpr double kGib = 1024.0 * 1024.0 * 1024.0;

ModelSpec gpt(int64_t layers, int64_t hidden, int64_t heads) {
  ModelSpec model;
  model.hidden = hidden;
  model.vocab = 50304;
  model.tied_embeddings = false;
  model.norm = Norm::kLayerNorm;
  LayerSpec layer;
  layer.attention = {.heads = heads, .kv_heads = heads, .head_dim = hidden / heads};
  layer.attention.v_head_dim = layer.attention.head_dim;
  layer.mlp = {4 * hidden, false, false};
  model.kinds = {layer};
  model.layer_kind.assign(static_cast<size_t>(layers), 0);
  return model;
}

MemoryStack megatron() {
  MemoryStack stack;
  stack.dropout_mask = 1;
  stack.scores = 5;
  return stack;
}

// Korthikanti et al. (2205.05198), equations 1, 2 and 4, without the small softmax statistics:
// s b h (34 + 5 a s / h); with tp (10 + 24/t + 5 a s / h t); with sequence parallelism all over t.
TEST(KeptTensors, MatchPublishedEquations) {
  const ModelSpec model = gpt(1, 4096, 32);
  const MemoryStack stack = megatron();
  const MemoryContext context{model, stack, {.flash = false}};
  ChunkShape chunk;
  chunk.num_layers = 1;
  chunk.micro_batch = 2;
  chunk.seq = 2048;
  chunk.type = DataType::kFp16;
  const double sbh = 2048.0 * 2 * 4096, scores = 5.0 * 32 * 2048 / 4096;
  EXPECT_DOUBLE_EQ(total_bytes(kept_of_layer(context, chunk, 0, false)), sbh * (34 + scores));
  chunk.tp = 4;
  EXPECT_DOUBLE_EQ(total_bytes(kept_of_layer(context, chunk, 0, false)),
                   sbh * (10 + 24.0 / 4 + scores / 4));
  chunk.split.sequence_parallel = true;
  EXPECT_DOUBLE_EQ(total_bytes(kept_of_layer(context, chunk, 0, false)), sbh * (34 + scores) / 4);
  chunk.recompute_modules = kRecomputeCoreAttention;
  EXPECT_DOUBLE_EQ(total_bytes(kept_of_layer(context, chunk, 0, false)), sbh * 34 / 4);
  chunk.recompute = true;
  EXPECT_DOUBLE_EQ(total_bytes(kept_of_layer(context, chunk, 0, false)), sbh * 2 / 4);
}

Plan plan_of(int64_t layers, int64_t dp, int64_t pp, int64_t v) {
  Plan plan;
  plan.dp = dp;
  plan.pp = pp;
  plan.virtual_stages = v;
  plan.global_batch = 64 * dp;
  plan.seq = 1024;
  plan.precision = DataType::kBf16;
  plan.stage_layers.assign(static_cast<size_t>(pp * v), layers / (pp * v));
  return plan;
}

TEST(RankMemory, ShardsStatesByZeroStage) {
  const ModelSpec model = gpt(2, 512, 8);
  MemoryStack stack = megatron();
  stack.workspace_gib = 0;
  const MemoryContext context{model, stack, {}};
  const auto states = [&](int64_t zero) {
    Plan plan = plan_of(2, 8, 1, 1);
    plan.zero = zero;
    const RankMemory memory = rank_memory(context, plan);
    return std::accumulate(memory.parts.begin(), memory.parts.begin() + 3, 0.0,
                           [](double sum, const MemoryPart& part) { return sum + part.bytes; });
  };
  const double parameters =
      2.0 * 50304 * 512 + 2 * (12.0 * 512 * 512 + 4 * 512);  // tables, products, two norms
  EXPECT_NEAR(states(0), parameters * 18, 1);
  EXPECT_NEAR(states(1), parameters * (6 + 12.0 / 8), 1);
  EXPECT_NEAR(states(2), parameters * (2 + 4.0 / 8 + 12.0 / 8), 1);
  EXPECT_NEAR(states(3), parameters * 18 / 8, 1);
}

TEST(RankMemory, AddsUpToItsParts) {
  const ModelSpec model = gpt(8, 1024, 8);
  const MemoryStack stack = megatron();
  const RankMemory memory = rank_memory({model, stack, {}}, plan_of(8, 2, 4, 1));
  double sum = 0;
  for (const MemoryPart& part : memory.parts) sum += part.bytes;
  EXPECT_DOUBLE_EQ(sum, memory.allocated_bytes);
  EXPECT_DOUBLE_EQ(memory.reserved_bytes, memory.allocated_bytes * stack.slack);
  EXPECT_DOUBLE_EQ(memory.device_bytes, memory.reserved_bytes + stack.context_gib * kGib);
  EXPECT_STRNE(memory.phase, "");
}

}  // namespace
}  // namespace shardwright
