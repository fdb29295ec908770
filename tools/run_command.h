// `shardwright run plan.json --data TEXT --steps N --out DIR`: trains as the plan says.
#pragma once

#include <ostream>
#include <string>
#include <vector>

#include "executor/run/trainer.h"

namespace shardwright {

struct RunArguments {
  std::string plan, data, out;
  std::string ranks_as = "threads";  // or "processes": starts mpirun
  std::string hostfile;
  RunDevice device = RunDevice::kCpu;
  std::string gpu_comm = "auto";  // "nccl", "staged"; auto: NCCL when every rank has its own GPU
  bool cuda_graph = false;
  bool fused_gelu = false;
  std::vector<std::string> command_line;  // argv, to be called again by mpirun
  TrainOptions options;
  double deadline_s = 120;
  bool any_machine = false;  // run although the plan was made for another machine or more cores
  bool json = false;
};

// Inside mpirun or srun this process is one rank and joins; otherwise it starts its own ranks.
// Exit codes 0, 2 and 4.
int run_run(const RunArguments& arguments, std::ostream& out, std::ostream& err);

}  // namespace shardwright
