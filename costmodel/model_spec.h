// What a model is, as far as cost and training need to know: its layers and their shapes.
// Filled from a Hugging Face config.json (hf_config.h) and printed by `shardwright models show`.
// All counts are global (before any parallel split).
#pragma once

#include <cstdint>
#include <string>
#include <vector>

#include "costmodel/result.h"

namespace shardwright {

enum class Norm { kLayerNorm, kRmsNorm };
enum class Position { kLearned, kRope };
enum class Activation { kGeluTanh, kGeluErf, kSilu, kRelu };

struct AttentionSpec {
  int64_t heads = 0;
  int64_t kv_heads = 0;
  int64_t head_dim = 0;  // of queries and keys
  bool qkv_bias = false;
  bool out_bias = false;
  bool qk_norm = false;  // a norm of head_dim weights on queries and on keys (qwen3)
  bool sinks = false;    // one learned logit per head (gpt_oss)
  int64_t window = 0;    // sliding window in tokens; 0 = full causal attention
  // Multi-head latent attention (deepseek_v3); kv_lora_rank 0 means ordinary attention.
  int64_t q_lora_rank = 0;  // 0 = queries projected directly
  int64_t kv_lora_rank = 0;
  int64_t qk_nope_head_dim = 0;
  int64_t qk_rope_head_dim = 0;
  int64_t v_head_dim = 0;  // equals head_dim for ordinary attention

  bool mla() const { return kv_lora_rank > 0; }
  int64_t q_width() const { return heads * head_dim; }
  int64_t kv_width() const { return kv_heads * head_dim; }
  int64_t out_width() const { return heads * v_head_dim; }  // input width of the output projection
  bool operator==(const AttentionSpec&) const = default;
};

struct MlpSpec {
  int64_t ffn_hidden = 0;
  bool gated = false;  // gate and up projections (SwiGLU, GeGLU)
  bool bias = false;
  bool operator==(const MlpSpec&) const = default;
};

struct MoeSpec {
  int64_t experts = 0;  // 0 = a dense layer
  int64_t top_k = 0;
  int64_t ffn_hidden = 0;         // of one routed expert
  int64_t shared_ffn_hidden = 0;  // of all shared experts together; 0 = none
  bool router_bias = false;       // one trained bias per expert on the router (gpt_oss)
  bool score_correction = false;  // deepseek's e_score_correction_bias, one per expert
  bool expert_bias = false;       // biases inside the experts (gpt_oss)
  double load_imbalance = 1.0;    // tokens of the busiest expert rank over the mean
  int64_t route_groups = 0;  // a token's experts lie on at most so many node groups; 0 = anywhere
  bool neighbours = false;   // a token's experts follow each other (a benchmark's balanced gate)
  bool operator==(const MoeSpec&) const = default;
};

// A layer that is no transformer, by its operations for one sample, in order.
struct ListedOp {
  enum class Kind : uint8_t {
    kGemm,   // [rows, in] x [in, out]; a convolution has in = channels * height * width of its
             // kernel
    kPass,   // reads or writes [rows, out] `touches` times
    kLookup  // `rows` rows of width `out` from a table of `in` rows (an embedding bag)
  };
  Kind kind = Kind::kGemm;
  std::string name;
  int64_t rows = 0, out = 0, in = 0;
  double touches = 2, backward_touches = 3;  // passes only
  int64_t parameters() const { return kind == Kind::kPass ? 0 : out * in; }
  bool operator==(const ListedOp&) const = default;
};

struct LayerSpec {
  std::vector<ListedOp> ops;  // not empty: these alone are the layer
  AttentionSpec attention;
  MlpSpec mlp;  // unused when moe.experts > 0
  MoeSpec moe;
  int norms = 2;  // hidden-wide norms in the layer (gemma2 has 4)
  bool operator==(const LayerSpec&) const = default;
};

struct ModelSpec {
  std::string name;        // file or folder name it came from, for people
  std::string model_type;  // Hugging Face's model_type
  int64_t hidden = 0;
  int64_t vocab = 0;
  // Every tp rank's share of the vocabulary is padded to a multiple of so many rows: a choice of
  // who runs the model (steps.h, kPaddedVocabMultiple), no part of it. Counts of parameters and
  // `vocab` stay the model's own.
  int64_t vocab_multiple = 1;
  int64_t max_positions = 0;
  bool tied_embeddings = false;
  bool head_bias = false;
  bool parallel_residual = false;  // attention and MLP read the same input (gpt_neox)
  Norm norm = Norm::kRmsNorm;
  double norm_eps = 1e-5;
  Position position = Position::kRope;
  double rope_theta = 10000.0;
  double rotary_fraction = 1.0;  // share of head_dim that RoPE turns
  bool rope_scaled = false;      // config asks for scaled RoPE; training here uses the plain one
  Activation activation = Activation::kSilu;
  double embedding_scale = 1.0;  // gemma2 multiplies embeddings by sqrt(hidden)
  double logit_softcap = 0.0;    // 0 = none
  double attention_softcap = 0.0;
  int64_t mtp_layers = 0;  // multi-token-prediction modules, not part of parameters_total

  // Distinct kinds of layer, and for each layer the index of its kind.
  std::vector<LayerSpec> kinds;
  std::vector<int> layer_kind;

  // Layers given by their operations; without embedding and head of their own. A step's `seq` is 1.
  bool layer_list() const { return !kinds.empty() && !kinds.front().ops.empty(); }
  int64_t layers() const { return static_cast<int64_t>(layer_kind.size()); }
  const LayerSpec& layer(int64_t index) const { return kinds[layer_kind[index]]; }
};

// Exact parameter counts of the parts, in elements. MTP modules are not counted.
struct ParameterCount {
  int64_t embedding = 0;  // token embedding, and learned positions
  int64_t layers = 0;     // all layers
  int64_t final_norm = 0;
  int64_t head = 0;  // output projection; 0 when tied
  int64_t total() const { return embedding + layers + final_norm + head; }
};
struct LayerParameters {
  int64_t attention = 0;  // projections, their biases, norms inside attention, sinks
  int64_t mlp = 0;        // dense MLP or shared experts
  int64_t router = 0;     // with its biases and deepseek's e_score_correction_bias
  int64_t experts = 0;    // all routed experts
  int64_t norms = 0;      // hidden-wide ones
  int64_t total() const { return attention + mlp + router + experts + norms; }
};
LayerParameters count_layer(const ModelSpec& model, const LayerSpec& layer);
ParameterCount count_parameters(const ModelSpec& model);
// Parameters that one token passes through: top_k of the routed experts instead of all. Embedding
// and head count whole, as they do in the total.
int64_t count_active_parameters(const ModelSpec& model);

}  // namespace shardwright
