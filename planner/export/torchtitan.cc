// torchtitan: --section.field options over a configuration of its own registry (--module,
// --config).
#include <array>
#include <optional>
#include <sstream>

#include "planner/export/export_plan.h"
#include "planner/export/limits.h"
#include "planner/export/torchtitan_models.h"
#include "planner/export/torchtitan_stages.h"

namespace shardwright {
namespace {

std::string number(int64_t value) { return std::to_string(value); }

// Groups of dp replicas that hold one sharded copy with their cp ranks.
int64_t shard_degree(const Plan& plan) {
  if (plan.zero == 0) return 1;
  return plan.shard_group > 0 ? plan.shard_group / plan.split.cp : plan.dp;
}

void add_pipeline(const Plan& plan, Arguments* out) {
  if (plan.pp == 1) return;
  out->push_back({"--parallelism.pipeline_parallel_schedule", {torchtitan_schedule(plan)}});
  out->push_back({"--parallelism.num_pp_microbatches", {number(plan.microbatches())}});
  const std::optional<TitanStages> found = find_stage_options(plan);
  if (!found) {
    // Modules of every chunk: commas inside, blanks between (its rule for lists of text).
    out->push_back({"--parallelism.module_fqns_per_model_part", titan_modules(plan)});
    return;
  }
  const TitanStages& stages = *found;
  out->push_back(
      {"--parallelism.pipeline_parallel_first_stage_less_layers", {number(stages.first_less)}});
  out->push_back(
      {"--parallelism.pipeline_parallel_last_stage_less_layers", {number(stages.last_less)}});
  if (stages.layers_per_stage > 0) {
    out->push_back(
        {"--parallelism.pipeline_parallel_layers_per_stage", {number(stages.layers_per_stage)}});
  }
}

}  // namespace

// Registered by name at the commit of profiles/frameworks/torchtitan.json; shapes from
// torchtitan/models/*/__init__.py there.
const TitanModel* find_titan_model(const ModelSpec& model) {
  static constexpr std::array<TitanModel, 11> kModels = {{
      {"llama3", "llama3_8b", 32, 4096, 128256},
      {"llama3", "llama3_70b", 80, 8192, 128256},
      {"llama3", "llama3_405b", 126, 16384, 128256},
      {"qwen3", "qwen3_0_6b", 28, 1024, 151936},
      {"qwen3", "qwen3_1_7b", 28, 2048, 151936},
      {"qwen3", "qwen3_14b", 40, 5120, 151936},
      {"qwen3", "qwen3_32b", 64, 5120, 151936},
      {"qwen3", "qwen3_30b_a3b", 48, 2048, 151936},
      {"deepseek_v3", "deepseek_v3_671b", 61, 7168, 129280},
      {"gpt_oss", "gpt_oss_20b", 24, 2880, 201088},
      {"gpt_oss", "gpt_oss_120b", 36, 2880, 201088},
  }};
  for (const TitanModel& known : kModels) {
    if (known.layers == model.layers() && known.hidden == model.hidden &&
        known.vocab == model.vocab) {
      return &known;
    }
  }
  return nullptr;
}

Arguments torchtitan_arguments(const ModelSpec& model, const Plan& plan) {
  const TitanModel* known = find_titan_model(model);
  Arguments out;
  if (known != nullptr) {
    out = {{"--module", {known->module}}, {"--config", {known->config}}};
  }
  const int64_t shard = shard_degree(plan);
  const std::string parallelism = "--parallelism.";
  out.push_back({parallelism + "data_parallel_replicate_degree", {number(plan.dp / shard)}});
  out.push_back({parallelism + "data_parallel_shard_degree", {number(shard)}});
  if (plan.zero > 0) {
    out.push_back(
        {parallelism + "fsdp_reshard_after_forward", {plan.zero == 3 ? "always" : "never"}});
  }
  out.push_back({parallelism + "tensor_parallel_degree", {number(plan.tp)}});
  // Truth values take no value; this one is true unless it is switched off.
  if (plan.tp > 1 && !plan.split.sequence_parallel) {
    out.push_back({parallelism + "no_enable_sequence_parallel", {}});
  }
  out.push_back({parallelism + "context_parallel_degree", {number(plan.split.cp)}});
  out.push_back({parallelism + "pipeline_parallel_degree", {number(plan.pp)}});
  out.push_back({parallelism + "expert_parallel_degree", {number(plan.split.ep)}});
  add_pipeline(plan, &out);
  out.push_back(
      {"--training.num_tokens_per_microbatch_per_dp_rank", {number(plan.micro_batch * plan.seq)}});
  out.push_back({"--training.num_tokens_per_train_step", {number(plan.global_batch * plan.seq)}});
  out.push_back({"--training.max_context_length", {number(plan.seq)}});
  out.push_back({"--training.mixed_precision_param",
                 {plan.precision == DataType::kFp32 ? "float32" : "bfloat16"}});
  if (plan.pp > 1 || plan.split.ep > 1) out.push_back({"--training.disable_cuda_graphs", {}});
  out.push_back({"--compile.enable", {}});
  if (plan.overlap.tensor) out.push_back({"--compile.enable_async_tensor_parallel", {}});
  // A choice of alternatives in tyro's notation, which has to come last.
  const char* policy = plan.recompute == Recompute::kFull   ? "full"
                       : plan.recompute == Recompute::kNone ? "none"
                                                            : "selective";
  out.push_back({std::string("activation-checkpoint:") + policy, {}});
  return out;
}

std::vector<ExportFile> torchtitan_files(const ExportInput& input) {
  const Launch launch = launch_of(input.cluster, input.plan);
  std::ostringstream out;
  out << "#!/usr/bin/env bash\n" << comments(input.about);
  if (find_titan_model(input.model) == nullptr) {
    out << "# torchtitan's registry has no configuration of this model: give --module and --config "
           "of "
           "your own\n# after the script's name.\n";
  }
  if (input.plan.split.cp > 1) {
    out << "# Context parallelism needs a configuration with FlexAttention.\n";
  }
  out << "set -euo pipefail\n\n"
      << "export PYTORCH_ALLOC_CONF=expandable_segments:True\n"
      << "\n# Options given to the script come first: the last word chooses what is recomputed.\n"
      << bash_array("PLAN", torchtitan_arguments(input.model, input.plan))
      << "\nexec torchrun --nnodes " << launch.nodes << " --nproc-per-node " << launch.per_node
      << " --node-rank \"${NODE_RANK:-0}\" \\\n"
         "  --master-addr \"${MASTER_ADDR:-localhost}\" --master-port \"${MASTER_PORT:-29500}\" "
         "\\\n"
         "  -m torchtitan.train \"$@\" \"${PLAN[@]}\"\n";
  return {{"torchtitan.sh", out.str(), true}};
}

}  // namespace shardwright
