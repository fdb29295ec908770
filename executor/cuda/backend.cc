#include "executor/cuda/backend.h"

#include <algorithm>

#include "executor/comm/device_sharing.h"
#include "executor/comm/nccl_comm.h"
#include "executor/comm/nccl_environment.h"
#include "executor/comm/staged_comm.h"
#include "executor/cuda/cuda_device.h"
#include "executor/cuda/cuda_ops.h"
#include "executor/exec_error.h"

namespace shardwright {
namespace {

class CudaRank final : public GpuRank {
 public:
  CudaRank(Communicator& host, const GpuRankOptions& options)
      : device_(make_cuda_device(options.gpu, host.rank())) {
    device_->make_current();
    const int sharing = ranks_on_one_device(host, device_->properties().uuid);
    const bool staged =
        options.comm == GpuComm::kStaged || (options.comm == GpuComm::kAuto && sharing > 1);
    if (!staged) make_nccl(host.rank(), sharing);
    CudaOptions settings;
    settings.arena_bytes = options.arena_bytes;
    settings.fused_gelu = options.fused_gelu;
    // What the host does between two calls would be missing from a repeated step.
    settings.graph = options.graph && !staged;
    ops_ = make_cuda_ops(*device_, host.rank(), options.type, settings);
    if (staged) {
      comm_ = make_staged_communicator(host, *ops_);
      return;
    }
    auto& streams = dynamic_cast<StreamSource&>(ops_->lanes());
    comm_ = make_nccl_communicator(nccl_, host, *ops_, streams, options.deadline,
                                   sharing > 1 ? kSharedGpuLimits : NcclLimits{});
  }

  Ops& ops() override { return *ops_; }
  Communicator& comm() override { return *comm_; }

 private:
  void make_nccl(int rank, int sharing) {
    if (sharing > 1) let_ranks_share_a_gpu(rank);
    nccl_ = make_nccl_api();
    if (nccl_ != nullptr) return;
    throw ExecError(rank, "nccl",
                    "this build has no NCCL; --gpu-comm staged talks through host memory");
  }

  std::unique_ptr<Device> device_;  // first: the others use it until they are gone
  std::unique_ptr<Ops> ops_;
  std::shared_ptr<NcclApi> nccl_;
  std::unique_ptr<Communicator> comm_;
};

GpuInfo info_of(const DeviceProperties& from) {
  GpuInfo out;
  out.name = from.name;
  out.device = gpu_device_name(from.name);
  out.sm_count = from.sm_count;
  out.clock_mhz = static_cast<double>(from.clock_khz) / 1e3;
  out.memory_bytes = from.memory_bytes;
  out.software = "driver " + from.driver + ", CUDA runtime " + from.runtime;
  if (const auto nccl = make_nccl_api()) out.software += ", NCCL " + nccl->version();
  return out;
}

}  // namespace

Result<std::vector<GpuInfo>> find_gpus() {
  const Result<int> count = cuda_device_count();
  if (!count) return count.error();
  std::vector<GpuInfo> out;
  for (int i = 0; i < *count; ++i) out.push_back(info_of(make_cuda_device(i, 0)->properties()));
  return out;
}

std::unique_ptr<GpuRank> make_gpu_rank(Communicator& host, const GpuRankOptions& options) {
  return std::make_unique<CudaRank>(host, options);
}

}  // namespace shardwright
