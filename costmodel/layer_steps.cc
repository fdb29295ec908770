#include "costmodel/layer_steps.h"

#include <algorithm>

namespace shardwright {

LayerShape::LayerShape(const ModelSpec& model, const ChunkShape& chunk, const LayerSpec& spec)
    : tokens(chunk.tokens()),
      hidden(model.hidden),
      tp(chunk.tp),
      stream(chunk.split.sequence_parallel ? ceil_div(chunk.tokens(), chunk.tp) : chunk.tokens()),
      type(chunk.type),
      micro_batch(chunk.micro_batch),
      seq(chunk.seq),
      split(chunk.split),
      skips_windows(chunk.kernels.skips_windows),
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
  const int64_t etp = split.expert_tp(tp);
  expert_ffn = moe ? spec.moe.ffn_hidden / etp : 0;
  expert_up = 2 * expert_ffn;
  local_experts = moe ? experts / split.ep : 0;
  // A stage's ep * etp ranks bring tokens / tp each; every expert tensor-parallel rank sees them.
  const double rows = static_cast<double>(tokens * spec.moe.top_k * split.ep * etp) /
                      static_cast<double>(tp) * spec.moe.load_imbalance;
  expert_rows = moe ? std::max<int64_t>(1, static_cast<int64_t>(rows) / experts) : 0;
}

Work LayerShape::listed(const ListedOp& op) const {
  const int64_t rows = op.rows * micro_batch;
  switch (op.kind) {
    case ListedOp::Kind::kGemm:
      return gemm(GemmLayout::kForward, op.out, op.in, rows);
    case ListedOp::Kind::kPass:
      return pass(PassKind::kCopy, rows, op.out, op.touches);
    case ListedOp::Kind::kLookup:
      break;
  }
  return pass(PassKind::kEmbedding, rows, op.out, 2);
}

int64_t LayerShape::weights() const {
  int64_t listed_weights = 0;
  for (const ListedOp& op : layer.ops) listed_weights += op.parameters();
  if (!layer.ops.empty()) return listed_weights;
  const AttentionSpec& a = layer.attention;
  const int64_t up_to_heads =
      a.mla() ? latent_width * hidden + latent_q_out * latent_q_in + latent_kv_out * a.kv_lora_rank
              : qkv_out * hidden;
  return up_to_heads + context * hidden + (dense_up + dense_ffn + experts) * hidden +
         local_experts * (expert_up + expert_ffn) * hidden;
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

PassWork LayerShape::pass(PassKind kind, int64_t rows, int64_t cols, double touches,
                          int64_t count) const {
  const double bytes = touches * static_cast<double>(count * rows * cols) *
                       static_cast<double>(size_of(storage_of(type)));
  return {kind, rows, cols, static_cast<Bytes>(bytes), count};
}

CollectiveWork LayerShape::reduce(int64_t cols) const {
  const auto kind =
      sequence_parallel() ? CollectiveKind::kReduceScatter : CollectiveKind::kAllReduce;
  return {kind, Axis::kTp, tokens * cols * size_of(storage_of(type))};
}

CollectiveWork LayerShape::gather(int64_t cols) const {
  return {CollectiveKind::kAllGather, Axis::kTp, tokens * cols * size_of(storage_of(type))};
}

CollectiveWork LayerShape::context_exchange(bool backward) const {
  const AttentionSpec& a = layer.attention;
  const Bytes size = size_of(storage_of(type));
  const int64_t kv = a.mla() ? a.heads * (a.head_dim + a.v_head_dim) / tp : 2 * a.kv_width() / tp;
  if (split.cp_kind == CpKind::kAllToAll) {
    const int64_t columns = a.q_width() / tp + kv + context;
    return {CollectiveKind::kAllToAll, Axis::kCp, tokens * columns * size};
  }
  // Keys and values of all members pass by; backward their gradients travel with them.
  return {CollectiveKind::kAllGather, Axis::kCp,
          tokens * split.cp * kv * size * (backward ? 2 : 1)};
}

CollectiveWork LayerShape::expert_exchange(bool per_instance) const {
  const int64_t rows = ceil_div(tokens, tp);
  // Experts in a row are on as few ranks as hold so many, and these in one node as long as it has
  // as many.
  const bool near = layer.moe.neighbours;
  return {.kind = CollectiveKind::kAllToAll,
          .axis = Axis::kEp,
          .bytes = rows * hidden * size_of(storage_of(type)),
          .copies = near ? ceil_div(layer.moe.top_k, local_experts) : layer.moe.top_k,
          .per_instance = per_instance,
          .max_instances = near ? 1 : layer.moe.route_groups};
}

GemmWork LayerShape::scores(GemmLayout layout) const {
  const AttentionSpec& a = layer.attention;
  const int64_t count = std::max<int64_t>(1, micro_batch * a.heads / tp / split.cp);
  GemmWork work{layout, seq, seq, a.head_dim, count, storage_of(type)};
  if (layout != GemmLayout::kForward) std::swap(work.n, work.k);
  return work;
}

AttentionWork LayerShape::attention(bool backward) const {
  const AttentionSpec& a = layer.attention;
  return {backward,
          micro_batch,
          seq,
          a.heads / tp,
          std::max<int64_t>(1, a.kv_heads / tp),
          a.head_dim,
          a.v_head_dim,
          skips_windows ? a.window : 0,
          storage_of(type),
          split.cp};
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
