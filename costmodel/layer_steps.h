// Shapes of one layer's work on one rank, shared by the forward and the backward step lists.
#pragma once

#include "costmodel/steps.h"

namespace shardwright {

// Everything local: divided by tp where the layer is split.
struct LayerShape {
  LayerShape(const ModelSpec& model, const ChunkShape& chunk, const LayerSpec& layer);

  GemmWork gemm(GemmLayout layout, int64_t out, int64_t in, int64_t rows, int64_t count = 1) const;
  PassWork pass(PassKind kind, int64_t rows, int64_t cols, double touches) const;
  CollectiveWork reduce(int64_t cols) const;  // all-reduce of [tokens, cols] over tp
  AttentionWork attention(bool backward) const;

  int64_t tokens, hidden, tp;
  DataType type;
  int64_t micro_batch, seq;
  const LayerSpec& layer;
  int64_t qkv_out;       // rows of the fused projection; 0 for latent attention
  int64_t latent_width;  // q_lora_rank + kv_lora_rank + rope part, replicated over tp
  int64_t latent_q_in, latent_q_out, latent_kv_out;
  int64_t rotated;    // columns of queries and keys that RoPE or their norm passes over
  int64_t context;    // input columns of the output projection
  int64_t dense_ffn;  // dense MLP or shared experts; 0 when the layer has neither
  int64_t dense_up;   // 2 * dense_ffn when gated
  int64_t expert_ffn, expert_up, experts,
      expert_rows;  // expert_rows: tokens of one expert, balanced load
  bool gated;
};

// The passes that depend on the model's kinds.
PassKind norm_pass(const ModelSpec& model, bool backward);
PassKind activation_pass(bool gated, bool backward);

}  // namespace shardwright
