#include <algorithm>

#include "costmodel/hf_families.h"
#include "planner/records/run_case.h"

namespace shardwright {
namespace {

Error missing(const Record& record, const char* field) {
  return {record.id, field, "nothing", "a size: the record does not say what the model is"};
}

// A size of the record, or what the rules know of models of this name.
struct Sizes {
  Sizes(const Record& record, const RuleList& models) : r(record), rules(models) {}
  int64_t of(const std::optional<int64_t>& printed, const char* key, int64_t fallback) const {
    if (printed) return *printed;
    const std::optional<double> known = rules.number(r, key);
    return known ? static_cast<int64_t>(*known) : fallback;
  }
  bool flag(const char* key) const { return rules.number(r, key).value_or(0) > 0; }
  const Record& r;
  const RuleList& rules;
};

RecordLatent latent_of(const Record& record, const Sizes& sizes) {
  if (record.model.latent) return *record.model.latent;
  RecordLatent latent;
  latent.kv_lora = sizes.of(std::nullopt, "kv_lora", 0);
  if (latent.kv_lora == 0) return latent;
  latent.q_lora = sizes.of(std::nullopt, "q_lora", 0);
  latent.qk_nope = sizes.of(std::nullopt, "qk_nope", 128);
  latent.qk_rope = sizes.of(std::nullopt, "qk_rope", 64);
  latent.v = sizes.of(std::nullopt, "v", 128);
  return latent;
}

AttentionSpec attention_of(const Record& record, const Sizes& sizes, int64_t hidden,
                           int64_t heads) {
  AttentionSpec a;
  a.heads = heads;
  a.kv_heads = sizes.of(record.model.kv_heads, "kv_heads", heads);
  a.head_dim = sizes.of(record.model.head_dim, "head_dim", std::max<int64_t>(1, hidden / heads));
  a.v_head_dim = a.head_dim;
  a.qk_norm = sizes.flag("qk_norm");
  a.sinks = sizes.flag("sinks");
  const RecordLatent latent = latent_of(record, sizes);
  if (latent.kv_lora > 0) {
    a.q_lora_rank = latent.q_lora;
    a.kv_lora_rank = latent.kv_lora;
    a.qk_nope_head_dim = latent.qk_nope;
    a.qk_rope_head_dim = latent.qk_rope;
    a.head_dim = latent.qk_nope + latent.qk_rope;
    a.v_head_dim = latent.v;
    a.kv_heads = heads;
  }
  return a;
}

void add_layers(const Record& record, const Sizes& sizes, const AttentionSpec& attention,
                int64_t layers, int64_t ffn, bool gated, ModelSpec* model) {
  LayerSpec dense;
  dense.attention = attention;
  dense.mlp = {ffn, gated, false};
  const int64_t window = sizes.of(record.model.window, "window", 0);
  const std::optional<RecordMoe>& moe = record.model.moe;
  for (int64_t i = 0; i < layers; ++i) {
    LayerSpec layer = dense;
    if (moe && i >= layers - moe->moe_layers) {
      layer.mlp = {};
      layer.moe.experts = moe->experts;
      layer.moe.top_k = std::min(moe->top_k, moe->experts);
      layer.moe.ffn_hidden = moe->ffn_hidden;
      layer.moe.shared_ffn_hidden =
          sizes.of(std::nullopt, "shared_ffn_hidden", moe->shared_experts * moe->ffn_hidden);
      layer.moe.route_groups = sizes.of(std::nullopt, "route_groups", 0);
      layer.moe.neighbours = sizes.of(std::nullopt, "neighbours", 0) > 0;
    }
    if (i % 2 == 0) layer.attention.window = window;  // every other layer, the first included
    add_layer(layer, model);
  }
}

}  // namespace

Result<ModelSpec> model_of(const Record& record, const RuleList& models) {
  const Sizes sizes(record, models);
  const RecordModel& m = record.model;
  const int64_t layers = sizes.of(m.layers, "layers", 0), hidden = sizes.of(m.hidden, "hidden", 0);
  const int64_t heads = sizes.of(m.heads, "heads", 0);
  const int64_t vocab = sizes.of(m.vocab, "vocab", 0);
  if (layers == 0) return missing(record, "model.layers");
  if (hidden == 0) return missing(record, "model.hidden");
  if (heads == 0) return missing(record, "model.heads");
  if (vocab == 0) return missing(record, "model.vocab");
  if (!m.seq) return missing(record, "model.seq");
  const bool gpt = m.family == "gpt";
  const bool gated = m.gated_mlp.value_or(!gpt);
  const int64_t ffn = sizes.of(m.ffn_hidden, "ffn_hidden", gated && !m.moe ? 0 : 4 * hidden);
  if (ffn == 0) return missing(record, "model.ffn_hidden");
  if (m.family.find("mamba") != std::string::npos) {
    return Error{record.id, "model.family", m.family,
                 "a transformer: Mamba layers are not modelled"};
  }
  ModelSpec model;
  model.name = m.name;
  model.model_type = m.family;
  model.hidden = hidden;
  model.vocab = vocab;
  model.tied_embeddings = m.tied_embeddings.value_or(gpt);
  model.norm = gated ? Norm::kRmsNorm : Norm::kLayerNorm;
  model.position = gated ? Position::kRope : Position::kLearned;
  model.max_positions = *m.seq;
  model.activation = gated ? Activation::kSilu : Activation::kGeluTanh;
  model.mtp_layers = m.mtp_layers.value_or(0);
  add_layers(record, sizes, attention_of(record, sizes, hidden, heads), layers, ffn, gated, &model);
  return model;
}

}  // namespace shardwright
