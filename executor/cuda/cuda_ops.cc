#include "executor/cuda/cuda_ops.h"

#include "costmodel/check.h"
#include "executor/cuda/cuda_ops_impl.h"
#include "executor/exec_error.h"

namespace shardwright {

std::unique_ptr<Ops> make_cuda_ops(Device& device, int rank, DataType type) {
  return std::make_unique<CudaOps>(device, rank, type);
}

CudaOps::CudaOps(Device& device, int rank, DataType type)
    : device_(device), rank_(rank), type_(type) {
  SW_CHECK(type == DataType::kFp32 || type == DataType::kBf16,
           "compute type " << name_of(type) << " on a GPU");
  compute_ = device_.create_stream();
  scratch_ = device_.allocate(kScratchBytes);
}

CudaOps::~CudaOps() {
  for (void* block : host_blocks_) device_.free_pinned(block);
  device_.free(scratch_);
  device_.destroy_stream(compute_);
}

void* CudaOps::allocate(Bytes bytes) { return device_.allocate(bytes); }
void CudaOps::free(void* block) { device_.free(block); }

void* CudaOps::scratch(Bytes bytes) {
  if (bytes > kScratchBytes) {
    throw ExecError(rank_, "scratch",
                    std::to_string(bytes) + " bytes, there are " + std::to_string(kScratchBytes));
  }
  return scratch_;
}

void* CudaOps::host_block(Bytes bytes) {
  host_blocks_.push_back(device_.allocate_pinned(bytes));
  return host_blocks_.back();
}
void CudaOps::upload(void* to, const void* host, Bytes bytes) {
  device_.copy(to, host, bytes, stream());
  if (!device_.step_open()) device_.synchronize(stream());
}
void CudaOps::download(void* host, const void* from, Bytes bytes) { upload(host, from, bytes); }
void CudaOps::synchronize() { device_.synchronize(); }

void CudaOps::zero(void* p, Bytes bytes) {
  if (bytes > 0) device_.set_bytes(p, 0, bytes, stream());
}
void CudaOps::copy(void* to, const void* from, Bytes bytes) {
  if (bytes > 0) device_.copy(to, from, bytes, stream());
}

}  // namespace shardwright
