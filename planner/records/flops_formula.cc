#include <algorithm>

#include "planner/records/run_case.h"

namespace shardwright {
namespace {

// Weights of matrix products that one token passes through in a layer: attention and MLP, of
// experts the chosen and shared ones, the router.
double product_weights(const ModelSpec& model, const LayerSpec& layer, double expert_matrices) {
  const LayerParameters count = count_layer(model, layer);
  const double attention_and_mlp = static_cast<double>(count.attention + count.mlp);
  if (layer.moe.experts == 0) return attention_and_mlp;
  const double experts = expert_matrices * static_cast<double>(layer.moe.top_k) *
                         static_cast<double>(layer.moe.ffn_hidden) *
                         static_cast<double>(model.hidden);
  return attention_and_mlp + static_cast<double>(count.router) + experts;
}

double head_width(const AttentionSpec& a) {
  return static_cast<double>(a.heads) * (a.mla()
                                             ? static_cast<double>(a.head_dim + a.v_head_dim) / 2
                                             : static_cast<double>(a.head_dim));
}

struct Sums {
  double weights = 0;    // of all layers
  double attention = 0;  // layers * seq * head width
  double logits = 0;
};

// Multi-token-prediction modules are a further layer each, with a product of [2 h, h] and the
// logits once more.
Sums sums_of(const ModelSpec& model, int64_t seq, double expert_matrices) {
  Sums sums;
  const auto s = static_cast<double>(seq), h = static_cast<double>(model.hidden);
  for (int64_t i = 0; i < model.layers(); ++i) {
    sums.weights += product_weights(model, model.layer(i), expert_matrices);
    sums.attention += s * head_width(model.layer(i).attention);
  }
  const auto mtp = static_cast<double>(model.mtp_layers);
  const LayerSpec& last = model.layer(model.layers() - 1);
  sums.weights += mtp * (product_weights(model, last, expert_matrices) + 2 * h * h);
  sums.attention += mtp * s * head_width(last.attention);
  sums.logits = (1 + mtp) * static_cast<double>(model.vocab) * h;
  return sums;
}

double peak_flops(const DeviceProfile& device, DataType precision) {
  const auto found = device.peak_flops_per_s.find(precision);
  return found == device.peak_flops_per_s.end() ? 0 : found->second;
}

}  // namespace

// Per token, forward and backward (x 3 of 2 FLOPs a weight; x 4 with a recomputed forward).
// Attention: scores and context are 4 s d FLOPs per token forward over the whole square.
std::optional<double> flops_per_token(const std::string& formula, const ModelSpec& model,
                                      int64_t seq) {
  const Sums s = sums_of(model, seq, formula == "causal_ungated" ? 2 : 3);
  if (formula == "full") return 6 * (s.weights + s.logits) + 12 * s.attention;
  if (formula == "causal") return 6 * (s.weights + s.logits) + 6 * s.attention;
  if (formula == "causal_ungated") return 6 * (s.weights + s.logits) + 6 * s.attention;
  if (formula == "hfu") return 8 * s.weights + 6 * s.logits + 16 * s.attention;
  const auto parameters = static_cast<double>(count_parameters(model).total());
  if (formula == "palm") return 6 * parameters + 12 * s.attention;
  const auto layers = static_cast<double>(model.layers()), h = static_cast<double>(model.hidden);
  if (formula == "old") return 8 * 12 * layers * h * h;
  if (formula == "params8") return 8 * parameters;
  return std::nullopt;
}

std::optional<double> measured_seconds(const Record& record, const RuleList& conversions,
                                       const ModelSpec& model, const Plan& plan,
                                       const DeviceProfile& device) {
  const RecordMeasured& m = record.measured;
  if (m.iteration_s) return *m.iteration_s;
  const auto tokens = static_cast<double>(plan.tokens_per_step());
  const auto gpus = static_cast<double>(record.cluster.gpus);
  if (m.tokens_per_s_per_gpu) return tokens / (gpus * *m.tokens_per_s_per_gpu);
  if (!m.tflops_per_gpu && !m.mfu) return std::nullopt;
  const std::optional<double> flops =
      flops_per_token(conversions.text(record, "formula"), model, plan.seq);
  double rate = m.tflops_per_gpu ? *m.tflops_per_gpu * 1e12 : 0;
  if (rate == 0) {
    const std::optional<double> peak = conversions.number(record, "peak_tflops");
    rate = *m.mfu * (peak ? *peak * 1e12 : peak_flops(device, plan.precision));
  }
  if (!flops || rate <= 0) return std::nullopt;
  return tokens * *flops / (gpus * rate);
}

}  // namespace shardwright
