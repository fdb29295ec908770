#include "costmodel/model_spec.h"

namespace shardwright {
namespace {

// Weights of one norm over `width`: LayerNorm has a bias besides.
int64_t norm_parameters(const ModelSpec& model, int64_t width) {
  return model.norm == Norm::kLayerNorm ? 2 * width : width;
}

int64_t count_ordinary_attention(const AttentionSpec& a, int64_t hidden) {
  const int64_t qkv_width = a.q_width() + 2 * a.kv_width();
  int64_t count = hidden * qkv_width + a.out_width() * hidden;
  if (a.qkv_bias) count += qkv_width;
  if (a.out_bias) count += hidden;
  if (a.qk_norm) count += 2 * a.head_dim;
  if (a.sinks) count += a.heads;
  return count;
}

// Keys and values come from one compressed vector of kv_lora_rank (normed) and one rotary key that
// all heads share; queries likewise when q_lora_rank > 0. Only the projections from hidden have
// biases.
int64_t count_latent_attention(const AttentionSpec& a, int64_t hidden) {
  const int64_t kv_down = a.kv_lora_rank + a.qk_rope_head_dim;
  const int64_t kv_up = a.heads * (a.qk_nope_head_dim + a.v_head_dim);
  int64_t count = hidden * kv_down + a.kv_lora_rank + a.kv_lora_rank * kv_up;
  count += a.q_lora_rank > 0 ? hidden * a.q_lora_rank + a.q_lora_rank + a.q_lora_rank * a.q_width()
                             : hidden * a.q_width();
  count += a.out_width() * hidden;
  if (a.qkv_bias) count += a.q_lora_rank + kv_down;
  if (a.out_bias) count += hidden;
  return count;
}

int64_t count_mlp(const MlpSpec& mlp, int64_t hidden) {
  const int64_t up_width = (mlp.gated ? 2 : 1) * mlp.ffn_hidden;
  return hidden * up_width + mlp.ffn_hidden * hidden + (mlp.bias ? up_width + hidden : 0);
}

// All experts, routed and shared, are gated MLPs.
int64_t count_expert(const MoeSpec& moe, int64_t hidden) {
  return count_mlp({moe.ffn_hidden, true, moe.expert_bias}, hidden);
}

int64_t count_router(const MoeSpec& moe, int64_t hidden) {
  return moe.experts * (hidden + (moe.router_bias ? 1 : 0) + (moe.score_correction ? 1 : 0));
}

}  // namespace

LayerParameters count_layer(const ModelSpec& model, const LayerSpec& layer) {
  LayerParameters count;
  for (const ListedOp& op : layer.ops) count.mlp += op.parameters();
  if (!layer.ops.empty()) return count;
  count.attention = layer.attention.mla() ? count_latent_attention(layer.attention, model.hidden)
                                          : count_ordinary_attention(layer.attention, model.hidden);
  count.norms = layer.norms * norm_parameters(model, model.hidden);
  if (layer.moe.experts == 0) {
    count.mlp = count_mlp(layer.mlp, model.hidden);
    return count;
  }
  if (layer.moe.shared_ffn_hidden > 0) {
    count.mlp = count_mlp({layer.moe.shared_ffn_hidden, true, false}, model.hidden);
  }
  count.router = count_router(layer.moe, model.hidden);
  count.experts = layer.moe.experts * count_expert(layer.moe, model.hidden);
  return count;
}

ParameterCount count_parameters(const ModelSpec& model) {
  ParameterCount count;
  if (model.layer_list()) {
    for (int kind : model.layer_kind) count.layers += count_layer(model, model.kinds[kind]).total();
    return count;
  }
  const int64_t positions = model.position == Position::kLearned ? model.max_positions : 0;
  count.embedding = (model.vocab + positions) * model.hidden;
  for (int kind : model.layer_kind) count.layers += count_layer(model, model.kinds[kind]).total();
  count.final_norm = norm_parameters(model, model.hidden);
  count.head = (model.tied_embeddings ? 0 : model.vocab * model.hidden) +
               (model.head_bias ? model.vocab : 0);
  return count;
}

int64_t count_active_parameters(const ModelSpec& model) {
  int64_t count = count_parameters(model).total();
  for (int kind : model.layer_kind) {
    const MoeSpec& moe = model.kinds[kind].moe;
    count -= (moe.experts - moe.top_k) * count_expert(moe, model.hidden);
  }
  return count;
}

}  // namespace shardwright
