// DeepSpeed: ds_config.json, and a script that starts the user's training script with it. DeepSpeed
// has the model, its layers' split over stages and recomputation in that script; what it must do is
// written in the JSON under a key of our own, which DeepSpeed does not read.
#include <nlohmann/json.hpp>
#include <sstream>

#include "planner/export/export_plan.h"
#include "planner/export/quoting.h"

namespace shardwright {
namespace {

Json zero_section(const Plan& plan) {
  Json zero = {{"stage", plan.zero},
               {"overlap_comm", plan.overlap.gradients},
               {"contiguous_gradients", true}};
  if (plan.optimizer_offload > 0) {
    zero["offload_optimizer"] = {{"device", "cpu"}};
    if (plan.zero == 3) zero["offload_optimizer"]["ratio"] = plan.optimizer_offload;
  }
  if (plan.shard_group > 0) zero["mics_shard_size"] = plan.shard_group;
  return zero;
}

Json script_section(const ExportInput& input) {
  const Plan& plan = input.plan;
  Json script = {{"about", input.about},
                 {"seq", plan.seq},
                 {"recompute", name_of(plan.recompute)},
                 {"ranks", plan.ranks()}};
  if (plan.pp > 1) script["stage_layers"] = plan.stage_layers;
  return script;
}

std::string config_text(const ExportInput& input) {
  const Plan& plan = input.plan;
  Json json = {{"shardwright", script_section(input)},
               {"train_batch_size", plan.global_batch},
               {"train_micro_batch_size_per_gpu", plan.micro_batch},
               {"gradient_accumulation_steps", plan.microbatches()},
               {"zero_optimization", zero_section(plan)}};
  const DataType storage = storage_of(plan.precision);
  if (storage == DataType::kBf16) json["bf16"] = {{"enabled", true}};
  if (storage == DataType::kFp16) json["fp16"] = {{"enabled", true}};
  json["data_types"] = {{"grad_accum_dtype", name_of(plan.gradient_type)}};
  json["communication_data_type"] = name_of(plan.gradient_type);
  json["optimizer"] = {{"type", plan.optimizer == OptimizerKind::kAdamW ? "AdamW" : "SGD"},
                       {"params", {{"lr", 1e-4}}}};
  json["gradient_clipping"] = 1.0;
  if (plan.tp > 1) {
    json["tensor_parallel"] = {{"autotp_size", plan.tp}, {"tp_overlap_comm", plan.overlap.tensor}};
  }
  if (plan.pp > 1) json["pipeline"] = {{"stages", plan.pp}};
  return json.dump(2, ' ', true, Json::error_handler_t::replace) + "\n";
}

}  // namespace

std::vector<ExportFile> deepspeed_files(const ExportInput& input) {
  const Plan& plan = input.plan;
  const Launch launch = launch_of(input.cluster, plan);
  std::ostringstream out;
  out << "#!/usr/bin/env bash\n"
      << comments(input.about) << "# TRAIN is your training script. It has to use seq " << plan.seq;
  if (plan.recompute == Recompute::kFull) out << ", recompute every layer";
  if (plan.pp > 1) out << ", build a PipelineModule of " << plan.pp << " stages";
  out << ".\nset -euo pipefail\n\n"
      << "exec deepspeed --num_nodes " << launch.nodes << " --num_gpus " << launch.per_node
      << " \"${TRAIN:?your training script}\" \\\n"
         "  --deepspeed --deepspeed_config \"$(dirname \"$0\")/ds_config.json\" \"$@\"\n";
  return {{"ds_config.json", config_text(input)}, {"deepspeed.sh", out.str(), true}};
}

}  // namespace shardwright
