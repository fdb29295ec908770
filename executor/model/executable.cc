#include "executor/model/chunk_runner.h"

namespace shardwright {

std::optional<Error> check_executable(const ModelSpec& model, int64_t seq, DataType type,
                                      RunDevice device) {
  const auto refuse = [&](const std::string& field, const std::string& found,
                          const std::string& expected) {
    return Error{model.name, field, found,
                 expected + " (the executor trains GPT-2 and Llama kinds)"};
  };
  const bool known =
      type == DataType::kFp32 || (device == RunDevice::kCuda && type == DataType::kBf16);
  if (!known) {
    return refuse("precision", name_of(type),
                  device == RunDevice::kCuda ? "bf16 or fp32 on GPUs" : "fp32 on CPU ranks");
  }
  if (model.kinds.size() != 1) return refuse("layers", "layers of different kinds", "equal layers");
  const LayerSpec& layer = model.kinds.front();
  if (!layer.ops.empty()) return refuse("layers", "a list of operations", "transformer layers");
  if (layer.moe.experts > 0) return refuse("experts", std::to_string(layer.moe.experts), "none");
  if (layer.attention.mla()) return refuse("attention", "latent attention", "heads");
  if (layer.attention.qk_norm) return refuse("attention", "a norm on queries and keys", "none");
  if (layer.attention.sinks) return refuse("attention", "sinks", "none");
  if (layer.attention.window > 0 && layer.attention.window < seq) {
    return refuse("sliding_window", std::to_string(layer.attention.window),
                  "at least the sequence length " + std::to_string(seq));
  }
  if (layer.norms != 2) return refuse("norms", std::to_string(layer.norms), "2 in a layer");
  if (model.parallel_residual) return refuse("use_parallel_residual", "true", "false");
  if (model.head_bias) return refuse("head", "a bias", "none");
  if (model.embedding_scale != 1.0) return refuse("embedding", "scaled", "unscaled");
  if (model.logit_softcap != 0 || model.attention_softcap != 0) {
    return refuse("softcapping", "set", "none");
  }
  if (layer.mlp.gated && layer.mlp.bias) return refuse("mlp", "a gated MLP with bias", "no bias");
  return std::nullopt;
}

}  // namespace shardwright
