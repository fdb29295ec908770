#include <gtest/gtest.h>

#include "planner/records/run_case.h"

namespace shardwright {
namespace {

// A GPT of L layers: 12 h^2 weights a layer in matrix products.
ModelSpec gpt(int64_t layers, int64_t hidden, int64_t vocab) {
  ModelSpec model;
  model.hidden = hidden;
  model.vocab = vocab;
  model.tied_embeddings = true;
  LayerSpec layer;
  layer.attention = {.heads = 8, .kv_heads = 8, .head_dim = hidden / 8};
  layer.attention.v_head_dim = layer.attention.head_dim;
  layer.mlp = {4 * hidden, false, false};
  model.kinds = {layer};
  model.layer_kind.assign(static_cast<size_t>(layers), 0);
  return model;
}

// Narayanan et al. (2104.04473), equation 3: 96 B s l h^2 (1 + s / 6h + V / 16 l h), per token.
TEST(FlopsFormula, HfuIsEquation3) {
  const double l = 10, h = 512, s = 1024, v = 3200;
  const double expected = 96 * l * h * h * (1 + s / (6 * h) + v / (16 * l * h));
  EXPECT_NEAR(*flops_per_token("hfu", gpt(10, 512, 3200), 1024), expected, 1e-9 * expected);
}

TEST(FlopsFormula, ConventionsDifferByAttentionAndRecomputation) {
  const ModelSpec model = gpt(10, 512, 3200);
  const double weights = 12.0 * 10 * 512 * 512, logits = 3200.0 * 512, square = 10.0 * 1024 * 512;
  EXPECT_DOUBLE_EQ(*flops_per_token("full", model, 1024), 6 * (weights + logits) + 12 * square);
  EXPECT_DOUBLE_EQ(*flops_per_token("causal", model, 1024), 6 * (weights + logits) + 6 * square);
  EXPECT_DOUBLE_EQ(*flops_per_token("old", model, 1024), 8 * weights);
  EXPECT_FALSE(flops_per_token("unheard of", model, 1024));
}

}  // namespace
}  // namespace shardwright
