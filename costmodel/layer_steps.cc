#include "costmodel/layer_steps.h"

#include <algorithm>

namespace shardwright {

LayerShape::LayerShape(const ModelSpec& model, const ChunkShape& chunk, const LayerSpec& spec)
    : tokens(chunk.tokens()),
      hidden(model.hidden),
      tp(chunk.tp),
      type(chunk.type),
      micro_batch(chunk.micro_batch),
      seq(chunk.seq),
      layer(spec) {
  const AttentionSpec& a = spec.attention;
  qkv_out = a.mla() ? 0 : (a.q_width() + 2 * a.kv_width()) / tp;
  latent_width = a.mla() ? a.q_lora_rank + a.kv_lora_rank + a.qk_rope_head_dim : 0;
  latent_q_in = a.q_lora_rank > 0 ? a.q_lora_rank : hidden;
  latent_q_out = a.mla() ? a.q_width() / tp : 0;
  latent_kv_out = a.mla() ? a.heads * (a.qk_nope_head_dim + a.v_head_dim) / tp : 0;
  rotated = (a.mla() ? (a.heads + 1) * a.qk_rope_head_dim : a.q_width() + a.kv_width()) / tp;
  context = a.out_width() / tp;
  const bool moe = spec.moe.experts > 0;
  gated = spec.mlp.gated || moe;
  dense_ffn = (moe ? spec.moe.shared_ffn_hidden : spec.mlp.ffn_hidden) / tp;
  dense_up = gated ? 2 * dense_ffn : dense_ffn;
  experts = spec.moe.experts;
  expert_ffn = moe ? spec.moe.ffn_hidden / tp : 0;
  expert_up = 2 * expert_ffn;
  expert_rows = moe ? std::max<int64_t>(1, tokens * spec.moe.top_k / experts) : 0;
}

GemmWork LayerShape::gemm(GemmLayout layout, int64_t out, int64_t in, int64_t rows,
                          int64_t count) const {
  GemmWork work{layout, rows, out, in, count, type};
  if (layout == GemmLayout::kInputGrad) std::swap(work.n, work.k);
  if (layout == GemmLayout::kWeightGrad) {
    work.m = out;
    work.n = in;
    work.k = rows;
  }
  return work;
}

PassWork LayerShape::pass(PassKind kind, int64_t rows, int64_t cols, double touches) const {
  const double bytes =
      touches * static_cast<double>(rows * cols) * static_cast<double>(size_of(storage_of(type)));
  return {kind, rows, cols, static_cast<Bytes>(bytes)};
}

CollectiveWork LayerShape::reduce(int64_t cols) const {
  return {CollectiveKind::kAllReduce, Axis::kTp, tokens * cols * size_of(storage_of(type))};
}

AttentionWork LayerShape::attention(bool backward) const {
  const AttentionSpec& a = layer.attention;
  return {
      backward,   micro_batch,  seq,      a.heads / tp,    std::max<int64_t>(1, a.kv_heads / tp),
      a.head_dim, a.v_head_dim, a.window, storage_of(type)};
}

PassKind norm_pass(const ModelSpec& model, bool backward) {
  if (model.norm == Norm::kLayerNorm) {
    return backward ? PassKind::kLayerNormGrad : PassKind::kLayerNorm;
  }
  return backward ? PassKind::kRmsNormGrad : PassKind::kRmsNorm;
}

PassKind activation_pass(bool gated, bool backward) {
  if (gated) return backward ? PassKind::kSwiGluGrad : PassKind::kSwiGlu;
  return backward ? PassKind::kGeluGrad : PassKind::kGelu;
}

}  // namespace shardwright
