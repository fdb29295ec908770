// Megatron-LM: the plan as arguments of pretrain_gpt.py, and a script that starts it. Its default
// order of ranks (tp-cp-ep-dp-pp) is the one of plan.h, its other one (tp-cp-ep-pp-dp) the other.
#include <cmath>
#include <sstream>

#include "planner/export/export_plan.h"
#include "planner/export/quoting.h"

namespace shardwright {
namespace {

std::string number(int64_t value) { return std::to_string(value); }

// Layers of every chunk, embedding and head: "Et*3|(t*4|)*6t*3L"; repeated chunks are folded.
std::string layout_of(const Plan& plan) {
  const std::vector<int64_t>& layers = plan.stage_layers;
  const auto chunk = [&](size_t i) {
    const int64_t count = layers[i];
    std::string out = i == 0 ? "E" : "";
    if (count > 0) out += count == 1 ? "t" : "t*" + number(count);
    if (i + 1 == layers.size()) {
      if (plan.mtp_layers > 0) out += plan.mtp_layers == 1 ? "m" : "m*" + number(plan.mtp_layers);
      out += "L";
    }
    return out;
  };
  std::string out = chunk(0);
  for (size_t i = 1; i < layers.size();) {
    size_t run = i;
    while (run + 1 < layers.size() && layers[run] == layers[i]) ++run;
    if (run - i > 1) {
      out += "(|" + chunk(i) + ")*" + number(static_cast<int64_t>(run - i));
      i = run;
    } else {
      out += "|" + chunk(i);
      ++i;
    }
  }
  return out;
}

void add_layout(const Plan& plan, Arguments* out) {
  if (plan.pp == 1) return;
  bool even = true;
  for (int64_t layers : plan.stage_layers) even = even && layers == plan.stage_layers.front();
  if (!even) {
    out->push_back({"--pipeline-model-parallel-layout", {layout_of(plan)}});
  } else if (plan.virtual_stages > 1) {
    out->push_back({"--num-virtual-stages-per-pipeline-rank", {number(plan.virtual_stages)}});
  }
  if (plan.virtual_stages > 1 && !plan.overlap.pipeline) {
    out->push_back({"--no-overlap-p2p-communication", {}});
  }
}

void add_sharding(const Plan& plan, Arguments* out) {
  if (plan.zero == 0) return;
  const int64_t replicas = plan.dp * plan.split.cp;
  if (plan.zero == 1) {
    out->push_back({"--use-distributed-optimizer", {}});
  } else {
    out->push_back({"--use-megatron-fsdp", {}});
    out->push_back({"--data-parallel-sharding-strategy",
                    {plan.zero == 2 ? "optim_grads" : "optim_grads_params"}});
    out->push_back({"--ckpt-format", {"fsdp_dtensor"}});
    out->push_back({"--no-gradient-accumulation-fusion", {}});
  }
  if (plan.shard_group > 0) {
    out->push_back(
        {"--num-distributed-optimizer-instances", {number(replicas / plan.shard_group)}});
  }
}

void add_recompute(const Plan& plan, Arguments* out) {
  if (plan.recompute == Recompute::kFull) {
    out->push_back({"--recompute-granularity", {"full"}});
    out->push_back({"--recompute-method", {plan.recompute_layers > 0 ? "block" : "uniform"}});
    const int64_t layers = plan.recompute_layers > 0 ? plan.recompute_layers : 1;
    out->push_back({"--recompute-num-layers", {number(layers)}});
  } else if (plan.recompute == Recompute::kSelective) {
    out->push_back({"--recompute-granularity", {"selective"}});
    out->push_back({"--recompute-modules", names_of_modules(plan.recompute_modules)});
  }
}

void add_precision(const Plan& plan, Arguments* out) {
  const DataType storage = storage_of(plan.precision);
  if (storage == DataType::kBf16) out->push_back({"--bf16", {}});
  if (storage == DataType::kFp16) out->push_back({"--fp16", {}});
  if (plan.precision == DataType::kFp8) out->push_back({"--fp8-format", {"hybrid"}});
  if (plan.precision == DataType::kNvfp4) out->push_back({"--fp4-format", {"e2m1"}});
  if (plan.gradient_type == DataType::kBf16) out->push_back({"--grad-reduce-in-bf16", {}});
  if (storage == DataType::kFp16 && plan.gradient_type == DataType::kFp32) {
    out->push_back({"--accumulate-allreduce-grads-in-fp32", {}});
  }
}

void add_optimizer(const Plan& plan, Arguments* out) {
  out->push_back({"--optimizer", {plan.optimizer == OptimizerKind::kAdamW ? "adam" : "sgd"}});
  if (plan.moment_type != DataType::kFp32 || plan.optimizer_offload != 0) {
    out->push_back({"--use-precision-aware-optimizer", {}});
  }
  if (plan.moment_type != DataType::kFp32) {
    out->push_back({"--exp-avg-dtype", {name_of(plan.moment_type)}});
    out->push_back({"--exp-avg-sq-dtype", {name_of(plan.moment_type)}});
  }
  if (plan.optimizer_offload != 0) {
    std::ostringstream share;
    share.precision(17);
    share << plan.optimizer_offload;
    out->push_back({"--optimizer-cpu-offload", {}});
    out->push_back({"--optimizer-offload-fraction", {share.str()}});
  }
}

void add_overlap(const Plan& plan, Arguments* out) {
  if (plan.overlap.gradients) out->push_back({"--overlap-grad-reduce", {}});
  if (plan.zero > 0 && plan.overlap.parameters) out->push_back({"--overlap-param-gather", {}});
  if (plan.overlap.tensor) out->push_back({"--tp-comm-overlap", {}});
  if (plan.overlap.experts) out->push_back({"--overlap-moe-expert-parallel-comm", {}});
}

}  // namespace

Arguments megatron_arguments(const ModelSpec& model, const Plan& plan) {
  const Split& split = plan.split;
  Arguments out = {{"--tensor-model-parallel-size", {number(plan.tp)}},
                   {"--pipeline-model-parallel-size", {number(plan.pp)}},
                   {"--context-parallel-size", {number(split.cp)}}};
  if (split.cp > 1 && split.cp_kind == CpKind::kAllToAll) {
    out.push_back({"--cp-comm-type", {"a2a"}});
  }
  if (split.sequence_parallel) out.push_back({"--sequence-parallel", {}});
  if (model.kinds.back().moe.experts > 0) {
    out.push_back({"--expert-model-parallel-size", {number(split.ep)}});
    out.push_back({"--expert-tensor-parallel-size", {number(split.expert_tp(plan.tp))}});
    // One copy of a token to each node that needs it, as the time model's stack has it; that
    // dispatcher refuses experts that lie on one rank.
    const bool dispatches = split.ep * split.expert_tp(plan.tp) > 1;
    out.push_back({"--moe-token-dispatcher-type", {dispatches ? "flex" : "alltoall"}});
    if (dispatches) out.push_back({"--moe-flex-dispatcher-backend", {"deepep"}});
  }
  if (plan.rank_order == RankOrder::kTpCpPpDp) out.push_back({"--use-tp-pp-dp-mapping", {}});
  add_layout(plan, &out);
  out.push_back({"--micro-batch-size", {number(plan.micro_batch)}});
  out.push_back({"--global-batch-size", {number(plan.global_batch)}});
  out.push_back({"--seq-length", {number(plan.seq)}});
  add_sharding(plan, &out);
  add_recompute(plan, &out);
  if (plan.mtp_layers > 0) out.push_back({"--mtp-num-layers", {number(plan.mtp_layers)}});
  if (plan.activation_offload != 0) {
    const double layers = plan.activation_offload * static_cast<double>(model.layers());
    out.push_back({"--cpu-offloading-num-layers", {number(std::lround(layers))}});
  }
  add_precision(plan, &out);
  add_optimizer(plan, &out);
  add_overlap(plan, &out);
  // Megatron's own kernels; its Transformer Engine variant is switched off in this version.
  out.push_back({"--cross-entropy-loss-fusion", {}});
  out.push_back({"--cross-entropy-fusion-impl", {"native"}});
  return out;
}

std::vector<ExportFile> megatron_files(const ExportInput& input) {
  const Launch launch = launch_of(input.cluster, input.plan);
  std::ostringstream out;
  out << "#!/usr/bin/env bash\n" << comments(input.about) << "set -euo pipefail\n\n";
  // Below Blackwell tp and cp need it, and Megatron-FSDP must not have it.
  if (input.plan.zero < 2 && input.plan.tp * input.plan.split.cp > 1) {
    out << "export CUDA_DEVICE_MAX_CONNECTIONS=1\n";
  }
  out << "\n"
      << bash_array("MODEL", megatron_model_arguments(input.model, input.plan)) << "\n"
      << bash_array("PLAN", megatron_arguments(input.model, input.plan))
      << "\n# What the plan does not decide: put your own here, or after the script's name.\n"
      << bash_array("TRAINING", {{"--mock-data", {}},
                                 {"--tokenizer-type", {"NullTokenizer"}},
                                 {"--train-iters", {"20"}},
                                 {"--lr", {"1e-4"}}})
      << "\nexec torchrun --nnodes " << launch.nodes << " --nproc-per-node " << launch.per_node
      << " --node-rank \"${NODE_RANK:-0}\" \\\n"
         "  --master-addr \"${MASTER_ADDR:-localhost}\" --master-port \"${MASTER_PORT:-29500}\" "
         "\\\n"
         "  \"${MEGATRON_LM:-.}/pretrain_gpt.py\" \"${MODEL[@]}\" \"${PLAN[@]}\" "
         "\"${TRAINING[@]}\" \"$@\"\n";
  return {{"megatron.sh", out.str(), true}};
}

}  // namespace shardwright
