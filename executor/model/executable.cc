#include <algorithm>

#include "executor/model/chunk_runner.h"

namespace shardwright {

namespace {

// Choices that are priced and simulated only.
std::optional<Error> check_choices(const Plan& plan) {
  const auto refuse = [](const char* field, const std::string& found, const char* expected) {
    return Error{"plan", field, found,
                 std::string(expected) + " (the executor knows dp, tp, pp and virtual stages)"};
  };
  const Split& split = plan.split;
  if (split.cp > 1) return refuse("cp", std::to_string(split.cp), "1");
  if (split.ep > 1) return refuse("ep", std::to_string(split.ep), "1");
  if (split.etp > 0) return refuse("etp", std::to_string(split.etp), "none");
  if (split.sequence_parallel) return refuse("sequence_parallel", "true", "false");
  if (splits_backward(plan.schedule) || plan.schedule == ScheduleKind::kSynthesised) {
    return refuse("schedule", name_of(plan.schedule), "gpipe, 1f1b or breadth-first");
  }
  if (plan.zero > 0) return refuse("zero", std::to_string(plan.zero), "0");
  if (plan.mtp_layers > 0) return refuse("mtp_layers", std::to_string(plan.mtp_layers), "0");
  if (plan.recompute == Recompute::kSelective)
    return refuse("recompute", "selective", "none or full");
  if (plan.recompute_layers > 0) {
    return refuse("recompute_layers", std::to_string(plan.recompute_layers), "all of them");
  }
  if (plan.gradient_type != DataType::kFp32) {
    return refuse("gradient_type", name_of(plan.gradient_type), "fp32");
  }
  if (plan.moment_type != DataType::kFp32) {
    return refuse("moment_type", name_of(plan.moment_type), "fp32");
  }
  if (!plan.master_weights) return refuse("master_weights", "false", "true");
  if (plan.optimizer_offload > 0 || plan.activation_offload > 0) {
    return refuse("offload", "some", "none");
  }
  return std::nullopt;
}

// Of several chunks a stage each has layers.
std::optional<Error> check_chunks(const Plan& plan) {
  if (plan.virtual_stages == 1) return std::nullopt;
  const auto refuse = [&](const char* expected) {
    return Error{"plan", "virtual_stages", std::to_string(plan.virtual_stages), expected};
  };
  if (std::count(plan.stage_layers.begin(), plan.stage_layers.end(), 0) > 0) {
    return refuse("chunks with layers");
  }
  return std::nullopt;
}

}  // namespace

std::optional<Error> check_executable(const ModelSpec& model, const Plan& plan, RunDevice device) {
  if (auto error = check_choices(plan)) return error;
  if (auto error = check_chunks(plan)) return error;
  const DataType type = plan.precision;
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
  if (layer.attention.window > 0 && layer.attention.window < plan.seq) {
    return refuse("sliding_window", std::to_string(layer.attention.window),
                  "at least the sequence length " + std::to_string(plan.seq));
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
