// The table of families behind hf_config.h, and what their readers share. Only hf_*.cc include it.
#pragma once

#include <functional>
#include <nlohmann/json.hpp>
#include <string>
#include <vector>

#include "costmodel/json.h"
#include "costmodel/model_spec.h"

namespace shardwright {

// Bounds that no real model approaches, and that keep every product of a layer's shapes within 64
// bits.
constexpr int64_t kMaxLayers = 4096;
constexpr int64_t kMaxHidden = int64_t{1} << 18;
constexpr int64_t kMaxFfnHidden = int64_t{1} << 20;
constexpr int64_t kMaxVocab = int64_t{1} << 24;
constexpr int64_t kMaxPositions = int64_t{1} << 30;
constexpr int64_t kMaxHeads = 1 << 14;
constexpr int64_t kMaxHeadDim = 1 << 14;
constexpr int64_t kMaxExperts = 1 << 14;

// The fields of one config, and the document itself for the rare key where absent and null differ.
struct HfConfig {
  HfConfig(const Json& document, const std::string& file)
      : fields(document, file), json(document) {}
  bool absent(const char* key) const { return json.is_object() && !json.contains(key); }

  Fields fields;
  const Json& json;
};

// What a family's class assumes where its config says nothing.
struct HfDefaults {
  int64_t kv_heads = 0;  // 0 = as many as heads
  int64_t head_dim = 0;  // 0 = hidden / heads
  int64_t window = 0;    // sliding_window
  double rope_theta = 10000.0;
  double norm_eps = 1e-6;
  bool tied = false;
};

// Each reads a group of fields and records the first error in config.fields.

// hidden, vocabulary, positions, norm, activation, RoPE: everything of a Llama-like config but its
// layers.
void read_llama_like(HfConfig& config, const HfDefaults& defaults, ModelSpec* model);
// rope_theta, rope_scaling, or both inside rope_parameters as newer configs have them.
void read_rope(HfConfig& config, double default_theta, ModelSpec* model);
AttentionSpec read_attention(HfConfig& config, const HfDefaults& defaults, int64_t hidden);
Activation read_activation(HfConfig& config, const char* key, const char* fallback);
int64_t read_layers(HfConfig& config);
// sliding_window: absent gives the family's default, null gives 0.
int64_t read_window(HfConfig& config, int64_t default_window);
// One window per layer from layer_types; where that is absent, `slides` says which layers have
// `window`. A sliding layer without a window is an error.
std::vector<int64_t> read_layer_windows(HfConfig& config, int64_t layers, int64_t window,
                                        const std::function<bool(int64_t layer)>& slides);
// Experts, top_k and the width of an expert, under the family's key names.
MoeSpec read_experts(HfConfig& config, const char* experts_key, const char* top_k_key,
                     const char* ffn_key);
// Appends a layer; equal layers share a kind.
void add_layer(const LayerSpec& layer, ModelSpec* model);

struct HfFamily {
  const char* model_type;
  void (*read)(HfConfig& config, ModelSpec* model);
};
const std::vector<HfFamily>& dense_families();  // hf_dense_families.cc
const std::vector<HfFamily>& moe_families();    // hf_moe_families.cc

}  // namespace shardwright
