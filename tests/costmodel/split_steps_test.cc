// Steps of plans beyond dp, tp and pp, against closed forms of their volumes and FLOPs.
#include <gtest/gtest.h>

#include "costmodel/hf_config.h"
#include "costmodel/steps.h"

namespace shardwright {
namespace {

ModelSpec shipped(const std::string& name) {
  Result<ModelSpec> model = load_model(name, SHARDWRIGHT_SOURCE_DIR "/profiles");
  EXPECT_TRUE(model.ok()) << model.error().line();
  return std::move(model).value();
}

ChunkShape one_layer(int64_t layer) {
  ChunkShape chunk;
  chunk.first_layer = layer;
  chunk.num_layers = 1;
  chunk.micro_batch = 1;
  chunk.seq = 4096;
  chunk.type = DataType::kBf16;
  return chunk;
}

double flops(const std::vector<Step>& steps) {
  double sum = 0;
  for (const Step& step : steps) {
    if (const auto* work = std::get_if<GemmWork>(&step.work)) sum += work->flops();
  }
  return sum;
}
double attention_flops(const std::vector<Step>& steps) {
  double sum = 0;
  for (const Step& step : steps) {
    if (const auto* work = std::get_if<AttentionWork>(&step.work)) sum += work->flops();
  }
  return sum;
}
Bytes pass_bytes(const std::vector<Step>& steps, StepOp op) {
  Bytes sum = 0;
  for (const Step& step : steps) {
    const auto* work = std::get_if<PassWork>(&step.work);
    if (work != nullptr && step.op == op) sum += work->bytes;
  }
  return sum;
}
std::vector<CollectiveWork> collectives(const std::vector<Step>& steps) {
  std::vector<CollectiveWork> out;
  for (const Step& step : steps) {
    if (const auto* work = std::get_if<CollectiveWork>(&step.work)) out.push_back(*work);
  }
  return out;
}

// 2205.05198: a gather and a scatter move together what one all-reduce moves.
TEST(SplitSteps, SequenceParallelReplacesEveryAllReduceByAGatherAndAScatter) {
  const ModelSpec model = shipped("llama-3.1-8b");
  ChunkShape chunk = one_layer(1);
  chunk.tp = 8;
  const auto plain = collectives(forward_steps(model, chunk));
  chunk.split.sequence_parallel = true;
  const auto split = collectives(forward_steps(model, chunk));
  ASSERT_EQ(plain.size(), 2u);
  ASSERT_EQ(split.size(), 4u);
  const Bytes stream = 4096 * 4096 * 2;  // tokens x hidden in bf16
  for (const CollectiveWork& work : plain) EXPECT_EQ(work.kind, CollectiveKind::kAllReduce);
  for (const CollectiveWork& work : split) {
    EXPECT_NE(work.kind, CollectiveKind::kAllReduce);
    EXPECT_EQ(work.bytes, stream);
  }
  // Norms and residual sums pass over an eighth of the tokens.
  EXPECT_EQ(pass_bytes(forward_steps(model, chunk), StepOp::kNorm1) * 8, 2 * stream);
}

TEST(SplitSteps, ContextParallelSharesTokensAndPairs) {
  const ModelSpec model = shipped("llama-3.1-8b");
  ChunkShape chunk = one_layer(1);
  const double whole = flops(forward_steps(model, chunk));
  const double pairs = attention_flops(backward_steps(model, chunk));
  chunk.split.cp = 4;
  EXPECT_DOUBLE_EQ(flops(forward_steps(model, chunk)) * 4, whole);
  EXPECT_DOUBLE_EQ(attention_flops(backward_steps(model, chunk)) * 4, pairs);
  // Keys and values of all 4096 tokens: 8 heads of 128, twice, in bf16; with their gradients twice.
  const Bytes keys = 4096 * 2 * 8 * 128 * 2;
  EXPECT_EQ(collectives(forward_steps(model, chunk)).front().bytes, keys);
  EXPECT_EQ(collectives(backward_steps(model, chunk)).front().bytes, 2 * keys);
}

// Qwen3-30B-A3B: 128 experts of 768, 8 for a token, hidden 2048.
TEST(SplitSteps, ExpertParallelKeepsTheWorkOfARank) {
  const ModelSpec model = shipped("qwen3-30b-a3b");
  ChunkShape chunk = one_layer(1);
  const double alone = flops(forward_steps(model, chunk));
  chunk.split.ep = 8;
  chunk.split.etp = 1;
  const std::vector<Step> steps = forward_steps(model, chunk);
  EXPECT_DOUBLE_EQ(flops(steps), alone);  // fewer experts, each with as many more tokens
  const auto exchanges = collectives(steps);
  ASSERT_EQ(exchanges.size(), 2u);  // to the experts and back
  EXPECT_EQ(exchanges[0].bytes, 4096 * 2048 * 2);
  EXPECT_EQ(exchanges[0].copies, 8);
  for (const Step& step : steps) {
    if (step.op != StepOp::kExpertUp) continue;
    const auto& gemm = std::get<GemmWork>(step.work);
    EXPECT_EQ(gemm.count, 16);
    EXPECT_EQ(gemm.m, 8 * 4096 * 8 / 128);
    EXPECT_EQ(gemm.n, 2 * 768);
  }
}

// A benchmark's gate gives a token eight experts in a row: of 16 on a rank one rank holds them all,
// of 4 on a rank two do, and both are in one node.
TEST(SplitSteps, NeighbouringExpertsAreOnFewRanks) {
  ModelSpec model = shipped("qwen3-30b-a3b");
  for (LayerSpec& kind : model.kinds) kind.moe.neighbours = true;
  ChunkShape chunk = one_layer(1);
  for (const auto& [ep, ranks] : {std::pair{8, 1}, {32, 2}}) {
    chunk.split.ep = ep;
    for (const CollectiveWork& exchange : collectives(forward_steps(model, chunk))) {
      EXPECT_EQ(exchange.copies, ranks) << ep;
      EXPECT_EQ(exchange.max_instances, 1) << ep;
    }
  }
}

TEST(SplitSteps, TheBusiestRankHasTheImbalancesTokens) {
  ModelSpec model = shipped("qwen3-30b-a3b");
  for (LayerSpec& kind : model.kinds) kind.moe.load_imbalance = 1.5;
  ChunkShape chunk = one_layer(1);
  chunk.split.ep = 8;
  chunk.split.etp = 1;
  for (const Step& step : forward_steps(model, chunk)) {
    if (step.op != StepOp::kExpertUp) continue;
    EXPECT_EQ(std::get<GemmWork>(step.work).m, 3072);
  }
}

TEST(SplitSteps, UnfusedAttentionHasTheFlopsOfTheWholeSquare) {
  const ModelSpec model = shipped("llama-3.1-8b");
  ChunkShape chunk = one_layer(1);
  const double fused = flops(forward_steps(model, chunk));
  chunk.kernels.flash_attention = false;
  const std::vector<Step> steps = forward_steps(model, chunk);
  EXPECT_EQ(attention_flops(steps), 0);
  EXPECT_DOUBLE_EQ(flops(steps) - fused, 4.0 * 4096 * 4096 * 32 * 128);
  EXPECT_DOUBLE_EQ(flops(backward_steps(model, chunk)) - 2 * fused, 8.0 * 4096 * 4096 * 32 * 128);
}

TEST(SplitSteps, SelectiveRecomputationRunsItsModulesAgainAndNothingElse) {
  const ModelSpec model = shipped("llama-3.1-8b");
  ChunkShape chunk = one_layer(1);
  const double once = attention_flops(backward_steps(model, chunk));
  const double products = flops(backward_steps(model, chunk));
  const double forward = attention_flops(forward_steps(model, chunk));
  chunk.recompute_modules = kRecomputeCoreAttention;
  EXPECT_DOUBLE_EQ(attention_flops(backward_steps(model, chunk)), once + forward);
  EXPECT_DOUBLE_EQ(flops(backward_steps(model, chunk)), products);
}

// 4 f h^2: the layer's forward once more, in whole.
TEST(SplitSteps, WholeRecomputationAddsTheForward) {
  const ModelSpec model = shipped("llama-3.1-8b");
  ChunkShape chunk = one_layer(1);
  const double forward = flops(forward_steps(model, chunk));
  chunk.recompute = true;
  chunk.kernels.whole_recompute = true;
  EXPECT_DOUBLE_EQ(flops(backward_steps(model, chunk)), 3 * forward);
}

TEST(SplitSteps, QuantisedProductsKeepBf16Passes) {
  const ModelSpec model = shipped("llama-3.1-8b");
  ChunkShape chunk = one_layer(1);
  const Bytes norm = pass_bytes(forward_steps(model, chunk), StepOp::kNorm1);
  EXPECT_EQ(pass_bytes(forward_steps(model, chunk), StepOp::kQuantise), 0);
  chunk.type = DataType::kFp8;
  const std::vector<Step> steps = forward_steps(model, chunk);
  EXPECT_EQ(pass_bytes(steps, StepOp::kNorm1), norm);
  // Inputs of qkv, out, up and down: 4096 + 4096 + 4096 + 14336 columns, read as bf16 and written
  // twice as fp8.
  EXPECT_EQ(pass_bytes(steps, StepOp::kQuantise), Bytes{4} * 4096 * (3 * 4096 + 14336));
}

TEST(SplitSteps, MainGradientsCostEightBytesForEachWeight) {
  const ModelSpec model = shipped("llama-3.1-8b");
  ChunkShape chunk = one_layer(1);
  chunk.kernels.main_gradients = true;
  const Bytes weights = 4096 * (4096 + 2 * 1024 + 4096 + 3 * 14336);
  EXPECT_EQ(pass_bytes(backward_steps(model, chunk), StepOp::kAccumulate), 8 * weights);
  chunk.gradient_type = DataType::kBf16;
  EXPECT_EQ(pass_bytes(backward_steps(model, chunk), StepOp::kAccumulate), 4 * weights);
}

// 4.09 GMACs and 25.5 M weights without the norms': the figures of 1512.03385 and torchvision.
TEST(LayerList, ResNet50HasItsPublishedSize) {
  const ModelSpec model = shipped("resnet-50");
  EXPECT_NEAR(static_cast<double>(count_parameters(model).total()), 25.5e6, 0.1e6);
  ChunkShape chunk = one_layer(0);
  chunk.num_layers = model.layers();
  chunk.embedding = chunk.head = true;
  chunk.seq = 1;
  EXPECT_NEAR(flops(forward_steps(model, chunk)), 2 * 4.09e9, 0.02e9);
  EXPECT_DOUBLE_EQ(flops(backward_steps(model, chunk)), 2 * flops(forward_steps(model, chunk)));
}

TEST(LayerList, TheRecommendersTablesAreItsParameters) {
  const ModelSpec model = shipped("recommender");
  EXPECT_GT(count_parameters(model).total(), int64_t{26} * 1000000 * 128);
  EXPECT_LT(count_parameters(model).total(), int64_t{26} * 1000000 * 128 + 3000000);
}

}  // namespace
}  // namespace shardwright
