// Shapes of one layer's work on one rank, shared by the forward and the backward step lists.
#pragma once

#include "costmodel/steps.h"

namespace shardwright {

// Everything local: divided by tp and cp, experts by etp and ep, where the layer is split.
struct LayerShape {
  LayerShape(const ModelSpec& model, const ChunkShape& chunk, const LayerSpec& layer);

  GemmWork gemm(GemmLayout layout, int64_t out, int64_t in, int64_t rows, int64_t count = 1) const;
  PassWork pass(PassKind kind, int64_t rows, int64_t cols, double touches, int64_t count = 1) const;
  // The sum of [tokens, cols] over tp: to all of them, or scattered by tokens.
  CollectiveWork reduce(int64_t cols) const;
  Work listed(const ListedOp& op) const;      // forward
  CollectiveWork gather(int64_t cols) const;  // sequence parallel: [tokens, cols] of all tp
  AttentionWork attention(bool backward) const;
  GemmWork scores(
      GemmLayout layout) const;  // q k^T of all heads; context() has its two sizes swapped
  // What cp ranks exchange around one attention.
  CollectiveWork context_exchange(bool backward) const;
  // Tokens to their experts' ranks; also the way back.
  CollectiveWork expert_exchange(bool per_instance) const;

  bool quantised() const { return storage_of(type) != type; }
  bool sequence_parallel() const { return stream != tokens; }

  int64_t tokens, hidden, tp;
  int64_t stream;  // rows of the residual stream: tokens, or tokens / tp
  DataType type;   // of the products; everything else is in storage_of(type)
  int64_t micro_batch, seq;
  Split split;
  bool skips_windows;
  const LayerSpec& layer;
  int64_t qkv_out;       // rows of the fused projection; 0 for latent attention
  int64_t latent_width;  // q_lora_rank + kv_lora_rank + rope part, replicated over tp
  int64_t latent_q_in, latent_q_out, latent_kv_out;
  int64_t rotated;    // columns of queries and keys that RoPE or their norm passes over
  int64_t context;    // input columns of the output projection
  int64_t dense_ffn;  // dense MLP or shared experts; 0 when the layer has neither
  int64_t dense_up;   // 2 * dense_ffn when gated
  int64_t expert_ffn, expert_up, experts,  // experts: of the whole layer
      local_experts,                       // on this rank
      expert_rows;                         // tokens of one expert, on the busiest rank
  bool gated;

  int64_t copies() const { return local_experts * expert_rows; }  // rows of the grouped products
  // Elements of the layer's matrices on this rank.
  int64_t weights() const;
};

// The passes that depend on the model's kinds.
PassKind norm_pass(const ModelSpec& model, bool backward);
PassKind activation_pass(bool gated, bool backward);

}  // namespace shardwright
