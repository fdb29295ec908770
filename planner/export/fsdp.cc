// PyTorch FSDP version 2 by Hugging Face Accelerate: the YAML file of `accelerate launch`.
#include <sstream>

#include "planner/export/export_plan.h"
#include "planner/export/quoting.h"

namespace shardwright {

std::vector<ExportFile> fsdp_files(const ExportInput& input) {
  const Plan& plan = input.plan;
  const Launch launch = launch_of(input.cluster, plan);
  // A sharded copy lies on dp_shard * cp ranks.
  const int64_t shard = plan.shard_group > 0 ? plan.shard_group / plan.split.cp : plan.dp;
  const DataType storage = storage_of(plan.precision);
  std::ostringstream out;
  out << comments(input.about)
      << "# Start: accelerate launch --config_file fsdp.yaml YOUR_SCRIPT.py\n"
         "# Accelerate leaves these to the script (lint takes them with --set):\n"
      << "#   seq=" << plan.seq << " global_batch=" << plan.global_batch
      << " micro_batch=" << plan.micro_batch << "\n"
      << "# i.e. gradient_accumulation_steps=" << plan.microbatches()
      << " in Accelerator(), and AdamW.\n"
      << "compute_environment: LOCAL_MACHINE\n"
      << "distributed_type: FSDP\n"
      << "mixed_precision: "
      << yaml_text(storage == DataType::kFp32 ? "no" : name_of(plan.precision)) << "\n"
      << "num_machines: " << launch.nodes << "\n"
      << "num_processes: " << plan.ranks() << "\n"
      << "machine_rank: 0\n"
      << "main_training_function: main\n"
      << "rdzv_backend: static\n"
      << "same_network: true\n"
      << "use_cpu: false\n"
      << "fsdp_config:\n"
      << "  fsdp_version: 2\n"
      << "  fsdp_reshard_after_forward: " << (plan.zero == 3 ? "true" : "false") << "\n"
      << "  fsdp_activation_checkpointing: "
      << (plan.recompute == Recompute::kFull ? "true" : "false") << "\n"
      << "  fsdp_offload_params: false\n"
      << "  fsdp_auto_wrap_policy: TRANSFORMER_BASED_WRAP\n"
      << "  fsdp_state_dict_type: SHARDED_STATE_DICT\n"
      << "  fsdp_cpu_ram_efficient_loading: true\n"
      << "parallelism_config:\n"
      << "  parallelism_config_dp_replicate_size: " << plan.dp / shard << "\n"
      << "  parallelism_config_dp_shard_size: " << shard << "\n"
      << "  parallelism_config_tp_size: " << plan.tp << "\n"
      << "  parallelism_config_cp_size: " << plan.split.cp << "\n";
  return {{"fsdp.yaml", out.str()}};
}

}  // namespace shardwright
