#include <algorithm>

#include "costmodel/hf_families.h"

namespace shardwright {
namespace {

void read_mixtral(HfConfig& config, ModelSpec* model) {
  HfDefaults defaults;
  defaults.kv_heads = 8;
  defaults.norm_eps = 1e-5;
  defaults.rope_theta = 1e6;
  read_llama_like(config, defaults, model);
  LayerSpec layer;
  layer.attention = read_attention(config, defaults, model->hidden);
  layer.attention.window = read_window(config, 0);
  layer.moe = read_experts(config, "num_local_experts", "num_experts_per_tok", "intermediate_size");
  const int64_t layers = read_layers(config);
  for (int64_t i = 0; i < layers; ++i) add_layer(layer, model);
}

// The layers that keep a dense MLP although decoder_sparse_step gives them experts.
std::vector<int64_t> read_dense_layers(HfConfig& config, int64_t layers) {
  if (!config.fields.has("mlp_only_layers")) return {};
  return config.fields.integers("mlp_only_layers", 0, layers - 1);
}

void read_qwen3_moe(HfConfig& config, ModelSpec* model) {
  Fields& fields = config.fields;
  HfDefaults defaults;
  defaults.kv_heads = 4;
  read_llama_like(config, defaults, model);
  LayerSpec dense;
  dense.attention = read_attention(config, defaults, model->hidden);
  dense.attention.qk_norm = true;
  dense.attention.qkv_bias = dense.attention.out_bias = fields.boolean_or("attention_bias", false);
  // Unlike in qwen3, all layers slide when any does.
  if (fields.boolean_or("use_sliding_window", false)) {
    dense.attention.window = read_window(config, 4096);
  }
  LayerSpec sparse = dense;
  sparse.moe = read_experts(config, "num_experts", "num_experts_per_tok", "moe_intermediate_size");
  dense.mlp = {fields.integer("intermediate_size", 1, kMaxFfnHidden), true, false};

  const int64_t layers = read_layers(config);
  const int64_t step = fields.integer_or("decoder_sparse_step", 1, 1, kMaxLayers);
  const std::vector<int64_t> keep_dense = read_dense_layers(config, layers);
  for (int64_t i = 0; i < layers; ++i) {
    const bool listed = std::count(keep_dense.begin(), keep_dense.end(), i) > 0;
    add_layer(listed || (i + 1) % step != 0 ? dense : sparse, model);
  }
}

// Queries and keys are a part without position (nope) and a rotary part. Every head has its own
// keys and values once they are expanded.
AttentionSpec read_latent_attention(HfConfig& config) {
  Fields& fields = config.fields;
  AttentionSpec attention;
  attention.heads = attention.kv_heads = fields.integer("num_attention_heads", 1, kMaxHeads);
  const int64_t kv_heads = fields.integer_or("num_key_value_heads", attention.heads, 1, kMaxHeads);
  if (kv_heads != attention.heads) {
    fields.fail("num_key_value_heads", std::to_string(kv_heads),
                "num_attention_heads = " + std::to_string(attention.heads));
  }
  attention.q_lora_rank =
      fields.integer_or("q_lora_rank", config.absent("q_lora_rank") ? 1536 : 0, 1, kMaxHidden);
  attention.kv_lora_rank = fields.integer("kv_lora_rank", 1, kMaxHidden);
  attention.qk_nope_head_dim = fields.integer("qk_nope_head_dim", 1, kMaxHeadDim);
  attention.qk_rope_head_dim = fields.integer("qk_rope_head_dim", 1, kMaxHeadDim);
  attention.v_head_dim = fields.integer("v_head_dim", 1, kMaxHeadDim);
  attention.head_dim = attention.qk_nope_head_dim + attention.qk_rope_head_dim;
  attention.qkv_bias = attention.out_bias = fields.boolean_or("attention_bias", false);
  return attention;
}

// The published total, 671,026,419,200, counts e_score_correction_bias and the norms of the
// compressed vectors, not the multi-token-prediction module.
MoeSpec read_deepseek_experts(HfConfig& config) {
  MoeSpec moe =
      read_experts(config, "n_routed_experts", "num_experts_per_tok", "moe_intermediate_size");
  moe.shared_ffn_hidden =
      moe.ffn_hidden * config.fields.integer_or("n_shared_experts", 1, 0, kMaxExperts);
  moe.score_correction = config.fields.text_or("topk_method", "noaux_tc") == "noaux_tc";
  return moe;
}

void read_deepseek_v3(HfConfig& config, ModelSpec* model) {
  Fields& fields = config.fields;
  read_llama_like(config, {}, model);
  LayerSpec dense;
  dense.attention = read_latent_attention(config);
  LayerSpec sparse = dense;
  dense.mlp = {fields.integer("intermediate_size", 1, kMaxFfnHidden), true, false};
  sparse.moe = read_deepseek_experts(config);
  model->mtp_layers = fields.integer_or("num_nextn_predict_layers", 0, 0, kMaxLayers);

  const int64_t layers = read_layers(config);
  const int64_t first_sparse = fields.integer_or("first_k_dense_replace", 3, 0, layers);
  const int64_t step = fields.integer_or("moe_layer_freq", 1, 1, kMaxLayers);
  for (int64_t i = 0; i < layers; ++i) {
    add_layer(i >= first_sparse && i % step == 0 ? sparse : dense, model);
  }
}

void read_gpt_oss(HfConfig& config, ModelSpec* model) {
  HfDefaults defaults;
  defaults.kv_heads = 8;
  defaults.head_dim = 64;
  defaults.norm_eps = 1e-5;
  defaults.rope_theta = 150000.0;
  read_llama_like(config, defaults, model);
  LayerSpec layer;
  layer.attention = read_attention(config, defaults, model->hidden);
  layer.attention.sinks = true;
  layer.attention.qkv_bias = config.fields.boolean_or("attention_bias", true);
  layer.attention.out_bias = layer.attention.qkv_bias;
  layer.moe = read_experts(config, "num_local_experts", "num_experts_per_tok", "intermediate_size");
  layer.moe.router_bias = layer.moe.expert_bias = true;
  const auto every_other = [](int64_t index) { return index % 2 == 0; };
  for (int64_t window :
       read_layer_windows(config, read_layers(config), read_window(config, 128), every_other)) {
    layer.attention.window = window;
    add_layer(layer, model);
  }
}

}  // namespace

const std::vector<HfFamily>& moe_families() {
  static const std::vector<HfFamily> kFamilies = {
      {"deepseek_v3", read_deepseek_v3},
      {"gpt_oss", read_gpt_oss},
      {"mixtral", read_mixtral},
      {"qwen3_moe", read_qwen3_moe},
  };
  return kFamilies;
}

}  // namespace shardwright
