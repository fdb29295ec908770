// Megatron-Bridge's overrides, translated to the arguments of Megatron-LM that mean the same.
#include <algorithm>

#include "planner/lint/flag_values.h"
#include "planner/lint/job.h"

namespace shardwright {
namespace {

bool is_null(const std::string& value) {
  return value.empty() || value == "null" || value == "None" || value == "~";
}

// "[core_attn,moe]" as its words.
std::vector<std::string> list_of(const std::string& value) {
  std::vector<std::string> out;
  std::string word;
  for (const char c : value) {
    if (c == '[' || c == ']' || c == ',' || c == ' ' || c == '"' || c == '\'') {
      if (!word.empty()) out.push_back(std::move(word));
      word.clear();
    } else {
      word += c;
    }
  }
  if (!word.empty()) out.push_back(std::move(word));
  return out;
}

std::string unquoted(std::string value) {
  const bool quoted = value.size() >= 2 && value.front() == value.back() &&
                      (value.front() == '"' || value.front() == '\'');
  return quoted ? value.substr(1, value.size() - 2) : value;
}

enum class Kind { kValue, kList, kSwitch, kOffSwitch };
struct Translation {
  const char* key;
  const char* flag;
  Kind kind = Kind::kValue;
};
constexpr Translation kTranslations[] = {
    {"model.tensor_model_parallel_size", "--tensor-model-parallel-size"},
    {"model.pipeline_model_parallel_size", "--pipeline-model-parallel-size"},
    {"model.context_parallel_size", "--context-parallel-size"},
    {"model.cp_comm_type", "--cp-comm-type", Kind::kList},
    {"model.sequence_parallel", "--sequence-parallel", Kind::kSwitch},
    {"model.expert_model_parallel_size", "--expert-model-parallel-size"},
    {"model.expert_tensor_parallel_size", "--expert-tensor-parallel-size"},
    {"model.moe_token_dispatcher_type", "--moe-token-dispatcher-type"},
    {"model.overlap_moe_expert_parallel_comm", "--overlap-moe-expert-parallel-comm", Kind::kSwitch},
    {"dist.use_tp_pp_dp_mapping", "--use-tp-pp-dp-mapping", Kind::kSwitch},
    {"model.pipeline_model_parallel_layout", "--pipeline-model-parallel-layout"},
    {"model.virtual_pipeline_model_parallel_size", "--num-virtual-stages-per-pipeline-rank"},
    {"model.overlap_p2p_comm", "--no-overlap-p2p-communication", Kind::kOffSwitch},
    {"train.micro_batch_size", "--micro-batch-size"},
    {"train.global_batch_size", "--global-batch-size"},
    {"dataset.seq_length", "--seq-length"},
    {"model.recompute_granularity", "--recompute-granularity"},
    {"model.recompute_method", "--recompute-method"},
    {"model.recompute_num_layers", "--recompute-num-layers"},
    {"model.recompute_modules", "--recompute-modules", Kind::kList},
    {"model.mtp_num_layers", "--mtp-num-layers"},
    {"model.cpu_offloading_num_layers", "--cpu-offloading-num-layers"},
    {"optimizer.optimizer", "--optimizer"},
    {"ddp.use_distributed_optimizer", "--use-distributed-optimizer", Kind::kSwitch},
    {"ddp.use_megatron_fsdp", "--use-megatron-fsdp", Kind::kSwitch},
    {"ddp.data_parallel_sharding_strategy", "--data-parallel-sharding-strategy"},
    {"ddp.num_distributed_optimizer_instances", "--num-distributed-optimizer-instances"},
    {"optimizer.use_precision_aware_optimizer", "--use-precision-aware-optimizer", Kind::kSwitch},
    {"optimizer.exp_avg_dtype", "--exp-avg-dtype"},
    {"optimizer.exp_avg_sq_dtype", "--exp-avg-sq-dtype"},
    {"optimizer.optimizer_cpu_offload", "--optimizer-cpu-offload", Kind::kSwitch},
    {"optimizer.optimizer_offload_fraction", "--optimizer-offload-fraction"},
    {"ddp.overlap_grad_reduce", "--overlap-grad-reduce", Kind::kSwitch},
    {"ddp.overlap_param_gather", "--overlap-param-gather", Kind::kSwitch},
    {"model.tp_comm_overlap", "--tp-comm-overlap", Kind::kSwitch},
    {"model.cross_entropy_loss_fusion", "--cross-entropy-loss-fusion", Kind::kSwitch},
    {"model.cuda_graph_impl", "--cuda-graph-impl"},
};

void translate(const FlagValues& nemo, const Translation& one, FlagValues* out) {
  if (!nemo.has(one.key)) return;
  const std::string value = unquoted(nemo.text(one.key));
  if (is_null(value)) return;
  switch (one.kind) {
    case Kind::kValue:
      return out->add(one.flag, {value});
    case Kind::kList:
      return out->add(one.flag, list_of(value));
    case Kind::kSwitch:
      if (nemo.truth(one.key, false)) out->add(one.flag, {});
      return;
    case Kind::kOffSwitch:
      if (!nemo.truth(one.key, true)) out->add(one.flag, {});
      return;
  }
}

// Named recipes of mixed precision (training/mixed_precision.py) by the words in their names.
void translate_precision(const FlagValues& nemo, FlagValues* out) {
  const std::string name = nemo.text("mixed_precision", "bf16_mixed");
  if (is_null(name)) return;
  out->add(name.rfind("fp16", 0) == 0 ? "--fp16" : "--bf16", {});
  if (name.find("nvfp4") != std::string::npos) {
    out->add("--fp4-format", {"e2m1"});
  } else if (name.find("fp8") != std::string::npos) {
    out->add("--fp8-format", {"hybrid"});
  }
}

}  // namespace

Result<Job> read_nemo(const FlagValues& flags, const JobInput& input) {
  FlagValues megatron(Framework::kMegatron, input.path);
  megatron.set_ranks(flags.ranks());
  // A layout has the number of virtual stages in it; Bridge takes both, Megatron-LM one of them.
  const bool layout = !is_null(flags.text("model.pipeline_model_parallel_layout"));
  for (const Translation& one : kTranslations) {
    if (layout && std::string(one.flag) == "--num-virtual-stages-per-pipeline-rank") continue;
    translate(flags, one, &megatron);
  }
  translate_precision(flags, &megatron);
  if (input.model.kinds.back().moe.experts > 0) {
    megatron.add("--num-experts", {std::to_string(input.model.kinds.back().moe.experts)});
  }
  if (flags.error()) return *flags.error();
  Result<Job> job = read_megatron(megatron, input);
  if (job) job->assumed.push_back("what no override says is as in Megatron-LM, not in the recipe");
  return job;
}

}  // namespace shardwright
