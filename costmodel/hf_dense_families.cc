#include <cmath>

#include "costmodel/hf_families.h"

namespace shardwright {
namespace {

void add_equal_layers(int64_t count, const LayerSpec& layer, ModelSpec* model) {
  for (int64_t i = 0; i < count; ++i) add_layer(layer, model);
}

void add_windowed_layers(const std::vector<int64_t>& windows, LayerSpec layer, ModelSpec* model) {
  for (int64_t window : windows) {
    layer.attention.window = window;
    add_layer(layer, model);
  }
}

MlpSpec read_gated_mlp(HfConfig& config) {
  return {config.fields.integer("intermediate_size", 1, kMaxFfnHidden), true, false};
}

void read_gpt2(HfConfig& config, ModelSpec* model) {
  Fields& fields = config.fields;
  model->hidden = fields.integer("n_embd", 1, kMaxHidden);
  model->vocab = fields.integer("vocab_size", 1, kMaxVocab);
  model->max_positions = fields.integer("n_positions", 1, kMaxPositions);
  model->tied_embeddings = fields.boolean_or("tie_word_embeddings", true);
  model->norm = Norm::kLayerNorm;
  model->norm_eps = fields.number_or("layer_norm_epsilon", 1e-5, 1e-30, 1.0);
  model->position = Position::kLearned;
  model->activation = read_activation(config, "activation_function", "gelu_new");

  LayerSpec layer;
  AttentionSpec& attention = layer.attention;
  attention.heads = attention.kv_heads = fields.integer("n_head", 1, kMaxHeads);
  attention.head_dim = attention.v_head_dim = model->hidden / attention.heads;
  if (model->hidden % attention.heads != 0) {
    fields.fail("n_head", std::to_string(attention.heads),
                "a divisor of n_embd = " + std::to_string(model->hidden));
  }
  attention.qkv_bias = attention.out_bias = true;
  layer.mlp = {fields.integer_or("n_inner", 4 * model->hidden, 1, kMaxFfnHidden), false, true};
  add_equal_layers(fields.integer("n_layer", 1, kMaxLayers), layer, model);
}

void read_llama(HfConfig& config, ModelSpec* model) {
  const HfDefaults defaults;
  read_llama_like(config, defaults, model);
  LayerSpec layer;
  layer.attention = read_attention(config, defaults, model->hidden);
  layer.attention.qkv_bias = config.fields.boolean_or("attention_bias", false);
  layer.attention.out_bias = layer.attention.qkv_bias;
  layer.mlp = read_gated_mlp(config);
  layer.mlp.bias = config.fields.boolean_or("mlp_bias", false);
  add_equal_layers(read_layers(config), layer, model);
}

void read_mistral(HfConfig& config, ModelSpec* model) {
  HfDefaults defaults;
  defaults.kv_heads = 8;
  read_llama_like(config, defaults, model);
  LayerSpec layer;
  layer.attention = read_attention(config, defaults, model->hidden);
  layer.attention.window = read_window(config, 4096);
  layer.mlp = read_gated_mlp(config);
  add_equal_layers(read_layers(config), layer, model);
}

void read_phi3(HfConfig& config, ModelSpec* model) {
  HfDefaults defaults;
  defaults.norm_eps = 1e-5;
  read_llama_like(config, defaults, model);
  LayerSpec layer;
  layer.attention = read_attention(config, defaults, model->hidden);
  layer.attention.window = read_window(config, 0);
  layer.mlp = read_gated_mlp(config);
  add_equal_layers(read_layers(config), layer, model);
}

// qwen2 and qwen3 slide from layer max_window_layers on, and only when use_sliding_window asks.
std::vector<int64_t> read_qwen_windows(HfConfig& config) {
  const int64_t layers = read_layers(config);
  if (!config.fields.boolean_or("use_sliding_window", false)) {
    return std::vector<int64_t>(layers, 0);
  }
  const int64_t first = config.fields.integer_or("max_window_layers", 28, 0, kMaxLayers);
  return read_layer_windows(config, layers, read_window(config, 4096),
                            [first](int64_t layer) { return layer >= first; });
}

void read_qwen2(HfConfig& config, ModelSpec* model) {
  HfDefaults defaults;
  defaults.kv_heads = 32;
  read_llama_like(config, defaults, model);
  LayerSpec layer;
  layer.attention = read_attention(config, defaults, model->hidden);
  layer.attention.qkv_bias = true;
  layer.mlp = read_gated_mlp(config);
  add_windowed_layers(read_qwen_windows(config), layer, model);
}

void read_qwen3(HfConfig& config, ModelSpec* model) {
  HfDefaults defaults;
  defaults.kv_heads = 32;
  defaults.head_dim = 128;
  read_llama_like(config, defaults, model);
  LayerSpec layer;
  layer.attention = read_attention(config, defaults, model->hidden);
  layer.attention.qk_norm = true;
  layer.attention.qkv_bias = config.fields.boolean_or("attention_bias", false);
  layer.attention.out_bias = layer.attention.qkv_bias;
  layer.mlp = read_gated_mlp(config);
  add_windowed_layers(read_qwen_windows(config), layer, model);
}

void read_gpt_neox(HfConfig& config, ModelSpec* model) {
  Fields& fields = config.fields;
  const HfDefaults defaults;
  model->rotary_fraction = fields.number_or("rotary_pct", 0.25, 0.01, 1.0);
  read_llama_like(config, defaults, model);
  if (fields.has("rotary_emb_base")) {
    model->rope_theta = fields.number("rotary_emb_base", 1.0, 1e15);
  }
  model->norm = Norm::kLayerNorm;
  model->norm_eps = fields.number_or("layer_norm_eps", 1e-5, 1e-30, 1.0);
  model->activation = read_activation(config, "hidden_act", "gelu");
  model->parallel_residual = fields.boolean_or("use_parallel_residual", true);
  LayerSpec layer;
  layer.attention = read_attention(config, defaults, model->hidden);
  layer.attention.qkv_bias = layer.attention.out_bias = fields.boolean_or("attention_bias", true);
  layer.mlp = {fields.integer("intermediate_size", 1, kMaxFfnHidden), false, true};
  add_equal_layers(read_layers(config), layer, model);
}

void read_gemma2(HfConfig& config, ModelSpec* model) {
  Fields& fields = config.fields;
  HfDefaults defaults;
  defaults.kv_heads = 4;
  defaults.head_dim = 256;
  defaults.tied = true;
  read_llama_like(config, defaults, model);
  model->activation = read_activation(config, "hidden_activation", "gelu_pytorch_tanh");
  model->embedding_scale = std::sqrt(static_cast<double>(model->hidden));
  // Null switches a soft cap off; absent means the class's own.
  const auto read_cap = [&](const char* key, double absent_default) {
    return fields.number_or(key, config.absent(key) ? absent_default : 0.0, 1e-3, 1e6);
  };
  model->attention_softcap = read_cap("attn_logit_softcapping", 50.0);
  model->logit_softcap = read_cap("final_logit_softcapping", 30.0);
  LayerSpec layer;
  layer.attention = read_attention(config, defaults, model->hidden);
  layer.attention.qkv_bias = layer.attention.out_bias = fields.boolean_or("attention_bias", false);
  layer.mlp = read_gated_mlp(config);
  layer.norms = 4;  // before and after both attention and MLP
  const auto every_other = [](int64_t index) { return index % 2 == 0; };
  add_windowed_layers(
      read_layer_windows(config, read_layers(config), read_window(config, 4096), every_other),
      layer, model);
}

}  // namespace

const std::vector<HfFamily>& dense_families() {
  static const std::vector<HfFamily> kFamilies = {
      {"gemma2", read_gemma2}, {"gpt2", read_gpt2},       {"gpt_neox", read_gpt_neox},
      {"llama", read_llama},   {"mistral", read_mistral}, {"phi3", read_phi3},
      {"qwen2", read_qwen2},   {"qwen3", read_qwen3},
  };
  return kFamilies;
}

}  // namespace shardwright
