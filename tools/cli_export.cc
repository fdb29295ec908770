#include <iostream>

#include "tools/cli.h"
#include "tools/export_command.h"
#include "tools/lint_command.h"

namespace shardwright {

void add_export(CLI::App& app, Action* action) {
  CLI::App* sub = app.add_subcommand("export", "A plan as files of another trainer");
  const auto a = std::make_shared<ExportArguments>();
  sub->add_option("plan", a->plan, "plan.json")->required();
  sub->add_option("--to", a->to, "megatron, deepspeed, torchtitan, fsdp, nemo or slurm")
      ->required();
  sub->add_option("--wrap", a->wrap, "What slurm starts: megatron or torchtitan")
      ->capture_default_str();
  sub->add_option("-o,--output", a->out, "Folder for the files")->required();
  sub->add_flag("--force", a->force, "Replace files that are there");
  sub->add_flag("--json", a->json, "Print JSON");
  sub->footer(
      "Example:\n"
      "  shardwright plan --model llama-3.1-8b --cluster h100-sxm-80gb:8x4 --precision bf16 \\\n"
      "    --seq 8192 --global-batch 256 -o plan.json\n"
      "  shardwright export plan.json --to megatron -o job");
  sub->callback([=] { *action = [=] { return run_export(*a, std::cout, std::cerr); }; });
}

void add_lint(CLI::App& app, Action* action) {
  CLI::App* sub =
      app.add_subcommand("lint", "Will an existing job fit, how fast is it, what helps");
  const auto a = std::make_shared<LintArguments>();
  sub->add_option(
         "job", a->job,
         "Megatron-LM, torchtitan or Megatron-Bridge arguments or launch script, DeepSpeed "
         "JSON, Accelerate FSDP YAML")
      ->required();
  sub->add_option("--model", a->model, "config.json, a folder with one, or a shipped model")
      ->required();
  sub->add_option("--cluster", a->cluster, "cluster.json or DEVICE:PER_NODE[xNODES]")->required();
  sub->add_option("--framework", a->framework,
                  "megatron, deepspeed, torchtitan, fsdp or nemo; default: as it looks");
  sub->add_option("--set", a->set,
                  "What the file leaves to a training script, e.g. seq=4096 global_batch=256 "
                  "micro_batch=1 pp=2 ranks=16 recompute=full");
  sub->add_option("--stack", a->stack, "A stack file or a shipped stack, for the time");
  sub->add_flag("--json", a->json, "Print JSON");
  sub->footer(
      "Exit code: 0 fine, 3 illegal or does not fit, 2 cannot be read.\n"
      "Example:\n"
      "  echo 'torchrun --nnodes 4 --nproc-per-node 8 pretrain_gpt.py --bf16 --seq-length 8192 \\\n"
      "    --tensor-model-parallel-size 8 --micro-batch-size 1 --global-batch-size 256' > job.sh\n"
      "  shardwright lint job.sh --model llama-3.1-8b --cluster h100-sxm-80gb:8x4");
  sub->callback([=] { *action = [=] { return run_lint(*a, std::cout, std::cerr); }; });
}

}  // namespace shardwright
