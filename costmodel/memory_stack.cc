#include "costmodel/memory_stack.h"

#include <nlohmann/json.hpp>

#include "costmodel/cluster_spec.h"
#include "costmodel/profile_json.h"

namespace shardwright {

const std::vector<MemoryParameter>& memory_parameters() {
  using M = MemoryStack;
  static const char* const kState = "bytes/parameter";
  static const char* const kElement = "bytes/element";
  static const std::vector<MemoryParameter> kList = {
      {"unsharded_fp16", &M::unsharded_fp16, kState, 2, 16, "weights and gradients, fp16 runs"},
      {"unsharded_bf16", &M::unsharded_bf16, kState, 2, 16, "weights and gradients, bf16 runs"},
      {"sharded_fp16", &M::sharded_fp16, kState, 4, 24, "what ZeRO-1 divides, fp16 runs"},
      {"sharded_bf16", &M::sharded_bf16, kState, 4, 24, "what ZeRO-1 divides, bf16 runs"},
      {"reduced_fp16", &M::reduced_fp16, kState, 2, 4, "gradients on their way, fp16 runs"},
      {"reduced_bf16", &M::reduced_bf16, kState, 2, 4, "gradients on their way, bf16 runs"},
      {"fp8_copies", &M::fp8_copies, kState, 0, 4, "quantised weights beside the 16-bit ones"},
      {"bucket_elements", &M::bucket_elements, "elements", 0, 1e10, "of a communication bucket"},
      {"step_copies", &M::step_copies, kState, 0, 16, "of the shard, during the step"},
      {"dummy_gradients", &M::dummy_gradients, kState, 0, 4, "for every distinct weight shape"},
      {"gathered_layers", &M::gathered_layers, "layers", 0, 8, "ZeRO-3: whole at once"},
      {"gathered_gradient", &M::gathered_gradient, kState, 0, 12, "ZeRO-3: of one whole layer"},
      {"norm", &M::norm, kElement, 0, 16, "saved by a norm beside its input"},
      {"norm_kernel", &M::norm_kernel, kElement, 0, 16, "the same, fused norm kernel"},
      {"dropout_mask", &M::dropout_mask, kElement, 0, 2, "per hidden element and branch"},
      {"rotated", &M::rotated, kElement, 0, 8, "copies besides q, k and v"},
      {"scores", &M::scores, "bytes/score", 0, 16, "attention that is not flash"},
      {"up_gated", &M::up_gated, kElement, 0, 12, "before a gated activation, per MLP column"},
      {"up_plain", &M::up_plain, kElement, 0, 12, "before a plain activation"},
      {"activated", &M::activated, kElement, 0, 4, "after the activation"},
      {"fp8_input", &M::fp8_input, kElement, 0, 4, "kept of the input of an fp8 product"},
      {"stage_output", &M::stage_output, "0 or 1", 0, 1, "kept until the backward"},
      {"selective_ops", &M::selective_ops, "0 or 1", 0, 1, "meaning of 'selective'"},
      {"logits", &M::logits, "bytes/logit", 0, 24, "at the loss, of the rank's share"},
      {"logits_fused", &M::logits_fused, "bytes/logit", 0, 24, "with fused cross-entropy"},
      {"logits_gathered", &M::logits_gathered, "bytes/logit", 0, 24, "of the whole vocabulary"},
      {"workspace_gib", &M::workspace_gib, "GiB", 0, 4, "matrix products"},
      {"expert_workspace_gib", &M::expert_workspace_gib, "GiB", 0, 4, "grouped products"},
      {"context_gib", &M::context_gib, "GiB", 0, 20, "outside of the allocator"},
      {"slack", &M::slack, "ratio", 1, 2, "reserved / allocated"}};
  return kList;
}

DataType reduced_type(const MemoryStack& stack, DataType precision) {
  const DataType stored = storage_of(precision);
  const double bytes = stored == DataType::kFp16 ? stack.reduced_fp16 : stack.reduced_bf16;
  return bytes < size_of(DataType::kFp32) ? stored : DataType::kFp32;
}

Result<MemoryStack> read_memory_stack(const Json& json, const std::string& file) {
  Fields fields(json, file);
  MemoryStack stack;
  const std::string schema = fields.text("schema");
  if (!fields.error() && schema != "shardwright.memory_stack/1") {
    fields.fail("schema", '"' + printable(schema) + '"', "shardwright.memory_stack/1");
  }
  stack.name = fields.text("name");
  stack.source = fields.text("source");
  for (const MemoryParameter& p : memory_parameters()) {
    stack.*p.value = fields.number_or(p.name, stack.*p.value, p.low, p.high);
  }
  for (const auto& [name, bytes] :
       {std::pair{"reduced_fp16", stack.reduced_fp16}, {"reduced_bf16", stack.reduced_bf16}}) {
    if (bytes != 2 && bytes != 4) fields.fail(name, std::to_string(bytes), "2 or 4");
  }
  if (auto error = fields.finish()) return *error;
  return stack;
}

Result<MemoryStack> load_memory_stack(const std::string& name, const std::string& profiles_dir) {
  if (!is_plain_name(name)) {
    return Error{"command line", "memory stack", '"' + printable(name) + '"', "a plain name"};
  }
  const std::string path = profiles_dir + "/memory/" + name + ".json";
  const Result<Json> json = read_json_file(path);
  if (!json) return json.error();
  return read_memory_stack(*json, path);
}

}  // namespace shardwright
