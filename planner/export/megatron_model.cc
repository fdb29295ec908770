// The model as Megatron-LM's arguments say it.
#include <algorithm>
#include <sstream>

#include "planner/export/export_plan.h"

namespace shardwright {
namespace {

std::string number(double value) {
  std::ostringstream out;
  out.precision(15);
  out << value;
  return out.str();
}
std::string number(int64_t value) { return std::to_string(value); }

// "([0]*3+[1]*58)": a Python list of which layers have experts.
std::string expert_layers(const ModelSpec& model) {
  std::string out;
  for (int64_t i = 0; i < model.layers();) {
    const bool moe = model.layer(i).moe.experts > 0;
    int64_t run = i;
    while (run < model.layers() && (model.layer(run).moe.experts > 0) == moe) ++run;
    out += std::string(out.empty() ? "" : "+") + "[" + (moe ? "1" : "0") + "]*" + number(run - i);
    i = run;
  }
  return "(" + out + ")";
}

void add_attention(const ModelSpec& model, const AttentionSpec& a, Arguments* out) {
  out->push_back({"--num-attention-heads", {number(a.heads)}});
  if (a.mla()) {
    out->push_back({"--multi-latent-attention", {}});
    if (a.q_lora_rank > 0) out->push_back({"--q-lora-rank", {number(a.q_lora_rank)}});
    out->push_back({"--kv-lora-rank", {number(a.kv_lora_rank)}});
    out->push_back({"--qk-head-dim", {number(a.qk_nope_head_dim)}});
    out->push_back({"--qk-pos-emb-head-dim", {number(a.qk_rope_head_dim)}});
    out->push_back({"--v-head-dim", {number(a.v_head_dim)}});
    out->push_back({"--qk-layernorm", {}});  // of the compressed queries and keys
    return;
  }
  if (a.kv_heads != a.heads) {
    out->push_back({"--group-query-attention", {}});
    out->push_back({"--num-query-groups", {number(a.kv_heads)}});
  }
  if (a.head_dim * a.heads != model.hidden) {
    out->push_back({"--kv-channels", {number(a.head_dim)}});
  }
  if (a.qk_norm) out->push_back({"--qk-layernorm", {}});
  if (a.window > 0) out->push_back({"--window-size", {"(" + number(a.window) + ",0)"}});
  if (a.sinks) out->push_back({"--softmax-type", {"learnable"}});
}

void add_experts(const ModelSpec& model, const MoeSpec& moe, Arguments* out) {
  out->push_back({"--num-experts", {number(moe.experts)}});
  out->push_back({"--moe-layer-freq", {expert_layers(model)}});
  out->push_back({"--moe-router-topk", {number(moe.top_k)}});
  out->push_back({"--moe-ffn-hidden-size", {number(moe.ffn_hidden)}});
  if (moe.shared_ffn_hidden > 0) {
    out->push_back({"--moe-shared-expert-intermediate-size", {number(moe.shared_ffn_hidden)}});
  }
  if (moe.score_correction) {
    out->push_back({"--moe-router-score-function", {"sigmoid"}});
    out->push_back({"--moe-router-enable-expert-bias", {}});
  }
  out->push_back({"--moe-grouped-gemm", {}});
}

}  // namespace

Arguments megatron_model_arguments(const ModelSpec& model, const Plan& plan) {
  const LayerSpec& last = model.kinds[static_cast<size_t>(model.layer_kind.back())];
  const auto dense = std::find_if(model.kinds.begin(), model.kinds.end(),
                                  [](const LayerSpec& kind) { return kind.moe.experts == 0; });
  Arguments out = {{"--num-layers", {number(model.layers())}},
                   {"--hidden-size", {number(model.hidden)}}};
  const int64_t ffn = dense != model.kinds.end() ? dense->mlp.ffn_hidden : last.moe.ffn_hidden;
  out.push_back({"--ffn-hidden-size", {number(ffn)}});
  add_attention(model, last.attention, &out);
  out.push_back({"--max-position-embeddings", {number(std::max(model.max_positions, plan.seq))}});
  if (model.position == Position::kRope) {
    out.push_back({"--position-embedding-type", {"rope"}});
    out.push_back({"--rotary-base", {number(static_cast<int64_t>(model.rope_theta))}});
    if (model.rotary_fraction != 1) {
      out.push_back({"--rotary-percent", {number(model.rotary_fraction)}});
    }
  } else {
    out.push_back({"--position-embedding-type", {"learned_absolute"}});
  }
  out.push_back({"--normalization", {model.norm == Norm::kRmsNorm ? "RMSNorm" : "LayerNorm"}});
  out.push_back({"--norm-epsilon", {number(model.norm_eps)}});
  if (model.activation == Activation::kSilu) out.push_back({"--swiglu", {}});
  if (!last.attention.out_bias && !last.mlp.bias) out.push_back({"--disable-bias-linear", {}});
  if (last.attention.qkv_bias && !last.attention.out_bias) {
    out.push_back({"--add-qkv-bias", {}});
  }
  if (!model.tied_embeddings) {
    out.push_back({"--untie-embeddings-and-output-weights", {}});
  }
  if (last.moe.experts > 0) add_experts(model, last.moe, &out);
  out.push_back({"--vocab-size", {number(model.vocab)}});
  out.push_back({"--attention-dropout", {"0"}});
  out.push_back({"--hidden-dropout", {"0"}});
  return out;
}

}  // namespace shardwright
