// What stands for the GPU backend in a build without it.
#include "costmodel/check.h"
#include "executor/cuda/cuda_device.h"
#include "executor/cuda/cuda_ops.h"

namespace shardwright {

Result<int> cuda_device_count() {
  return no_cuda_device("this build has no GPU backend (cmake --preset cuda makes one)");
}

std::unique_ptr<Device> make_cuda_device(int, int) { SW_CHECK(false, "a build without CUDA"); }

std::unique_ptr<Ops> make_cuda_ops(Device&, int, DataType, const CudaOptions&) {
  SW_CHECK(false, "a build without CUDA");
}

}  // namespace shardwright
