// Slurm: an sbatch script that starts one torchrun on every node, around the command of Megatron-LM
// or torchtitan.
#include <sstream>

#include "planner/export/export_plan.h"
#include "planner/export/quoting.h"

namespace shardwright {
namespace {

// As sbatch reads them: up to the first command, nothing is expanded.
std::string directives(const ExportInput& input, const Launch& launch) {
  std::ostringstream out;
  out << "#SBATCH --job-name=" << plain_name(input.model.name, 40) << "\n"
      << "#SBATCH --nodes=" << launch.nodes << "\n"
      << "#SBATCH --ntasks-per-node=1\n"
      << "#SBATCH --gpus-per-node=" << launch.per_node << "\n"
      << "#SBATCH --exclusive\n"
      << "#SBATCH --output=%x-%j.out\n";
  return out.str();
}

}  // namespace

std::vector<ExportFile> slurm_files(const ExportInput& input, Framework wrapped) {
  const Launch launch = launch_of(input.cluster, input.plan);
  const bool titan = wrapped == Framework::kTorchtitan;
  std::ostringstream out;
  out << "#!/usr/bin/env bash\n"
      << directives(input, launch) << comments(input.about) << "set -euo pipefail\n\n";
  if (titan) {
    out << "export PYTORCH_ALLOC_CONF=expandable_segments:True\n\n"
        << bash_array("PLAN", torchtitan_arguments(input.model, input.plan));
  } else {
    if (input.plan.zero < 2 && input.plan.tp * input.plan.split.cp > 1) {
      out << "export CUDA_DEVICE_MAX_CONNECTIONS=1\n\n";
    }
    out << bash_array("MODEL", megatron_model_arguments(input.model, input.plan)) << "\n"
        << bash_array("PLAN", megatron_arguments(input.model, input.plan)) << "\n"
        << bash_array("TRAINING", {{"--mock-data", {}},
                                   {"--tokenizer-type", {"NullTokenizer"}},
                                   {"--train-iters", {"20"}},
                                   {"--lr", {"1e-4"}}});
  }
  out << "\nHEAD=$(scontrol show hostnames \"$SLURM_JOB_NODELIST\" | head -n 1)\n"
      << "srun torchrun --nnodes " << launch.nodes << " --nproc-per-node " << launch.per_node
      << " \\\n  --rdzv-backend c10d --rdzv-id \"$SLURM_JOB_ID\" --rdzv-endpoint \"$HEAD:29500\" "
         "\\\n";
  if (titan) {
    out << "  -m torchtitan.train \"$@\" \"${PLAN[@]}\"\n";
  } else {
    out << "  \"${MEGATRON_LM:-.}/pretrain_gpt.py\" \"${MODEL[@]}\" \"${PLAN[@]}\" "
           "\"${TRAINING[@]}\" \"$@\"\n";
  }
  return {{"job.sbatch", out.str(), true}};
}

}  // namespace shardwright
