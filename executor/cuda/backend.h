// Ranks on GPUs, as programs ask for them: what there is, and one rank's device, kernels and
// communicator together. No CUDA header is needed, and a build without CUDA has the functions too:
// find_gpus() then says why there is none.
#pragma once

#include <chrono>
#include <memory>
#include <string>
#include <vector>

#include "costmodel/result.h"
#include "executor/comm/communicator.h"
#include "executor/ops.h"

namespace shardwright {

// A GPU that this process sees.
struct GpuInfo {
  std::string name;    // as the driver says, "NVIDIA H100 80GB HBM3"
  std::string device;  // as profiles are named, "h100-sxm-80gb"
  int sm_count = 0;
  double clock_mhz = 0;  // of the SMs, at most
  Bytes memory_bytes = 0;
  std::string software;  // "driver 13.0, CUDA runtime 13.0, NCCL 2.28.9"
};
// At least one, or an Error that says in one line why there is none.
Result<std::vector<GpuInfo>> find_gpus();

// The name that profiles have for what a driver calls a GPU; unknown ones are lower case with '-'
// between words.
std::string gpu_device_name(const std::string& driver_name);

// How ranks talk: over NCCL, one GPU each; or through host memory, any number of ranks on a GPU.
// kAuto: NCCL when every rank has a GPU of its own. kNccl where ranks share one is a trick for
// checking that path (nccl_environment.h), and needs ranks that are processes.
enum class GpuComm { kAuto, kNccl, kStaged };
bool parse_gpu_comm(const std::string& name, GpuComm* out);  // "auto", "nccl", "staged"

struct GpuRankOptions {
  int gpu = 0;  // index in find_gpus()
  DataType type = DataType::kBf16;
  GpuComm comm = GpuComm::kAuto;
  // Memory for tensors, taken at once; 0: taken as it is needed, which a training step forbids.
  Bytes arena_bytes = 0;
  bool graph = false;       // repeat recorded steps as a CUDA graph
  bool fused_gelu = false;  // GELU inside the products next to it (cuda_ops.h)
  std::chrono::nanoseconds deadline{std::chrono::seconds(120)};
};

// One rank's device, kernels and communicator. Used by the thread that made it.
class GpuRank {
 public:
  virtual ~GpuRank() = default;
  virtual Ops& ops() = 0;
  virtual Communicator& comm() = 0;
};
// `host` outlives the rank and joins the same ranks. All of them call this together. Throws
// ExecError.
std::unique_ptr<GpuRank> make_gpu_rank(Communicator& host, const GpuRankOptions& options);

}  // namespace shardwright
