#include <iostream>

#include "tools/cli.h"
#include "tools/run_command.h"

namespace shardwright {

void add_run(CLI::App& app, const std::vector<std::string>& command_line, Action* action) {
  CLI::App* sub = app.add_subcommand("run", "Train as a plan says, on this machine's ranks");
  const auto a = std::make_shared<RunArguments>();
  a->command_line = command_line;
  TrainSettings& s = a->options.settings;
  sub->add_option("plan", a->plan, "plan.json")->required();
  sub->add_option("--data", a->data, "Text to train on, as bytes")->required();
  sub->add_option("--steps", a->options.steps, "Training steps")
      ->required()
      ->check(CLI::Range(int64_t{1}, int64_t{1} << 40));
  sub->add_option("--out", a->out, "Run folder to make")->required();
  sub->add_option("--lr", s.lr, "Learning rate")
      ->check(CLI::Range(0.0, 1e3))
      ->capture_default_str();
  sub->add_option("--warmup", s.warmup_steps, "Steps over which the learning rate rises")
      ->check(CLI::Range(int64_t{0}, int64_t{1} << 40))
      ->capture_default_str();
  sub->add_option("--weight-decay", s.weight_decay, "Of matrices and embeddings")
      ->check(CLI::Range(0.0, 1e3))
      ->capture_default_str();
  sub->add_option("--clip", s.clip_norm, "Largest gradient norm; 0 does not clip")
      ->check(CLI::Range(0.0, 1e9))
      ->capture_default_str();
  sub->add_option("--seed", s.init.seed, "Of initial weights and data order")
      ->capture_default_str();
  const auto device = std::make_shared<std::string>("cpu");
  sub->add_option("--device", *device, "Where ranks compute")
      ->check(CLI::IsMember({"cpu", "cuda"}))
      ->capture_default_str();
  sub->add_option(
         "--gpu-comm", a->gpu_comm,
         "How GPUs talk: nccl, staged (through host memory, any number of ranks on a GPU),\n"
         "or auto: nccl when every rank has a GPU of its own")
      ->check(CLI::IsMember({"auto", "nccl", "staged"}))
      ->capture_default_str();
  sub->add_flag("--cuda-graph", a->cuda_graph,
                "Repeat recorded steps as a CUDA graph (not proven on a GPU yet)");
  sub->add_flag("--fused-gelu", a->fused_gelu,
                "GELU inside cuBLASLt's products, in bf16 (not proven on a GPU yet)");
  sub->add_option("--ranks-as", a->ranks_as, "threads of this process, or processes under mpirun")
      ->check(CLI::IsMember({"threads", "processes"}))
      ->capture_default_str();
  sub->add_option("--hostfile", a->hostfile, "Open MPI host file, for processes on several hosts");
  sub->add_option("--deadline", a->deadline_s, "Longest wait for another rank, in seconds")
      ->check(CLI::Range(0.001, 1e6))
      ->capture_default_str();
  sub->add_flag("--any-machine", a->any_machine,
                "Run a plan made for another machine or for more cores");
  sub->add_flag("--json", a->json, "Print the summary as JSON");
  sub->footer(
      "Example:\n"
      "  shardwright run plan.json --data text.txt --steps 100 --out runs/first\n"
      "Inside mpirun or srun every process becomes one rank of the plan:\n"
      "  mpirun -n 2 shardwright run plan.json --data text.txt --steps 100 --out runs/first");
  sub->callback([=] {
    a->device = *device == "cuda" ? RunDevice::kCuda : RunDevice::kCpu;
    *action = [=] { return run_run(*a, std::cout, std::cerr); };
  });
}

}  // namespace shardwright
