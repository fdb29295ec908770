#include "executor/model/weights.h"

#include <gtest/gtest.h>

#include <cmath>
#include <nlohmann/json.hpp>

#include "costmodel/hf_config.h"
#include "executor/cpu/cpu_ops.h"
#include "executor/model/init.h"

namespace shardwright {
namespace {

ModelSpec model() {
  return read_hf_config(Json{{"model_type", "llama"},
                             {"hidden_size", 8},
                             {"num_hidden_layers", 2},
                             {"num_attention_heads", 4},
                             {"num_key_value_heads", 2},
                             {"intermediate_size", 12},
                             {"vocab_size", 7},
                             {"max_position_embeddings", 16},
                             {"rms_norm_eps", 1e-5},
                             {"tie_word_embeddings", false}},
                        "test")
      .value();
}

ChunkShape whole(int64_t tp) {
  ChunkShape chunk;
  chunk.num_layers = 2;
  chunk.embedding = chunk.head = true;
  chunk.tp = tp;
  chunk.seq = 4;
  return chunk;
}

const float* floats(const void* values) { return static_cast<const float*>(values); }

TEST(Weights, ValuesFollowNameAndGlobalIndex) {
  const auto ops = make_cpu_ops(0);
  const ModelSpec spec = model();
  const Weights second(*ops, spec, whole(2), 1, OptimizerKind::kAdamW, {11, 0.02f});
  // Second half of the rows of k, below 2 of the 4 heads of q (4 rows).
  const float* qkv = floats(second.value("layers.1.qkv.weight"));
  for (int64_t col = 0; col < 8; ++col) {
    const uint64_t global = static_cast<uint64_t>(2 * 8 + col);
    EXPECT_EQ(qkv[4 * 8 + col], 0.02f * init_normal("layers.1.attention.k.weight", global, 11));
  }
  // Row-parallel: columns 4..7 of row 3.
  const float* out = floats(second.value("layers.0.attention.out.weight"));
  const float std = static_cast<float>(0.02f / std::sqrt(4.0));
  EXPECT_EQ(out[3 * 4 + 1], std * init_normal("layers.0.attention.out.weight", 3 * 8 + 5, 11));
}

TEST(Weights, PaddedVocabularyRowsAreZero) {
  const auto ops = make_cpu_ops(0);
  const ModelSpec spec = model();
  const Weights second(*ops, spec, whole(2), 1, OptimizerKind::kSgd, {});
  const float* table = floats(second.value("embedding.tokens"));  // rows 4..7 of 7
  for (int64_t col = 0; col < 8; ++col) {
    EXPECT_NE(table[2 * 8 + col], 0.0f);
    EXPECT_EQ(table[3 * 8 + col], 0.0f);
  }
}

TEST(Weights, SquareSumCountsReplicatedOnce) {
  const auto ops = make_cpu_ops(0);
  const ModelSpec spec = model();
  double sums = 0;
  for (int64_t index : {0, 1}) {
    const Weights weights(*ops, spec, whole(2), index, OptimizerKind::kSgd, {});
    ops->fill(weights.grads(), 1.0f, weights.size());
    weights.counted_square_sum(&sums);
  }
  // Every element once, and the one padding row of each of the two tables.
  EXPECT_EQ(sums, static_cast<double>(count_parameters(spec).total() + 2 * 8));
}

TEST(Weights, AllocatesWhatMemoryPredicts) {
  const ModelSpec spec = model();
  for (const OptimizerKind kind : {OptimizerKind::kSgd, OptimizerKind::kAdamW}) {
    const auto ops = make_cpu_ops(0);
    const Weights weights(*ops, spec, whole(1), 0, kind, {});
    EXPECT_EQ(ops->live_bytes(), chunk_memory(spec, whole(1), kind).persistent());
  }
}

}  // namespace
}  // namespace shardwright
