// NeMo by Megatron-Bridge: KEY=VALUE overrides of a recipe's ConfigContainer, in Hydra's notation.
#include <cmath>
#include <sstream>

#include "planner/export/export_plan.h"
#include "planner/export/quoting.h"

namespace shardwright {
namespace {

std::string number(int64_t value) { return std::to_string(value); }
const char* truth(bool value) { return value ? "true" : "false"; }

std::string precision_recipe(DataType precision) {
  switch (precision) {
    case DataType::kBf16:
      return "bf16_mixed";
    case DataType::kFp16:
      return "fp16_mixed";
    case DataType::kFp8:
      return "bf16_with_fp8_current_scaling_mixed";
    case DataType::kNvfp4:
      return "bf16_with_nvfp4_mixed";
    case DataType::kFp32:
      break;
  }
  return "null";
}

class Overrides {
 public:
  void add(const std::string& key, const std::string& value) {
    lines_.push_back(key + "=" + value);
  }
  std::vector<std::string> take() { return std::move(lines_); }

 private:
  std::vector<std::string> lines_;
};

// Values that Megatron's own arguments carry, under the names of Bridge.
const Argument* find(const Arguments& arguments, const std::string& name) {
  for (const Argument& argument : arguments) {
    if (argument.name == name) return &argument;
  }
  return nullptr;
}

void add_layout(const Arguments& megatron, const Plan& plan, Overrides* out) {
  const Argument* layout = find(megatron, "--pipeline-model-parallel-layout");
  const std::string chunks = plan.virtual_stages > 1 ? number(plan.virtual_stages) : "null";
  out->add("model.virtual_pipeline_model_parallel_size", chunks);
  out->add("model.pipeline_model_parallel_layout",
           layout != nullptr ? "\"" + layout->values[0] + "\"" : "null");
  if (plan.virtual_stages > 1) {
    out->add("model.overlap_p2p_comm", truth(plan.overlap.pipeline));
  }
}

void add_recompute(const Plan& plan, Overrides* out) {
  const bool full = plan.recompute == Recompute::kFull;
  out->add("model.recompute_granularity",
           plan.recompute == Recompute::kNone ? "null" : name_of(plan.recompute));
  out->add("model.recompute_method", !full                       ? "null"
                                     : plan.recompute_layers > 0 ? "block"
                                                                 : "uniform");
  out->add("model.recompute_num_layers",
           !full ? "null" : number(plan.recompute_layers > 0 ? plan.recompute_layers : 1));
  std::string modules;
  for (const std::string& name : names_of_modules(plan.recompute_modules)) {
    modules += (modules.empty() ? "" : ",") + name;
  }
  out->add("model.recompute_modules", modules.empty() ? "null" : "[" + modules + "]");
}

void add_optimizer(const Plan& plan, Overrides* out) {
  out->add("optimizer.optimizer", plan.optimizer == OptimizerKind::kAdamW ? "adam" : "sgd");
  out->add("optimizer.use_distributed_optimizer", truth(plan.zero > 0));
  out->add("ddp.use_distributed_optimizer", truth(plan.zero > 0));
  out->add("ddp.use_megatron_fsdp", truth(plan.zero > 1));
  const char* strategy = plan.zero == 2 ? "optim_grads" : "optim_grads_params";
  out->add("ddp.data_parallel_sharding_strategy", plan.zero > 1 ? strategy : "no_shard");
  const int64_t instances = plan.shard_group > 0 ? plan.dp * plan.split.cp / plan.shard_group : 1;
  out->add("ddp.num_distributed_optimizer_instances", number(instances));
  const bool aware = plan.moment_type != DataType::kFp32 || plan.optimizer_offload != 0;
  out->add("optimizer.use_precision_aware_optimizer", truth(aware));
  // Names of torch types cannot be overridden from a command line; MixedPrecision recipes and this
  // string form can (megatron.core's optimizer configuration maps it).
  if (plan.moment_type != DataType::kFp32) {
    out->add("optimizer.exp_avg_dtype", name_of(plan.moment_type));
    out->add("optimizer.exp_avg_sq_dtype", name_of(plan.moment_type));
  }
  out->add("optimizer.optimizer_cpu_offload", truth(plan.optimizer_offload != 0));
  if (plan.optimizer_offload != 0) {
    std::ostringstream share;
    share.precision(17);
    share << plan.optimizer_offload;
    out->add("optimizer.optimizer_offload_fraction", share.str());
  }
}

std::vector<std::string> overrides_of(const ModelSpec& model, const Plan& plan) {
  const Arguments megatron = megatron_arguments(model, plan);
  Overrides out;
  out.add("model.tensor_model_parallel_size", number(plan.tp));
  out.add("model.pipeline_model_parallel_size", number(plan.pp));
  out.add("model.context_parallel_size", number(plan.split.cp));
  if (plan.split.cp > 1) {
    out.add("model.cp_comm_type", plan.split.cp_kind == CpKind::kAllToAll ? "a2a" : "p2p");
  }
  out.add("model.sequence_parallel", truth(plan.split.sequence_parallel));
  if (model.kinds.back().moe.experts > 0) {
    out.add("model.expert_model_parallel_size", number(plan.split.ep));
    out.add("model.expert_tensor_parallel_size", number(plan.split.expert_tp(plan.tp)));
    const bool dispatches = plan.split.ep * plan.split.expert_tp(plan.tp) > 1;
    out.add("model.moe_token_dispatcher_type", dispatches ? "flex" : "alltoall");
    out.add("model.moe_flex_dispatcher_backend", dispatches ? "deepep" : "null");
    out.add("model.overlap_moe_expert_parallel_comm", truth(plan.overlap.experts));
  }
  out.add("dist.use_tp_pp_dp_mapping", truth(plan.rank_order == RankOrder::kTpCpPpDp));
  add_layout(megatron, plan, &out);
  out.add("train.micro_batch_size", number(plan.micro_batch));
  out.add("train.global_batch_size", number(plan.global_batch));
  out.add("dataset.seq_length", number(plan.seq));
  add_recompute(plan, &out);
  if (plan.mtp_layers > 0) out.add("model.mtp_num_layers", number(plan.mtp_layers));
  const double offloaded = plan.activation_offload * static_cast<double>(model.layers());
  out.add("model.cpu_offloading", truth(offloaded > 0));
  out.add("model.cpu_offloading_num_layers", number(std::lround(offloaded)));
  out.add("mixed_precision", precision_recipe(plan.precision));
  add_optimizer(plan, &out);
  out.add("ddp.overlap_grad_reduce", truth(plan.overlap.gradients));
  out.add("ddp.overlap_param_gather", truth(plan.zero > 0 && plan.overlap.parameters));
  out.add("model.tp_comm_overlap", truth(plan.overlap.tensor));
  out.add("model.cross_entropy_loss_fusion", "true");
  out.add("model.cross_entropy_fusion_impl", "native");
  return out.take();
}

}  // namespace

std::vector<ExportFile> nemo_files(const ExportInput& input) {
  const Launch launch = launch_of(input.cluster, input.plan);
  std::ostringstream out;
  out << "#!/usr/bin/env bash\n"
      << comments(input.about)
      << "# RECIPE is a recipe of Megatron-Bridge for this model, e.g. llama31_8b: the overrides "
         "say\n"
         "# how to split, the recipe what the model is.\n"
      << "set -euo pipefail\n\nOVERRIDES=(\n";
  for (const std::string& line : overrides_of(input.model, input.plan)) {
    out << "  " << shell_word(line) << "\n";
  }
  out << ")\n\nexec torchrun --nnodes " << launch.nodes << " --nproc-per-node " << launch.per_node
      << " --node-rank \"${NODE_RANK:-0}\" \\\n"
         "  --master-addr \"${MASTER_ADDR:-localhost}\" --master-port \"${MASTER_PORT:-29500}\" "
         "\\\n"
         "  \"${MEGATRON_BRIDGE:-.}/scripts/training/run_recipe.py\" --model \"${RECIPE:?a "
         "recipe}\" "
         "--mode pretrain \\\n"
         "  --dataset mock \"${OVERRIDES[@]}\" \"$@\"\n";
  return {{"nemo.sh", out.str(), true}};
}

}  // namespace shardwright
