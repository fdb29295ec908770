#include "costmodel/hf_families.h"

#include <map>
#include <nlohmann/json.hpp>

namespace shardwright {
namespace {

// Key-value heads are shared by equally many heads each.
int64_t read_kv_heads(HfConfig& config, int64_t absent_default, int64_t heads) {
  const char* key = "num_key_value_heads";
  const int64_t fallback = config.absent(key) && absent_default > 0 ? absent_default : heads;
  const int64_t kv_heads = config.fields.integer_or(key, fallback, 1, kMaxHeads);
  if (kv_heads > heads || heads % kv_heads != 0) {
    config.fields.fail(key, std::to_string(kv_heads),
                       "a divisor of num_attention_heads = " + std::to_string(heads));
  }
  return kv_heads;
}

int64_t read_head_dim(HfConfig& config, int64_t class_default, int64_t hidden, int64_t heads) {
  const char* key = "head_dim";
  if (config.fields.has(key)) return config.fields.integer(key, 1, kMaxHeadDim);
  // Null asks for hidden / heads even where the class has a number of its own.
  if (config.absent(key) && class_default > 0) return class_default;
  if (hidden % heads != 0 || hidden / heads > kMaxHeadDim) {
    config.fields.fail("num_attention_heads", std::to_string(heads),
                       "a divisor of hidden_size = " + std::to_string(hidden) + ", or a head_dim");
  }
  return hidden / heads;
}

// Empty when the value is no text.
std::string text_of(const Json& value) {
  return value.is_string() ? value.get<std::string>() : std::string();
}

// Tells whether a rope_scaling object asks for anything else than plain RoPE.
bool is_scaled(const Json& scaling) {
  for (const char* key : {"rope_type", "type"}) {
    if (scaling.contains(key)) return text_of(scaling[key]) != "default";
  }
  return !scaling.empty();
}

bool layer_slides(HfConfig& config, const Json& type, int64_t layer) {
  const std::string name = text_of(type);
  const bool slides = name == "sliding_attention";
  if (!slides && name != "full_attention") {
    config.fields.fail("layer_types[" + std::to_string(layer) + "]", quote(type),
                       "\"full_attention\" or \"sliding_attention\"");
  }
  return slides;
}

}  // namespace

int64_t read_layers(HfConfig& config) {
  return config.fields.integer("num_hidden_layers", 1, kMaxLayers);
}

Activation read_activation(HfConfig& config, const char* key, const char* fallback) {
  static const std::map<std::string, Activation> kNames = {
      {"gelu", Activation::kGeluErf},       {"gelu_new", Activation::kGeluTanh},
      {"gelu_fast", Activation::kGeluTanh}, {"gelu_pytorch_tanh", Activation::kGeluTanh},
      {"silu", Activation::kSilu},          {"swish", Activation::kSilu},
      {"relu", Activation::kRelu}};
  const std::string name = config.fields.text_or(key, fallback);
  const auto found = kNames.find(name);
  if (found != kNames.end()) return found->second;
  std::string expected = "one of";
  for (const auto& known : kNames) expected += " " + known.first;
  config.fields.fail(key, quote(name), expected);
  return Activation::kSilu;
}

void read_rope(HfConfig& config, double default_theta, ModelSpec* model) {
  constexpr double kMaxTheta = 1e15;
  Fields& fields = config.fields;
  model->position = Position::kRope;
  model->rope_theta = fields.number_or("rope_theta", default_theta, 1.0, kMaxTheta);
  if (fields.has("rope_scaling")) model->rope_scaled = is_scaled(fields.object("rope_scaling"));
  model->rotary_fraction =
      fields.number_or("partial_rotary_factor", model->rotary_fraction, 0.01, 1.0);
  if (!fields.has("rope_parameters")) return;
  const Json& parameters = fields.object("rope_parameters");
  // A nested reader for its ranges; its error is passed on under the nested name.
  Fields nested(parameters, "");
  model->rope_theta = nested.number_or("rope_theta", model->rope_theta, 1.0, kMaxTheta);
  model->rotary_fraction =
      nested.number_or("partial_rotary_factor", model->rotary_fraction, 0.01, 1.0);
  model->rope_scaled = nested.text_or("rope_type", "default") != "default";
  if (const auto& error = nested.error()) {
    fields.fail("rope_parameters." + error->field, error->found, error->expected);
  }
}

void read_llama_like(HfConfig& config, const HfDefaults& defaults, ModelSpec* model) {
  Fields& fields = config.fields;
  model->hidden = fields.integer("hidden_size", 1, kMaxHidden);
  model->vocab = fields.integer("vocab_size", 1, kMaxVocab);
  model->max_positions = fields.integer("max_position_embeddings", 1, kMaxPositions);
  model->tied_embeddings = fields.boolean_or("tie_word_embeddings", defaults.tied);
  model->norm = Norm::kRmsNorm;
  model->norm_eps = fields.number_or("rms_norm_eps", defaults.norm_eps, 1e-30, 1.0);
  model->activation = read_activation(config, "hidden_act", "silu");
  read_rope(config, defaults.rope_theta, model);
}

AttentionSpec read_attention(HfConfig& config, const HfDefaults& defaults, int64_t hidden) {
  AttentionSpec attention;
  attention.heads = config.fields.integer("num_attention_heads", 1, kMaxHeads);
  attention.kv_heads = read_kv_heads(config, defaults.kv_heads, attention.heads);
  attention.head_dim = read_head_dim(config, defaults.head_dim, hidden, attention.heads);
  attention.v_head_dim = attention.head_dim;
  return attention;
}

int64_t read_window(HfConfig& config, int64_t default_window) {
  const int64_t fallback = config.absent("sliding_window") ? default_window : 0;
  return config.fields.integer_or("sliding_window", fallback, 1, kMaxPositions);
}

std::vector<int64_t> read_layer_windows(HfConfig& config, int64_t layers, int64_t window,
                                        const std::function<bool(int64_t layer)>& slides) {
  const bool listed = config.fields.has("layer_types");
  std::vector<int64_t> windows(layers, 0);
  const Json* types = listed ? &config.fields.array("layer_types") : nullptr;
  if (listed && static_cast<int64_t>(types->size()) != layers) {
    config.fields.fail("layer_types", quote(*types),
                       "num_hidden_layers = " + std::to_string(layers) + " elements");
    return windows;
  }
  for (int64_t layer = 0; layer < layers; ++layer) {
    if (!(listed ? layer_slides(config, (*types)[layer], layer) : slides(layer))) continue;
    windows[layer] = window;
    if (window == 0) config.fields.fail("sliding_window", "nothing", "a window, as layers slide");
  }
  return windows;
}

MoeSpec read_experts(HfConfig& config, const char* experts_key, const char* top_k_key,
                     const char* ffn_key) {
  MoeSpec moe;
  moe.experts = config.fields.integer(experts_key, 1, kMaxExperts);
  moe.top_k = config.fields.integer(top_k_key, 1, moe.experts);
  moe.ffn_hidden = config.fields.integer(ffn_key, 1, kMaxFfnHidden);
  return moe;
}

void add_layer(const LayerSpec& layer, ModelSpec* model) {
  size_t kind = 0;
  while (kind < model->kinds.size() && !(model->kinds[kind] == layer)) ++kind;
  if (kind == model->kinds.size()) model->kinds.push_back(layer);
  model->layer_kind.push_back(static_cast<int>(kind));
}

}  // namespace shardwright
