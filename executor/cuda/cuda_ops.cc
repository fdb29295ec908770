#include "executor/cuda/cuda_ops.h"

#include "costmodel/check.h"
#include "executor/cuda/cuda_ops_impl.h"
#include "executor/exec_error.h"

namespace shardwright {

std::unique_ptr<Ops> make_cuda_ops(Device& device, int rank, DataType type,
                                   const CudaOptions& options) {
  return std::make_unique<CudaOps>(device, rank, type, options);
}

CudaOps::CudaOps(Device& device, int rank, DataType type, const CudaOptions& options)
    : device_(device),
      rank_(rank),
      type_(type),
      options_(options),
      lanes_(device, options.graph),
      arena_(device, options.arena_bytes, options.piece_bytes),
      matmul_(make_matmul(device)),
      host_blocks_(device) {
  SW_CHECK(type == DataType::kFp32 || type == DataType::kBf16,
           "compute type " << name_of(type) << " on a GPU");
  constexpr auto kOtherLanes = static_cast<Bytes>(Lane::kCount) - 1;
  scratch_ = static_cast<std::byte*>(
      device_.allocate(options_.scratch_bytes + kOtherLanes * kOtherScratchBytes));
  lanes_.after_step([this] {
    arena_.forget_uses();
    tune_products();
  });
}

// A step may be open when an exception ends the run.
CudaOps::~CudaOps() {
  if (device_.step_open()) device_.close_step();
  device_.free(scratch_);
}

void* CudaOps::allocate(Bytes bytes) {
  LastUses uses{};
  void* block = arena_.allocate(bytes, &uses, lanes_.lane());
  lanes_.wait_for(uses);
  return block;
}

void CudaOps::free(void* block) {
  arena_.free(block, lanes_.last_lane(), lanes_.last_instruction());
}

void CudaOps::keep_sent_after(int activation, int gradient) {
  LastUses over{};
  over[static_cast<size_t>(Lane::kActivationOut)] = activation;
  over[static_cast<size_t>(Lane::kGradientOut)] = gradient;
  arena_.keep_sent_after(over);
}

Bytes CudaOps::lane_scratch_bytes() const {
  return lanes_.lane() == Lane::kCompute ? options_.scratch_bytes : kOtherScratchBytes;
}

void* CudaOps::scratch(Bytes bytes) {
  if (bytes > lane_scratch_bytes()) {
    throw ExecError(rank_, "scratch",
                    std::to_string(bytes) + " bytes on lane " + name_of(lanes_.lane()) +
                        ", which has " + std::to_string(lane_scratch_bytes()));
  }
  const auto lane = static_cast<Bytes>(lanes_.lane());
  static_assert(static_cast<int>(Lane::kCompute) == 0);
  return lane == 0 ? scratch_ : scratch_ + options_.scratch_bytes + (lane - 1) * kOtherScratchBytes;
}

void* CudaOps::host_block(Bytes bytes) { return host_blocks_.take(bytes); }

void CudaOps::upload(void* to, const void* host, Bytes bytes) {
  if (bytes == 0) return;
  device_.copy(to, host, bytes, stream());
  if (!device_.step_open()) device_.synchronize(stream());
}
void CudaOps::download(void* host, const void* from, Bytes bytes) { upload(host, from, bytes); }

void CudaOps::synchronize() {
  if (device_.step_open()) {
    lanes_.wait_on_host();
  } else {
    device_.synchronize();
  }
}

void CudaOps::zero(void* p, Bytes bytes) {
  if (bytes > 0) device_.set_bytes(p, 0, bytes, stream());
}
void CudaOps::copy(void* to, const void* from, Bytes bytes) {
  if (bytes > 0) device_.copy(to, from, bytes, stream());
}

}  // namespace shardwright
